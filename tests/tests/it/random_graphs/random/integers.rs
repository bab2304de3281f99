//! Operators on integers with scales. Their results are rounded, and sums in another order may be
//! rounded the other way, so these operators only shift a value a little.

use onnx_graph::{AttributeValue, TensorData, ValueId};
use rand::RngExt;

use super::draw::Row;
use super::net::{Attributes, Net, element, float, int, ints, opaque};

pub static INTEGERS: &[Row] = &[
    (&["DequantizeLinear", "QuantizeLinear"], 17..=99, Net::round),
    (&["QLinearConv"], 17..=99, Net::convolve_integers),
    (&["QLinearMatMul"], 17..=99, Net::mix_integers),
    (&["com.microsoft.QGemm"], 17..=99, Net::connect_integers),
    (
        &["com.microsoft.QLinearAdd", "com.microsoft.QLinearMul"],
        17..=99,
        Net::join_integers,
    ),
    (
        &[
            "com.microsoft.QLinearAveragePool",
            "com.microsoft.QLinearGlobalAveragePool",
            "com.microsoft.QLinearLeakyRelu",
            "com.microsoft.QLinearSigmoid",
            "com.microsoft.QLinearSoftmax",
        ],
        17..=99,
        Net::bend_integers,
    ),
    (
        &["com.microsoft.QLinearConcat"],
        17..=99,
        Net::append_integers,
    ),
    (
        &[
            "com.microsoft.DequantizeLinear",
            "com.microsoft.QuantizeLinear",
        ],
        17..=99,
        Net::round_finely,
    ),
    (
        &[
            "MatMulInteger",
            "com.microsoft.DynamicQuantizeMatMul",
            "com.microsoft.MatMulIntegerToFloat",
        ],
        17..=99,
        Net::mix_dynamically,
    ),
    (
        &["ConvInteger", "DynamicQuantizeLinear"],
        17..=99,
        Net::convolve_dynamically,
    ),
];

/// Values lie within `-RANGE..RANGE`.
const RANGE: f32 = 3.0;

/// Integers with their scale and their zero point.
type Integers = [ValueId; 3];

impl Net {
    /// The scale and the zero point of all values.
    fn scaling(&mut self) -> [ValueId; 2] {
        let zero = TensorData::U8(vec![128]);
        [self.scalar(RANGE / 127.0), self.constant(&[], zero)]
    }

    fn quantised(&mut self, x: ValueId) -> Integers {
        let x = self.within(x, RANGE);
        let [scale, zero] = self.scaling();
        let integers = self.node("QuantizeLinear", &[], &[x, scale, zero]);
        [integers, scale, zero]
    }

    /// A weight in signed bytes, with a scale for each of its `channels` where they are given.
    fn integers(&mut self, dims: &[usize], channels: Option<usize>) -> Integers {
        let count = dims.iter().product();
        let values = (0..count).map(|_| self.rng.random_range(-127..=127));
        let values = TensorData::I8(values.collect());
        let values = self.constant(dims, values);
        let sizes: Vec<usize> = channels.into_iter().collect();
        let scale = self.weight(&sizes, 0.002, 0.006);
        let zeros = TensorData::I8(vec![0; channels.unwrap_or(1)]);
        let zero = self.constant(&sizes, zeros);
        [values, scale, zero]
    }

    /// Appends an operator whose last inputs are scale and zero point of its result, as
    /// [`Net::scaling`] has them, and returns the result in floats.
    fn scaled(
        &mut self,
        name: &str,
        attributes: Attributes<'_>,
        inputs: &[ValueId],
        behind: &[ValueId],
    ) -> ValueId {
        let [scale, zero] = self.scaling();
        let inputs = [inputs, &[scale, zero], behind].concat();
        let y = self.node(name, attributes, &inputs);
        self.node("DequantizeLinear", &[], &[y, scale, zero])
    }

    /// Adds a little of a value of the current sizes, or of one that broadcasts to these.
    fn shift(&mut self, y: ValueId, sizes: [usize; 2]) {
        let [height, width] = sizes;
        let y = self.state(y, &[self.channels, height, width]);
        let little = self.scalar(0.0005);
        let y = self.node("Mul", &[], &[y, little]);
        self.x = self.node("Add", &[], &[self.x, y]);
    }

    fn sides(&self) -> [usize; 2] {
        [self.side; 2]
    }

    fn round(&mut self, _: &str) {
        let integers = self.quantised(self.x);
        let y = self.node("DequantizeLinear", &[], &integers);
        self.shift(y, self.sides());
    }

    fn convolve_integers(&mut self, name: &str) {
        let c = self.channels;
        let x = self.quantised(self.x);
        let each = self.rng.random_bool(0.5).then_some(c);
        let w = self.integers(&[c, c, 1, 1], each);
        let mut behind = Vec::new();
        if self.rng.random_bool(0.5) {
            let biases = (0..c).map(|_| self.rng.random_range(-2000..2000));
            let biases = TensorData::I32(biases.collect());
            behind.push(self.constant(&[c], biases));
        }
        let y = self.scaled(name, &[], &[x, w].concat(), &behind);
        self.shift(y, self.sides());
    }

    fn mix_integers(&mut self, name: &str) {
        let c = self.channels;
        let rows = self.tokens();
        let x = self.quantised(rows);
        let w = self.integers(&[c, c], None);
        let y = self.scaled(name, &[], &[x, w].concat(), &[]);
        let y = self.state(y, &[self.side * self.side, c]);
        let y = self.image(y);
        self.shift(y, self.sides());
    }

