//! The steps of the kernels: one small chart for each kernel and axis.

use maud::{Markup, html};

use super::Staircase;
use super::figures::{drawable, widths};
use crate::charts::{key, svg};
use crate::format;
use crate::html::{figure, or};
use crate::svg::{Canvas, Frame, Scale, TickFormat, Window, plain, whole};

/// The size of each chart in all windows; their number in a row varies.
const FRAME: Frame = Frame {
    width: 260.0,
    height: 190.0,
    left: 38.0,
    right: 12.0,
    top: 24.0,
    bottom: 40.0,
};

/// The most edges that a caption lists; a longer list says little.
const MOST: usize = 12;

/// All charts with a common legend.
pub(super) fn staircases(all: &[Staircase]) -> Markup {
    if all.is_empty() {
        let none = "Not measured: no kernel was measured by width.";
        return figure(None, "Time by width", none);
    }
    let step = [(1.0, 9.0), (10.0, 9.0), (10.0, 3.0), (19.0, 3.0)];
    html! {
        ul.legend {
            li { (key(|svg| svg.dot("dot ring c0", (10.0, 6.0), 3.0, ""))) "measured" }
            li { (key(|svg| svg.polyline("line step", &step))) "step" }
            li {
                (key(|svg| svg.diamond("mark corner", (10.0, 6.0), 4.6, "")))
                "step edge: every wider width takes longer"
            }
        }
        div.multiples {
            @for (index, stair) in all.iter().enumerate() {
                (chart(&format!("stair-{index}"), stair))
            }
        }
    }
}

/// What is drawn of a staircase: measurements, and steps with their first and last width.
struct Curve {
    points: Vec<(f64, f64)>,
    steps: Vec<(f64, f64, f64)>,
}

impl Curve {
    fn of(stair: &Staircase) -> Self {
        let points = stair.points.iter().map(|&(width, ns)| (width as f64, ns));
        let steps = stair.steps.iter();
        let steps = steps.map(|&(first, last, ns)| (first as f64, last as f64, ns));
        Self {
            points: points.filter(|&(_, ns)| drawable(ns)).collect(),
            steps: steps.filter(|&(_, _, ns)| drawable(ns)).collect(),
        }
    }

    fn is_empty(&self) -> bool {
        self.points.is_empty() && self.steps.is_empty()
    }

    /// The largest width and the longest time.
    fn ends(&self) -> (f64, f64) {
        let steps = || self.steps.iter();
        let widths = self.points.iter().map(|&(width, _)| width);
        let widths = widths.chain(steps().flat_map(|&(first, last, _)| [first, last]));
        let times = self.points.iter().map(|&(_, ns)| ns);
        let times = times.chain(steps().map(|&(_, _, ns)| ns));
        let widest = Scale::covering(widths.chain([0.0]), 0.0);
        let slowest = Scale::covering(times.chain([0.0]), 0.06);
        (
            widest.map_or(1.0, |(_, high)| high),
            slowest.map_or(1.0, |(_, high)| high),
        )
    }
}

fn chart(id: &str, stair: &Staircase) -> Markup {
    let curve = Curve::of(stair);
    let title = format!("{} by {}", stair.kernel, stair.axis);
    let edges = edges(stair);
    html! {
        figure.chart #(id) {
            h3 { (stair.kernel) }
            @if curve.is_empty() {
                p.none { "Not measured." }
            } @else {
                (svg("small", id, (FRAME.width, FRAME.height), (&title, &edges), &draw(stair, &curve)))
                figcaption { (edges) }
            }
            (users(&stair.layers))
        }
    }
}

/// The step edges in words.
fn edges(stair: &Staircase) -> String {
    let edges: Vec<usize> = stair.edges().map(|(width, _)| width).collect();
    let measured = stair.points.len();
    if stair.steps.is_empty() {
        format!("{measured} widths measured, no steps found")
    } else if edges.len() > MOST {
        format!("{measured} widths, {} worth having", edges.len())
    } else {
        format!("worth having: {}", widths(&edges))
    }
}

/// The layers with this kernel.
fn users(layers: &[String]) -> Markup {
    html! {
        @if let Some(first) = layers.first() {
            p.users data-tip=(layers.join("\n")) {
                @if layers.len() > 1 {
                    (layers.len()) " layers: " (first) ", \u{2026}"
                } @else {
                    (first)
                }
            }
        }
    }
}

fn draw(stair: &Staircase, curve: &Curve) -> Canvas {
    let (widest, slowest) = curve.ends();
    let (unit, unit_ns) = if slowest >= 1e6 {
        ("ms", 1e6)
    } else {
        ("us", 1e3)
    };
    let x = FRAME.x((0.0, widest));
    let y = FRAME.y((0.0, slowest / unit_ns));
    let point = |width: f64, ns: f64| (x.map(width), y.map(ns / unit_ns));
    let mut svg = Canvas::default();
    let y_axis = (&y, unit, &plain as &TickFormat<'_>);
    FRAME.axes(&mut svg, (&x, &stair.axis, &whole), y_axis, Window::Narrow);
    let mut line = Vec::new();
    let mut before: Option<(f64, f64)> = None;
    for &(first, last, ns) in &curve.steps {
        match before {
            // The width at which the time rises between two steps is unknown: draw it half-way.
            Some((end, time)) => {
                let middle = (end + first) / 2.0;
                line.extend([point(middle, time), point(middle, ns)]);
            }
            None => line.push(point(first, ns)),
        }
        line.push(point(last, ns));
        before = Some((last, ns));
    }
    if !line.is_empty() {
        svg.polyline("line step", &line);
    }
    for &(width, ns) in &curve.points {
        svg.dot("dot ring c0", point(width, ns), 2.6, &tip(stair, width, ns));
    }
    for (width, ns) in stair.edges() {
        let width = width as f64;
        let tip = format!("{}\nworth having", tip(stair, width, ns));
        svg.diamond("mark corner", point(width, ns), 4.6, &tip);
    }
    svg
}

fn tip(stair: &Staircase, width: f64, ns: f64) -> String {
    let axis = or(&stair.axis, "channels");
    let time = format::millis(ns);
    format!("{}\n{width:.0} {axis}\n{time} ms", stair.kernel)
}
