//! Known answers: the groups of a time, and the layer of an operator.

use channels::{AnalysisOptions, Attention, GroupId, PrunePlan, analyse, apply, cut};
use latency::NodeProvider;
use onnx_graph::ops::{Add, Conv, Gemm, Op, Relu};
use onnx_graph::{DType, Dim, Graph, NodeId, Tensor, ValueId};
use report::{GroupSaving, LayerChange, LayerRun, OtherOperators};

use super::attribute::{Sides, split, uncertainty};
use super::pair::Pair;
use super::reasons::{Circumstances, reason};
use crate::operators::{Places, Times, is_blocked, kernel, spreads};

fn conv(graph: &mut Graph, name: &str, x: ValueId, outputs: usize, inputs: usize) -> ValueId {
    let weight = Tensor::f32([outputs, inputs, 1, 1], vec![0.5; outputs * inputs]).unwrap();
    let weight = graph.add_constant(&format!("{name}.weight"), weight);
    let op = Conv {
        kernel: vec![1; 2],
        strides: vec![1; 2],
        pads: vec![0; 4],
        dilations: vec![1; 2],
        group: 1,
    };
    graph.push(name, op.into(), &[x, weight]).unwrap()
}

/// `a` has 64 output channels, `b` 32, `c` 8; then an addition of two products' results.
fn chain() -> Graph {
    let mut graph = Graph::new("chain", 17);
    let shape = [1, 3, 4, 4].map(Dim::Known).to_vec();
    let mut x = graph.add_input("x", DType::F32, shape);
    for (name, outputs, inputs) in [("a", 64, 3), ("b", 32, 64), ("c", 8, 32)] {
        x = conv(&mut graph, name, x, outputs, inputs);
        x = graph
            .push(&format!("{name}.relu"), Relu.into(), &[x])
            .unwrap();
    }
    let (left, right) = (
        conv(&mut graph, "left", x, 8, 8),
        conv(&mut graph, "right", x, 8, 8),
    );
    let sum = graph.push("sum", Op::Add(Add), &[left, right]).unwrap();
    let y = graph.push("sum.relu", Relu.into(), &[sum]).unwrap();
    graph.add_output(y);
    let weight = graph.add_constant("fc.weight", Tensor::f32([4, 2], vec![0.5; 8]).unwrap());
    let z = graph.add_input("z", DType::F32, [1, 4].map(Dim::Known).to_vec());
    let z = graph
        .push("fc", Gemm::default().into(), &[z, weight])
        .unwrap();
    graph.add_output(z);
    graph
}

fn node(graph: &Graph, name: &str) -> NodeId {
    graph.iter().find(|(_, n)| n.name == name).unwrap().0
}

#[test]
fn a_layer_is_shared_by_the_logarithm_of_how_much_each_group_narrowed_it() {
    let graph = chain();
    let analysis = analyse(&graph).unwrap();
    let sizes: Vec<usize> = analysis.groups().iter().map(|g| g.channels).collect();
    assert_eq!(sizes[..2], [64, 32]);
    let check = |layer: &str, first: usize, second: usize, wanted: &[(usize, f64)]| {
        let mut widths = sizes.clone();
        (widths[0], widths[1]) = (first, second);
        let sides = Sides::of(&graph, &analysis, node(&graph, layer));
        let shares = sides.shares(&widths);
        assert_eq!(shares.len(), wanted.len(), "{layer}: {shares:?}");
        for (found, wanted) in shares.iter().zip(wanted) {
            let close = found.0 == wanted.0 && (found.1 - wanted.1).abs() < 1e-12;
            assert!(close, "{layer}: {shares:?}");
        }
    };
    check("b", 32, 16, &[(0, 0.5), (1, 0.5)]);
    check("b", 32, 8, &[(0, 1.0 / 3.0), (1, 2.0 / 3.0)]);
    check("b", 64, 8, &[(1, 1.0)]);
    check("b", 64, 32, &[]);
    check("a", 32, 16, &[(0, 1.0)]);
    check("c", 32, 16, &[(1, 1.0)]);
}

