//! Lists of partly open sizes.

use crate::DType;
use crate::dims::Product;
use crate::value::Dim;

/// An element of a list of sizes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Element {
    /// A number.
    Known(i64),
    /// The size of an open dimension, by name.
    Open(String),
    /// A number that is not followed, which may be negative.
    Unknown,
}

impl From<Dim> for Element {
    fn from(dim: Dim) -> Self {
        match dim {
            Dim::Known(n) => i64::try_from(n).map_or(Self::Open(n.to_string()), Self::Known),
            Dim::Symbol(s) => Self::Open(s),
        }
    }
}

impl Element {
    /// The element as a dimension; `None` for a number that is negative or not followed.
    pub fn dim(&self) -> Option<Dim> {
        match self {
            Self::Known(v) => usize::try_from(*v).ok().map(Dim::Known),
            Self::Open(s) => Some(Dim::Symbol(s.clone())),
            Self::Unknown => None,
        }
    }

    pub fn known(&self) -> Option<i64> {
        match self {
            Self::Known(v) => Some(*v),
            Self::Open(_) | Self::Unknown => None,
        }
    }

    /// Whether two elements are equal; `None` where that is undetermined. An open size is never
    /// negative.
    pub fn equals(&self, other: &Self) -> Option<bool> {
        match (self, other) {
            (Self::Known(a), Self::Known(b)) => Some(a == b),
            (Self::Open(a), Self::Open(b)) => (a == b).then_some(true),
            (Self::Open(_), Self::Known(v)) | (Self::Known(v), Self::Open(_)) => {
                (*v < 0).then_some(false)
            }
            (Self::Unknown, _) | (_, Self::Unknown) => None,
        }
    }

    pub fn plus(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (Self::Known(a), Self::Known(b)) => a.checked_add(*b).map(Self::Known),
            (Self::Open(s), Self::Known(0)) | (Self::Known(0), Self::Open(s)) => {
                Some(Self::Open(s.clone()))
            }
            _ => Some(Self::Unknown),
        }
    }

    pub fn minus(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (Self::Known(a), Self::Known(b)) => a.checked_sub(*b).map(Self::Known),
            (Self::Open(s), Self::Known(0)) => Some(Self::Open(s.clone())),
            _ => Some(Self::Unknown),
        }
    }

    pub fn times(&self, other: &Self) -> Option<Self> {
        if let (Self::Known(a), Self::Known(b)) = (self, other) {
            return a.checked_mul(*b).map(Self::Known);
        }
        let product = || Some(Product::of(&[self.dim()?, other.dim()?])?.dim().into());
        Some(product().unwrap_or(Self::Unknown))
    }

    pub fn over(&self, other: &Self) -> Option<Self> {
        if let (Self::Known(a), Self::Known(b)) = (self, other) {
            return a.checked_div(*b).map(Self::Known);
        }
        let rest = || {
            let divisor = Product::of(&[other.dim()?])?;
            Some(Product::of(&[self.dim()?])?.over(&divisor)?.dim().into())
        };
        Some(rest().unwrap_or(Self::Unknown))
    }
}

/// A short tensor of integers, some of them open sizes.
#[derive(Debug, Clone)]
pub(crate) struct OpenSizes {
    pub dims: Vec<usize>,
    /// The elements in row-major order.
    pub list: Vec<Element>,
    pub dtype: DType,
}

impl OpenSizes {
    /// The elements of a one-dimensional list.
    pub fn elements(&self) -> Option<&[Element]> {
        (self.dims.len() == 1).then_some(&self.list)
    }
}
