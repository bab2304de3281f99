//! What random networks are drawn from.

use std::ops::RangeInclusive;

use onnx_graph::Graph;
use rand::RngExt;
use rand::seq::IndexedRandom;

use super::axes::AXES;
use super::blocks::BLOCKS;
use super::elements::ELEMENTS;
use super::integers::INTEGERS;
use super::joins::JOINS;
use super::lists::LISTS;
use super::moves::MOVES;
use super::net::Net;
use super::products::PRODUCTS;
use super::recurrent::RECURRENT;
use super::windows::WINDOWS;

/// Operators with the same way of adding one: their names, the operator sets that have them, and
/// what adds the one of a name.
pub type Row = (
    &'static [&'static str],
    RangeInclusive<i64>,
    fn(&mut Net, &str),
);

/// The operator sets of the networks.
const OPSETS: [i64; 6] = [9, 10, 17, 20, 23, 26];

static TABLES: &[&[Row]] = &[
    AXES, ELEMENTS, INTEGERS, JOINS, LISTS, MOVES, PRODUCTS, RECURRENT, WINDOWS,
];

/// More channels than that do not grow.
const WIDE: usize = 32;

/// The network of a seed, whose operator set depends on it.
pub fn network(seed: u64) -> Graph {
    let opset = OPSETS[seed as usize % OPSETS.len()];
    let mut net = Net::new(seed, opset);
    let rows = TABLES.iter().copied().flatten();
    let rows = rows.filter(|(_, sets, _)| sets.contains(&opset));
    let operators: Vec<_> = rows
        .flat_map(|(names, _, add)| names.iter().map(move |name| (*name, *add)))
        .collect();
    let blocks: Vec<_> = BLOCKS.iter().filter(|(since, _)| *since <= opset).collect();
    net.convolve();
    for _ in 0..net.rng.random_range(3..9) {
        if net.channels > WIDE {
            net.convolve();
        } else if net.rng.random_bool(0.4) {
            let (_, add) = blocks.choose(&mut net.rng).unwrap();
            add(&mut net);
        } else {
            let (name, add) = operators.choose(&mut net.rng).unwrap();
            add(&mut net, name);
        }
    }
    net.finish()
}
