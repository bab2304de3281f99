//! Small classifiers that end in texts, maps or lists, as exporters of classifiers write them.

use crate::networks::Network;
use crate::onnx::{Data, bytes, integer_attribute, node, number, tensor, value};

/// ONNX's numbers of element types.
const FLOAT: u64 = 1;
const INT64: u64 = 7;
const STRING: u64 = 8;

const CLASSES: [&str; 4] = ["cat", "dog", "bird", "fish"];

/// A classifier of `x [N, 3, 8, 8]` with the given fields of a graph behind its four scores
/// `head_out`, which are an output of the file where that is asked for.
fn classifier(name: &str, gives_scores: bool, fields: &[Vec<u8>]) -> Vec<u8> {
    let mut net = Network::new(name);
    let x = net.input("x", &[3, 8, 8]);
    let x = net.conv("conv1", x, (3, 16), (&[3, 3], 1));
    let x = net.relu("conv1", x);
    let x = net.conv("conv2", x, (16, 12), (&[3, 3], 1));
    let x = net.relu("conv2", x);
    let x = net.pooled(x);
    let head = net.dense("head", x, (12, CLASSES.len()));
    let outputs = [head];
    let numbers = net.finish(if gives_scores { &outputs } else { &[] });
    // Fields of a message that is there twice are joined.
    let more = bytes(8, &[bytes(1, b"ai.onnx.ml"), number(2, 2)].concat());
    [numbers, bytes(7, &fields.concat()), more].concat()
}

/// A node of the operator set of classical machine learning.
fn classical(op: &str, input: &str, output: &str, attributes: &[Vec<u8>]) -> Vec<u8> {
    let domain = bytes(7, b"ai.onnx.ml");
    node(op, &[input], output, &[attributes, &[domain]].concat())
}

fn strings_attribute(name: &str, all: &[&str]) -> Vec<u8> {
    let all = all.iter().flat_map(|text| bytes(9, text.as_bytes()));
    let parts = [bytes(1, name.as_bytes()), all.collect(), number(20, 8)];
    bytes(5, &parts.concat())
}

fn integers_attribute(name: &str, all: &[u64]) -> Vec<u8> {
    let all = all.iter().flat_map(|&of| number(8, of));
    let parts = [bytes(1, name.as_bytes()), all.collect(), number(20, 7)];
    bytes(5, &parts.concat())
}

fn best(input: &str) -> Vec<u8> {
    let attributes = [
        integer_attribute("axis", 1),
        integer_attribute("keepdims", 0),
    ];
    node("ArgMax", &[input], "best", &attributes)
}

/// An output that is a list of what `element` describes.
fn list(name: &str, element: &[u8]) -> Vec<u8> {
    let kind = bytes(4, &bytes(1, element));
    bytes(12, &[bytes(1, name.as_bytes()), bytes(2, &kind)].concat())
}

fn tensor_type(element: u64) -> Vec<u8> {
    bytes(1, &number(1, element))
}

/// The constant `names`, a text for each class.
fn names() -> Vec<u8> {
    let texts = CLASSES.iter().flat_map(|text| bytes(6, text.as_bytes()));
    let parts = [
        number(1, CLASSES.len() as u64),
        number(2, STRING),
        texts.collect(),
        bytes(8, b"names"),
    ];
    bytes(5, &parts.concat())
}

/// The classifiers by name.
///
/// # Panics
/// Never, unless the graph is refused.
#[must_use]
pub fn text_models() -> Vec<(&'static str, Vec<u8>)> {
    let labels = [
        best("head_out"),
        classical(
            "LabelEncoder",
            "best",
            "label",
            &[
                integers_attribute("keys_int64s", &[0, 1, 2, 3]),
                strings_attribute("values_strings", &CLASSES),
            ],
        ),
        value(12, "label", STRING, &[Err("N")]),
    ];
    let map_type = bytes(
        5,
        &[number(1, STRING), bytes(2, &tensor_type(FLOAT))].concat(),
    );
    let map = [
        node(
            "Softmax",
            &["head_out"],
            "shares",
            &[integer_attribute("axis", 1)],
        ),
        classical(
            "ZipMap",
            "shares",
            "scores",
            &[strings_attribute("classlabels_strings", &CLASSES)],
        ),
        list("scores", &map_type),
    ];
    // The chosen class is computed before the shares that the map is made of.
    let class_and_map = [&labels[..], &map[..]].concat();
    let both = [
        node("SequenceConstruct", &["head_out", "flat_out"], "both", &[]),
        list("both", &tensor_type(FLOAT)),
    ];
    // The table of names and a shape that the network reads, too.
    let shape = [(-1i64).to_le_bytes(), 1i64.to_le_bytes()].concat();
    let shape = tensor("shape", INT64, &[2], &Data::Inside(&shape));
    let table = [
        names(),
        bytes(5, &shape),
        best("head_out"),
        node("Gather", &["names", "best"], "picked", &[]),
        node("Reshape", &["picked", "shape"], "label", &[]),
        node("Reshape", &["best", "shape"], "column", &[]),
        value(12, "label", STRING, &[Err("N"), Ok(1)]),
        value(12, "column", INT64, &[Err("N"), Ok(1)]),
    ];
    vec![
        ("labels beside scores", classifier("labels", true, &labels)),
        ("a map", classifier("map", false, &map)),
        (
            "a class and a map",
            classifier("class_and_map", false, &class_and_map),
        ),
        ("a list of tensors", classifier("list", false, &both)),
        ("a table of names", classifier("table", true, &table)),
    ]
}

/// A classifier whose label is compared with a text, which makes a number of it again.
///
/// # Panics
/// Never, unless the graph is refused.
#[must_use]
pub fn compared_label_model() -> Vec<u8> {
    let text = [number(2, STRING), bytes(6, b"cat"), bytes(8, b"wanted")].concat();
    let fields = [
        bytes(5, &text),
        names(),
        best("head_out"),
        node("Gather", &["names", "best"], "label", &[]),
        node("Equal", &["label", "wanted"], "is_cat", &[]),
        value(12, "label", STRING, &[Err("N")]),
        value(12, "is_cat", 9, &[Err("N")]),
    ];
    classifier("compared", true, &fields)
}
