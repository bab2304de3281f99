//! Small networks from PyTorch's two exporters, at operator sets from 11 to 21 (made by
//! `peers/export_small.py`). Each is read with only its ends pinned, and its pruned form
//! computes the masked network's outputs in ONNX Runtime and in libtorch.

use std::path::Path;

use channels::{AnalysisOptions, Attention, analyse_with};
use graphprune_tests::{Array, Ort, difference, execute, exported, prune_and_compare, random_plan};
use onnx_graph::ops::Op;
use onnx_graph::{Dim, Graph, NoExternalData, read_owned, write};

/// Largest difference allowed, relative to the spread of an output.
const TOLERANCE: f64 = 1e-4;

fn names() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("exports");
    let entries = folder.read_dir().unwrap();
    let names = entries.filter_map(|e| {
        let name = e.unwrap().file_name().into_string().unwrap();
        Some(name.strip_suffix(".onnx.gz")?.to_owned())
    });
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

fn load(name: &str) -> Graph {
    let graph = read_owned(exported(name), &NoExternalData).unwrap();
    let back = read_owned(write(&graph).unwrap(), &NoExternalData).unwrap();
    graph.same_network(&back).unwrap();
    graph
}

/// Two images, or the file's fixed batch.
fn feed(graph: &Graph) -> Array {
    let shape = graph.value(graph.inputs()[0]).shape.clone().unwrap();
    assert!(matches!(shape[1], Dim::Known(3)));
    let sizes: Vec<usize> = shape.iter().map(|d| d.known().unwrap_or(2)).collect();
    Array::uniform(&sizes, -2.0, 2.0, 1)
}

fn check(attention: Attention) {
    let names = names();
    assert!(names.len() >= 20, "only {} files", names.len());
    for (seed, name) in names.iter().enumerate() {
        let graph = load(name);
        let analysis = analyse_with(&graph, AnalysisOptions { attention }).unwrap();
        let ends = |reason: &str| reason.starts_with("channels of a graph");
        let pinned = analysis.pinned().iter().filter(|p| !ends(&p.reason));
        let pinned: Vec<_> = pinned.collect();
        assert!(pinned.is_empty(), "{name}: {pinned:?}");
        let feed = feed(&graph);
        for (drop, remove) in [(0.3, 0.0), (0.6, 0.5)] {
            let plan = random_plan(&analysis, seed as u64, drop..=drop, remove);
            let found = prune_and_compare(&graph, &analysis, &plan, &feed)
                .unwrap_or_else(|e| panic!("{name}: {e}"));
            assert!(found.apart.relative <= TOLERANCE, "{name}: {}", found.apart);
            let executed = execute(&graph, Some(&found.cut), &feed).unwrap();
            let apart = difference(&executed, &found.outputs[0]);
            assert!(apart.relative <= TOLERANCE, "{name} in libtorch: {apart}");
        }
    }
}

#[test]
fn exported_networks_compute_what_their_files_compute() {
    for name in names() {
        let graph = load(&name);
        let feed = feed(&graph);
        let run = |bytes: &[u8]| {
            let runs = Ort::shared().run(bytes, false, std::slice::from_ref(&feed));
            runs.unwrap_or_else(|e| panic!("{name}: {e}")).remove(0)
        };
        let (written, original) = (run(&write(&graph).unwrap()), run(&exported(&name)));
        assert_eq!(written.len(), original.len(), "{name}");
        for (written, original) in written.iter().zip(&original) {
            let apart = difference(written, original);
            assert!(apart.relative <= TOLERANCE, "{name}: {apart}");
        }
    }
}

#[test]
fn functions_of_an_exported_network_are_inlined() {
    let graph = load("functions-dynamo-18");
    let opaque = graph
        .nodes()
        .iter()
        .filter(|n| matches!(n.op, Op::Opaque(_)));
    assert_eq!(opaque.count(), 0);
    assert!(graph.nodes().iter().any(|n| n.name.contains('/')));
}

#[test]
fn groups_of_an_attention_are_named_by_their_role() {
    for (name, attention, want) in [
        (
            "vit-traced-14",
            Attention::Widths,
            &[
                "/encoder/layers/encoder_layer_0/self_attention (queries and keys)",
                "/encoder/layers/encoder_layer_0/self_attention (values)",
            ][..],
        ),
        (
            "vit-traced-14",
            Attention::Heads,
            &["/encoder/layers/encoder_layer_0/self_attention (heads)"],
        ),
        (
            "vit-dynamo-20",
            Attention::Widths,
            &[
                "node_MatMul_13 (queries and keys)",
                "node_MatMul_13 (values)",
            ],
        ),
        ("attention-traced-12", Attention::Widths, &[]),
    ] {
        let analysis = analyse_with(&load(name), AnalysisOptions { attention }).unwrap();
        let names = analysis.groups().iter().map(|g| g.name.as_str());
        let of_attention: Vec<&str> = names.filter(|n| n.ends_with(')')).collect();
        assert_eq!(of_attention, want, "{name}");
    }
}

#[test]
fn exported_networks_lose_channels_exactly() {
    check(Attention::Widths);
}

#[test]
fn exported_networks_lose_channels_and_heads_exactly() {
    check(Attention::Heads);
}
