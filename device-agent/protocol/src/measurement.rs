//! A latency with its evidence.

use serde::{Deserialize, Serialize};

use crate::check::{amount, count, lines, list, name, need, within};
use crate::pace::{Contention, Sentinel};
use crate::{DeviceState, ProtocolError, Ratio, RuntimeInfo, Sha256, bounds, pace, plain, wire};

/// Notes that one measurement may carry.
const MAX_NOTES: usize = 64;

/// One worker process among those behind a [`Measurement`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProcessFigures {
    /// How many of the measurement's samples are of this process; they follow those of the
    /// processes before it.
    pub samples: usize,
    /// Runs in one of its blocks.
    pub block_runs: u32,
    /// Median over rounds of the block's median, ns.
    pub median_ns: f64,
    /// Ratio to the reference: that of the 5th percentiles of the samples.
    pub ratio: Option<f64>,
    /// The device's pace around its samples.
    pub sentinel: Option<Sentinel>,
    /// How long it waited for a core.
    pub contention: Option<Contention>,
    /// Cores that other programs kept busy around its samples, on average.
    #[serde(default)]
    pub others_cores: Option<f64>,
}

impl TryFrom<wire::ProcessFigures> for ProcessFigures {
    type Error = ProtocolError;

    fn try_from(m: wire::ProcessFigures) -> Result<Self, ProtocolError> {
        const M: &str = "ProcessFigures";
        let samples = usize::try_from(m.samples).unwrap_or(usize::MAX);
        let most = (0, bounds::MAX_SAMPLES);
        within(
            M,
            "samples",
            samples,
            most,
            "at most those of a measurement",
        )?;
        let runs = (1, bounds::MAX_BLOCK_RUNS);
        within(M, "block_runs", m.block_runs, runs, "1 to 4096 runs")?;
        Ok(Self {
            samples,
            block_runs: m.block_runs,
            median_ns: amount(M, "median_ns", m.median_ns)?,
            ratio: m.ratio.map(|ratio| amount(M, "ratio", ratio)).transpose()?,
            sentinel: m.sentinel.map(Into::into),
            contention: m.contention.map(Into::into),
            others_cores: cores(M, m.others_cores)?,
        })
    }
}

/// Checks a number of cores.
fn cores(message: &'static str, cores: Option<f64>) -> Result<Option<f64>, ProtocolError> {
    let cores = cores.map(|cores| amount(message, "others_cores", cores));
    cores.transpose()
}

impl From<ProcessFigures> for wire::ProcessFigures {
    fn from(figures: ProcessFigures) -> Self {
        Self {
            samples: figures.samples as u64,
            block_runs: figures.block_runs,
            median_ns: figures.median_ns,
            ratio: figures.ratio,
            sentinel: figures.sentinel.map(Into::into),
            contention: figures.contention.map(Into::into),
            others_cores: figures.others_cores,
        }
    }
}

/// Whether a measurement may be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It may.
    Valid,
    /// It must never enter a reward, a table or a baseline.
    Invalid {
        /// The reason, for people.
        reason: String,
    },
}

