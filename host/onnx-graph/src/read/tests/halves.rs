//! Constants of 16-bit floats: cast to wider floats they become these, and stay as they are
//! elsewhere.

use super::*;
use crate::DType;

const FLOAT: i64 = 1;
const FLOAT16: i32 = 10;
const BFLOAT16: i32 = 16;

/// 1, 2, -2 and 0.5 in halves, or their upper halves in 32 bits.
fn half(code: i32) -> TensorProto {
    let bits: [u16; 4] = match code {
        FLOAT16 => [0x3c00, 0x4000, 0xc000, 0x3800],
        _ => [0x3f80, 0x4000, 0xc000, 0x3f00],
    };
    let bytes: Vec<u8> = bits.iter().flat_map(|b| b.to_le_bytes()).collect();
    TensorProto {
        dims: vec![4],
        data_type: code,
        raw_data: Some(bytes.into()),
        name: "w".into(),
        ..TensorProto::default()
    }
}

/// The same with an integer per element.
fn listed(tensor: &TensorProto) -> TensorProto {
    let bytes = tensor.raw_data.iter().flatten().copied();
    let bytes: Vec<u8> = bytes.collect();
    let pairs = bytes.as_chunks::<2>().0.iter();
    TensorProto {
        raw_data: None,
        int32_data: pairs.map(|&c| i32::from(u16::from_le_bytes(c))).collect(),
        ..tensor.clone()
    }
}

fn cast(input: &str, output: &str, to: i64) -> NodeProto {
    node("Cast", &[input], output, &[int("to", to)])
}

fn image(nodes: Vec<NodeProto>, constants: Vec<TensorProto>) -> ModelProto {
    model(17, &["N", "4"], nodes, constants)
}

#[test]
fn halves_that_are_cast_to_floats_are_read_as_floats() {
    let add = || node("Add", &["x", "f"], "y", &[]);
    let direct = || vec![cast("w", "f", FLOAT), add()];
    let renamed = vec![
        node("Identity", &["w"], "v", &[]),
        cast("v", "f", FLOAT),
        add(),
    ];
    let constant = AttributeProto {
        name: "value".into(),
        t: Some(half(FLOAT16)),
        r#type: 4,
        ..AttributeProto::default()
    };
    let constant = vec![
        node("Constant", &[], "w", &[constant]),
        cast("w", "f", FLOAT),
        add(),
    ];
    for (nodes, constants) in [
        (direct(), vec![half(FLOAT16)]),
        (direct(), vec![half(BFLOAT16)]),
        (direct(), vec![listed(&half(FLOAT16))]),
        (direct(), vec![listed(&half(BFLOAT16))]),
        (renamed, vec![half(FLOAT16)]),
        (constant, vec![]),
    ] {
        let graph = settled(&image(nodes, constants));
        let weights = graph.constants().values();
        let weights: Vec<_> = weights.filter_map(Tensor::as_f32).collect();
        assert_eq!(weights, [[1.0, 2.0, -2.0, 0.5]]);
        assert_eq!(graph.nodes().len(), 1);
    }
}

#[test]
fn halves_that_are_cast_to_other_types_keep_their_value() {
    let nodes = vec![
        cast("w", "d", 11),
        cast("d", "f", FLOAT),
        node("Add", &["x", "f"], "y", &[]),
    ];
    let graph = settled(&image(nodes, vec![half(FLOAT16)]));
    let weights = graph.constants().values().next().and_then(Tensor::as_f32);
    assert_eq!(weights, Some(&[1.0, 2.0, -2.0, 0.5][..]));
}

#[test]
fn networks_in_halves_keep_their_types_and_bits() {
    let typed = |mut info: ValueInfoProto| {
        let r#type = info.r#type.as_mut().and_then(|t| t.tensor_type.as_mut());
        r#type.unwrap().elem_type = FLOAT16;
        info
    };
    let mut whole = image(
        vec![
            node("Add", &["x", "w"], "s", &[]),
            node("Relu", &["s"], "y", &[]),
        ],
        vec![half(FLOAT16)],
    );
    let graph = whole.graph.as_mut().unwrap();
    graph.input = vec![typed(value("x", &["N", "4"]))];
    graph.output = vec![typed(value("y", &["N", "4"]))];
    let graph = settled(&whole);
    let weight = graph.constants().values().next().unwrap();
    assert_eq!(weight.dtype(), DType::F16);
    assert_eq!(weight.to_f32s().unwrap()[..], [1.0, 2.0, -2.0, 0.5]);
    let types = graph.values().iter().map(|value| value.dtype);
    assert!(types.into_iter().flatten().all(|dtype| dtype == DType::F16));
}

#[test]
fn malformed_halves_are_refused() {
    let of = |tensor: TensorProto| {
        let add = node("Add", &["x", "f"], "y", &[]);
        load(&image(vec![cast("w", "f", FLOAT), add], vec![tensor]))
    };
    let odd = TensorProto {
        raw_data: Some(vec![0; 7].into()),
        ..half(FLOAT16)
    };
    let wide = TensorProto {
        raw_data: None,
        int32_data: vec![1 << 16; 4],
        ..half(FLOAT16)
    };
    let short = TensorProto {
        dims: vec![5],
        ..half(FLOAT16)
    };
    for tensor in [odd, wide, short] {
        let error = of(tensor).unwrap_err().to_string();
        assert!(error.contains("tensor 'w'"), "{error}");
    }
}

#[test]
fn operators_that_are_read_as_others_get_no_constants_of_another_type() {
    let typed = |mut info: ValueInfoProto| {
        let r#type = info.r#type.as_mut().and_then(|t| t.tensor_type.as_mut());
        r#type.unwrap().elem_type = FLOAT16;
        info
    };
    let contributed = |mut node: NodeProto| {
        node.domain = "com.microsoft".into();
        node
    };
    for (joined, left) in [
        (node("Mean", &["x", "w", "x"], "y", &[]), "Mean"),
        (
            contributed(node("QuickGelu", &["x"], "y", &[])),
            "QuickGelu",
        ),
        (
            contributed(node("FastGelu", &["x", "w"], "y", &[])),
            "FastGelu",
        ),
    ] {
        let mut whole = image(vec![joined], vec![half(FLOAT16)]);
        let graph = whole.graph.as_mut().unwrap();
        graph.input = vec![typed(value("x", &["N", "4"]))];
        graph.output = vec![typed(value("y", &["N", "4"]))];
        let graph = load(&whole).unwrap();
        let names: Vec<&str> = graph.nodes().iter().map(|node| node.op.name()).collect();
        assert_eq!(names, [left]);
    }
}
