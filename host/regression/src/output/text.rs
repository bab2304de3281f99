//! Text for terminals and pull requests.

use std::fmt::Write;

use comfy_table::{Table, presets};

use crate::compare::Change;
use crate::summary::{Compared, Summary};
use crate::verdict::{Severity, Verdict};

/// The columns of both tables.
const COLUMNS: [&str; 7] = [
    "model",
    "device",
    "latency, ms",
    "baseline, ms",
    "change (95 %)",
    "memory, MB",
    "verdict",
];

/// Milliseconds with three decimals.
pub(super) fn ms(ns: Option<f64>) -> String {
    ns.map_or_else(|| "-".into(), |ns| format!("{:.3}", ns / 1e6))
}

fn percent(share: f64) -> String {
    format!("{:+.1} %", share * 100.0)
}

pub(super) fn interval(change: Option<&Change>) -> String {
    change.map_or_else(
        || "-".into(),
        |c| {
            format!(
                "{} ({} to {})",
                percent(c.estimate.value),
                percent(c.estimate.low),
                percent(c.estimate.high)
            )
        },
    )
}

/// Peak memory, and its change against the baseline's.
fn memory(compared: &Compared) -> String {
    let Some(now) = compared.peak_memory_bytes else {
        return "-".into();
    };
    let change = compared.baseline_peak_memory_bytes.map(|before| {
        let change = now as f64 / before.max(1) as f64 - 1.0;
        format!(" ({})", percent(change))
    });
    format!("{:.1}{}", now as f64 / 1e6, change.unwrap_or_default())
}

fn cells(compared: &Compared) -> [String; 7] {
    [
        compared.model.clone(),
        compared.device.clone(),
        ms(compared.median_ns),
        ms(compared.baseline_ns),
        interval(compared.change.as_ref()),
        memory(compared),
        compared.verdict.to_string(),
    ]
}

/// Describes a comparison in one sentence, followed by its notes.
pub(super) fn sentence(compared: &Compared, threshold: f64) -> String {
    let (model, allowed) = (&compared.model, threshold * 100.0);
    let mut text = match (compared.verdict, &compared.change) {
        (Verdict::Regressed, Some(change)) => format!(
            "{model} takes {} longer than the baseline ({} to {}), more than the {allowed:.1} % allowed",
            percent(change.estimate.value),
            percent(change.estimate.low),
            percent(change.estimate.high),
        ),
        (Verdict::Undecided, Some(change)) => format!(
            "{model}: the change lies between {} and {}, too wide to decide on {allowed:.1} %",
            percent(change.estimate.low),
            percent(change.estimate.high),
        ),
        (verdict, _) => format!("{model}: {verdict}"),
    };
    for note in &compared.notes {
        text.push_str("; ");
        text.push_str(note);
    }
    text
}

impl Summary {
    /// Returns the result in a few words.
    pub fn headline(&self) -> String {
        let count = |of: &dyn Fn(Verdict) -> bool| {
            let all = self.all.iter();
            all.filter(|c| of(c.verdict)).count()
        };
        let slower = count(&|verdict| verdict == Verdict::Regressed);
        let grown = count(&|verdict| verdict == Verdict::Grown);
        let hungrier = count(&|verdict| verdict == Verdict::MemoryGrown);
        let uncompared = count(&|verdict| verdict.severity() == Severity::Error);
        let mut parts = Vec::new();
        if slower > 0 {
            parts.push(format!("{slower} slower than before"));
        }
        if grown > 0 {
            parts.push(format!("{grown} with a file that grew"));
        }
        if hungrier > 0 {
            parts.push(format!("{hungrier} with more memory than before"));
        }
        if uncompared > 0 {
            parts.push(format!("{uncompared} could not be compared"));
        }
        if self.failure.is_some() {
            parts.push("the guard could not do its work".to_owned());
        }
        if !parts.is_empty() {
            return parts.join(", ");
        }
        let compared = |c: &Compared| c.verdict != Verdict::NoBaseline;
        if self.all.iter().any(compared) {
            "no regression".to_owned()
        } else {
            "measured, compared with nothing".to_owned()
        }
    }