/// A latency with its evidence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// The model's name in the request.
    pub name: String,
    /// The model.
    pub model_sha256: Sha256,
    /// The reference it was interleaved with.
    pub reference_sha256: Option<Sha256>,
    /// Median over rounds of the block's median, ns; over several processes their geometric mean.
    pub median_ns: f64,
    /// The 95 % interval of `median_ns`: by the order statistics of the rounds, or Student's over
    /// several processes.
    pub ci95_ns: (f64, f64),
    /// The fastest run, ns.
    pub min_ns: u64,
    /// 5th percentile of all samples, ns.
    pub p5_ns: f64,
    /// 25th percentile, ns.
    pub p25_ns: f64,
    /// 50th percentile, ns.
    pub p50_ns: f64,
    /// 75th percentile, ns.
    pub p75_ns: f64,
    /// 95th percentile, ns.
    pub p95_ns: f64,
    /// 99th percentile, ns.
    pub p99_ns: f64,
    /// Every timed run in the order of running: rounds of `block_runs` runs each.
    pub samples_ns: Vec<u64>,
    /// Runs in a block, of the first process where there are several.
    pub block_runs: u32,
    /// The warm-up runs, which are not counted.
    pub warmup_ns: Vec<u64>,
    /// Timed runs during which the kernel gave the core to another process. They show that
    /// process, not the model; each was repeated and is not counted.
    pub preempted_ns: Vec<u64>,
    /// Relative to the reference; `None` without one and for the reference itself.
    pub ratio: Option<Ratio>,
    /// Peak resident memory above that of a process with the runtime loaded and no model, bytes.
    /// Full evidence only.
    pub peak_memory_bytes: Option<u64>,
    /// The device before.
    pub before: DeviceState,
    /// The device after.
    pub after: DeviceState,
    /// The runtime that ran it.
    pub runtime: RuntimeInfo,
    /// Whether it may be used.
    pub verdict: Verdict,
    /// Observations that do not make it invalid.
    pub notes: Vec<String>,
    /// The moment, ns since 1970.
    pub taken_unix_ns: u64,
    /// Time the runtime took to load and optimise the model, ns.
    pub load_ns: u64,
    /// The device's own pace around the samples.
    pub sentinel: Option<Sentinel>,
    /// How long the worker waited for a core.
    #[serde(default)]
    pub contention: Option<Contention>,
    /// The worker processes that the interval is over. Empty for the measurement of one process,
    /// whose interval shows only the noise within it and serves for screening.
    #[serde(default)]
    pub processes: Vec<ProcessFigures>,
    /// By how much the reference exceeded its best known time on the device, relative, where that
    /// is so much that the ratio may be another on a quiet device.
    #[serde(default)]
    pub reference_excess_rel: Option<f64>,
    /// Cores that other programs kept busy around the samples, on average; over several processes
    /// the mean. `None` where the system does not report it.
    #[serde(default)]
    pub others_cores: Option<f64>,
}

impl Measurement {
    /// Whether an emulated board counted instructions in place of time.
    pub fn is_simulated(&self) -> bool {
        let board = self.runtime.board.as_ref();
        board.is_some_and(|board| board.simulated)
    }

    /// Whether it may be used.
    pub fn is_valid(&self) -> bool {
        self.verdict == Verdict::Valid
    }

    /// Whether other programs used the device or it changed its pace during the measurement; over
    /// several processes, during more than half of them.
    pub fn is_disturbed(&self) -> bool {
        let disturbed = self.processes.iter();
        let disturbed = disturbed.filter(|p| pace::is_disturbed(p.sentinel, p.contention));
        match self.processes.len() {
            0 => {
                pace::is_disturbed(self.sentinel, self.contention)
                    || pace::throttling(&self.before, &self.after).is_some()
            }
            all => disturbed.count() * 2 > all,
        }
    }
}

/// Checks that the percentiles ascend and are finite.
fn check_percentiles(m: &wire::Measurement) -> Result<(), ProtocolError> {
    let ascending = [
        m.min_ns as f64,
        m.p5_ns,
        m.p25_ns,
        m.p50_ns,
        m.p75_ns,
        m.p95_ns,
        m.p99_ns,
    ];
    if ascending.windows(2).all(|pair| pair[0] <= pair[1]) && m.p99_ns.is_finite() {
        return Ok(());
    }
    Err(ProtocolError::field(
        "Measurement",
        "percentiles",
        format!("{ascending:?}"),
        "they must ascend and be finite",
    ))
}

/// Checks the series of times.
fn check_series(m: &wire::Measurement) -> Result<(), ProtocolError> {
    const M: &str = "Measurement";
    count(M, "samples_ns", &m.samples_ns, bounds::MAX_SAMPLES)?;
    count(M, "warmup_ns", &m.warmup_ns, bounds::MAX_SAMPLES)?;
    count(M, "preempted_ns", &m.preempted_ns, bounds::MAX_SAMPLES)?;
    if m.samples_ns.is_empty() {
        return Err(ProtocolError::Missing {
            message: M,
            field: "samples_ns",
        });
    }
    let runs = (1, bounds::MAX_BLOCK_RUNS);
    within(M, "block_runs", m.block_runs, runs, "1 to 4096 runs")?;
    Ok(())
}

impl TryFrom<wire::Measurement> for Measurement {
    type Error = ProtocolError;

