//! Random networks made of the operators with channel rules, pruned by random plans, have the
//! outputs of the network with the dropped channels masked, with ONNX Runtime in a process of
//! its own as the reference. Together they have every operator with a rule.

mod random;

use std::collections::BTreeSet;
use std::ops::Range;

use channels::{Analysis, AnalysisOptions, Attention, analyse, analyse_with, operator_rules};
use graphprune_tests::{
    Array, Difference, Ort, difference, execute, prune_and_compare, random_plan,
};
use onnx_graph::ops::Op;
use onnx_graph::{Graph, NoExternalData, Node, composed_operators, read, write};
use random::network;
use torch_exec::untyped_operators;

/// Largest difference allowed, relative to the spread of the output.
const TOLERANCE: f64 = 1e-4;

/// The same for networks that round to integers: kernels differ in the last bit of a float from one
/// kind of processor to the next, which moves a value between two integers to the other one.
const ROUNDED_TOLERANCE: f64 = 1e-3;

/// The seeds of all networks.
const SEEDS: Range<u64> = 0..600;

/// Domain and name.
type Operator = (String, String);

/// Operators that are in no network, with the reason.
const LEFT_OUT: &[(&str, &str, &str)] = &[
    ("", "Swish", NO_KERNEL),
    ("com.microsoft", "BiasAdd", NO_KERNEL),
    ("com.microsoft", "LayerNormalization", NO_KERNEL),
    ("com.microsoft", "RMSNormalization", NO_KERNEL),
    ("com.microsoft", "SimplifiedLayerNormalization", NO_KERNEL),
];

/// Why the reference runs no network with an operator.
const NO_KERNEL: &str = "ONNX Runtime has no kernel of it for CPUs";

/// Operators that the runtime has on other devices only: what is read is made of others.
const ELSEWHERE: &[&str] = &["BiasDropout"];

fn named(domain: &str, name: &str) -> Operator {
    (domain.to_owned(), name.to_owned())
}

fn operator(node: &Node) -> Operator {
    match &node.op {
        Op::Opaque(op) => named(&op.domain, &op.op_type),
        typed => named("", typed.name()),
    }
}

/// Whether libtorch runs all nodes of a network.
fn runs(graph: &Graph) -> bool {
    let untyped: BTreeSet<&str> = untyped_operators().collect();
    graph.nodes().iter().all(|node| match &node.op {
        Op::Opaque(op) => op.domain.is_empty() && untyped.contains(op.op_type.as_str()),
        _ => true,
    })
}

/// What was compared.
#[derive(Default)]
struct Found {
    pruned_units: usize,
    removed: usize,
    sliced: usize,
    executed: usize,
}

fn near(apart: Difference, what: &str, drawn: &Graph) -> Result<(), String> {
    let names: Vec<String> = drawn.nodes().iter().map(|node| operator(node).1).collect();
    let rounds = |name: &String| name.contains("QuantizeLinear") || name == "Round";
    let tolerance = match names.iter().any(rounds) {
        true => ROUNDED_TOLERANCE,
        false => TOLERANCE,
    };
    match apart.relative <= tolerance {
        true => Ok(()),
        false => Err(format!("{what}: {apart} ({})", names.join(", "))),
    }
}

/// The graph that is read has the outputs of the file.
fn check_read(file: &[u8], graph: &Graph, feed: &Array) -> Result<(), String> {
    let feeds = std::slice::from_ref(feed);
    let run = |bytes: &[u8]| {
        let runs = Ort::shared().run(bytes, false, feeds);
        runs.map_err(|e| format!("as drawn: {e}"))
    };
    let written = write(graph).map_err(|e| e.to_string())?;
    let (original, again) = (run(file)?, run(&written)?);
    near(difference(&again[0][0], &original[0][0]), "read", graph)
}

