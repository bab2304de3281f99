//! The history of a latency guard: the measurements and verdicts of its runs, as a page and as
//! text.

mod charts;
mod header;
mod page;
mod text;

pub use page::render;
pub use text::text;

/// The content of a history.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HistoryData {
    /// One series for each combination of model, device and settings.
    pub series: Vec<Series>,
}

/// The runs of one model on one device with the same settings.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Series {
    /// The model's name.
    pub model: String,
    /// The user's name for the device.
    pub device: String,
    /// The device's identity.
    pub device_id: String,
    /// The settings that latency depends on, such as the number of threads.
    pub setup: String,
    /// The runs from the oldest to the newest.
    pub runs: Vec<Run>,
}

/// An estimate with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The estimate.
    pub value: f64,
    /// The ends of its interval; `None` if there are too few samples for one.
    pub interval: Option<(f64, f64)>,
}

/// The result of one run of the guard for one model.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Time of the run, in seconds since 1970 (UTC).
    pub unix_s: u64,
    /// The label of the run, such as a commit; may be empty.
    pub label: String,
    /// Digest of the model, hexadecimal.
    pub sha256: String,
    /// ONNX Runtime's version.
    pub runtime: String,
    /// The baseline's name; empty without one.
    pub baseline: String,
    /// Latency in nanoseconds; `None` if it could not be measured.
    pub latency_ns: Option<Estimate>,
    /// Change against the baseline: 0.05 is 5 % slower.
    pub change: Option<Estimate>,
    /// Number of worker processes behind the verdict.
    pub processes: u32,
    /// Largest allowed change.
    pub threshold: f64,
    /// The verdict.
    pub verdict: RunVerdict,
    /// Further remarks; may be empty.
    pub notes: String,
}

/// The verdict of a run of the guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunVerdict {
    /// The model could not be measured.
    Unmeasured,
    /// No comparison was requested.
    NoBaseline,
    /// The baseline does not contain the model.
    Uncompared,
    /// No slower than allowed.
    Fine,
    /// Faster.
    Improved,
    /// Slower than allowed.
    Regressed,
    /// No slower than allowed, but its file grew by more than is allowed.
    Grown,
    /// The same of its peak memory.
    MemoryGrown,
    /// Too noisy for a verdict.
    Undecided,
}

impl RunVerdict {
    /// All verdicts in the order of the legends.
    const ALL: [Self; 9] = [
        Self::Fine,
        Self::NoBaseline,
        Self::Uncompared,
        Self::Regressed,
        Self::Grown,
        Self::MemoryGrown,
        Self::Improved,
        Self::Undecided,
        Self::Unmeasured,
    ];

    fn word(self) -> &'static str {
        match self {
            Self::Unmeasured => "not measured",
            Self::NoBaseline => "no baseline",
            Self::Uncompared => "not in the baseline",
            Self::Fine => "fine",
            Self::Improved => "faster",
            Self::Regressed => "slower",
            Self::Grown => "file grew",
            Self::MemoryGrown => "memory grew",
            Self::Undecided => "too noisy to decide",
        }
    }
}

impl Run {
    /// The label if it is a commit's digest.
    fn commit(&self) -> Option<&str> {
        let is_digest = self.label.len() == 40 && self.label.bytes().all(|b| b.is_ascii_hexdigit());
        is_digest.then_some(&self.label)
    }

    /// The label in one line, with a commit's digest shortened; a dash for an empty label.
    fn title(&self) -> String {
        if let Some(commit) = self.commit() {
            return commit[..12].to_owned();
        }
        let words: Vec<&str> = self.label.split_whitespace().collect();
        crate::html::or(&words.join(" "), crate::format::NONE).to_owned()
    }
}

/// An estimate and its interval, each formatted by `write`.
fn formatted(
    estimate: Option<Estimate>,
    write: fn(f64) -> String,
) -> (Option<String>, Option<String>) {
    let interval = estimate.and_then(|estimate| estimate.interval);
    (
        estimate.map(|estimate| write(estimate.value)),
        interval.map(|(low, high)| crate::format::range(low, high, write)),
    )
}

/// A relative change: "+5.0 %".
fn change(value: f64) -> String {
    crate::format::change(1.0 + value)
}
