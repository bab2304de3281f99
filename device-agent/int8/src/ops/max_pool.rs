//! [MaxPool](https://onnx.ai/onnx/operators/onnx__MaxPool.html) and GlobalMaxPool.

use super::common::{Failed, Memory, pools};
use super::window::Window;
use crate::bounds::Bounds;
use crate::tensor::Tensor;
use crate::wire::record;

record! {
    /// The greatest element of a window, of those that are not padding. Input and output have one
    /// scale and zero point.
    pub struct MaxPool {
        /// The input.
        pub input: Tensor,
        /// The output.
        pub output: Tensor,
        /// The window.
        pub window: Window,
    }
}

impl MaxPool {
    pub(super) fn check(&self, bounds: Bounds) -> Result<(), &'static str> {
        pools(bounds, &self.window, [&self.input, &self.output])
    }

    pub(super) fn run(&self, memory: &mut Memory<'_>) -> Result<(), Failed> {
        let [from, to] = memory.parts([self.input.range(), self.output.range()])?;
        let [height, width, channels] = self.input.dims();
        let out_width = usize::from(self.output.width);
        for (index, pixel) in to.chunks_exact_mut(channels.max(1)).enumerate() {
            pixel.fill(i8::MIN as u8);
            for row in self.window.inside(0, index / out_width, height) {
                let row = self.window.source(0, index / out_width, row, height);
                let row = row.ok_or(Failed)? * width;
                for column in self.window.inside(1, index % out_width, width) {
                    let column = self.window.source(1, index % out_width, column, width);
                    let start = (row + column.ok_or(Failed)?) * channels;
                    let source = from.get(start..start + channels).ok_or(Failed)?;
                    for (most, &byte) in pixel.iter_mut().zip(source) {
                        *most = (*most as i8).max(byte as i8) as u8;
                    }
                }
            }
        }
        Ok(())
    }
}
