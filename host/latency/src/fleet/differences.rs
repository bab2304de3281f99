//! Differences between the devices of a fleet, from the models that several of them measured.
//!
//! The reference's latency may differ between devices; the ratio of the same two models should
//! not. The *bias* of a device is the median, over the models that it shares with others, of its
//! ratio over the geometric mean of theirs. No distribution is assumed ([`crate::stats`]).

use std::collections::BTreeMap;

use agent_protocol::stats::{self, Interval};
use agent_protocol::{Ratio, Sha256};
use serde::{Deserialize, Serialize};

use crate::{Key, Record};

/// A median with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The median. Its interval is by order statistics from six values on, else the hull of the
    /// values' intervals.
    #[serde(flatten, with = "stats::MedianFields")]
    pub interval: Interval,
    /// Number of values.
    pub count: usize,
}

impl Estimate {
    /// Estimates the median of values with intervals; `None` for no values.
    fn of(values: &[Interval]) -> Option<Self> {
        let centres: Vec<f64> = values.iter().map(|of| of.value).collect();
        let hull = || {
            let low = values.iter().map(|of| of.low).fold(f64::INFINITY, f64::min);
            let high = values.iter().map(|of| of.high);
            (low, high.fold(f64::NEG_INFINITY, f64::max))
        };
        let (low, high) = stats::median_ci(&centres).unwrap_or_else(hull);
        Some(Self {
            interval: Interval {
                value: stats::median(&centres)?,
                low,
                high,
            },
            count: values.len(),
        })
    }
}

/// The difference of a device from the others of a fleet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Difference {
    /// The device's identity.
    pub device_id: String,
    /// Number of valid measurements of candidates.
    pub measured: usize,
    /// The reference's latency, ns.
    pub reference_ns: Option<Estimate>,
    /// The reference's ratio to itself. An interval without 1 indicates a flaw of the device's
    /// measurements.
    pub itself: Option<Ratio>,
    /// Its ratios over those of the others, for the models that it shares with them.
    pub bias: Option<Estimate>,
    /// Whether the bias exceeds chance, and the typical half-interval of one measurement.
    pub differs: bool,
}

/// Compares devices by stored measurements. `keys` holds one key of each device for any model;
/// only measurements with its reference, runtime and setup are compared. Returns one difference
/// per key, in order.
pub fn differences(keys: &[Key], records: &[Record]) -> Vec<Difference> {
    let mut ratios: BTreeMap<Sha256, Vec<Option<Ratio>>> = BTreeMap::new();
    let mut differences: Vec<Difference> = keys
        .iter()
        .map(|key| Difference {
            device_id: key.device.clone(),
            ..Difference::default()
        })
        .collect();
    let mut references = vec![Vec::new(); keys.len()];
    for record in records {
        let m = &record.measurement;
        let Some(device) = keys.iter().position(|key| {
            (&key.device, &key.runtime, &key.setup)
                == (&record.device, &record.runtime, &record.setup)
        }) else {
            continue;
        };
        let reference = keys[device].reference;
        if !m.is_valid() {
            continue;
        }
        if m.reference_sha256.is_none() && Some(m.model_sha256) == reference {
            references[device].push((m.median_ns, m.ci95_ns.0, m.ci95_ns.1).into());
        }
        let Some(ratio) = m.ratio.filter(|_| m.reference_sha256 == reference) else {
            continue;
        };
        if Some(m.model_sha256) == reference {
            differences[device].itself = Some(ratio);
            continue;
        }
        differences[device].measured += 1;
        // Records ascend in time, so the newest ratio remains.
        ratios
            .entry(m.model_sha256)
            .or_insert_with(|| vec![None; keys.len()])[device] = Some(ratio);
    }
    for (device, difference) in differences.iter_mut().enumerate() {
        difference.reference_ns = Estimate::of(&references[device]);
        let (own, values): (Vec<Ratio>, Vec<Interval>) = ratios
            .values()
            .filter_map(|row| beside_others(row, device))
            .unzip();
        difference.bias = Estimate::of(&values);
        let single: Vec<f64> = own.iter().map(Ratio::ci_rel).collect();
        difference.differs = difference.bias.is_some_and(|bias| {
            let by_chance = bias.interval.overlaps(&Interval::exact(1.0));
            let half = stats::median(&single).unwrap_or(0.0);
            !by_chance && (bias.interval.value - 1.0).abs() > half
        });
    }
    differences
}

/// A device's ratio of one model, and that ratio over the geometric mean of the others' with an
/// interval that follows from all intervals. `None` unless the device and another one measured
/// the model.
fn beside_others(row: &[Option<Ratio>], device: usize) -> Option<(Ratio, Interval)> {
    let own = row[device]?;
    let others: Vec<Ratio> = row
        .iter()
        .enumerate()
        .filter(|(i, _)| *i != device)
        .filter_map(|(_, ratio)| *ratio)
        .collect();
    if others.is_empty() {
        return None;
    }
    let mean = |part: fn(&Interval) -> f64| {
        let logs: f64 = others.iter().map(|of| part(&of.interval).ln()).sum();
        (logs / others.len() as f64).exp()
    };
    let over = Interval {
        value: own.interval.value / mean(|of| of.value),
        low: own.interval.low / mean(|of| of.high),
        high: own.interval.high / mean(|of| of.low),
    };
    Some((own, over))
}
