//! Single operators with channel rules, drawn for random networks.

use onnx_graph::ops::*;
use onnx_graph::{Attribute, AttributeValue, Tensor, ValueId};
use rand::RngExt;
use rand::seq::IndexedRandom;

use super::Net;

/// An operator without typed attributes.
fn opaque(op_type: &str, attributes: &[(&str, AttributeValue)]) -> Opaque {
    let attribute = |(name, value): &(&str, AttributeValue)| Attribute {
        name: (*name).into(),
        value: value.clone(),
    };
    Opaque {
        op_type: op_type.into(),
        attributes: attributes.iter().map(attribute).collect(),
        ..Opaque::default()
    }
}

impl Net {
    /// A function of every element, without a step in it.
    pub fn bend(&mut self) {
        let x = self.x;
        let ops: [Op; 21] = [
            Abs::default().into(),
            Asinh::default().into(),
            Atan::default().into(),
            Celu::default().into(),
            Clip {
                min: Some(-1.0),
                max: Some(2.0),
            }
            .into(),
            Cos::default().into(),
            Elu::default().into(),
            Erf.into(),
            HardSigmoid {
                alpha: 0.25,
                beta: 0.5,
            }
            .into(),
            HardSwish.into(),
            Identity.into(),
            LeakyRelu { alpha: 0.1 }.into(),
            Neg::default().into(),
            Pow { exponent: 2.0 }.into(),
            Selu::default().into(),
            Sigmoid.into(),
            Sin::default().into(),
            Softplus::default().into(),
            Softsign::default().into(),
            Tanh.into(),
            // Rank and channels stay where they are.
            Reshape {
                target: vec![0, self.channels as i64, self.side as i64, self.side as i64],
                allow_zero: false,
            }
            .into(),
        ];
        let op = ops.choose(&mut self.rng).unwrap().clone();
        self.x = self.push(op, &[x]);
    }

    /// Two branches that are joined element by element.
    pub fn join(&mut self) {
        let (x, c) = (self.x, self.channels);
        let (a, b) = (self.conv(x, c, c, 1, 1), self.conv(x, c, c, 1, 1));
        self.x = match self.rng.random_range(0..6) {
            0 => self.push(Max, &[a, b]),
            1 => self.push(Min, &[a, b]),
            2 => self.push(Sub, &[a, b]),
            3 => {
                let b = self.push(Softplus::default(), &[b]);
                let one = self.weight(&[], 1.0, 2.0);
                let b = self.push(Add, &[b, one]);
                self.push(Div, &[a, b])
            }
            4 => {
                let more = self.push(opaque("Greater", &[]), &[a, b]);
                self.push(Where, &[more, a, b])
            }
            _ => {
                let slopes = self.weight(&[c, 1, 1], 0.1, 0.9);
                let a = self.push(PRelu, &[a, slopes]);
                self.push(Mul, &[a, b])
            }
        };
    }