    /// Renders a table for a terminal, with the notes below it.
    pub fn table(&self) -> String {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING).set_header(COLUMNS);
        table.add_rows(self.all.iter().map(cells));
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        let mut text = table.trim_fmt();
        text.push('\n');
        for compared in self.all.iter().filter(|c| !c.notes.is_empty()) {
            // Writing to a string does not fail.
            let _ = writeln!(
                text,
                "{} on {}: {}",
                compared.model,
                compared.device,
                compared.notes.join("; ")
            );
        }
        text
    }

    /// Renders a summary for a pull request, in Markdown.
    pub fn markdown(&self) -> String {
        let escaped = |text: String| text.replace('|', "\\|").replace('\n', " ");
        let mut text = format!("### Latency on hardware: {}\n", self.headline());
        // Writing to a string does not fail.
        if !self.all.is_empty() {
            let rule = ["---"; COLUMNS.len()].join("|");
            let _ = writeln!(text, "\n| {} |\n|{rule}|", COLUMNS.join(" | "));
        }
        for compared in &self.all {
            let row = cells(compared).map(escaped).join(" | ");
            let _ = writeln!(text, "| {row} |");
        }
        let errors = self.all.iter().filter(|c| {
            c.verdict.severity() == Severity::Error
                || matches!(c.verdict, Verdict::Grown | Verdict::MemoryGrown)
        });
        let sentences: Vec<String> = errors.map(|c| sentence(c, self.threshold)).collect();
        for line in sentences.iter().chain(&self.failure) {
            let _ = write!(text, "\n- {}", line.replace('\n', " "));
        }
        if self.failure.is_some() || !sentences.is_empty() {
            text.push('\n');
        }
        if self.all.iter().all(|c| c.change.is_none()) {
            return text;
        }
        let some_apart = self
            .all
            .iter()
            .any(|c| c.change.is_some() && !c.interleaved);
        let _ = write!(
            text,
            "\nA regression is a change above {:.1} % whose 95 % interval lies above zero. Old and new were measured interleaved in the same processes{}.\n",
            self.threshold * 100.0,
            if some_apart {
                " where the baseline's model was kept, else compared by the device's pace"
            } else {
                ""
            }
        );
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(verdict: Verdict) -> Compared {
        let is_compared = matches!(
            verdict,
            Verdict::Fine
                | Verdict::Improved
                | Verdict::Regressed
                | Verdict::Grown
                | Verdict::MemoryGrown
                | Verdict::Undecided
        );
        Compared {
            model: "net".into(),
            device: "board".into(),
            device_id: "board-1".into(),
            sha256: "00".into(),
            bytes: 1000,
            baseline_bytes: is_compared.then_some(900),
            peak_memory_bytes: (verdict != Verdict::Unmeasured).then_some(5_250_000),
            baseline_peak_memory_bytes: is_compared.then_some(5_000_000),
            seconds: 2.5,
            median_ns: (verdict != Verdict::Unmeasured).then_some(2.1e6),
            median_ci95_ns: Some((2.0e6, 2.2e6)),
            processes: 5,
            baseline_ns: is_compared.then_some(2e6),
            change: is_compared.then_some(Change {
                estimate: (0.05, 0.04, 0.06).into(),
                noise: 0.01,
                processes: 5,
            }),
            interleaved: true,
            verdict,
            notes: if verdict == Verdict::Unmeasured {
                vec!["the device is gone".into()]
            } else {
                Vec::new()
            },
            statistics: None,
        }
    }

    fn summary(verdicts: &[Verdict], failure: Option<&str>) -> Summary {
        Summary {
            all: verdicts.iter().copied().map(compared).collect(),
            threshold: 0.03,
            failure: failure.map(Into::into),
            baseline: Some("main".into()),
            label: "46c16f1".into(),
        }
    }

    /// Checks the exit code, the numbers of failures and errors in JUnit, and the headline.
    fn check(summary: &Summary, code: u8, (failures, errors): (usize, usize), headline: &str) {
        assert_eq!(summary.severity().exit_code(), code, "{summary:?}");
        let junit = summary.junit().unwrap();
        let count = |name: &str| junit.matches(&format!("<{name} ")).count();
        assert_eq!(
            (count("failure"), count("error")),
            (failures, errors),
            "{junit}"
        );
        assert!(
            junit.contains(&format!("failures=\"{failures}\" errors=\"{errors}\"")),
            "{junit}"
        );
        let markdown = summary.markdown();
        assert!(
            markdown.contains(&format!("hardware: {headline}\n")),
            "{markdown}"
        );
        assert_eq!(headline, summary.headline());
        let (json, table) = (serde_json::to_value(&summary.all).unwrap(), summary.table());
        for (n, compared) in summary.all.iter().enumerate() {
            assert_eq!(json[n]["verdict"], compared.verdict.word());
            for text in [&table, &markdown] {
                assert!(text.contains(&compared.verdict.to_string()), "{text}");
            }
            if compared.verdict.severity() == Severity::Error {
                for note in &compared.notes {
                    assert!(junit.contains(note) && markdown.contains(note), "{note}");
                }
            }
        }
    }

    #[test]
    fn the_table_aligns_its_columns_and_puts_notes_below() {
        let text = summary(&[Verdict::Fine, Verdict::Unmeasured], None).table();
        let expected = "\
model  device  latency, ms  baseline, ms  change (95 %)              memory, MB    verdict
net    board   2.100        2.000         +5.0 % (+4.0 % to +6.0 %)  5.2 (+5.0 %)  fine
net    board   -            -             -                          -             not measured
net on board: the device is gone
";
        assert_eq!(text, expected);
    }

    #[test]
    fn every_output_and_the_exit_code_agree_on_every_verdict() {
        use Verdict::{
            Fine, Grown, Improved, MemoryGrown, NoBaseline, Regressed, Uncompared, Undecided,
            Unmeasured,
        };
        let nothing = "measured, compared with nothing";
        check(&summary(&[Fine], None), 0, (0, 0), "no regression");
        check(
            &summary(&[Improved, Fine], None),
            0,
            (0, 0),
            "no regression",
        );
        check(&summary(&[NoBaseline], None), 0, (0, 0), nothing);
        check(
            &summary(&[Regressed, Fine], None),
            3,
            (1, 0),
            "1 slower than before",
        );
        check(
            &summary(&[Grown, Fine], None),
            3,
            (1, 0),
            "1 with a file that grew",
        );
        check(
            &summary(&[MemoryGrown], None),
            3,
            (1, 0),
            "1 with more memory than before",
        );
        for error in [Unmeasured, Uncompared, Undecided] {
            check(
                &summary(&[error], None),
                1,
                (0, 1),
                "1 could not be compared",
            );
            check(
                &summary(&[Fine, error, Regressed], None),
                3,
                (1, 1),
                "1 slower than before, 1 could not be compared",
            );
        }
        let failed = "the guard could not do its work";
        check(&summary(&[], Some("no such baseline")), 1, (0, 1), failed);
        check(
            &summary(&[Fine], Some("the disk is full")),
            1,
            (0, 1),
            failed,
        );
        assert!(
            summary(&[], Some("no such baseline"))
                .markdown()
                .contains("no such baseline")
        );
    }

    #[test]
    fn junit_has_the_duration_the_properties_and_the_skips() {
        let junit = summary(&[Verdict::Regressed, Verdict::NoBaseline], None).junit();
        let junit = junit.unwrap();
        for part in [
            "time=\"2.500\"",
            "<property name=\"change\" value=\"+5.0 % (+4.0 % to +6.0 %)\"/>",
            "<property name=\"latency_ms\" value=\"2.100\"/>",
            "<property name=\"bytes\" value=\"1000\"/>",
            "<property name=\"peak_memory_bytes\" value=\"5250000\"/>",
            "<property name=\"baseline_peak_memory_bytes\" value=\"5000000\"/>",
            "<property name=\"baseline\" value=\"main\"/>",
            "<property name=\"label\" value=\"46c16f1\"/>",
            "<skipped",
        ] {
            assert!(junit.contains(part), "{part}: {junit}");
        }
    }

    #[test]
    fn every_output_names_a_regression_and_its_size() {
        let all = summary(&[Verdict::Regressed, Verdict::Fine], None);
        for text in [all.table(), all.markdown(), all.junit().unwrap()] {
            assert!(text.contains("+5.0 %") && text.contains("net"), "{text}");
        }
    }

    #[test]
    fn a_verdict_survives_the_round_trip_through_its_word() {
        for verdict in Verdict::ALL {
            assert_eq!(Verdict::of_word(verdict.word()), Some(verdict));
            assert_eq!(serde_json::to_value(verdict).unwrap(), verdict.word());
        }
        assert_eq!(Verdict::of_word("brilliant"), None);
    }
}
