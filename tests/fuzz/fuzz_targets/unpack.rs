//! Unpacking never panics and stays within its limits, whatever the bytes; what it restores can be
//! packed and restored again.
//!
//! `cargo +nightly fuzz run unpack --fuzz-dir tests/fuzz tests/fuzz/corpus/unpack
//! tests/fuzz/seeds/unpack`
#![no_main]

use libfuzzer_sys::fuzz_target;
use weight_codec::{Limits, SurpDecoder, pack, unpack, unpack_prefix};

/// Enough for the seeds, and little enough for thousands of inputs in a second.
const LIMITS: Limits = Limits { declared: 1 << 20 };

fuzz_target!(|bytes: &[u8]| {
    if let Ok(prefix) = unpack_prefix(bytes, &LIMITS) {
        assert!(prefix.file.len() <= LIMITS.declared);
        let whole = unpack(bytes, &LIMITS);
        assert_eq!(whole.is_ok(), prefix.complete);
        let again = pack(&prefix.file, &[]).expect("any file is packed");
        let again = unpack(&again, &LIMITS).expect("what was packed is unpacked");
        assert!(again == prefix.file);
    }
    // A container's checksums keep most changes from the streams within it.
    if let Ok(mut decoder) = SurpDecoder::new(bytes, &LIMITS) {
        while decoder.advance().is_ok_and(|is_step| is_step) {}
        let finite = |values: &Vec<f32>| values.iter().all(|value| value.is_finite());
        assert!(decoder.tensors().iter().all(finite));
    }
});
