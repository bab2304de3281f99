//! The version of a probe's firmware. The drivers of probe-rs read it and write it to their log
//! alone; a version that they do not log is unknown. The driver for CMSIS-DAP does not read it.
//!
//! Source of the lines: probe-rs 0.32, `src/probe/blackmagic/mod.rs` (`new`),
//! `src/probe/jlink/mod.rs` (`attach`) and `src/probe/stlink/mod.rs` (`init`, which logs the pair
//! of `get_version` as Rust's `Debug` writes it).

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Where the drivers' log comes from.
const DRIVERS: &str = "probe_rs::probe::";
/// The field of a line of the log.
const MESSAGE: &str = "message";
/// How the drivers of the Black Magic Probe and of J-Link begin the line with the version.
const WHOLE: [&str; 2] = ["Probe version ", "J-Link: Firmware version: "];
/// How that of ST-Link begins it: hardware and firmware follow.
const PAIR: &str = "STLink version: (";

/// Does work with a probe, and returns the version of its firmware that the driver logs meanwhile.
pub fn listen<T>(work: impl FnOnce() -> T) -> (T, Option<String>) {
    let log = Log::default();
    let version = Arc::clone(&log.version);
    let done = tracing::subscriber::with_default(log, work);
    let version = version
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    (done, version)
}

/// The version in a line of the log.
fn version(line: &str) -> Option<String> {
    if let Some(pair) = line.strip_prefix(PAIR) {
        let (hardware, firmware) = pair.strip_suffix(')')?.split_once(", ")?;
        return Some(format!("V{hardware}J{firmware}"));
    }
    let text = WHOLE.iter().find_map(|begin| line.strip_prefix(begin))?;
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    let text = text.trim();
    // A driver's sign for one that does not answer.
    (!text.is_empty() && text != "?").then(|| text.to_owned())
}

/// Reads the drivers' log.
#[derive(Default)]
struct Log {
    version: Arc<Mutex<Option<String>>>,
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && metadata.target().starts_with(DRIVERS)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::DEBUG)
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        if let Some(found) = version(&line.0) {
            *self.version.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
        }
    }

    // Spans are not enabled.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// The text of a line.
struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == MESSAGE {
            self.0 = format!("{value:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_that_of_the_drivers_line() {
        let check = |line: &str, expected: Option<&str>| {
            assert_eq!(version(line).as_deref(), expected, "{line}");
        };
        check(
            "Probe version Black Magic Probe v1.10.0",
            Some("Black Magic Probe v1.10.0"),
        );
        check(
            "J-Link: Firmware version: J-Link V11 compiled Mar  3 2022\0",
            Some("J-Link V11 compiled Mar  3 2022"),
        );
        check("STLink version: (2, 45)", Some("V2J45"));
        check("J-Link: Firmware version: ?", None);
        check("Probe version ", None);
        check("STLink version: (2", None);
        check("J-Link: Hardware version: 11.0.0", None);
    }

    #[test]
    fn only_what_is_told_meanwhile_is_heard() {
        let tell = || tracing::info!(target: "probe_rs::probe::one", "Probe version {}", 7);
        tell();
        assert_eq!(listen(|| 3), (3, None));
        assert_eq!(listen(tell).1.as_deref(), Some("7"));
        let elsewhere = || tracing::info!(target: "probe_rs::session", "Probe version 8");
        assert_eq!(listen(elsewhere).1, None);
    }
}
