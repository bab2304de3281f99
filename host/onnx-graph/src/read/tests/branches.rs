//! If nodes: with a constant condition they are replaced by the branch that is taken.

use super::*;
use crate::cost::costs;

/// A branch: its nodes, its constants and what it returns.
#[derive(Clone, Default)]
struct Branch {
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
    outputs: Vec<&'static str>,
}

fn branch(nodes: Vec<NodeProto>, output: &'static str) -> Branch {
    Branch {
        nodes,
        outputs: vec![output],
        ..Branch::default()
    }
}

/// Negates `x`.
fn other() -> Branch {
    branch(vec![node("Neg", &["x"], "a", &[])], "a")
}

/// An If with the outputs `outputs`, a list with spaces.
fn choose(condition: &str, outputs: &str, then: Branch, other: Branch) -> NodeProto {
    let attribute = |name: &str, branch: Branch| {
        let outputs = branch.outputs.iter();
        let graph = GraphProto {
            node: branch.nodes,
            initializer: branch.constants,
            output: outputs.map(|output| value(output, &[])).collect(),
            ..GraphProto::default()
        };
        AttributeProto {
            name: name.into(),
            g: Some(graph.encode_to_vec()),
            r#type: 5,
            ..AttributeProto::default()
        }
    };
    let branches = [
        attribute("then_branch", then),
        attribute("else_branch", other),
    ];
    node("If", &[condition], outputs, &branches)
}

fn flag(name: &str, v: bool) -> TensorProto {
    TensorProto {
        data_type: 9,
        int32_data: vec![i32::from(v)],
        name: name.into(),
        ..TensorProto::default()
    }
}

fn image(nodes: Vec<NodeProto>, constants: Vec<TensorProto>) -> ModelProto {
    model(17, &["N", "4"], nodes, constants)
}

/// The nodes, each as "operator(inputs) outputs".
fn text(graph: &Graph) -> Vec<String> {
    let list = |ids: &[Option<crate::ValueId>]| {
        let names = ids.iter();
        let names = names.map(|id| id.map_or("", |id| &*graph.value(id).name));
        names.collect::<Vec<_>>().join(", ")
    };
    let nodes = graph.nodes().iter();
    let nodes = nodes.map(|n| format!("{}({}) {}", n.op.name(), list(&n.inputs), list(&n.outputs)));
    nodes.collect()
}

#[track_caller]
fn check(nodes: Vec<NodeProto>, constants: Vec<TensorProto>, expected: &[&str]) {
    assert_eq!(text(&settled(&image(nodes, constants))), expected);
}

#[test]
fn a_constant_condition_takes_a_branch_that_reads_outer_values() {
    for (condition, expected) in [
        (true, ["Relu(x) r", "Identity(r) y"]),
        (false, ["Relu(x) r", "Neg(r) y"]),
    ] {
        let yes = branch(vec![node("Identity", &["r"], "a", &[])], "a");
        let no = branch(vec![node("Neg", &["r"], "a", &[])], "a");
        // The If comes before the value that its branches read.
        let nodes = vec![choose("c", "y", yes, no), node("Relu", &["x"], "r", &[])];
        check(nodes, vec![flag("c", condition)], &expected);
    }
}

#[test]
fn a_condition_on_a_known_size_is_constant() {
    // What PyTorch writes for `squeeze(1)`.
    let squeeze = branch(vec![node("Squeeze", &["u", "axis"], "a", &[])], "a");
    let keep = branch(vec![node("Identity", &["u"], "a", &[])], "a");
    for (axis, expected) in [
        (1, ["Unsqueeze(x) u", "Squeeze(u) y"]),
        (2, ["Unsqueeze(x) u", "Identity(u) y"]),
    ] {
        let nodes = vec![
            node("Unsqueeze", &["x", "one"], "u", &[]),
            node("Shape", &["u"], "sizes", &[]),
            node("Gather", &["sizes", "axis"], "size", &[]),
            node("Equal", &["size", "one"], "c", &[]),
            choose("c", "y", squeeze.clone(), keep.clone()),
        ];
        let constants = vec![i64s("one", &[1]), i64s("axis", &[axis])];
        check(nodes, constants, &expected);
    }
}

