//! Channels and positions in other places.

use onnx_graph::ops::Shape;
use onnx_graph::{TensorData, ValueId};
use rand::RngExt;

use super::draw::Row;
use super::net::{Net, int, ints, opaque, text};

pub static MOVES: &[Row] = &[
    (&["Gather"], 9..=99, Net::pick),
    (&["GatherElements"], 17..=99, Net::pick_elements),
    (&["GatherND"], 17..=99, Net::pick_rows),
    (&["Scatter"], 10..=10, Net::replace_elements),
    (&["ScatterElements"], 17..=99, Net::replace_elements),
    (&["ScatterND"], 17..=99, Net::replace_rows),
    (&["Tile"], 9..=99, Net::tile),
    (&["Transpose"], 9..=99, Net::turn),
    (&["Slice"], 17..=99, Net::slice),
    (&["Pad"], 17..=99, Net::pad_positions),
    (&["Squeeze", "Unsqueeze"], 17..=99, Net::add_axes),
    (&["Expand"], 9..=99, Net::expand),
    (&["Reshape"], 9..=99, Net::regroup),
    (&["Flatten"], 9..=99, Net::flatten),
    (&["Split"], 17..=99, Net::split_positions),
    (&["Concat"], 9..=99, Net::repeat),
    (&["Shape"], 9..=99, Net::regroup_by_shape),
    (&["ReverseSequence"], 17..=99, Net::reverse),
];

impl Net {
    /// Channels by number, some of them from the end and some more than once.
    fn pick(&mut self, name: &str) {
        let c = self.channels as i64;
        let count = self.rng.random_range(2..=self.channels + 2);
        let numbers: Vec<i64> = (0..count).map(|_| self.rng.random_range(0..c)).collect();
        let numbers = self.list(&numbers);
        let y = self.node(name, &[("axis", int(1))], &[self.x, numbers]);
        let to = self.some_channels();
        self.x = self.conv(y, count, to, 1, 1);
        self.channels = to;
    }

    /// The largest of each row, by its number.
    fn pick_elements(&mut self, name: &str) {
        let along = [("axis", int(3)), ("keepdims", int(1))];
        let place = self.node("ArgMax", &along, &[self.x]);
        let largest = self.node(name, &along[..1], &[self.x, place]);
        self.x = self.node("Add", &[], &[self.x, largest]);
    }

    /// The first two axes are those of the positions.
    fn rows(&mut self) -> ValueId {
        self.transpose(self.x, &[2, 3, 0, 1])
    }

    fn set_rows(&mut self, rows: ValueId) {
        self.x = self.transpose(rows, &[2, 3, 0, 1]);
    }

    fn pick_rows(&mut self, name: &str) {
        let numbers: Vec<i64> = (0..self.side as i64).rev().collect();
        let numbers = self.constant(&[self.side, 1], TensorData::I64(numbers));
        let rows = self.rows();
        let rows = self.node(name, &[], &[rows, numbers]);
        self.set_rows(rows);
    }

    /// Elements of the first image that others replace.
    fn replace_elements(&mut self, name: &str) {
        let sizes = [1, self.channels, 1, 1];
        let last = self.side as i64 - 1;
        let places = self.constant(&sizes, TensorData::I64(vec![last; self.channels]));
        let others = self.weight(&sizes, -1.0, 1.0);
        self.x = self.node(name, &[("axis", int(3))], &[self.x, places, others]);
    }

    /// The first rows replace the last ones.
    fn replace_rows(&mut self, name: &str) {
        let last = self.side as i64 - 1;
        let places = self.constant(&[1, 1], TensorData::I64(vec![last]));
        let rows = self.rows();
        let first = self.list(&[0]);
        let others = self.node("Gather", &[("axis", int(0))], &[rows, first]);
        let others = self.node("Tanh", &[], &[others]);
        let rows = self.node(name, &[], &[rows, places, others]);
        self.set_rows(rows);
    }

    fn tile(&mut self, name: &str) {
        if self.channels > 16 {
            return self.convolve();
        }
        let repeats = self.list(&[1, 2, 1, 1]);
        self.x = self.node(name, &[], &[self.x, repeats]);
        self.channels *= 2;
    }

    fn turn(&mut self, name: &str) {
        self.x = self.node(name, &[("perm", ints(&[0, 1, 3, 2]))], &[self.x]);
    }

