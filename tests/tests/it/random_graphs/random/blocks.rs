//! Blocks of layers, as networks have them.

use onnx_graph::ops::*;
use rand::RngExt;

use super::net::Net;

/// A block, and the first operator set that it can be written in.
pub type Block = (i64, fn(&mut Net));

pub static BLOCKS: &[Block] = &[
    (9, Net::convolve),
    (9, Net::residual),
    (9, Net::concatenate),
    (9, Net::split),
    (9, Net::shuffle),
    (9, Net::convolve_groups),
    (9, Net::convolve_depthwise),
    (9, Net::squeeze_and_excite),
    (9, Net::shrink),
    (17, Net::normalise_layers),
    (9, Net::multiply),
    (9, Net::pad_channels),
    (17, Net::attend),
    (17, Net::attend),
    (9, Net::normalise_groups),
    (9, Net::normalise_responses),
    (9, Net::gate_positions),
    (9, Net::mix_tokens),
    (17, Net::unflatten),
    (9, Net::append_zeros),
];

impl Net {
    fn concatenate(&mut self) {
        let (x, c) = (self.x, self.channels);
        let (a, b) = (self.some_channels(), self.some_channels());
        let parts = [self.conv(x, c, a, 1, 1), self.conv(x, c, b, 1, 1)];
        self.x = self.push(Concat { axis: 1 }, &parts);
        self.channels = a + b;
    }

    fn convolve_groups(&mut self) {
        let (x, c, to) = (self.x, self.channels, self.some_channels());
        let group = if c.is_multiple_of(2) { 2 } else { 1 };
        self.x = self.conv(x, c, to, group, 1);
        self.channels = to;
    }

    fn convolve_depthwise(&mut self) {
        self.x = self.conv(self.x, self.channels, self.channels, self.channels, 1);
    }

    fn shrink(&mut self) {
        if self.side <= 2 {
            return self.convolve();
        }
        let op = MaxPool {
            kernel: vec![2; 2],
            strides: vec![2; 2],
            pads: vec![0; 4],
            dilations: vec![1; 2],
            ceil_mode: false,
        };
        self.x = self.push(op, &[self.x]);
        self.side /= 2;
    }

    fn multiply(&mut self) {
        let parts = [self.other(), self.other()];
        self.x = self.push(Mul, &parts);
    }

    fn residual(&mut self) {
        let (x, c, inner) = (self.x, self.channels, self.some_channels());
        let y = self.conv(x, c, inner, 1, 1);
        let y = self.conv(y, inner, c, 1, 1);
        let operands = if self.rng.random_bool(0.5) {
            [x, y]
        } else {
            [y, x]
        };
        let sum = self.push(Add, &operands);
        self.x = self.push(Relu, &[sum]);
    }

    fn split(&mut self) {
        let (x, c) = (self.x, self.channels);
        let first = self.rng.random_range(1..c);
        let op = Split {
            axis: 1,
            sizes: vec![first, c - first],
        };
        let names = [Some("left"), Some("right")];
        let parts = self
            .graph
            .push_node("split", op.into(), vec![Some(x)], &names);
        let parts = parts.unwrap();
        let (left, right) = (parts[0].unwrap(), parts[1].unwrap());
        let to = self.some_channels();
        let right = self.conv(right, c - first, to, 1, 1);
        self.x = self.push(Concat { axis: 1 }, &[right, left]);
        self.channels = to + first;
    }

    fn shuffle(&mut self) {
        if !self.channels.is_multiple_of(2) {
            return self.convolve();
        }
        let (c, side) = (self.channels as i64, self.side as i64);
        let rows = self.reshape(self.x, &[-1, 2, c / 2, side, side]);
        let swap = Transpose {
            perm: vec![0, 2, 1, 3, 4],
        };
        let swapped = self.push(swap, &[rows]);
        self.x = self.reshape(swapped, &[-1, c, side, side]);
    }

