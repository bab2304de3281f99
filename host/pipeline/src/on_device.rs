//! Outputs of networks on the device, and how far they are from others.

use std::ops::Range;

use datasets::TensorSpec;
use latency::{InputShape, Model};
use measuring::Session;
use onnx_graph::{Graph, GraphError, ValueId};

use crate::error::PipelineError;
use crate::model::tensor_spec;

/// The file by which a network is compared: without the texts, sequences and maps that `whole`
/// computes of its outputs, which may be its only outputs.
pub(crate) fn compared(
    graph: &Graph,
    whole: &Model,
    file: impl FnOnce(&Graph) -> Result<Vec<u8>, GraphError>,
) -> Result<Model, GraphError> {
    if graph.other_outputs().is_empty() {
        return Ok(whole.clone());
    }
    let bytes = file(&graph.clone().with_numbers_only())?;
    Ok(Model::new(whole.name(), bytes))
}

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

/// Where the batch of a value is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Placed {
    /// Name and sizes for one sample.
    pub spec: TensorSpec,
    /// The axis of the batch.
    pub axis: usize,
}

impl Placed {
    /// An input or an output of a network; `None` if a size besides the batch is open.
    pub fn of(graph: &Graph, id: ValueId) -> Option<Self> {
        Some(Self {
            spec: tensor_spec(graph, id)?,
            axis: graph.batch_axis(id),
        })
    }

    /// A value of so many numbers for each sample, its batch in front.
    pub fn leading(numbers: usize) -> Self {
        Self {
            spec: TensorSpec {
                name: String::new(),
                dims: vec![numbers],
                integers: false,
            },
            axis: 0,
        }
    }

    /// Calls `copy` with the place of each piece among samples one after the other, and among the
    /// values with the batch on its axis.
    fn pieces(&self, batch: usize, mut copy: impl FnMut(Range<usize>, Range<usize>)) {
        let before: usize = self.spec.dims[..self.axis].iter().product();
        let behind: usize = self.spec.dims[self.axis..].iter().product();
        for sample in 0..batch {
            for outer in 0..before {
                let own = (sample * before + outer) * behind;
                let placed = (outer * batch + sample) * behind;
                copy(own..own + behind, placed..placed + behind);
            }
        }
    }

    /// Samples one after the other, with the batch on its axis.
    fn placed(&self, samples: &[f32], batch: usize) -> Vec<f32> {
        let mut values = vec![0.0; samples.len()];
        self.pieces(batch, |own, placed| {
            values[placed].copy_from_slice(&samples[own]);
        });
        values
    }

    /// The inverse of [`Placed::placed`].
    fn samples(&self, values: &[f32], batch: usize) -> Vec<f32> {
        let mut samples = vec![0.0; values.len()];
        self.pieces(batch, |own, placed| {
            samples[own].copy_from_slice(&values[placed]);
        });
        samples
    }

    fn shape(&self, batch: usize) -> InputShape {
        let mut dims: Vec<u64> = self.spec.dims.iter().map(|&dim| dim as u64).collect();
        dims.insert(self.axis, batch as u64);
        InputShape {
            name: self.spec.name.clone(),
            dims,
        }
    }
}

/// The device's float outputs for `rows`. A row holds the inputs of one sample, concatenated. The
/// last batch is filled up with the first samples.
pub(crate) fn all_outputs_on_device(
    session: &mut Session,
    model: &Model,
    (inputs, batch): (&[Placed], usize),
    rows: &[f32],
    outputs: &[Placed],
) -> Result<Vec<Vec<f32>>, PipelineError> {
    let size: usize = inputs.iter().map(|of| of.spec.size()).sum();
    let (count, batch) = (rows.len() / size.max(1), batch.max(1));
    let shapes: Vec<InputShape> = inputs.iter().map(|of| of.shape(batch)).collect();
    let mut all = vec![Vec::new(); outputs.len()];
    for first in (0..count).step_by(batch) {
        let mut fed = Vec::with_capacity(batch * size);
        let mut from = 0;
        for input in inputs {
            let own = input.spec.size();
            let sample = |index: usize| {
                let row = (index % count) * size + from;
                &rows[row..row + own]
            };
            let samples = (first..first + batch).flat_map(sample).copied();
            let samples: Vec<f32> = samples.collect();
            fed.extend(input.placed(&samples, batch));
            from += own;
        }
        let given = session.run_named(model, &fed, &shapes)?;
        let wanted = batch.min(count - first);
        let mut rest = &given[..];
        for (all, output) in all.iter_mut().zip(outputs) {
            let size = output.spec.size();
            let (own, others) = rest.split_at((batch * size).min(rest.len()));
            // Fewer values than that are those of another network, which the caller sees.
            if own.len() == batch * size {
                let samples = output.samples(own, batch);
                all.extend_from_slice(&samples[..wanted * size]);
            }
            rest = others;
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_gets_to_its_axis_and_back() {
        let check = |dims: &[usize], axis: usize, expected: &[f32]| {
            let placed = Placed {
                spec: TensorSpec {
                    name: "x".into(),
                    dims: dims.to_vec(),
                    integers: false,
                },
                axis,
            };
            let samples: Vec<f32> = (0..12u8).map(f32::from).collect();
            let values = placed.placed(&samples, 2);
            assert_eq!(values, expected, "{dims:?} {axis}");
            assert_eq!(placed.samples(&values, 2), samples);
            let mut sizes: Vec<u64> = dims.iter().map(|&dim| dim as u64).collect();
            sizes.insert(axis, 2);
            assert_eq!(placed.shape(2).dims, sizes);
        };
        let rows: Vec<f32> = (0..12u8).map(f32::from).collect();
        check(&[2, 3], 0, &rows);
        let steps = [0., 1., 2., 6., 7., 8., 3., 4., 5., 9., 10., 11.];
        check(&[2, 3], 1, &steps);
        check(&[6], 1, &[0., 6., 1., 7., 2., 8., 3., 9., 4., 10., 5., 11.]);
    }
}