    fn connect_integers(&mut self, name: &str) {
        let c = self.channels;
        let mean = self.node("GlobalAveragePool", &[], &[self.x]);
        let mean = self.node("Flatten", &[], &[mean]);
        let x = self.quantised(mean);
        let w = self.integers(&[c, c], None);
        let biases = (0..c).map(|_| self.rng.random_range(-2000..2000));
        let biases = TensorData::I32(biases.collect());
        let bias = self.constant(&[c], biases);
        let inputs = [&x[..], &w, &[bias]].concat();
        let y = self.scaled(name, &[("transB", int(1))], &inputs, &[]);
        let y = self.state(y, &[c]);
        let y = self.reshape(y, &[-1, c as i64, 1, 1]);
        self.shift(y, [1; 2]);
    }

    fn join_integers(&mut self, name: &str) {
        let other = self.other();
        let both = [self.quantised(self.x), self.quantised(other)];
        let y = self.scaled(name, &[], &both.concat(), &[]);
        self.shift(y, self.sides());
    }

    fn bend_integers(&mut self, name: &str) {
        let x = self.quantised(self.x);
        let attributes: Vec<(&str, AttributeValue)> = match name.rsplit_once('.') {
            Some((_, "QLinearAveragePool")) => {
                vec![("kernel_shape", ints(&[3, 3])), ("pads", ints(&[1; 4]))]
            }
            Some((_, "QLinearLeakyRelu")) => vec![("alpha", float(0.2))],
            Some((_, "QLinearSoftmax")) => vec![("axis", int(3)), ("opset", int(13))],
            _ => Vec::new(),
        };
        let y = self.scaled(name, &attributes, &x, &[]);
        let sides = match name.contains("Global") {
            true => [1; 2],
            false => self.sides(),
        };
        self.shift(y, sides);
    }

    /// Through integers of 16 bits.
    fn round_finely(&mut self, _: &str) {
        let x = self.within(self.x, RANGE);
        let zero = self.constant(&[], TensorData::U16(vec![1 << 15]));
        let scale = self.scalar(RANGE / 32767.0);
        let y = self.node("com.microsoft.QuantizeLinear", &[], &[x, scale, zero]);
        let y = self.node("com.microsoft.DequantizeLinear", &[], &[y, scale, zero]);
        self.shift(y, self.sides());
    }

    /// Integers with the scale and the zero point that their range gives.
    fn quantised_by_range(&mut self, x: ValueId) -> Integers {
        let op = opaque("DynamicQuantizeLinear", &[]);
        let made = self.node_of(op, &[Some(x)], &[true; 3]);
        [0, 1, 2].map(|at| made[at].expect("all are named"))
    }

    /// Sums of integers in floats.
    fn in_floats(&mut self, sums: ValueId, scales: [ValueId; 2]) -> ValueId {
        let sums = self.node("Cast", &[("to", int(element::FLOAT))], &[sums]);
        let scale = self.node("Mul", &[], &scales);
        self.node("Mul", &[], &[sums, scale])
    }

    fn mix_dynamically(&mut self, name: &str) {
        let c = self.channels;
        let rows = self.tokens();
        let [w, w_scale, w_zero] = self.integers(&[c, c], None);
        let y = match name {
            "com.microsoft.DynamicQuantizeMatMul" => {
                self.node(name, &[], &[rows, w, w_scale, w_zero])
            }
            "MatMulInteger" => {
                let [x, scale, zero] = self.quantised_by_range(rows);
                let sums = self.node(name, &[], &[x, w, zero, w_zero]);
                self.in_floats(sums, [scale, w_scale])
            }
            _ => {
                let [x, scale, zero] = self.quantised_by_range(rows);
                self.node(name, &[], &[x, w, scale, w_scale, zero, w_zero])
            }
        };
        let y = self.state(y, &[self.side * self.side, c]);
        let y = self.image(y);
        self.shift(y, self.sides());
    }

    /// In one group, in two, or in one for each channel.
    fn convolve_dynamically(&mut self, _: &str) {
        let c = self.channels;
        let groups = if c.is_multiple_of(2) {
            [1, 2, c][self.rng.random_range(0..3)]
        } else {
            1
        };
        let [x, scale, zero] = self.quantised_by_range(self.x);
        let [w, w_scale, _] = self.integers(&[c, c / groups, 1, 1], None);
        let attributes = [("group", int(groups as i64))];
        let sums = self.node("ConvInteger", &attributes, &[x, w, zero]);
        let y = self.in_floats(sums, [scale, w_scale]);
        self.shift(y, self.sides());
    }

    fn append_integers(&mut self, name: &str) {
        let other = self.other();
        let parts = [self.quantised(self.x), self.quantised(other)].concat();
        let [scale, zero] = self.scaling();
        let inputs = [&[scale, zero], &parts[..]].concat();
        let y = self.node(name, &[("axis", int(1))], &inputs);
        let y = self.node("DequantizeLinear", &[], &[y, scale, zero]);
        let y = self.state(y, &[2 * self.channels, self.side, self.side]);
        let y = self.conv(y, 2 * self.channels, self.channels, 1, 1);
        self.shift(y, self.sides());
    }
}
