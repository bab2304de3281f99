//! Opening a fixed batch and fixing it again, and errors for nodes that prevent it.

use super::*;
use crate::value::Dim;

const BATCH: usize = 8;

fn fixed(nodes: Vec<NodeProto>, constants: Vec<TensorProto>) -> ModelProto {
    model(17, &["8", "4", "6", "6"], nodes, constants)
}

/// A constant whose images, along the first axis, are equal or count.
fn images(name: &str, dims: &[i64], equal: bool) -> TensorProto {
    let whole: i64 = dims.iter().product();
    let one = whole / dims[0];
    let value = |i: i64| if equal { (i % one) as f32 } else { i as f32 };
    TensorProto {
        float_data: (0..whole).map(value).collect(),
        ..f32s(name, dims)
    }
}

/// The batch must open, for any number of images, and close again to the shapes of the file.
#[track_caller]
fn check_opens(model: &ModelProto) -> Graph {
    let before = load(model).unwrap();
    let (open, batch) = before.clone().with_open_batch("N").unwrap();
    assert_eq!(batch, before.batch().and_then(Dim::known));
    let symbol = Dim::Symbol("N".into());
    assert_eq!(open.batch(), Some(&symbol));
    for &id in open.outputs() {
        assert_eq!(open.value(id).shape.as_ref().unwrap()[0], symbol);
    }
    // An open batch is written and read back.
    let back = read(&write(&open).unwrap(), &NoExternalData).unwrap();
    assert_eq!(back.batch(), Some(&symbol));
    for size in [1, 3, BATCH] {
        let closed = back.clone().with_batch(size).unwrap();
        let dims = |graph: &Graph| graph.dims(graph.outputs()[0]).unwrap();
        let mut expected = dims(&before);
        expected[0] = size;
        assert_eq!(dims(&closed), expected);
        let again = read(&write(&closed).unwrap(), &NoExternalData).unwrap();
        assert_eq!(again.batch(), Some(&Dim::Known(size)));
        assert_eq!(dims(&again), expected);
    }
    open
}

#[test]
fn reshapes_that_contain_the_batch_are_adapted() {
    for (first, second) in [
        (vec![8, -1], vec![8, 4, 36]),
        (vec![8, 144], vec![8, 144]),
        (vec![32, 36], vec![8, 4, 36]),
        (vec![8, 2, 2, 36], vec![-1, 144]),
        (vec![16, 2, 6, 6], vec![8, 4, -1]),
        (vec![-1, 36], vec![8, 2, 72]),
    ] {
        let nodes = vec![
            node("Reshape", &["x", "first"], "a", &[]),
            node("Relu", &["a"], "b", &[]),
            node("Reshape", &["b", "second"], "y", &[]),
        ];
        check_opens(&fixed(
            nodes,
            vec![i64s("first", &first), i64s("second", &second)],
        ));
    }
}

#[test]
fn the_batch_may_move_to_other_axes() {
    let nodes = vec![
        node("Reshape", &["x", "rows"], "a", &[]),
        node("Transpose", &["a"], "b", &[ints("perm", &[1, 0, 2])]),
        node("Reshape", &["b", "heads"], "c", &[]),
        node("Transpose", &["c"], "d", &[ints("perm", &[1, 0, 2])]),
        node("Reshape", &["d", "whole"], "y", &[]),
    ];
    let constants = vec![
        i64s("rows", &[8, 4, 36]),
        i64s("heads", &[4, 16, 18]),
        i64s("whole", &[8, 2, 4, 18]),
    ];
    check_opens(&fixed(nodes, constants));
}

#[test]
fn constants_for_all_images_become_constants_for_one() {
    let nodes = vec![
        node("Add", &["x", "offset"], "a", &[]),
        node("Concat", &["token", "a"], "b", &[int("axis", 1)]),
        node("Slice", &["b", "zero", "eight", "zero"], "y", &[]),
    ];
    let constants = |equal| {
        vec![
            images("offset", &[8, 4, 6, 6], true),
            images("token", &[8, 1, 6, 6], equal),
            i64s("zero", &[0]),
            i64s("eight", &[8]),
        ]
    };
    check_opens(&fixed(nodes.clone(), constants(true)));
    check_stays(
        &fixed(nodes, constants(false)),
        &["Concat_b", "'token'", "differs from image to image"],
    );
}

#[test]
fn a_batch_of_one_opens_too() {
    let nodes = vec![
        node("Concat", &["token", "x"], "a", &[int("axis", 1)]),
        node("Reshape", &["a", "flat"], "b", &[]),
        node("Add", &["b", "offset"], "y", &[]),
    ];
    let constants = vec![
        images("token", &[1, 1, 6, 6], true),
        i64s("flat", &[1, -1]),
        images("offset", &[1, 180], true),
    ];
    check_opens(&model(17, &["1", "4", "6", "6"], nodes, constants));
}

