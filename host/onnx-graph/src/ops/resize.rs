//! [Resize](https://onnx.ai/onnx/operators/onnx__Resize.html) of the axes after the channels. Sizes, an input since opset
//! 11, are resolved into scales where the input's are known: an open batch and channels that pruning changes then need no
//! naming.

use super::context::{Emission, Facts, Input, Operator, Parsing, one};
use crate::fold::Element;
use crate::graph::{Dim, Shape};
use crate::{GraphError, Tensor};

/// How values between positions are found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ResizeMode {
    /// The value of one neighbour, chosen by this rounding.
    Nearest(Rounding),
    /// Between the two neighbours of each axis.
    Linear,
    /// Between four, by this coefficient.
    Cubic(f32),
}

/// Which neighbour is the nearest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the specification's")]
pub enum Rounding {
    RoundPreferFloor,
    RoundPreferCeil,
    Floor,
    Ceil,
}

/// Which position of the input an output position comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the specification's")]
pub enum Coordinates {
    HalfPixel,
    PytorchHalfPixel,
    AlignCorners,
    Asymmetric,
}

const ROUNDINGS: [(&str, Rounding); 4] = [
    ("round_prefer_floor", Rounding::RoundPreferFloor),
    ("round_prefer_ceil", Rounding::RoundPreferCeil),
    ("floor", Rounding::Floor),
    ("ceil", Rounding::Ceil),
];

const COORDINATES: [(&str, Coordinates); 4] = [
    ("half_pixel", Coordinates::HalfPixel),
    ("pytorch_half_pixel", Coordinates::PytorchHalfPixel),
    ("align_corners", Coordinates::AlignCorners),
    ("asymmetric", Coordinates::Asymmetric),
];

fn named<T: Copy>(table: &[(&str, T)], name: &str) -> Option<T> {
    table
        .iter()
        .find(|(n, _)| *n == name)
        .map(|(_, value)| *value)
}

