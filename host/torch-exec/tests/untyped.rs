//! Operators without typed attributes compared with results computed by hand.

mod common;

use common::*;
use onnx_graph::ops::{Op, Opaque};
use onnx_graph::{Attribute, AttributeValue, DType, Dim, Graph};
use torch_exec::{Device, ExecError, NormMode, Params, Program};

fn op(op_type: &str, attributes: &[(&str, AttributeValue)]) -> Op {
    let attribute = |(name, value): &(&str, AttributeValue)| Attribute {
        name: (*name).into(),
        value: value.clone(),
    };
    Op::Opaque(Opaque {
        op_type: op_type.into(),
        attributes: attributes.iter().map(attribute).collect(),
        ..Opaque::default()
    })
}

fn int(v: i64) -> AttributeValue {
    AttributeValue::Int(v)
}

fn float(v: f32) -> AttributeValue {
    AttributeValue::Float(v)
}

fn ints(v: &[i64]) -> AttributeValue {
    AttributeValue::Ints(v.to_vec())
}

const ROW: &[usize] = &[1, 4];

#[test]
fn functions_of_elements_follow_onnx() {
    let x: Data = (ROW, &[-2., -0.5, 0.5, 3.]);
    let shrink = op("Shrink", &[("lambd", float(1.)), ("bias", float(0.5))]);
    check(shrink, &[x], (ROW, &[-1.5, 0., 0., 2.5]));
    let by: Data = (&[1], &[2.]);
    check(
        op("Greater", &[]),
        &[x, (&[1], &[0.])],
        (ROW, &[0., 0., 1., 1.]),
    );
    check(
        op("LessOrEqual", &[]),
        &[x, (&[1], &[0.5])],
        (ROW, &[1., 1., 1., 0.]),
    );
    // With the sign of the dividend, and with that of the divisor.
    check(
        op("Mod", &[("fmod", int(1))]),
        &[x, by],
        (ROW, &[0., -0.5, 0.5, 1.]),
    );
    check(op("Mod", &[]), &[x, by], (ROW, &[0., 1.5, 0.5, 1.]));
    check(
        op("Pow", &[]),
        &[(ROW, &[1., 2., 3., 4.]), by],
        (ROW, &[1., 4., 9., 16.]),
    );
    let to = |code| op("Cast", &[("to", int(code))]);
    check(
        to(7),
        &[(ROW, &[-1.7, -0.2, 0.9, 2.5])],
        (ROW, &[-1., 0., 0., 2.]),
    );
}

#[test]
fn operators_along_an_axis_follow_onnx() {
    let x: Data = (&[2, 3], &[1., 3., 2., 6., 4., 5.]);
    check(
        op("ArgMax", &[("axis", int(1))]),
        &[x],
        (&[2, 1], &[1., 0.]),
    );
    let flat = op("ArgMin", &[("axis", int(0)), ("keepdims", int(0))]);
    check(flat, &[x], (&[3], &[0., 0., 0.]));
    let last = op("ArgMax", &[("axis", int(1)), ("select_last_index", int(1))]);
    check(last, &[(&[1, 3], &[5., 5., 1.])], (&[1, 1], &[1.]));
    check(
        op("Hardmax", &[]),
        &[x],
        (&[2, 3], &[0., 1., 0., 1., 0., 0.]),
    );
    let axis: Data = (&[1], &[1.]);
    check(
        op("CumSum", &[]),
        &[x, axis],
        (&[2, 3], &[1., 4., 6., 6., 10., 15.]),
    );
    let back = op("CumSum", &[("exclusive", int(1)), ("reverse", int(1))]);
    check(back, &[x, axis], (&[2, 3], &[5., 2., 0., 9., 5., 0.]));
    let product = op("ReduceProd", &[("axes", ints(&[1])), ("keepdims", int(0))]);
    check(product, &[x], (&[2], &[6., 120.]));
    let log = op("ReduceLogSum", &[("axes", ints(&[-1]))]);
    check(
        log,
        &[(&[1, 2], &[1., 1.])],
        (&[1, 1], &[std::f32::consts::LN_2]),
    );
}

