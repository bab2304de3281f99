//! Appending layers to a graph.

use onnx_graph::ops::{
    Add, BatchNormalization, Clip, Conv, Flatten, Gemm, GlobalAveragePool, MaxPool, Op, Pad,
    PadMode, Relu, Slice,
};
use onnx_graph::{DType, Dim, Graph, GraphError, Tensor, ValueId};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal, StandardUniform};

use crate::config::ZooConfig;

/// Kernel, stride, grouping and bias of a square convolution; the padding keeps the size at
/// stride 1.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConvShape {
    pub kernel: usize,
    pub stride: usize,
    pub groups: usize,
    pub bias: bool,
}

/// A 1x1 convolution of stride 1 without bias.
pub(crate) const POINTWISE: ConvShape = ConvShape {
    kernel: 1,
    stride: 1,
    groups: 1,
    bias: false,
};

/// A 3x3 convolution of the given stride without bias.
pub(crate) fn conv3x3(stride: usize) -> ConvShape {
    ConvShape {
        kernel: 3,
        stride,
        ..POINTWISE
    }
}

/// The activation behind a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activation {
    None,
    Relu,
    /// Clipped to 0..6, an ONNX Clip.
    Relu6,
}

/// A network under construction; values are NCHW unless stated otherwise.
pub(crate) struct Builder {
    graph: Graph,
    rng: ChaCha8Rng,
    config: ZooConfig,
    input: ValueId,
}

impl Builder {
    pub(crate) fn new(name: &str, config: &ZooConfig) -> Self {
        let mut graph = Graph::new(name, 17);
        let mut shape = vec![Dim::Symbol("N".into())];
        shape.extend(config.input.map(Dim::Known));
        let input = graph.add_input("input", DType::F32, shape);
        Self {
            graph,
            rng: ChaCha8Rng::seed_from_u64(config.seed),
            config: config.clone(),
            input,
        }
    }

    pub(crate) fn input(&self) -> ValueId {
        self.input
    }

    pub(crate) fn small(&self) -> bool {
        self.config.small()
    }

    /// `published` channels times the width factor, a multiple of 8 that is not below 90 % of the
    /// exact product (`_make_divisible` of MobileNet's reference code); exactly `published` at
    /// factor 1.
    pub(crate) fn width(&self, published: usize) -> usize {
        if self.config.width_mult == 1.0 {
            return published;
        }
        let exact = published as f64 * self.config.width_mult;
        let rounded = (((exact + 4.0) / 8.0) as usize * 8).max(8);
        if (rounded as f64) < 0.9 * exact {
            rounded + 8
        } else {
            rounded
        }
    }

    /// The size of axis `axis` of `value`; the axes of a network's own layers are known except
    /// the batch.
    fn size(&self, value: ValueId, axis: usize) -> Result<usize, GraphError> {
        let shape = self.graph.value(value).shape.as_ref();
        shape
            .and_then(|s| s.get(axis)?.known())
            .ok_or_else(|| GraphError::Shape {
                node: self.graph.value(value).name.clone(),
                op: "builder".into(),
                reason: format!("the size of axis {axis} is not known"),
            })
    }

    pub(crate) fn channels(&self, value: ValueId) -> Result<usize, GraphError> {
        self.size(value, 1)
    }

    /// Convolution; its bias, if it has one, is zero. Weights are He-normal over the fan-out,
    /// `sqrt(2 / (out/groups * kernel^2))` (<https://arxiv.org/abs/1502.01852>, equation 14); for
    /// an ungrouped convolution as in torchvision.
    pub(crate) fn conv(
        &mut self,
        name: &str,
        x: ValueId,
        out: usize,
        shape: ConvShape,
    ) -> Result<ValueId, GraphError> {
        let ConvShape {
            kernel,
            stride,
            groups,
            bias,
        } = shape;
        let channels = self.channels(x)?;
        let fan_out = out / groups * kernel * kernel;
        let scale = (2.0 / fan_out as f32).sqrt();
        let dims = [out, channels / groups, kernel, kernel];
        let weights = (0..dims.iter().product())
            .map(|_| {
                scale
                    * <StandardNormal as Distribution<f32>>::sample(&StandardNormal, &mut self.rng)
            })
            .collect();
        let weight = self
            .graph
            .add_constant(&format!("{name}.weight"), Tensor::f32(dims, weights)?);
        let mut inputs = vec![x, weight];
        if bias {
            inputs.push(
                self.graph
                    .add_constant(&format!("{name}.bias"), Tensor::f32([out], vec![0.0; out])?),
            );
        }
        let op = Conv {
            kernel: vec![kernel; 2],
            strides: vec![stride; 2],
            pads: vec![kernel / 2; 4],
            dilations: vec![1; 2],
            group: groups,
        };
        self.graph.push(name, Op::Conv(op), &inputs)
    }

