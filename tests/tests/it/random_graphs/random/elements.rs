//! Functions of every element. Those with steps are multiplied by a wave that is zero there, since
//! sums in another order may fall on the other side of a step.

use std::f32::consts::PI;

use onnx_graph::{AttributeValue, TensorData, ValueId};

use super::draw::Row;
use super::net::{Net, element, float, int, text};

pub static ELEMENTS: &[Row] = &[
    (
        &[
            "Abs",
            "Asinh",
            "Atan",
            "Cos",
            "Dropout",
            "Elu",
            "Erf",
            "HardSigmoid",
            "Identity",
            "LeakyRelu",
            "Neg",
            "PRelu",
            "Relu",
            "Selu",
            "Sigmoid",
            "Sin",
            "Softplus",
            "Softsign",
            "Tanh",
        ],
        9..=99,
        Net::bend,
    ),
    (
        &[
            "Celu",
            "HardSwish",
            "Shrink",
            "ThresholdedRelu",
            "com.microsoft.Gelu",
            "com.microsoft.QuickGelu",
        ],
        17..=99,
        Net::bend,
    ),
    (&["Mish"], 18..=99, Net::bend),
    (&["Gelu"], 20..=99, Net::bend),
    (
        &["Acos", "Asin", "Atanh", "Cosh", "Exp", "Sinh", "Tan"],
        9..=99,
        Net::bend_within,
    ),
    (
        &["Acosh", "Log", "Reciprocal", "Sqrt"],
        9..=99,
        Net::bend_above,
    ),
    (&["Ceil", "Floor", "Sign"], 9..=99, Net::step),
    (&["Round"], 17..=99, Net::step),
    (&["Clip"], 17..=99, Net::clip),
    (&["Pow"], 9..=99, Net::raise),
    (&["Cast"], 9..=99, Net::cast),
    (&["CastLike"], 17..=99, Net::cast_like),
    (&["BitCast", "BitCast", "BitCast"], 26..=99, Net::cast_bits),
    (&["IsNaN"], 9..=99, Net::replace),
    (&["IsInf"], 17..=99, Net::replace),
    (&["BitwiseNot"], 18..=99, Net::turn_bits),
    (
        &["BitwiseAnd", "BitwiseOr", "BitwiseXor"],
        18..=99,
        Net::join_bits,
    ),
    (&["BitShift"], 17..=99, Net::shift_bits),
];

/// Attributes that a function needs, or without which it has a step.
fn attributes(name: &str) -> Vec<(&'static str, AttributeValue)> {
    match name {
        "Shrink" => vec![("lambd", float(0.2)), ("bias", float(0.2))],
        "ThresholdedRelu" => vec![("alpha", float(0.0))],
        _ => Vec::new(),
    }
}

impl Net {
    fn bend(&mut self, name: &str) {
        let mut inputs = vec![self.x];
        if name == "PRelu" {
            inputs.push(self.weight(&[self.channels, 1, 1], 0.1, 0.9));
        }
        self.x = self.node(name, &attributes(name), &inputs);
    }

    fn bend_within(&mut self, name: &str) {
        let x = self.within(self.x, 0.9);
        self.x = self.node(name, &[], &[x]);
    }

    fn bend_above(&mut self, name: &str) {
        let x = self.above(self.x, 1.1);
        self.x = self.node(name, &[], &[x]);
    }

    /// `y`, which has steps, times a wave of `x` that is zero at these: multiples of `every`, or
    /// the middles between them.
    pub fn smoothed(&mut self, x: ValueId, y: ValueId, wave: &str, every: f32) {
        let factor = self.scalar(PI / every);
        let turned = self.node("Mul", &[], &[x, factor]);
        let wave = self.node(wave, &[], &[turned]);
        self.x = self.node("Mul", &[], &[y, wave]);
    }

    fn step(&mut self, name: &str) {
        let x = self.within(self.x, 3.0);
        let y = self.node(name, &[], &[x]);
        let wave = if name == "Round" { "Cos" } else { "Sin" };
        self.smoothed(x, y, wave, 1.0);
    }

    fn clip(&mut self, _: &str) {
        let bounds = [self.scalar(-1.0), self.scalar(2.0)];
        self.x = self.node("Clip", &[], &[self.x, bounds[0], bounds[1]]);
    }

    /// A power for each channel.
    fn raise(&mut self, _: &str) {
        let x = self.above(self.x, 0.2);
        let powers = self.weight(&[self.channels, 1, 1], 0.5, 2.0);
        self.x = self.node("Pow", &[], &[x, powers]);
    }

    fn cast_to(&mut self, x: ValueId, to: i64) -> ValueId {
        self.node("Cast", &[("to", int(to))], &[x])
    }

    fn cast(&mut self, _: &str) {
        let wide = self.cast_to(self.x, element::DOUBLE);
        let wide = self.node("Abs", &[], &[wide]);
        self.x = self.cast_to(wide, element::FLOAT);
    }

    fn cast_like(&mut self, _: &str) {
        let (wide, plain) = (
            self.constant(&[], TensorData::F64(vec![0.0])),
            self.scalar(0.0),
        );
        let x = self.node("CastLike", &[], &[self.x, wide]);
        self.x = self.node("CastLike", &[], &[x, plain]);
    }

    fn cast_bits(&mut self, _: &str) {
        let cast = |to| [("to", int(to))];
        let bits = self.node("BitCast", &cast(element::INT32), &[self.x]);
        self.x = self.node("BitCast", &cast(element::FLOAT), &[bits]);
    }

    /// Zeros where a value is no number.
    fn replace(&mut self, name: &str) {
        let zero = self.scalar(0.0);
        let is = self.node(name, &[], &[self.x]);
        self.x = self.node("Where", &[], &[is, zero, self.x]);
    }

    /// The result of a function of the whole numbers of a value.
    fn whole(&mut self, to: i64, function: impl FnOnce(&mut Self, ValueId) -> ValueId) {
        let x = self.within(self.x, 3.0);
        let x = match to {
            element::UINT32 => self.node("Abs", &[], &[x]),
            _ => x,
        };
        let numbers = self.cast_to(x, to);
        let y = function(self, numbers);
        let y = self.cast_to(y, element::FLOAT);
        self.smoothed(x, y, "Sin", 1.0);
    }

    fn turn_bits(&mut self, name: &str) {
        self.whole(element::INT32, |net, x| net.node(name, &[], &[x]));
    }

    fn join_bits(&mut self, name: &str) {
        let masks = (0..self.channels as i32).map(|i| i % 4).collect();
        let masks = self.constant(&[self.channels, 1, 1], TensorData::I32(masks));
        self.whole(element::INT32, |net, x| net.node(name, &[], &[x, masks]));
    }

    fn shift_bits(&mut self, name: &str) {
        let left = [("direction", text("LEFT"))];
        self.whole(element::UINT32, |net, x| net.node(name, &left, &[x, x]));
    }
}