#[test]
fn a_resize_by_sizes_is_adapted() {
    let nodes = vec![node(
        "Resize",
        &["x", "", "", "sizes"],
        "y",
        &[text("mode", "nearest")],
    )];
    check_opens(&fixed(nodes, vec![i64s("sizes", &[8, 4, 13, 14])]));
}

#[test]
fn an_equal_size_does_not_become_the_batch() {
    let relu = vec![node("Relu", &["x"], "y", &[])];
    let graph = load(&model(17, &["8", "4", "N", "6"], relu, vec![])).unwrap();
    let (open, _) = graph.with_open_batch("N").unwrap();
    assert_eq!(open.batch(), Some(&Dim::Symbol("N1".into())));
}

#[test]
fn the_batch_of_an_output_may_be_behind_its_time() {
    // A recogniser of lines: [1, 4, 1, 6] to [6, 1, 4].
    let nodes = vec![
        node("Squeeze", &["x", "height"], "s", &[]),
        node("Transpose", &["s"], "y", &[ints("perm", &[2, 0, 1])]),
    ];
    let graph = model(17, &["1", "4", "1", "6"], nodes, vec![i64s("height", &[2])]);
    let (open, batch) = load(&graph).unwrap().with_open_batch("N").unwrap();
    assert_eq!((batch, open.batch_axis(open.outputs()[0])), (Some(1), 1));
    let closed = open.with_batch(3).unwrap();
    assert_eq!(closed.dims(closed.outputs()[0]).unwrap(), [6, 3, 4]);
}

#[test]
fn an_axis_that_a_recurrent_layer_steps_along_is_no_batch() {
    let nodes = || {
        let recurrent = node("GRU", &["x", "w", "r"], "y", &[int("hidden_size", 2)]);
        vec![recurrent]
    };
    let constants = || vec![images("w", &[1, 6, 6], true), images("r", &[1, 6, 2], true)];
    let fixed = model(17, &["9", "4", "6"], nodes(), constants());
    let error = load(&fixed).unwrap().with_open_batch("N").unwrap_err();
    assert!(matches!(error, GraphError::AlongBatch { .. }), "{error}");
    let open = load(&model(17, &["T", "4", "6"], nodes(), constants())).unwrap();
    assert!(open.steps_along_batch().is_some());
    let other = load(&model(17, &["9", "N", "6"], nodes(), constants())).unwrap();
    assert!(other.steps_along_batch().is_none());
}

/// Opening the batch must fail with the place and the reason.
#[track_caller]
fn check_stays(model: &ModelProto, parts: &[&str]) {
    let graph = load(model).unwrap();
    let message = graph.with_open_batch("N").unwrap_err().to_string();
    for part in parts {
        assert!(message.contains(part), "no {part} in: {message}");
    }
}

#[test]
fn nodes_that_prevent_opening_the_batch_are_named_with_the_reason() {
    let mean = vec![
        node("ReduceMean", &["x"], "m", &[ints("axes", &[0])]),
        node("Sub", &["x", "m"], "y", &[]),
    ];
    check_stays(
        &fixed(mean, vec![]),
        &["8", "ReduceMean_m", "joins what is of several images"],
    );
    let some = vec![
        node("Slice", &["x", "zero", "four"], "a", &[]),
        node("Concat", &["a", "a"], "y", &[int("axis", 0)]),
    ];
    let constants = vec![i64s("zero", &[0]), i64s("four", &[4])];
    check_stays(&fixed(some, constants), &["Slice_a", "some images"]);
    let softmax = vec![node("Softmax", &["x"], "y", &[int("axis", 0)])];
    check_stays(&fixed(softmax, vec![]), &["Softmax_y", "along the images"]);
    let mixed = vec![node("Reshape", &["x", "to"], "y", &[])];
    check_stays(
        &fixed(mixed, vec![i64s("to", &[4, 8, 6, 6])]),
        &["Reshape_y", "splits the images"],
    );
    let mut unknown = node("Unheard", &["x"], "a", &[]);
    unknown.domain = "org.example".into();
    let nodes = vec![unknown, node("Relu", &["a"], "y", &[])];
    let mut model = fixed(nodes, vec![]);
    model.opset_import.push(OperatorSetId {
        domain: "org.example".into(),
        version: 1,
    });
    model.graph.as_mut().unwrap().value_info = vec![value("a", &["8", "4", "6", "6"])];
    check_stays(&model, &["Unheard_a", "no rule"]);
}
