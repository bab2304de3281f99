//! The exported columns, common to all formats.

use agent_protocol::{BoardInfo, Measurement, Verdict};

use crate::Record;

/// The value of a cell.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Text(String),
    Whole(Option<i64>),
    Real(Option<f64>),
    Truth(bool),
    List(Vec<i64>),
}

/// The kind of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Whole,
    Real,
    Truth,
    List,
}

/// A column.
pub(super) struct Column {
    /// The name, with the unit.
    pub name: &'static str,
    pub kind: Kind,
    /// Returns the cell of a record, of the column's kind.
    pub value: fn(&Record) -> Value,
}

fn text(text: impl Into<String>) -> Value {
    Value::Text(text.into())
}

fn whole(number: u64) -> Value {
    Value::Whole(Some(i64::try_from(number).unwrap_or(i64::MAX)))
}

fn hottest(m: &Measurement) -> Option<i64> {
    let zones = m.before.thermal.iter().chain(&m.after.thermal);
    zones.map(|zone| zone.millicelsius).max()
}

/// What is known of a bare-metal board.
fn of_board(record: &Record, get: impl Fn(&BoardInfo) -> Option<&str>) -> Value {
    let board = record.measurement.runtime.board.as_ref();
    text(board.and_then(get).unwrap_or_default())
}

macro_rules! columns {
    ($($name:literal $kind:ident $value:expr;)*) => {
        &[$(Column { name: $name, kind: Kind::$kind, value: $value }),*]
    };
}

const COLUMNS: &[Column] = columns! {
    "id" Whole |r| Value::Whole(Some(r.id));
    "taken_unix_ns" Whole |r| whole(r.measurement.taken_unix_ns);
    "model_name" Text |r| text(r.measurement.name.as_str());
    "model_sha256" Text |r| text(r.measurement.model_sha256.to_string());
    "reference_sha256" Text |r| text(r.measurement.reference_sha256.map_or_else(String::new, |d| d.to_string()));
    "device" Text |r| text(r.device.as_str());
    "device_name" Text |r| text(r.origin.device_name.as_str());
    "profile" Text |r| text(r.origin.profile.as_str());
    "hostname" Text |r| text(r.origin.hostname.as_str());
    "processor" Text |r| text(r.origin.processor.as_str());
    "agent_version" Text |r| text(r.origin.agent_version.as_str());
    "protocol" Whole |r| Value::Whole(r.origin.protocol.map(i64::from));
    "host" Text |r| text(r.origin.host.as_str());
    "graphprune_version" Text |r| text(r.origin.graphprune_version.as_str());
    "runtime_version" Text |r| text(r.runtime.as_str());
    "providers_asked" Text |r| text(r.providers.as_str());
    "setup" Text |r| text(r.setup.as_str());
    "valid" Truth |r| Value::Truth(r.measurement.is_valid());
    "invalid_reason" Text |r| text(match &r.measurement.verdict {
        Verdict::Valid => "",
        Verdict::Invalid { reason } => reason,
    });
    "simulated" Truth |r| Value::Truth(r.measurement.is_simulated());
    "chip_id" Text |r| of_board(r, |board| board.chip_id.as_deref());
    "probe_firmware" Text |r| of_board(r, |board| board.probe_firmware.as_deref());
    "median_ns" Real |r| Value::Real(Some(r.measurement.median_ns));
    "median_ci95_low_ns" Real |r| Value::Real(Some(r.measurement.ci95_ns.0));
    "median_ci95_high_ns" Real |r| Value::Real(Some(r.measurement.ci95_ns.1));
    "min_ns" Whole |r| whole(r.measurement.min_ns);
    "p5_ns" Real |r| Value::Real(Some(r.measurement.p5_ns));
    "p25_ns" Real |r| Value::Real(Some(r.measurement.p25_ns));
    "p50_ns" Real |r| Value::Real(Some(r.measurement.p50_ns));
    "p75_ns" Real |r| Value::Real(Some(r.measurement.p75_ns));
    "p95_ns" Real |r| Value::Real(Some(r.measurement.p95_ns));
    "p99_ns" Real |r| Value::Real(Some(r.measurement.p99_ns));
    "samples" Whole |r| whole(r.measurement.samples_ns.len() as u64);
    "block_runs" Whole |r| whole(u64::from(r.measurement.block_runs));
    "preempted_runs" Whole |r| whole(r.measurement.preempted_ns.len() as u64);
    "ratio" Real |r| Value::Real(r.measurement.ratio.map(|ratio| ratio.interval.value));
    "ratio_ci95_low" Real |r| Value::Real(r.measurement.ratio.map(|ratio| ratio.interval.low));
    "ratio_ci95_high" Real |r| Value::Real(r.measurement.ratio.map(|ratio| ratio.interval.high));
    "peak_memory_bytes" Whole |r| Value::Whole(
        r.measurement.peak_memory_bytes.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX))
    );
    "load_ns" Whole |r| whole(r.measurement.load_ns);
    "hottest_millicelsius" Whole |r| Value::Whole(hottest(&r.measurement));
    "notes" Text |r| text(r.measurement.notes.join("; "));
};

const SAMPLES: Column = Column {
    name: "samples_ns",
    kind: Kind::List,
    value: |r| {
        let samples = r.measurement.samples_ns.iter();
        Value::List(
            samples
                .map(|&ns| i64::try_from(ns).unwrap_or(i64::MAX))
                .collect(),
        )
    },
};

/// Returns the columns in order.
pub(super) fn of(samples: bool) -> impl Iterator<Item = &'static Column> {
    COLUMNS.iter().chain(samples.then_some(&SAMPLES))
}
