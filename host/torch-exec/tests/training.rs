//! Gradients, statistics and cuts of whole networks.

use std::collections::BTreeSet;

use channels::{Cut, GroupId, PrunePlan, analyse, apply, cut, importance_order};
use model_zoo::ZooConfig;
use onnx_graph::ops::*;
use onnx_graph::{DType, Dim, Graph, ValueId, insert_batch_norm};
use torch_exec::{
    Device, ExecOptions, Kind, MemoryFormat, NormMode, NormStats, Overlay, Params, Precision,
    Program, Stages, Tensor, calibrate_inserted_norms, calibrate_norms, cross_entropy, no_grad,
    reestimate, seed,
};

/// Reproducible pseudo-random numbers.
fn numbers(count: usize, salt: usize) -> Vec<f32> {
    (0..count)
        .map(|i| ((((i + 1) * 7919 + salt * 104_729) % 1999) as f32 / 999.5) - 1.0)
        .collect()
}

struct Small {
    graph: Graph,
    conv_out: ValueId,
    mean: ValueId,
    var: ValueId,
}

/// Conv, BatchNormalization, Relu, Add of the input, pooling, Gemm.
fn small() -> Small {
    let mut g = Graph::new("small", 17);
    let constant = |g: &mut Graph, name: &str, dims: &[usize], data: Vec<f32>| {
        g.add_constant(name, onnx_graph::Tensor::f32(dims.to_vec(), data).unwrap())
    };
    let shape = vec![
        Dim::Symbol("N".into()),
        Dim::Known(2),
        Dim::Known(4),
        Dim::Known(4),
    ];
    let x = g.add_input("x", DType::F32, shape);
    let w = constant(&mut g, "w", &[2, 2, 3, 3], numbers(36, 1));
    let conv = Conv {
        kernel: vec![3; 2],
        strides: vec![1; 2],
        pads: vec![1; 4],
        dilations: vec![1; 2],
        group: 1,
    };
    let conv_out = g.push("conv", Op::Conv(conv), &[x, w]).unwrap();
    let scale = constant(&mut g, "scale", &[2], vec![1.2, 0.8]);
    let bias = constant(&mut g, "bias", &[2], vec![0.3, 0.4]);
    let mean = constant(&mut g, "mean", &[2], vec![0.1, -0.2]);
    let var = constant(&mut g, "var", &[2], vec![1.5, 0.5]);
    let norm = Op::BatchNormalization(BatchNormalization {
        epsilon: 1e-5,
        momentum: 0.9,
    });
    let norm = g
        .push("norm", norm, &[conv_out, scale, bias, mean, var])
        .unwrap();
    let relu = g.push("relu", Op::Relu(Relu), &[norm]).unwrap();
    let sum = g.push("sum", Op::Add(Add), &[relu, x]).unwrap();
    let pool = g
        .push("pool", Op::GlobalAveragePool(GlobalAveragePool), &[sum])
        .unwrap();
    let flat = g
        .push("flat", Op::Flatten(Flatten { axis: 1 }), &[pool])
        .unwrap();
    let fw = constant(&mut g, "fw", &[3, 2], numbers(6, 2));
    let fb = constant(&mut g, "fb", &[3], numbers(3, 3));
    let gemm = Gemm {
        alpha: 1.0,
        beta: 1.0,
        trans_a: false,
        trans_b: true,
    };
    let y = g.push("fc", Op::Gemm(gemm), &[flat, fw, fb]).unwrap();
    g.add_output(y);
    Small {
        graph: g,
        conv_out,
        mean,
        var,
    }
}

fn images(n: i64, c: i64, size: i64, salt: usize) -> Tensor {
    Tensor::from_slice(&numbers((n * c * size * size) as usize, salt)).reshape([n, c, size, size])
}

fn distance(a: &Tensor, b: &Tensor) -> f64 {
    (a - b).abs().max().double_value(&[])
}

fn vec(t: &Tensor) -> Vec<f32> {
    Vec::try_from(&t.detach().contiguous().flatten(0, -1)).unwrap()
}

