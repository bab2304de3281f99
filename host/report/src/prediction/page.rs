//! The prediction as a page of its own.

use agent_protocol::stats::Interval;

use super::{
    AskedPoint, GroupCorners, LayerResidual, PredictionFit, PredictionReport, errors, layers,
    points, stairs, words,
};
use crate::{
    format,
    html::Markup,
    page::{document, figure, section},
    sections::{self, cell, table},
};

/// The prediction as one HTML file that opens offline.
pub fn render_prediction(data: &PredictionReport) -> String {
    document(
        &format!("{} predicted on {}", model(data), device(data)),
        |header| head(header, data),
        |main| {
            section(main, "prediction", "Predicted and measured", |s| {
                measured(s, data);
            });
            section(main, "layers", "Residuals by layer", |s| residuals(s, data));
            section(main, "stairs", "Staircases", |s| steps(s, data));
            section(main, "groups", "Widths worth having", |s| groups(s, data));
        },
        |footer| sections::footer(footer, &data.program),
    )
}

fn model(data: &PredictionReport) -> &str {
    named(&data.model, "A network")
}

fn device(data: &PredictionReport) -> &str {
    named(&data.device, "a device")
}

fn named<'a>(name: &'a str, otherwise: &'a str) -> &'a str {
    if name.is_empty() { otherwise } else { name }
}

fn head(header: &mut Markup, data: &PredictionReport) {
    header.element("h1", &[], |h1| {
        h1.text(model(data));
        h1.line("span", &[("class", "to")], " predicted on ");
        h1.text(device(data));
    });
    if !data.facts.is_empty() {
        header.element("ul", &[("class", "facts")], |list| {
            for fact in &data.facts {
                list.element("li", &[], |item| {
                    item.text(&format!("{} ", fact.name));
                    item.line("b", &[], &fact.value);
                });
            }
        });
    }
    let (class, word, why) = verdict(data.fit.as_ref());
    header.element("div", &[("class", class)], |verdict| {
        verdict.line("b", &[], word);
        verdict.line("span", &[], &why);
    });
    tiles(header, data);
    if !data.warnings.is_empty() {
        let attributes = [("class", "warnings"), ("aria-label", "Warnings")];
        header.element("ul", &attributes, |list| {
            data.warnings.iter().for_each(|w| list.line("li", &[], w));
        });
    }
}

/// Whether learning was worth it: class, word and sentence.
fn verdict(fit: Option<&PredictionFit>) -> (&'static str, &'static str, String) {
    let Some(fit) = fit else {
        let why = "Too few whole networks were measured to tell how far a prediction may be off.";
        return ("verdict", "Not checked", why.to_owned());
    };
    let why = format!(
        "A network left out is predicted to {} on average and {} at worst, from {} measured ones. A line through their MACs is \
         {} off, the plain sum of kernels {}.",
        words::error(fit.mean_error),
        words::error(fit.max_error),
        fit.measured,
        words::error(fit.macs_error),
        words::error(fit.kernels_error),
    );
    let errors = [fit.mean_error, fit.macs_error, fit.kernels_error];
    if errors.iter().any(|error| !error.is_finite()) {
        ("verdict", "Not checked", why)
    } else if fit.mean_error >= fit.macs_error {
        ("verdict missed", "No better than MACs", why)
    } else if fit.mean_error >= fit.kernels_error {
        ("verdict", "No better than kernels alone", why)
    } else {
        ("verdict met", "Better than MACs", why)
    }
}

fn tiles(header: &mut Markup, data: &PredictionReport) {
    let mut tiles: Vec<(&str, String, String)> = Vec::new();
    if let Some(asked) = &data.asked {
        let small = match points::reach(asked) {
            Some((low, high)) => format!("95 % {} to {}", format::ratio(low), format::ratio(high)),
            None => "no interval".to_owned(),
        };
        let big = format!("{}\u{d7}", format::ratio(asked.predicted));
        tiles.push(("Predicted, of the unpruned", big, small));
        if let Some(Interval { value, low, high }) = asked.measured {
            let big = format!("{}\u{d7}", format::ratio(value));
            let small = format!("95 % {} to {}", format::ratio(low), format::ratio(high));
            tiles.push(("Measured", big, small));
            let small = held(asked).map_or("", |held| {
                if held {
                    "within the interval"
                } else {
                    "outside the interval"
                }
            });
            let off = format::change(asked.predicted / value);
            tiles.push(("Prediction is off by", off, small.to_owned()));
        }
    }
    if let Some(fit) = &data.fit {
        let small = format!("{} whole networks", fit.measured);
        tiles.push((
            "Rank correlation",
            words::correlation(fit.rank_correlation),
            small,
        ));
        if let Some(held) = fit.held {
            let small = "should hold 95 of 100".to_owned();
            tiles.push(("Intervals that held", words::error(held), small));
        }
    }
    if tiles.is_empty() {
        return;
    }
    header.element("dl", &[("class", "tiles")], |list| {
        for (name, big, small) in &tiles {
            list.element("div", &[("class", "tile")], |tile| {
                tile.line("dt", &[], name);
                tile.line("dd", &[("class", "big")], big);
                tile.line("dd", &[("class", "small")], small);
            });
        }
    });
}

/// Whether the measurement asked for lies within the prediction's interval.
fn held(asked: &AskedPoint) -> Option<bool> {
    let (low, high) = points::reach(asked)?;
    Some((low..=high).contains(&asked.measured?.value))
}