    fn squeeze_and_excite(&mut self) {
        let (x, c, inner) = (self.x, self.channels, self.some_channels());
        let s = self.push(GlobalAveragePool, &[x]);
        let s = self.conv(s, c, inner, 1, 1);
        let s = self.conv(s, inner, c, 1, 1);
        let s = self.push(Sigmoid, &[s]);
        self.x = self.push(Mul, &[x, s]);
    }

    /// A map of one channel that meets all channels.
    fn gate_positions(&mut self) {
        let gate = self.conv(self.x, self.channels, 1, 1, 1);
        let gate = self.push(Sigmoid, &[gate]);
        let op: Op = if self.rng.random_bool(0.5) {
            Mul.into()
        } else {
            Add.into()
        };
        let operands = if self.rng.random_bool(0.5) {
            [self.x, gate]
        } else {
            [gate, self.x]
        };
        self.x = self.push(op, &operands);
    }

    /// A product over the positions, behind or before the channels, beside its input.
    fn mix_tokens(&mut self) {
        let (x, c, side) = (self.x, self.channels as i64, self.side as i64);
        let tokens = self.side * self.side;
        let rows = self.reshape(x, &[0, c, -1]);
        let weight = self.weight(&[tokens, tokens], -0.3, 0.3);
        let mixed = if self.rng.random_bool(0.5) {
            let mixed = self.push(MatMul, &[rows, weight]);
            let bias = self.weight(&[tokens], -0.5, 0.5);
            self.push(Add, &[mixed, bias])
        } else {
            let columns = self.transpose(rows, &[0, 2, 1]);
            let mixed = self.push(MatMul, &[weight, columns]);
            self.transpose(mixed, &[0, 2, 1])
        };
        let sum = self.push(Add, &[rows, mixed]);
        self.x = self.reshape(sum, &[-1, c, side, side]);
    }

    /// An image whose channels are blocks of a linear layer's.
    fn unflatten(&mut self) {
        let (c, side) = (self.some_channels(), self.side);
        let x = self.push(GlobalAveragePool, &[self.x]);
        let x = self.push(Flatten { axis: 1 }, &[x]);
        let weight = self.weight(&[self.channels, c * side * side], -0.5, 0.5);
        let x = self.push(Gemm::default(), &[x, weight]);
        let target = [c, side, side].map(|n| n as i64);
        let image = Reshape {
            target: [&[-1], target.as_slice()].concat(),
            allow_zero: false,
        };
        let x = self.push(image, &[x]);
        let to = self.some_channels();
        self.x = self.conv(x, c, to, 1, 1);
        self.channels = to;
    }

    /// A short-cut that appends as many zeros as there are channels.
    fn append_zeros(&mut self) {
        let (x, c) = (self.x, self.channels);
        let whole = Shape {
            start: 0,
            end: None,
        };
        let sizes = self.push(whole, &[x]);
        let fill = Opaque {
            op_type: "ConstantOfShape".into(),
            ..Opaque::default()
        };
        let zeros = self.push(fill, &[sizes]);
        let short = self.push(Concat { axis: 1 }, &[x, zeros]);
        let y = self.conv(x, c, 2 * c, 1, 1);
        self.x = self.push(Add, &[short, y]);
        self.channels = 2 * c;
    }

    fn normalise_layers(&mut self) {
        let last = self.transpose(self.x, &[0, 2, 3, 1]);
        let scale = self.weight(&[self.channels], 0.5, 1.5);
        let bias = self.weight(&[self.channels], -0.5, 0.5);
        let op = LayerNormalization {
            axis: -1,
            epsilon: 1e-3,
        };
        let y = self.push(op, &[last, scale, bias]);
        self.x = self.transpose(y, &[0, 3, 1, 2]);
    }

