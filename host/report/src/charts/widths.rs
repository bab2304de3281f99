//! Channels per group, original and kept.

use crate::charts::{Chart, Drawing, legend};
use crate::data::{Group, ReportData};
use crate::format;
use crate::svg::{Canvas, Scale, Window};

/// Height of a group, and the gap between two columns of groups.
const LINE: f64 = 22.0;
const GAP: f64 = 30.0;
/// Width of the figures on the right of the bars.
const FIGURES: f64 = 76.0;

/// `None` without groups.
pub(crate) fn widths(data: &ReportData) -> Option<Chart<'_>> {
    if data.groups.is_empty() {
        return None;
    }
    let all: usize = data.groups.iter().map(|g| g.channels).sum();
    let kept: usize = data.groups.iter().map(|g| g.kept).sum();
    Some(Chart {
        id: "widths",
        title: "Channels per group".into(),
        description: format!(
            "Channels of each of {} groups in the order of the network: {kept} of {all} are kept.",
            data.groups.len()
        ),
        legend: legend([("bar kept", "kept"), ("bar track", "original")]),
        draw: Box::new(move |window| draw(&data.groups, window)),
    })
}

fn draw(groups: &[Group], window: Window) -> Drawing {
    let width = window.pick(1260.0, 340.0);
    let columns = if window == Window::Wide && groups.len() > 8 {
        2
    } else {
        1
    };
    let rows = groups.len().div_ceil(columns);
    let column = (width - GAP * (columns as f64 - 1.0)) / columns as f64;
    let (name_width, letters) = window.pick((230.0, 32), (118.0, 16));
    let most = groups.iter().map(|g| g.channels.max(g.kept)).max();
    let scale = Scale::new(
        (0.0, most.unwrap_or(1) as f64),
        0.0,
        column - name_width - FIGURES,
    );
    let mut svg = Canvas::default();
    for (index, group) in groups.iter().enumerate() {
        let left = (index / rows) as f64 * (column + GAP);
        let top = (index % rows) as f64 * LINE + 2.0;
        let name = format::shorten(&group.name, letters);
        svg.text("tick end", (left + name_width - 10.0, top + 13.0), &name);
        let (corner, tip) = ((left + name_width, top + 2.0), tip(group));
        let length = scale.map(group.channels as f64);
        svg.rect("bar track", corner, (length.max(1.0), 14.0), Some(&tip));
        let kept = scale.map(group.kept as f64);
        svg.rect("bar kept", corner, (kept.max(1.0), 14.0), Some(&tip));
        let figure = format!("{} / {}", group.kept, group.channels);
        svg.text("tick", (corner.0 + length + 8.0, top + 13.0), &figure);
    }
    Drawing {
        width,
        height: rows as f64 * LINE + 4.0,
        canvas: svg,
    }
}

fn tip(group: &Group) -> String {
    let share = if group.channels == 0 {
        1.0
    } else {
        group.kept as f64 / group.channels as f64
    };
    format!(
        "{}\n{} of {} channels kept\n{}",
        group.name,
        group.kept,
        group.channels,
        format::percent(share)
    )
}
