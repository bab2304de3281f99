//! Renders one image: background, clutter, the shape, occlusion, noise.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::outline::{self, SHAPE_CLASSES};

type Colour = [f32; 3];

/// A value for the easiest and for the hardest image. Every image has a difficulty, uniform in
/// 0..=1, that interpolates between them. Easy images let training start quickly; hard ones need
/// a wide network.
struct Range(f32, f32);

/// Largest radius of the shape, as a share of the image's smaller side.
const RADIUS: Range = Range(0.42, 0.32);
/// Largest random reduction of the radius.
const RADIUS_SPREAD: f32 = 0.06;
/// Smallest ratio of the shape's extents.
const STRETCH: Range = Range(0.85, 0.6);
/// Smallest luma difference (0..=1) of shape and background.
const LIGHTER: Range = Range(0.3, 0.1);
/// Largest random increase of the luma difference.
const LIGHTER_SPREAD: f32 = 0.2;
/// Standard deviation of the noise.
const NOISE: Range = Range(0.01, 0.14);
/// Probability that an object covers an edge of the shape.
const COVERED: Range = Range(0.1, 0.8);
/// Radius of the covering object.
const COVER: Range = Range(0.06, 0.19);
/// Most small shapes.
const DISTRACTORS: Range = Range(1.0, 4.0);
/// Most spots and strokes.
const CLUTTER: Range = Range(2.0, 5.0);

/// Radii of distractors, as a share of the image's smaller side.
const DISTRACTOR: (f32, f32) = (0.06, 0.11);
/// Largest rotation in radians: any, because no class is a rotation of another.
const TURN: f32 = std::f32::consts::PI;
/// Largest luma (0..=1) of the background.
const BACKGROUND: f32 = 0.5;

impl Range {
    fn at(&self, difficulty: f32) -> f32 {
        self.0 + (self.1 - self.0) * difficulty
    }

    fn count(&self, difficulty: f32) -> usize {
        self.at(difficulty).round() as usize
    }
}

/// The image in progress, values about 0..=1.
struct Canvas {
    height: usize,
    width: usize,
    pixels: Vec<Colour>,
}

impl Canvas {
    /// Blends colours over the canvas. `paint` returns the signed distance of a point in pixels
    /// (negative inside) and its colour.
    fn lay(&mut self, opacity: f32, mut paint: impl FnMut(f32, f32) -> (f32, Colour)) {
        for y in 0..self.height {
            for x in 0..self.width {
                let (distance, colour) = paint(x as f32 + 0.5, y as f32 + 0.5);
                let cover = (0.5 - distance).clamp(0.0, 1.0) * opacity;
                let pixel = &mut self.pixels[y * self.width + x];
                for (value, new) in pixel.iter_mut().zip(colour) {
                    *value += (new - *value) * cover;
                }
            }
        }
    }
}

/// Position, rotation and stretch of a shape.
struct Pose {
    centre: [f32; 2],
    /// Pixels to shape units: rotation, stretch and scale.
    matrix: [f32; 4],
    /// Approximate pixels per shape unit.
    radius: f32,
}

impl Pose {
    fn random(
        rng: &mut ChaCha8Rng,
        side: f32,
        radius: (f32, f32),
        centre: [f32; 2],
        stretch: f32,
    ) -> Self {
        let radius = side * rng.random_range(radius.0..radius.1);
        let (sin, cos) = rng.random_range(-TURN..TURN).sin_cos();
        let stretch = rng.random_range(stretch..1.0f32);
        let (a, b) = (1.0 / radius, 1.0 / (radius * stretch));
        // The stretch has its own direction, so that it also shears.
        let (s2, c2) = rng.random_range(0.0..std::f32::consts::PI).sin_cos();
        let stretched = [
            c2 * c2 * a + s2 * s2 * b,
            c2 * s2 * (a - b),
            c2 * s2 * (a - b),
            s2 * s2 * a + c2 * c2 * b,
        ];
        let matrix = [
            cos * stretched[0] + sin * stretched[2],
            cos * stretched[1] + sin * stretched[3],
            -sin * stretched[0] + cos * stretched[2],
            -sin * stretched[1] + cos * stretched[3],
        ];
        Self {
            centre,
            matrix,
            radius,
        }
    }

