//! VGG-16 with BatchNorm: Simonyan and Zisserman 2015, table 1 D, as torchvision lays it out.

use onnx_graph::GraphError;

use crate::builder::{Activation, Builder, ConvShape, conv3x3};

/// Channels and number of convolutions of each stage.
const STAGES: [(usize, usize); 5] = [(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)];

pub(crate) fn build(b: &mut Builder) -> Result<(), GraphError> {
    let mut x = b.input();
    for (stage, (published, count)) in STAGES.into_iter().enumerate() {
        let stage = stage + 1;
        for i in 1..=count {
            x = b.conv(
                &format!("conv{stage}_{i}"),
                x,
                b.width(published),
                ConvShape {
                    bias: true,
                    ..conv3x3(1)
                },
            )?;
            x = b.batch_norm(&format!("bn{stage}_{i}"), x)?;
            x = b.activation(&format!("relu{stage}_{i}"), x, Activation::Relu)?;
        }
        x = b.max_pool(&format!("pool{stage}"), x, 2)?;
    }
    x = b.flatten(x)?;
    // Small images leave one position or a few: the wide hidden layers of the ImageNet classifier
    // are then replaced by one of the width of the last convolution.
    let hidden: &[usize] = if b.small() { &[512] } else { &[4096, 4096] };
    for (i, &published) in hidden.iter().enumerate() {
        let n = i + 6;
        x = b.linear(&format!("fc{n}"), x, b.width(published))?;
        x = b.activation(&format!("relu{n}"), x, Activation::Relu)?;
    }
    b.classify(&format!("fc{}", hidden.len() + 6), x)
}
