//! Sampled positions of values, and the inputs that a layer's output reads at them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use onnx_graph::ops::Op;
use onnx_graph::{Graph, ValueId};
use tch::{TchError, Tensor};

use crate::samples::draw;

/// Draws positions, the same ones for all values of equal size.
pub(crate) struct Positions {
    images: usize,
    rows: usize,
    seed: u64,
    drawn: RefCell<BTreeMap<usize, Rc<Vec<usize>>>>,
}

impl Positions {
    pub fn new(images: usize, rows: usize, seed: u64) -> Self {
        Self {
            images,
            rows,
            seed,
            drawn: RefCell::default(),
        }
    }

    /// Positions among those of all images, each with `per_image` of them; ascending.
    fn of(&self, per_image: usize) -> Rc<Vec<usize>> {
        let mut drawn = self.drawn.borrow_mut();
        let positions = drawn
            .entry(per_image)
            .or_insert_with(|| Rc::new(draw(self.images * per_image, self.rows, self.seed)));
        Rc::clone(positions)
    }

    /// Returns a value `[images, ..., channels at axis, ...]` at the sampled positions: `[rows,
    /// channels]`.
    pub fn sample(&self, value: &Tensor, axis: usize) -> Result<Tensor, TchError> {
        let flat = flat(value, axis)?;
        let per_image = flat.size()[0] as usize / self.images;
        flat.f_index_select(0, &indices(self.of(per_image).iter().copied(), value))
    }

    /// Returns what `output`, the value of a layer `op` of `graph`, reads of the layer's input at
    /// the sampled positions: `[rows, groups, inputs * kernel]`. `None` where the output's size is
    /// unknown.
    pub fn inputs(
        &self,
        op: &Op,
        input: &Tensor,
        output: ValueId,
        graph: &Graph,
    ) -> Result<Option<Tensor>, TchError> {
        let window = match op {
            Op::Conv(conv) => Window {
                kernel: &conv.kernel,
                strides: &conv.strides,
                pads: &conv.pads,
                dilations: &conv.dilations,
                is_transposed: false,
            },
            Op::ConvTranspose(conv) => Window {
                kernel: &conv.kernel,
                strides: &conv.strides,
                pads: &conv.pads,
                dilations: &conv.dilations,
                is_transposed: true,
            },
            _ => {
                let axis = input.dim().saturating_sub(1);
                let rows = self.sample(input, axis)?;
                return rows.f_unsqueeze(1).map(Some);
            }
        };
        let groups = match op {
            Op::Conv(conv) => conv.group,
            Op::ConvTranspose(conv) => conv.group,
            _ => 1,
        } as i64;
        let known = |dims: &[usize]| dims.get(2..).map(<[usize]>::to_vec);
        let shape = graph.value(output).shape.as_ref();
        let output = shape.and_then(|shape| {
            let dims: Option<Vec<usize>> = shape.get(2..)?.iter().map(|dim| dim.known()).collect();
            dims
        });
        let size: Vec<usize> = input.size().iter().map(|&d| d as usize).collect();
        let (Some(output), Some(inner)) = (output, known(&size)) else {
            return Ok(None);
        };
        let rows = self.of(output.iter().product());
        let flat = flat(input, 1)?;
        // One more row of zeros, for what lies in the padding.
        let zeros = flat.f_narrow(0, 0, 1)?.f_zeros_like()?;
        let flat = Tensor::f_cat(&[flat, zeros], 0)?;
        let mut taps = Vec::new();
        for tap in 0..window.kernel.iter().product::<usize>() {
            let reads = rows.iter().map(|&row| {
                let (image, position) = (row / output.iter().product::<usize>(), row);
                let inner_size: usize = inner.iter().product();
                match window.reads(position, tap, &output, &inner) {
                    Some(at) => image * inner_size + at,
                    None => self.images * inner_size,
                }
            });
            taps.push(flat.f_index_select(0, &indices(reads, input))?);
        }
        let (rows, channels) = (rows.len() as i64, size[1] as i64);
        let stacked = Tensor::f_stack(&taps, 2)?;
        let per_group = channels / groups * taps.len() as i64;
        stacked.f_reshape([rows, groups, per_group]).map(Some)
    }
}

/// `[..., channels at axis, ...]` as `[positions, channels]`.
fn flat(value: &Tensor, axis: usize) -> Result<Tensor, TchError> {
    let channels = value.size()[axis];
    value
        .f_movedim_int(axis as i64, -1)?
        .f_reshape([-1, channels])
}

fn indices(of: impl Iterator<Item = usize>, like: &Tensor) -> Tensor {
    let of: Vec<i64> = of.map(|index| index as i64).collect();
    Tensor::from_slice(&of).to_device(like.device())
}

/// How a convolution moves over its input.
struct Window<'a> {
    kernel: &'a [usize],
    strides: &'a [usize],
    pads: &'a [usize],
    dilations: &'a [usize],
    is_transposed: bool,
}

impl Window<'_> {
    /// The position in the input that the output at `position` (of all images, row-major) reads
    /// with the kernel's element `tap`; `None` in the padding.
    fn reads(
        &self,
        mut position: usize,
        mut tap: usize,
        output: &[usize],
        input: &[usize],
    ) -> Option<usize> {
        let one = |values: &[usize], axis: usize| values.get(axis).copied().unwrap_or(1) as i64;
        let (mut at, mut stride) = (0, 1);
        for axis in (0..output.len()).rev() {
            let (out, element) = (position % output[axis], tap % self.kernel[axis]);
            (position, tap) = (position / output[axis], tap / self.kernel[axis]);
            let pad = self.pads.get(axis).copied().unwrap_or(0) as i64;
            let offset = element as i64 * one(self.dilations, axis);
            let step = one(self.strides, axis);
            let read = if self.is_transposed {
                let read = out as i64 + pad - offset;
                if read % step != 0 {
                    return None;
                }
                read / step
            } else {
                out as i64 * step + offset - pad
            };
            let read = usize::try_from(read)
                .ok()
                .filter(|&read| read < input[axis])?;
            at += read * stride;
            stride *= input[axis];
        }
        Some(at)
    }
}
