//! Built-in data: ten classes of shapes, rendered with clutter, noise, rotation, stretch, colour
//! and occlusion. It is hard enough that narrower networks lose accuracy. Image `index` of (seed,
//! part) is always the same.
//!
//! No class is the mirror image of another, so mirrored training images keep their label.

mod draw;
mod outline;

use std::path::Path;

use rayon::prelude::*;

use crate::array::Raw;
use crate::geometry::Sizing;
use crate::split::StoredSplits;
use crate::{ArrayDataset, DataError, DataSpec, InputSpec};

pub use draw::render_shape;
pub use outline::SHAPE_CLASSES;

const TRAIN: usize = 20_000;
const TEST: usize = 4_000;
const SMALLEST: usize = 16;

pub(crate) fn open(spec: &DataSpec, input: &InputSpec) -> Result<StoredSplits, DataError> {
    if input.channels != 3 && !(input.grey && input.channels == 1) {
        let images = [3, input.height, input.width];
        return Err(DataError::mismatch("shapes", images, input.shape()));
    }
    let is_scaled = input.geometry.sizing != Sizing::Cover;
    for (option, given) in [
        ("resize", spec.resize.is_some() || is_scaled),
        ("pad", spec.pad.is_some()),
    ] {
        if given {
            let reason = "shapes are rendered at the size the model takes".to_owned();
            return Err(DataError::Option { option, reason });
        }
    }
    if input.height.min(input.width) < SMALLEST {
        let reason = format!("shapes cannot be distinguished below {SMALLEST} x {SMALLEST} pixels");
        return Err(DataError::Option {
            option: "input",
            reason,
        });
    }
    let build = |name: &str, part: u64, count: usize| {
        let shape = [3, input.height, input.width];
        let size = shape.iter().product();
        let mut pixels = vec![0; count * size];
        pixels
            .par_chunks_exact_mut(size)
            .enumerate()
            .for_each(|(index, image)| {
                render_shape(
                    index % SHAPE_CLASSES.len(),
                    [spec.seed, part, index as u64],
                    input.height,
                    input.width,
                    image,
                );
            });
        let labels = (0..count)
            .map(|index| (index % SHAPE_CLASSES.len()) as u16)
            .collect();
        let raw = Raw {
            pixels,
            labels,
            shape,
        };
        let Raw { pixels, labels, .. } = raw.fitted(input, Path::new(name))?;
        let classes = SHAPE_CLASSES.map(str::to_owned).to_vec();
        ArrayDataset::new(name, pixels, labels, classes, input)
    };
    Ok(StoredSplits::with_test(
        build("shapes train", 0, spec.train.unwrap_or(TRAIN))?,
        build("shapes test", 1, spec.test.unwrap_or(TEST))?,
    ))
}
