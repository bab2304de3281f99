//! Calls of a model's own functions.

use super::*;

const DOMAIN: &str = "net";

/// A function at opset 17.
fn function(
    name: &str,
    inputs: &[&str],
    outputs: &[&str],
    node: Vec<NodeProto>,
    defaults: &[AttributeProto],
) -> FunctionProto {
    let owned = |names: &[&str]| names.iter().map(|&n| n.to_owned()).collect();
    FunctionProto {
        name: name.into(),
        domain: DOMAIN.into(),
        input: owned(inputs),
        output: owned(outputs),
        node,
        opset_import: vec![import("", 17), import(DOMAIN, 1)],
        attribute_proto: defaults.to_vec(),
        ..FunctionProto::default()
    }
}

fn import(domain: &str, version: i64) -> OperatorSetId {
    OperatorSetId {
        domain: domain.into(),
        version,
    }
}

fn call(name: &str, inputs: &[&str], output: &str, attribute: &[AttributeProto]) -> NodeProto {
    NodeProto {
        domain: DOMAIN.into(),
        ..node(name, inputs, output, attribute)
    }
}

fn named(node: NodeProto, name: &str) -> NodeProto {
    let name = name.into();
    NodeProto { name, ..node }
}

fn refers(name: &str, to: &str, kind: i32) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        ref_attr_name: to.into(),
        r#type: kind,
        ..AttributeProto::default()
    }
}

fn relu(input: &str, output: &str) -> NodeProto {
    node("Relu", &[input], output, &[])
}

fn with(nodes: Vec<NodeProto>, functions: Vec<FunctionProto>) -> ModelProto {
    let mut model = model(17, &["N", "3", "4", "4"], nodes, vec![f32s("w", &[1])]);
    model.opset_import.push(import(DOMAIN, 1));
    model.functions = functions.iter().map(Message::encode_to_vec).collect();
    model
}

/// Reads a model, which must have no calls left, and compares its nodes as "name:
/// operator(inputs) outputs".
#[track_caller]
fn check(model: &ModelProto, expected: &[&str]) -> Graph {
    let graph = settled(model);
    let value = |v: &Option<crate::ValueId>| {
        v.map_or_else(|| "-".to_owned(), |v| graph.value(v).name.clone())
    };
    let list = |ids: &[Option<crate::ValueId>]| {
        let names: Vec<String> = ids.iter().map(value).collect();
        names.join(" ")
    };
    let nodes = graph.nodes().iter().map(|n| {
        let (inputs, outputs) = (list(&n.inputs), list(&n.outputs));
        format!("{}: {}({inputs}) {outputs}", n.name, n.op.name())
    });
    assert_eq!(nodes.collect::<Vec<_>>(), expected);
    graph
}