#[test]
fn normalisations_follow_onnx() {
    let channels: &[usize] = &[1, 3, 1, 1];
    let x: Data = (channels, &[1., 2., 4.]);
    // The sums over neighbours are 5, 21 and 20.
    let response = op(
        "LRN",
        &[("size", int(3)), ("alpha", float(3.)), ("beta", float(1.))],
    );
    check(response, &[x], (channels, &[1. / 6., 2. / 22., 4. / 21.]));
    let norm = op("LpNormalization", &[("axis", int(1)), ("p", int(1))]);
    check(norm, &[x], (channels, &[1. / 7., 2. / 7., 4. / 7.]));
    check(
        op("LpNormalization", &[]),
        &[(ROW, &[0.; 4])],
        (ROW, &[0.; 4]),
    );
    let mean = op("MeanVarianceNormalization", &[("axes", ints(&[1]))]);
    check(mean, &[(&[1, 2], &[1., 3.])], (&[1, 2], &[-1., 1.]));
    let root = op("RMSNormalization", &[("epsilon", float(0.))]);
    let scale: Data = (&[2], &[1., 10.]);
    check(root, &[(&[1, 2], &[1., 7.]), scale], (&[1, 2], &[0.2, 14.]));
}

#[test]
fn pools_and_moves_follow_onnx() {
    let x: Data = (&[1, 1, 2, 2], &[3., 4., 0., 0.]);
    check(op("GlobalLpPool", &[]), &[x], (&[1, 1, 1, 1], &[5.]));
    let window = op("LpPool", &[("kernel_shape", ints(&[1, 2])), ("p", int(2))]);
    check(window, &[x], (&[1, 1, 2, 1], &[5., 0.]));
    let repeats: Data = (&[2], &[1., 2.]);
    check(
        op("Tile", &[]),
        &[(&[1, 2], &[1., 2.]), repeats],
        (&[1, 4], &[1., 2., 1., 2.]),
    );
    let lower = op("Trilu", &[("upper", int(0))]);
    check(
        lower,
        &[(&[2, 2], &[1., 2., 3., 4.])],
        (&[2, 2], &[1., 0., 3., 4.]),
    );
}

#[test]
fn a_cast_to_elements_that_libtorch_rounds_in_another_way_is_refused() {
    let mut graph = Graph::new("cast", 17);
    let x = input(&mut graph, &[1, 4]);
    let y = graph
        .push("cast", op("Cast", &[("to", int(10))]), &[x])
        .unwrap();
    graph.add_output(y);
    assert!(matches!(
        Program::compile(&graph),
        Err(ExecError::Unsupported { node, .. }) if node == "cast"
    ));
}

#[test]
fn an_input_of_bytes_is_refused_by_name() {
    let mut graph = Graph::new("bytes", 17);
    let x = graph.add_input("x", DType::U8, vec![Dim::Known(4)]);
    let y = graph
        .push("cast", op("Cast", &[("to", int(1))]), &[x])
        .unwrap();
    graph.add_output(y);
    assert!(matches!(
        Program::compile(&graph),
        Err(ExecError::InputType { name, dtype: DType::U8 }) if name == "x"
    ));
}

#[test]
fn gradients_flow_through_the_norm_of_neighbours() {
    let mut graph = Graph::new("response", 17);
    let x = input(&mut graph, &[1, 2, 1, 1]);
    let response = op(
        "LRN",
        &[("size", int(1)), ("alpha", float(1.)), ("beta", float(1.))],
    );
    let y = graph.push("response", response, &[x]).unwrap();
    graph.add_output(y);
    let program = Program::compile(&graph).unwrap();
    let params = Params::from_graph(&graph, Device::Cpu).unwrap();
    let x = tensor(&[1, 2, 1, 1], &[2., 0.]).set_requires_grad(true);
    let y = program
        .forward(&x, &params, None, NormMode::Running)
        .unwrap();
    y.sum(torch_exec::Kind::Float).backward();
    // The derivative of x / (1 + x^2) is (1 - x^2) / (1 + x^2)^2.
    same(&x.grad(), &[1, 2, 1, 1], &[-3. / 25., 1.], "gradient");
}
