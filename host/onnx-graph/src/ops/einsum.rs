//! [Einsum](https://onnx.ai/onnx/operators/onnx__Einsum.html) of one or two operands whose axes
//! are all named, each once.

use super::context::{Emission, Facts, Operator, Parsing, one};
use crate::GraphError;
use crate::value::{Dim, Shape};

/// Sums of products over named axes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Einsum {
    /// Per operand the letters of its axes.
    pub operands: Vec<Vec<char>>,
    /// The letters of the result's axes.
    pub output: Vec<char>,
}

impl Einsum {
    /// Returns the equation in ONNX's notation.
    #[must_use]
    pub fn equation(&self) -> String {
        let word = |axes: &Vec<char>| axes.iter().collect::<String>();
        let operands: Vec<String> = self.operands.iter().map(word).collect();
        format!("{}->{}", operands.join(","), word(&self.output))
    }

    /// Returns, per summed letter, the first operand that has it and the position of the axis
    /// there.
    pub fn summed(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.operands.iter().enumerate().flat_map(move |(i, axes)| {
            let first = move |c: &char| {
                !self.output.contains(c) && !self.operands[..i].iter().any(|o| o.contains(c))
            };
            axes.iter()
                .enumerate()
                .filter(move |(_, c)| first(c))
                .map(move |(axis, _)| (i, axis))
        })
    }

    fn from(equation: &str) -> Option<Self> {
        let equation: String = equation.chars().filter(|c| !c.is_whitespace()).collect();
        let (left, right) = equation.split_once("->")?;
        let axes = |text: &str| {
            let list: Vec<char> = text.chars().collect();
            let once = |(i, c): (usize, &char)| c.is_ascii_alphabetic() && !list[..i].contains(c);
            list.iter().enumerate().all(once).then(|| list.clone())
        };
        let operands: Vec<Vec<char>> = left.split(',').map(axes).collect::<Option<_>>()?;
        let output = axes(right)?;
        let known = output
            .iter()
            .all(|c| operands.iter().any(|o| o.contains(c)));
        (known && operands.len() <= 2).then_some(Self { operands, output })
    }
}

impl Operator for Einsum {
    const NAME: &'static str = "Einsum";
    const VERSIONS: &'static [i64] = &[12, 28];
    const INPUTS: (usize, usize) = (1, 2);
    const SINCE: i64 = 12;

    fn parse(node: &mut Parsing<'_>) -> Result<Option<Self>, GraphError> {
        let Some(equation) = node.text("equation")? else {
            return Err(node.malformed("the attribute 'equation' is missing"));
        };
        Ok(Self::from(equation).filter(|op| op.operands.len() == node.inputs.len()))
    }

    fn emit(&self, out: &mut Emission) {
        out.text("equation", &self.equation());
    }

    fn shapes(&self, facts: &Facts<'_>) -> Result<Vec<Option<Shape>>, String> {
        let mut sizes: Vec<(char, Dim)> = Vec::new();
        for (i, axes) in self.operands.iter().enumerate() {
            let Some(x) = facts.ranked(i, axes.len(), "an operand")? else {
                return one(None);
            };
            for (&axis, dim) in axes.iter().zip(x) {
                match sizes.iter_mut().find(|(a, _)| *a == axis) {
                    Some((_, Dim::Known(n)))
                        if dim.known().is_some_and(|d| d != *n && d != 1 && *n != 1) =>
                    {
                        return Err(format!("axis {axis} is of size {n} and {dim:?}"));
                    }
                    Some((_, size)) if *size == Dim::Known(1) || matches!(size, Dim::Symbol(_)) => {
                        *size = dim.clone()
                    }
                    Some(_) => {}
                    None => sizes.push((axis, dim.clone())),
                }
            }
        }
        let size = |axis: &char| {
            sizes
                .iter()
                .find(|(a, _)| a == axis)
                .map(|(_, d)| d.clone())
        };
        one(self.output.iter().map(size).collect())
    }
}
