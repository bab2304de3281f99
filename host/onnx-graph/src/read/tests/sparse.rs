//! Sparse tensors: they are read as dense ones.

use super::*;

/// A sparse tensor of 2 rows and 3 columns with the values 1, 2, …
fn sparse(count: i64, indices: TensorProto) -> SparseTensorProto {
    SparseTensorProto {
        values: Some(f32s("s", &[count])),
        indices: Some(indices),
        dims: vec![2, 3],
    }
}

fn rows(indices: &[i64]) -> TensorProto {
    TensorProto {
        dims: vec![indices.len() as i64 / 2, 2],
        ..i64s("", indices)
    }
}

/// Reads the sum of `x` and the sparse tensor, which is an initializer or a constant node.
fn added(tensor: &SparseTensorProto, as_node: bool) -> Result<crate::Graph, GraphError> {
    let mut nodes = vec![node("Add", &["x", "s"], "y", &[])];
    if as_node {
        let value = AttributeProto {
            name: "sparse_value".into(),
            sparse_tensor: Some(tensor.encode_to_vec()),
            r#type: 11,
            ..AttributeProto::default()
        };
        nodes.insert(0, node("Constant", &[], "s", &[value]));
    }
    let mut model = model(17, &["2", "3"], nodes, vec![]);
    if !as_node {
        let graph = model.graph.as_mut().unwrap();
        graph.sparse_initializer.push(tensor.encode_to_vec());
    }
    crate::read(&model.encode_to_vec(), &NoExternalData)
}

#[test]
fn sparse_tensors_are_read_as_dense_ones() {
    for indices in [i64s("", &[1, 5]), rows(&[0, 1, 1, 2])] {
        for as_node in [false, true] {
            let graph = added(&sparse(2, indices.clone()), as_node).expect("it reads");
            let dense = graph.constants().values().next().expect("a constant");
            assert_eq!(dense.dims(), [2, 3]);
            assert_eq!(dense.as_f32().unwrap(), [0.0, 1.0, 0.0, 0.0, 0.0, 2.0]);
        }
    }
}

#[test]
fn sparse_tensors_that_do_not_fit_are_refused() {
    let wide = SparseTensorProto {
        dims: vec![1 << 20, 1 << 20],
        ..sparse(1, i64s("", &[0]))
    };
    let cases = [
        (sparse(1, i64s("", &[6])), "its indices do not fit"),
        (sparse(1, i64s("", &[-1])), "its indices do not fit"),
        (sparse(1, rows(&[0, 3])), "its indices do not fit"),
        (sparse(2, i64s("", &[0])), "not as many indices as values"),
        (wide, "too few values for its size"),
    ];
    for (tensor, reason) in cases {
        for as_node in [false, true] {
            let error = added(&tensor, as_node).expect_err(reason).to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
