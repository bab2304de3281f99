//! Parsing a plan of a board never panics, whatever the bytes; lowering a network never panics, and
//! what it gives is a plan.
//!
//! `cargo +nightly fuzz run board_plan --fuzz-dir tests/fuzz tests/fuzz/corpus/board_plan
//! tests/fuzz/seeds/board_plan`
#![no_main]

use int8_engine::Plan;
use libfuzzer_sys::fuzz_target;
use onnx_graph::{NoExternalData, read};

/// Memory of a board, and little enough for many inputs in a second.
const MOST: u32 = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    let _ = Plan::parse(bytes);
    if let Ok(graph) = read(bytes, &NoExternalData)
        && let Ok(lowered) = board_plan::lower(&graph)
        && lowered.footprint.arena <= MOST
    {
        lowered.reference().expect("what was lowered is a plan");
    }
});
