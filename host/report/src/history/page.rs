//! The history as a page.

use std::collections::BTreeSet;

use super::charts;
use super::{HistoryData, Outcome, Run, Series, change, figure};
use crate::format;
use crate::html::Markup;
use crate::page::{document, section};
use crate::sections::{cell, table};

/// The history as one HTML file that opens offline.
pub fn render(data: &HistoryData) -> String {
    document(
        "Latency on hardware",
        |header| head(header, data),
        |main| content(main, data),
        |footer| {
            footer.line(
                "p",
                &[],
                "A regression is a change beyond the threshold whose 95 % interval, over processes of the worker, lies above zero. \
                 Changes come from old and new network measured interleaved; latencies of different runs also hold what the \
                 device did meanwhile.",
            );
        },
    )
}

fn head(header: &mut Markup, data: &HistoryData) {
    header.line("h1", &[], "Latency on hardware");
    let distinct = |of: fn(&Series) -> &str| {
        let all: BTreeSet<&str> = data.series.iter().map(of).collect();
        all.len().to_string()
    };
    let runs: usize = data.series.iter().map(|s| s.runs.len()).sum();
    let first = data.series.iter().filter_map(|s| s.runs.first());
    let last = data.series.iter().filter_map(|s| s.runs.last());
    let facts = [
        ("devices", Some(distinct(|s| &s.device_id))),
        ("models", Some(distinct(|s| &s.model))),
        ("measurements", Some(runs.to_string())),
        (
            "from",
            first.map(|run| run.unix_s).min().map(format::moment),
        ),
        (
            "to",
            last.clone().map(|run| run.unix_s).max().map(format::moment),
        ),
    ];
    header.element("ul", &[("class", "facts")], |list| {
        for (name, value) in &facts {
            if let Some(value) = value {
                list.element("li", &[], |item| {
                    item.text(&format!("{name} "));
                    item.line("b", &[], value);
                });
            }
        }
    });
    let newest: Vec<Outcome> = last.map(|run| run.outcome).collect();
    let count = |outcome| newest.iter().filter(|&&o| o == outcome).count();
    let (slower, unsure) = (
        count(Outcome::Regressed),
        count(Outcome::Undecided) + count(Outcome::Unmeasured) + count(Outcome::Uncompared),
    );
    let (class, word, why) = if newest.is_empty() {
        let why = "The history is empty: nothing was measured yet.".to_owned();
        ("verdict", "Nothing measured", why)
    } else if slower > 0 {
        let why = format!(
            "In the newest run of each model, {slower} of {} is slower than allowed.",
            newest.len()
        );
        ("verdict missed", "Slower", why)
    } else if unsure > 0 {
        let why = format!(
            "In the newest run of each model, {unsure} of {} could not be told.",
            newest.len()
        );
        ("verdict", "Not sure", why)
    } else if count(Outcome::NoBaseline) == newest.len() {
        let why = "The newest run of each model was compared with no baseline.".to_owned();
        ("verdict", "Measured", why)
    } else {
        let why = "In the newest run of each model none is slower than allowed.".to_owned();
        ("verdict met", "Fine", why)
    };
    header.element("div", &[("class", class)], |verdict| {
        verdict.line("b", &[], word);
        verdict.line("span", &[], &why);
    });
}

fn content(main: &mut Markup, data: &HistoryData) {
    for (index, series) in data.series.iter().enumerate() {
        let id = format!("series-{index}");
        let title = format!("{} on {}", series.model, series.device);
        section(main, &id, &title, |part| {
            part.element("p", &[("class", "note")], |note| {
                note.line("code", &[], &series.device_id);
                note.text(", ");
                note.line("code", &[], &series.setup);
            });
            part.element("div", &[("class", "charts")], |grid| {
                let ids = ["latency", "change"].map(|chart| format!("{id}-{chart}"));
                let none = "Not measured in any of the runs shown.";
                crate::page::figure(grid, charts::latency(series, &ids[0]), "Latency", none);
                let none = "No run shown was compared with a baseline.";
                let title = "Change against the baseline";
                crate::page::figure(grid, charts::changes(series, &ids[1]), title, none);
            });
            runs(part, series);
        });
    }
}

/// The runs, the newest first.
fn runs(page: &mut Markup, series: &Series) {
    page.element("div", &[("class", "card gap")], |card| {
        let head = [
            "<run",
            "<when",
            "latency, ms",
            "change",
            "<verdict",
            "processes",
            "<baseline",
            "<model",
            "<runtime",
            "<remark",
        ];
        let label = format!("Runs of {} on {}", series.model, series.device);
        table(card, &label, "dense tall", &head, |body| {
            for run in charts::shown(series).iter().rev() {
                body.element("tr", &[], |tr| row(tr, run));
            }
        });
    });
    let left_out = series.runs.len() - charts::shown(series).len();
    if left_out > 0 {
        let note = format!("{left_out} older runs are not shown; the history's file has them.");
        page.line("p", &[("class", "note")], &note);
    }
}

fn row(tr: &mut Markup, run: &Run) {
    tr.element("th", &[("scope", "row"), ("title", &run.label)], |th| {
        th.text(&run.title());
    });
    tr.line("td", &[("class", "l")], &format::moment(run.unix_s));
    let (latency, interval) = figure(run.latency_ns, format::millis);
    cell(tr, latency, interval);
    let (value, interval) = figure(run.change, change);
    cell(tr, value, interval);
    let class = match run.outcome {
        Outcome::Regressed => "l slower",
        Outcome::Improved => "l faster",
        _ => "l",
    };
    tr.line("td", &[("class", class)], run.outcome.word());
    cell(tr, Some(run.processes.to_string()), None);
    let text = |text: &str| {
        let text = if text.is_empty() { format::NONE } else { text };
        text.to_owned()
    };
    tr.line("td", &[("class", "l")], &text(&run.baseline));
    tr.element("td", &[("class", "l"), ("title", &run.sha256)], |td| {
        td.line("code", &[], &run.sha256.chars().take(8).collect::<String>());
    });
    tr.line("td", &[("class", "l")], &text(&run.runtime));
    tr.line("td", &[("class", "l wrap")], &text(&run.notes));
}
