//! [Resize](https://onnx.ai/onnx/operators/onnx__Resize.html) of the axes after the channels.
//!
//! Sizes, an input since opset 11, are resolved into scales if these are exact. Otherwise the
//! sizes of the axes after the channels are kept, which leaves the batch open and the channels
//! free to change. Upsample, the name before opset 10, is read as well.

use super::context::{Emission, Extra, Facts, Input, Operator, Parsing, one};
use crate::dims;
use crate::fold::Element;
use crate::value::{Dim, Shape};
use crate::{GraphError, Tensor};

/// The largest size that an axis is resized to: it is exact in single precision, and so are its
/// neighbours.
const LARGEST: usize = 1 << 20;

/// Tolerance within which a position counts as halfway between two others, as in ONNX Runtime:
/// halfway positions are slightly off in single precision.
const HALFWAY: f32 = 1e-6;

/// Interpolation between positions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ResizeMode {
    /// The value of the neighbour that the rounding chooses.
    Nearest(Rounding),
    /// Between two neighbours per axis.
    Linear,
    /// Between four neighbours per axis, with this coefficient.
    Cubic(f32),
}

/// Choice of the nearest neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the specification's")]
pub enum Rounding {
    RoundPreferFloor,
    RoundPreferCeil,
    Floor,
    Ceil,
}

/// Mapping of output positions to input positions.
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

/// The sizes that the axes after the first two are resized to.
#[derive(Debug, Clone, PartialEq)]
pub enum Extent {
    /// A factor per axis: a size becomes `floor(size * factor)`, in single precision as in ONNX
    /// Runtime.
    Scales(Vec<f32>),
    /// A size per axis, for factors that no float represents. The float below 14/3 takes 3 to 13
    /// in double precision, in which ONNX's shape inference computes, and the float above samples
    /// other positions.
    Sizes(Vec<usize>),
}

/// Resizes the axes after the first two.
#[derive(Debug, Clone, PartialEq)]
pub struct Resize {
    /// The new sizes.
    pub to: Extent,
    /// Interpolation between positions.
    pub mode: ResizeMode,
    /// Mapping of output positions to input positions.
    pub coordinates: Coordinates,
}

/// The scaled size of an axis.
fn scaled(size: usize, scale: f32) -> usize {
    (size as f32 * scale).floor() as usize
}

/// The factor between two sizes, in the precision of runtimes.
fn ratio(from: usize, to: usize) -> f32 {
    to as f32 / from as f32
}

/// Whether a float represents the factor between two sizes, so that it gives the size in any
/// precision.
fn is_exact(from: usize, to: usize) -> bool {
    from > 0 && f64::from(ratio(from, to)) * from as f64 == to as f64
}

impl Extent {
    /// Sizes as factors, which fit inputs of other sizes too, if all of these are exact.
    fn of_sizes(from: &[Dim], to: Vec<usize>) -> Self {
        let factor = |(from, &to): (&Dim, &usize)| {
            from.known()
                .filter(|&from| is_exact(from, to))
                .map(|from| ratio(from, to))
        };
        let factors = from.iter().zip(&to).map(factor);
        match factors.collect() {
            Some(scales) => Self::Scales(scales),
            None => Self::Sizes(to),
        }
    }

    fn axes(&self) -> usize {
        match self {
            Self::Scales(scales) => scales.len(),
            Self::Sizes(sizes) => sizes.len(),
        }
    }
}

impl Resize {
    /// Returns the number of axes after the first two.
    #[must_use]
    pub fn axes(&self) -> usize {
        self.to.axes()
    }

    /// Returns the new size of the `axis`-th axis after the channels, whose old size is `size`.
    #[must_use]
    pub fn resized(&self, axis: usize, size: usize) -> usize {
        match &self.to {
            Extent::Scales(scales) => scales.get(axis).map_or(size, |&scale| scaled(size, scale)),
            Extent::Sizes(sizes) => sizes.get(axis).copied().unwrap_or(size),
        }
    }

