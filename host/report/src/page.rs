//! The report of a run as a page.

mod candidates;
mod configuration;
mod devices;
mod evidence;
mod groups;
mod header;
mod latency;
mod result;

use maud::{Markup, html};

use crate::charts;
use crate::data::ReportData;
use crate::html::{document, figure, footer, section};

/// Renders the report as one HTML file that needs no other file and no network.
///
/// The result is a complete document that ends with a newline. Every text of `data` is escaped.
///
/// ```
/// use report::{Header, LatencyFigure, ReportData, Role, Row, Verdict};
///
/// let latency = |median_ns: f64, ratio| LatencyFigure {
///     median_ns,
///     low_ns: median_ns * 0.99,
///     high_ns: median_ns * 1.01,
///     ratio,
///     ..LatencyFigure::default()
/// };
/// let data = ReportData {
///     header: Header {
///         model: "net.onnx".into(),
///         device: "raspberry-pi-5".into(),
///         ..Header::default()
///     },
///     verdict: Verdict::Met("latency 0.68x of the original's".into()),
///     rows: vec![
///         Row {
///             label: "original".into(),
///             role: Role::Original,
///             test_accuracy: Some(0.9165),
///             latency: Some(latency(1.5e6, None)),
///             ..Row::default()
///         },
///         Row {
///             label: "pruned".into(),
///             role: Role::Pruned,
///             test_accuracy: Some(0.9),
///             latency: Some(latency(1.02e6, Some(0.68))),
///             ..Row::default()
///         },
///     ],
///     ..ReportData::default()
/// };
///
/// let page = report::render(&data);
/// assert!(page.contains("Budget met") && page.contains("0.680"));
///
/// let table = report::text_table(&data);
/// assert!(table.contains("pruned"));
/// ```
pub fn render(data: &ReportData) -> String {
    let title = format!("{} on {}", header::model(data), header::device(data));
    document(
        &title,
        header::header(data),
        main(data),
        footer(&data.header.program),
    )
}

fn main(data: &ReportData) -> Markup {
    html! {
        (section("result", "Result", result::result(data)))
        (section("search", "Search", search(data)))
        (section("network", "Pruned network", network(data)))
        (section("latency", "Latency", latency(data)))
        (section("evidence", "Evidence", html! {
            (evidence::evidence(data))
            (devices::devices(data))
        }))
        (section("configuration", "Configuration", configuration::configuration(data)))
    }
}

fn search(data: &ReportData) -> Markup {
    let no_front = "Not run: no candidate has an accuracy and a cost.";
    let no_rewards = "Not run: there are no episodes.";
    html! {
        div.charts {
            (figure(charts::front(data), "Accuracy and latency", no_front))
            (figure(charts::rewards(data), "Reward over episodes", no_rewards))
            @if let Some(chart) = charts::device_time(data) { (chart.figure()) }
        }
        (candidates::candidates(data))
    }
}

fn network(data: &ReportData) -> Markup {
    let none = "Not run: no configuration has been chosen.";
    html! {
        (figure(charts::widths(data), "Channels per group", none))
        (groups::groups(data))
    }
}

fn latency(data: &ReportData) -> Markup {
    let no_samples = "Not measured: there are no samples.";
    let none = "Not measured: fewer than two candidates have both.";
    let (macs, predicted) = (
        charts::macs_against_latency(data),
        charts::prediction_against_latency(data),
    );
    html! {
        (figure(charts::distribution(data), "Latency distribution", no_samples))
        (latency::percentiles(data))
        div.charts.gap {
            (figure(macs, "MACs against measured latency", none))
            (figure(predicted, "Predicted latency against measured latency", none))
        }
    }
}
