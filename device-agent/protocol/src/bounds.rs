//! The largest counts and sizes accepted from the other side.

/// Models in one measurement, the reference not counted.
pub const MAX_MODELS: usize = 64;
/// Bytes of a name or another short text.
pub const MAX_NAME_BYTES: usize = 512;
/// Bytes of an error's or a note's text.
pub const MAX_TEXT_BYTES: usize = 8 * 1024;
/// Bytes of one model: protobuf's own limit.
pub const MAX_MODEL_BYTES: u64 = 2 * 1024 * 1024 * 1024 - 1;
/// Bytes of one chunk of an upload.
pub const MAX_CHUNK_BYTES: usize = 1024 * 1024;
/// Timed runs kept of one model in one measurement.
pub const MAX_SAMPLES: usize = 1 << 18;
/// Worker processes that one measurement may be over.
pub const MAX_PROCESSES: usize = 256;
/// Rounds of one measurement.
pub const MAX_ROUNDS: u32 = 1 << 14;
/// Runs of one block.
pub const MAX_BLOCK_RUNS: u32 = 1 << 12;
/// Threads and cores.
pub const MAX_CORES: usize = 1024;
/// Thermal zones of a device.
pub const MAX_ZONES: usize = 1024;
/// Nodes of a model in the list of their providers.
pub const MAX_NODES: usize = 1 << 17;
/// The longest duration: one day, in nanoseconds.
pub const MAX_DURATION_NS: u64 = 24 * 3600 * 1_000_000_000;
/// Elements of the input and of the output of one run.
pub const MAX_RUN_ELEMENTS: usize = 1 << 24;
/// Axes of the input and of the output of one run.
pub const MAX_RANK: usize = 16;
/// Bytes of a request: the largest input of a run, and room for its other fields.
pub const MAX_REQUEST_BYTES: usize = MAX_RUN_ELEMENTS * 4 + 1024 * 1024;
/// Bytes of a reply: [`MAX_MODELS`] series of samples of the usual size.
pub const MAX_REPLY_BYTES: usize = 256 * 1024 * 1024;
/// Entries of a short list: providers, their options, layers of confinement.
pub const MAX_LIST: usize = 64;
/// The shortest interval of a monitor, ns: reading a device's state takes time that a measurement
/// would notice.
pub const MIN_MONITOR_NS: u64 = 200_000_000;
/// Bytes of a name within a model: of a node, a tensor, an operator, an input or an output.
pub const MAX_MODEL_NAME_BYTES: usize = 4 * 1024;
/// Bytes of the names of all nodes in the list of their providers.
pub const MAX_NODES_BYTES: usize = 8 * 1024 * 1024;
