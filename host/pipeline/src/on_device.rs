//! Outputs of networks on the device, and how far they are from others.

use latency::Model;
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
