//! Channels per group, original and kept.

use crate::{
    charts::{Chart, Drawing},
    data::ReportData,
    format,
    html::Markup,
    svg::{Scale, Window, rect, text},
};

/// None without groups.
pub(crate) fn widths(data: &ReportData) -> Option<Chart<'_>> {
    if data.groups.is_empty() {
        return None;
    }
    let (all, kept) = data
        .groups
        .iter()
        .fold((0, 0), |(all, kept), g| (all + g.channels, kept + g.kept));
    let description = format!(
        "Channels of each of {} groups in the order of the network: {kept} of {all} are kept.",
        data.groups.len()
    );
    let legend = vec![
        ("bar kept".into(), "kept".into()),
        ("bar track".into(), "original".into()),
    ];
    let draw = move |window| draw(data, window);
    Some(Chart {
        id: "widths",
        title: "Channels per group".into(),
        description,
        legend,
        draw: Box::new(draw),
    })
}

fn draw(data: &ReportData, window: Window) -> Drawing {
    let width = window.pick(1260.0, 340.0);
    // Two columns of groups where there is room.
    let columns = if window == Window::Wide && data.groups.len() > 8 {
        2
    } else {
        1
    };
    let rows = data.groups.len().div_ceil(columns);
    let column = (width - 30.0 * (columns as f64 - 1.0)) / columns as f64;
    let (name_width, letters) = window.pick((230.0, 32), (118.0, 16));
    let (line, figures) = (22.0, 76.0);
    let most = data
        .groups
        .iter()
        .map(|g| g.channels.max(g.kept))
        .max()
        .unwrap_or(1) as f64;
    let mut svg = Markup::default();
    for (index, group) in data.groups.iter().enumerate() {
        let left = (index / rows) as f64 * (column + 30.0);
        let top = (index % rows) as f64 * line + 2.0;
        let scale = Scale::new((0.0, most), 0.0, column - name_width - figures);
        let part = if group.channels == 0 {
            1.0
        } else {
            group.kept as f64 / group.channels as f64
        };
        let tip = format!(
            "{}\n{} of {} channels kept\n{}",
            group.name,
            group.kept,
            group.channels,
            format::percent(part)
        );
        text(
            &mut svg,
            "tick end",
            left + name_width - 10.0,
            crate::svg::at(top + 13.0),
            &format::shorten(&group.name, letters),
        );
        let (bar, place) = (
            scale.place(group.channels as f64),
            (left + name_width, top + 2.0),
        );
        rect(
            &mut svg,
            "bar track",
            place,
            (bar.max(1.0), 14.0),
            Some(&tip),
        );
        rect(
            &mut svg,
            "bar kept",
            place,
            (scale.place(group.kept as f64).max(1.0), 14.0),
            Some(&tip),
        );
        let figure = format!("{} / {}", group.kept, group.channels);
        text(
            &mut svg,
            "tick",
            left + name_width + bar + 8.0,
            crate::svg::at(top + 13.0),
            &figure,
        );
    }
    Drawing {
        width,
        height: rows as f64 * line + 4.0,
        content: svg,
    }
}
