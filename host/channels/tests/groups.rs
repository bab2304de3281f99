//! Groups of small networks with known answers. The workspace's whole-pipeline tests check in
//! ONNX Runtime what pruned networks compute.

use channels::{
    AnalysisOptions, Attention, ChannelError, GroupId, PrunePlan, analyse, analyse_with, apply,
    cut, importance_order, mask,
};
use onnx_graph::ops::{
    Add, BatchNormalization, Concat, Conv, Flatten, Gemm, MatMul, Mul, Op, Opaque, Pad, PadMode,
    Relu, Reshape, Slice, Softmax, Transpose,
};
use onnx_graph::{DType, Dim, Graph, Tensor, ValueId};

/// A network under construction; its weights count up, so that channels differ.
struct Net {
    graph: Graph,
    next: f32,
}

impl Net {
    fn new(channels: usize, side: usize) -> (Self, ValueId) {
        let mut graph = Graph::new("test", 17);
        let shape = vec![
            Dim::Symbol("N".into()),
            Dim::Known(channels),
            Dim::Known(side),
            Dim::Known(side),
        ];
        let input = graph.add_input("input", DType::F32, shape);
        (Self { graph, next: 1.0 }, input)
    }

    fn weight(&mut self, name: &str, dims: &[usize]) -> ValueId {
        let n = dims.iter().product::<usize>();
        let data = (0..n).map(|i| self.next + i as f32).collect();
        self.next += 1.0;
        self.graph
            .add_constant(name, Tensor::f32(dims, data).unwrap())
    }

    fn conv(
        &mut self,
        name: &str,
        x: ValueId,
        outputs: usize,
        kernel: usize,
        group: usize,
    ) -> ValueId {
        let inputs = self.graph.dims_of(x)[1];
        let w = self.weight(
            &format!("{name}.w"),
            &[outputs, inputs / group, kernel, kernel],
        );
        let b = self.weight(&format!("{name}.b"), &[outputs]);
        let pad = kernel / 2;
        let op = Conv {
            kernel: vec![kernel; 2],
            strides: vec![1; 2],
            pads: vec![pad; 4],
            dilations: vec![1; 2],
            group,
        };
        self.graph.push(name, Op::Conv(op), &[x, w, b]).unwrap()
    }

    fn relu(&mut self, x: ValueId) -> ValueId {
        self.graph.push("relu", Op::Relu(Relu), &[x]).unwrap()
    }

    fn done(mut self, output: ValueId) -> Graph {
        self.graph.add_output(output);
        self.graph
    }
}

trait DimsOf {
    fn dims_of(&self, x: ValueId) -> Vec<usize>;
}

impl DimsOf for Graph {
    /// Dimensions with the batch taken as 1.
    fn dims_of(&self, x: ValueId) -> Vec<usize> {
        self.value(x)
            .shape
            .as_ref()
            .unwrap()
            .iter()
            .map(|d| d.known().unwrap_or(1))
            .collect()
    }
}

/// The groups must be exactly the expected ones (name and units). Keeping half of each must give
/// a graph whose shapes infer, and a well-formed masked original.
fn check(graph: &Graph, expected: &[(&str, usize)]) {
    let analysis = analyse(graph).unwrap();
    let groups: Vec<_> = analysis
        .groups()
        .iter()
        .map(|g| (g.name.as_str(), g.channels))
        .collect();
    assert_eq!(groups, expected, "pinned: {:?}", analysis.pinned());
    let keep = analysis
        .groups()
        .iter()
        .map(|g| (0..g.channels).step_by(2).collect())
        .collect();
    let plan = PrunePlan { keep };
    let pruned = apply(graph, &cut(graph, &analysis, &plan).unwrap()).unwrap();
    pruned.check().unwrap();
    assert_eq!(
        pruned.dims_of(pruned.outputs()[0]),
        graph.dims_of(graph.outputs()[0])
    );
    mask(graph, &analysis, &plan).unwrap();
    let full = cut(graph, &analysis, &PrunePlan::full(&analysis)).unwrap();
    assert!(
        full.crops.is_empty() && full.ops.is_empty(),
        "keeping everything changes nothing"
    );
}