#[test]
fn gradients_agree_with_finite_differences() {
    let Small { graph, .. } = small();
    let program = Program::compile(&graph).unwrap();
    let params = Params::from_graph(&graph, Device::Cpu).unwrap();
    let (x, labels) = (images(4, 2, 4, 9), Tensor::from_slice(&[0i64, 1, 2, 1]));
    let loss = || {
        let logits = program.forward(&x, &params, None, NormMode::Batch).unwrap();
        cross_entropy(&logits, &labels, 0.1).unwrap()
    };
    loss().backward();
    let trainable = params.trainable(&graph);
    let names: Vec<&str> = trainable.iter().map(|(_, n, _)| n.as_str()).collect();
    assert_eq!(names, ["w", "scale", "bias", "fw", "fb"]);
    for (id, name, tensor) in trainable {
        let gradient = vec(&tensor.grad());
        let start = vec(&tensor);
        for i in 0..start.len() {
            let loss_at = |step: f32| {
                let mut moved = start.clone();
                moved[i] += step;
                params
                    .set(id, &Tensor::from_slice(&moved).reshape(tensor.size()))
                    .unwrap();
                no_grad(loss).double_value(&[])
            };
            let step = 2e-3f32;
            let slope = (loss_at(step) - loss_at(-step)) / (2.0 * f64::from(step));
            let error = (slope - f64::from(gradient[i])).abs();
            assert!(error < 2e-3, "{name}[{i}]: {} against {slope}", gradient[i]);
        }
        params
            .set(id, &Tensor::from_slice(&start).reshape(tensor.size()))
            .unwrap();
    }
}

#[test]
fn a_stage_reads_the_given_value_and_sends_no_gradient_before_it() {
    let small = small();
    let program = Program::compile(&small.graph).unwrap();
    let params = Params::from_graph(&small.graph, Device::Cpu).unwrap();
    let x = images(4, 2, 4, 9);
    let run = |inputs: &[(ValueId, Tensor)]| {
        let stages = Stages {
            weights: &params,
            cut: None,
            mode: NormMode::Running,
            inputs,
        };
        let (out, taps) = program
            .forward_in_stages(&x, stages, &[small.conv_out])
            .unwrap();
        (out, taps.into_iter().next().unwrap())
    };
    let (whole, value) = run(&[]);
    let (same, own) = run(&[(small.conv_out, value.detach())]);
    assert_eq!(distance(&whole, &same), 0.0);
    let (other, observed) = run(&[(small.conv_out, value.detach() * 2.0)]);
    assert!(distance(&whole, &other) > 1e-3);
    assert_eq!(distance(&observed, &value), 0.0);
    let convolution = params.get(small.graph.find_value("w").unwrap()).unwrap();
    let reaches = |loss: &Tensor| {
        let sum = loss.sum(Kind::Float);
        Tensor::run_backward(&[&sum], &[&convolution], true, false)[0].defined()
    };
    assert!(reaches(&whole) && reaches(&own));
    assert!(!reaches(&same));
}

/// Returns batch mean and unbiased variance of the convolution's output.
fn batch_statistics(
    small: &Small,
    program: &Program,
    params: &Params,
    x: &Tensor,
) -> (Tensor, Tensor) {
    let (_, taps) = program
        .forward_with(x, params, None, NormMode::Batch, &[small.conv_out])
        .unwrap();
    let (var, mean) = taps[0]
        .detach()
        .var_mean_correction([0, 2, 3].as_slice(), 1, false);
    (mean, var)
}

#[test]
fn running_statistics_move_by_the_momentum_towards_the_batch() {
    let small = small();
    let program = Program::compile(&small.graph).unwrap();
    let params = Params::from_graph(&small.graph, Device::Cpu).unwrap();
    let x = images(4, 2, 4, 5);
    let (mean, var) = batch_statistics(&small, &program, &params, &x);
    let before = (
        params.get(small.mean).unwrap().copy(),
        params.get(small.var).unwrap().copy(),
    );
    let _ = program.forward(&x, &params, None, NormMode::Batch).unwrap();
    assert_eq!(distance(&params.get(small.mean).unwrap(), &before.0), 0.0);
    let _ = program
        .forward(&x, &params, None, NormMode::Update { momentum: 0.3 })
        .unwrap();
    assert!(
        distance(
            &params.get(small.mean).unwrap(),
            &(before.0 * 0.7 + mean * 0.3)
        ) < 1e-5
    );
    assert!(
        distance(
            &params.get(small.var).unwrap(),
            &(before.1 * 0.7 + var * 0.3)
        ) < 1e-5
    );
}

