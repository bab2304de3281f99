//! The parts of the page that are text and tables.

use crate::{
    Candidate, LatencyFigure, MeasurementLine, Role, Row, Verdict,
    data::ReportData,
    format::{self, NONE},
    html::Markup,
    svg,
};

/// Longer tables end with a note; the run's database has the rest.
const MOST_CANDIDATES: usize = 2000;

pub(crate) fn model(data: &ReportData) -> &str {
    if data.header.model.is_empty() {
        "unnamed model"
    } else {
        &data.header.model
    }
}

pub(crate) fn device(data: &ReportData) -> &str {
    if data.header.device.is_empty() {
        "unnamed device"
    } else {
        &data.header.device
    }
}

pub(crate) fn header(header: &mut Markup, data: &ReportData) {
    header.element("h1", &[], |h1| {
        h1.text(model(data));
        h1.line("span", &[("class", "to")], " pruned for ");
        h1.text(device(data));
    });
    let of = &data.header;
    let text = |text: &String| (!text.is_empty()).then(|| text.clone());
    let budget = match (data.budget.latency_ratio, data.budget.macs_ratio) {
        (None, None) => None,
        (latency, macs) => {
            let parts = [
                latency.map(|r| format!("latency \u{2264} {r}\u{d7}")),
                macs.map(|r| format!("MACs \u{2264} {r}\u{d7}")),
            ];
            Some(parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
        }
    };
    let facts = [
        ("budget", budget),
        ("data", text(&of.data)),
        ("strategy", text(&of.strategy)),
        ("started", of.started_unix_s.map(format::moment)),
        ("took", of.duration_s.map(format::duration)),
        ("seed", of.seed.map(|seed| seed.to_string())),
    ];
    header.element("ul", &[("class", "facts")], |list| {
        for (name, value) in facts
            .iter()
            .filter_map(|(name, value)| Some((name, value.as_ref()?)))
        {
            list.element("li", &[], |item| {
                item.text(&format!("{name} "));
                item.line("b", &[], value);
            });
        }
    });
    if !of.command.is_empty() {
        header.element("p", &[("class", "command")], |p| {
            p.line("code", &[], &of.command)
        });
    }
    let (class, word, why) = match &data.verdict {
        Verdict::Unfinished => (
            "verdict",
            "Not finished",
            "The run has not come to its end; what follows is what it has so far.",
        ),
        Verdict::Met(why) => ("verdict met", "Budget met", why.as_str()),
        Verdict::NotMet(why) => ("verdict missed", "Budget not met", why.as_str()),
    };
    header.element("div", &[("class", class)], |verdict| {
        verdict.line("b", &[], word);
        verdict.line("span", &[], why);
    });
    tiles(header, data);
    if !data.warnings.is_empty() {
        header.element(
            "ul",
            &[("class", "warnings"), ("aria-label", "Warnings")],
            |list| {
                for warning in &data.warnings {
                    list.line("li", &[], warning);
                }
            },
        );
    }
}

/// The result in four figures, if there is one.
fn tiles(page: &mut Markup, data: &ReportData) {
    let (Some(original), Some(pruned)) = (data.row(Role::Original), data.row(Role::Pruned)) else {
        return;
    };
    let mut tiles: Vec<(&str, String, String)> = Vec::new();
    if let Some(latency) = &pruned.latency
        && let Some(ratio) = latency.ratio
    {
        let interval = match (latency.ratio_low, latency.ratio_high) {
            (Some(low), Some(high)) => {
                format!("95 % {} to {}", format::ratio(low), format::ratio(high))
            }
            _ => "no interval".to_owned(),
        };
        let ratio = format!("{}\u{d7}", format::ratio(ratio));
        tiles.push(("Latency, of the original's", ratio, interval));
    }
    if let Some(accuracy) = pruned.test_accuracy {
        let against = original
            .test_accuracy
            .map(|before| format!("{} points", format::points(accuracy - before)));
        tiles.push((
            "Test accuracy",
            format::percent(accuracy),
            against.unwrap_or_default(),
        ));
    }
    let counts = [
        ("MACs", original.macs, pruned.macs),
        ("Parameters", original.parameters, pruned.parameters),
        ("File size", original.bytes, pruned.bytes),
    ];
    for (name, before, after) in counts {
        if let (Some(before), Some(after)) = (before.filter(|&b| b > 0), after) {
            let write = if name == "File size" {
                format::bytes
            } else {
                format::short
            };
            let small = format!("{} from {}", write(after), write(before));
            tiles.push((name, format::change(after as f64 / before as f64), small));
        }
    }
    page.element("dl", &[("class", "tiles")], |list| {
        for (name, big, small) in &tiles {
            list.element("div", &[("class", "tile")], |tile| {
                tile.line("dt", &[], name);
                tile.line("dd", &[("class", "big")], big);
                tile.line("dd", &[("class", "small")], small);
            });
        }
    });
}

/// A table that scrolls by itself when the window is narrow.
pub(crate) fn table(
    page: &mut Markup,
    label: &str,
    class: &str,
    head: &[&str],
    body: impl FnOnce(&mut Markup),
) {
    let classes = format!("scroll {class}");
    page.element(
        "div",
        &[
            ("class", &classes),
            ("tabindex", "0"),
            ("role", "region"),
            ("aria-label", label),
        ],
        |scroll| {
            scroll.element("table", &[], |table| {
                table.element("thead", &[], |thead| {
                    thead.element("tr", &[], |tr| {
                        for name in head {
                            // A leading "<" puts a column's text to the left.
                            match name.strip_prefix('<') {
                                Some(name) => {
                                    tr.line("th", &[("scope", "col"), ("class", "l")], name)
                                }
                                None => tr.line("th", &[("scope", "col")], name),
                            }
                        }
                    });
                });
                table.element("tbody", &[], body);
            });
        },
    );
}

/// A cell with a figure and, smaller, what qualifies it.
pub(crate) fn cell(tr: &mut Markup, figure: Option<String>, small: Option<String>) {
    tr.element("td", &[], |td| {
        td.text(figure.as_deref().unwrap_or(NONE));
        if let Some(small) = small {
            td.line("small", &[], &small);
        }
    });
}

pub(crate) fn result(page: &mut Markup, data: &ReportData) {
    page.element("div", &[("class", "card")], |card| {
        if data.rows.is_empty() {
            card.element("div", &[("class", "card text")], |p| {
                p.line(
                    "p",
                    &[("class", "none")],
                    "Not run: no network was compared.",
                )
            });
            return;
        }
        let head = [
            "network",
            "test accuracy",
            "search accuracy",
            "latency, ms",
            "latency ratio",
            "MACs",
            "parameters",
            "file size",
        ];
        table(card, "The networks compared", "", &head, |body| {
            for row in &data.rows {
                body.element(
                    "tr",
                    if row.role == Role::Pruned {
                        &[("class", "pruned")]
                    } else {
                        &[]
                    },
                    |tr| result_row(tr, row, data),
                );
                for check in &row.checks {
                    body.element("tr", &[], |tr| check_row(tr, check));
                }
            }
        });
    });
    let note = "Latencies are medians with their 95 % intervals; ratios are to the original, measured interleaved with it. \
                The test split is read once, at the end; the search sees only the search split.";
    page.line("p", &[("class", "note")], note);
}

fn result_row(tr: &mut Markup, row: &Row, data: &ReportData) {
    tr.element("th", &[("scope", "row"), ("title", &row.label)], |th| {
        th.text(&row.label);
        let device = row.latency.as_ref().map_or("", |latency| &latency.device);
        if !device.is_empty() {
            th.line("small", &[], &format!("on {device}"));
        }
    });
    let original = data
        .row(Role::Original)
        .filter(|_| row.role != Role::Original);
    let points = |now: Option<f64>, before: Option<f64>| {
        Some(format!("{} points", format::points(now? - before?)))
    };
    cell(
        tr,
        row.test_accuracy.map(format::percent),
        points(row.test_accuracy, original.and_then(|o| o.test_accuracy)),
    );
    cell(
        tr,
        row.search_accuracy.map(format::percent),
        points(
            row.search_accuracy,
            original.and_then(|o| o.search_accuracy),
        ),
    );
    latency_cells(tr, row.latency.as_ref(), row.role == Role::Original);
    cell(tr, row.macs.map(format::short), row.macs.map(format::exact));
    cell(
        tr,
        row.parameters.map(format::short),
        row.parameters.map(format::exact),
    );
    cell(
        tr,
        row.bytes.map(format::bytes),
        row.bytes.map(format::exact),
    );
}

/// Latency and ratio, each with its interval.
fn latency_cells(tr: &mut Markup, latency: Option<&LatencyFigure>, original: bool) {
    let median = latency.map(|l| format::millis(l.median_ns));
    cell(
        tr,
        median,
        latency.map(|l| {
            format!(
                "{} to {}",
                format::millis(l.low_ns),
                format::millis(l.high_ns)
            )
        }),
    );
    let interval = |l: &LatencyFigure| {
        Some(format!(
            "{} to {}",
            format::ratio(l.ratio_low?),
            format::ratio(l.ratio_high?)
        ))
    };
    let ratio = latency.and_then(|l| l.ratio).map(format::ratio);
    let reference = (original && ratio.is_none()).then(|| "reference".to_owned());
    cell(tr, ratio, latency.and_then(interval).or(reference));
}

/// The same network on another device: its latency only.
fn check_row(tr: &mut Markup, check: &LatencyFigure) {
    let label = format!("check on {}", check.device);
    tr.line("th", &[("scope", "row"), ("title", &label)], &label);
    for _ in 0..2 {
        cell(tr, None, None);
    }
    latency_cells(tr, Some(check), false);
    for _ in 0..3 {
        cell(tr, None, None);
    }
}

pub(crate) fn candidates(page: &mut Markup, data: &ReportData) {
    if data.candidates.is_empty() {
        return;
    }
    page.element("details", &[], |details| {
        details.line(
            "summary",
            &[],
            &format!("All {} candidates", data.candidates.len()),
        );
        let head = [
            "episode",
            "<strategy",
            "accuracy",
            "latency ratio (95 %)",
            "predicted",
            "MACs",
            "reward",
            "after the race",
            "within budget",
            "<device",
            "<kept channels per group",
        ];
        table(details, "All candidates", "tall dense", &head, |body| {
            for candidate in data.candidates.iter().take(MOST_CANDIDATES) {
                body.element("tr", &[], |tr| candidate_row(tr, candidate));
            }
        });
        if data.candidates.len() > MOST_CANDIDATES {
            let note = format!("The first {MOST_CANDIDATES}; the run's database has the rest.");
            details.element("div", &[("class", "card text")], |p| {
                p.line("p", &[("class", "none")], &note)
            });
        }
    });
}

fn candidate_row(tr: &mut Markup, candidate: &Candidate) {
    let widths: Vec<String> = candidate.widths.iter().map(usize::to_string).collect();
    let cells = [
        candidate.episode.to_string(),
        candidate.strategy.clone(),
        format::percent(candidate.accuracy),
        candidate
            .latency_ratio
            .map_or_else(|| NONE.to_owned(), svg::interval),
        candidate
            .predicted_ratio
            .map_or_else(|| NONE.to_owned(), format::ratio),
        format::exact(candidate.macs),
        format::significant(candidate.reward, 5),
        candidate
            .race_accuracy
            .map_or_else(|| NONE.to_owned(), format::percent),
        match (candidate.screened, candidate.feasible) {
            (true, _) => "not measured",
            (false, true) => "yes",
            (false, false) => "no",
        }
        .to_owned(),
        candidate.device.clone().unwrap_or_else(|| NONE.to_owned()),
        widths.join(" "),
    ];
    for (index, text) in cells.iter().enumerate() {
        tr.line(
            "td",
            if matches!(index, 1 | 9 | 10) {
                &[("class", "l")]
            } else {
                &[]
            },
            text,
        );
    }
}

pub(crate) fn groups(page: &mut Markup, data: &ReportData) {
    if data.groups.is_empty() {
        return;
    }
    page.element("details", &[], |details| {
        details.line("summary", &[], "The groups as a table");
        table(
            details,
            "Channels per group",
            "tall dense",
            &["group", "original", "kept", "share"],
            |body| {
                for group in &data.groups {
                    body.element("tr", &[], |tr| {
                        tr.line(
                            "th",
                            &[("scope", "row"), ("title", &group.name)],
                            &group.name,
                        );
                        cell(tr, Some(group.channels.to_string()), None);
                        cell(tr, Some(group.kept.to_string()), None);
                        let share = (group.channels > 0)
                            .then(|| format::percent(group.kept as f64 / group.channels as f64));
                        cell(tr, share, None);
                    });
                }
            },
        );
    });
}

/// Percentiles of the samples, of every row that has some.
pub(crate) fn percentiles(page: &mut Markup, data: &ReportData) {
    let sampled: Vec<(&Row, &LatencyFigure)> = data
        .rows
        .iter()
        .filter_map(|row| Some((row, row.latency.as_ref()?)))
        .filter(|(_, l)| !l.samples_ns.is_empty())
        .collect();
    if sampled.is_empty() {
        return;
    }
    page.element("div", &[("class", "card gap")], |card| {
        let head = [
            "milliseconds",
            "samples",
            "least",
            "5 %",
            "25 %",
            "median",
            "75 %",
            "95 %",
            "99 %",
            "greatest",
        ];
        table(
            card,
            "Percentiles of the latency samples",
            "dense",
            &head,
            |body| {
                for (row, latency) in sampled {
                    let mut sorted: Vec<f64> =
                        latency.samples_ns.iter().map(|&ns| ns as f64).collect();
                    sorted.sort_by(f64::total_cmp);
                    body.element("tr", &[], |tr| {
                        tr.line("th", &[("scope", "row"), ("title", &row.label)], &row.label);
                        cell(tr, Some(format::exact(sorted.len() as u64)), None);
                        for part in [0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0] {
                            cell(
                                tr,
                                format::quantile(&sorted, part).map(format::millis),
                                None,
                            );
                        }
                    });
                }
            },
        );
    });
}

pub(crate) fn evidence(page: &mut Markup, data: &ReportData) {
    let evidence = &data.evidence;
    let mut pairs: Vec<(&str, String)> = vec![("Device", device(data).to_owned())];
    pairs.extend(
        evidence
            .facts
            .iter()
            .map(|fact| (fact.name.as_str(), fact.value.clone())),
    );
    if !evidence.providers.is_empty() {
        let list: Vec<String> = evidence
            .providers
            .iter()
            .map(|p| format!("{}: {} nodes", p.name, p.nodes))
            .collect();
        pairs.push(("Where the nodes ran", list.join(", ")));
    }
    if let Some(reference) = &evidence.reference {
        pairs.push(("Measured interleaved with", reference.clone()));
    }
    pairs.push((
        "Measurements",
        format!("{} valid, {} invalid", evidence.valid, evidence.invalid),
    ));
    page.element("div", &[("class", "card text")], |card| {
        card.element("dl", &[("class", "pairs")], |list| {
            for (name, value) in &pairs {
                list.element("div", &[], |pair| {
                    pair.line("dt", &[], name);
                    pair.line("dd", &[], value);
                });
            }
        });
        if !evidence.notes.is_empty() {
            card.element("ul", &[("class", "notes")], |list| {
                for note in &evidence.notes {
                    list.line("li", &[], note);
                }
            });
        }
    });
    page.element("div", &[("class", "card gap")], |card| {
        if evidence.measurements.is_empty() {
            card.element("div", &[("class", "card text")], |p| {
                p.line("p", &[("class", "none")], "Not measured.")
            });
            return;
        }
        let head = [
            "measured",
            "<verdict",
            "median, ms",
            "samples",
            "warm-up",
            "peak memory",
            "<device before",
            "<device after",
            "when",
        ];
        table(card, "Measurements", "tall dense", &head, |body| {
            for line in &evidence.measurements {
                body.element(
                    "tr",
                    if line.invalid.is_some() {
                        &[("class", "invalid")]
                    } else {
                        &[]
                    },
                    |tr| measurement(tr, line),
                );
            }
        });
    });
    page.line(
        "p",
        &[("class", "note")],
        "An invalid measurement enters no reward, no table and no baseline.",
    );
}

fn measurement(tr: &mut Markup, line: &MeasurementLine) {
    tr.line("th", &[("scope", "row"), ("title", &line.name)], &line.name);
    match &line.invalid {
        None => tr.line("td", &[("class", "l")], "valid"),
        Some(reason) => tr.line("td", &[("class", "l wrap")], &format!("invalid: {reason}")),
    }
    let interval = line
        .interval_ns
        .map(|(low, high)| format!("{} to {}", format::millis(low), format::millis(high)));
    cell(tr, line.median_ns.map(format::millis), interval);
    cell(tr, Some(format::exact(line.samples)), None);
    cell(tr, Some(format::exact(line.warmup)), None);
    cell(tr, line.peak_memory_bytes.map(format::bytes), None);
    for state in [&line.before, &line.after] {
        tr.line(
            "td",
            &[("class", "l wrap")],
            if state.is_empty() { NONE } else { state },
        );
    }
    cell(tr, line.taken_unix_s.map(format::moment), None);
}

pub(crate) fn configuration(page: &mut Markup, data: &ReportData) {
    if data.config.is_empty() {
        page.element("div", &[("class", "card text")], |p| {
            p.line("p", &[("class", "none")], "Not recorded.")
        });
        return;
    }
    page.element("details", &[], |details| {
        details.line("summary", &[], "The run's configuration");
        details.element("pre", &[("tabindex", "0")], |pre| {
            pre.line("code", &[], &data.config)
        });
    });
}

pub(crate) fn footer(footer: &mut Markup, program: &str) {
    let program = if program.is_empty() {
        "graphprune"
    } else {
        program
    };
    footer.text(&format!(
        "Written by {program}. This file needs no network."
    ));
}
