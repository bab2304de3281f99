//! Products of matrices and attentions, also those that ONNX Runtime fuses.

use onnx_graph::{TensorData, ValueId};
use rand::RngExt;
use rand::seq::IndexedRandom;

use super::draw::Row;
use super::net::{Net, element, float, int, opaque, text};

pub static PRODUCTS: &[Row] = &[
    (&["Einsum"], 17..=99, Net::contract),
    (&["MatMul"], 9..=99, Net::mix),
    (&["Gemm", "com.microsoft.FusedGemm"], 17..=99, Net::connect),
    (&["com.microsoft.FusedConv"], 17..=99, Net::convolve_fused),
    (
        &["com.microsoft.FusedMatMul", "com.microsoft.TransposeMatMul"],
        17..=99,
        Net::mix_transposed,
    ),
    (&["Attention"], 23..=99, Net::attend_at_once),
    (&["RotaryEmbedding"], 23..=99, Net::rotate),
    (&["com.microsoft.RotaryEmbedding"], 17..=99, Net::rotate),
    (&["com.microsoft.MatMulNBits"], 17..=99, Net::mix_packed),
    (
        &[
            "com.microsoft.Attention",
            "com.microsoft.MultiHeadAttention",
        ],
        17..=99,
        Net::attend_fused,
    ),
    (
        &[
            "com.microsoft.SkipLayerNormalization",
            "com.microsoft.SkipSimplifiedLayerNormalization",
        ],
        17..=99,
        Net::skip,
    ),
];

impl Net {
    /// A layer over the channels of an image, or a weight for each of them and each row.
    fn contract(&mut self, name: &str) {
        let (c, to) = (self.channels, self.some_channels());
        if self.rng.random_bool(0.5) {
            let w = self.weight(&[c, self.side], -0.5, 0.5);
            let equation = [("equation", text("nchw,ch->nchw"))];
            self.x = self.node(name, &equation, &[self.x, w]);
        } else {
            let w = self.weight(&[to, c], -0.5, 0.5);
            let equation = [("equation", text("nchw,oc->nohw"))];
            self.x = self.node(name, &equation, &[self.x, w]);
            self.channels = to;
        }
        self.state(self.x, &[self.channels, self.side, self.side]);
    }

    /// A layer over the channels, beside its input.
    fn mix(&mut self, name: &str) {
        let (c, inner) = (self.channels, self.some_channels());
        let rows = self.tokens();
        let [w, v] = [[c, inner], [inner, c]].map(|dims| self.weight(&dims, -0.5, 0.5));
        let y = self.node(name, &[], &[rows, w]);
        let y = self.node("Tanh", &[], &[y]);
        let y = self.node(name, &[], &[y, v]);
        let rows = self.node("Add", &[], &[rows, y]);
        self.x = self.image(rows);
    }

    /// Layers over the means of the channels.
    fn connect(&mut self, name: &str) {
        let (c, inner) = (self.channels, self.some_channels());
        let mean = self.node("GlobalAveragePool", &[], &[self.x]);
        let mean = self.node("Flatten", &[], &[mean]);
        let mut attributes = vec![("transB", int(1)), ("alpha", float(0.7))];
        if name.ends_with("FusedGemm") {
            attributes.push(("activation", text("LeakyRelu")));
            attributes.push(("activation_alpha", float(0.2)));
        }
        let mut y = mean;
        for (from, to) in [(c, inner), (inner, c)] {
            let inputs = [
                y,
                self.weight(&[to, from], -0.5, 0.5),
                self.weight(&[to], -0.5, 0.5),
            ];
            y = self.node(name, &attributes, &inputs);
            y = self.state(y, &[to]);
        }
        let y = self.reshape(y, &[-1, c as i64, 1, 1]);
        self.x = self.node("Mul", &[], &[self.x, y]);
    }

    fn convolve_fused(&mut self, name: &str) {
        let (c, to) = (self.channels, self.some_channels());
        let other = self.conv(self.x, c, to, 1, 1);
        let inputs = [
            self.x,
            self.weight(&[to, c, 1, 1], -0.5, 0.5),
            self.weight(&[to], -0.5, 0.5),
            other,
        ];
        let y = self.node(name, &[("activation", text("Relu"))], &inputs);
        self.x = self.state(y, &[to, self.side, self.side]);
        self.channels = to;
    }

