//! Kernels: the computation of one layer in an inference runtime, for any numbers of channels.

use std::fmt;

use onnx_graph::ops::{Conv, Gemm, Op};
use onnx_graph::{DType, Dim, Graph, GraphError, Node, Tensor};
use serde::{Deserialize, Serialize};

/// The kernel of a layer without its numbers of channels. Layers with equal kernels take the same
/// time for equal numbers of channels.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kernel {
    /// A convolution.
    Conv {
        /// Kernel size of each spatial axis.
        kernel: Vec<usize>,
        /// Stride of each spatial axis.
        strides: Vec<usize>,
        /// Padding before each spatial axis, then after each.
        pads: Vec<usize>,
        /// Dilation of each spatial axis.
        dilations: Vec<usize>,
        /// Size of each spatial axis of the input.
        image: Vec<usize>,
        /// Grouping of the channels.
        grouping: Grouping,
    },
    /// The product of one row and a matrix.
    Gemm,
}

/// The channel grouping of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Grouping {
    /// Every output channel reads every input channel.
    Dense,
    /// Every output channel reads one input channel.
    Depthwise,
}

impl Kernel {
    /// Returns the kernel of a node, or `None` for a node without a constant weight and for
    /// grouped convolutions, whose group count and channels per group would be two more
    /// variables.
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

    /// Returns whether the kernel has one input channel for each output channel.
    pub fn is_depthwise(&self) -> bool {
        matches!(
            self,
            Self::Conv {
                grouping: Grouping::Depthwise,
                ..
            }
        )
    }

    /// Builds a network of this kernel alone, for one image. Equal arguments give equal networks,
    /// so that the store recognises one measured before.
    ///
    /// # Errors
    /// Fails if the kernel does not fit its image.
    pub fn network(&self, inputs: usize, outputs: usize) -> Result<Graph, GraphError> {
        let mut graph = Graph::new("kernel", 17);
        let known = |sizes: &[usize]| sizes.iter().map(|&size| Dim::Known(size)).collect();
        let fill = |dims: Vec<usize>| {
            let count: usize = dims.iter().product();
            // Denormal or constant weights would change the time; a prime period avoids both.
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