#[test]
fn local_response_normalisation_is_read() {
    // A mean over neighbouring channels, as PyTorch writes it: an axis is added, and taken away
    // by an If on its size.
    let pool = [
        ints("kernel_shape", &[3, 1, 1]),
        ints("strides", &[1, 1, 1]),
    ];
    let squeeze = vec![
        node("Constant", &[], "axis", &[ints("value_ints", &[1])]),
        node("Squeeze", &["mean", "axis"], "s", &[]),
    ];
    let keep = vec![node("Identity", &["mean"], "k", &[])];
    let nodes = vec![
        node("Mul", &["x", "x"], "square", &[]),
        node("Unsqueeze", &["square", "one"], "u", &[]),
        node("Pad", &["u", "pads"], "padded", &[]),
        node("AveragePool", &["padded"], "mean", &pool),
        node("Shape", &["mean"], "sizes", &[]),
        node("Gather", &["sizes", "one"], "size", &[]),
        node("Equal", &["size", "one"], "c", &[]),
        choose("c", "z", branch(squeeze, "s"), branch(keep, "k")),
        node("Div", &["x", "z"], "y", &[]),
    ];
    let constants = vec![
        i64s("one", &[1]),
        i64s("pads", &[0, 0, 1, 0, 0, 0, 0, 1, 0, 0]),
    ];
    let graph = settled(&model(17, &["N", "6", "8", "8"], nodes, constants));
    let output = graph.value(graph.outputs()[0]);
    let sizes: Vec<_> = output.shape.iter().flatten().map(Dim::known).collect();
    assert_eq!(sizes, [None, Some(6), Some(8), Some(8)]);
    assert!(costs(&graph).unsized_nodes.is_empty());
    assert!(graph.nodes().iter().all(|n| n.op.name() != "If"));
}

#[test]
fn branches_nest_and_may_use_equal_names() {
    // Two branches define an `a`. An inner branch reads the `a` of the branch around it.
    let inner = branch(vec![node("Relu", &["a"], "b", &[])], "b");
    let outer = vec![
        node("Sigmoid", &["x"], "a", &[]),
        choose("c", "i", inner, other()),
    ];
    let second = vec![
        node("Tanh", &["p"], "a", &[]),
        choose(
            "c",
            "i",
            branch(vec![node("Exp", &["a"], "b", &[])], "b"),
            other(),
        ),
    ];
    let nodes = vec![
        choose("c", "p", branch(outer, "i"), other()),
        choose("c", "y", branch(second, "i"), other()),
    ];
    let expected = ["Sigmoid(x) a", "Relu(a) p", "Tanh(p) a_1", "Exp(a_1) y"];
    check(nodes, vec![flag("c", true)], &expected);
}

#[test]
fn a_later_value_keeps_its_name() {
    let nodes = vec![
        choose(
            "c",
            "p",
            branch(
                vec![
                    node("Relu", &["x"], "late", &[]),
                    node("Neg", &["late"], "a", &[]),
                ],
                "a",
            ),
            other(),
        ),
        node("Tanh", &["p"], "late", &[]),
        node("Exp", &["late"], "y", &[]),
    ];
    let expected = [
        "Relu(x) late_1",
        "Neg(late_1) p",
        "Tanh(p) late",
        "Exp(late) y",
    ];
    check(nodes, vec![flag("c", true)], &expected);
}

#[test]
fn a_branch_may_return_an_outer_value_or_a_constant_or_one_value_twice() {
    let flag = || flag("c", true);
    let nodes = vec![
        node("Relu", &["x"], "r", &[]),
        choose("c", "p", branch(vec![], "r"), other()),
        node("Neg", &["p"], "y", &[]),
    ];
    check(
        nodes,
        vec![flag()],
        &["Relu(x) r", "Identity(r) p", "Neg(p) y"],
    );

    let constant = Branch {
        constants: vec![f32s("k", &[4])],
        outputs: vec!["k"],
        ..Branch::default()
    };
    let nodes = vec![
        choose("c", "p", constant, other()),
        node("Add", &["x", "p"], "y", &[]),
    ];
    check(nodes, vec![flag()], &["Add(x, k) y"]);

    let twice = Branch {
        nodes: vec![node("Relu", &["x"], "a", &[])],
        outputs: vec!["a", "a"],
        ..Branch::default()
    };
    let nodes = vec![
        choose("c", "p q", twice, other()),
        node("Add", &["p", "q"], "y", &[]),
    ];
    check(
        nodes,
        vec![flag()],
        &["Relu(x) p", "Identity(p) q", "Add(p, q) y"],
    );
}

