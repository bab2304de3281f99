//! Errors of this crate.

use std::io;
use std::path::{Path, PathBuf};

use latency::stats::Interval;
use measuring::MeasuringError;

/// Why a run could not start or go on. Each message names the thing and the next step.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PipelineError {
    /// A file could not be read or written.
    #[error("cannot {action} '{}': {source}{}", path.display(), disk_hint(source))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was being done.
        action: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// Another process works in the folder.
    #[error("another run is working in '{}'; wait for it, or choose another folder with --out", path.display())]
    FolderInUse {
        /// The run folder.
        path: PathBuf,
    },
    /// The folder holds a run already.
    #[error("'{}' already holds a run; continue it with --resume, or choose another folder with --out", path.display())]
    FolderNotEmpty {
        /// The run folder.
        path: PathBuf,
    },
    /// The folder holds other files.
    #[error("'{}' holds other files; choose a new or empty folder", path.display())]
    FolderForeign {
        /// The folder.
        path: PathBuf,
    },
    /// The folder holds no run.
    #[error("'{}' holds no run (no config.toml): name the folder of a run, or start one without --resume", path.display())]
    NoRun {
        /// The run folder.
        path: PathBuf,
    },
    /// The run has no report yet.
    #[error("'{}' holds no finished run; continue with: graphprune prune --out '{}' --resume", path.display(), path.display())]
    NoReport {
        /// The run folder.
        path: PathBuf,
    },
    /// The run began with a version that trained networks of the zoo in another way.
    #[error(
        "'{}' was started with a version that took the original out of the joint training; start in another folder",
        path.display()
    )]
    EarlierRun {
        /// The run folder.
        path: PathBuf,
    },
    /// The files of a run do not fit on the disk.
    #[error(
        "the disk of '{}' has {} free, and the files of the run need at least {}: no space left on device. Free some space, or \
         choose a folder on another disk with --out",
        path.display(), megabytes(*free), megabytes(*needed)
    )]
    NoRoom {
        /// The run folder.
        path: PathBuf,
        /// Bytes that are free.
        free: u64,
        /// Bytes that are needed at least.
        needed: u64,
    },
    /// The folder's configuration is not that of this call.
    #[error(
        "'{}' was started with another {what} ('{stored}', now '{given}'); resume without that option, or start \
         in another folder",
        path.display()
    )]
    ConfigChanged {
        /// The run folder.
        path: PathBuf,
        /// The setting.
        what: &'static str,
        /// The run's value.
        stored: String,
        /// This call's value.
        given: String,
    },
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] crate::config::ConfigError),
    /// The model cannot be used.
    #[error("model '{model}': {source}")]
    Model {
        /// File or zoo name.
        model: String,
        /// Why.
        source: onnx_graph::GraphError,
    },
    /// The model cannot be pruned or compared.
    #[error("model '{model}': {reason}")]
    UnfitModel {
        /// File or zoo name.
        model: String,
        /// Why, and what to do.
        reason: String,
    },
    /// Costs are needed and unknown.
    #[error("model '{model}': {what} needs the cost of every layer: {reason}")]
    Uncounted {
        /// File or zoo name.
        model: String,
        /// The operation.
        what: &'static str,
        /// Which layers are not counted, why, and what to do.
        reason: String,
    },
    /// Even the smallest network misses the budget.
    #[error(
        "the budget of {budget} cannot be met: the smallest network (every group at its smallest width, without the branches that can go) {smallest}. \
         Raise the budget, or allow smaller widths with widths.min_keep or widths.remove in the configuration"
    )]
    BudgetOutOfReach {
        /// The budget in words.
        budget: String,
        /// What the smallest network costs, in words.
        smallest: String,
    },
    /// A network does not run on a bare-metal board.
    #[error("'{model}' does not run on the board: {source}")]
    Board {
        /// The network.
        model: String,
        /// What is missing.
        source: board_plan::LowerError,
    },
    /// A network does not fit a board, and the budget is a share of its latency there.
    #[error(
        "'{model}' does not fit the board: it needs {needs}, so there is no latency of it that a budget could be a share of. \
         Give the budget as a time, such as --latency 40ms"
    )]
    NoShareOfBoard {
        /// The network.
        model: String,
        /// Its memory beside the board's.
        needs: String,
    },
    /// No candidate met the budget.
    #[error(
        "no configuration met the budget in {episodes} episodes; the nearest cost {nearest:.3} of {reference}. \
         Give the search more episodes (--episodes) or raise the budget"
    )]
    NothingFeasible {
        /// Episodes searched.
        episodes: u64,
        /// Least latency ratio measured.
        nearest: f64,
        /// The network that ratios are to, in words.
        reference: String,
    },
    /// No candidate could be measured with the final effort.
    #[error(
        "none of the candidates within the budget could be confirmed ({candidates} tried). The last: {last}. Continue with \
         --resume when the device has less other work: they are measured again"
    )]
    Unconfirmed {
        /// Candidates without a valid measurement.
        candidates: usize,
        /// Why the last one has none.
        last: String,
    },
    /// The model is quantised already.
    #[error(
        "model '{model}': it is quantised already (node '{node}'); give the network in floats that it was made from, or \
         prune this one as it is"
    )]
    Quantized {
        /// The file.
        model: String,
        /// A node that makes or reads integers.
        node: String,
    },
    /// A network cannot be packed, or a container not unpacked.
    #[error("'{name}': {source}")]
    Codec {
        /// The network or the container.
        name: String,
        /// Why.
        source: weight_codec::CodecError,
    },
    /// A container cannot be as small as it should be.
    #[error(
        "model '{model}': {limit} bytes are not reachable; the smallest container has {smallest} bytes. Allow so many, or prune \
         the network first"
    )]
    BytesOutOfReach {
        /// The network.
        model: String,
        /// The bytes asked for.
        limit: usize,
        /// The fewest possible.
        smallest: usize,
    },
    /// A container restores another file than was packed.
    #[error(
        "model '{model}': the container does not restore the packed file; nothing was written. This is a fault in graphprune: \
         please report it with the model"
    )]
    NotRestored {
        /// The network.
        model: String,
    },
    /// An exported network computes something else than the trained one.
    #[error(
        "the exported network '{model}' differs from the trained one by {error:.2e} of its output spread (at most \
         {tolerance:.0e} is allowed); nothing was exported. This is a fault in graphprune: please report it with the model"
    )]
    NotEquivalent {
        /// The exported file.
        model: String,
        /// Largest relative difference.
        error: f64,
        /// The largest difference allowed.
        tolerance: f64,
    },
    /// A board computes other integers than the host.
    #[error(
        "{differ} of {outputs} outputs of '{model}' on the board differ from the reference on the host; no time of it counts. \
         This is a fault of the board, its memory, or graphprune: measure again on another board, and please report it"
    )]
    NotBitEqual {
        /// The network.
        model: String,
        /// Outputs that differ.
        differ: usize,
        /// All outputs.
        outputs: usize,
    },
    /// The run is finished, and its result is slower than the original.
    #[error(
        "the pruned network takes {:.3}x of the original's latency (95 % interval {:.3} to {:.3}): it is slower and is \
         refused. It is kept as '{}'; `graphprune explain {}` shows why. To accept it: graphprune prune --out {} \
         --resume --allow-slower",
        ratio.value,
        ratio.low,
        ratio.high,
        kept.display(),
        run.display(),
        run.display()
    )]
    Slower {
        /// Latency over the original's.
        ratio: Interval,
        /// The file of the refused network.
        kept: PathBuf,
        /// The run folder.
        run: PathBuf,
    },
    /// One network is not a pruned form of another.
    #[error(
        "'{pruned}' is not a pruned form of '{original}': {reason}. Give the original first, as it was when it was pruned"
    )]
    Unrelated {
        /// The file that should be the original.
        original: String,
        /// The file that should be its pruned form.
        pruned: String,
        /// The difference.
        reason: String,
    },
    /// A command of the user gave no result.
    #[error("{network}: {reason}")]
    Command {
        /// The network that the command was given.
        network: String,
        /// What the command did.
        reason: String,
    },
    /// The user stopped the run.
    #[error("stopped; continue with --resume")]
    Stopped,
    /// The record database failed.
    #[error("the records of the run, '{}': {source}{}", path.display(), full_hint(source))]
    Records {
        /// The database.
        path: PathBuf,
        /// The database's reason.
        source: rusqlite::Error,
    },
    /// A plan cannot be read, or does not fit the network.
    #[error("the plan '{}' cannot be used: {reason}", path.display())]
    BadPlan {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// An entry of the record database cannot be read.
    #[error("the records of the run hold an entry that cannot be read: {reason}")]
    BadRecord {
        /// Why.
        reason: String,
    },
    /// Channel analysis or cutting failed.
    #[error(transparent)]
    Channels(#[from] channels::ChannelError),
    /// The libtorch executor failed.
    #[error(transparent)]
    Exec(#[from] torch_exec::ExecError),
    /// A data set failed.
    #[error(transparent)]
    Data(#[from] datasets::DataError),
    /// Training failed.
    #[error(transparent)]
    Train(#[from] train::TrainError),
    /// The processes of a run cannot work together.
    #[error(transparent)]
    Collective(#[from] collective::CollectiveError),
    /// A process of a run reads other data than the first.
    #[error(
        "rank {rank} reads other training data than rank 0 ('{own}', not '{first}'): give all machines the same files"
    )]
    OtherData {
        /// The process.
        rank: usize,
        /// The identity of its data.
        own: String,
        /// The identity of the first process's.
        first: String,
    },
    /// A process of a run does not understand the first.
    #[error("rank {rank} does not understand rank 0: use one version of graphprune everywhere")]
    OtherVersion {
        /// The process.
        rank: usize,
    },
    /// The search failed.
    #[error(transparent)]
    Search(#[from] search::SearchError),
    /// The latency model failed.
    #[error(transparent)]
    LatencyModel(#[from] latency_model::LatencyModelError),
    /// Measuring failed.
    #[error(transparent)]
    Measuring(MeasuringError),
    /// The device failed.
    #[error(transparent)]
    Latency(#[from] latency::LatencyError),
    /// A zoo network could not be built.
    #[error(transparent)]
    Zoo(#[from] model_zoo::ZooError),
}

impl From<MeasuringError> for PipelineError {
    fn from(error: MeasuringError) -> Self {
        match error {
            MeasuringError::Stopped => Self::Stopped,
            other => Self::Measuring(other),
        }
    }
}

impl PipelineError {
    /// Whether the command line asks for something that this model does not allow.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::Model {
                source: onnx_graph::GraphError::InputSize(_),
                ..
            }
        )
    }

    /// A command of the user that gave no result for a network.
    pub(crate) fn command(network: &str, failure: impl std::fmt::Display) -> Self {
        Self::Command {
            network: network.to_owned(),
            reason: failure.to_string(),
        }
    }

    /// An error of packing or unpacking `name`.
    pub(crate) fn codec(name: &str, source: weight_codec::CodecError) -> Self {
        match source {
            weight_codec::CodecError::Unreachable { limit, smallest } => Self::BytesOutOfReach {
                model: name.to_owned(),
                limit,
                smallest,
            },
            source => Self::Codec {
                name: name.to_owned(),
                source,
            },
        }
    }

    pub(crate) fn io(path: &Path, action: &'static str, source: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            action,
            source,
        }
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// Advice for a database on a full disk.
fn full_hint(error: &rusqlite::Error) -> String {
    let full = error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull);
    let hint = disk_hint(&io::ErrorKind::StorageFull.into());
    if full {
        format!(". No space left on device{hint}")
    } else {
        String::new()
    }
}

fn disk_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            ". Free some space and continue with --resume: nothing written so far is lost"
        }
        io::ErrorKind::PermissionDenied => ". Check who owns it, or choose another folder",
        _ => "",
    }
}
