//! Recurrent layers over the rows of an image, in the forms that exporters write.

use rand::RngExt;

use super::draw::Row;
use super::net::{Net, int, opaque, text};

pub static RECURRENT: &[Row] = &[(&["GRU", "LSTM", "RNN"], 17..=99, Net::remember)];

impl Net {
    /// All states or the last ones alone, in one direction or both, with or without biases, lengths
    /// and first states.
    fn remember(&mut self, name: &str) {
        let (c, side) = (self.channels, self.side);
        let hidden = self.some_channels();
        let gates = match name {
            "LSTM" => 4,
            "GRU" => 3,
            _ => 1,
        };
        let directions = self.rng.random_range(1..3);
        // The steps are columns of the mean row.
        let mean = self.push(
            onnx_graph::ops::ReduceMean {
                axes: vec![2],
                keepdims: false,
            },
            &[self.x],
        );
        let steps = self.transpose(mean, &[2, 0, 1]);
        let own = self.weight(&[directions, gates * hidden, c], -0.4, 0.4);
        let recurrent = self.weight(&[directions, gates * hidden, hidden], -0.4, 0.4);
        let mut inputs = vec![Some(steps), Some(own), Some(recurrent)];
        if self.rng.random_bool(0.5) {
            inputs.push(Some(self.weight(
                &[directions, 2 * gates * hidden],
                -0.4,
                0.4,
            )));
        }
        let mut attributes = vec![("hidden_size", int(hidden as i64))];
        if directions == 2 {
            attributes.push(("direction", text("bidirectional")));
        } else if self.rng.random_bool(0.3) {
            attributes.push(("direction", text("reverse")));
        }
        if name == "GRU" && self.rng.random_bool(0.5) {
            attributes.push(("linear_before_reset", int(1)));
        }
        let op = opaque(name, &attributes);
        let width = directions * hidden;
        let y = if self.rng.random_bool(0.5) {
            let made = self.node_of(op, &inputs, &[true]);
            let states = self.transpose(made[0].unwrap(), &[2, 1, 3, 0]);
            let rows = self.reshape(states, &[-1, width as i64, 1, side as i64]);
            self.conv(rows, width, c, 1, 1)
        } else {
            let made = self.node_of(op, &inputs, &[false, true]);
            let last = self.transpose(made[1].unwrap(), &[1, 0, 2]);
            let last = self.reshape(last, &[-1, width as i64, 1, 1]);
            self.conv(last, width, c, 1, 1)
        };
        self.x = self.node("Add", &[], &[self.x, y]);
    }
}
