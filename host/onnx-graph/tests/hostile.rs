//! Reading never panics on bytes that are no model or a damaged one, and a model that can be read
//! is stable: written and read again it is the same network.

use onnx_graph::ops::{
    Add, BatchNormalization, Concat, Conv, Flatten, Gemm, Pad, PadMode, Relu, Reshape, Slice, Split,
};
use onnx_graph::{DType, Dim, Graph, NoExternalData, Tensor, read, write};
use proptest::prelude::*;

/// A small network with many operators.
fn seed() -> Vec<u8> {
    let mut graph = Graph::new("seed", 17);
    let x = graph.add_input(
        "x",
        DType::F32,
        vec![
            Dim::Symbol("N".into()),
            Dim::Known(2),
            Dim::Known(4),
            Dim::Known(4),
        ],
    );
    let w = graph.add_constant("w", Tensor::f32([4, 2, 3, 3], vec![0.5; 72]).unwrap());
    let conv = Conv {
        kernel: vec![3; 2],
        strides: vec![1; 2],
        pads: vec![1; 4],
        dilations: vec![1; 2],
        group: 1,
    };
    let y = graph.push("conv", conv.into(), &[x, w]).unwrap();
    let norm: Vec<_> = (0..4)
        .map(|i| graph.add_constant(&format!("n{i}"), Tensor::f32([4], vec![1.0; 4]).unwrap()))
        .collect();
    let y = graph
        .push(
            "bn",
            BatchNormalization::default().into(),
            &[y, norm[0], norm[1], norm[2], norm[3]],
        )
        .unwrap();
    let r = graph.push("relu", Relu.into(), &[y]).unwrap();
    let s = Slice {
        starts: vec![0],
        ends: vec![2],
        axes: vec![1],
        steps: vec![1],
    };
    let s = graph.push("slice", s.into(), &[r]).unwrap();
    let p = Pad {
        pads: vec![0, 1, 0, 0, 0, 1, 0, 0],
        mode: PadMode::Constant,
        value: 0.5,
    };
    let p = graph.push("pad", p.into(), &[s]).unwrap();
    let y = graph.push("add", Add.into(), &[p, r]).unwrap();
    let y = graph
        .push(
            "re",
            Reshape {
                target: vec![0, 2, 2, 16],
                allow_zero: false,
            }
            .into(),
            &[y],
        )
        .unwrap();
    let parts = graph
        .push_node(
            "split",
            Split {
                axis: 1,
                sizes: vec![1, 1],
            }
            .into(),
            vec![Some(y)],
            &[Some("s0"), Some("s1")],
        )
        .unwrap();
    let y = graph
        .push(
            "cat",
            Concat { axis: 2 }.into(),
            &[parts[1].unwrap(), parts[0].unwrap()],
        )
        .unwrap();
    let y = graph
        .push("flat", Flatten { axis: 1 }.into(), &[y])
        .unwrap();
    let fc = graph.add_constant("fc", Tensor::f32([3, 64], vec![0.1; 192]).unwrap());
    let y = graph
        .push(
            "gemm",
            Gemm {
                trans_b: true,
                ..Gemm::default()
            }
            .into(),
            &[y, fc],
        )
        .unwrap();
    graph.add_output(y);
    write(&graph).unwrap()
}

fn check(bytes: &[u8]) {
    let Ok(graph) = read(bytes, &NoExternalData) else {
        return;
    };
    // Writing rejects an opaque operator with another meaning in the operator set that is
    // written.
    let Ok(again) = write(&graph) else { return };
    let back = read(&again, &NoExternalData).expect("what was written reads");
    graph
        .same_network(&back)
        .expect("reading what was written gives the same network");
}

#[test]
fn what_the_fuzz_targets_start_from_is_stable() {
    let seeds = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/fuzz/seeds/read_onnx"
    );
    let mut count = 0;
    for entry in std::fs::read_dir(seeds).expect("the seeds are in the repository") {
        let path = entry.expect("an entry").path();
        check(&std::fs::read(path).expect("a readable seed"));
        count += 1;
    }
    assert!(count > 0, "no seed in {seeds}");
}

#[test]
fn an_input_that_is_an_output_too_keeps_both_declarations() {
    let seed = include_bytes!("../../../tests/fuzz/seeds/read_onnx/returned_input.onnx");
    let graph = read(seed, &NoExternalData).expect("a valid file");
    let (input, output) = (graph.inputs()[0], graph.outputs()[0]);
    assert_eq!(input, output, "the input is returned");
    let stated = |graph: &Graph| graph.value(graph.inputs()[0]).shape.clone();
    let again = write(&graph).expect("it can be written");
    let back = read(&again, &NoExternalData).expect("what was written reads");
    assert_eq!(stated(&graph), stated(&back));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        check(&bytes);
    }

    #[test]
    fn a_model_with_bytes_changed_is_read_or_refused(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8),
        cut in proptest::option::weighted(0.2, any::<proptest::sample::Index>()),
    ) {
        let mut bytes = seed();
        // The structure comes first; the weights at the end matter less.
        for (at, value) in changes {
            let at = at.index(1100.min(bytes.len()));
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        check(&bytes);
    }
}
