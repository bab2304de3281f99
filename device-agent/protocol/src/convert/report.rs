//! Messages to checked types and back: what the device reports.

use crate::check::{amount, count, digest, lines, name, names, need, text, within};
use crate::interval::Interval;
use crate::types::{
    Battery, CoreState, DeviceState, Measurement, NodeProvider, Ratio, RuntimeInfo, Sha256,
    ThermalZone, Verdict,
};
use crate::{ProtocolError, bounds, plain, wire};

impl TryFrom<wire::DeviceState> for DeviceState {
    type Error = ProtocolError;

    fn try_from(m: wire::DeviceState) -> Result<Self, ProtocolError> {
        const M: &str = "DeviceState";
        count(M, "cores", &m.cores, bounds::MAX_CORES)?;
        count(M, "thermal", &m.thermal, bounds::MAX_ZONES)?;
        let cores = m.cores.into_iter().map(|core| {
            Ok(CoreState {
                frequency_khz: core.frequency_khz,
                governor: core
                    .governor
                    .map(|text| name("CoreState", "governor", text))
                    .transpose()?,
                throttle_count: core.throttle_count,
            })
        });
        let thermal = m.thermal.into_iter().map(|zone| {
            Ok(ThermalZone {
                name: name("ThermalZone", "name", zone.name)?,
                millicelsius: zone.millicelsius,
            })
        });
        Ok(Self {
            taken_unix_ns: m.taken_unix_ns,
            cores: cores.collect::<Result<_, ProtocolError>>()?,
            thermal: thermal.collect::<Result<_, ProtocolError>>()?,
            load1: m.load1.map(|load| amount(M, "load1", load)).transpose()?,
            available_memory_bytes: m.available_memory_bytes,
            cpu_busy_ns: m.cpu_busy_ns,
            cpu_steal_ns: m.cpu_steal_ns,
            battery: m.battery.map(|b| Battery {
                percent: b.percent,
                charging: b.charging,
                millicelsius: b.millicelsius,
            }),
            free_disk_bytes: m.free_disk_bytes,
            firmware_throttled: m.firmware_throttled,
        })
    }
}

impl From<DeviceState> for wire::DeviceState {
    fn from(s: DeviceState) -> Self {
        let core = |core: CoreState| wire::CoreState {
            frequency_khz: core.frequency_khz,
            governor: core.governor,
            throttle_count: core.throttle_count,
        };
        let zone = |zone: ThermalZone| wire::ThermalZone {
            name: zone.name,
            millicelsius: zone.millicelsius,
        };
        Self {
            taken_unix_ns: s.taken_unix_ns,
            cores: s.cores.into_iter().map(core).collect(),
            thermal: s.thermal.into_iter().map(zone).collect(),
            load1: s.load1,
            available_memory_bytes: s.available_memory_bytes,
            cpu_busy_ns: s.cpu_busy_ns,
            cpu_steal_ns: s.cpu_steal_ns,
            battery: s.battery.map(|b| wire::Battery {
                percent: b.percent,
                charging: b.charging,
                millicelsius: b.millicelsius,
            }),
            free_disk_bytes: s.free_disk_bytes,
            firmware_throttled: s.firmware_throttled,
        }
    }
}

impl TryFrom<wire::Ratio> for Ratio {
    type Error = ProtocolError;

    fn try_from(m: wire::Ratio) -> Result<Self, ProtocolError> {
        const M: &str = "Ratio";
        let ratio = Self {
            interval: Interval {
                value: amount(M, "median", m.median)?,
                low: amount(M, "low", m.low)?,
                high: amount(M, "high", m.high)?,
            },
            low_end: amount(M, "low_end", m.low_end)?,
            rounds: m.rounds,
        };
        within(
            M,
            "median",
            ratio.interval.value,
            (ratio.interval.low, ratio.interval.high),
            "it must lie in its own interval",
        )?;
        within(
            M,
            "low",
            ratio.interval.low,
            (f64::MIN_POSITIVE, f64::MAX),
            "it must be positive",
        )?;
        Ok(ratio)
    }
}

impl From<Ratio> for wire::Ratio {
    fn from(r: Ratio) -> Self {
        Self {
            median: r.interval.value,
            low: r.interval.low,
            high: r.interval.high,
            low_end: r.low_end,
            rounds: r.rounds,
        }
    }
}

impl TryFrom<wire::NodeProvider> for NodeProvider {
    type Error = ProtocolError;