    /// Rows by rows, whose products sum up the channels; and a layer that is given transposed.
    fn mix_transposed(&mut self, name: &str) {
        let (c, tokens) = (self.channels, self.side * self.side);
        let rows = self.tokens();
        let alpha = ("alpha", float(0.1));
        let turned = [("transB", int(1)), alpha];
        let scores = self.node(name, &turned, &[rows, rows]);
        let scores = self.state(scores, &[tokens, tokens]);
        let scores = self.node("Tanh", &[], &[scores]);
        let w = self.weight(&[c, c], -0.5, 0.5);
        let values = self.node(name, &turned[..1], &[rows, w]);
        let values = self.state(values, &[tokens, c]);
        let y = self.node(name, &[("alpha", float(0.2))], &[scores, values]);
        let y = self.state(y, &[tokens, c]);
        let rows = self.node("Add", &[], &[rows, y]);
        self.x = self.image(rows);
    }

    /// Features such as queries, keys and values, of `widths`, by layers over the channels.
    fn queries<const N: usize>(&mut self, rows: ValueId, widths: [usize; N]) -> [ValueId; N] {
        widths.map(|width| {
            let w = self.weight(&[self.channels, width], -0.5, 0.5);
            self.node("MatMul", &[], &[rows, w])
        })
    }

    /// Adds a layer of the result of an attention.
    fn project(&mut self, rows: ValueId, y: ValueId, width: usize) {
        let y = self.state(y, &[self.side * self.side, width]);
        let w = self.weight(&[width, self.channels], -0.5, 0.5);
        let y = self.node("MatMul", &[], &[y, w]);
        let rows = self.node("Add", &[], &[rows, y]);
        self.x = self.image(rows);
    }

    /// With packed heads or with an axis of heads, a mask, and a view that ends at each query.
    fn attend_at_once(&mut self, name: &str) {
        let tokens = self.side * self.side;
        let (heads, size) = (self.rng.random_range(1..3), self.rng.random_range(1..5));
        let values = self.rng.random_range(1..5);
        let widths = [heads * size, heads * size, heads * values];
        let rows = self.tokens();
        let mut parts = self.queries(rows, widths);
        let packed = self.rng.random_bool(0.5);
        let mut attributes = Vec::new();
        if packed {
            attributes.push(("q_num_heads", int(heads as i64)));
            attributes.push(("kv_num_heads", int(heads as i64)));
        } else {
            for (part, width) in parts.iter_mut().zip([size, size, values]) {
                let target = [tokens, heads, width].map(|n| n as i64);
                let apart = self.reshape(*part, &[&[-1], target.as_slice()].concat());
                *part = self.transpose(apart, &[0, 2, 1, 3]);
            }
        }
        let mut inputs = parts.to_vec();
        match self.rng.random_range(0..4) {
            0 => attributes.push(("is_causal", int(1))),
            1 => attributes.push(("scale", float(0.3))),
            2 => {
                let seen = (0..tokens * tokens).map(|i| i % tokens <= i / tokens + 1);
                let seen = TensorData::Bool(seen.collect());
                inputs.push(self.constant(&[tokens, tokens], seen));
            }
            _ => inputs.push(self.weight(&[tokens, tokens], -1.0, 1.0)),
        }
        let mut y = self.node(name, &attributes, &inputs);
        if !packed {
            y = self.state(y, &[heads, tokens, values]);
            y = self.transpose(y, &[0, 2, 1, 3]);
            y = self.reshape(y, &[-1, tokens as i64, (heads * values) as i64]);
        }
        self.project(rows, y, heads * values);
    }

    fn attend_fused(&mut self, name: &str) {
        let (heads, size) = (self.rng.random_range(1..3), self.rng.random_range(1..5));
        let width = heads * size;
        let rows = self.tokens();
        let heads = [("num_heads", int(heads as i64))];
        let biases = self.weight(&[3 * width], -0.5, 0.5);
        let y = if name.ends_with("MultiHeadAttention") {
            let [q, k, v] = self.queries(rows, [width; 3]);
            self.node(name, &heads, &[q, k, v, biases])
        } else {
            let w = self.weight(&[self.channels, 3 * width], -0.5, 0.5);
            self.node(name, &heads, &[rows, w, biases])
        };
        self.project(rows, y, width);
    }