    fn try_from(m: wire::Measurement) -> Result<Self, ProtocolError> {
        const M: &str = "Measurement";
        check_series(&m)?;
        check_percentiles(&m)?;
        count(M, "notes", &m.notes, MAX_NOTES)?;
        let median_ns = amount(M, "median_ns", m.median_ns)?;
        let low = amount(M, "ci95_low_ns", m.ci95_low_ns)?;
        let high = amount(M, "ci95_high_ns", m.ci95_high_ns)?;
        within(
            M,
            "median_ns",
            median_ns,
            (low, high),
            "it must lie in its own interval",
        )?;
        let reference = (!m.reference_sha256.is_empty()).then_some(&m.reference_sha256[..]);
        let reference = reference.map(|bytes| Sha256::from_wire(M, bytes));
        let reason = lines(M, "invalid_reason", m.invalid_reason)?;
        let notes = m.notes.into_iter().map(|note| lines(M, "notes", note));
        Ok(Self {
            name: name(M, "name", m.name)?,
            model_sha256: Sha256::from_wire(M, &m.model_sha256)?,
            reference_sha256: reference.transpose()?,
            median_ns,
            ci95_ns: (low, high),
            min_ns: m.min_ns,
            p5_ns: m.p5_ns,
            p25_ns: m.p25_ns,
            p50_ns: m.p50_ns,
            p75_ns: m.p75_ns,
            p95_ns: m.p95_ns,
            p99_ns: m.p99_ns,
            samples_ns: m.samples_ns,
            block_runs: m.block_runs,
            warmup_ns: m.warmup_ns,
            preempted_ns: m.preempted_ns,
            ratio: m.ratio.map(Ratio::try_from).transpose()?,
            peak_memory_bytes: m.peak_memory_bytes,
            before: need(M, "before", m.before)?.try_into()?,
            after: need(M, "after", m.after)?.try_into()?,
            runtime: need(M, "runtime", m.runtime)?.try_into()?,
            verdict: if reason.is_empty() {
                Verdict::Valid
            } else {
                Verdict::Invalid { reason }
            },
            notes: notes.collect::<Result<_, _>>()?,
            taken_unix_ns: m.taken_unix_ns,
            load_ns: m.load_ns,
            sentinel: m.sentinel.map(Into::into),
            contention: m.contention.map(Into::into),
            processes: list(M, "processes", m.processes, bounds::MAX_PROCESSES)?,
            reference_excess_rel: m
                .reference_excess_rel
                .map(|excess| amount(M, "reference_excess_rel", excess))
                .transpose()?,
            others_cores: cores(M, m.others_cores)?,
        })
    }
}