#[test]
fn a_chain_has_a_group_per_hidden_layer_and_pins_input_and_output() {
    let (mut net, x) = Net::new(3, 8);
    let a = net.conv("a", x, 8, 3, 1);
    let a = net.relu(a);
    let b = net.conv("b", a, 6, 3, 1);
    let c = net.conv("c", b, 4, 1, 1);
    let graph = net.done(c);
    check(&graph, &[("a", 8), ("b", 6)]);
    let pinned: Vec<_> = analyse(&graph)
        .unwrap()
        .pinned()
        .iter()
        .map(|p| p.channels)
        .collect();
    assert_eq!(pinned, [4, 3]);
}

#[test]
fn a_residual_addition_unites_its_branches_index_by_index() {
    let (mut net, x) = Net::new(3, 8);
    let a = net.conv("a", x, 8, 3, 1);
    let b = net.conv("b", a, 5, 3, 1);
    let c = net.conv("c", b, 8, 3, 1);
    let sum = net.graph.push("sum", Op::Add(Add), &[a, c]).unwrap();
    let d = net.conv("d", sum, 2, 1, 1);
    check(&net.done(d), &[("a", 8), ("b", 5)]);
}

#[test]
fn an_option_a_shortcut_splits_the_wider_stage_into_passed_and_new_channels() {
    let (mut net, x) = Net::new(3, 8);
    let a = net.conv("a", x, 4, 3, 1);
    let b = net.conv("b", a, 8, 3, 1);
    let slice = Slice {
        starts: vec![0],
        ends: vec![i64::MAX],
        axes: vec![2],
        steps: vec![1],
    };
    let s = net.graph.push("slice", Op::Slice(slice), &[a]).unwrap();
    let pads = vec![0, 2, 0, 0, 0, 2, 0, 0];
    let p = net
        .graph
        .push(
            "pad",
            Op::Pad(Pad {
                pads,
                mode: PadMode::Constant,
                value: 0.0,
            }),
            &[s],
        )
        .unwrap();
    let sum = net.graph.push("sum", Op::Add(Add), &[b, p]).unwrap();
    let d = net.conv("d", sum, 2, 1, 1);
    check(&net.done(d), &[("a", 4), ("b", 4)]);
}

#[test]
fn a_depthwise_convolution_passes_channels_through_and_a_multiplier_repeats_them() {
    for multiplier in [1, 2] {
        let (mut net, x) = Net::new(3, 8);
        let a = net.conv("a", x, 6, 1, 1);
        let b = net.conv("b", a, 6 * multiplier, 3, 6);
        let c = net.conv("c", b, 4, 1, 1);
        check(&net.done(c), &[("a", 6)]);
    }
}

#[test]
fn a_grouped_convolution_couples_equal_offsets_of_its_groups() {
    let (mut net, x) = Net::new(3, 8);
    let a = net.conv("a", x, 8, 1, 1);
    let b = net.conv("b", a, 12, 3, 2);
    let c = net.conv("c", b, 4, 1, 1);
    check(&net.done(c), &[("a", 4), ("b", 6)]);
}

#[test]
fn a_concatenation_joins_channels_and_flatten_repeats_them() {
    let (mut net, x) = Net::new(3, 4);
    let a = net.conv("a", x, 4, 3, 1);
    let b = net.conv("b", x, 6, 3, 1);
    let joined = net
        .graph
        .push("join", Op::Concat(Concat { axis: 1 }), &[a, b])
        .unwrap();
    let scale: Vec<_> = ["s", "o", "m", "v"]
        .iter()
        .map(|n| net.weight(n, &[10]))
        .collect();
    let norm = Op::BatchNormalization(BatchNormalization {
        epsilon: 1e-5,
        momentum: 0.9,
    });
    let inputs = [joined, scale[0], scale[1], scale[2], scale[3]];
    let joined = net.graph.push("norm", norm, &inputs).unwrap();
    let flat = net
        .graph
        .push("flat", Op::Flatten(Flatten { axis: 1 }), &[joined])
        .unwrap();
    let w = net.weight("fc.w", &[7, 160]);
    let gemm = Gemm {
        alpha: 1.0,
        beta: 1.0,
        trans_a: false,
        trans_b: true,
    };
    let out = net.graph.push("fc", Op::Gemm(gemm), &[flat, w]).unwrap();
    check(&net.done(out), &[("a", 4), ("b", 6)]);
}