    fn distance(&self, class: usize, x: f32, y: f32) -> f32 {
        let (dx, dy) = (x - self.centre[0], y - self.centre[1]);
        let m = &self.matrix;
        outline::distance(class, [m[0] * dx + m[1] * dy, m[2] * dx + m[3] * dy]) * self.radius
    }
}

fn colour(rng: &mut ChaCha8Rng) -> Colour {
    [
        rng.random_range(0.05..0.95),
        rng.random_range(0.05..0.95),
        rng.random_range(0.05..0.95),
    ]
}

fn mix(a: Colour, b: Colour, part: f32) -> Colour {
    [
        a[0] + (b[0] - a[0]) * part,
        a[1] + (b[1] - a[1]) * part,
        a[2] + (b[2] - a[2]) * part,
    ]
}

/// Luma weights of ITU-R BT.601.
fn luma(colour: Colour) -> f32 {
    0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
}

/// Draws a colour for the background.
fn dark(rng: &mut ChaCha8Rng) -> Colour {
    let candidate = colour(rng);
    let most = BACKGROUND / luma(candidate).max(BACKGROUND);
    candidate.map(|v| v * most)
}

/// Draws a colour whose luma exceeds that of `background` by at least `least`.
fn lighter(rng: &mut ChaCha8Rng, background: Colour, least: f32) -> Colour {
    let candidate = colour(rng);
    let target = luma(background) + least + rng.random_range(0.0..LIGHTER_SPREAD);
    let missing = target - luma(candidate);
    candidate.map(|v| (v + missing).clamp(0.0, 1.0))
}

/// A smooth random field: an interpolated coarse grid of values in -1..=1.
struct Field {
    grid: Vec<f32>,
    cells: usize,
}

impl Field {
    fn random(rng: &mut ChaCha8Rng, cells: usize) -> Self {
        Self {
            grid: (0..(cells + 1) * (cells + 1))
                .map(|_| rng.random_range(-1.0..1.0))
                .collect(),
            cells,
        }
    }

    /// Value at (x, y) in 0..=1.
    fn at(&self, x: f32, y: f32) -> f32 {
        let smooth = |v: f32| v * v * (3.0 - 2.0 * v);
        let (gx, gy) = (x * self.cells as f32, y * self.cells as f32);
        let (ix, iy) = (
            (gx as usize).min(self.cells - 1),
            (gy as usize).min(self.cells - 1),
        );
        let (fx, fy) = (smooth(gx - ix as f32), smooth(gy - iy as f32));
        let value = |x: usize, y: usize| self.grid[y * (self.cells + 1) + x];
        let top = value(ix, iy) + (value(ix + 1, iy) - value(ix, iy)) * fx;
        let bottom = value(ix, iy + 1) + (value(ix + 1, iy + 1) - value(ix, iy + 1)) * fx;
        top + (bottom - top) * fy
    }
}