    /// A range of the channels, or every second one, from the end or not.
    fn slice(&mut self, name: &str) {
        if self.channels < 4 || !self.channels.is_multiple_of(2) {
            return self.convolve();
        }
        let c = self.channels as i64;
        let (start, end, step) = match self.rng.random_range(0..3) {
            0 => (1, c - 1, 1),
            1 => (-c + 1, i64::MAX, 1),
            _ => (self.rng.random_range(0..2), c, 2),
        };
        let bounds = [start, end, 1, step].map(|bound| self.list(&[bound]));
        let y = self.node(name, &[], &[&[self.x], bounds.as_slice()].concat());
        let left = match step {
            2 => c / 2,
            _ if start < 0 => c - 1,
            _ => c - 2,
        };
        let to = self.some_channels();
        self.x = self.conv(y, left as usize, to, 1, 1);
        self.channels = to;
    }

    fn pad_positions(&mut self, name: &str) {
        if self.side < 2 || self.side > 8 {
            return self.convolve();
        }
        let pads = self.list(&[0, 0, 1, 1, 0, 0, 1, 1]);
        self.x = self.node(name, &[("mode", text("reflect"))], &[self.x, pads]);
        self.side += 2;
    }

    /// An axis of one that is put between the channels and the positions, and taken away.
    fn add_axes(&mut self, _: &str) {
        let axis = self.list(&[2]);
        let wide = self.node("Unsqueeze", &[], &[self.x, axis]);
        let wide = self.node("Tanh", &[], &[wide]);
        let axis = self.list(&[-3]);
        self.x = self.node("Squeeze", &[], &[wide, axis]);
    }

    /// One number of each channel for all positions.
    fn expand(&mut self, name: &str) {
        let mean = self.node("GlobalAveragePool", &[], &[self.x]);
        let sizes = self.list(&[1, 1, self.side as i64, self.side as i64]);
        let mean = self.node(name, &[], &[mean, sizes]);
        self.x = self.node("Sub", &[], &[self.x, mean]);
    }

    /// The channels in groups, and one list again.
    fn regroup(&mut self, name: &str) {
        let (c, side) = (self.channels as i64, self.side as i64);
        let groups = if c % 2 == 0 { 2 } else { 1 };
        let apart = self.list(&[-1, groups, c / groups, side * side]);
        let y = self.node(name, &[], &[self.x, apart]);
        let y = self.node("Tanh", &[], &[y]);
        let whole = self.list(&[-1, c, side, side]);
        self.x = self.node(name, &[], &[y, whole]);
    }

    /// All positions of all channels in one row, and a layer that reads it.
    fn flatten(&mut self, name: &str) {
        let (c, side, to) = (self.channels, self.side, self.some_channels());
        let flat = self.node(name, &[("axis", int(1))], &[self.x]);
        let spread = 1.0 / (c as f32).sqrt();
        let w = self.weight(&[c * side * side, to], -spread, spread);
        let y = self.node("MatMul", &[], &[flat, w]);
        let y = self.reshape(y, &[-1, to as i64, 1, 1]);
        let x = self.conv(self.x, c, to, 1, 1);
        self.x = self.node("Add", &[], &[x, y]);
        self.channels = to;
    }

    fn split_positions(&mut self, name: &str) {
        if self.side < 2 {
            return self.convolve();
        }
        let sizes = self.list(&[1, self.side as i64 - 1]);
        let inputs = [Some(self.x), Some(sizes)];
        let op = opaque(name, &[("axis", int(2))]);
        let parts = self.node_of(op, &inputs, &[true, true]);
        let [Some(first), Some(rest)] = parts[..] else {
            return;
        };
        self.x = self.node("Concat", &[("axis", int(2))], &[rest, first]);
    }

    /// The channels beside themselves.
    fn repeat(&mut self, name: &str) {
        let other = self.node("Tanh", &[], &[self.x]);
        let both = self.node(name, &[("axis", int(1))], &[self.x, other, self.x]);
        let to = self.some_channels();
        self.x = self.conv(both, 3 * self.channels, to, 1, 1);
        self.channels = to;
    }

    /// A table of the sizes that the value itself has.
    fn regroup_by_shape(&mut self, _: &str) {
        let whole = Shape {
            start: 0,
            end: None,
        };
        let sizes = self.push(whole, &[self.x]);
        let flat = self.list(&[0, self.channels as i64, -1]);
        let rows = self.node("Reshape", &[], &[self.x, flat]);
        let rows = self.node("Tanh", &[], &[rows]);
        self.x = self.node("Reshape", &[], &[rows, sizes]);
        self.state(self.x, &[self.channels, self.side, self.side]);
    }

    /// A part of each row backwards.
    fn reverse(&mut self, name: &str) {
        let lengths = (1..=self.side as i64).collect::<Vec<_>>();
        let lengths = self.list(&lengths);
        let rows = self.rows();
        let axes = [("time_axis", int(0)), ("batch_axis", int(1))];
        let rows = self.node(name, &axes, &[rows, lengths]);
        self.set_rows(rows);
    }
}
