//! Where constants come from that a file holds in another layout.

use crate::ops::Op;
use crate::reshaping::blocks;
use crate::value::Dim;

/// The constant of the file that another one is made of by moving its elements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Its name in the file.
    pub name: String,
    /// Its shape.
    pub dims: Vec<usize>,
    /// Per axis of the constant in the graph, that of the file's constant; `None` for an axis of
    /// size one, or one that is a part of several.
    pub axes: Vec<Option<usize>>,
}

impl Origin {
    /// Of a constant that the file holds as it is.
    pub(crate) fn of_file(name: &str, dims: &[usize]) -> Self {
        Self {
            name: name.to_owned(),
            dims: dims.to_vec(),
            axes: (0..dims.len()).map(Some).collect(),
        }
    }

    /// Behind an operator that moves elements of shape `from` to shape `to`; `None` behind
    /// another.
    pub(crate) fn moved(&self, op: &Op, from: &[usize], to: &[usize]) -> Option<Self> {
        let axes = match op {
            Op::Transpose(op) => op.perm.iter().map(|&axis| self.axes[axis]).collect(),
            Op::Reshape(_) | Op::Flatten(_) | Op::Squeeze(_) | Op::Unsqueeze(_) => {
                let continued = continued(from, to)?;
                let axes = continued.into_iter();
                axes.map(|axis| self.axes[axis?]).collect()
            }
            Op::Opaque(op) if op.cast_to().is_some() => self.axes.clone(),
            _ => return None,
        };
        Some(Self {
            axes,
            ..self.clone()
        })
    }
}

/// Per axis of `to` the axis of `from` that it is, for axes that are not split or merged.
fn continued(from: &[usize], to: &[usize]) -> Option<Vec<Option<usize>>> {
    let known = |dims: &[usize]| dims.iter().map(|&d| Dim::Known(d)).collect::<Vec<_>>();
    let mut axes = vec![None; to.len()];
    for (source, landing) in blocks(&known(from), &known(to))? {
        let wide = |range: std::ops::Range<usize>, dims: &[usize]| {
            let mut wide = range.filter(|&axis| dims[axis] > 1);
            wide.next().filter(|_| wide.next().is_none())
        };
        if let (Some(source), Some(landing)) = (wide(source, from), wide(landing, to)) {
            axes[landing] = Some(source);
        }
    }
    Some(axes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::{Reshape, Transpose};

    #[test]
    fn an_axis_is_followed_through_what_moves_it_and_lost_where_it_is_split() {
        let file = Origin::of_file("w", &[6, 4]);
        let turned = Transpose { perm: vec![1, 0] };
        let turned = file.moved(&turned.into(), &[6, 4], &[4, 6]).unwrap();
        assert_eq!(turned.axes, [Some(1), Some(0)]);
        let reshape = |target: &[i64]| -> Op {
            Reshape {
                target: target.to_vec(),
                allow_zero: false,
            }
            .into()
        };
        let padded = turned.moved(&reshape(&[1, 4, 6]), &[4, 6], &[1, 4, 6]);
        assert_eq!(padded.unwrap().axes, [None, Some(1), Some(0)]);
        let split = turned.moved(&reshape(&[4, 2, 3]), &[4, 6], &[4, 2, 3]);
        assert_eq!(split.unwrap().axes, [Some(1), None, None]);
        let merged = turned.moved(&reshape(&[24]), &[4, 6], &[24]);
        assert_eq!(merged.unwrap().axes, [None]);
        assert_eq!(file.moved(&crate::ops::Relu.into(), &[6, 4], &[6, 4]), None);
    }
}