/// Renders an image of class `class` (an index into [`SHAPE_CLASSES`]) into `out`: 3 planes of
/// `height` x `width` bytes. Equal keys give equal images. Panics if `class` or the length of
/// `out` does not fit.
pub fn render_shape(class: usize, key: [u64; 3], height: usize, width: usize, out: &mut [u8]) {
    assert!(
        class < SHAPE_CLASSES.len() && out.len() == 3 * height * width,
        "class or buffer does not fit"
    );
    let mut seed = [0; 32];
    for (bytes, part) in seed.chunks_exact_mut(8).zip(key) {
        bytes.copy_from_slice(&part.to_le_bytes());
    }
    seed[24..].copy_from_slice(b"shapes-1");
    let rng = &mut ChaCha8Rng::from_seed(seed);
    let side = height.min(width) as f32;
    let hard = rng.random_range(0.0..1.0f32);
    let background = dark(rng);
    let mut canvas = paint_background(rng, height, width, background);

    for _ in 0..rng.random_range(0..=CLUTTER.count(hard)) {
        clutter(rng, &mut canvas, side);
    }
    let position = |rng: &mut ChaCha8Rng, margin: f32| {
        let along = |rng: &mut ChaCha8Rng, size: usize| {
            let slack = (size as f32 * 0.5 - side * margin).max(0.5);
            size as f32 * 0.5 + rng.random_range(-slack..slack)
        };
        [along(rng, width), along(rng, height)]
    };
    for _ in 0..rng.random_range(0..=DISTRACTORS.count(hard)) {
        let centre = position(rng, 0.05);
        distractor(rng, &mut canvas, side, centre, DISTRACTOR);
    }

    let centre = position(rng, 0.36);
    let largest = RADIUS.at(hard);
    let radius = (largest - RADIUS_SPREAD, largest);
    let pose = Pose::random(rng, side, radius, centre, STRETCH.at(hard));
    let fill = lighter(rng, background, LIGHTER.at(hard));
    main_shape(rng, &mut canvas, class, &pose, fill);

    // An object may cover an edge of the shape, never its middle.
    if rng.random_bool(f64::from(COVERED.at(hard))) {
        let angle = rng.random_range(0.0..std::f32::consts::TAU);
        let away = pose.radius * rng.random_range(0.75..1.15);
        let centre = [
            pose.centre[0] + away * angle.cos(),
            pose.centre[1] + away * angle.sin(),
        ];
        let most = COVER.at(hard);
        distractor(rng, &mut canvas, side, centre, (most * 0.6, most));
    }
    if rng.random_bool(0.25) {
        line(rng, &mut canvas, side, 0.9);
    }
    // Half of the images are inverted, so that shapes are lighter or darker than their
    // background.
    if rng.random_bool(0.5) {
        for pixel in &mut canvas.pixels {
            *pixel = pixel.map(|v| 1.0 - v);
        }
    }
    finish(rng, &canvas, NOISE.at(hard), out);
}

fn paint_background(rng: &mut ChaCha8Rng, height: usize, width: usize, base: Colour) -> Canvas {
    let shade = mix(base, colour(rng), rng.random_range(0.0..0.35));
    let (coarse, fine) = (Field::random(rng, 3), Field::random(rng, 9));
    let (sin, cos) = rng.random_range(0.0..std::f32::consts::TAU).sin_cos();
    let texture = rng.random_range(0.0..0.08);
    let mut canvas = Canvas {
        height,
        width,
        pixels: vec![base; height * width],
    };
    for (index, pixel) in canvas.pixels.iter_mut().enumerate() {
        let (x, y) = (
            (index % width) as f32 / width as f32,
            (index / width) as f32 / height as f32,
        );
        let part = (0.5 + 0.5 * (cos * (x - 0.5) + sin * (y - 0.5)) + 0.3 * coarse.at(x, y))
            .clamp(0.0, 1.0);
        *pixel = mix(base, shade, part).map(|v| v + texture * fine.at(x, y));
    }
    canvas
}

fn clutter(rng: &mut ChaCha8Rng, canvas: &mut Canvas, side: f32) {
    if rng.random_bool(0.5) {
        return line(rng, canvas, side, 0.6);
    }
    let centre = [
        rng.random_range(0.0..canvas.width as f32),
        rng.random_range(0.0..canvas.height as f32),
    ];
    let radius = side * rng.random_range(0.03..0.14);
    let (stretch, paint) = (rng.random_range(0.4..1.0f32), colour(rng));
    canvas.lay(rng.random_range(0.25..0.7), |x, y| {
        let (dx, dy) = (x - centre[0], (y - centre[1]) / stretch);
        ((dx * dx + dy * dy).sqrt() - radius, paint)
    });
}