#[test]
fn reestimated_statistics_are_the_average_over_the_batches_and_leave_the_stored_ones() {
    let small = small();
    let program = Program::compile(&small.graph).unwrap();
    let params = Params::from_graph(&small.graph, Device::Cpu).unwrap();
    let batches: Vec<Tensor> = (0..3).map(|i| images(4, 2, 4, 20 + i)).collect();
    let (mut mean, mut var) = (
        Tensor::zeros([2], (Kind::Float, Device::Cpu)),
        Tensor::zeros([2], (Kind::Float, Device::Cpu)),
    );
    for x in &batches {
        let (m, v) = batch_statistics(&small, &program, &params, x);
        mean += m / 3.0;
        var += v / 3.0;
    }
    let before = params.get(small.mean).unwrap().copy();
    let stats = reestimate(
        &program,
        &params,
        None,
        batches.iter().map(Tensor::shallow_clone),
    )
    .unwrap();
    assert!(distance(&stats.get(small.mean).unwrap(), &mean) < 1e-5);
    assert!(distance(&stats.get(small.var).unwrap(), &var) < 1e-5);
    assert_eq!(distance(&params.get(small.mean).unwrap(), &before), 0.0);
    let overlay = Overlay {
        base: &params,
        stats: &stats,
    };
    let with = program
        .forward(&batches[0], &overlay, None, NormMode::Running)
        .unwrap();
    params.set(small.mean, &mean).unwrap();
    params.set(small.var, &var).unwrap();
    let set = program
        .forward(&batches[0], &params, None, NormMode::Running)
        .unwrap();
    assert!(distance(&with, &set) < 1e-5);
    assert!(reestimate(&program, &params, None, Vec::new()).is_err());
    assert!(NormStats::new().is_empty());
}

/// Cuts every group to its more important half, at least one unit; `remove` empties every third
/// group that can be emptied.
fn halved(graph: &Graph, remove: bool) -> Cut {
    let analysis = analyse(graph).unwrap();
    let groups = analysis.groups().iter().enumerate();
    let widths: Vec<usize> = groups
        .map(|(i, g)| match analysis.removal(GroupId(i)) {
            Some(_) if remove && i % 3 == 0 => 0,
            _ => g.channels.div_ceil(2),
        })
        .collect();
    let plan =
        PrunePlan::from_widths(&analysis, &importance_order(graph, &analysis), &widths).unwrap();
    cut(graph, &analysis, &plan).unwrap()
}

fn check_cut(network: &str, remove: bool) {
    let graph = model_zoo::build(
        network,
        &ZooConfig {
            seed: 3,
            ..ZooConfig::default()
        },
    )
    .unwrap();
    let cut = halved(&graph, remove);
    let small = apply(&graph, &cut).unwrap();
    let x = images(2, 3, 32, 4);
    let whole = (
        Program::compile(&graph).unwrap(),
        Params::from_graph(&graph, Device::Cpu).unwrap(),
    );
    let pruned = (
        Program::compile(&small).unwrap(),
        Params::from_graph(&small, Device::Cpu).unwrap(),
    );
    let update = NormMode::Update { momentum: 0.5 };
    for mode in [NormMode::Batch, update, NormMode::Running] {
        let a = whole.0.forward(&x, &whole.1, Some(&cut), mode).unwrap();
        let b = pruned.0.forward(&x, &pruned.1, None, mode).unwrap();
        let spread = b.abs().max().double_value(&[]);
        assert!(
            distance(&a, &b) <= 1e-4 * spread.max(1e-3),
            "{network}: {} of {spread}",
            distance(&a, &b)
        );
    }
    let labels = Tensor::from_slice(&[1i64, 2]);
    let logits = whole
        .0
        .forward(&x, &whole.1, Some(&cut), NormMode::Batch)
        .unwrap();
    cross_entropy(&logits, &labels, 0.0).unwrap().backward();
    assert_eq!(cut.dead.is_empty(), !remove);
    let live = graph.iter().filter(|(id, _)| !cut.dead.contains(id));
    let live: BTreeSet<_> = live.flat_map(|(_, n)| n.inputs.iter().flatten()).collect();
    for (id, name, tensor) in whole.1.trainable(&graph) {
        assert_eq!(tensor.grad().defined(), live.contains(&id), "{name}");
        if let Some((axis, keep)) = cut.crops.get(&id).and_then(|c| c.axes.first()) {
            let other: Vec<i64> = (0..tensor.size()[*axis])
                .filter(|i| !keep.contains(&(*i as usize)))
                .collect();
            let dropped = tensor
                .grad()
                .index_select(*axis as i64, &Tensor::from_slice(&other));
            assert_eq!(
                dropped.abs().max().double_value(&[]),
                0.0,
                "{name}: dropped channels get no gradient"
            );
        }
    }
}

