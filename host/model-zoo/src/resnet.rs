//! ResNet-18/50 as torchvision lays them out (He et al. 2016, table 1; stride in the 3x3
//! convolution of a bottleneck).

use onnx_graph::{GraphError, ValueId};

use crate::builder::{Activation, Builder, ConvShape, POINTWISE, conv3x3};

/// Kind of residual block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Block {
    /// Two 3x3 convolutions.
    Basic,
    /// 1x1, 3x3, 1x1, the last four times as wide.
    Bottleneck,
}

pub(crate) fn build(b: &mut Builder, block: Block, repeats: [usize; 4]) -> Result<(), GraphError> {
    let stem = if b.small() {
        conv3x3(1)
    } else {
        ConvShape {
            kernel: 7,
            stride: 2,
            ..POINTWISE
        }
    };
    let x = b.conv("conv1", b.input(), b.width(64), stem)?;
    let x = b.batch_norm("bn1", x)?;
    let mut x = b.activation("relu", x, Activation::Relu)?;
    if !b.small() {
        x = b.max_pool("maxpool", x, 3)?;
    }
    for (stage, count) in repeats.into_iter().enumerate() {
        for i in 0..count {
            let stride = if stage > 0 && i == 0 { 2 } else { 1 };
            x = residual(
                b,
                &format!("layer{}.{i}", stage + 1),
                x,
                block,
                64 << stage,
                stride,
            )?;
        }
    }
    let x = b.global_average(x)?;
    b.classify("fc", x)
}

fn residual(
    b: &mut Builder,
    name: &str,
    x: ValueId,
    block: Block,
    planes: usize,
    stride: usize,
) -> Result<ValueId, GraphError> {
    let inner = b.width(planes);
    let (out, layers) = match block {
        Block::Basic => (inner, vec![(inner, conv3x3(stride)), (inner, conv3x3(1))]),
        Block::Bottleneck => {
            let out = b.width(planes * 4);
            (
                out,
                vec![
                    (inner, POINTWISE),
                    (inner, conv3x3(stride)),
                    (out, POINTWISE),
                ],
            )
        }
    };
    let last = layers.len();
    let mut y = x;
    for (i, (width, shape)) in layers.into_iter().enumerate() {
        let n = i + 1;
        y = b.conv(&format!("{name}.conv{n}"), y, width, shape)?;
        y = b.batch_norm(&format!("{name}.bn{n}"), y)?;
        if n < last {
            y = b.activation(&format!("{name}.relu{n}"), y, Activation::Relu)?;
        }
    }
    let mut shortcut = x;
    if stride > 1 || b.channels(x)? != out {
        shortcut = b.conv(
            &format!("{name}.downsample.0"),
            x,
            out,
            ConvShape {
                stride,
                ..POINTWISE
            },
        )?;
        shortcut = b.batch_norm(&format!("{name}.downsample.1"), shortcut)?;
    }
    let y = b.add(&format!("{name}.add"), y, shortcut)?;
    b.activation(&format!("{name}.relu{last}"), y, Activation::Relu)
}
