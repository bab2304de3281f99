//! Kernels: the computation of one layer in an inference runtime, for any numbers of channels.

use std::fmt;

use onnx_graph::ops::{Conv, DequantizeLinear, Gemm, Op, Quantization, QuantizeLinear};
use onnx_graph::{DType, Dim, Graph, GraphError, Node, Scaling, Tensor};
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
        /// The numbers that it computes with.
        #[serde(default, skip_serializing_if = "Precision::is_float")]
        precision: Precision,
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

/// The numbers that a kernel computes with.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// 32-bit floats.
    #[default]
    Float,
    /// 8-bit integers: unsigned activations, signed weights.
    Unsigned,
    /// 8-bit integers: signed activations and weights.
    Signed,
}

impl Precision {
    fn is_float(&self) -> bool {
        *self == Self::Float
    }

    /// The precision of a layer, by its weights and by what its input is made of.
    fn of(graph: &Graph, node: &Node) -> Self {
        let stored = graph.constant_input(node, 1).and_then(Tensor::stored);
        let input = node.input(0).filter(|_| stored.is_some());
        let from = input.and_then(|x| graph.nodes().iter().find(|n| n.outputs.contains(&Some(x))));
        match from.map(|from| &from.op) {
            Some(Op::DequantizeLinear(op)) if op.0.dtype == DType::U8 => Self::Unsigned,
            Some(Op::DequantizeLinear(op)) if op.0.dtype == DType::I8 => Self::Signed,
            _ => Self::Float,
        }
    }

    /// Integers for activations around 1, half of them below 0 where they are signed.
    fn activations(self) -> Option<Quantization> {
        let (zero_point, dtype) = match self {
            Self::Float => return None,
            Self::Unsigned => (0, DType::U8),
            Self::Signed => (0, DType::I8),
        };
        Some(Quantization {
            scale: 1.0 / 64.0,
            zero_point,
            dtype,
        })
    }
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
                    precision: Precision::of(graph, node),
                })
            }
            // A matrix product in integers ends a network, and few have more than one.
            Op::Gemm(gemm) if !gemm.trans_a && Precision::of(graph, node) == Precision::Float => {
                graph.constant(node.input(1)?)?;
                let rows = graph.value(node.input(0)?).shape.as_deref()?.first()?;
                (rows.per_image() == 1).then_some(Self::Gemm)
            }
            _ => None,
        }
    }

    /// Returns the numbers that it computes with.
    #[must_use]
    pub fn precision(&self) -> Precision {
        match self {
            Self::Conv { precision, .. } => *precision,
            Self::Gemm => Precision::Float,
        }
    }

    /// Returns the kernel that computes with other numbers; `None` for a matrix product, which
    /// ends a network and is not measured in integers.
    #[must_use]
    pub fn in_precision(&self, of: Precision) -> Option<Self> {
        let mut kernel = self.clone();
        match &mut kernel {
            Self::Conv { precision, .. } => *precision = of,
            Self::Gemm => return None,
        }
        Some(kernel)
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
                precision,
            } => {
                let depthwise = *grouping == Grouping::Depthwise;
                let shape = [&[1, inputs][..], image].concat();
                let per_group = if depthwise { 1 } else { inputs };
                let mut weight = fill([&[outputs, per_group][..], kernel].concat())?;
                let mut bias = fill(vec![outputs])?;
                let quantization = precision.activations();
                let mut x = match quantization {
                    None => graph.add_input("x", DType::F32, known(&shape)),
                    Some(of) => graph.add_input("x", of.dtype, known(&shape)),
                };
                if let Some(of) = quantization {
                    let scaling = |scale: f32| Scaling::symmetric(vec![scale; outputs], Some(0));
                    weight = weight.quantized(DType::I8, scaling(1e-3))?;
                    bias = bias.quantized(DType::I32, scaling(1e-3 * of.scale))?;
                    x = graph.push("x_float", DequantizeLinear(of).into(), &[x])?;
                }
                let weight = graph.add_constant("w", weight);
                let bias = graph.add_constant("b", bias);
                let conv = Conv {
                    kernel: kernel.clone(),
                    strides: strides.clone(),
                    pads: pads.clone(),
                    dilations: dilations.clone(),
                    group: if depthwise { inputs } else { 1 },
                };
                let y = graph.push("y", conv.into(), &[x, weight, bias])?;
                match quantization {
                    None => y,
                    Some(of) => graph.push("y_integers", QuantizeLinear(of).into(), &[y])?,
                }
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
                precision,
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
                match precision {
                    Precision::Float => Ok(()),
                    Precision::Unsigned => write!(f, ", u8"),
                    Precision::Signed => write!(f, ", i8"),
                }
            }
        }
    }
}
