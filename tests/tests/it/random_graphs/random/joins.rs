//! Operands that are joined element by element.

use onnx_graph::ValueId;

use super::draw::Row;
use super::net::{Net, int};

pub static JOINS: &[Row] = &[
    (&["Max", "Mean", "Min", "Sum"], 9..=99, Net::join_three),
    (&["Add", "Mul", "Sub"], 9..=99, Net::join_two),
    (&["Div"], 9..=99, Net::divide),
    (&["Mod"], 17..=99, Net::remainder),
    (&["Greater", "Less"], 9..=99, Net::choose),
    (&["GreaterOrEqual", "LessOrEqual"], 17..=99, Net::choose),
    (&["Equal"], 17..=99, Net::choose_equal),
    (&["And", "Or", "Xor"], 9..=99, Net::choose_by_two),
    (&["Not", "Where"], 9..=99, Net::choose_other),
    (
        &[
            "com.microsoft.BiasDropout",
            "com.microsoft.BiasGelu",
            "com.microsoft.FastGelu",
        ],
        17..=99,
        Net::add_biases,
    ),
];

impl Net {
    /// Two values and a number for each channel.
    fn join_three(&mut self, name: &str) {
        let (a, b) = (self.other(), self.other());
        let own = self.weight(&[self.channels, 1, 1], -0.5, 0.5);
        self.x = self.node(name, &[], &[a, own, b]);
    }

    fn join_two(&mut self, name: &str) {
        let (a, b) = (self.other(), self.other());
        self.x = self.node(name, &[], &[a, b]);
    }

    fn divide(&mut self, name: &str) {
        let (a, b) = (self.other(), self.other());
        let b = self.above(b, 1.0);
        self.x = self.node(name, &[], &[a, b]);
    }

    fn remainder(&mut self, name: &str) {
        let x = self.within(self.x, 3.0);
        let every = self.scalar(2.0);
        let y = self.node(name, &[("fmod", int(1))], &[x, every]);
        self.smoothed(x, y, "Sin", 2.0);
    }

    /// One of two values by their order.
    fn choose(&mut self, name: &str) {
        let (a, b) = (self.other(), self.other());
        let first = self.node(name, &[], &[a, b]);
        self.x = self.node("Where", &[], &[first, a, b]);
    }

    /// A value where it is positive, and a share of it elsewhere.
    fn choose_equal(&mut self, name: &str) {
        let a = self.other();
        let positive = self.node("Relu", &[], &[a]);
        let same = self.node(name, &[], &[a, positive]);
        self.x = self.shared(same, a);
    }

    fn choose_other(&mut self, _: &str) {
        let a = self.other();
        let zero = self.scalar(0.0);
        let positive = self.node("Greater", &[], &[a, zero]);
        let negative = self.node("Not", &[], &[positive]);
        self.x = self.shared(negative, a);
    }

    /// Two values' product, or a share of it, by the signs of both: it is zero where these change.
    fn choose_by_two(&mut self, name: &str) {
        let (a, b) = (self.other(), self.other());
        let zero = self.scalar(0.0);
        let signs = [a, b].map(|v| self.node("Greater", &[], &[v, zero]));
        let both = self.node(name, &[], &signs);
        let product = self.node("Mul", &[], &[a, b]);
        self.x = self.shared(both, product);
    }

    /// `a` where a condition holds, and a share of it elsewhere.
    fn shared(&mut self, condition: ValueId, a: ValueId) -> ValueId {
        let share = self.scalar(0.3);
        let less = self.node("Mul", &[], &[a, share]);
        self.node("Where", &[], &[condition, a, less])
    }

    /// A bias for each channel, which lies last.
    fn add_biases(&mut self, name: &str) {
        let rows = self.tokens();
        let biases = self.weight(&[self.channels], -0.5, 0.5);
        let rows = self.node(name, &[], &[rows, biases]);
        let rows = self.state(rows, &[self.side * self.side, self.channels]);
        self.x = self.image(rows);
    }
}