fn check_seed(seed: u64, sum: &mut Found) -> Result<(), String> {
    let drawn = network(seed);
    let written = write(&drawn).map_err(|e| e.to_string())?;
    let graph = read(&written, &NoExternalData).map_err(|e| e.to_string())?;
    let attention = match seed % 4 < 2 {
        true => Attention::Widths,
        false => Attention::Heads,
    };
    let analysis =
        analyse_with(&graph, AnalysisOptions { attention }).map_err(|e| e.to_string())?;
    let feed = Array::uniform(&[2, 3, 8, 8], -2.0, 2.0, seed);
    let elsewhere = |node: &Node| ELSEWHERE.contains(&node.op.name());
    if !drawn.nodes().iter().any(elsewhere) {
        check_read(&written, &graph, &feed)?;
    }
    for plan in [2 * seed, 2 * seed + 1] {
        // Every second plan empties a third of the removable groups.
        let remove = if plan % 2 == 1 { 0.33 } else { 0.0 };
        let plan = random_plan(&analysis, plan, 0.0..=1.0, remove);
        let found = prune_and_compare(&graph, &analysis, &plan, &feed)?;
        near(found.apart, "pruned", &drawn)?;
        sum.sliced += usize::from(found.sliced);
        if runs(&graph) {
            let result = execute(&graph, Some(&found.cut), &feed).map_err(|e| e.to_string())?;
            let apart = difference(&result, &found.outputs[0]);
            near(apart, "run with the cut", &drawn)?;
            sum.executed += 1;
        }
        let groups = analysis.groups().iter().zip(&plan.keep);
        sum.pruned_units += groups.map(|(g, k)| g.channels - k.len()).sum::<usize>();
        sum.removed += plan.keep.iter().filter(|k| k.is_empty()).count();
    }
    Ok(())
}

fn check(seeds: Range<u64>) {
    let mut found = Found::default();
    let failed = seeds.filter_map(|seed| {
        let result = check_seed(seed, &mut found);
        result.err().map(|error| format!("seed {seed}: {error}"))
    });
    let failed: Vec<String> = failed.collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    let Found {
        pruned_units,
        removed,
        sliced,
        executed,
    } = found;
    println!(
        "{pruned_units} units dropped, {removed} branches removed, {sliced} with zeros in the file, {executed} executed"
    );
    assert!(pruned_units > 0 && removed > 0 && sliced > 0 && executed > 0);
}

#[test]
fn random_networks_are_pruned_exactly_0() {
    check(0..200);
}

#[test]
fn random_networks_are_pruned_exactly_1() {
    check(200..400);
}

#[test]
fn random_networks_are_pruned_exactly_2() {
    check(400..SEEDS.end);
}

/// Whether a node has channels that can be dropped.
fn narrows(analysis: &Analysis, node: &Node) -> bool {
    let values = node.inputs.iter().chain(&node.outputs).flatten();
    let mut axes = values.filter_map(|&value| analysis.value_channels(value));
    axes.any(|(_, owners)| owners.iter().any(Option::is_some))
}

/// An operator of the table is in a network at channels that can be dropped; one that is read as
/// others is in a file.
#[test]
fn random_networks_have_every_operator_with_a_rule() {
    let rules = operator_rules().filter(|rule| rule.pinned.is_none());
    let rules = rules.map(|rule| named(rule.domain, rule.name));
    let composed = composed_operators().map(|(domain, name)| named(domain, name));
    let rules: BTreeSet<Operator> = rules.chain(composed).collect();
    let (mut drawn, mut left, mut narrowed) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for seed in SEEDS {
        let network = network(seed);
        drawn.extend(network.nodes().iter().map(operator));
        let graph = read(&write(&network).unwrap(), &NoExternalData).unwrap();
        let analysis = analyse(&graph).unwrap();
        left.extend(graph.nodes().iter().map(operator));
        let nodes = graph.nodes().iter().filter(|node| narrows(&analysis, node));
        narrowed.extend(nodes.map(operator));
    }
    for (domain, name, reason) in LEFT_OUT {
        let operator = named(domain, name);
        assert!(rules.contains(&operator), "{name} has no rule");
        assert!(
            !drawn.contains(&operator),
            "{name} is drawn, though {reason}"
        );
    }
    let left_out = |(domain, name): &Operator| {
        LEFT_OUT
            .iter()
            .any(|(d, n, _)| (d, n) == (&domain.as_str(), &name.as_str()))
    };
    let missing = |operator: &&Operator| {
        let read_as_others = drawn.contains(*operator) && !left.contains(*operator);
        !narrowed.contains(*operator) && !read_as_others && !left_out(operator)
    };
    let missing: Vec<&Operator> = rules.iter().filter(missing).collect();
    assert!(
        missing.is_empty(),
        "in no network of {SEEDS:?}: {missing:?}"
    );
}
