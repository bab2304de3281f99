//! Tables and sentences.

use std::fmt::Write;

use super::{Compared, Summary};
use crate::compare::Change;
use crate::verdict::{Gravity, Verdict};

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
                percent(c.estimate.value),
                percent(c.estimate.low),
                percent(c.estimate.high)
            )
        },
    )
}

/// One sentence about a comparison.
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
            "{model}: the change lies between {} and {}, too wide to tell {allowed:.1} %",
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
    /// What it came to, in a few words.
    pub fn headline(&self) -> String {
        let graves = |wanted| {
            let all = self.all.iter().filter(|c| c.verdict.gravity() == wanted);
            all.count()
        };
        let (slower, untold) = (graves(Gravity::Failure), graves(Gravity::Error));
        let mut parts = Vec::new();
        if slower > 0 {
            parts.push(format!("{slower} slower than before"));
        }
        if untold > 0 {
            parts.push(format!("{untold} could not be compared"));
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

    /// Columns for a terminal.
    pub fn table(&self) -> String {
        let all = &self.all;
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
                    c.verdict.to_string(),
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
    pub fn markdown(&self) -> String {
        let plain = |text: &str| text.replace('|', "\\|").replace('\n', " ");
        let mut text = format!("### Latency on hardware: {}\n", self.headline());
        if !self.all.is_empty() {
            text.push_str(
            "\n| model | device | latency, ms | baseline, ms | change (95 %) | verdict |\n|---|---|---|---|---|---|\n",
        );
        }
        for c in &self.all {
            // Writing to a string does not fail.
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} |",
                plain(&c.model),
                plain(&c.device),
                ms(c.median_ns),
                ms(c.baseline_ns),
                interval(c.change.as_ref()),
                c.verdict
            );
        }
        let graves = self
            .all
            .iter()
            .filter(|c| c.verdict.gravity() == Gravity::Error);
        let told: Vec<String> = graves.map(|c| sentence(c, self.threshold)).collect();
        for line in told.iter().chain(&self.failure) {
            let _ = write!(text, "\n- {}", line.replace('\n', " "));
        }
        if self.failure.is_some() || !told.is_empty() {
            text.push('\n');
        }
        if self.all.iter().all(|c| c.change.is_none()) {
            return text;
        }
        let apart = self
            .all
            .iter()
            .any(|c| c.change.is_some() && !c.interleaved);
        let _ = write!(
            text,
            "\nA regression is a change above {:.1} % whose 95 % interval lies above zero. Old and new were measured interleaved in the same processes{}.\n",
            self.threshold * 100.0,
            if apart {
                " where the baseline's model was at hand, else related to the device's own pace"
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
            Verdict::Fine | Verdict::Improved | Verdict::Regressed | Verdict::Undecided
        );
        Compared {
            model: "net".into(),
            device: "board".into(),
            device_id: "board-1".into(),
            sha256: "00".into(),
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
        }
    }

    /// What every output says of a summary: failures and errors in JUnit, the headline, a word of the table.
    fn check(summary: &Summary, code: u8, (failures, errors): (usize, usize), headline: &str) {
        assert_eq!(summary.gravity().exit_code(), code, "{summary:?}");
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
            if compared.verdict.gravity() == Gravity::Error {
                for note in &compared.notes {
                    assert!(junit.contains(note) && markdown.contains(note), "{note}");
                }
            }
        }
    }

    #[test]
    fn every_output_and_the_exit_code_agree_on_every_verdict() {
        use Verdict::{Fine, Improved, NoBaseline, Regressed, Uncompared, Undecided, Unmeasured};
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
            1,
            (1, 0),
            "1 slower than before",
        );
        for untold in [Unmeasured, Uncompared, Undecided] {
            check(
                &summary(&[untold], None),
                2,
                (0, 1),
                "1 could not be compared",
            );
            check(
                &summary(&[Fine, untold, Regressed], None),
                1,
                (1, 1),
                "1 slower than before, 1 could not be compared",
            );
        }
        let failed = "the guard could not do its work";
        check(&summary(&[], Some("no such baseline")), 2, (0, 1), failed);
        check(
            &summary(&[Fine], Some("the disk is full")),
            2,
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
    fn every_output_names_the_regression_and_its_size() {
        let all = summary(&[Verdict::Regressed, Verdict::Fine], None);
        for text in [all.table(), all.markdown(), all.junit().unwrap()] {
            assert!(text.contains("+5.0 %") && text.contains("net"), "{text}");
        }
    }

    #[test]
    fn a_verdict_comes_back_from_its_word() {
        for verdict in Verdict::ALL {
            assert_eq!(Verdict::of_word(verdict.word()), Some(verdict));
            assert_eq!(serde_json::to_value(verdict).unwrap(), verdict.word());
        }
        assert_eq!(Verdict::of_word("brilliant"), None);
    }
}
