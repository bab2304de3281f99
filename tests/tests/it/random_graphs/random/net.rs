//! A network under construction.

use graphprune_tests::onnx;
use onnx_graph::ops::*;
use onnx_graph::{
    Attribute, AttributeValue, DType, Dim, Graph, NoExternalData, Tensor, TensorData, ValueId, read,
};
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The domain of ONNX Runtime's operators.
pub const MICROSOFT: &str = "com.microsoft";

/// Numbers of element types in ONNX.
pub mod element {
    pub const FLOAT: i64 = 1;
    pub const INT32: i64 = 6;
    pub const INT64: i64 = 7;
    pub const DOUBLE: i64 = 11;
    pub const UINT32: i64 = 12;
}

/// Attributes of a node.
pub type Attributes<'a> = &'a [(&'a str, AttributeValue)];

pub fn int(value: i64) -> AttributeValue {
    AttributeValue::Int(value)
}

pub fn ints(values: &[i64]) -> AttributeValue {
    AttributeValue::Ints(values.to_vec())
}

pub fn float(value: f32) -> AttributeValue {
    AttributeValue::Float(value)
}

pub fn text(value: &str) -> AttributeValue {
    AttributeValue::Text(value.into())
}

/// A node in the form of a file; the name has the domain before a dot, other than ONNX's own.
pub fn opaque(name: &str, attributes: Attributes<'_>) -> Opaque {
    let (domain, op_type) = name.rsplit_once('.').unwrap_or(("", name));
    let attribute = |(name, value): &(&str, AttributeValue)| Attribute {
        name: (*name).into(),
        value: value.clone(),
    };
    Opaque {
        domain: domain.into(),
        op_type: op_type.into(),
        attributes: attributes.iter().map(attribute).collect(),
        ..Opaque::default()
    }
}

/// A network under construction, and its current value: an image of `channels` and `side`.
pub struct Net {
    pub graph: Graph,
    pub rng: ChaCha8Rng,
    pub x: ValueId,
    pub channels: usize,
    pub side: usize,
}

impl Net {
    /// A network of an operator set, which reads images of 3 channels and 8 by 8 positions.
    pub fn new(seed: u64, opset: i64) -> Self {
        let mut graph = empty(opset);
        let sizes = [3, 8, 8].map(Dim::Known);
        let shape = [&[Dim::Symbol("N".into())], sizes.as_slice()].concat();
        let x = graph.add_input("x", DType::F32, shape);
        Self {
            graph,
            rng: ChaCha8Rng::seed_from_u64(seed),
            x,
            channels: 3,
            side: 8,
        }
    }

    pub fn weight(&mut self, dims: &[usize], low: f32, high: f32) -> ValueId {
        let count = dims.iter().product();
        let values = (0..count)
            .map(|_| self.rng.random_range(low..high))
            .collect();
        self.graph
            .add_constant("w", Tensor::f32(dims, values).unwrap())
    }

    pub fn scalar(&mut self, value: f32) -> ValueId {
        self.graph.add_constant("scalar", Tensor::scalar(value))
    }

    /// A whole number.
    pub fn number(&mut self, value: i64) -> ValueId {
        self.constant(&[], TensorData::I64(vec![value]))
    }

    /// A list of numbers.
    pub fn list(&mut self, numbers: &[i64]) -> ValueId {
        self.graph
            .add_constant("list", Tensor::i64s(numbers.to_vec()))
    }

    pub fn constant(&mut self, dims: &[usize], data: TensorData) -> ValueId {
        let tensor = Tensor::new(dims.to_vec(), data).unwrap();
        self.graph.add_constant("constant", tensor)
    }

    pub fn push(&mut self, op: impl Into<Op>, inputs: &[ValueId]) -> ValueId {
        self.graph.push("node", op.into(), inputs).unwrap()
    }

    /// Appends a node in the form of a file.
    pub fn node(&mut self, name: &str, attributes: Attributes<'_>, inputs: &[ValueId]) -> ValueId {
        self.push(opaque(name, attributes), inputs)
    }

    /// Appends a node whose inputs and outputs may be omitted; returns the outputs. The writer
    /// omits a first output of this name that nothing reads.
    pub fn node_of(
        &mut self,
        op: Opaque,
        inputs: &[Option<ValueId>],
        outputs: &[bool],
    ) -> Vec<Option<ValueId>> {
        let node = format!("layer{}", self.graph.nodes().len());
        let unread = format!("{node}_unread");
        let name = |(i, &given): (usize, &bool)| match (i, given) {
            (_, true) => Some("part"),
            (0, false) => Some(unread.as_str()),
            _ => None,
        };
        let names: Vec<Option<&str>> = outputs.iter().enumerate().map(name).collect();
        let made = self
            .graph
            .push_node(&node, op.into(), inputs.to_vec(), &names);
        made.unwrap()
    }

    /// States what a value is that no rule of shapes covers.
    pub fn state(&mut self, value: ValueId, sizes: &[usize]) -> ValueId {
        let known = sizes.iter().map(|&size| Dim::Known(size));
        let shape = [Dim::Symbol("N".into())].into_iter().chain(known);
        self.graph
            .state_type(value, Some(DType::F32), Some(&shape.collect()));
        value
    }

    pub fn conv(
        &mut self,
        x: ValueId,
        from: usize,
        to: usize,
        group: usize,
        stride: usize,
    ) -> ValueId {
        let kernel = *[1, 3].choose(&mut self.rng).unwrap();
        let per_group = from / group;
        let spread = 1.5 / ((per_group * kernel * kernel) as f32).sqrt();
        let w = self.weight(&[to, per_group, kernel, kernel], -spread, spread);
        let b = self.weight(&[to], -0.5, 0.5);
        let op = Conv {
            kernel: vec![kernel; 2],
            strides: vec![stride; 2],
            pads: vec![kernel / 2; 4],
            dilations: vec![1; 2],
            group,
        };
        let mut y = self.push(op, &[x, w, b]);
        if self.rng.random_bool(0.4) {
            y = self.batch_norm(y, to);
        }
        if self.rng.random_bool(0.7) {
            y = self.push(Relu, &[y]);
        }
        y
    }

    fn batch_norm(&mut self, x: ValueId, channels: usize) -> ValueId {
        let ranges = [(0.5, 1.5), (-0.5, 0.5), (-0.5, 0.5), (0.5, 1.5)];
        let parameters = ranges.map(|(low, high)| self.weight(&[channels], low, high));
        let inputs = [&[x], parameters.as_slice()].concat();
        self.push(BatchNormalization::default(), &inputs)
    }

    /// Another value of the current sizes, by a convolution of the current one.
    pub fn other(&mut self) -> ValueId {
        self.conv(self.x, self.channels, self.channels, 1, 1)
    }

    pub fn some_channels(&mut self) -> usize {
        *[4, 6, 8, 12].choose(&mut self.rng).unwrap()
    }

    pub fn convolve(&mut self) {
        let to = self.some_channels();
        let stride = if self.side > 2 && self.rng.random_bool(0.3) {
            2
        } else {
            1
        };
        self.x = self.conv(self.x, self.channels, to, 1, stride);
        self.channels = to;
        self.side /= stride;
    }

    /// The value within `-limit..limit`.
    pub fn within(&mut self, x: ValueId, limit: f32) -> ValueId {
        let x = self.push(Tanh, &[x]);
        let limit = self.scalar(limit);
        self.push(Mul, &[x, limit])
    }

    /// A value above `least`.
    pub fn above(&mut self, x: ValueId, least: f32) -> ValueId {
        let x = self.push(Softplus::default(), &[x]);
        let least = self.scalar(least);
        self.push(Add, &[x, least])
    }

    pub fn transpose(&mut self, x: ValueId, perm: &[usize]) -> ValueId {
        let perm = perm.to_vec();
        self.push(Transpose { perm }, &[x])
    }

    pub fn reshape(&mut self, x: ValueId, target: &[i64]) -> ValueId {
        let op = Reshape {
            target: target.to_vec(),
            allow_zero: false,
        };
        self.push(op, &[x])
    }

    /// The positions as rows, and the channels last.
    pub fn tokens(&mut self) -> ValueId {
        let (c, tokens) = (self.channels as i64, (self.side * self.side) as i64);
        let flat = self.reshape(self.x, &[-1, c, tokens]);
        self.transpose(flat, &[0, 2, 1])
    }

    /// An image of rows of the current sizes.
    pub fn image(&mut self, rows: ValueId) -> ValueId {
        let (c, side) = (self.channels as i64, self.side as i64);
        let columns = self.transpose(rows, &[0, 2, 1]);
        self.reshape(columns, &[-1, c, side, side])
    }

    pub fn finish(mut self) -> Graph {
        let x = self.push(GlobalAveragePool, &[self.x]);
        let x = self.push(Flatten { axis: 1 }, &[x]);
        let w = self.weight(&[5, self.channels], -1.0, 1.0);
        let b = self.weight(&[5], -1.0, 1.0);
        let op = Gemm {
            alpha: 1.0,
            beta: 1.0,
            trans_a: false,
            trans_b: true,
        };
        let y = self.push(op, &[x, w, b]);
        self.state(y, &[5]);
        self.graph.add_output(y);
        self.graph
    }
}

/// A graph without nodes that may have operators of ONNX Runtime.
fn empty(opset: i64) -> Graph {
    let value = |field| onnx::value(field, "unused", element::FLOAT as u64, &[Ok(1)]);
    let graph = [onnx::bytes(2, b"random"), value(11), value(12)].concat();
    let own = onnx::bytes(8, &onnx::number(2, opset as u64));
    let theirs = [onnx::bytes(1, MICROSOFT.as_bytes()), onnx::number(2, 1)].concat();
    let parts = [
        onnx::number(1, 8),
        own,
        onnx::bytes(8, &theirs),
        onnx::bytes(7, &graph),
    ];
    let graph = read(&parts.concat(), &NoExternalData).unwrap();
    let mut graph = graph.emptied();
    graph.name = "random".into();
    graph
}