    /// Self-attention over the positions, packed as exporters write it, beside its input.
    fn attend(&mut self) {
        let (x, c, tokens) = (self.x, self.channels, self.side * self.side);
        let (heads, width) = (self.rng.random_range(1..3), self.rng.random_range(1..5));
        let inner = heads * width;
        let reshape = |target: &[usize]| {
            let sizes = target.iter().map(|&t| t as i64);
            Reshape {
                target: [0].into_iter().chain(sizes).collect(),
                allow_zero: false,
            }
        };
        let flat = self.push(reshape(&[c, tokens]), &[x]);
        let rows = self.transpose(flat, &[0, 2, 1]);
        let weight = self.weight(&[c, 3 * inner], -0.5, 0.5);
        let packed = self.push(MatMul, &[rows, weight]);
        let bias = self.weight(&[3 * inner], -0.5, 0.5);
        let packed = self.push(Add, &[packed, bias]);
        let parts = self.push(reshape(&[tokens, 3, heads, width]), &[packed]);
        let parts = self.transpose(parts, &[2, 0, 3, 1, 4]);
        let [q, k, v] = [0, 1, 2].map(|i| {
            let pick = Gather {
                axis: 0,
                indices: vec![i],
                dims: vec![],
            };
            self.push(pick, &[parts])
        });
        let k = self.transpose(k, &[0, 1, 3, 2]);
        let scores = self.push(MatMul, &[q, k]);
        let places = self.weight(&[1, heads, tokens, tokens], -0.5, 0.5);
        let scores = self.push(Add, &[scores, places]);
        let shares = self.push(Softmax { axis: -1 }, &[scores]);
        let y = self.push(MatMul, &[shares, v]);
        let y = self.transpose(y, &[0, 2, 1, 3]);
        let y = self.push(reshape(&[tokens, inner]), &[y]);
        let weight = self.weight(&[inner, c], -0.5, 0.5);
        let y = self.push(MatMul, &[y, weight]);
        let y = self.transpose(y, &[0, 2, 1]);
        let y = self.push(reshape(&[c, self.side, self.side]), &[y]);
        self.x = self.push(Add, &[x, y]);
    }

    /// A group normalisation as PyTorch exports it.
    fn normalise_groups(&mut self) {
        if !self.channels.is_multiple_of(2) {
            return self.convolve();
        }
        let (x, c, side) = (self.x, self.channels, self.side as i64);
        let count = self.rng.random_range(1..3);
        let groups = self.reshape(x, &[0, count as i64, -1]);
        let scale = self.weight(&[count], 0.5, 1.5);
        let bias = self.weight(&[count], -0.5, 0.5);
        let op = InstanceNormalization { epsilon: 1e-3 };
        let y = self.push(op, &[groups, scale, bias]);
        let y = self.reshape(y, &[0, c as i64, side, side]);
        let scale = self.weight(&[c, 1, 1], 0.5, 1.5);
        self.x = self.push(Mul, &[y, scale]);
    }

    /// The global response normalisation of ConvNeXt V2 (Woo et al., CVPR 2023).
    fn normalise_responses(&mut self) {
        let norm = ReduceL2 {
            axes: vec![2, 3],
            keepdims: true,
        };
        let mean = ReduceMean {
            axes: vec![1],
            keepdims: true,
        };
        let norm = self.push(norm, &[self.x]);
        let mean = self.push(mean, &[norm]);
        let little = self.weight(&[], 0.1, 0.2);
        let mean = self.push(Add, &[mean, little]);
        let share = self.push(Div, &[norm, mean]);
        self.x = self.push(Mul, &[self.x, share]);
    }

    fn pad_channels(&mut self) {
        let (before, after) = (self.rng.random_range(0..3), self.rng.random_range(0..3));
        let to = self.channels + before + after;
        let pad = Pad {
            pads: vec![0, before as i64, 0, 0, 0, after as i64, 0, 0],
            mode: PadMode::Constant,
            value: 0.0,
        };
        let padded = self.push(pad, &[self.x]);
        let y = self.conv(self.x, self.channels, to, 1, 1);
        self.x = self.push(Add, &[padded, y]);
        self.channels = to;
    }
}