    fn try_from(m: wire::NodeProvider) -> Result<Self, ProtocolError> {
        const M: &str = "NodeProvider";
        Ok(Self {
            node: text(M, "node", m.node, bounds::MAX_TEXT_BYTES)?,
            op_type: name(M, "op_type", m.op_type)?,
            provider: name(M, "provider", m.provider)?,
            time_ns: m.time_ns,
        })
    }
}

impl From<NodeProvider> for wire::NodeProvider {
    fn from(n: NodeProvider) -> Self {
        Self {
            node: n.node,
            op_type: n.op_type,
            provider: n.provider,
            time_ns: n.time_ns,
        }
    }
}

impl TryFrom<wire::RuntimeInfo> for RuntimeInfo {
    type Error = ProtocolError;

    fn try_from(m: wire::RuntimeInfo) -> Result<Self, ProtocolError> {
        const M: &str = "RuntimeInfo";
        count(M, "cores", &m.cores, bounds::MAX_CORES)?;
        count(M, "node_providers", &m.node_providers, bounds::MAX_NODES)?;
        Ok(Self {
            version: name(M, "version", m.version)?,
            provider: name(M, "provider", m.provider)?,
            threads: m.threads,
            spinning: m.spinning,
            cores: m.cores,
            nice: m.nice,
            node_providers: m
                .node_providers
                .into_iter()
                .map(NodeProvider::try_from)
                .collect::<Result<_, _>>()?,
            options: m.options.unwrap_or_default().try_into()?,
            confinement: names(M, "confinement", m.confinement)?,
        })
    }
}

impl From<RuntimeInfo> for wire::RuntimeInfo {
    fn from(r: RuntimeInfo) -> Self {
        Self {
            version: r.version,
            provider: r.provider,
            threads: r.threads,
            spinning: r.spinning,
            cores: r.cores,
            nice: r.nice,
            node_providers: r.node_providers.into_iter().map(Into::into).collect(),
            options: Some(r.options.into()),
            confinement: r.confinement,
        }
    }
}

fn optional_digest(bytes: &[u8]) -> Result<Option<Sha256>, ProtocolError> {
    if bytes.is_empty() {
        Ok(None)
    } else {
        digest("Measurement", bytes).map(Some)
    }
}

impl TryFrom<wire::Measurement> for Measurement {
    type Error = ProtocolError;

    fn try_from(m: wire::Measurement) -> Result<Self, ProtocolError> {
        const M: &str = "Measurement";
        count(M, "samples_ns", &m.samples_ns, bounds::MAX_SAMPLES)?;
        count(M, "warmup_ns", &m.warmup_ns, bounds::MAX_SAMPLES)?;
        count(M, "preempted_ns", &m.preempted_ns, bounds::MAX_SAMPLES)?;
        count(M, "notes", &m.notes, 64)?;
        if m.samples_ns.is_empty() {
            return Err(ProtocolError::Missing {
                message: M,
                field: "samples_ns",
            });
        }
        within(
            M,
            "block_runs",
            m.block_runs,
            (1, bounds::MAX_BLOCK_RUNS),
            "1 to 4096 runs",
        )?;
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
        let ascending = [
            m.min_ns as f64,
            m.p5_ns,
            m.p25_ns,
            m.p50_ns,
            m.p75_ns,
            m.p95_ns,
            m.p99_ns,
        ];
        if !ascending.windows(2).all(|pair| pair[0] <= pair[1]) || !m.p99_ns.is_finite() {
            let found = format!("{ascending:?}");
            return Err(ProtocolError::field(
                M,
                "percentiles",
                found,
                "they must ascend and be finite",
            ));
        }
        let reason = lines(M, "invalid_reason", m.invalid_reason)?;
        let notes = m.notes.into_iter().map(|note| lines(M, "notes", note));
        Ok(Self {
            name: name(M, "name", m.name)?,
            model_sha256: digest(M, &m.model_sha256)?,
            reference_sha256: optional_digest(&m.reference_sha256)?,
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
        })
    }
}

impl From<Measurement> for wire::Measurement {
    fn from(m: Measurement) -> Self {
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
                Verdict::Invalid { reason } => plain::cut(reason, bounds::MAX_TEXT_BYTES),
            },
            notes: m
                .notes
                .into_iter()
                .map(|note| plain::cut(note, bounds::MAX_TEXT_BYTES))
                .collect(),
            taken_unix_ns: m.taken_unix_ns,
            load_ns: m.load_ns,
            sentinel: m.sentinel.map(Into::into),
        }
    }
}