#[test]
fn a_cut_computes_what_the_pruned_graph_computes() {
    for network in ["resnet20", "mobilenet_v2", "shapes_net"] {
        check_cut(network, false);
    }
}

#[test]
fn a_cut_with_removed_branches_computes_and_trains_the_rest() {
    for network in ["resnet20", "mobilenet_v2", "resnet50"] {
        check_cut(network, true);
    }
}

#[test]
fn memory_order_changes_no_result_and_bfloat16_changes_it_little() {
    let graph = model_zoo::build("resnet20", &ZooConfig::default()).unwrap();
    let x = images(4, 3, 32, 4);
    let run = |options: ExecOptions| {
        let params = Params::with_options(&graph, Device::Cpu, &options).unwrap();
        let out = Program::with_options(&graph, options)
            .unwrap()
            .forward(&x, &params, None, NormMode::Batch)
            .unwrap();
        assert_eq!(out.kind(), Kind::Float);
        out.sum(Kind::Float).backward();
        let grads = params
            .trainable(&graph)
            .into_iter()
            .map(|(_, _, t)| t.grad().contiguous().flatten(0, -1));
        (out.detach(), Tensor::cat(&grads.collect::<Vec<_>>(), 0))
    };
    let full = ExecOptions::default();
    let (out, grad) = run(full);
    let (scale, grad_scale) = (
        out.abs().max().double_value(&[]),
        grad.abs().max().double_value(&[]),
    );
    let last = run(ExecOptions {
        memory_format: MemoryFormat::ChannelsLast,
        ..full
    });
    assert!(distance(&last.0, &out) < 1e-3 * scale);
    assert!(distance(&last.1, &grad) < 1e-2 * grad_scale);
    let bf16 = run(ExecOptions {
        precision: Precision::Bf16,
        ..full
    });
    assert!(distance(&bf16.0, &out) < 0.2 * scale);
}

#[test]
fn observed_values_are_kept_although_later_steps_overwrite() {
    let graph = model_zoo::build("resnet20", &ZooConfig::default()).unwrap();
    let program = Program::compile(&graph).unwrap();
    let params = Params::from_graph(&graph, Device::Cpu).unwrap();
    let x = images(2, 3, 32, 4);
    let plain = program
        .forward(&x, &params, None, NormMode::Running)
        .unwrap();
    let taps: Vec<ValueId> = graph.nodes().iter().map(onnx_graph::Node::output).collect();
    let (out, observed) = program
        .forward_with(&x, &params, None, NormMode::Running, &taps)
        .unwrap();
    assert_eq!(distance(&out, &plain), 0.0);
    let mut negative = 0;
    for (node, value) in graph.nodes().iter().zip(&observed) {
        if let Op::Relu(_) = node.op {
            let before = taps.iter().position(|t| Some(*t) == node.input(0)).unwrap();
            assert_eq!(
                distance(&observed[before].relu(), value),
                0.0,
                "{}",
                node.name
            );
            negative += i64::from(observed[before].min().double_value(&[]) < 0.0);
        }
    }
    assert!(negative > 0);
}