#[track_caller]
fn refused(model: &ModelProto, function: &str, word: &str) {
    match load(model) {
        Err(GraphError::Function {
            function: named,
            reason,
            ..
        }) => {
            assert_eq!(named, format!("{DOMAIN}::{function}"));
            assert!(reason.contains(word), "'{reason}' does not say '{word}'");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_call_becomes_the_body_with_the_names_of_the_caller() {
    let body = vec![
        named(relu("a", "t"), "first"),
        node("Tanh", &["t"], "b", &[]),
    ];
    let model = with(
        vec![
            named(call("F", &["x"], "m", &[]), "one"),
            named(call("F", &["m"], "y", &[]), "two"),
        ],
        vec![function("F", &["a"], &["b"], body, &[])],
    );
    let graph = check(
        &model,
        &[
            "one/first: Relu(x) one/t",
            "one/Tanh_b: Tanh(one/t) m",
            "two/first: Relu(m) two/t",
            "two/Tanh_b: Tanh(two/t) y",
        ],
    );
    assert!(graph.functions.is_empty() && graph.imports.is_empty());
}

#[test]
fn names_in_use_are_not_reused() {
    let body = vec![relu("a", "t"), node("Tanh", &["t"], "b", &[])];
    let model = with(
        vec![
            node("Exp", &["x"], "f/t", &[]),
            named(call("F", &["f/t"], "y", &[]), "f"),
        ],
        vec![function("F", &["a"], &["b"], body, &[])],
    );
    check(
        &model,
        &[
            "Exp_f/t: Exp(x) f/t",
            "f/Relu_t: Relu(f/t) f/t_1",
            "f/Tanh_b: Tanh(f/t_1) y",
        ],
    );
}

#[test]
fn attributes_come_from_the_caller_or_the_defaults_or_are_omitted() {
    let leaky = |given: &[AttributeProto], default: &[AttributeProto]| {
        let alpha = refers("alpha", "slope", 1);
        let body = vec![node("LeakyRelu", &["a"], "b", &[alpha])];
        with(
            vec![call("F", &["x"], "y", given)],
            vec![function("F", &["a"], &["b"], body, default)],
        )
    };
    let (given, default) = ([float("slope", 0.3)], [float("slope", 0.2)]);
    for (model, alpha) in [
        (leaky(&given, &default), 0.3),
        (leaky(&[], &default), 0.2),
        (leaky(&given, &[]), 0.3),
        (leaky(&[], &[]), 0.01),
    ] {
        let graph = settled(&model);
        let expected = Op::from(ops::LeakyRelu { alpha });
        assert_eq!(graph.nodes()[0].op, expected);
    }
    refused(&leaky(&[int("slope", 1)], &[]), "F", "of another type");
}

#[test]
fn nested_calls_are_inlined_with_their_attributes() {
    let inner = vec![node(
        "LeakyRelu",
        &["a"],
        "b",
        &[refers("alpha", "slope", 1)],
    )];
    let outer = vec![
        named(
            call("Inner", &["p"], "t", &[refers("slope", "steep", 1)]),
            "in",
        ),
        node("Add", &["t", "p"], "q", &[]),
    ];
    let model = with(
        vec![named(
            call("Outer", &["x"], "y", &[float("steep", 0.5)]),
            "out",
        )],
        vec![
            function("Outer", &["p"], &["q"], outer, &[]),
            function("Inner", &["a"], &["b"], inner, &[float("slope", 0.1)]),
        ],
    );
    let graph = check(
        &model,
        &[
            "out/in/LeakyRelu_b: LeakyRelu(x) out/t",
            "out/Add_q: Add(out/t x) y",
        ],
    );
    assert_eq!(graph.nodes()[0].op, ops::LeakyRelu { alpha: 0.5 }.into());
}

#[test]
fn omitted_inputs_and_outputs_are_omitted_in_the_body() {
    let body = vec![
        node("Clip", &["a", "low", "high"], "b", &[]),
        relu("a", "unused"),
    ];
    let model = with(
        vec![named(call("F", &["x", "", "w"], "y", &[]), "f")],
        vec![function(
            "F",
            &["a", "low", "high", "more"],
            &["b", "unused"],
            body,
            &[],
        )],
    );
    let graph = check(&model, &["f/Clip_b: Clip(x) y"]);
    let (min, max) = (None, Some(1.0));
    assert_eq!(graph.nodes()[0].op, ops::Clip { min, max }.into());
}

#[test]
fn an_output_that_is_an_input_or_another_output_is_copied() {
    let model = with(
        vec![
            named(call("F", &["x"], "p q r", &[]), "f"),
            node("Sum", &["p", "q", "r"], "y", &[]),
        ],
        vec![function(
            "F",
            &["a"],
            &["a", "b", "b"],
            vec![relu("a", "b")],
            &[],
        )],
    );
    check(
        &model,
        &[
            "f/Relu_b: Relu(x) q",
            "f/a: Identity(x) p",
            "f/b: Identity(q) r",
            "Sum_y_1_Add: Add(p q) Sum_y_1",
            "Sum_y: Add(Sum_y_1 r) y",
        ],
    );
}

#[test]
fn overloads_are_functions_of_their_own() {
    let overload = |word: &str, op: &str| FunctionProto {
        overload: word.into(),
        ..function("F", &["a"], &["b"], vec![node(op, &["a"], "b", &[])], &[])
    };
    let called = NodeProto {
        overload: "two".into(),
        ..named(call("F", &["x"], "y", &[]), "f")
    };
    let functions = vec![
        overload("", "Exp"),
        overload("one", "Relu"),
        overload("two", "Tanh"),
    ];
    check(&with(vec![called], functions), &["f/Tanh_b: Tanh(x) y"]);
}

#[test]
fn a_body_is_read_at_the_operator_set_that_its_function_imports() {
    let at = |version: i64, body: NodeProto| {
        let f = FunctionProto {
            opset_import: vec![import("ai.onnx", version)],
            ..function("F", &["a"], &["b"], vec![body], &[])
        };
        with(vec![named(call("F", &["x"], "y", &[]), "f")], vec![f])
    };
    let bounds = [float("min", 0.0), float("max", 6.0)];
    let graph = check(
        &at(6, node("Clip", &["a"], "b", &bounds)),
        &["f/Clip_b: Clip(x) y"],
    );
    let (min, max) = (Some(0.0), Some(6.0));
    assert_eq!(graph.nodes()[0].op, ops::Clip { min, max }.into());
    // Opaque, and unchanged since opset 6.
    check(
        &at(13, node("Abs", &["a"], "b", &[])),
        &["f/Abs_b: Abs(x) y"],
    );
    check(
        &at(20, node("Abs", &["a"], "b", &[])),
        &["f/Abs_b: Abs(x) y"],
    );
    let error = load(&at(10, node("Softmax", &["a"], "b", &[]))).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("f/Softmax_b") && text.contains("operator set 10"),
        "{text}"
    );
    // A graph of calls need not import ONNX's operators itself.
    let mut calls_only = at(17, relu("a", "b"));
    calls_only.opset_import.remove(0);
    assert_eq!(settled(&calls_only).opset, 17);
}

#[test]
fn domains_that_bodies_use_are_imported_by_the_model() {
    let whirl = |version: i64, name: &str| FunctionProto {
        opset_import: vec![import("", 17), import("other", version)],
        ..function(
            name,
            &["a"],
            &["b"],
            vec![NodeProto {
                domain: "other".into(),
                ..node("Whirl", &["a"], "b", &[])
            }],
            &[],
        )
    };
    let nodes = vec![call("F", &["x"], "m", &[]), call("G", &["m"], "y", &[])];
    let graph = settled(&with(nodes.clone(), vec![whirl(2, "F"), whirl(2, "G")]));
    assert_eq!(graph.imports, [("other".to_owned(), 2)]);
    refused(
        &with(nodes, vec![whirl(2, "F"), whirl(3, "G")]),
        "G",
        "version 3",
    );
}

#[test]
fn a_function_with_a_subgraph_stays_and_so_do_the_functions_it_calls() {
    let branch = GraphProto {
        node: vec![call("Deep", &["a"], "z", &[])],
        ..GraphProto::default()
    };
    let then = AttributeProto {
        name: "then_branch".into(),
        g: Some(branch.encode_to_vec()),
        r#type: 5,
        ..AttributeProto::default()
    };
    let choose = FunctionProto {
        overload: "twisted".into(),
        ..function(
            "Choose",
            &["a"],
            &["b"],
            vec![node("If", &["a"], "b", &[then])],
            &[],
        )
    };
    let outer = NodeProto {
        overload: "twisted".into(),
        ..call("Choose", &["p"], "q", &[])
    };
    let identity = |name: &str| function(name, &["a"], &["z"], vec![relu("a", "z")], &[]);
    let functions = vec![
        identity("Unused"),
        choose,
        identity("Deep"),
        function("Outer", &["p"], &["q"], vec![outer], &[]),
    ];
    let model = with(
        vec![named(call("Outer", &["x"], "y", &[]), "out")],
        functions,
    );
    let graph = load(&model).unwrap();
    let [node] = graph.nodes() else {
        panic!("{:?}", graph.nodes())
    };
    assert!(
        matches!(&node.op, Op::Opaque(op) if op.op_type == "Choose" && op.overload == "twisted"),
        "{node:?}"
    );
    assert_eq!(
        graph.functions,
        [model.functions[1].clone(), model.functions[2].clone()]
    );
    assert_eq!(graph.imports, [(DOMAIN.to_owned(), 1)]);
    let back = ModelProto::decode(write(&graph).unwrap().as_slice()).unwrap();
    assert_eq!(back.functions, graph.functions);
    assert_eq!(back.graph.unwrap().node[0].overload, "twisted");
}

#[test]
fn recursive_calls_are_rejected() {
    let calls = |name: &str, to: &str| {
        function(name, &["a"], &["b"], vec![call(to, &["a"], "b", &[])], &[])
    };
    let start = || vec![call("A", &["x"], "y", &[])];
    refused(&with(start(), vec![calls("A", "A")]), "A", "calls itself");
    let circle = vec![calls("A", "B"), calls("B", "C"), calls("C", "B")];
    refused(&with(start(), circle), "B", "calls itself");
    let chain = (0..100).map(|i| calls(&format!("A{i}"), &format!("A{}", i + 1)));
    let deep = with(vec![call("A0", &["x"], "y", &[])], chain.collect());
    refused(&deep, "A64", "too deep");
}

#[test]
fn calls_that_expand_exponentially_are_rejected() {
    let doubles = |i: usize| {
        let next = format!("D{}", i + 1);
        let body = vec![call(&next, &["a"], "t", &[]), call(&next, &["t"], "b", &[])];
        function(&format!("D{i}"), &["a"], &["b"], body, &[])
    };
    let mut functions: Vec<_> = (0..40).map(doubles).collect();
    functions.push(function("D40", &["a"], &["b"], vec![relu("a", "b")], &[]));
    let bomb = with(vec![call("D0", &["x"], "y", &[])], functions);
    refused(&bomb, "D40", "too much");
    let long = "n".repeat(1 << 16);
    let many = (0..1 << 13).map(|i| relu("a", &format!("t{i}")));
    let wide = function("F", &["a"], &["t0"], many.collect(), &[]);
    let wide = with(vec![named(call("F", &["x"], "y", &[]), &long)], vec![wide]);
    refused(&wide, "F", "too much");
}

#[test]
fn calls_that_do_not_fit_their_function_are_rejected() {
    let f = |inputs: &[&str], outputs: &[&str], body: Vec<NodeProto>| {
        vec![function("F", inputs, outputs, body, &[])]
    };
    let one = |inputs: &[&str], output: &str| vec![call("F", inputs, output, &[])];
    let plain = || f(&["a"], &["b"], vec![relu("a", "b")]);
    let cases = [
        (one(&["x", "x"], "y"), plain(), "1 inputs, and 2"),
        (one(&["x"], "y z"), plain(), "1 outputs, and 2"),
        (
            one(&["x"], "y"),
            f(&["a"], &["b"], vec![relu("x", "b")]),
            "reads 'x'",
        ),
        (
            one(&["x"], "y"),
            f(&["a"], &["c"], vec![relu("a", "b")]),
            "output 'c'",
        ),
        (
            one(&["x"], "y"),
            f(&["a"], &["a"], vec![relu("a", "a")]),
            "'a' is produced twice",
        ),
        (
            one(&["x"], "y"),
            f(&["a", "a"], &["a"], vec![]),
            "'a' is produced twice",
        ),
        (
            one(&["x"], "y"),
            f(&["a", "b"], &["b"], vec![]),
            "an input that is left out",
        ),
    ];
    for (nodes, functions, word) in cases {
        refused(&with(nodes, functions), "F", word);
    }
    let twice = with(one(&["x"], "y"), [plain(), plain()].concat());
    let mut broken = with(one(&["x"], "y"), plain());
    broken.functions[0] = b"hello".to_vec();
    for (model, word) in [(twice, "defined twice"), (broken, "function 0")] {
        let text = load(&model).unwrap_err().to_string();
        assert!(text.contains(word), "'{text}' does not say '{word}'");
    }
}

#[test]
fn a_function_takes_precedence_over_an_operator_of_its_name() {
    let relu = FunctionProto {
        domain: "ai.onnx".into(),
        ..function(
            "Relu",
            &["a"],
            &["b"],
            vec![node("Tanh", &["a"], "b", &[])],
            &[],
        )
    };
    let model = with(vec![named(node("Relu", &["x"], "y", &[]), "f")], vec![relu]);
    check(&model, &["f/Tanh_b: Tanh(x) y"]);
}

#[test]
fn stated_types_behind_an_unknown_operator_are_written_back() {
    let whirl = NodeProto {
        domain: "other".into(),
        ..node("Whirl", &["x"], "a", &[])
    };
    let nodes = vec![whirl, relu("a", "b"), node("Conv", &["b", "k"], "y", &[])];
    let mut model = model(
        17,
        &["N", "3", "4", "4"],
        nodes,
        vec![f32s("k", &[2, 5, 1, 1])],
    );
    let stated = value("b", &["N", "5", "4", "4"]);
    model.graph.as_mut().unwrap().value_info.push(stated);
    let graph = settled(&model);
    let batch = crate::Dim::Symbol("N".into());
    assert_eq!(
        graph.value(graph.outputs()[0]).shape.as_ref().unwrap()[0],
        batch
    );
}
