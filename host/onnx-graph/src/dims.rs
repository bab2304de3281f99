//! Arithmetic on dimensions, fixed or symbolic, without overflow.
//!
//! A product with a symbol is a symbol again, written `64*N`, or `64*(H+1)*N` where a symbol is an
//! expression. Such a name is parsed where it is multiplied or divided, so that a Reshape that
//! merges the batch and splits it again restores it.

use crate::value::{Dim, Shape};

/// A product of sizes: a number times symbols.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Product {
    pub number: usize,
    symbols: Vec<String>,
}

fn is_plain(symbol: &str) -> bool {
    !symbol.is_empty()
        && symbol
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.' || c == '-')
}

/// The number and the symbols of a name that is a product; `None` for any other expression.
fn factors(name: &str) -> Option<(usize, Vec<&str>)> {
    let mut parts = outside_of_brackets(name)?;
    let mut number = 1;
    if let Some(first) = parts
        .first()
        .and_then(|part| part.parse().ok())
        .filter(|_| parts.len() > 1)
    {
        number = first;
        parts.remove(0);
    }
    let one = parts.len() == 1 && number == 1;
    let symbols = parts.into_iter().map(|part| factor(part, one));
    Some((number, symbols.collect::<Option<_>>()?))
}

/// The parts of a product, cut at the stars outside of brackets; `None` if these do not match.
fn outside_of_brackets(name: &str) -> Option<Vec<&str>> {
    let (mut depth, mut start, mut parts) = (0usize, 0, Vec::new());
    for (at, c) in name.char_indices() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.checked_sub(1)?,
            '*' if depth == 0 => {
                parts.push(&name[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&name[start..]);
    (depth == 0).then_some(parts)
}

/// The symbol that a part of a product is: a name, a call, or an expression in brackets, which
/// are omitted unless the part is `alone`.
fn factor(part: &str, alone: bool) -> Option<&str> {
    if alone || is_plain(part) {
        return Some(part);
    }
    let opening = part.find('(')?;
    let call = is_plain(&part[..opening]);
    let inner = part.strip_suffix(')')?.get(opening + 1..)?;
    // The first bracket is closed by the last.
    let mut depth = 1usize;
    for c in inner.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return None;
        }
    }
    match (opening, call) {
        (_, true) => Some(part),
        (0, false) => Some(inner),
        _ => None,
    }
}

impl Product {
    pub fn one() -> Self {
        Self {
            number: 1,
            symbols: Vec::new(),
        }
    }

    /// Multiplies by `dim`; `None` on overflow.
    pub fn times(mut self, dim: &Dim) -> Option<Self> {
        match dim {
            Dim::Known(n) => self.number = self.number.checked_mul(*n)?,
            Dim::Symbol(s) => match factors(s) {
                Some((number, names)) => {
                    self.number = self.number.checked_mul(number)?;
                    self.symbols.extend(names.into_iter().map(str::to_owned));
                }
                None => self.symbols.push(s.clone()),
            },
        }
        Some(self)
    }

    pub fn of(dims: &[Dim]) -> Option<Self> {
        dims.iter().try_fold(Self::one(), Self::times)
    }

    /// The symbol, if it is the only one.
    pub fn symbol(&self) -> Option<&str> {
        match &self.symbols[..] {
            [only] => Some(only),
            _ => None,
        }
    }

    /// The number, if there is no symbol besides `batch`, and that at most once.
    pub fn per_image(&self, batch: Option<&str>) -> Option<u64> {
        match &self.symbols[..] {
            [] => Some(self.number as u64),
            [only] if Some(only.as_str()) == batch => Some(self.number as u64),
            _ => None,
        }
    }

    /// `self / other`, if it is a product.
    pub fn over(mut self, other: &Self) -> Option<Self> {
        for symbol in &other.symbols {
            let at = self.symbols.iter().position(|s| s == symbol)?;
            self.symbols.remove(at);
        }
        if other.number == 0 || !self.number.is_multiple_of(other.number) {
            return None;
        }
        self.number /= other.number;
        Some(self)
    }

    /// Replaces a symbol by a number; `None` on overflow.
    pub fn with(mut self, symbol: &str, size: usize) -> Option<Self> {
        for _ in self.symbols.extract_if(.., |s| s == symbol) {
            self.number = self.number.checked_mul(size)?;
        }
        Some(self)
    }

    /// Whether `self` has the symbols of `other` and no smaller number.
    pub fn holds(&self, other: &Self) -> bool {
        let mut symbols = self.symbols.clone();
        other.symbols.iter().all(|s| {
            let at = symbols.iter().position(|t| t == s);
            at.map(|at| symbols.swap_remove(at)).is_some()
        }) && self.number >= other.number
    }

    pub fn dim(mut self) -> Dim {
        if self.symbols.is_empty() || self.number == 0 {
            return Dim::Known(self.number);
        }
        if self.number == 1 && self.symbols.len() == 1 {
            return Dim::Symbol(self.symbols.swap_remove(0));
        }
        self.symbols.sort();
        let written = |name: &String| match factor(name, false) == Some(name) {
            true => name.clone(),
            false => format!("({name})"),
        };
        let names = self
            .symbols
            .iter()
            .map(written)
            .collect::<Vec<_>>()
            .join("*");
        Dim::Symbol(if self.number == 1 {
            names
        } else {
            format!("{}*{names}", self.number)
        })
    }
}

impl Dim {
    /// Returns the size per image, with open sizes taken as 1: `64*N` windows of a batch are 64
    /// per image.
    #[must_use]
    pub fn per_image(&self) -> usize {
        Product::of(std::slice::from_ref(self)).map_or(1, |p| p.number)
    }
}