/// Draws a straight stroke across the image.
fn line(rng: &mut ChaCha8Rng, canvas: &mut Canvas, side: f32, opacity: f32) {
    let through = [
        rng.random_range(0.0..canvas.width as f32),
        rng.random_range(0.0..canvas.height as f32),
    ];
    let (sin, cos) = rng.random_range(0.0..std::f32::consts::TAU).sin_cos();
    let (half, paint) = (side * rng.random_range(0.012..0.035), colour(rng));
    canvas.lay(opacity * rng.random_range(0.5..1.0), |x, y| {
        let distance = (x - through[0]) * sin - (y - through[1]) * cos;
        (distance.abs() - half, paint)
    });
}

/// Draws a small shape of any class; the label is that of the large one.
fn distractor(
    rng: &mut ChaCha8Rng,
    canvas: &mut Canvas,
    side: f32,
    centre: [f32; 2],
    radius: (f32, f32),
) {
    let class = rng.random_range(0..SHAPE_CLASSES.len());
    let pose = Pose::random(rng, side, radius, centre, 0.6);
    let paint = colour(rng);
    canvas.lay(rng.random_range(0.6..1.0), |x, y| {
        (pose.distance(class, x, y), paint)
    });
}

fn main_shape(rng: &mut ChaCha8Rng, canvas: &mut Canvas, class: usize, pose: &Pose, fill: Colour) {
    let second = mix(fill, colour(rng), rng.random_range(0.0..0.35));
    let (sin, cos) = rng.random_range(0.0..std::f32::consts::TAU).sin_cos();
    let stripes = rng.random_bool(0.15);
    let period = pose.radius * rng.random_range(0.35..0.7);
    let opacity = rng.random_range(0.75..1.0);
    canvas.lay(opacity, |x, y| {
        let along = (x - pose.centre[0]) * cos + (y - pose.centre[1]) * sin;
        let part = if stripes {
            0.5 + 0.5 * (along / period * std::f32::consts::TAU).sin()
        } else {
            (0.5 + 0.5 * along / pose.radius).clamp(0.0, 1.0)
        };
        (pose.distance(class, x, y), mix(fill, second, part))
    });
}

/// Applies the effects of lens and sensor: a slight blur, exposure, noise.
fn finish(rng: &mut ChaCha8Rng, canvas: &Canvas, noise: f32, out: &mut [u8]) {
    let (height, width) = (canvas.height, canvas.width);
    let blur = rng.random_range(0.0..0.22f32);
    let (gain, lift) = (
        rng.random_range(0.75..1.15f32),
        rng.random_range(-0.08..0.08f32),
    );
    let pixel = |x: usize, y: usize| canvas.pixels[y * width + x];
    let size = height * width;
    for y in 0..height {
        for x in 0..width {
            let neighbours = [
                pixel(x.saturating_sub(1), y),
                pixel((x + 1).min(width - 1), y),
                pixel(x, y.saturating_sub(1)),
                pixel(x, (y + 1).min(height - 1)),
            ];
            // A sum of four uniform values (standard deviation sqrt(4 / 12)) is close enough to
            // normal. Another distribution would change the data and its identity.
            let mut normal = || (0..4).map(|_| rng.random_range(-0.5..0.5f32)).sum::<f32>() * 1.732;
            let shared = normal() * noise * 0.6;
            for channel in 0..3 {
                let around = neighbours.iter().map(|n| n[channel]).sum::<f32>() * 0.25;
                let own = pixel(x, y)[channel];
                let value = own + (around - own) * blur;
                let value = value * gain + lift + shared + normal() * noise * 0.8;
                out[channel * size + y * width + x] = (value.clamp(0.0, 1.0) * 255.0).round() as u8;
            }
        }
    }
}