    /// Returns, for each position along the `axis`-th axis after the channels, the input position
    /// whose value it takes; `size` is the old size of the axis. `None` unless the mode is
    /// [`ResizeMode::Nearest`].
    ///
    /// Positions are computed in single precision, as in ONNX Runtime: in another precision a
    /// position between two neighbours may take the other one.
    #[must_use]
    pub fn nearest(&self, axis: usize, size: usize) -> Option<Vec<usize>> {
        let ResizeMode::Nearest(rounding) = self.mode else {
            return None;
        };
        let resized = self.resized(axis, size);
        let scale = match &self.to {
            Extent::Scales(scales) => *scales.get(axis)?,
            Extent::Sizes(_) => ratio(size, resized),
        };
        let position = |at: usize| {
            let x = at as f32;
            let from = match self.coordinates {
                Coordinates::PytorchHalfPixel if resized <= 1 => 0.0,
                Coordinates::HalfPixel | Coordinates::PytorchHalfPixel => (x + 0.5) / scale - 0.5,
                Coordinates::AlignCorners if resized <= 1 => 0.0,
                Coordinates::AlignCorners => x * (size as f32 - 1.0) / (resized as f32 - 1.0),
                Coordinates::Asymmetric => x / scale,
            };
            let halfway = (from - from.floor() - 0.5).abs() < HALFWAY;
            let nearest = match rounding {
                Rounding::Floor => from.floor(),
                Rounding::Ceil => from.ceil(),
                Rounding::RoundPreferFloor if halfway => from.floor(),
                Rounding::RoundPreferCeil if halfway => from.ceil(),
                Rounding::RoundPreferFloor | Rounding::RoundPreferCeil => from.round(),
            };
            // Negative numbers convert to zero.
            (nearest as usize).min(size.saturating_sub(1))
        };
        Some((0..resized).map(position).collect())
    }

    /// The sizes of a node that lists them, for an input of `shape`.
    fn from_sizes(shape: &[Dim], sizes: &[Element]) -> Option<Extent> {
        let same = |(dim, size): (&Dim, &Element)| Element::from(dim.clone()) == *size;
        if sizes.len() != shape.len() || !shape.iter().zip(sizes).take(2).all(same) {
            return None;
        }
        let known = |size: &Element| match size {
            Element::Known(size) => usize::try_from(*size)
                .ok()
                .filter(|s| (1..=LARGEST).contains(s)),
            Element::Open(_) | Element::Unknown => None,
        };
        let to: Vec<usize> = sizes[2..].iter().map(known).collect::<Option<_>>()?;
        Some(Extent::of_sizes(&shape[2..], to))
    }

    /// `axes` are those that scales and sizes are stated for; all others keep their sizes.
    fn extent(
        node: &mut Parsing<'_>,
        stated: Option<Vec<f32>>,
        axes: Option<Vec<i64>>,
    ) -> Option<Extent> {
        let shape = node.shape(0)?.to_vec();
        if shape.len() < 3 {
            return None;
        }
        let axes = match axes {
            None => (0..shape.len()).collect(),
            Some(axes) => {
                let axes = axes.iter().map(|&axis| dims::axis(axis, shape.len()));
                axes.collect::<Result<Vec<_>, _>>().ok()?
            }
        };
        let scales = match stated {
            Some(scales) => Input::Known(scales),
            None => node.floats_input(if node.opset < 11 { 1 } else { 2 }),
        };
        match scales {
            Input::Known(stated) if !stated.is_empty() => {
                let all = spread(&axes, &stated, vec![1.0; shape.len()])?;
                let fits = all[..2] == [1.0, 1.0];
                return fits.then(|| Extent::Scales(all[2..].to_vec()));
            }
            Input::Dynamic => return None,
            Input::Known(_) | Input::Absent => {}
        }
        let own: Vec<Element> = shape.iter().cloned().map(Element::from).collect();
        if let Some(sizes) = node.sizes_input(3) {
            return Self::from_sizes(&shape, &spread(&axes, sizes.elements()?, own)?);
        }
        let Input::Known(sizes) = node.int_input(3) else {
            return None;
        };
        let sizes: Vec<Element> = sizes.into_iter().map(Element::Known).collect();
        Self::from_sizes(&shape, &spread(&axes, &sizes, own)?)
    }
}

/// `all` with an entry of `stated` for each of `axes`; `None` if they are not as many.
fn spread<T: Clone>(axes: &[usize], stated: &[T], mut all: Vec<T>) -> Option<Vec<T>> {
    for (&axis, entry) in axes.iter().zip(stated) {
        *all.get_mut(axis)? = entry.clone();
    }
    (axes.len() == stated.len()).then_some(all)
}

