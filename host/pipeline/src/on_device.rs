//! Outputs of networks on the device, and how far they are from others.

use datasets::TensorSpec;
use latency::{InputShape, Model};
use measuring::Session;

use crate::error::PipelineError;

/// How images are fed to a network.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Feed {
    /// Channels, height, width.
    pub image: [usize; 3],
    /// Images of a batch, where the network fixes them.
    pub batch: Option<usize>,
}

/// Images of a batch where the network takes any number.
const BATCH: usize = 50;

/// The device's outputs for `images` (row-major NCHW), in batches of the network's size. The last
/// one is filled up with images from the front.
pub(crate) fn outputs_on_device(
    session: &mut Session,
    model: &Model,
    images: &[f32],
    feed: Feed,
) -> Result<Vec<f32>, PipelineError> {
    let [c, h, w] = feed.image;
    let size = (c * h * w).max(1);
    let count = images.len() / size;
    let batch = feed.batch.unwrap_or(count.min(BATCH)).max(1);
    let mut outputs = Vec::new();
    for first in (0..count).step_by(batch) {
        let indices = (first..first + batch).map(|i| i % count);
        let image = |i: usize| &images[i * size..(i + 1) * size];
        let fed: Vec<f32> = indices.flat_map(image).copied().collect();
        outputs.extend(session.run(model, &fed, [batch, c, h, w])?);
    }
    // The outputs of all images are of one length.
    let images_run = count.div_ceil(batch) * batch;
    outputs.truncate(outputs.len() / images_run.max(1) * count);
    Ok(outputs)
}

/// The device's float outputs for `rows`. A row holds the inputs of one sample, concatenated.
/// `sizes` has the number of values per sample for each output. The last batch is filled up with
/// the first samples.
pub(crate) fn all_outputs_on_device(
    session: &mut Session,
    model: &Model,
    (inputs, batch): (&[TensorSpec], usize),
    rows: &[f32],
    sizes: &[usize],
) -> Result<Vec<Vec<f32>>, PipelineError> {
    let size: usize = inputs.iter().map(TensorSpec::size).sum();
    let (count, batch) = (rows.len() / size.max(1), batch.max(1));
    let shape = |input: &TensorSpec| InputShape {
        name: input.name.clone(),
        dims: std::iter::once(batch)
            .chain(input.dims.iter().copied())
            .map(|dim| dim as u64)
            .collect(),
    };
    let shapes: Vec<InputShape> = inputs.iter().map(shape).collect();
    let mut outputs = vec![Vec::new(); sizes.len()];
    for first in (0..count).step_by(batch) {
        let mut fed = Vec::with_capacity(batch * size);
        let mut from = 0;
        for input in inputs {
            for index in first..first + batch {
                let row = (index % count) * size + from;
                fed.extend_from_slice(&rows[row..row + input.size()]);
            }
            from += input.size();
        }
        let given = session.run_named(model, &fed, &shapes)?;
        let wanted = batch.min(count - first);
        let mut rest = &given[..];
        for (output, size) in outputs.iter_mut().zip(sizes) {
            let (own, others) = rest.split_at((batch * size).min(rest.len()));
            output.extend_from_slice(&own[..(wanted * size).min(own.len())]);
            rest = others;
        }
    }
    Ok(outputs)
}
