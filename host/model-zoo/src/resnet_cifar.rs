//! ResNet-20/32/56 for CIFAR: He et al. 2016, section 4.2, short-cuts of option A.

use onnx_graph::{GraphError, ValueId};

use crate::builder::{Activation, Builder, conv3x3};

/// `6n + 2` layers; `blocks` is n.
pub(crate) fn build(b: &mut Builder, blocks: usize) -> Result<(), GraphError> {
    let x = b.conv("conv1", b.input(), b.width(16), conv3x3(1))?;
    let x = b.batch_norm("bn1", x)?;
    let mut x = b.activation("relu", x, Activation::Relu)?;
    for (stage, published) in [16, 32, 64].into_iter().enumerate() {
        for block in 0..blocks {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            x = basic_block(
                b,
                &format!("layer{}.{block}", stage + 1),
                x,
                b.width(published),
                stride,
            )?;
        }
    }
    let x = b.global_average(x)?;
    b.classify("linear", x)
}

fn basic_block(
    b: &mut Builder,
    name: &str,
    x: ValueId,
    out: usize,
    stride: usize,
) -> Result<ValueId, GraphError> {
    let y = b.conv(&format!("{name}.conv1"), x, out, conv3x3(stride))?;
    let y = b.batch_norm(&format!("{name}.bn1"), y)?;
    let y = b.activation(&format!("{name}.relu1"), y, Activation::Relu)?;
    let y = b.conv(&format!("{name}.conv2"), y, out, conv3x3(1))?;
    let y = b.batch_norm(&format!("{name}.bn2"), y)?;
    let extra = out - b.channels(x)?;
    let shortcut = b.subsample_and_pad(&format!("{name}.shortcut"), x, stride, extra)?;
    let y = b.add(&format!("{name}.add"), y, shortcut)?;
    b.activation(&format!("{name}.relu2"), y, Activation::Relu)
}
