//! Neighbours of resized positions, and sizes as factors.

use super::*;

/// Position `at` of an axis resized from `from` to `to` must take the value at `expected`.
fn check_neighbour(
    (from, to, at): (usize, usize, usize),
    coordinates: Coordinates,
    rounding: Rounding,
    expected: usize,
) {
    let resize = Resize {
        to: Extent::Sizes(vec![to]),
        mode: ResizeMode::Nearest(rounding),
        coordinates,
    };
    let got = resize.nearest(0, from).unwrap()[at];
    assert_eq!(
        got, expected,
        "{at} of {from} to {to}, {coordinates:?}, {rounding:?}"
    );
}

#[test]
fn halfway_positions_follow_the_rounding_although_single_precision_is_slightly_off() {
    use Coordinates::{Asymmetric, HalfPixel};
    use Rounding::{RoundPreferCeil, RoundPreferFloor};
    // As in ONNX Runtime 1.30, 3.4999998, 3.5000002, 13.499999, 10.500001 and 13.500001 are
    // all halfway.
    check_neighbour((7, 4, 2), Asymmetric, RoundPreferCeil, 4);
    check_neighbour((7, 76, 38), Asymmetric, RoundPreferFloor, 3);
    check_neighbour((28, 1, 0), HalfPixel, RoundPreferCeil, 14);
    check_neighbour((22, 13, 6), HalfPixel, RoundPreferFloor, 10);
    check_neighbour((28, 19, 9), HalfPixel, RoundPreferFloor, 13);
}

#[test]
fn sizes_become_factors_only_if_these_are_right_in_single_and_double_precision() {
    let (mut factors, mut kept) = (0, 0);
    for from in 1..=65usize {
        for to in 1..=160usize {
            match Extent::of_sizes(&[Dim::Known(from)], vec![to]) {
                Extent::Scales(scales) => {
                    factors += 1;
                    let double = (from as f64 * f64::from(scales[0])).floor() as usize;
                    let both = (scaled(from, scales[0]), double);
                    assert_eq!(both, (to, to), "{from} to {to} by {scales:?}");
                    assert_eq!(scales[0], ratio(from, to));
                }
                Extent::Sizes(sizes) => {
                    kept += 1;
                    assert_eq!(sizes, [to]);
                }
            }
        }
    }
    assert_eq!(
        Extent::of_sizes(&[Dim::Known(3)], vec![14]),
        Extent::Sizes(vec![14])
    );
    assert_eq!(
        Extent::of_sizes(&[Dim::Known(7)], vec![14]),
        Extent::Scales(vec![2.0])
    );
    assert!(
        factors > 1000 && kept > 5000,
        "{factors} factors, {kept} kept"
    );
}