/// The shape of an elementwise operation on two values
/// ([broadcasting](https://onnx.ai/onnx/repo-docs/Broadcasting.html)).
pub(crate) fn broadcast(a: &[Dim], b: &[Dim]) -> Result<Shape, String> {
    let rank = a.len().max(b.len());
    let at = |s: &[Dim], i: usize| {
        (i + s.len())
            .checked_sub(rank)
            .map_or(Dim::Known(1), |j| s[j].clone())
    };
    (0..rank)
        .map(|i| match (at(a, i), at(b, i)) {
            (x, y) if x == y => Ok(x),
            (Dim::Known(1), y) => Ok(y),
            (x, Dim::Known(1)) => Ok(x),
            (Dim::Known(x), Dim::Known(y)) => Err(format!(
                "sizes {x} and {y} at axis {i} of {a:?} and {b:?} do not broadcast"
            )),
            (Dim::Known(x), Dim::Symbol(_)) | (Dim::Symbol(_), Dim::Known(x)) => Ok(Dim::Known(x)),
            (Dim::Symbol(x), Dim::Symbol(y)) => Ok(Dim::Symbol(short(format!("max({x},{y})")))),
        })
        .collect()
}

/// Longest name of an open size. Names contain other names, and would double with every addition.
const LONGEST: usize = 200;

/// Returns `name`, or a hash if it is long: equal names stay equal.
pub(crate) fn short(name: String) -> String {
    if name.len() <= LONGEST {
        return name;
    }
    let mut hasher = std::hash::DefaultHasher::new();
    std::hash::Hash::hash(&name, &mut hasher);
    format!("size_{:016x}", std::hash::Hasher::finish(&hasher))
}

/// The position of `axis` (negative counts from the end) in a value of `rank` dimensions.
pub(crate) fn axis(axis: i64, rank: usize) -> Result<usize, String> {
    let signed = i64::try_from(rank).map_err(|e| e.to_string())?;
    let position = if axis < 0 {
        axis.checked_add(signed)
    } else {
        Some(axis)
    };
    match position {
        Some(a) if (0..signed).contains(&a) => Ok(a as usize),
        _ => Err(format!("axis {axis} is out of range for rank {rank}")),
    }
}

/// The ascending positions of several distinct axes.
pub(crate) fn axes(list: &[i64], rank: usize) -> Result<Vec<usize>, String> {
    let mut out = list
        .iter()
        .map(|&a| axis(a, rank))
        .collect::<Result<Vec<_>, _>>()?;
    out.sort_unstable();
    if out.windows(2).any(|w| w[0] == w[1]) {
        return Err(format!("axes {list:?} name one axis twice"));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sym(s: &str) -> Dim {
        Dim::Symbol(s.into())
    }

    #[test]
    fn a_merged_batch_splits_again() {
        let merged = Product::of(&[sym("N"), Dim::Known(64)]).unwrap().dim();
        assert_eq!(merged, sym("64*N"));
        let split = Product::of(&[merged])
            .unwrap()
            .over(&Product::of(&[Dim::Known(64)]).unwrap())
            .unwrap();
        assert_eq!(split.dim(), sym("N"));
        assert_eq!(Product::of(&[Dim::Known(usize::MAX), Dim::Known(2)]), None);
    }

    #[test]
    fn a_product_of_expressions_splits_again() {
        let (h, w) = (sym("floor((H+2-3)/2)+1"), sym("ceil(W/2)"));
        let merged = Product::of(&[h.clone(), w.clone(), Dim::Known(8)]).unwrap();
        let merged = merged.dim();
        assert_eq!(merged, sym("8*ceil(W/2)*(floor((H+2-3)/2)+1)"));
        let split = |by: Dim| {
            Some(
                Product::of(std::slice::from_ref(&merged))?
                    .over(&Product::of(&[by])?)?
                    .dim(),
            )
        };
        assert_eq!(split(h), Some(sym("8*ceil(W/2)")));
        assert_eq!(split(w), Some(sym("8*(floor((H+2-3)/2)+1)")));
        for whole in [
            "2*(a)+(b)",
            "(a)*(b)//2",
            "2*a//4",
            "(a*b",
            "a)*(b",
            "2*a[b",
            "(H+1)",
            "2**a",
        ] {
            assert_eq!(Product::of(&[sym(whole)]).unwrap().dim(), sym(whole));
            assert_eq!(
                factors(whole)
                    .map(|(n, names)| (n, names.len()))
                    .unwrap_or((1, 1)),
                (1, 1)
            );
        }
    }

    #[test]
    fn broadcasting_follows_the_trailing_axes() {
        let known = |v: &[usize]| v.iter().map(|&n| Dim::Known(n)).collect::<Shape>();
        assert_eq!(
            broadcast(&known(&[2, 3, 1]), &known(&[4])).unwrap(),
            known(&[2, 3, 4])
        );
        assert_eq!(
            broadcast(&[sym("N"), Dim::Known(3)], &known(&[1, 3])).unwrap(),
            [sym("N"), Dim::Known(3)]
        );
        assert!(broadcast(&known(&[2, 3]), &known(&[2])).is_err());
    }

    #[test]
    fn axes_count_from_either_end() {
        assert_eq!(axis(-1, 4), Ok(3));
        assert!(axis(4, 4).is_err() && axis(i64::MIN, 4).is_err());
        assert!(axes(&[1, -3], 4).is_err());
    }
}
