//! The axes of a value before and after a Reshape, in runs of equal size.

use std::ops::Range;

use crate::dims::Product;
use crate::value::Dim;

/// Cuts the axes of two shapes into the shortest runs of equal size: `[N, 768, 14, 14]` and `[N,
/// 768, 196]` give `N - N`, `768 - 768`, `14, 14 - 196`. Axes of size 1 join a neighbour. Returns
/// `None` unless the sizes of the shapes are known to be equal.
#[must_use]
pub fn blocks(from: &[Dim], to: &[Dim]) -> Option<Vec<(Range<usize>, Range<usize>)>> {
    let mut out: Vec<(Range<usize>, Range<usize>)> = Vec::new();
    let (mut i, mut j) = (0, 0);
    while i < from.len() && j < to.len() {
        let (mut end_i, mut end_j) = (i + 1, j + 1);
        let mut left = Product::of(&from[i..end_i])?;
        let mut right = Product::of(&to[j..end_j])?;
        while left.clone().dim() != right.clone().dim() {
            // The side that lacks a factor of the other side takes its next axis.
            let grow_left = end_i < from.len() && (end_j == to.len() || !left.holds(&right));
            if grow_left {
                left = left.times(&from[end_i])?;
                end_i += 1;
            } else {
                right = right.times(to.get(end_j)?)?;
                end_j += 1;
            }
        }
        out.push((i..end_i, j..end_j));
        (i, j) = (end_i, end_j);
    }
    let ones = |dims: &[Dim]| dims.iter().all(|d| *d == Dim::Known(1));
    if !ones(&from[i..]) || !ones(&to[j..]) {
        return None;
    }
    match out.last_mut() {
        Some((f, t)) => (f.end, t.end) = (from.len(), to.len()),
        None => out.push((0..from.len(), 0..to.len())),
    }
    Some(out)
}

/// Cuts the axes of a value before and after a Reshape into runs of equal size, as [`blocks`] does.
/// Where open sizes hide which axes in the middle belong together, they are one run: the whole
/// has the same size before and after.
#[must_use]
pub fn reshaped(from: &[Dim], to: &[Dim]) -> Option<Vec<(Range<usize>, Range<usize>)>> {
    if let Some(runs) = blocks(from, to) {
        return Some(runs);
    }
    let (mut front, mut i) = (Vec::new(), 0);
    let one = |dim: &Dim| *dim == Dim::Known(1);
    while i < from.len().min(to.len()) && from[i] == to[i] && !one(&from[i]) {
        front.push((i..i + 1, i..i + 1));
        i += 1;
    }
    let (mut a, mut b, mut back) = (from.len(), to.len(), Vec::new());
    while a > i && b > i && from[a - 1] == to[b - 1] && !one(&from[a - 1]) {
        (a, b) = (a - 1, b - 1);
        back.push((a..a + 1, b..b + 1));
    }
    if front.is_empty() && back.is_empty() || a == i || b == i {
        return None;
    }
    front.push((i..a, i..b));
    back.reverse();
    front.extend(back);
    Some(front)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Shape;

    fn shape(text: &str) -> Shape {
        let dim = |d: &str| d.parse().map_or_else(|_| Dim::Symbol(d.into()), Dim::Known);
        text.split_whitespace().map(dim).collect()
    }

    #[test]
    fn open_sizes_that_a_reshape_mixes_are_one_run() {
        let cut = |from, to| reshaped(&shape(from), &shape(to));
        let runs = vec![(0..1, 0..1), (1..2, 1..2), (2..4, 2..6)];
        assert_eq!(cut("N 64 H W", "N 64 A 2 B 2"), Some(runs));
        let runs = vec![(0..2, 0..2), (2..3, 2..3)];
        assert_eq!(cut("A B 8", "C D 8"), Some(runs));
        assert_eq!(cut("N 64 H", "M 32 H2"), None);
    }

    #[test]
    fn shapes_of_one_size_are_cut_into_the_shortest_equal_runs() {
        type Runs<'a> = Option<&'a [(Range<usize>, Range<usize>)]>;
        let cases: [(&str, &str, Runs<'_>); 8] = [
            (
                "N 768 14 14",
                "N 768 196",
                Some(&[(0..1, 0..1), (1..2, 1..2), (2..4, 2..3)]),
            ),
            (
                "N 197 96",
                "N 197 3 4 8",
                Some(&[(0..1, 0..1), (1..2, 1..2), (2..3, 2..5)]),
            ),
            (
                "64*N 49 24",
                "N 64 49 24",
                Some(&[(0..1, 0..2), (1..2, 2..3), (2..3, 3..4)]),
            ),
            ("N 17 4 8", "17*N 32", Some(&[(0..2, 0..1), (2..4, 1..2)])),
            ("N 32 1 1", "N 32", Some(&[(0..1, 0..1), (1..4, 1..2)])),
            ("1 6", "6", Some(&[(0..2, 0..1)])),
            ("N 6", "N 5", None),
            ("N 6", "M 6", None),
        ];
        for (from, to, expected) in cases {
            let got = blocks(&shape(from), &shape(to));
            assert_eq!(got.as_deref(), expected, "{from} to {to}");
        }
    }
}