    /// BatchNormalization as the identity: scale 1, bias 0, mean 0, variance 1.
    pub(crate) fn batch_norm(&mut self, name: &str, x: ValueId) -> Result<ValueId, GraphError> {
        let c = self.channels(x)?;
        let mut inputs = vec![x];
        for (suffix, fill) in [
            ("weight", 1.0),
            ("bias", 0.0),
            ("running_mean", 0.0),
            ("running_var", 1.0),
        ] {
            inputs.push(self.graph.add_constant(
                &format!("{name}.{suffix}"),
                Tensor::f32([c], vec![fill; c])?,
            ));
        }
        self.graph.push(
            name,
            Op::BatchNormalization(BatchNormalization {
                epsilon: 1e-5,
                momentum: 0.9,
            }),
            &inputs,
        )
    }

    pub(crate) fn activation(
        &mut self,
        name: &str,
        x: ValueId,
        kind: Activation,
    ) -> Result<ValueId, GraphError> {
        match kind {
            Activation::None => Ok(x),
            Activation::Relu => self.graph.push(name, Op::Relu(Relu), &[x]),
            Activation::Relu6 => self.graph.push(
                name,
                Op::Clip(Clip {
                    min: Some(0.0),
                    max: Some(6.0),
                }),
                &[x],
            ),
        }
    }

    pub(crate) fn add(
        &mut self,
        name: &str,
        a: ValueId,
        b: ValueId,
    ) -> Result<ValueId, GraphError> {
        self.graph.push(name, Op::Add(Add), &[a, b])
    }

    pub(crate) fn max_pool(
        &mut self,
        name: &str,
        x: ValueId,
        kernel: usize,
    ) -> Result<ValueId, GraphError> {
        let op = MaxPool {
            kernel: vec![kernel; 2],
            strides: vec![2; 2],
            pads: vec![(kernel - 1) / 2; 4],
            dilations: vec![1; 2],
            ceil_mode: false,
        };
        self.graph.push(name, Op::MaxPool(op), &[x])
    }

    /// Every second row and column, then `extra` channels of zeros, half before and half after
    /// the others.
    pub(crate) fn subsample_and_pad(
        &mut self,
        name: &str,
        x: ValueId,
        stride: usize,
        extra: usize,
    ) -> Result<ValueId, GraphError> {
        let mut x = x;
        if stride > 1 {
            let step = stride as i64;
            let op = Slice {
                starts: vec![0, 0],
                ends: vec![i64::MAX, i64::MAX],
                axes: vec![2, 3],
                steps: vec![step, step],
            };
            x = self
                .graph
                .push(&format!("{name}.subsample"), Op::Slice(op), &[x])?;
        }
        if extra > 0 {
            let before = (extra / 2) as i64;
            let after = extra as i64 - before;
            let op = Pad {
                pads: vec![0, before, 0, 0, 0, after, 0, 0],
                mode: PadMode::Constant,
                value: 0.0,
            };
            x = self.graph.push(&format!("{name}.pad"), Op::Pad(op), &[x])?;
        }
        Ok(x)
    }

    /// N x C x H x W to N x C, the mean over H and W.
    pub(crate) fn global_average(&mut self, x: ValueId) -> Result<ValueId, GraphError> {
        let x = self
            .graph
            .push("avgpool", Op::GlobalAveragePool(GlobalAveragePool), &[x])?;
        self.flatten(x)
    }

    /// N x C x H x W to N x CHW.
    pub(crate) fn flatten(&mut self, x: ValueId) -> Result<ValueId, GraphError> {
        self.graph
            .push("flatten", Op::Flatten(Flatten { axis: 1 }), &[x])
    }

    /// Fully connected layer, N x in to N x out; weights uniform within `1/sqrt(in)`, bias zero.
    pub(crate) fn linear(
        &mut self,
        name: &str,
        x: ValueId,
        out: usize,
    ) -> Result<ValueId, GraphError> {
        let inputs = self.channels(x)?;
        let bound = 1.0 / (inputs as f32).sqrt();
        let weights = (0..out * inputs)
            .map(|_| {
                bound
                    * (2.0
                        * <StandardUniform as Distribution<f32>>::sample(
                            &StandardUniform,
                            &mut self.rng,
                        )
                        - 1.0)
            })
            .collect();
        let weight = self.graph.add_constant(
            &format!("{name}.weight"),
            Tensor::f32([out, inputs], weights)?,
        );
        let bias = self
            .graph
            .add_constant(&format!("{name}.bias"), Tensor::f32([out], vec![0.0; out])?);
        let op = Gemm {
            alpha: 1.0,
            beta: 1.0,
            trans_a: false,
            trans_b: true,
        };
        self.graph.push(name, Op::Gemm(op), &[x, weight, bias])
    }

    /// The last layer: N x in to the logits, N x classes.
    pub(crate) fn classify(&mut self, name: &str, x: ValueId) -> Result<(), GraphError> {
        let logits = self.linear(name, x, self.config.classes)?;
        self.graph.add_output(logits);
        Ok(())
    }

    pub(crate) fn finish(self) -> Result<Graph, GraphError> {
        self.graph.check()?;
        Ok(self.graph)
    }
}
