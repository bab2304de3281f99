//! Moving elements: [Slice](https://onnx.ai/onnx/operators/onnx__Slice.html),
//! [Pad](https://onnx.ai/onnx/operators/onnx__Pad.html), an input of
//! [Concat](https://onnx.ai/onnx/operators/onnx__Concat.html), and
//! [Resize](https://onnx.ai/onnx/operators/onnx__Resize.html) to the nearest element by whole
//! factors.

use super::common::{
    Failed, Memory, NO_WEIGHTS, NOT_BYTES, OTHER_SHAPE, OUTSIDE, OVERLAP, all_hold, are_bytes,
    weights,
};
use super::table::{ENTRIES, look_up};
use crate::bounds::Bounds;
use crate::tensor::Tensor;
use crate::wire::record;

record! {
    /// Copies elements of a tensor into a part of another. Lists are of rows, columns, channels:
    /// element `i` of the part is element `start + i / repeat * step` of the input.
    pub struct Place {
        /// The input.
        pub input: Tensor,
        /// The output.
        pub output: Tensor,
        /// First element that is read.
        pub start: [u16; 3],
        /// Distance of two elements that are read.
        pub step: [u16; 3],
        /// How often an element is repeated.
        pub repeat: [u16; 3],
        /// First element of the part.
        pub at: [u16; 3],
        /// Size of the part.
        pub count: [u16; 3],
        /// Whether the rest of the output is filled with `value`.
        pub fill: bool,
        /// The filling.
        pub value: i8,
        /// Whether elements are replaced by the entry of a table, to another scale.
        pub translate: bool,
        /// Offset of the table in the weights.
        pub table: u32,
    }
}

impl Place {
    /// All of `input` as all of `output`.
    #[must_use]
    pub fn all(input: Tensor, output: Tensor) -> Self {
        Self {
            input,
            output,
            start: [0; 3],
            step: [1; 3],
            repeat: [1; 3],
            at: [0; 3],
            count: [input.height, input.width, input.channels],
            fill: false,
            value: 0,
            translate: false,
            table: 0,
        }
    }

    fn source(&self, axis: usize, index: usize) -> usize {
        let repeat = usize::from(self.repeat[axis]).max(1);
        usize::from(self.start[axis]) + index / repeat * usize::from(self.step[axis])
    }

    fn fits(&self) -> bool {
        let (from, to) = (self.input.dims(), self.output.dims());
        (0..3).all(|axis| {
            let count = usize::from(self.count[axis]);
            let inside = count == 0 || self.source(axis, count - 1) < from[axis];
            self.repeat[axis] > 0 && inside && usize::from(self.at[axis]) + count <= to[axis]
        })
    }

    pub(super) fn check(&self, bounds: Bounds) -> Result<(), &'static str> {
        let (from, to) = (&self.input, &self.output);
        let table = !self.translate || bounds.has_weights(self.table, Some(ENTRIES));
        all_hold(&[
            (are_bytes(&[from, to]), NOT_BYTES),
            (bounds.holds(from) && bounds.holds(to), OUTSIDE),
            (self.fits(), OTHER_SHAPE),
            (!from.region().meets(to.region()), OVERLAP),
            (table, NO_WEIGHTS),
        ])
    }

    pub(super) fn run(&self, memory: &mut Memory<'_>) -> Result<(), Failed> {
        let table = match self.translate {
            true => Some(weights(memory.weights, self.table, Some(ENTRIES))?),
            false => None,
        };
        let [from, to] = memory.parts([self.input.range(), self.output.range()])?;
        if self.fill {
            to.fill(self.value as u8);
        }
        let [_, width, channels] = self.input.dims();
        let [_, out_width, out_channels] = self.output.dims();
        let [at_row, at_column, at_channel] = self.at.map(usize::from);
        let [rows, columns, count] = self.count.map(usize::from);
        for row in 0..rows {
            for column in 0..columns {
                let pixel = self.source(0, row) * width + self.source(1, column);
                let target = (at_row + row) * out_width + at_column + column;
                let target = target * out_channels + at_channel;
                let target = to.get_mut(target..target + count).ok_or(Failed)?;
                let source = from.get(pixel * channels..(pixel + 1) * channels);
                self.channels(source.ok_or(Failed)?, target, table)?;
            }
        }
        Ok(())
    }

    /// Copies the channels of one pixel.
    fn channels(&self, from: &[u8], to: &mut [u8], table: Option<&[u8]>) -> Result<(), Failed> {
        if self.step[2] == 1 && self.repeat[2] == 1 {
            let start = usize::from(self.start[2]);
            let from = from.get(start..start + to.len()).ok_or(Failed)?;
            to.copy_from_slice(from);
        } else {
            for (index, to) in to.iter_mut().enumerate() {
                *to = from.get(self.source(2, index)).copied().ok_or(Failed)?;
            }
        }
        if let Some(table) = table {
            to.iter_mut().for_each(|byte| *byte = look_up(table, *byte));
        }
        Ok(())
    }
}