    /// A window that slides over the positions, or a change of their number.
    pub fn slide(&mut self) {
        let (x, c) = (self.x, self.channels);
        let shrinks = self.side > 2;
        match self.rng.random_range(0..6) {
            0 if shrinks => {
                let op = AveragePool {
                    kernel: vec![2; 2],
                    strides: vec![2; 2],
                    pads: vec![0; 4],
                    ceil_mode: false,
                    count_include_pad: false,
                };
                self.x = self.push(op, &[x]);
                self.side /= 2;
            }
            1 if shrinks => {
                let window = || AttributeValue::Ints(vec![2, 2]);
                let op = opaque(
                    "LpPool",
                    &[("kernel_shape", window()), ("strides", window())],
                );
                self.x = self.push(op, &[x]);
                self.side /= 2;
            }
            2 if shrinks && self.side.is_multiple_of(2) => {
                self.x = self.push(SpaceToDepth { blocksize: 2 }, &[x]);
                (self.channels, self.side) = (4 * c, self.side / 2);
            }
            3 if c.is_multiple_of(4) && self.side < 8 => {
                let adjacent = self.rng.random_bool(0.5);
                let op = DepthToSpace {
                    blocksize: 2,
                    adjacent,
                };
                self.x = self.push(op, &[x]);
                (self.channels, self.side) = (c / 4, 2 * self.side);
            }
            4 if self.side < 8 => {
                let to = self.some_channels();
                let w = self.weight(&[c, to, 2, 2], -0.4, 0.4);
                let b = self.weight(&[to], -0.5, 0.5);
                let op = ConvTranspose {
                    kernel: vec![2; 2],
                    strides: vec![2; 2],
                    pads: vec![0; 4],
                    dilations: vec![1; 2],
                    group: 1,
                    output_padding: vec![0; 2],
                };
                self.x = self.push(op, &[x, w, b]);
                (self.channels, self.side) = (to, 2 * self.side);
            }
            _ => {
                let op = opaque("Trilu", &[("upper", AttributeValue::Int(0))]);
                self.x = self.push(op, &[x]);
            }
        }
    }

    /// Channels or positions in other places.
    pub fn move_elements(&mut self) {
        let (x, c) = (self.x, self.channels);
        match self.rng.random_range(0..4) {
            0 => {
                let count = self.rng.random_range(2..=c + 2);
                let indices = (0..count).map(|_| self.rng.random_range(-(c as i64)..c as i64));
                let indices: Vec<i64> = indices.collect();
                let op = Gather {
                    axis: 1,
                    indices,
                    dims: vec![count],
                };
                let y = self.push(op, &[x]);
                let to = self.some_channels();
                self.x = self.conv(y, count, to, 1, 1);
                self.channels = to;
            }
            1 if c <= 16 => {
                let repeats = self.list(&[1, 2, 1, 1]);
                self.x = self.push(opaque("Tile", &[]), &[x, repeats]);
                self.channels = 2 * c;
            }
            2 => {
                let turned = Transpose {
                    perm: vec![0, 1, 3, 2],
                };
                self.x = self.push(turned, &[x]);
            }
            _ => {
                let axis = self.rng.random_range(1..4);
                let axis = self.list(&[axis]);
                self.x = self.push(opaque("CumSum", &[]), &[x, axis]);
            }
        }
    }

    /// Statistics of the positions that scale the channels, or a norm.
    pub fn scale(&mut self) {
        let x = self.x;
        let axes = || vec![2, 3];
        let keepdims = true;
        let statistic: Op = match self.rng.random_range(0..9) {
            0 => ReduceMax {
                axes: axes(),
                keepdims,
            }
            .into(),
            1 => ReduceMin {
                axes: axes(),
                keepdims,
            }
            .into(),
            2 => ReduceL1 {
                axes: axes(),
                keepdims,
            }
            .into(),
            3 => ReduceSumSquare {
                axes: axes(),
                keepdims,
            }
            .into(),
            4 => ReduceLogSumExp {
                axes: axes(),
                keepdims,
            }
            .into(),
            5 => GlobalMaxPool.into(),
            6 => opaque("GlobalLpPool", &[]).into(),
            7 => {
                let axis = self.rng.random_range(1..4);
                let op = opaque("LpNormalization", &[("axis", AttributeValue::Int(axis))]);
                self.x = self.push(op, &[x]);
                return;
            }
            _ => {
                let size = ("size", AttributeValue::Int(3));
                self.x = self.push(opaque("LRN", &[size]), &[x]);
                return;
            }
        };
        let scale = self.push(statistic, &[x]);
        let scale = self.push(Tanh, &[scale]);
        self.x = self.push(Mul, &[x, scale]);
    }

    /// A list of numbers.
    fn list(&mut self, numbers: &[i64]) -> ValueId {
        let numbers = Tensor::i64s(numbers.to_vec());
        self.graph.add_constant("list", numbers)
    }
}