fn name_of<T: PartialEq>(table: &[(&'static str, T)], value: &T) -> &'static str {
    table
        .iter()
        .find(|(_, v)| v == value)
        .map_or("", |(n, _)| n)
}

/// Resizes the axes after the first two.
#[derive(Debug, Clone, PartialEq)]
pub struct Resize {
    /// Factor of each axis from the third on; a size becomes `floor(size * factor)`.
    pub scales: Vec<f32>,
    /// How values are found.
    pub mode: ResizeMode,
    /// Where they are looked for.
    pub coordinates: Coordinates,
}

/// Size of an axis of `size` after scaling.
fn scaled(size: usize, scale: f32) -> usize {
    (size as f32 * scale).floor() as usize
}

/// The factor that makes `to` out of `from`, as runtimes compute it from sizes, or the next one that does.
fn factor(from: usize, to: usize) -> Option<f32> {
    if from == 0 || to == 0 || from.max(to) > 1 << 20 {
        return None;
    }
    let mut scale = to as f32 / from as f32;
    for _ in 0..4 {
        if scaled(from, scale) == to {
            return Some(scale);
        }
        scale = scale.next_up();
    }
    None
}

impl Resize {
    /// Size of the `axis`-th axis after the channels, which is `size` before: `floor(size * scale)`.
    #[must_use]
    pub fn resized(&self, axis: usize, size: usize) -> usize {
        self.scales
            .get(axis)
            .map_or(size, |&scale| scaled(size, scale))
    }

    /// The factors of a node with a list of sizes.
    fn from_sizes(shape: &[Dim], sizes: &[Element]) -> Option<Vec<f32>> {
        let same = |(dim, size): (&Dim, &Element)| Element::from(dim.clone()) == *size;
        if sizes.len() != shape.len() || !shape.iter().zip(sizes).take(2).all(same) {
            return None;
        }
        let spatial = shape[2..].iter().zip(&sizes[2..]);
        spatial
            .map(|(dim, size)| match size {
                Element::Known(size) => factor(dim.known()?, usize::try_from(*size).ok()?),
                Element::Open(_) => None,
            })
            .collect()
    }

    fn scales(node: &mut Parsing<'_>) -> Option<Vec<f32>> {
        let shape = node.shape(0)?.to_vec();
        if shape.len() < 3 {
            return None;
        }
        let at = if node.opset < 11 { 1 } else { 2 };
        match node.floats_input(at) {
            Input::Known(all) if !all.is_empty() => {
                let fits = all.len() == shape.len() && all[..2] == [1.0, 1.0];
                return fits.then(|| all[2..].to_vec());
            }
            Input::Dynamic => return None,
            Input::Known(_) | Input::Absent => {}
        }
        if let Some(sizes) = node.sizes_input(3) {
            return Self::from_sizes(&shape, sizes.elements()?);
        }
        let Input::Known(sizes) = node.int_input(3) else {
            return None;
        };
        let sizes: Vec<Element> = sizes.into_iter().map(Element::Known).collect();
        Self::from_sizes(&shape, &sizes)
    }
}

impl Operator for Resize {
    const NAME: &'static str = "Resize";
    const INPUTS: (usize, usize) = (1, 1);

    fn parse(node: &mut Parsing<'_>) -> Result<Option<Self>, GraphError> {
        let rounding = node.text("nearest_mode")?.unwrap_or("round_prefer_floor");
        let rounding = if node.opset < 11 {
            Some(Rounding::Floor)
        } else {
            named(&ROUNDINGS, rounding)
        };
        let cubic = node.float("cubic_coeff_a", -0.75)?;
        let plain = !node.flag("exclude_outside", false)?
            && !node.flag("antialias", false)?
            && node
                .text("keep_aspect_ratio_policy")?
                .is_none_or(|p| p == "stretch");
        // Only one way of finding coordinates, which is not read, uses the value outside.
        node.float("extrapolation_value", 0.0)?;
        let mode = match (node.text("mode")?.unwrap_or("nearest"), rounding) {
            ("nearest", Some(rounding)) => ResizeMode::Nearest(rounding),
            ("linear", _) => ResizeMode::Linear,
            ("cubic", _) => ResizeMode::Cubic(cubic),
            _ => return Ok(None),
        };
        let default = if node.opset < 11 {
            "asymmetric"
        } else {
            "half_pixel"
        };
        let coordinates = node
            .text("coordinate_transformation_mode")?
            .unwrap_or(default);
        let Some(coordinates) = named(&COORDINATES, coordinates) else {
            return Ok(None);
        };
        if !plain || node.ints("axes")?.is_some() {
            return Ok(None);
        }
        let Some(scales) = Self::scales(node) else {
            return Ok(None);
        };
        if scales.iter().any(|s| !(s.is_finite() && *s > 0.0)) {
            return Err(node.malformed(format!("scales {scales:?}")));
        }
        node.keep_inputs(1);
        Ok(Some(Self {
            scales,
            mode,
            coordinates,
        }))
    }

    fn emit(&self, out: &mut Emission) {
        let mode = match self.mode {
            ResizeMode::Nearest(rounding) => {
                out.text("nearest_mode", name_of(&ROUNDINGS, &rounding));
                "nearest"
            }
            ResizeMode::Linear => "linear",
            ResizeMode::Cubic(a) => {
                out.float("cubic_coeff_a", a);
                "cubic"
            }
        };
        out.text("mode", mode);
        out.text(
            "coordinate_transformation_mode",
            name_of(&COORDINATES, &self.coordinates),
        );
        let all: Vec<f32> = [1.0, 1.0]
            .into_iter()
            .chain(self.scales.iter().copied())
            .collect();
        out.inputs.push(None);
        // A list of that length always makes a tensor.
        out.inputs.extend(
            Tensor::f32([all.len()], all)
                .ok()
                .map(|t| Some(("scales", t))),
        );
    }

    fn shapes(&self, facts: &Facts<'_>) -> Result<Vec<Option<Shape>>, String> {
        let Some(x) = facts.ranked(0, self.scales.len() + 2, "the input")? else {
            return one(None);
        };
        let resize = |(dim, &scale): (&Dim, &f32)| match dim {
            Dim::Known(n) if scaled(*n, scale) > 0 => Ok(Dim::Known(scaled(*n, scale))),
            Dim::Known(n) => Err(format!("a size of {n} scaled by {scale} leaves nothing")),
            Dim::Symbol(s) if scale == 1.0 => Ok(Dim::Symbol(s.clone())),
            Dim::Symbol(s) => Ok(Dim::Symbol(format!("floor({s}*{scale})"))),
        };
        let spatial: Vec<Dim> = x[2..]
            .iter()
            .zip(&self.scales)
            .map(resize)
            .collect::<Result<_, _>>()?;
        one(Some(x[..2].iter().cloned().chain(spatial).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_give_back_the_sizes_they_were_made_of() {
        for from in 1..200 {
            for to in [1, 2, 7, 33, 64, 65, 127, 200, 513] {
                let scale = factor(from, to).unwrap();
                assert_eq!(scaled(from, scale), to, "{from} to {to} by {scale}");
                assert!(
                    (f64::from(scale) - to as f64 / from as f64).abs() < 1e-6 * f64::from(scale)
                );
            }
        }
        assert_eq!(factor(0, 3), None);
        assert_eq!(factor(3, 0), None);
    }
}