#[test]
fn an_unknown_operator_pins_its_channels_with_its_name() {
    let (mut net, x) = Net::new(3, 8);
    let a = net.conv("a", x, 8, 3, 1);
    let b = net.conv("b", a, 6, 3, 1);
    let op = Opaque {
        domain: "my.domain".into(),
        op_type: "Whirl".into(),
        ..Opaque::default()
    };
    let out = net.graph.push("whirl", Op::Opaque(op), &[b]).unwrap();
    let graph = net.done(out);
    let analysis = analyse(&graph).unwrap();
    assert_eq!(
        analysis
            .groups()
            .iter()
            .map(|g| g.name.as_str())
            .collect::<Vec<_>>(),
        ["a"]
    );
    assert!(
        analysis
            .pinned()
            .iter()
            .any(|p| p.node == "whirl" && p.reason.contains("Whirl")),
        "{:?}",
        analysis.pinned()
    );
}

#[test]
fn a_weight_shared_with_a_reader_of_other_channels_is_pinned() {
    let (mut net, x) = Net::new(3, 8);
    let a = net.conv("a", x, 8, 3, 1);
    let w = net.graph.find_value("a.w").unwrap();
    let op = Opaque {
        op_type: "Watch".into(),
        ..Opaque::default()
    };
    net.graph.push("watch", Op::Opaque(op), &[w]).unwrap();
    let b = net.conv("b", a, 4, 1, 1);
    assert!(analyse(&net.done(b)).unwrap().groups().is_empty());
}

/// An attention of 2 heads with 3 channels each over the 4 positions of a 2 x 2 image, with
/// separate projections.
fn attention() -> Graph {
    let (mut net, input) = Net::new(3, 2);
    let mut push =
        |name: &str, op: Op, inputs: &[ValueId]| net.graph.push(name, op, inputs).unwrap();
    let reshape = |target: &[i64]| {
        Op::Reshape(Reshape {
            target: target.to_vec(),
            allow_zero: false,
        })
    };
    let turn = |perm: &[usize]| {
        Op::Transpose(Transpose {
            perm: perm.to_vec(),
        })
    };
    let flat = push("flat", reshape(&[0, 3, 4]), &[input]);
    let rows = push("rows", turn(&[0, 2, 1]), &[flat]);
    let mut heads = |name: &str, perm: &[usize]| {
        let weight = net.weight(&format!("{name}.w"), &[3, 6]);
        let mut push = |op: Op, inputs: &[ValueId]| net.graph.push(name, op, inputs).unwrap();
        let x = push(Op::MatMul(MatMul), &[rows, weight]);
        let x = push(reshape(&[0, 4, 2, 3]), &[x]);
        push(turn(perm), &[x])
    };
    let q = heads("query", &[0, 2, 1, 3]);
    let k = heads("key", &[0, 2, 3, 1]);
    let v = heads("value", &[0, 2, 1, 3]);
    let weight = net.weight("out.w", &[6, 5]);
    let mut push =
        |name: &str, op: Op, inputs: &[ValueId]| net.graph.push(name, op, inputs).unwrap();
    let scores = push("scores", Op::MatMul(MatMul), &[q, k]);
    let shares = push("shares", Op::Softmax(Softmax { axis: -1 }), &[scores]);
    let mixed = push("mixed", Op::MatMul(MatMul), &[shares, v]);
    let back = push("back", turn(&[0, 2, 1, 3]), &[mixed]);
    let joined = push("joined", reshape(&[0, 4, 6]), &[back]);
    let y = push("out", Op::MatMul(MatMul), &[joined, weight]);
    net.done(y)
}

#[test]
fn an_attention_loses_equal_widths_in_every_head_or_whole_heads() {
    let graph = attention();
    check(
        &graph,
        &[("query (queries and keys)", 3), ("value (values)", 3)],
    );
    let options = AnalysisOptions {
        attention: Attention::Heads,
    };
    let analysis = analyse_with(&graph, options).unwrap();
    let groups: Vec<_> = analysis
        .groups()
        .iter()
        .map(|g| (&*g.name, g.channels))
        .collect();
    assert_eq!(
        groups,
        [("query (heads)", 2)],
        "pinned: {:?}",
        analysis.pinned()
    );
    let plan = PrunePlan {
        keep: vec![vec![1]],
    };
    let pruned = apply(&graph, &cut(&graph, &analysis, &plan).unwrap()).unwrap();
    let weight = pruned.find_value("value.w").unwrap();
    let kept = pruned.constant(weight).unwrap();
    assert_eq!(kept.dims(), [3, 3]);
    let whole = graph
        .constant(graph.find_value("value.w").unwrap())
        .unwrap();
    assert_eq!(kept, &whole.select(1, &[3, 4, 5]).unwrap());
}