#[test]
fn inserted_norms_have_their_inputs_statistics_and_change_nothing() {
    let folded =
        onnx_graph::fold_batch_norm(&model_zoo::build("resnet20", &ZooConfig::default()).unwrap())
            .unwrap();
    let (mut graph, inserted) = insert_batch_norm(&folded).unwrap();
    assert!(!inserted.is_empty());
    let run = |g: &Graph, x: &Tensor| {
        let params = Params::from_graph(g, Device::Cpu).unwrap();
        no_grad(|| {
            Program::compile(g)
                .unwrap()
                .forward(x, &params, None, NormMode::Running)
                .unwrap()
        })
    };
    seed(1);
    let batches: Vec<Tensor> = (0..2).map(|i| images(8, 3, 32, 30 + i)).collect();
    calibrate_inserted_norms(
        &mut graph,
        &inserted,
        batches.iter().map(Tensor::shallow_clone),
    )
    .unwrap();
    let (before, after) = (run(&folded, &batches[0]), run(&graph, &batches[0]));
    assert!(distance(&before, &after) < 1e-4 * before.abs().max().double_value(&[]).max(1.0));
    // The stored statistics are those of the data, so batch statistics on it give the same
    // result.
    let params = Params::from_graph(&graph, Device::Cpu).unwrap();
    let program = Program::compile(&graph).unwrap();
    let all = Tensor::cat(&batches, 0);
    let own = no_grad(|| {
        program
            .forward(&all, &params, None, NormMode::Batch)
            .unwrap()
    });
    let stored = no_grad(|| {
        program
            .forward(&all, &params, None, NormMode::Running)
            .unwrap()
    });
    assert!(distance(&own, &stored) < 1e-3 * stored.abs().max().double_value(&[]).max(1.0));
}

/// Sets the statistics, scale and bias of a normalisation.
fn set_norm(graph: &mut Graph, name: &str, [scale, bias, mean, var]: [&[f32]; 4]) {
    let node = graph.nodes().iter().find(|n| n.name == name).unwrap();
    let ids = [1, 2, 3, 4].map(|i| node.input(i).unwrap());
    for (id, list) in ids.into_iter().zip([scale, bias, mean, var]) {
        let old = graph.constant(id).unwrap();
        let mut values = old.as_f32().unwrap().to_vec();
        values[..list.len()].copy_from_slice(list);
        let dims = old.dims().to_vec();
        let tensor = onnx_graph::Tensor::f32(dims, values).unwrap();
        graph.set_constant(id, tensor).unwrap();
    }
}

fn running(graph: &Graph, x: &Tensor) -> Tensor {
    let params = Params::from_graph(graph, Device::Cpu).unwrap();
    let program = Program::compile(graph).unwrap();
    no_grad(|| {
        program
            .forward(x, &params, None, NormMode::Running)
            .unwrap()
    })
}