fn measured(page: &mut Markup, data: &PredictionReport) {
    page.element("div", &[("class", "charts")], |grid| {
        figure(
            grid,
            points::points(data),
            "Predicted against measured latency",
            "Not measured: there is no whole network to compare with.",
        );
        figure(
            grid,
            errors::errors(data),
            "Error by way of prediction",
            "Not known: no network was predicted without itself.",
        );
    });
    if data.points.is_empty() {
        return;
    }
    page.element("details", &[], |details| {
        details.line("summary", &[], "The measured networks as a table");
        let head = [
            "number",
            "measured",
            "predicted",
            "off by",
            "sum of kernels",
            "MACs",
            "<widths",
        ];
        table(details, "Measured networks", "tall dense", &head, |body| {
            for (index, point) in data.points.iter().enumerate() {
                body.element("tr", &[], |tr| {
                    let number = (index + 1).to_string();
                    tr.line("th", &[("scope", "row")], &number);
                    cell(tr, Some(format::ratio(point.measured)), None);
                    cell(tr, point.predicted.map(format::ratio), None);
                    let off = point.predicted.map(|p| format::change(p / point.measured));
                    cell(tr, off, None);
                    cell(tr, Some(format::ratio(point.kernels)), None);
                    cell(tr, Some(format::ratio(point.macs)), None);
                    let widths = words::list(&point.widths);
                    tr.line("td", &[("class", "l wrap")], &widths);
                });
            }
        });
    });
}

fn residuals(page: &mut Markup, data: &PredictionReport) {
    figure(
        page,
        layers::layers(data),
        "Layers alone and in the network",
        "Not measured: no layer has a time.",
    );
    if data.layers.is_empty() {
        return;
    }
    page.element("div", &[("class", "card gap")], |card| {
        let head = [
            "layer",
            "<kernel",
            "alone",
            "in the network",
            "difference",
            "relative",
        ];
        table(
            card,
            "Layers alone and in the network",
            "tall dense",
            &head,
            |body| {
                // First, so that they are seen without scrolling.
                body.element("tr", &[], |tr| sums(tr, &data.layers));
                if let Some(ns) = data.other_ns {
                    body.element("tr", &[], |tr| {
                        tr.line("th", &[("scope", "row")], "outside the layers");
                        tr.line("td", &[("class", "l")], "");
                        cell(tr, None, None);
                        cell(tr, Some(words::micros(ns)), None);
                        (0..2).for_each(|_| cell(tr, None, None));
                    });
                }
                for layer in &data.layers {
                    body.element("tr", &[], |tr| layer_row(tr, layer));
                }
            },
        );
    });
}

fn layer_row(tr: &mut Markup, layer: &LayerResidual) {
    name(tr, &layer.name);
    tr.line("td", &[("class", "l")], named(&layer.kernel, format::NONE));
    let how = layer.estimated.then(|| "by MACs".to_owned());
    cell(tr, Some(words::micros(layer.alone_ns)), how);
    cell(tr, layer.in_network().map(words::micros), None);
    cell(tr, layer.difference().map(words::signed), None);
    cell(tr, layer.change().map(format::change), None);
}

/// The layers together: those measured both ways, so that the sums can be compared.
fn sums(tr: &mut Markup, layers: &[LayerResidual]) {
    let both = || {
        let both = layers.iter().filter(|layer| layer.difference().is_some());
        both.filter_map(|layer| Some((layer.alone_ns, layer.in_network()?)))
    };
    let (alone, within) = both().fold((0.0, 0.0), |(a, b), (x, y)| (a + x, b + y));
    let count = both().count();
    tr.line("th", &[("scope", "row")], "together");
    let of = format!("{count} of {} layers have both", layers.len());
    tr.line("td", &[("class", "l")], &of);
    let known = |text: String| (count > 0).then_some(text);
    cell(tr, known(words::micros(alone)), None);
    cell(tr, known(words::micros(within)), None);
    cell(tr, known(words::signed(within - alone)), None);
    cell(tr, known(format::change(within / alone)), None);
}

fn name(tr: &mut Markup, name: &str) {
    tr.line("th", &[("scope", "row"), ("title", name)], name);
}

fn steps(page: &mut Markup, data: &PredictionReport) {
    if data.stairs.is_empty() {
        let none = "Not measured: no kernel was measured over its widths.";
        figure(page, None, "Time by width", none);
        return;
    }
    stairs::stairs(page, &data.stairs);
}

fn groups(page: &mut Markup, data: &PredictionReport) {
    page.element("div", &[("class", "card")], |card| {
        if data.groups.is_empty() {
            let none = "The network has no groups of channels.";
            card.line("p", &[("class", "none pad")], none);
            return;
        }
        let head = [
            "group",
            "channels",
            "widths offered",
            "worth having",
            "<which",
        ];
        table(card, "Widths worth having", "tall dense", &head, |body| {
            for group in &data.groups {
                body.element("tr", &[], |tr| group_row(tr, group));
            }
        });
    });
}

fn group_row(tr: &mut Markup, group: &GroupCorners) {
    name(tr, &group.name);
    cell(tr, Some(group.channels.to_string()), None);
    let ends = group.widths.iter().min().zip(group.widths.iter().max());
    let range = ends.map(|(low, high)| format!("{low} to {high}"));
    cell(tr, Some(group.widths.len().to_string()), range);
    cell(tr, Some(group.corners.len().to_string()), None);
    let corners = words::list(&group.corners);
    let corners = named(&corners, "none found");
    tr.line("td", &[("class", "l wrap")], corners);
}
