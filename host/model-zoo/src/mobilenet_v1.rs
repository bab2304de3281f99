//! MobileNet: Howard et al. 2017, table 1.

use onnx_graph::GraphError;

use crate::builder::{Activation, Builder, ConvShape, POINTWISE, conv3x3};

/// Channels after the pointwise convolution, and stride of the depthwise one.
const BLOCKS: [(usize, usize); 13] = [
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (1024, 2),
    (1024, 1),
];

pub(crate) fn build(b: &mut Builder) -> Result<(), GraphError> {
    // For small images the stem and the first block keep the resolution, so that it is divided by
    // 8 instead of 32.
    let small = b.small();
    let x = b.conv(
        "conv1",
        b.input(),
        b.width(32),
        conv3x3(if small { 1 } else { 2 }),
    )?;
    let x = b.batch_norm("bn1", x)?;
    let mut x = b.activation("relu1", x, Activation::Relu)?;
    for (i, (published, stride)) in BLOCKS.into_iter().enumerate() {
        let name = format!("block{}", i + 1);
        let stride = if small && i == 1 { 1 } else { stride };
        let c = b.channels(x)?;
        x = b.conv(
            &format!("{name}.depthwise"),
            x,
            c,
            ConvShape {
                groups: c,
                ..conv3x3(stride)
            },
        )?;
        x = b.batch_norm(&format!("{name}.depthwise_bn"), x)?;
        x = b.activation(&format!("{name}.depthwise_relu"), x, Activation::Relu)?;
        x = b.conv(
            &format!("{name}.pointwise"),
            x,
            b.width(published),
            POINTWISE,
        )?;
        x = b.batch_norm(&format!("{name}.pointwise_bn"), x)?;
        x = b.activation(&format!("{name}.pointwise_relu"), x, Activation::Relu)?;
    }
    let x = b.global_average(x)?;
    b.classify("fc", x)
}
