//! Tables and sentences.

use std::fmt::Write;

use super::Compared;
use crate::compare::{Change, Verdict};

/// Milliseconds with three digits after the point.
fn ms(ns: Option<f64>) -> String {
    ns.map_or_else(|| "-".into(), |ns| format!("{:.3}", ns / 1e6))
}

fn percent(share: f64) -> String {
    format!("{:+.1} %", share * 100.0)
}

fn interval(change: Option<&Change>) -> String {
    change.map_or_else(
        || "-".into(),
        |c| {
            format!(
                "{} ({} to {})",
                percent(c.estimate),
                percent(c.low),
                percent(c.high)
            )
        },
    )
}

/// One sentence about a comparison.
pub(super) fn sentence(compared: &Compared, threshold: f64) -> String {
    let notes = compared.notes.join("; ");
    match (&compared.verdict, &compared.change) {
        (Some(Verdict::Regressed), Some(change)) => format!(
            "{} takes {} longer than the baseline ({} to {}), more than the {:.1} % allowed",
            compared.model,
            percent(change.estimate),
            percent(change.low),
            percent(change.high),
            threshold * 100.0
        ),
        (Some(Verdict::Undecided), Some(change)) => format!(
            "{}: the change lies between {} and {}, too wide to tell {:.1} %; {notes}",
            compared.model,
            percent(change.low),
            percent(change.high),
            threshold * 100.0
        ),
        _ => format!("{}: {notes}", compared.model),
    }
}

/// Columns for a terminal.
pub fn table(all: &[Compared]) -> String {
    let head = [
        "model",
        "device",
        "latency, ms",
        "baseline, ms",
        "change (95 %)",
        "verdict",
    ]
    .map(String::from);
    let rows: Vec<[String; 6]> = std::iter::once(head)
        .chain(all.iter().map(|c| {
            [
                c.model.clone(),
                c.device.clone(),
                ms(c.median_ns),
                ms(c.baseline_ns),
                interval(c.change.as_ref()),
                c.outcome().to_string(),
            ]
        }))
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..6).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in &rows {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        // Writing to a string does not fail.
        let _ = writeln!(text, "{}", line.trim_end());
    }
    for compared in all.iter().filter(|c| !c.notes.is_empty()) {
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

/// A summary for a pull request.
pub fn markdown(all: &[Compared], threshold: f64) -> String {
    let count = |wanted: Verdict| {
        all.iter()
            .filter(|c| c.verdict == Some(wanted.clone()))
            .count()
    };
    let unmeasured = all.iter().filter(|c| c.is_unmeasured()).count();
    let headline = match (count(Verdict::Regressed), unmeasured) {
        (0, 0) => "no regression".to_owned(),
        (0, n) => format!("{n} could not be compared"),
        (n, 0) => format!("{n} slower than before"),
        (n, m) => format!("{n} slower than before, {m} could not be compared"),
    };
    let mut text = format!(
        "### Latency on hardware: {headline}\n\n| model | device | latency, ms | baseline, ms | change (95 %) | verdict |\n|---|---|---|---|---|---|\n"
    );
    for c in all {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} |",
            c.model.replace('|', "\\|"),
            c.device,
            ms(c.median_ns),
            ms(c.baseline_ns),
            interval(c.change.as_ref()),
            c.outcome()
        );
    }
    let _ = write!(
        text,
        "\nA regression is a change above {:.1} % whose 95 % interval lies above zero. Old and new were measured interleaved in the same processes{}.\n",
        threshold * 100.0,
        if all.iter().all(|c| c.interleaved || c.change.is_none()) {
            ""
        } else {
            " where the baseline's model was at hand, else related to the device's own pace"
        }
    );
    text
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::*;

    fn compared(verdict: Option<Verdict>) -> Compared {
        Compared {
            model: "net".into(),
            device: "board".into(),
            device_id: "board-1".into(),
            sha256: "00".into(),
            median_ns: Some(2.1e6),
            median_ci95_ns: Some((2.0e6, 2.2e6)),
            processes: 5,
            baseline_ns: Some(2e6),
            change: verdict.is_some().then_some(Change {
                estimate: 0.05,
                low: 0.04,
                high: 0.06,
                noise: 0.01,
                processes: 5,
            }),
            interleaved: true,
            verdict,
            notes: Vec::new(),
            statistics: None,
        }
    }

    #[test]
    fn every_output_names_the_regression_and_its_size() {
        let all = [
            compared(Some(Verdict::Regressed)),
            compared(Some(Verdict::Fine)),
        ];
        let junit = super::super::junit(&all, 0.03).unwrap();
        for text in [table(&all), markdown(&all, 0.03), junit.clone()] {
            assert!(text.contains("+5.0 %") && text.contains("net"), "{text}");
        }
        assert!(markdown(&all, 0.03).contains("1 slower than before"));
        assert!(
            junit.contains("failures=\"1\"") && junit.contains("tests=\"2\""),
            "{junit}"
        );
    }

    #[test]
    fn an_outcome_comes_back_from_its_word() {
        let unmeasured = Compared {
            median_ns: None,
            ..compared(Some(Verdict::Fine))
        };
        for (compared, word) in [
            (unmeasured, "unmeasured"),
            (compared(None), "no_baseline"),
            (compared(Some(Verdict::Undecided)), "undecided"),
            (compared(Some(Verdict::Regressed)), "regressed"),
        ] {
            assert_eq!(compared.outcome().word(), word);
            assert_eq!(Outcome::of_word(word), Some(compared.outcome()));
        }
        assert_eq!(Outcome::of_word("brilliant"), None);
    }

    #[test]
    fn what_could_not_be_measured_is_an_error_not_a_success() {
        let mut lost = compared(None);
        (lost.median_ns, lost.notes) = (None, vec!["the device is gone".into()]);
        let all = [lost, compared(Some(Verdict::Undecided))];
        let junit = super::super::junit(&all, 0.03).unwrap();
        assert!(
            junit.contains("errors=\"2\"") && junit.contains("the device is gone"),
            "{junit}"
        );
        assert!(markdown(&all, 0.03).contains("2 could not be compared"));
        assert!(table(&all).contains("too noisy to tell"));
    }
}