impl Operator for Resize {
    const NAME: &'static str = "Resize";
    const VERSIONS: &'static [i64] = &[10, 11, 13, 18, 19];
    const INPUTS: (usize, usize) = (1, 1);
    const SINCE: i64 = 11;

    fn parse(node: &mut Parsing<'_>) -> Result<Option<Self>, GraphError> {
        let rounding = node.text("nearest_mode")?.unwrap_or("round_prefer_floor");
        let rounding = named(&ROUNDINGS, rounding);
        let cubic = node.float("cubic_coeff_a", -0.75)?;
        let supported = !node.flag("exclude_outside", false)?
            && !node.flag("antialias", false)?
            && node
                .text("keep_aspect_ratio_policy")?
                .is_none_or(|p| p == "stretch");
        // Only the mapping `tf_crop_and_resize`, which stays opaque, uses the value.
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
        let axes = node.ints("axes")?;
        if !supported {
            return Ok(None);
        }
        let stated = node.floats("scales")?;
        let Some(to) = Self::extent(node, stated, axes) else {
            return Ok(None);
        };
        if let Extent::Scales(scales) = &to
            && scales.iter().any(|s| !(s.is_finite() && *s > 0.0))
        {
            return Err(node.malformed(format!("scales {scales:?}")));
        }
        let mode = match (mode, &to) {
            // The first form does not specify the rounding: runtimes round down where an axis
            // grows and up where it shrinks.
            (ResizeMode::Nearest(_), Extent::Scales(scales)) if node.opset < 11 => {
                let (grows, shrinks) = (|&s: &f32| s >= 1.0, |&s: &f32| s <= 1.0);
                if scales.iter().all(grows) {
                    ResizeMode::Nearest(Rounding::Floor)
                } else if scales.iter().all(shrinks) {
                    ResizeMode::Nearest(Rounding::Ceil)
                } else {
                    return Ok(None);
                }
            }
            (mode, _) => mode,
        };
        node.keep_inputs(1);
        Ok(Some(Self {
            to,
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
        // Before opset 13 region and scales cannot be omitted; an empty tensor means absent.
        let absent = |name, out: &Emission| match Tensor::f32([0], Vec::new()) {
            Ok(empty) if out.opset < 13 => Some(Extra::Tensor(name, empty)),
            _ => None,
        };
        let region = absent("roi", out);
        out.inputs.push(region);
        match &self.to {
            Extent::Scales(scales) => {
                let all: Vec<f32> = [1.0, 1.0]
                    .into_iter()
                    .chain(scales.iter().copied())
                    .collect();
                // A list of that length always makes a tensor.
                let scales = Tensor::f32([all.len()], all).ok();
                out.inputs
                    .extend(scales.map(|t| Some(Extra::Tensor("scales", t))));
            }
            Extent::Sizes(sizes) => {
                let scales = absent("scales", out);
                out.inputs.push(scales);
                let rest = sizes.iter().map(|&size| size as i64).collect();
                out.inputs.push(Some(Extra::Sizes("sizes", 2, rest)));
            }
        }
    }

    fn shapes(&self, facts: &Facts<'_>) -> Result<Vec<Option<Shape>>, String> {
        let Some(x) = facts.ranked(0, self.axes() + 2, "the input")? else {
            return one(None);
        };
        let resize = |(axis, dim): (usize, &Dim)| match (dim, &self.to) {
            (Dim::Known(n), _) if self.resized(axis, *n) > 0 && *n > 0 => {
                Ok(Dim::Known(self.resized(axis, *n)))
            }
            (Dim::Known(n), to) => Err(format!("a size of {n} resized by {to:?} leaves nothing")),
            (Dim::Symbol(_), Extent::Sizes(sizes)) => Ok(Dim::Known(sizes[axis])),
            (Dim::Symbol(s), Extent::Scales(scales)) if scales[axis] == 1.0 => {
                Ok(Dim::Symbol(s.clone()))
            }
            (Dim::Symbol(s), Extent::Scales(scales)) => {
                Ok(Dim::Symbol(format!("floor({s}*{})", scales[axis])))
            }
        };
        let spatial = x[2..].iter().enumerate().map(resize);
        let spatial: Vec<Dim> = spatial.collect::<Result<_, _>>()?;
        one(Some(x[..2].iter().cloned().chain(spatial).collect()))
    }
}

#[cfg(test)]
mod tests;
