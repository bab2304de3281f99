//! The history of a guard over latency: what each of its runs measured and said, drawn and in words.

mod charts;
mod page;
mod text;

pub use page::render;
pub use text::text;

/// Everything the history says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HistoryData {
    /// One for each model, device and settings.
    pub series: Vec<Series>,
}

/// The runs of one model on one device with the same settings.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Series {
    /// The model's name.
    pub model: String,
    /// What the user calls the device.
    pub device: String,
    /// The device's identity.
    pub device_id: String,
    /// Threads and the other settings that latency hangs on.
    pub setup: String,
    /// From the oldest to the newest.
    pub runs: Vec<Run>,
}

/// A figure with its 95 % interval, where there is one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figure {
    /// The estimate.
    pub value: f64,
    /// The interval.
    pub interval: Option<(f64, f64)>,
}

/// What one run of the guard said of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// When, seconds since 1970.
    pub unix_s: u64,
    /// What the run was of; may be empty.
    pub label: String,
    /// Digest of the model, hexadecimal.
    pub sha256: String,
    /// ONNX Runtime's version.
    pub runtime: String,
    /// The baseline's name; empty without one.
    pub baseline: String,
    /// Latency, ns; `None` when it could not be measured.
    pub latency_ns: Option<Figure>,
    /// Change against the baseline, relative.
    pub change: Option<Figure>,
    /// Processes that count.
    pub processes: u32,
    /// Largest change that was allowed, relative.
    pub threshold: f64,
    /// What was said.
    pub outcome: Outcome,
    /// What else is to be known.
    pub notes: String,
}

/// What a guard can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The model could not be measured.
    Unmeasured,
    /// Nothing was to be compared.
    NoBaseline,
    /// It was to be compared, and the baseline has nothing of it.
    Uncompared,
    /// No slower than allowed.
    Fine,
    /// Faster.
    Improved,
    /// Slower than allowed.
    Regressed,
    /// Too noisy to tell.
    Undecided,
}

impl Outcome {
    pub(crate) const ALL: [Self; 7] = [
        Self::Fine,
        Self::NoBaseline,
        Self::Uncompared,
        Self::Regressed,
        Self::Improved,
        Self::Undecided,
        Self::Unmeasured,
    ];

    /// The word for people.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Unmeasured => "not measured",
            Self::NoBaseline => "no baseline",
            Self::Uncompared => "not in the baseline",
            Self::Fine => "fine",
            Self::Improved => "faster",
            Self::Regressed => "slower",
            Self::Undecided => "too noisy to tell",
        }
    }
}

impl Run {
    /// The label, a commit's digest shortened as is usual; a dash where there is none.
    pub(crate) fn title(&self) -> String {
        let words: Vec<&str> = self.label.split_whitespace().collect();
        let digest = self.label.len() == 40 && self.label.bytes().all(|b| b.is_ascii_hexdigit());
        match words.as_slice() {
            [] => crate::format::NONE.to_owned(),
            _ if digest => self.label[..12].to_owned(),
            words => words.join(" "),
        }
    }
}

/// A figure and its interval as `write` writes them.
pub(crate) fn figure(
    figure: Option<Figure>,
    write: fn(f64) -> String,
) -> (Option<String>, Option<String>) {
    let interval = figure.and_then(|figure| figure.interval);
    (
        figure.map(|figure| write(figure.value)),
        interval.map(|(low, high)| format!("{} to {}", write(low), write(high))),
    )
}

/// A relative change: "+5.0 %".
pub(crate) fn change(value: f64) -> String {
    crate::format::change(1.0 + value)
}
