//! Reading never panics, and an accepted network is stable: written and read again it is the
//! same, and so are the results of its passes, which stay well-formed.
//!
//! `cargo +nightly fuzz run read_onnx --fuzz-dir tests/fuzz tests/fuzz/corpus/read_onnx
//! tests/fuzz/seeds/read_onnx`
#![no_main]

use libfuzzer_sys::fuzz_target;
use onnx_graph::{
    Graph, NoExternalData, Tensor, cost, fold_batch_norm, insert_batch_norm, read, write,
};

/// Elements of constants, far below every limit of the reader.
const FAR_FROM_THE_LIMIT: usize = 1 << 20;

fn well_formed(graph: &Graph) {
    graph.check().expect("a pass keeps the graph well-formed");
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(graph) = read(bytes, &NoExternalData) else {
        return;
    };
    let _ = cost::costs(&graph);
    if let Ok(folded) = fold_batch_norm(&graph) {
        well_formed(&folded);
    }
    if let Ok((normed, _)) = insert_batch_norm(&graph) {
        well_formed(&normed);
    }
    if let Ok((open, batch)) = graph.clone().with_open_batch("batch") {
        well_formed(&open);
        if let Some(batch) = batch {
            well_formed(
                &open
                    .with_batch(batch)
                    .expect("the batch that it came with fits"),
            );
        }
    }
    // Constants are computed within a limit in proportion to the file, and a file that contains
    // computed constants has a higher limit.
    let held = graph.constants().values().map(Tensor::len).sum::<usize>();
    if held > FAR_FROM_THE_LIMIT {
        return;
    }
    // An operator kept as read may have another meaning in the written operator set, which is
    // refused.
    let Ok(again) = write(&graph) else { return };
    let back = read(&again, &NoExternalData).expect("what was written reads");
    graph
        .same_network(&back)
        .expect("reading what was written gives the same network");
});