    /// Pairs of features that are turned by their positions, in packed heads or on an axis of
    /// heads.
    fn rotate(&mut self, name: &str) {
        let tokens = self.side * self.side;
        let (count, half) = (self.rng.random_range(1..4), self.rng.random_range(1..5));
        let width = 2 * half * count;
        let rows = self.tokens();
        let [part] = self.queries(rows, [width]);
        let tables = [0, 1].map(|_| self.weight(&[tokens, half], -1.0, 1.0));
        let mut attributes = vec![("interleaved", int(i64::from(self.rng.random_bool(0.5))))];
        let packed = self.rng.random_bool(0.5);
        let apart = [-1, tokens as i64, count as i64, 2 * half as i64];
        let part = if packed {
            attributes.push(("num_heads", int(count as i64)));
            part
        } else {
            let part = self.reshape(part, &apart);
            self.transpose(part, &[0, 2, 1, 3])
        };
        let inputs = if name.starts_with("com.") {
            let first = self.list(&[0]);
            vec![part, first, tables[0], tables[1]]
        } else {
            let numbers = TensorData::I64((0..tokens as i64).collect());
            let numbers = self.constant(&[1, tokens], numbers);
            // A row of numbers for each image of the batch.
            let last = self.list(&[-1]);
            let means = self.node("ReduceMean", &[("keepdims", int(0))], &[rows, last]);
            let zero = self.scalar(0.0);
            let zeros = self.node("Mul", &[], &[means, zero]);
            let zeros = self.node("Cast", &[("to", int(element::INT64))], &[zeros]);
            let numbers = self.node("Add", &[], &[zeros, numbers]);
            vec![part, tables[0], tables[1], numbers]
        };
        let mut y = self.node(name, &attributes, &inputs);
        if packed {
            y = self.state(y, &[tokens, width]);
        } else {
            y = self.state(y, &[count, tokens, 2 * half]);
            y = self.transpose(y, &[0, 2, 1, 3]);
            y = self.reshape(y, &[-1, tokens as i64, width as i64]);
        }
        self.project(rows, y, width);
    }

    /// A product with a matrix of four or eight bits, whose inputs stay.
    fn mix_packed(&mut self, name: &str) {
        let (c, tokens) = (self.channels, self.side * self.side);
        let (bits, blocks) = (*[4, 8].choose(&mut self.rng).unwrap(), 1);
        let rows = self.tokens();
        let w = self.weight(&[c, 32], -0.5, 0.5);
        let wide = self.node("MatMul", &[], &[rows, w]);
        let made = self.some_channels();
        let bytes = (0..made * blocks * 4 * bits).map(|_| self.rng.random_range(0..=255));
        let bytes = TensorData::U8(bytes.collect());
        let packed = self.constant(&[made, blocks, 4 * bits], bytes);
        let scales = self.weight(&[made * blocks], 0.005, 0.01);
        let sizes = [("K", 32), ("N", made), ("bits", bits), ("block_size", 32)];
        let attributes = sizes.map(|(name, size)| (name, int(size as i64)));
        let y = self.node(name, &attributes, &[wide, packed, scales]);
        let y = self.state(y, &[tokens, made]);
        self.project(rows, y, made);
    }

    /// A sum and its normalisation; the sum itself is read as well.
    fn skip(&mut self, name: &str) {
        let rows = self.tokens();
        let other = self.node("Tanh", &[], &[rows]);
        let mut inputs = vec![
            Some(rows),
            Some(other),
            Some(self.weight(&[self.channels], 0.5, 1.5)),
        ];
        if !name.contains("Simplified") {
            inputs.push(Some(self.weight(&[self.channels], -0.5, 0.5)));
        }
        let op = opaque(name, &[("epsilon", float(1e-2))]);
        let made = self.node_of(op, &inputs, &[true, false, false, true]);
        let sizes = [self.side * self.side, self.channels];
        let [normalised, sum] = [0, 3].map(|i| self.state(made[i].unwrap(), &sizes));
        let rows = self.node("Mul", &[], &[normalised, sum]);
        self.x = self.image(rows);
    }
}
