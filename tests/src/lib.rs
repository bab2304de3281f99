//! Support for the whole-pipeline tests: models, ONNX Runtime as the reference, comparisons.
//!
//! Invariants: everything is seeded; nothing here measures time. The reference runs in a Python
//! process of its own (`tests/peers`), so it shares no code with the code under test.
//!
//! Deliberately absent: the tests (`tests/tests`) and the benchmarks (`tests/benches`).

mod compare;
mod fixtures;
mod kendall;
mod models;
mod networks;
pub mod onnx;
mod ort;
mod peer;
mod prune;
mod sandbox;
mod task_run;
mod text_models;

pub use compare::{Difference, difference, randomise_norms};
pub use fixtures::{
    binary, channels_last_model, exported, model_with_external_data, write_idx, write_image_folder,
    zoo_bytes,
};
pub use kendall::{Agreement, kendall};
pub use models::{
    made_model, made_names, peer_script, python, quantized_models, shared_data, shared_model,
};
pub use networks::{
    audio_model, detector_model, noise, recogniser_model, recurrent_classifier, recurrent_model,
    segmentation_model, suppressing_model, time_first_model, two_input_model, volume_model,
    write_npy, write_npz,
};
pub use ort::{Array, Ort, PeerError, Reply, Zeros};
pub use peer::Peer;
pub use prune::{Compared, array, execute, prune_and_compare, random_plan, tensor};
pub use sandbox::{Sandbox, TINY, descendants, quick_profile};
pub use task_run::TaskRun;
pub use text_models::{compared_label_model, text_models};
