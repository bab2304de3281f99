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

/// A ResNet-20 whose precision is open in two halves, with the widths of its groups.
fn halves() -> (CostTable, Vec<Vec<usize>>) {
    let graph = model_zoo::build("resnet20", &model_zoo::ZooConfig::default()).unwrap();
    let analysis = analyse(&graph).unwrap();
    let table = CostTable::new(&graph, &analysis);
    let names: Vec<String> = table.layer_names().map(str::to_owned).collect();
    let (first, second) = names.split_at(names.len() / 2);
    let part = |names: &[String]| names.iter().cloned().collect();
    let table = table.with_parts(&[part(first), part(second)], Precision::Unsigned);
    let groups = analysis.groups().iter();
    let mut widths: Vec<Vec<usize>> = groups
        .map(|g| (1..=g.channels / 4).map(|i| i * 4).collect())
        .collect();
    widths.extend([(); 2].map(|()| vec![IN_INTEGERS, IN_FLOATS]));
    (table, widths)
}

fn is_float(kernel: &Kernel) -> bool {
    !matches!(kernel, Kernel::Conv { precision, .. } if *precision != Precision::Float)
}

/// A device that takes 2 ns per MAC in floats, 1 ns in integers with outputs in blocks of 16.
fn two_speeds(point: &crate::ProbePoint) -> f64 {
    let outputs = point.outputs as f64;
    let macs = costs(&point.network().unwrap()).macs as f64 / outputs;
    if is_float(&point.kernel) {
        5e3 + macs * outputs * 2.0
    } else {
        5e3 + macs * (outputs / 16.0).ceil() * 16.0
    }
}

#[test]
fn each_part_takes_the_times_of_its_precision_and_the_whole_network_is_in_floats() {
    let (table, widths) = halves();
    let half = table.layers.len() / 2;
    let plan = ProbePlan::new(&table, &widths);
    let kernels = plan.points().iter().map(|p| (p.clone(), two_speeds(p)));
    let times = table.layer_times(&KernelTable::new(kernels, 0.0));
    let groups = widths.len() - 2;
    let full: Vec<usize> = widths.iter().map(|w| *w.last().unwrap()).collect();
    let of = |parts: [usize; 2]| {
        let mut config = full.clone();
        config[groups..].copy_from_slice(&parts);
        (table.layer_ns(&times, &config), table.features(&config))
    };
    let (floats, plain) = of([IN_FLOATS, IN_FLOATS]);
    assert!((floats.iter().sum::<f64>() - times.full_ns()).abs() < 1.0);
    for parts in [
        [IN_INTEGERS, IN_FLOATS],
        [IN_FLOATS, IN_INTEGERS],
        [IN_INTEGERS; 2],
    ] {
        let (ns, features) = of(parts);
        assert_ne!(features, plain, "{parts:?}");
        for (layer, (ns, floats)) in ns.iter().zip(&floats).enumerate() {
            let part = usize::from(layer >= half);
            // The product that ends the network is not measured in integers.
            let is_conv = layer + 1 < table.layers.len();
            let expected = match parts[part] {
                IN_INTEGERS if is_conv => floats / 2.0,
                _ => *floats,
            };
            assert!(
                (ns - expected).abs() < 0.01 * expected,
                "{parts:?}, layer {layer}"
            );
        }
    }
}

#[test]
fn the_step_edges_of_a_group_are_those_of_both_precisions() {
    let (table, widths) = halves();
    let plan = ProbePlan::new(&table, &widths);
    let group = widths.len() - 3;
    let stepped = |point: &crate::ProbePoint| {
        let block = if is_float(&point.kernel) { 32.0 } else { 16.0 };
        let whole = |n: usize| (n as f64 / block).ceil() * block;
        5e3 + 100.0 * whole(point.inputs) * whole(point.outputs)
    };
    let kernels = plan.points().iter().map(|p| (p.clone(), stepped(p)));
    let times = table.layer_times(&KernelTable::new(kernels, 0.0));
    let edges = table.step_edges(&times, group, &widths[group], 0.01);
    assert_eq!(edges, [4, 16, 32, 48, 64]);
    let choice = table.step_edges(&times, group + 1, &widths[group + 1], 0.01);
    assert_eq!(choice, [IN_INTEGERS, IN_FLOATS]);
}