#[test]
fn constants_that_only_a_branch_reads_are_there_for_it() {
    // The branch is the last reader of `two`, a computed constant.
    let sum = branch(vec![node("Add", &["x", "two"], "a", &[])], "a");
    let nodes = vec![
        node("Neg", &["one"], "two", &[]),
        node("Neg", &["two"], "unused", &[]),
        choose("c", "y", sum, other()),
    ];
    let constants = vec![flag("c", true), f32s("one", &[4])];
    check(nodes, constants, &["Add(x, two) y"]);
}

#[test]
fn integers_with_scales_are_read_in_branches() {
    let inputs = ["q", "s", "z", "q", "s", "z", "s", "z"];
    let add = NodeProto {
        domain: "com.microsoft".into(),
        ..node("QLinearAdd", &inputs, "a", &[])
    };
    let nodes = vec![
        node("QuantizeLinear", &["x", "s", "z"], "q", &[]),
        choose("c", "p", branch(vec![add], "a"), other()),
        node("DequantizeLinear", &["p", "s", "z"], "y", &[]),
    ];
    let zero = TensorProto {
        data_type: 2,
        int32_data: vec![0],
        name: "z".into(),
        ..TensorProto::default()
    };
    let scale = TensorProto {
        dims: vec![],
        ..f32s("s", &[1])
    };
    let graph = settled(&image(nodes, vec![flag("c", true), scale, zero]));
    assert!(graph.nodes().iter().any(|n| matches!(n.op, Op::Add(_))));
}

#[test]
fn an_if_without_a_usable_branch_gives_an_error_that_names_it() {
    let reads = |name: &str| branch(vec![node("Neg", &[name], "a", &[])], "a");
    let cyclic = vec![node("Neg", &["b"], "a", &[]), node("Neg", &["a"], "b", &[])];
    let twice = vec![node("Neg", &["x"], "a", &[]), node("Neg", &["x"], "a", &[])];
    // The inner branch defines the name that the outer one's result gets.
    let shadow = vec![node("Exp", &["a"], "y", &[]), node("Neg", &["y"], "b", &[])];
    let shadowed = vec![
        node("Neg", &["x"], "a", &[]),
        choose("c", "i", branch(shadow, "b"), other()),
    ];
    let deep = (0..20).fold(other(), |inner, _| {
        branch(vec![choose("c", "i", inner, other())], "i")
    });
    let if_ = |then: Branch| vec![choose("c", "y", then, other())];
    let cases = [
        (if_(reads("nowhere")), "reads 'nowhere'"),
        (if_(reads("y")), "'If_y': it waits for itself"),
        (if_(branch(cyclic, "a")), "waits for itself"),
        (if_(branch(twice, "a")), "'y' is produced twice"),
        (if_(branch(shadowed, "a")), "'y' is produced twice"),
        (if_(branch(vec![], "nowhere")), "reads 'nowhere'"),
        (if_(Branch::default()), "'If_y': its branch has 0 outputs"),
        (if_(deep), "nest too deep"),
    ];
    for (nodes, words) in cases {
        let model = image(nodes, vec![flag("c", true)]);
        let error = load(&model).expect_err(words).to_string();
        assert!(error.contains(words), "'{error}' does not say '{words}'");
    }
}

#[test]
fn values_that_an_undecided_branch_reads_are_inputs_of_its_node() {
    let reads = |name: &str| branch(vec![node("Relu", &[name], "a", &[])], "a");
    let nodes = vec![
        node("Neg", &["x"], "outer", &[]),
        node("Identity", &["w"], "again", &[]),
        node("ReduceSum", &["x"], "sum", &[int("keepdims", 0)]),
        node("Cast", &["sum"], "data", &[int("to", 9)]),
        choose("data", "y", reads("outer"), reads("again")),
    ];
    let model = image(nodes, vec![f32s("w", &[2, 3])]);
    let graph = settled(&model);
    let chosen = graph.nodes().last().unwrap();
    let names: Vec<&str> = chosen
        .inputs
        .iter()
        .flatten()
        .map(|&v| graph.value(v).name.as_str())
        .collect();
    assert_eq!(names, ["data", "outer", "w"]);
    // The branch reads the constant under the name that it has now.
    let Op::Opaque(op) = &chosen.op else {
        panic!("an undecided If stays opaque");
    };
    assert_eq!(op.captured, ["outer", "w"]);
}
