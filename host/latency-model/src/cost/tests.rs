use super::*;
use crate::{KernelTable, ProbePlan};
use channels::{AnalysisOptions, Attention, PrunePlan, analyse, analyse_with, apply, cut};
use onnx_graph::cost::costs;
use onnx_graph::ops::{Einsum, Gemm, MatMul, Reshape, Transpose};
use onnx_graph::{DType, Dim, Tensor};

fn check(name: &str, input: [usize; 3]) {
    let config = model_zoo::ZooConfig {
        input,
        ..model_zoo::ZooConfig::default()
    };
    check_graph(
        name,
        &model_zoo::build(name, &config).unwrap(),
        Attention::Widths,
    );
}

fn check_graph(name: &str, graph: &Graph, attention: Attention) {
    let analysis = analyse_with(graph, AnalysisOptions { attention }).unwrap();
    let table = CostTable::new(graph, &analysis);
    let order: Vec<Vec<usize>> = analysis
        .groups()
        .iter()
        .map(|g| (0..g.channels).collect())
        .collect();
    for (share, remove) in [(1.0, false), (0.7, false), (0.3, false), (0.7, true)] {
        let groups = analysis.groups().iter().enumerate();
        let widths: Vec<usize> = groups
            .map(|(i, g)| match analysis.removal(GroupId(i)) {
                Some(_) if remove && i % 2 == 0 => 0,
                _ => ((g.channels as f64 * share) as usize).max(1),
            })
            .collect();
        let plan = PrunePlan::from_widths(&analysis, &order, &widths).unwrap();
        let pruned = apply(graph, &cut(graph, &analysis, &plan).unwrap()).unwrap();
        let counted = costs(&pruned).macs as f64;
        let computed = table.macs(&widths);
        assert!(
            (computed - counted).abs() <= counted * 1e-9,
            "{name} at {share}: {computed} against {counted}"
        );
    }
}

/// An attention layer of 2 heads with 4 channels each, over 9 windows of 5 positions.
fn attention() -> Graph {
    let mut graph = Graph::new("attention", 17);
    let shape = vec![Dim::Symbol("9*N".into()), Dim::Known(5), Dim::Known(6)];
    let x = graph.add_input("x", DType::F32, shape);
    let zeros = |dims: [usize; 2]| Tensor::f32(dims, vec![0.0; dims[0] * dims[1]]).unwrap();
    let mut heads = |name: &str, perm: [usize; 4]| {
        let weight = graph.add_constant("w", zeros([6, 8]));
        let y = graph.push(name, MatMul.into(), &[x, weight]).unwrap();
        let split = Reshape {
            target: vec![0, 5, 2, 4],
            allow_zero: false,
        };
        let y = graph.push("split", split.into(), &[y]).unwrap();
        let turn = Transpose {
            perm: perm.to_vec(),
        };
        graph.push("turn", turn.into(), &[y]).unwrap()
    };
    let q = heads("query", [0, 2, 1, 3]);
    let k = heads("key", [0, 2, 3, 1]);
    let v = heads("value", [0, 2, 1, 3]);
    let scores = graph.push("scores", MatMul.into(), &[q, k]).unwrap();
    let mix = Einsum {
        operands: vec!["bhij".chars().collect(), "bhjd".chars().collect()],
        output: "bihd".chars().collect(),
    };
    let mixed = graph.push("mix", mix.into(), &[scores, v]).unwrap();
    let join = Reshape {
        target: vec![-1, 8],
        allow_zero: false,
    };
    let joined = graph.push("join", join.into(), &[mixed]).unwrap();
    let weight = graph.add_constant("w", zeros([8, 3]));
    let gemm = Gemm {
        alpha: 1.0,
        beta: 1.0,
        trans_a: false,
        trans_b: false,
    };
    let y = graph.push("out", gemm.into(), &[joined, weight]).unwrap();
    graph.add_output(y);
    graph
}

#[test]
fn attention_products_are_counted_in_all_windows() {
    let graph = attention();
    let macs = 9 * 5 * (3 * 6 * 8 + 2 * 5 * 8 + 8 * 3);
    assert_eq!(costs(&graph).macs, macs);
    for attention in [Attention::Widths, Attention::Heads] {
        check_graph("attention", &graph, attention);
    }
}

#[test]
fn features_are_constant_within_a_block() {
    let graph = model_zoo::build("resnet20", &model_zoo::ZooConfig::default()).unwrap();
    let analysis = analyse(&graph).unwrap();
    let table = CostTable::new(&graph, &analysis);
    let full: Vec<usize> = analysis.groups().iter().map(|g| g.channels).collect();
    // The last group is that of an inner convolution: its producer's output, the next layer's
    // input.
    let features = |width: usize| {
        let mut widths = full.clone();
        *widths.last_mut().unwrap() = width;
        table.features(&widths)
    };
    let layers = table.layers.len();
    let producer = layers - 3;
    let of_block = |block: usize, width: usize| features(width)[block * layers + producer];
    assert!(of_block(0, 36) < of_block(0, 48));
    assert_eq!(of_block(3, 36), of_block(3, 48));
    assert!(of_block(3, 48) < of_block(3, 52));
    let sum: f64 = features(64)[..layers].iter().sum();
    assert!((sum - 1.0).abs() < 1e-9, "{sum}");
}