#[test]
fn what_is_split_adds_up_and_a_removed_branch_belongs_to_the_emptied_group() {
    let graph = model_zoo::build("resnet20", &model_zoo::ZooConfig::default()).unwrap();
    let analysis = analyse(&graph).unwrap();
    let sizes: Vec<usize> = analysis.groups().iter().map(|g| g.channels).collect();
    let mut widths: Vec<usize> = sizes.iter().map(|n| n / 2).collect();
    let emptied = (0..sizes.len()).find(|&g| analysis.removal(GroupId(g)).is_some());
    let emptied = emptied.unwrap();
    widths[emptied] = 0;
    let layers: Vec<NodeId> = analysis.layers().map(|(id, _)| id).collect();
    let sides: Vec<Sides> = layers
        .iter()
        .map(|&id| Sides::of(&graph, &analysis, id))
        .collect();
    let shares: Vec<_> = sides.iter().map(|s| s.shares(&widths)).collect();
    let saved: Vec<f64> = (0..layers.len()).map(|i| 100.0 + i as f64).collect();
    let (of, unshared) = split(&saved, &shares, sizes.len());
    let all: f64 = saved.iter().sum();
    assert!((of.iter().sum::<f64>() + unshared - all).abs() < 1e-9);
    let removal = analysis.removal(GroupId(emptied)).unwrap();
    let gone = layers.iter().zip(&saved);
    let gone: f64 = gone
        .filter(|(id, _)| removal.dead.contains(id))
        .map(|(_, ns)| ns)
        .sum();
    assert!(gone > 0.0 && (of[emptied] - gone).abs() < 1e-9, "{of:?}");
}

fn operator(name: &str, op_type: &str, micros: u64) -> NodeProvider {
    NodeProvider {
        node: name.into(),
        op_type: op_type.into(),
        provider: "CPUExecutionProvider".into(),
        time_ns: Some(micros * 1000),
    }
}

#[test]
fn operators_are_found_under_the_names_that_the_runtime_gives_them() {
    let graph = chain();
    let names = ["a", "b", "c", "left", "right", "fc"];
    let places = Places::new(&graph, names.map(|name| node(&graph, name)));
    let check = |name: &str, op_type: &str, wanted: Option<&str>| {
        let found = places.layer(&operator(name, op_type, 1));
        let found = found.map(|id| graph.node(id).name.as_str());
        assert_eq!(found, wanted, "{name}");
    };
    check("a", "Conv", Some("a"));
    check("a", "FusedConv", Some("a"));
    check("fused b", "FusedConv", Some("b"));
    check("a.relu_out_nchwc", "Conv", Some("a"));
    check("b_out_nchwc", "Conv", Some("b"));
    check("c.relu_out_nchwc_token_17", "Conv", Some("c"));
    check("sum.relu_out_nchwc", "Conv", Some("left"));
    check("right_token_3", "Conv", Some("right"));
    check("fc/MatMulAddFusion", "Gemm", Some("fc"));
    check("sum", "Add", None);
    check("ReorderInput", "ReorderInput", None);
    check("ReorderOutput_token_52", "ReorderOutput", None);
    check("a.relu_out_nchwc", "AveragePool", None);
    check("unheard of", "Conv", None);
    let blocked = operator("a.relu_out_nchwc_token_2", "Conv", 1);
    assert!(is_blocked(&blocked) && kernel(&blocked) == "Conv in blocks");
    assert_eq!(kernel(&operator("a", "FusedConv", 1)), "Conv");
}

#[test]
fn profiles_are_sorted_into_layers_and_kinds_and_a_slow_pass_counts_for_nothing() {
    let graph = chain();
    let layers = ["a", "b", "c"].map(|name| Some(node(&graph, name)));
    let places = Places::new(&graph, layers.iter().flatten().copied());
    // The machine is half as fast in every third pass.
    let passes: Vec<Vec<NodeProvider>> = (0..9)
        .map(|i| if i % 3 == 0 { 2 } else { 1 })
        .map(|slow| {
            vec![
                operator("a.relu_out_nchwc", "Conv", 10 * slow),
                operator("ReorderOutput", "ReorderOutput", 2 * slow),
                operator("b", "FusedConv", 20 * slow),
                operator("ReorderOutput_token_4", "ReorderOutput", 4 * slow),
            ]
        })
        .collect();
    let all = Times::of_passes(passes.iter(), &places, &layers);
    let times = Times::medians(&all);
    assert_eq!(times.layers, [Some(10_000.0), Some(20_000.0), None]);
    assert_eq!(times.others["ReorderOutput"], (2, 6000.0));
    assert_eq!(times.sum(), 36_000.0);
    let halves = [spreads(&all), spreads(&all)];
    assert_eq!(
        uncertainty(0, &[vec![(0, 1.0)], vec![], vec![]], &halves),
        0.0
    );
    // 3 and 4 ns of two layers, and nothing of the third: 5 ns.
    let halves = [vec![3.0, 4.0, 9.0], vec![0.0; 3]];
    let shares = [vec![(0, 1.0)], vec![(0, 1.0)], vec![(1, 1.0)]];
    assert_eq!(uncertainty(0, &shares, &halves), 5.0);
}