impl From<Measurement> for wire::Measurement {
    fn from(m: Measurement) -> Self {
        let bounded = |text| plain::cut(text, bounds::MAX_TEXT_BYTES);
        Self {
            name: m.name,
            model_sha256: m.model_sha256.0.to_vec(),
            reference_sha256: m
                .reference_sha256
                .map(|digest| digest.0.to_vec())
                .unwrap_or_default(),
            median_ns: m.median_ns,
            ci95_low_ns: m.ci95_ns.0,
            ci95_high_ns: m.ci95_ns.1,
            min_ns: m.min_ns,
            p5_ns: m.p5_ns,
            p25_ns: m.p25_ns,
            p50_ns: m.p50_ns,
            p75_ns: m.p75_ns,
            p95_ns: m.p95_ns,
            p99_ns: m.p99_ns,
            samples_ns: m.samples_ns,
            block_runs: m.block_runs,
            warmup_ns: m.warmup_ns,
            preempted_ns: m.preempted_ns,
            ratio: m.ratio.map(Into::into),
            peak_memory_bytes: m.peak_memory_bytes,
            before: Some(m.before.into()),
            after: Some(m.after.into()),
            runtime: Some(m.runtime.into()),
            invalid_reason: match m.verdict {
                Verdict::Valid => String::new(),
                Verdict::Invalid { reason } => bounded(reason),
            },
            notes: m.notes.into_iter().map(bounded).collect(),
            taken_unix_ns: m.taken_unix_ns,
            load_ns: m.load_ns,
            sentinel: m.sentinel.map(Into::into),
            contention: m.contention.map(Into::into),
            processes: m.processes.into_iter().map(Into::into).collect(),
            reference_excess_rel: m.reference_excess_rel,
            others_cores: m.others_cores,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{assert_refused, assert_survives};
    use crate::runtime::tests::options;
    use crate::{NodeProvider, decode};
    use proptest::prelude::*;
    use prost::Message;

    fn measurement() -> Measurement {
        Measurement {
            name: "candidate 1".into(),
            model_sha256: Sha256::of(b"candidate"),
            reference_sha256: Some(Sha256::of(b"reference")),
            median_ns: 2.0,
            ci95_ns: (1.0, 3.0),
            min_ns: 1,
            p5_ns: 1.0,
            p25_ns: 1.5,
            p50_ns: 2.0,
            p75_ns: 2.5,
            p95_ns: 3.0,
            p99_ns: 3.0,
            samples_ns: vec![1, 2, 3],
            block_runs: 1,
            warmup_ns: vec![9],
            preempted_ns: vec![8],
            ratio: Some(Ratio {
                interval: (0.7, 0.6, 0.8).into(),
                low_end: 0.7,
                rounds: 6,
            }),
            peak_memory_bytes: Some(5),
            before: DeviceState::default(),
            after: DeviceState {
                load1: Some(0.5),
                ..DeviceState::default()
            },
            runtime: RuntimeInfo {
                version: "1".into(),
                provider: "CPUExecutionProvider".into(),
                threads: 1,
                spinning: false,
                cores: vec![0],
                nice: -5,
                node_providers: vec![NodeProvider {
                    node: "conv".into(),
                    op_type: "Conv".into(),
                    provider: "CPUExecutionProvider".into(),
                    time_ns: Some(12),
                }],
                options: options(),
                confinement: vec!["no-new-privileges".into()],
                board: None,
            },
            verdict: Verdict::Invalid {
                reason: "too hot".into(),
            },
            notes: vec!["warm".into()],
            taken_unix_ns: 7,
            load_ns: 8,
            sentinel: Some(Sentinel {
                before_ns: 10,
                after_ns: 11,
            }),
            contention: Some(Contention {
                waiting_ns: 1,
                elapsed_ns: 20,
            }),
            reference_excess_rel: Some(0.2),
            others_cores: Some(0.5),
            processes: vec![ProcessFigures {
                samples: 3,
                block_runs: 1,
                median_ns: 2.0,
                ratio: Some(0.7),
                sentinel: None,
                contention: None,
                others_cores: Some(0.25),
            }],
        }
    }

    #[test]
    fn a_measurement_survives_the_wire() {
        assert_survives::<wire::Measurement, _>(&measurement());
    }

    #[test]
    fn a_measurement_that_contradicts_itself_is_refused() {
        let check = |spoil: fn(&mut wire::Measurement), needle: &str| {
            let message = wire::Measurement::from(measurement());
            assert_refused::<_, Measurement>(&message, spoil, needle);
        };
        check(|m| m.median_ns = 4.0, "median_ns is 4");
        check(|m| m.p99_ns = f64::INFINITY, "percentiles");
        check(|m| m.p25_ns = 2.9, "percentiles");
        check(|m| m.samples_ns.clear(), "samples_ns");
        check(|m| m.block_runs = 0, "block_runs is 0");
        check(|m| m.before = None, "before");
        check(|m| m.ratio.as_mut().unwrap().low = 0.0, "low is 0");
        check(|m| m.ratio.as_mut().unwrap().high = 0.65, "median is 0.7");
        check(|m| m.reference_sha256 = vec![1], "1 bytes");
    }

    proptest! {
        #[test]
        fn a_damaged_measurement_is_refused_or_still_consistent(
            at in any::<prop::sample::Index>(),
            value in any::<u8>(),
        ) {
            let mut bytes = wire::Measurement::from(measurement()).encode_to_vec();
            let at = at.index(bytes.len());
            bytes[at] = value;
            if let Ok(Ok(m)) = decode::<wire::Measurement>(&bytes, "m").map(Measurement::try_from) {
                prop_assert!(m.ci95_ns.0 <= m.median_ns && m.median_ns <= m.ci95_ns.1);
                prop_assert!(m.p5_ns <= m.p99_ns && m.p99_ns.is_finite());
            }
        }
    }
}
