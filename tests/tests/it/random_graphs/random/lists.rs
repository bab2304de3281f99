//! Lists of tensors, and values that may be missing.

use onnx_graph::ValueId;

use super::draw::Row;
use super::net::{Net, element, int};

pub static LISTS: &[Row] = &[
    (
        &["SequenceConstruct", "SequenceEmpty", "SplitToSequence"],
        17..=99,
        Net::add_elements,
    ),
    (&["SequenceErase", "SequenceInsert"], 17..=99, Net::change),
    (&["ConcatFromSequence"], 17..=99, Net::join_list),
    (&["SequenceLength"], 17..=99, Net::count),
    (
        &["Optional", "OptionalGetElement", "OptionalHasElement"],
        17..=99,
        Net::wrap,
    ),
];

impl Net {
    /// A list of two values of the current sizes, in one of three ways.
    fn listed(&mut self, name: &str) -> ValueId {
        let (a, b) = (self.x, self.other());
        match name {
            "SequenceEmpty" => {
                let none = self.node(name, &[("dtype", int(element::FLOAT))], &[]);
                let one = self.node("SequenceInsert", &[], &[none, a]);
                self.node("SequenceInsert", &[], &[one, b])
            }
            "SplitToSequence" => {
                let both = self.node("Concat", &[("axis", int(2))], &[a, b]);
                let side = self.list(&[self.side as i64; 2]);
                self.node(name, &[("axis", int(2))], &[both, side])
            }
            _ => self.node("SequenceConstruct", &[], &[a, b]),
        }
    }

    fn at(&mut self, list: ValueId, place: i64) -> ValueId {
        let place = self.number(place);
        let value = self.node("SequenceAt", &[], &[list, place]);
        self.state(value, &[self.channels, self.side, self.side])
    }

    /// Both elements, added.
    fn add_elements(&mut self, name: &str) {
        let list = self.listed(name);
        let (first, last) = (self.at(list, 0), self.at(list, -1));
        self.x = self.node("Add", &[], &[first, last]);
    }

    /// The list without its first element and with another one.
    fn change(&mut self, name: &str) {
        let list = self.listed("SequenceConstruct");
        let first = self.number(0);
        let list = match name {
            "SequenceErase" => self.node(name, &[], &[list, first]),
            _ => {
                let other = self.other();
                self.node(name, &[], &[list, other, first])
            }
        };
        self.x = self.at(list, 0);
    }

    fn join_list(&mut self, name: &str) {
        let list = self.listed("SequenceConstruct");
        let y = self.node(name, &[("axis", int(1))], &[list]);
        self.channels *= 2;
        self.x = self.state(y, &[self.channels, self.side, self.side]);
    }

    /// The value, times the length of a list that has it.
    fn count(&mut self, name: &str) {
        let list = self.listed("SequenceConstruct");
        let length = self.node(name, &[], &[list]);
        let length = self.node("Cast", &[("to", int(element::FLOAT))], &[length]);
        let value = self.at(list, 1);
        self.x = self.node("Mul", &[], &[value, length]);
    }

    /// The value where it is there.
    fn wrap(&mut self, _: &str) {
        let value = self.other();
        let optional = self.node("Optional", &[], &[value]);
        let there = self.node("OptionalHasElement", &[], &[optional]);
        let value = self.node("OptionalGetElement", &[], &[optional]);
        let value = self.state(value, &[self.channels, self.side, self.side]);
        self.x = self.node("Where", &[], &[there, value, self.x]);
    }
}
