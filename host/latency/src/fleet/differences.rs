//! How far the devices of a fleet differ, from what several of them have measured.
//!
//! The time of the reference may differ between devices without harm; the ratio of the same two models should not. A
//! device's *bias* is, over the models that it and others have measured, the median of (its ratio / the geometric mean of
//! the others'). No distribution is assumed, as everywhere ([`crate::stats`]).

use std::collections::BTreeMap;

use agent_protocol::{Ratio, Sha256, stats};
use serde::{Deserialize, Serialize};

use crate::{Key, Record};

/// A figure with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The median.
    pub median: f64,
    /// Lower end: by order statistics from six values on, else the lowest end of the single intervals.
    pub low: f64,
    /// Upper end, likewise.
    pub high: f64,
    /// Values behind it.
    pub count: usize,
}

impl Estimate {
    /// From values with intervals of their own: `(value, low, high)`. `None` of nothing.
    fn of(values: &[(f64, f64, f64)]) -> Option<Self> {
        let middles: Vec<f64> = values.iter().map(|value| value.0).collect();
        let hull = || {
            let low = values
                .iter()
                .map(|value| value.1)
                .fold(f64::INFINITY, f64::min);
            let high = values
                .iter()
                .map(|value| value.2)
                .fold(f64::NEG_INFINITY, f64::max);
            (low, high)
        };
        let (low, high) = stats::median_ci(&middles).unwrap_or_else(hull);
        Some(Self {
            median: stats::median(&middles)?,
            low,
            high,
            count: values.len(),
        })
    }
}

/// What is known of a device beside the others.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Difference {
    /// The device's identity.
    pub device_id: String,
    /// Valid measurements of candidates beside the reference.
    pub measured: usize,
    /// The reference's own latency, ns.
    pub reference_ns: Option<Estimate>,
    /// The reference's ratio to itself: off from one by no more than what its interval says, or something is wrong with how
    /// the device measures.
    pub itself: Option<Ratio>,
    /// Its ratios over those of the others, of the models that it shares with them.
    pub bias: Option<Estimate>,
    /// Whether the bias is more than chance, and more than the half-interval of one of its measurements.
    pub differs: bool,
}

/// Compares devices by what a store holds. `keys` are the keys that each device's measurements of some model would have:
/// only what was measured beside the same reference, with the same settings and runtime, is compared. One difference a
/// key, in their order.
pub fn differences(keys: &[Key], records: &[Record]) -> Vec<Difference> {
    let mut ratios: BTreeMap<Sha256, Vec<Option<Ratio>>> = BTreeMap::new();
    let mut found: Vec<Difference> = keys
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
            references[device].push((m.median_ns, m.ci95_ns.0, m.ci95_ns.1));
        }
        let Some(ratio) = m.ratio.filter(|_| m.reference_sha256 == reference) else {
            continue;
        };
        if Some(m.model_sha256) == reference {
            found[device].itself = Some(ratio);
            continue;
        }
        found[device].measured += 1;
        // The newest counts.
        ratios
            .entry(m.model_sha256)
            .or_insert_with(|| vec![None; keys.len()])[device] = Some(ratio);
    }
    for (device, difference) in found.iter_mut().enumerate() {
        difference.reference_ns = Estimate::of(&references[device]);
        let shared: Vec<(Ratio, f64, f64, f64)> = ratios
            .values()
            .filter_map(|row| beside_others(row, device))
            .collect();
        let values: Vec<_> = shared.iter().map(|s| (s.1, s.2, s.3)).collect();
        difference.bias = Estimate::of(&values);
        let single: Vec<f64> = shared.iter().map(|s| s.0.ci_rel()).collect();
        difference.differs = difference.bias.is_some_and(|bias| {
            let by_chance = bias.low <= 1.0 && 1.0 <= bias.high;
            let half = stats::median(&single).unwrap_or(0.0);
            !by_chance && (bias.median - 1.0).abs() > half
        });
    }
    found
}

/// A device's ratio of one model over the geometric mean of the others', with the interval that follows from the intervals of
/// all. `None` unless the device and another have measured it.
fn beside_others(row: &[Option<Ratio>], device: usize) -> Option<(Ratio, f64, f64, f64)> {
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
    let mean = |part: fn(&Ratio) -> f64| {
        let logs: f64 = others.iter().map(|ratio| part(ratio).ln()).sum();
        (logs / others.len() as f64).exp()
    };
    Some((
        own,
        own.median / mean(|r| r.median),
        own.low / mean(|r| r.high),
        own.high / mean(|r| r.low),
    ))
}
