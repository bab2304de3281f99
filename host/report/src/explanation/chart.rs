//! Predicted and measured saving of every group, as bars from a common zero.

use super::text::counts;
use super::{Explanation, GroupSaving};
use crate::charts::{Chart, Drawing, legend};
use crate::format::{self, micros};
use crate::svg::{Canvas, Scale, Window};

/// Height of a group.
const LINE: f64 = 30.0;

/// `None` without groups.
pub(super) fn savings(data: &Explanation) -> Option<Chart<'_>> {
    if data.groups.is_empty() {
        return None;
    }
    let narrowed = data.groups.iter().filter(|g| g.kept < g.channels);
    let saved: f64 = data.groups.iter().map(|g| g.saved_ns).sum();
    let description = format!(
        "Time saved by each group, the largest saving first: {} of {} groups were narrowed and saved {} in total. Predictions \
         are from kernels measured in isolation.",
        narrowed.count(),
        data.groups.len(),
        micros(saved)
    );
    Some(Chart {
        id: "savings",
        title: "Time saved per group".into(),
        description,
        legend: legend([
            ("bar kept", "saved"),
            ("bar lost", "added"),
            ("bar predicted", "predicted"),
        ]),
        draw: Box::new(move |window| draw(&data.ranked(), window)),
    })
}

/// The values that the row of a group spans.
fn values(group: &GroupSaving) -> [f64; 3] {
    [group.saved_ns, group.predicted_ns.unwrap_or(0.0), 0.0]
}

fn draw(groups: &[&GroupSaving], window: Window) -> Drawing {
    let width = window.pick(1260.0, 340.0);
    let (name_width, letters) = window.pick((330.0, 46), (118.0, 16));
    let figures = window.pick(120.0, 70.0);
    let all = groups.iter().flat_map(|group| values(group));
    let ends = Scale::covering(all, 0.0).unwrap_or((0.0, 1.0));
    // Figures follow the bars, so bars to the left of zero need a margin too.
    let left = name_width + if ends.0 < 0.0 { figures } else { 0.0 };
    let scale = Scale::new(ends, left, width - figures);
    let mut svg = Canvas::default();
    for (row, group) in groups.iter().enumerate() {
        let top = row as f64 * LINE + 2.0;
        let name = format::shorten(&group.name, letters);
        svg.text("tick end", (name_width - 10.0, top + 17.0), &name);
        bars(&mut svg, group, &scale, top);
    }
    let height = groups.len() as f64 * LINE + 4.0;
    let zero = scale.map(0.0);
    svg.segment("axis", (zero, 0.0), (zero, height));
    Drawing {
        width,
        height,
        canvas: svg,
    }
}

fn bars(svg: &mut Canvas, group: &GroupSaving, scale: &Scale, top: f64) {
    let (tip, zero) = (tip(group), scale.map(0.0));
    let mut bar = |class: &str, ns: f64, top: f64, height: f64| {
        let (from, to) = (zero.min(scale.map(ns)), zero.max(scale.map(ns)));
        svg.rect(class, (from, top), (to - from, height), Some(&tip));
    };
    if let Some(predicted) = group.predicted_ns {
        bar("bar predicted", predicted, top + 16.0, 7.0);
    }
    let is_slower = group.saved_ns < 0.0;
    let class = if is_slower { "bar lost" } else { "bar kept" };
    bar(class, group.saved_ns, top + 3.0, 12.0);
    let ends = values(group).map(|ns| scale.map(ns)).into_iter();
    let (class, x) = if is_slower {
        ("tick end", ends.fold(f64::INFINITY, f64::min) - 8.0)
    } else {
        ("tick", ends.fold(f64::NEG_INFINITY, f64::max) + 8.0)
    };
    svg.text(class, (x, top + 17.0), &micros(group.saved_ns));
}

fn tip(group: &GroupSaving) -> String {
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
    tip
}
