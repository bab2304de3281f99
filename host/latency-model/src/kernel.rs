//! Kernels: what an inference runtime computes for one layer, with the numbers of channels left open.

use std::fmt;

use onnx_graph::ops::{Conv, Gemm, Op};
use onnx_graph::{DType, Dim, Graph, GraphError, Node, Tensor};
use serde::{Deserialize, Serialize};

/// A layer's kernel without its numbers of channels. Layers of equal kernels take the same time with the same channels.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kernel {
    /// A convolution.
    Conv {
        /// Kernel size of each spatial axis.
        kernel: Vec<usize>,
        /// Stride of each spatial axis.
        strides: Vec<usize>,
        /// Padding: the begins of all spatial axes, then the ends.
        pads: Vec<usize>,
        /// Dilation of each spatial axis.
        dilations: Vec<usize>,
        /// Size of each spatial axis of the input.
        image: Vec<usize>,
        /// How channels are grouped.
        grouping: Grouping,
    },
    /// A product of one row by a matrix.
    Gemm,
}

/// How the channels of a convolution are grouped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Grouping {
    /// Every output channel sees every input channel.
    Dense,
    /// Every group has one input channel.
    Depthwise,
}

impl Kernel {
    /// The kernel of a node; `None` for what is no layer with a constant weight, and for grouped convolutions, whose channels per
    /// group and number of groups would be two more variables.
    pub fn of(graph: &Graph, node: &Node) -> Option<Self> {
        match &node.op {
            Op::Conv(conv) => {
                let weight = graph.constant(node.input(1)?)?.dims().to_vec();
                let grouping = match (conv.group, weight[1]) {
                    (1, _) => Grouping::Dense,
                    (_, 1) if conv.group == weight[0] => Grouping::Depthwise,
                    _ => return None,
                };
                let shape = graph.value(node.input(0)?).shape.as_deref()?;
                let image: Option<Vec<usize>> = shape.iter().skip(2).map(Dim::known).collect();
                Some(Self::Conv {
                    kernel: conv.kernel.clone(),
                    strides: conv.strides.clone(),
                    pads: conv.pads.clone(),
                    dilations: conv.dilations.clone(),
                    image: image?,
                    grouping,
                })
            }
            Op::Gemm(gemm) if !gemm.trans_a => {
                graph.constant(node.input(1)?)?;
                let rows = graph.value(node.input(0)?).shape.as_deref()?.first()?;
                (rows.per_image() == 1).then_some(Self::Gemm)
            }
            _ => None,
        }
    }

    /// Whether the kernel has as many output as input channels.
    pub fn is_depthwise(&self) -> bool {
        matches!(
            self,
            Self::Conv {
                grouping: Grouping::Depthwise,
                ..
            }
        )
    }

    /// A network that is this kernel alone, for one image, with weights that are small and not zero. Equal arguments give equal
    /// networks, so that what was measured once is recognised.
    ///
    /// # Errors
    /// When the kernel does not fit its image.
    pub fn network(&self, inputs: usize, outputs: usize) -> Result<Graph, GraphError> {
        let mut graph = Graph::new("kernel", 17);
        let known = |sizes: &[usize]| sizes.iter().map(|&size| Dim::Known(size)).collect();
        let fill = |dims: Vec<usize>| {
            let count: usize = dims.iter().product();
            // Values that repeat after a prime: neither constant nor denormal.
            let values = (0..count).map(|i| ((i % 251) as f32 - 125.0) * 1e-3);
            Tensor::f32(dims, values.collect())
        };
        let y = match self {
            Self::Conv {
                kernel,
                strides,
                pads,
                dilations,
                image,
                grouping,
            } => {
                let depthwise = *grouping == Grouping::Depthwise;
                let shape = [&[1, inputs][..], image].concat();
                let x = graph.add_input("x", DType::F32, known(&shape));
                let per_group = if depthwise { 1 } else { inputs };
                let weight = fill([&[outputs, per_group][..], kernel].concat())?;
                let weight = graph.add_constant("w", weight);
                let bias = fill(vec![outputs])?;
                let bias = graph.add_constant("b", bias);
                let conv = Conv {
                    kernel: kernel.clone(),
                    strides: strides.clone(),
                    pads: pads.clone(),
                    dilations: dilations.clone(),
                    group: if depthwise { inputs } else { 1 },
                };
                graph.push("y", conv.into(), &[x, weight, bias])?
            }
            Self::Gemm => {
                let x = graph.add_input("x", DType::F32, known(&[1, inputs]));
                let weight = fill(vec![inputs, outputs])?;
                let weight = graph.add_constant("w", weight);
                graph.push("y", Gemm::default().into(), &[x, weight])?
            }
        };
        graph.add_output(y);
        Ok(graph)
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = |sizes: &[usize]| {
            let sizes: Vec<String> = sizes.iter().map(usize::to_string).collect();
            sizes.join("x")
        };
        match self {
            Self::Gemm => f.write_str("Gemm"),
            Self::Conv {
                kernel,
                strides,
                dilations,
                image,
                grouping,
                ..
            } => {
                let kind = match grouping {
                    Grouping::Dense => "Conv",
                    Grouping::Depthwise => "depthwise Conv",
                };
                write!(f, "{kind} {} at {}", by(kernel), by(image))?;
                if strides.iter().any(|&stride| stride != 1) {
                    write!(f, ", stride {}", by(strides))?;
                }
                if dilations.iter().any(|&dilation| dilation != 1) {
                    write!(f, ", dilation {}", by(dilations))?;
                }
                Ok(())
            }
        }
    }
}
