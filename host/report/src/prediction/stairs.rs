//! The steps a device moves in: small charts side by side, one for each kernel and axis.

use super::{Staircase, words};
use crate::{
    format,
    html::Markup,
    svg::{Frame, Scale, Window, diamond, dot, plain, polyline},
};

/// The size of each chart, the same in wide and narrow windows: only their number beside each other differs.
const FRAME: Frame = Frame {
    width: 260.0,
    height: 190.0,
    left: 38.0,
    right: 12.0,
    top: 24.0,
    bottom: 40.0,
};

/// All charts, with what their marks mean.
pub(super) fn stairs(page: &mut Markup, all: &[Staircase]) {
    page.element("ul", &[("class", "legend")], |list| {
        let keys = [
            ("point", "measured"),
            ("line", "step found"),
            (
                "corner",
                "width worth having: no wider one takes as little time",
            ),
        ];
        for (key, meaning) in keys {
            list.element("li", &[], |item| {
                let attributes = [("viewBox", "0 0 20 12"), ("aria-hidden", "true")];
                item.element("svg", &attributes, |svg| match key {
                    "point" => dot(svg, "dot ring c0", (10.0, 6.0), 3.0, ""),
                    "line" => polyline(
                        svg,
                        "line step",
                        &[(1.0, 9.0), (10.0, 9.0), (10.0, 3.0), (19.0, 3.0)],
                    ),
                    _ => diamond(svg, "mark corner", (10.0, 6.0), 4.6, ""),
                });
                item.text(meaning);
            });
        }
    });
    page.element("div", &[("class", "multiples")], |grid| {
        for (index, stair) in all.iter().enumerate() {
            one(grid, index, stair);
        }
    });
}

fn points(stair: &Staircase) -> Vec<(f64, f64)> {
    let points = stair.points.iter().map(|&(width, ns)| (width as f64, ns));
    points.filter(|&(_, ns)| words::drawable(ns)).collect()
}

fn steps(stair: &Staircase) -> Vec<(f64, f64, f64)> {
    let steps = stair.steps.iter();
    let steps = steps.map(|&(first, last, ns)| (first as f64, last as f64, ns));
    steps.filter(|&(_, _, ns)| words::drawable(ns)).collect()
}

fn one(grid: &mut Markup, index: usize, stair: &Staircase) {
    let id = format!("stair-{index}");
    grid.element("figure", &[("class", "chart"), ("id", &id)], |figure| {
        figure.line("h3", &[], &stair.kernel);
        let (points, steps) = (points(stair), steps(stair));
        if points.is_empty() && steps.is_empty() {
            figure.line("p", &[("class", "none")], "Not measured.");
        } else {
            let size = format!("0 0 {} {}", FRAME.width, FRAME.height);
            let [title, description] = ["t", "d"].map(|end| format!("{id}-{end}"));
            let labels = format!("{title} {description}");
            let attributes = [
                ("class", "small"),
                ("viewBox", size.as_str()),
                ("role", "img"),
                ("aria-labelledby", labels.as_str()),
            ];
            figure.element("svg", &attributes, |svg| {
                let name = format!("{} by {}", stair.kernel, stair.axis);
                svg.line("title", &[("id", &title)], &name);
                svg.line("desc", &[("id", &description)], &corners(stair));
                draw(svg, stair, &points, &steps);
            });
            figure.line("figcaption", &[], &corners(stair));
        }
        users(figure, &stair.layers);
    });
}

/// The corners in words.
fn corners(stair: &Staircase) -> String {
    let corners: Vec<usize> = stair.corners().map(|(width, _)| width).collect();
    let (measured, steps) = (stair.points.len(), stair.steps.len());
    match steps {
        0 => format!("{measured} widths measured, no steps found"),
        // Where nearly every width is a step of its own, a list of all says nothing.
        _ if corners.len() > 12 => {
            format!("{measured} widths, {} worth having", corners.len())
        }
        _ => format!("worth having: {}", words::list(&corners)),
    }
}

/// The layers that a chart speaks for.
fn users(figure: &mut Markup, layers: &[String]) {
    let (first, rest) = match layers.split_first() {
        Some((first, rest)) => (first, rest.len()),
        None => return,
    };
    let all = layers.join("\n");
    figure.element("p", &[("class", "users"), ("data-tip", &all)], |p| {
        p.text(&match rest {
            0 => first.clone(),
            _ => format!("{} layers: {first}, \u{2026}", rest + 1),
        });
    });
}

fn draw(svg: &mut Markup, stair: &Staircase, points: &[(f64, f64)], steps: &[(f64, f64, f64)]) {
    let widths = points.iter().map(|&(width, _)| width);
    let widths = widths.chain(steps.iter().flat_map(|&(first, last, _)| [first, last]));
    let times = points.iter().map(|&(_, ns)| ns);
    let times = times.chain(steps.iter().map(|&(_, _, ns)| ns));
    let widest = Scale::covering(widths.chain([0.0]), 0.0).map_or(1.0, |(_, high)| high);
    let slowest = Scale::covering(times.chain([0.0]), 0.06).map_or(1.0, |(_, high)| high);
    let (unit, unit_ns) = if slowest >= 1e6 {
        ("ms", 1e6)
    } else {
        ("us", 1e3)
    };
    let x = FRAME.x((0.0, widest));
    let y = FRAME.y((0.0, slowest / unit_ns));
    let place = |width: f64, ns: f64| (x.place(width), y.place(ns / unit_ns));
    // Widths are whole numbers.
    let whole = |value: f64, _: usize| {
        if (value - value.round()).abs() < 1e-6 {
            format!("{value:.0}")
        } else {
            String::new()
        }
    };
    FRAME.axes(
        svg,
        (&x, &stair.axis, &whole),
        (&y, unit, &plain),
        Window::Narrow,
    );
    let mut line = Vec::new();
    let mut before: Option<(f64, f64)> = None;
    for &(first, last, ns) in steps {
        match before {
            // Where between two steps the time rises is not known; half-way is drawn.
            Some((end, time)) => {
                let middle = (end + first) / 2.0;
                line.extend([place(middle, time), place(middle, ns)]);
            }
            None => line.push(place(first, ns)),
        }
        line.push(place(last, ns));
        before = Some((last, ns));
    }
    if !line.is_empty() {
        polyline(svg, "line step", &line);
    }
    for &(width, ns) in points {
        let tip = tip(stair, width, ns);
        dot(svg, "dot ring c0", place(width, ns), 2.6, &tip);
    }
    for (width, ns) in stair.corners() {
        let tip = format!("{}\nworth having", tip(stair, width as f64, ns));
        diamond(svg, "mark corner", place(width as f64, ns), 4.6, &tip);
    }
}

fn tip(stair: &Staircase, width: f64, ns: f64) -> String {
    let axis = if stair.axis.is_empty() {
        "channels"
    } else {
        &stair.axis
    };
    format!(
        "{}\n{width:.0} {axis}\n{} ms",
        stair.kernel,
        format::millis(ns)
    )
}
