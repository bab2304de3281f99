//! Networks that end in texts, maps or lists are pruned, and keep these endings as they are.

use channels::analyse;
use graphprune_tests::{Array, compared_label_model, prune_and_compare, random_plan, text_models};
use onnx_graph::cost::costs;
use onnx_graph::{DType, GraphError, NoExternalData, read, write};

/// Largest difference allowed, relative to the spread of an output.
const TOLERANCE: f64 = 1e-4;

#[test]
fn endings_without_numbers_stay_and_what_they_read_is_not_cut() {
    // Outputs of each file without numbers and with them, and the channels that stay for an ending.
    let expected = [(1, 1, 0), (1, 0, 4), (2, 0, 4), (1, 0, 4 + 12), (1, 2, 0)];
    let models = text_models();
    assert_eq!(models.len(), expected.len());
    for ((name, model), (others, numbers, kept)) in models.into_iter().zip(expected) {
        let graph = read(&model, &NoExternalData).unwrap_or_else(|e| panic!("{name}: {e}"));
        let again = read(&write(&graph).unwrap(), &NoExternalData).unwrap();
        graph.same_network(&again).unwrap();
        assert_eq!(graph.other_outputs().len(), others, "{name}");
        let first = graph.value(graph.outputs()[0]);
        assert_eq!(first.dtype, Some(DType::F32), "{name}: {}", first.name);
        let analysis = analyse(&graph).unwrap();
        let pinned = analysis.pinned().iter();
        let pinned = pinned.filter(|p| p.reason.starts_with("texts, sequences or maps"));
        assert_eq!(pinned.map(|p| p.channels).sum::<usize>(), kept, "{name}");
        let feed = Array::uniform(&[8, 3, 8, 8], -2.0, 2.0, 1);
        for (seed, drop) in [(1, 0.3), (2, 0.6)] {
            let plan = random_plan(&analysis, seed, drop..=drop, 0.0);
            let found = prune_and_compare(&graph, &analysis, &plan, &feed)
                .unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!(found.outputs.len(), others + numbers, "{name}");
            assert!(found.apart.relative <= TOLERANCE, "{name}: {}", found.apart);
            assert!(
                costs(&found.pruned).macs < costs(&graph).macs,
                "{name} is not pruned"
            );
        }
    }
}

#[test]
fn texts_that_become_numbers_again_are_refused_by_name() {
    let refused = read(&compared_label_model(), &NoExternalData);
    let Err(GraphError::Unsupported { place, reason }) = refused else {
        panic!("{refused:?}");
    };
    assert!(
        place.contains("names") || place.contains("wanted"),
        "{place}"
    );
    assert_eq!(reason, "elements of string are not supported");
}
