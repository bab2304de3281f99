//! Predicted and real saving of every group, as bars from a common zero.

use super::{Explanation, GroupSaving, text::counts, text::micros};
use crate::{
    charts::{Chart, Drawing},
    format,
    html::Markup,
    svg::{Scale, Window, at, rect, segment, text},
};

/// None without groups.
pub(super) fn savings(data: &Explanation) -> Option<Chart<'_>> {
    if data.groups.is_empty() {
        return None;
    }
    let narrowed = data.groups.iter().filter(|g| g.kept < g.channels);
    let saved: f64 = data.groups.iter().map(|g| g.saved_ns).sum();
    let description = format!(
        "Time saved by each group, the largest first: of {} groups {} were narrowed and saved {} together. Predicted: by kernels \
         measured alone.",
        data.groups.len(),
        narrowed.count(),
        micros(saved)
    );
    let legend = [
        ("bar kept", "really saved"),
        ("bar lost", "really added"),
        ("bar predicted", "predicted"),
    ];
    let draw = move |window| draw(data, window);
    Some(Chart {
        id: "savings",
        title: "Time saved per group".into(),
        description,
        legend: legend.map(|(c, m)| (c.into(), m.into())).to_vec(),
        draw: Box::new(draw),
    })
}

/// Height of a group.
const LINE: f64 = 30.0;

fn draw(data: &Explanation, window: Window) -> Drawing {
    let width = window.pick(1260.0, 340.0);
    let (name_width, letters) = window.pick((330.0, 46), (118.0, 16));
    let figures = window.pick(120.0, 70.0);
    let groups = data.ranked();
    let values = groups
        .iter()
        .flat_map(|g| [g.saved_ns, g.predicted_ns.unwrap_or(0.0), 0.0]);
    let ends = Scale::covering(values, 0.0).unwrap_or((0.0, 1.0));
    // Figures stand beyond the bars, on both sides where there are bars on both.
    let left = name_width + if ends.0 < 0.0 { figures } else { 0.0 };
    let scale = Scale::new(ends, left, width - figures);
    let mut svg = Markup::default();
    for (row, group) in groups.iter().enumerate() {
        let top = row as f64 * LINE + 2.0;
        text(
            &mut svg,
            "tick end",
            name_width - 10.0,
            at(top + 17.0),
            &format::shorten(&group.name, letters),
        );
        bars(&mut svg, group, &scale, top);
    }
    let height = groups.len() as f64 * LINE + 4.0;
    let zero = scale.place(0.0);
    segment(&mut svg, "axis", (zero, 0.0), (zero, height));
    Drawing {
        width,
        height,
        content: svg,
    }
}

fn bars(svg: &mut Markup, group: &GroupSaving, scale: &Scale, top: f64) {
    let mut tip = format!(
        "{}\n{} channels\nsaved {} \u{b1}{}",
        group.name,
        counts(group.channels, group.kept),
        micros(group.saved_ns),
        micros(group.uncertainty_ns)
    );
    if let Some(predicted) = group.predicted_ns {
        tip.push_str(&format!("\npredicted {}", micros(predicted)));
    }
    if let Some(reason) = &group.reason {
        tip.push_str(&format!("\nno gain: {reason}"));
    }
    let zero = scale.place(0.0);
    let mut bar = |class: &str, ns: f64, top: f64, high: f64| {
        let (from, to) = (zero.min(scale.place(ns)), zero.max(scale.place(ns)));
        rect(svg, class, (from, top), (to - from, high), Some(&tip));
    };
    if let Some(predicted) = group.predicted_ns {
        bar("bar predicted", predicted, top + 16.0, 7.0);
    }
    let class = if group.saved_ns < 0.0 {
        "bar lost"
    } else {
        "bar kept"
    };
    bar(class, group.saved_ns, top + 3.0, 12.0);
    let ends = [group.saved_ns, group.predicted_ns.unwrap_or(0.0), 0.0].map(|ns| scale.place(ns));
    let figure = micros(group.saved_ns);
    if group.saved_ns < 0.0 {
        let place = ends.into_iter().fold(f64::INFINITY, f64::min);
        text(svg, "tick end", place - 8.0, at(top + 17.0), &figure);
    } else {
        let place = ends.into_iter().fold(f64::NEG_INFINITY, f64::max);
        text(svg, "tick", place + 8.0, at(top + 17.0), &figure);
    }
}
