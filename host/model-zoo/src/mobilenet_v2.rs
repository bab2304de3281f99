//! MobileNetV2: Sandler et al. 2018, table 2, as torchvision lays it out.

use onnx_graph::{GraphError, ValueId};

use crate::builder::{Activation, Builder, ConvShape, POINTWISE, conv3x3};

/// Expansion, channels, repetitions, stride of the first.
const STAGES: [(usize, usize, usize, usize); 7] = [
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
];

pub(crate) fn build(b: &mut Builder) -> Result<(), GraphError> {
    // For small images the stem and the first strided stage keep the resolution: divided by 8
    // instead of 32.
    let small = b.small();
    let mut x = layer(
        b,
        "stem",
        b.input(),
        b.width(32),
        conv3x3(if small { 1 } else { 2 }),
        Activation::Relu6,
    )?;
    for (s, (expansion, published, count, first)) in STAGES.into_iter().enumerate() {
        for i in 0..count {
            let stride = if i > 0 || (small && s == 1) { 1 } else { first };
            x = inverted_residual(
                b,
                &format!("stage{}.{i}", s + 1),
                x,
                b.width(published),
                expansion,
                stride,
            )?;
        }
    }
    // The last layer only ever grows with the width factor.
    let head = b.width(1280).max(1280);
    let x = layer(b, "head", x, head, POINTWISE, Activation::Relu6)?;
    let x = b.global_average(x)?;
    b.classify("classifier", x)
}

fn inverted_residual(
    b: &mut Builder,
    name: &str,
    x: ValueId,
    out: usize,
    expansion: usize,
    stride: usize,
) -> Result<ValueId, GraphError> {
    let c = b.channels(x)?;
    let hidden = c * expansion;
    let mut y = x;
    if expansion > 1 {
        y = layer(
            b,
            &format!("{name}.expand"),
            y,
            hidden,
            POINTWISE,
            Activation::Relu6,
        )?;
    }
    let depthwise = ConvShape {
        groups: hidden,
        ..conv3x3(stride)
    };
    y = layer(
        b,
        &format!("{name}.depthwise"),
        y,
        hidden,
        depthwise,
        Activation::Relu6,
    )?;
    y = layer(
        b,
        &format!("{name}.project"),
        y,
        out,
        POINTWISE,
        Activation::None,
    )?;
    if stride == 1 && c == out {
        b.add(&format!("{name}.add"), y, x)
    } else {
        Ok(y)
    }
}

fn layer(
    b: &mut Builder,
    name: &str,
    x: ValueId,
    out: usize,
    shape: ConvShape,
    activation: Activation,
) -> Result<ValueId, GraphError> {
    let x = b.conv(name, x, out, shape)?;
    let x = b.batch_norm(&format!("{name}_bn"), x)?;
    b.activation(&format!("{name}_relu"), x, activation)
}
