//! [Reshape](https://onnx.ai/onnx/operators/onnx__Reshape.html); the target, where it is
//! determined, is resolved into the operator.

use super::context::{Emission, Facts, Input, Operator, Parsing, one};
use crate::GraphError;
use crate::dims::Product;
use crate::fold::{Array, Element, Fold, Operands, volume};
use crate::value::{Dim, Shape};

/// The same elements under other dimensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reshape {
    /// New sizes; 0 copies the size of the input at that position, a single -1 is inferred.
    pub target: Vec<i64>,
    /// Whether 0 means an empty axis instead of a copied size.
    pub allow_zero: bool,
}

impl Reshape {
    /// The target for a list with open sizes: an open size that the input has at the same
    /// position is copied, and a single other one is inferred.
    fn open(input: Option<&[Dim]>, elements: &[Element]) -> Option<Vec<i64>> {
        let elements = &without_inferred(input, elements);
        let mut left = !elements.contains(&Element::Known(-1));
        let mut target = Vec::with_capacity(elements.len());
        for (i, element) in elements.iter().enumerate() {
            match element {
                Element::Known(v) => target.push(*v),
                Element::Open(s) if matches!(input.and_then(|d| d.get(i)), Some(Dim::Symbol(d)) if d == s) => {
                    target.push(0)
                }
                Element::Open(_) | Element::Unknown if left => {
                    left = false;
                    target.push(-1);
                }
                Element::Open(_) | Element::Unknown => return None,
            }
        }
        Some(target)
    }

    /// The dimensions of the result for those of the input.
    fn dims(&self, from: &[usize]) -> Option<Vec<usize>> {
        let whole: usize = from.iter().product();
        let mut dims = Vec::with_capacity(self.target.len());
        for (i, &size) in self.target.iter().enumerate() {
            dims.push(match size {
                -1 => 1,
                0 if !self.allow_zero => *from.get(i)?,
                size => usize::try_from(size).ok()?,
            });
        }
        if let Some(inferred) = self.target.iter().position(|&t| t == -1) {
            dims[inferred] = whole.checked_div(volume(&dims, usize::MAX)?)?;
        }
        Some(dims)
    }

    fn fold(&self, operands: &Operands) -> Option<Array> {
        let x = operands.get(0)?;
        let dims = self.dims(x.dims())?;
        x.reshaped(&dims)
    }
}

/// The elements with a -1 replaced by its size, if that is known: another size may then be open.
fn without_inferred(input: Option<&[Dim]>, elements: &[Element]) -> Vec<Element> {
    let rest = || {
        let others = elements.iter().filter(|e| **e != Element::Known(-1));
        let others: Vec<Dim> = others.map(Element::dim).collect::<Option<_>>()?;
        let rest = Product::of(input?)?.over(&Product::of(&others)?)?.dim();
        rest.known().is_some().then(|| Element::from(rest))
    };
    let left = rest().unwrap_or(Element::Known(-1));
    elements
        .iter()
        .map(|e| {
            if *e == Element::Known(-1) {
                left.clone()
            } else {
                e.clone()
            }
        })
        .collect()
}

impl Operator for Reshape {
    const NAME: &'static str = "Reshape";
    const VERSIONS: &'static [i64] = &[1, 5, 13, 14, 19, 21, 23, 24, 25];
    const INPUTS: (usize, usize) = (1, 1);
    const SINCE: i64 = 5;
    const FOLD: Fold<Self> = Fold::Elements(Self::fold);

    fn since(&self, _facts: &Facts<'_>) -> i64 {
        if self.allow_zero { 14 } else { Self::SINCE }
    }

    fn parse(node: &mut Parsing<'_>) -> Result<Option<Self>, GraphError> {
        let mut allow_zero = node.flag("allowzero", false)?;
        let target = if node.opset < 5 {
            node.ints("shape")?
        } else if let Input::Known(target) = node.int_input(1) {
            Some(target)
        } else {
            match node.sizes_input(1).and_then(|s| s.elements()) {
                Some(elements) if !elements.contains(&Element::Known(0)) => {
                    allow_zero = false;
                    Self::open(node.shape(0), elements)
                }
                _ => None,
            }
        };
        let Some(target) = target else {
            return Ok(None);
        };
        if target.iter().any(|&t| t < -1) || target.iter().filter(|&&t| t == -1).count() > 1 {
            return Err(node.malformed(format!("the target shape {target:?} is not one")));
        }
        if !target.contains(&0) {
            allow_zero = false;
        }
        node.keep_inputs(1);
        Ok(Some(Self { target, allow_zero }))
    }

    fn emit(&self, out: &mut Emission) {
        if self.allow_zero {
            out.int("allowzero", 1);
        }
        out.ints_input("shape", &self.target);
    }

    fn shapes(&self, facts: &Facts<'_>) -> Result<Vec<Option<Shape>>, String> {
        let input = facts.shape(0);
        let mut out = Vec::with_capacity(self.target.len());
        let mut left = None;
        for (i, &t) in self.target.iter().enumerate() {
            match (t, input) {
                (0, _) if self.allow_zero => out.push(Dim::Known(0)),
                (0, None) => return one(None),
                (0, Some(x)) => out.push(
                    x.get(i)
                        .cloned()
                        .ok_or_else(|| format!("0 at axis {i} copies nothing of {x:?}"))?,
                ),
                (-1, _) if left.is_none() => {
                    left = Some(i);
                    out.push(Dim::Known(1));
                }
                (n, _) => out.push(Dim::Known(
                    usize::try_from(n).map_err(|_| format!("{:?} is no shape", self.target))?,
                )),
            }
        }
        let Some(x) = input else {
            return one(left.is_none().then_some(out));
        };
        let misfit = || format!("{x:?} does not fit {:?}", self.target);
        let (have, want) = (
            Product::of(x).ok_or("the size overflows")?,
            Product::of(&out).ok_or("the size overflows")?,
        );
        match left {
            Some(_) if want.number == 0 => return Err(misfit()),
            Some(i) => {
                let known = have.dim().known().is_some() && want.clone().dim().known().is_some();
                match Product::of(x).and_then(|have| have.over(&want)) {
                    Some(rest) => out[i] = rest.dim(),
                    None if known => return Err(misfit()),
                    None => out[i] = Dim::Symbol(format!("rest_of_{}", facts.name)),
                }
            }
            None => {
                if let (Dim::Known(have), Dim::Known(want)) = (have.dim(), want.dim())
                    && have != want
                {
                    return Err(misfit());
                }
            }
        }
        one(Some(out))
    }
}