#[test]
fn widths_are_found_again_from_the_weights_alone() {
    for (name, every) in [("resnet20", 3), ("mobilenet_v2", 4), ("shapes_net", 2)] {
        let graph = model_zoo::build(name, &model_zoo::ZooConfig::default()).unwrap();
        let analysis = analyse(&graph).unwrap();
        let keep: Vec<Vec<usize>> = analysis
            .groups()
            .iter()
            .enumerate()
            .map(|(g, group)| match analysis.removal(GroupId(g)) {
                Some(_) if g % every == 0 => Vec::new(),
                _ => (0..group.channels).skip(g % 5).collect(),
            })
            .collect();
        let plan = PrunePlan { keep };
        let pruned = apply(&graph, &cut(&graph, &analysis, &plan).unwrap()).unwrap();
        let options = AnalysisOptions {
            attention: Attention::Widths,
        };
        let pair = Pair::new(graph.clone(), pruned.clone(), options).unwrap();
        let pair = pair.unwrap_or_else(|reason| panic!("{name}: {reason}"));
        assert_eq!(pair.widths, plan.widths(), "{name}");
        let back = Pair::new(pruned, graph, options).unwrap();
        assert!(back.is_err(), "{name}: the original is not a pruned form");
    }
}

fn layer(before: (&str, f64), after: (&str, f64), outputs: usize) -> LayerChange {
    let run = |(kernel, micros): (&str, f64), outputs| LayerRun {
        ns: Some(micros * 1e3),
        predicted_ns: None,
        inputs: 32,
        outputs,
        kernel: kernel.into(),
        provider: "CPUExecutionProvider".into(),
    };
    LayerChange {
        name: "wide".into(),
        before: run(before, 192),
        after: run(after, outputs),
    }
}

#[test]
fn reasons_come_from_the_figures_and_without_any_nothing_is_explained() {
    let grown = OtherOperators {
        kind: "ReorderInput".into(),
        count_before: 1,
        count_after: 4,
        before_ns: 2e3,
        after_ns: 9e3,
    };
    let step = latency_model::LatencyStep {
        first: 164,
        last: 192,
        points: 4,
        ns: 1e5,
    };
    let slower = layer(("Conv in blocks", 50.0), ("Conv", 98.0), 182);
    let same = layer(("Conv in blocks", 50.0), ("Conv in blocks", 49.9), 176);
    let changed = layer(("Conv", 50.0), ("Conv in blocks", 49.9), 176);
    let check = |kept, saved_us: f64, layer: &LayerChange, step, needle: Option<&str>| {
        let group = GroupSaving {
            channels: 192,
            kept,
            before_ns: 50e3,
            saved_ns: saved_us * 1e3,
            uncertainty_ns: 500.0,
            ..GroupSaving::default()
        };
        let about = Circumstances {
            layers: vec![layer],
            others: std::slice::from_ref(&grown),
            step,
        };
        let found = reason(&group, &about);
        match needle {
            None => assert_eq!(found, None),
            Some(needle) => assert!(found.as_ref().unwrap().contains(needle), "{found:?}"),
        }
    };
    check(192, 0.0, &same, None, Some("no channel removed"));
    check(96, 25.0, &same, None, None);
    let lost = "makes 182 channels, no multiple of 4 (50.0 to 98.0 us)";
    check(182, -48.0, &slower, None, Some(lost));
    let edge = "164 to 192 channels take the same; the next step edge is at 160";
    check(176, 0.1, &same, Some((step, Some(160))), Some(edge));
    check(
        176,
        0.1,
        &changed,
        None,
        Some("ReorderInput from 2.0 to 9.0 us (1 to 4"),
    );
    check(
        176,
        0.1,
        &same,
        None,
        Some("within noise: 0.1 us, known to \u{b1}0.5"),
    );
    check(96, -9.0, &same, None, Some("not explained"));
    let larger = layer(("Conv in blocks", 50.0), ("Conv in blocks", 59.0), 96);
    check(
        96,
        -9.0,
        &larger,
        None,
        Some("not explained; wide grew (50.0 to 59.0 us)"),
    );
}
