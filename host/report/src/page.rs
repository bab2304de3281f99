//! The page as a whole.

use crate::{
    charts::{self, Chart},
    data::ReportData,
    devices,
    html::Markup,
    sections,
};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");
/// Nothing is fetched, whatever the data holds.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// The report as one HTML file that opens offline.
pub fn render(data: &ReportData) -> String {
    let title = format!("{} on {}", sections::model(data), sections::device(data));
    document(
        &title,
        |header| sections::header(header, data),
        |main| content(main, data),
        |footer| sections::footer(footer, &data.header.program),
    )
}

/// A page: everything it needs is in it.
pub(crate) fn document(
    title: &str,
    header: impl FnOnce(&mut Markup),
    main: impl FnOnce(&mut Markup),
    footer: impl FnOnce(&mut Markup),
) -> String {
    let mut page = Markup::default();
    page.own("<!doctype html>\n");
    page.element("html", &[("lang", "en")], |html| {
        html.element("head", &[], |head| {
            head.void("meta", &[("charset", "utf-8")]);
            head.void(
                "meta",
                &[
                    ("name", "viewport"),
                    ("content", "width=device-width, initial-scale=1"),
                ],
            );
            head.void(
                "meta",
                &[
                    ("http-equiv", "Content-Security-Policy"),
                    ("content", POLICY),
                ],
            );
            head.line("title", &[], title);
            head.element("style", &[], |style| style.own(STYLE));
        });
        html.element("body", &[], |body| {
            body.element("header", &[], header);
            body.element("main", &[], main);
            body.element("footer", &[], footer);
            body.element(
                "div",
                &[("id", "tip"), ("role", "status"), ("hidden", "")],
                |_| {},
            );
            body.element("script", &[], |script| script.own(SCRIPT));
        });
    });
    page.own("\n");
    page.into_string()
}

fn content(main: &mut Markup, data: &ReportData) {
    section(main, "result", "Result", |s| sections::result(s, data));
    section(main, "search", "Search", |s| {
        s.element("div", &[("class", "charts")], |grid| {
            figure(
                grid,
                charts::front(data),
                "Accuracy and latency",
                "Not run: no candidate has an accuracy and a cost.",
            );
            figure(
                grid,
                charts::rewards(data),
                "Reward over episodes",
                "Not run: there are no episodes.",
            );
            if let Some(chart) = charts::device_time(data) {
                chart.figure(grid);
            }
        });
        sections::candidates(s, data);
    });
    section(main, "network", "Pruned network", |s| {
        figure(
            s,
            charts::widths(data),
            "Channels per group",
            "Not run: no configuration has been chosen.",
        );
        sections::groups(s, data);
    });
    section(main, "latency", "Latency", |s| {
        figure(
            s,
            charts::distribution(data),
            "Latency distribution",
            "Not measured: there are no samples.",
        );
        sections::percentiles(s, data);
        s.element("div", &[("class", "charts gap")], |grid| {
            let none = "Not measured: fewer than two candidates have both.";
            figure(
                grid,
                charts::macs_against_latency(data),
                "MACs against measured latency",
                none,
            );
            figure(
                grid,
                charts::prediction_against_latency(data),
                "Predicted latency against measured latency",
                none,
            );
        });
    });
    section(
        main,
        "evidence",
        "What was measured, where, and how sure",
        |s| {
            sections::evidence(s, data);
            devices::devices(s, data);
        },
    );
    section(main, "configuration", "Configuration", |s| {
        sections::configuration(s, data)
    });
}

pub(crate) fn section(main: &mut Markup, id: &str, title: &str, content: impl FnOnce(&mut Markup)) {
    let heading = format!("{id}-heading");
    main.element(
        "section",
        &[("id", id), ("aria-labelledby", &heading)],
        |section| {
            section.line("h2", &[("id", &heading)], title);
            content(section);
        },
    );
}

pub(crate) fn figure(page: &mut Markup, chart: Option<Chart<'_>>, title: &str, none: &str) {
    match chart {
        Some(chart) => chart.figure(page),
        None => page.element("figure", &[], |figure| {
            figure.line("h3", &[], title);
            figure.line("p", &[("class", "none")], none);
        }),
    }
}