#[test]
fn norms_move_to_new_images_without_changing_the_network() {
    let mut graph = model_zoo::build("resnet20", &ZooConfig::default()).unwrap();
    let norms: Vec<String> = graph
        .nodes()
        .iter()
        .filter(|n| matches!(n.op, Op::BatchNormalization(_)))
        .map(|n| n.name.clone())
        .collect();
    // Statistics of other images, a channel without a scale and, below, a dead one with zero
    // variance.
    for (i, name) in norms.iter().enumerate() {
        let off = 0.1 * (i % 5) as f32;
        let var = if i == 0 { 0.0 } else { 0.9 };
        let lists: [&[f32]; 4] = [
            &[0.5 + off, 0.0, 1.0, 1.0],
            &[0.1, -0.2, 0.3, 0.2],
            &[off, 1.0, -0.5, 0.0],
            &[0.3 + off, 2.0, 0.8, var],
        ];
        set_norm(&mut graph, name, lists);
    }
    let dead = graph.nodes().iter().find(|n| n.name == norms[0]).unwrap();
    let conv = graph.producers()[dead.input(0).unwrap().index()].unwrap();
    let weight = graph.node(conv).input(1).unwrap();
    let mut values = graph.constant(weight).unwrap().as_f32().unwrap().to_vec();
    values[3 * 27..4 * 27].fill(0.0);
    let tensor = onnx_graph::Tensor::f32(vec![16, 3, 3, 3], values).unwrap();
    graph.set_constant(weight, tensor).unwrap();

    let before = graph.clone();
    let batches: Vec<Tensor> = (0..2).map(|i| images(32, 3, 32, 40 + i)).collect();
    let copies = || batches.iter().map(Tensor::shallow_clone);
    assert_eq!(calibrate_norms(&mut graph, copies()).unwrap(), norms.len());
    let scale = |x: &Tensor| x.abs().max().double_value(&[]).max(1.0);
    for x in [&batches[0], &images(8, 3, 32, 77)] {
        let (old, new) = (running(&before, x), running(&graph, x));
        assert!(
            distance(&old, &new) < 1e-4 * scale(&old),
            "{}",
            distance(&old, &new)
        );
    }
    // The stored statistics now equal those of the images; before, they differed much.
    let estimated = |graph: &Graph| {
        let params = Params::from_graph(graph, Device::Cpu).unwrap();
        let program = Program::compile(graph).unwrap();
        let stats = reestimate(&program, &params, None, copies()).unwrap();
        let overlay = Overlay {
            base: &params,
            stats: &stats,
        };
        let x = Tensor::cat(&batches, 0);
        no_grad(|| {
            program
                .forward(&x, &overlay, None, NormMode::Running)
                .unwrap()
        })
    };
    let whole = running(&before, &Tensor::cat(&batches, 0));
    let apart = |graph: &Graph| distance(&estimated(graph), &whole) / scale(&whole);
    let (distance_before, distance_after) = (apart(&before), apart(&graph));
    assert!(
        distance_after < 0.05 && distance_before > 5.0 * distance_after,
        "{distance_before}, {distance_after}"
    );
}

#[test]
fn shared_norms_move_together_and_partly_shared_ones_stay() {
    let list = |graph: &mut Graph, name: &str, values: [f32; 2]| {
        graph.add_constant(name, onnx_graph::Tensor::f32([2], values.to_vec()).unwrap())
    };
    for half in [false, true] {
        let mut graph = Graph::new("shared", 17);
        let shape = vec![
            Dim::Symbol("N".into()),
            Dim::Known(2),
            Dim::Known(4),
            Dim::Known(4),
        ];
        let x = graph.add_input("x", DType::F32, shape);
        let scale = list(&mut graph, "scale", [2.0, 0.5]);
        let bias = list(&mut graph, "bias", [0.1, -0.1]);
        let mean = list(&mut graph, "mean", [0.3, -0.4]);
        let var = list(&mut graph, "var", [0.5, 3.0]);
        let other = list(&mut graph, "other mean", [0.0, 0.0]);
        let op = || Op::BatchNormalization(onnx_graph::ops::BatchNormalization::default());
        let first = graph.push("a", op(), &[x, scale, bias, mean, var]).unwrap();
        let means = if half { other } else { mean };
        let y = graph
            .push("b", op(), &[first, scale, bias, means, var])
            .unwrap();
        graph.add_output(y);
        let before = graph.clone();
        let x = images(16, 2, 4, 3);
        let moved = calibrate_norms(&mut graph, [x.shallow_clone()]).unwrap();
        assert_eq!(moved, if half { 0 } else { 2 });
        assert_eq!(graph.constant(mean) == before.constant(mean), half);
        assert!(distance(&running(&before, &x), &running(&graph, &x)) < 1e-5);
    }
}

#[test]
fn trained_weights_return_to_the_graph() {
    let Small {
        mut graph, mean, ..
    } = small();
    let params = Params::from_graph(&graph, Device::Cpu).unwrap();
    params.set(mean, &Tensor::from_slice(&[5f32, 6.])).unwrap();
    params.write_back(&mut graph).unwrap();
    assert_eq!(graph.constant(mean).unwrap().as_f32().unwrap(), [5., 6.]);
}
