//! Operators that act along some axes: sums, extrema, norms and orders.

use onnx_graph::{TensorData, ValueId};
use rand::RngExt;
use rand::seq::IndexedRandom;

use super::draw::Row;
use super::net::{Net, float, int, ints, opaque};

pub static AXES: &[Row] = &[
    (
        &[
            "ReduceL1",
            "ReduceL2",
            "ReduceLogSum",
            "ReduceLogSumExp",
            "ReduceMax",
            "ReduceMean",
            "ReduceMin",
            "ReduceProd",
            "ReduceSum",
            "ReduceSumSquare",
        ],
        9..=99,
        Net::reduce,
    ),
    (&["CumSum"], 17..=99, Net::run),
    (&["CumProd"], 26..=99, Net::run),
    (&["TopK"], 17..=99, Net::sort),
    (&["Hardmax"], 17..=99, Net::mark_largest),
    (&["ArgMax", "ArgMin"], 17..=99, Net::pick_extremum),
    (&["LogSoftmax", "Softmax"], 17..=99, Net::share),
    (&["LpNormalization"], 9..=99, Net::normalise_along),
    (
        &["MeanVarianceNormalization"],
        9..=99,
        Net::normalise_positions,
    ),
    (&["LRN"], 9..=99, Net::normalise_neighbours),
    (&["Trilu", "com.microsoft.Trilu"], 17..=99, Net::triangle),
    (&["LayerNormalization"], 17..=99, Net::normalise_last),
    (
        &["SimplifiedLayerNormalization"],
        17..=99,
        Net::normalise_last,
    ),
    (&["RMSNormalization"], 23..=99, Net::normalise_last),
];

impl Net {
    /// A statistic of positions, channels or both, with or without the axes that it reduces.
    fn reduce(&mut self, name: &str) {
        let rank = 4;
        let axes: &[i64] = match self.rng.random_range(0..5) {
            0 => &[2, 3],
            1 => &[3],
            2 => &[2],
            3 => &[1],
            _ => &[1, 2, 3],
        };
        let x = match name {
            "ReduceProd" => self.within(self.x, 1.2),
            "ReduceLogSum" => self.above(self.x, 0.5),
            _ => self.x,
        };
        let kept = self.rng.random_bool(0.7);
        let statistic = self.reduced(name, x, axes, kept);
        // Axes that are gone come back, so that both operands line up.
        let sizes = |axis: i64| match axis {
            0 => 0,
            _ if axes.contains(&axis) => 1,
            1 => self.channels as i64,
            _ => self.side as i64,
        };
        let mut target: Vec<i64> = (0..rank).map(sizes).collect();
        target[0] = -1;
        let statistic = match kept {
            true => statistic,
            false => self.reshape(statistic, &target),
        };
        let statistic = self.node("Tanh", &[], &[statistic]);
        self.x = self.node("Add", &[], &[self.x, statistic]);
    }

    /// A reduction in the form of the operator set: its axes are an input of some.
    fn reduced(&mut self, name: &str, x: ValueId, axes: &[i64], kept: bool) -> ValueId {
        let kept = ("keepdims", int(i64::from(kept)));
        let since = if name == "ReduceSum" { 13 } else { 18 };
        if self.graph.opset < since {
            return self.node(name, &[("axes", ints(axes)), kept], &[x]);
        }
        let axes = self.list(axes);
        self.node(name, &[kept], &[x, axes])
    }

    /// A sum or a product that runs along an axis, from either end, with or without the own
    /// element.
    fn run(&mut self, name: &str) {
        let axis = self
            .rng
            .random_range(if name == "CumSum" { 1..4 } else { 2..4 });
        let axis = self.constant(&[], TensorData::I64(vec![axis]));
        let x = self.within(self.x, 1.2);
        let flags = ["exclusive", "reverse"];
        let flags = flags.map(|flag| (flag, int(i64::from(self.rng.random_bool(0.5)))));
        self.x = self.node(name, &flags, &[x, axis]);
    }

    /// The elements of each row in their order.
    fn sort(&mut self, name: &str) {
        let count = self.list(&[self.side as i64]);
        let op = opaque(name, &[("axis", int(-1))]);
        let parts = self.node_of(op, &[Some(self.x), Some(count)], &[true, true]);
        self.x = parts[0].unwrap();
    }

    /// The largest element of each row, found by a mark.
    fn mark_largest(&mut self, name: &str) {
        let marks = self.node(name, &[("axis", int(3))], &[self.x]);
        let marked = self.node("Mul", &[], &[self.x, marks]);
        let largest = self.reduced("ReduceSum", marked, &[3], true);
        self.x = self.node("Add", &[], &[self.x, largest]);
    }

    fn pick_extremum(&mut self, name: &str) {
        let along = [("axis", int(2)), ("keepdims", int(1))];
        let place = self.node(name, &along, &[self.x]);
        let extremum = self.node("GatherElements", &along[..1], &[self.x, place]);
        self.x = self.node("Sub", &[], &[self.x, extremum]);
    }

    /// Shares of the positions of a row.
    fn share(&mut self, name: &str) {
        let axis = *[-1, 2, 3].choose(&mut self.rng).unwrap();
        self.x = self.node(name, &[("axis", int(axis))], &[self.x]);
    }

    fn normalise_along(&mut self, name: &str) {
        let attributes = [
            ("axis", int(self.rng.random_range(1..4))),
            ("p", int(self.rng.random_range(1..3))),
        ];
        // A row of zeros has no norm.
        let x = self.above(self.x, 0.1);
        self.x = self.node(name, &attributes, &[x]);
    }

    fn normalise_positions(&mut self, name: &str) {
        // A channel of one value has no deviation.
        let differ = self.weight(&[self.side, self.side], -1.0, 1.0);
        let x = self.node("Add", &[], &[self.x, differ]);
        let x = self.node(name, &[("axes", ints(&[0, 2, 3]))], &[x]);
        self.x = self.node("Tanh", &[], &[x]);
    }

    fn normalise_neighbours(&mut self, name: &str) {
        let size = *[3, 5].choose(&mut self.rng).unwrap();
        let attributes = [
            ("size", int(size)),
            ("alpha", float(0.1)),
            ("beta", float(0.6)),
        ];
        self.x = self.node(name, &attributes, &[self.x]);
    }

    fn triangle(&mut self, name: &str) {
        let upper = i64::from(self.rng.random_bool(0.5));
        self.x = self.node(name, &[("upper", int(upper))], &[self.x]);
    }

    /// Of the channels, which lie last.
    fn normalise_last(&mut self, name: &str) {
        let rows = self.tokens();
        let mut inputs = vec![rows, self.weight(&[self.channels], 0.5, 1.5)];
        if name == "LayerNormalization" {
            inputs.push(self.weight(&[self.channels], -0.5, 0.5));
        }
        let attributes = [("axis", int(-1)), ("epsilon", float(1e-2))];
        let rows = self.node(name, &attributes, &inputs);
        let rows = self.state(rows, &[self.side * self.side, self.channels]);
        self.x = self.image(rows);
    }
}
