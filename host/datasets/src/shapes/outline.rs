//! The classes and signed distances to their outlines: negative inside, in units of the shape's
//! radius.

use std::{f32::consts::TAU, sync::LazyLock};

/// Class names, indexed by label.
pub const SHAPE_CLASSES: [&str; 10] = [
    "circle", "square", "triangle", "pentagon", "star", "cross", "ring", "crescent", "heart",
    "arrow",
];

/// A point of the plane; y points down.
pub(super) type Point = [f32; 2];

/// Radius of the circle.
const CIRCLE: f32 = 0.85;
/// Radius and half the thickness of the ring.
const RING: (f32, f32) = (0.68, 0.2);
/// The crescent is a disc minus a shifted one: both radii and the shift.
const CRESCENT: (f32, f32, f32) = (0.92, 0.8, 0.48);

static POLYGONS: LazyLock<[Vec<Point>; 10]> = LazyLock::new(|| {
    let regular = |corners: usize, radius: f32| star(corners, radius, None);
    [
        Vec::new(),
        regular(4, 1.0),
        regular(3, 1.05),
        regular(5, 0.98),
        star(5, 1.08, Some(0.46)),
        cross(0.95, 0.3),
        Vec::new(),
        Vec::new(),
        heart(),
        arrow(),
    ]
});

/// Returns corners at `radius`, alternating with corners at `inner` if given.
fn star(corners: usize, radius: f32, inner: Option<f32>) -> Vec<Point> {
    let count = if inner.is_some() {
        2 * corners
    } else {
        corners
    };
    (0..count)
        .map(|i| {
            let angle = i as f32 / count as f32 * TAU;
            let r = if i % 2 == 1 {
                inner.unwrap_or(radius)
            } else {
                radius
            };
            [r * angle.sin(), -r * angle.cos()]
        })
        .collect()
}

fn cross(arm: f32, half: f32) -> Vec<Point> {
    let (a, h) = (arm, half);
    vec![
        [-h, -a],
        [h, -a],
        [h, -h],
        [a, -h],
        [a, h],
        [h, h],
        [h, a],
        [-h, a],
        [-h, h],
        [-a, h],
        [-a, -h],
        [-h, -h],
    ]
}

fn arrow() -> Vec<Point> {
    vec![
        [0.0, -1.0],
        [0.78, -0.1],
        [0.3, -0.1],
        [0.3, 0.95],
        [-0.3, 0.95],
        [-0.3, -0.1],
        [-0.78, -0.1],
    ]
}

/// The curve x = sin^3 t, y = (13 cos t - 5 cos 2t - 2 cos 3t - cos 4t) / 16.
fn heart() -> Vec<Point> {
    (0..28)
        .map(|i| {
            let t = i as f32 / 28.0 * TAU;
            let y =
                13.0 * t.cos() - 5.0 * (2.0 * t).cos() - 2.0 * (3.0 * t).cos() - (4.0 * t).cos();
            [0.95 * t.sin().powi(3), -y / 16.0 - 0.1]
        })
        .collect()
}

/// Returns the signed distance of `p` to the outline of class `class`.
pub(super) fn distance(class: usize, p: Point) -> f32 {
    let length = (p[0] * p[0] + p[1] * p[1]).sqrt();
    match class {
        0 => length - CIRCLE,
        6 => (length - RING.0).abs() - RING.1,
        7 => {
            let (outer, inner, shift) = CRESCENT;
            let x = p[0] - shift;
            (length - outer).max(inner - (x * x + p[1] * p[1]).sqrt())
        }
        _ => polygon(&POLYGONS[class], p),
    }
}

/// Returns the distance to the nearest edge, negative if a ray from `p` crosses the outline an
/// odd number of times.
fn polygon(corners: &[Point], p: Point) -> f32 {
    let mut nearest = f32::INFINITY;
    let mut inside = false;
    let mut from = corners[corners.len() - 1];
    for &to in corners {
        let (edge, offset) = (
            [to[0] - from[0], to[1] - from[1]],
            [p[0] - from[0], p[1] - from[1]],
        );
        let along =
            (offset[0] * edge[0] + offset[1] * edge[1]) / (edge[0] * edge[0] + edge[1] * edge[1]);
        let along = along.clamp(0.0, 1.0);
        let (dx, dy) = (offset[0] - edge[0] * along, offset[1] - edge[1] * along);
        nearest = nearest.min(dx * dx + dy * dy);
        if (from[1] > p[1]) != (to[1] > p[1]) && offset[0] < edge[0] * offset[1] / edge[1] {
            inside = !inside;
        }
        from = to;
    }
    if inside {
        -nearest.sqrt()
    } else {
        nearest.sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_lies_within_its_radius_and_fills_much_of_it() {
        for class in 0..10 {
            let mut inside = 0;
            for y in -60..=60 {
                for x in -60..=60 {
                    let p = [x as f32 / 40.0, y as f32 / 40.0];
                    if distance(class, p) < 0.0 {
                        inside += 1;
                        assert!(
                            p[0] * p[0] + p[1] * p[1] < 1.2 * 1.2,
                            "class {class} at {p:?}"
                        );
                    }
                }
            }
            let area = inside as f32 / 1600.0;
            assert!((0.8..2.5).contains(&area), "class {class} has area {area}");
        }
    }

    #[test]
    fn distances_are_those_to_the_outline() {
        let check = |class: usize, p: Point, expected: f32| {
            let actual = distance(class, p);
            assert!(
                (actual - expected).abs() < 1e-5,
                "class {class} at {p:?}: {actual}"
            );
        };
        check(0, [0.0, 0.0], -0.85);
        check(0, [3.0, 4.0], 4.15);
        check(1, [0.0, 0.0], -(0.5f32.sqrt()));
        check(1, [2.0, 0.0], 1.0);
        check(5, [0.0, 0.95], 0.0);
        check(5, [0.0, 1.95], 1.0);
        check(6, [0.0, 0.0], 0.48);
        check(9, [0.0, -2.0], 1.0);
    }
}