#[test]
fn plans_that_do_not_fit_are_rejected_with_the_group() {
    let (mut net, x) = Net::new(3, 8);
    let a = net.conv("a", x, 4, 3, 1);
    let b = net.conv("b", a, 4, 1, 1);
    let graph = net.done(b);
    let analysis = analyse(&graph).unwrap();
    let bad = |keep: Vec<Vec<usize>>| cut(&graph, &analysis, &PrunePlan { keep }).unwrap_err();
    assert!(matches!(
        bad(vec![]),
        ChannelError::GroupCount {
            plan: 0,
            network: 1
        }
    ));
    assert!(matches!(bad(vec![vec![]]), ChannelError::EmptyGroup { group } if group == "a"));
    assert!(matches!(
        bad(vec![vec![1, 1]]),
        ChannelError::BadUnit { unit: 1, .. }
    ));
    assert!(matches!(
        bad(vec![vec![4]]),
        ChannelError::BadUnit { unit: 4, .. }
    ));
    let widths = PrunePlan::from_widths(&analysis, &[vec![3, 1, 0, 2]], &[2]).unwrap();
    assert_eq!(widths.keep, [[1, 3]]);
    assert!(PrunePlan::from_widths(&analysis, &[vec![3, 1, 0, 2]], &[0]).is_err());
}

#[test]
fn a_channel_shuffle_couples_the_columns_and_permutes_them() {
    let (mut net, x) = Net::new(3, 8);
    let a = net.conv("a", x, 4, 3, 1);
    let b = net.conv("b", x, 4, 3, 1);
    let op = Op::Concat(Concat { axis: 1 });
    let both = net.graph.push("concat", op, &[a, b]).unwrap();
    let reshape = |target: &[i64]| {
        Op::Reshape(Reshape {
            target: target.to_vec(),
            allow_zero: false,
        })
    };
    let rows = reshape(&[-1, 2, 4, 8, 8]);
    let rows = net.graph.push("rows", rows, &[both]).unwrap();
    let swap = Op::Transpose(Transpose {
        perm: vec![0, 2, 1, 3, 4],
    });
    let swapped = net.graph.push("swap", swap, &[rows]).unwrap();
    let back = reshape(&[-1, 8, 8, 8]);
    let back = net.graph.push("back", back, &[swapped]).unwrap();
    let half = Op::Slice(Slice {
        axes: vec![1],
        starts: vec![0],
        ends: vec![4],
        steps: vec![1],
    });
    let half = net.graph.push("half", half, &[back]).unwrap();
    let c = net.conv("c", half, 2, 1, 1);
    let out = net.done(c);
    // The first half of the shuffled channels are the first two columns; the others are unused.
    check(&out, &[("a", 2), ("a#2", 2)]);
}

/// The groups that may be emptied must be exactly the expected ones. Emptying all of them must
/// leave `nodes` nodes, and a well-formed masked original.
fn check_removal(graph: &Graph, expected: &[&str], nodes: usize) {
    let analysis = analyse(graph).unwrap();
    let removable = |g: &usize| analysis.removal(GroupId(*g)).is_some();
    let groups = analysis.groups();
    let found: Vec<_> = (0..groups.len()).filter(removable).collect();
    let names: Vec<_> = found.iter().map(|&g| groups[g].name.as_str()).collect();
    assert_eq!(names, expected);
    let mut plan = PrunePlan::full(&analysis);
    found.iter().for_each(|&g| plan.keep[g].clear());
    let pruned = apply(graph, &cut(graph, &analysis, &plan).unwrap()).unwrap();
    pruned.check().unwrap();
    let left: Vec<_> = pruned.nodes().iter().map(|n| n.name.as_str()).collect();
    assert_eq!(left.len(), nodes, "{left:?}");
    mask(graph, &analysis, &plan).unwrap();
    for g in (0..groups.len()).filter(|g| !removable(g)) {
        let mut plan = PrunePlan::full(&analysis);
        plan.keep[g].clear();
        let refused = cut(graph, &analysis, &plan);
        assert!(matches!(refused, Err(ChannelError::EmptyGroup { .. })));
    }
}