#[test]
fn the_layer_times_of_a_device_with_separable_kernels_are_exact() {
    let graph = model_zoo::build("resnet20", &model_zoo::ZooConfig::default()).unwrap();
    let analysis = analyse(&graph).unwrap();
    let table = CostTable::new(&graph, &analysis);
    let full: Vec<usize> = analysis.groups().iter().map(|g| g.channels).collect();
    let widths: Vec<Vec<usize>> = full
        .iter()
        .map(|&channels| (1..=channels / 4).map(|i| i * 4).collect())
        .collect();
    let plan = ProbePlan::new(&table, &widths);
    // This device takes 1 ns per MAC, with outputs in blocks of 16 channels, and 5 us per run.
    let ns = |point: &crate::ProbePoint| {
        let macs = costs(&point.network().unwrap()).macs as f64 / point.outputs as f64;
        5e3 + macs * (point.outputs as f64 / 16.0).ceil() * 16.0
    };
    let kernels = KernelTable::new(plan.points().iter().map(|p| (p.clone(), ns(p))), 0.0);
    let times = table.layer_times(&kernels);
    let mut narrow = full.clone();
    for width in &mut narrow {
        *width /= 2;
    }
    let blocks =
        |widths: &[usize]| -> f64 { table.layers.iter().map(|l| l.macs(widths, 16.0)).sum() };
    for widths in [&full, &narrow] {
        let sum: f64 = table.layer_ns(&times, widths).iter().sum();
        let expected = blocks(widths);
        assert!((sum - expected).abs() < 0.01 * expected, "{sum} {expected}");
    }
}

#[test]
fn step_edges_end_a_block_of_the_producer_or_the_consumer() {
    let graph = model_zoo::build("resnet20", &model_zoo::ZooConfig::default()).unwrap();
    let analysis = analyse(&graph).unwrap();
    let table = CostTable::new(&graph, &analysis);
    // The last group is that of an inner convolution: its producer's output, the next layer's
    // input.
    let group = analysis.groups().len() - 1;
    let widths: Vec<Vec<usize>> = analysis
        .groups()
        .iter()
        .map(|g| (1..=g.channels / 4).map(|i| i * 4).collect())
        .collect();
    let plan = ProbePlan::new(&table, &widths);
    let check = |blocks: [f64; 2], expected: &[usize]| {
        let ns = |point: &crate::ProbePoint| {
            let [inputs, outputs] = [point.inputs, point.outputs].map(|n| n as f64);
            let macs = costs(&point.network().unwrap()).macs as f64 / (inputs * outputs);
            let whole = |n: f64, block: f64| (n / block).ceil() * block;
            5e3 + macs * whole(inputs, blocks[0]) * whole(outputs, blocks[1])
        };
        let points = plan.points().iter().map(|p| (p.clone(), ns(p)));
        let times = table.layer_times(&KernelTable::new(points, 0.0));
        let edges = table.step_edges(&times, group, &widths[group], 0.01);
        assert_eq!(edges, expected, "{blocks:?}");
    };
    check([16.0, 16.0], &[4, 16, 32, 48, 64]);
    check([1.0, 1.0], &widths[group]);
    let nothing = table.layer_times(&KernelTable::default());
    assert_eq!(
        table.step_edges(&nothing, group, &widths[group], 0.01),
        widths[group]
    );
}

#[test]
fn a_layer_without_a_measured_kernel_gets_the_mean_time_per_mac() {
    let graph = model_zoo::build("resnet20", &model_zoo::ZooConfig::default()).unwrap();
    let analysis = analyse(&graph).unwrap();
    let table = CostTable::new(&graph, &analysis);
    let full: Vec<usize> = analysis.groups().iter().map(|g| g.channels).collect();
    let widths: Vec<Vec<usize>> = full.iter().map(|&n| vec![n]).collect();
    let plan = ProbePlan::new(&table, &widths);
    // Two nanoseconds per MAC; the first convolution is not measured.
    let measured = plan.points().iter().filter(|p| p.inputs != 3);
    let ns = |p: &crate::ProbePoint| 2.0 * costs(&p.network().unwrap()).macs as f64;
    let times = table.layer_times(&KernelTable::new(measured.map(|p| (p.clone(), ns(p))), 0.0));
    assert_eq!(times.unknown(), 1);
    let all = table.layer_ns(&times, &full);
    let first = 2.0 * 432.0 * 1024.0;
    assert!((all[0] - first).abs() < 1e-3 * first, "{}", all[0]);
}

#[test]
fn the_table_counts_the_macs_of_the_pruned_network() {
    check("resnet20", [3, 32, 32]);
    check("mobilenet_v2", [3, 32, 32]);
    check("vgg16_bn", [3, 32, 32]);
}
