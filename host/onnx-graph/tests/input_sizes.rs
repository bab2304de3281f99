//! Sizes given for open inputs: their effect, and their conflicts with the model.

use onnx_graph::cost::costs;
use onnx_graph::ops::{Conv, Mul};
use onnx_graph::{DType, Dim, Graph, InputSize, NoExternalData, Tensor, read_sized, write};

/// An image `[N, 3, H, W]` through a convolution, times a mask `[H, W]`.
fn open() -> Vec<u8> {
    let symbol = |s: &str| Dim::Symbol(s.into());
    let mut graph = Graph::new("g", 17);
    let image = vec![symbol("N"), Dim::Known(3), symbol("H"), symbol("W")];
    let x = graph.add_input("x", DType::F32, image);
    let mask = graph.add_input("mask", DType::F32, vec![symbol("H"), symbol("W")]);
    let w = Tensor::f32([5, 3, 3, 3], vec![1.0; 135]).unwrap();
    let w = graph.add_constant("w", w);
    let conv = Conv {
        kernel: vec![3, 3],
        strides: vec![1, 1],
        pads: vec![1; 4],
        dilations: vec![1, 1],
        group: 1,
    };
    let y = graph.push("conv", conv.into(), &[x, w]).unwrap();
    let y = graph.push("masked", Mul.into(), &[y, mask]).unwrap();
    graph.add_output(y);
    write(&graph).unwrap()
}

fn sized(sizes: &[&str]) -> Result<Graph, String> {
    let sizes: Vec<InputSize> = sizes.iter().map(|s| s.parse().unwrap()).collect();
    let mut graph = read_sized(open(), &NoExternalData, &sizes).map_err(|e| e.to_string())?;
    graph.infer_shapes().map_err(|e| e.to_string())?;
    Ok(graph)
}

#[test]
fn a_size_fixes_all_of_its_name_and_leaves_the_batch_open() {
    let graph = sized(&["x=1x3x6x4"]).unwrap();
    let shape = |name: &str| {
        let value = graph.find_value(name).unwrap();
        let shape = graph.value(value).shape.as_ref().unwrap();
        shape
            .iter()
            .map(Dim::to_string)
            .collect::<Vec<_>>()
            .join("x")
    };
    assert_eq!(
        (shape("x"), shape("mask")),
        ("Nx3x6x4".into(), "6x4".into())
    );
    assert!(graph.open_inputs().is_empty());
    assert_eq!(costs(&graph).macs, 6 * 4 * 135);
    assert!(costs(&graph).uncounted.is_empty());
    let batched = sized(&["x=2x3x6x4", "mask=6x4"]).unwrap();
    assert_eq!(batched.images(), 2);
    assert_eq!(costs(&batched).macs, 6 * 4 * 135);
}

#[test]
fn without_a_size_nothing_is_counted() {
    let graph = sized(&[]).unwrap();
    let open: Vec<&str> = graph
        .open_inputs()
        .into_iter()
        .map(|id| graph.value(id).name.as_str())
        .collect();
    assert_eq!(open, ["x", "mask"]);
    assert_eq!(costs(&graph).uncounted.len(), 1);
}

#[test]
fn a_size_that_the_model_contradicts_is_an_error_that_names_both() {
    for (sizes, expected) in [
        (&["1x3x6x4"][..], "names no input"),
        (
            &["x=1x1x6x4"],
            "1 at axis 1; the model fixes input 'x' to 3",
        ),
        (&["x=3x6x4"], "has 3 axes; input 'x' of the model has 4"),
        (&["y=1x3x6x4"], "for 'y'"),
    ] {
        let error = sized(sizes).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}