#[test]
fn emptying_the_inside_of_a_residual_branch_removes_the_branch() {
    let (mut net, x) = Net::new(3, 8);
    let trunk = net.conv("trunk", x, 4, 3, 1);
    let trunk = net.relu(trunk);
    let mut y = trunk;
    for block in ["a", "b"] {
        let inner = net.conv(&format!("{block}1"), y, 6, 3, 1);
        let inner = net.relu(inner);
        let branch = net.conv(&format!("{block}2"), inner, 4, 3, 1);
        let sum = net.graph.push("add", Op::Add(Add), &[branch, y]).unwrap();
        y = net.relu(sum);
    }
    let out = net.conv("out", y, 2, 1, 1);
    // The trunk, its Relu and the output: the Relus behind the additions have no effect.
    check_removal(&net.done(out), &["a1", "b1"], 3);
}

#[test]
fn emptying_any_group_inside_a_bottleneck_with_a_gate_removes_the_branch() {
    let (mut net, x) = Net::new(3, 8);
    let trunk = net.conv("trunk", x, 4, 3, 1);
    let a = net.conv("a", trunk, 8, 1, 1);
    let dw = net.conv("dw", a, 8, 3, 8);
    let squeeze = net.conv("squeeze", dw, 2, 1, 1);
    let gate = net.conv("gate", squeeze, 8, 1, 1);
    let gated = net.graph.push("mul", Op::Mul(Mul), &[dw, gate]).unwrap();
    let b = net.conv("b", gated, 6, 3, 1);
    let c = net.conv("c", b, 4, 1, 1);
    let sum = net.graph.push("add", Op::Add(Add), &[trunk, c]).unwrap();
    let out = net.conv("out", sum, 2, 1, 1);
    // Without its squeeze the gate would be a constant that still scales live channels, so that
    // group stays.
    check_removal(&net.done(out), &["a", "b"], 2);
}

#[test]
fn a_branch_that_is_concatenated_multiplied_or_the_last_must_stay() {
    let (mut net, x) = Net::new(3, 8);
    let a = net.conv("a", x, 4, 3, 1);
    let b = net.conv("b", x, 4, 3, 1);
    let op = Op::Concat(Concat { axis: 1 });
    let both = net.graph.push("concat", op, &[a, b]).unwrap();
    let c = net.conv("c", both, 4, 1, 1);
    let d = net.conv("d", c, 4, 1, 1);
    let scaled = net.graph.push("mul", Op::Mul(Mul), &[c, d]).unwrap();
    let left = net.conv("left", scaled, 5, 1, 1);
    let left = net.conv("left_out", left, 3, 1, 1);
    let right = net.conv("right", scaled, 5, 1, 1);
    let right = net.conv("right_out", right, 3, 1, 1);
    let sum = net.graph.push("add", Op::Add(Add), &[left, right]);
    let out = net.conv("out", sum.unwrap(), 2, 1, 1);
    // One of the two branches of the addition may be removed, not both.
    check_removal(&net.done(out), &["left"], 9);
}

#[test]
fn importance_ranks_by_magnitude_of_all_coupled_weights() {
    let (mut net, x) = Net::new(1, 4);
    let a = net.conv("a", x, 3, 1, 1);
    let b = net.conv("b", a, 2, 1, 1);
    let mut graph = net.done(b);
    let (aw, bw) = (
        graph.find_value("a.w").unwrap(),
        graph.find_value("b.w").unwrap(),
    );
    graph
        .set_constant(aw, Tensor::f32([3, 1, 1, 1], vec![1.0, 1.0, 3.0]).unwrap())
        .unwrap();
    graph
        .set_constant(
            bw,
            Tensor::f32([2, 3, 1, 1], vec![1.0, 2.0, 1.0, 1.0, 2.0, 1.0]).unwrap(),
        )
        .unwrap();
    let analysis = analyse(&graph).unwrap();
    assert_eq!(importance_order(&graph, &analysis), [[2, 1, 0]]);
}
