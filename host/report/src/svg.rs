//! Scales, axes and marks of the charts.

use maud::{Markup, Render, html};

/// The layout a chart is drawn for; the stylesheet shows one of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Window {
    /// From about 700 pixels.
    Wide,
    /// A phone.
    Narrow,
}

impl Window {
    pub(crate) fn name(self) -> &'static str {
        self.pick("wide", "narrow")
    }

    pub(crate) fn pick<T>(self, wide: T, narrow: T) -> T {
        match self {
            Self::Wide => wide,
            Self::Narrow => narrow,
        }
    }
}

/// A coordinate, written with a tenth of a pixel.
struct Pixels(f64);

impl Render for Pixels {
    fn render_to(&self, buffer: &mut String) {
        let text = format!("{:.1}", self.0);
        buffer.push_str(text.strip_suffix(".0").unwrap_or(&text));
    }
}

/// A position in pixels: x to the right, y downwards.
pub(crate) type Point = (f64, f64);

/// The marks of a drawing, from back to front.
#[derive(Debug, Default)]
pub(crate) struct Canvas(String);

impl Render for Canvas {
    fn render_to(&self, buffer: &mut String) {
        buffer.push_str(&self.0);
    }
}

impl Canvas {
    pub(crate) fn text(&mut self, class: &str, (x, y): Point, content: &str) {
        self.push(&html! { text class=(class) x=(Pixels(x)) y=(Pixels(y)) { (content) } });
    }

    /// A circle; hovering over it shows `tip`.
    pub(crate) fn dot(&mut self, class: &str, (x, y): Point, radius: f64, tip: &str) {
        self.push(&html! {
            circle class=(class) cx=(Pixels(x)) cy=(Pixels(y)) r=(Pixels(radius)) data-tip=(tip) {}
        });
    }

    /// A diamond; hovering over it shows `tip`.
    pub(crate) fn diamond(&mut self, class: &str, (x, y): Point, radius: f64, tip: &str) {
        let (top, r) = (Pixels(y - radius).render(), Pixels(radius).render());
        let (x, top, r) = (Pixels(x).render().0, top.0, r.0);
        let path = format!("M{x} {top}l{r} {r}l-{r} {r}l-{r} -{r}z");
        self.push(&html! { path class=(class) d=(path) data-tip=(tip) {} });
    }

    /// An open line through points.
    pub(crate) fn polyline(&mut self, class: &str, points: &[Point]) {
        let points = html! {
            @for (index, &(x, y)) in points.iter().enumerate() {
                @if index > 0 { " " }
                (Pixels(x)) "," (Pixels(y))
            }
        };
        self.push(&html! { polyline class=(class) points=(points) {} });
    }

    pub(crate) fn segment(&mut self, class: &str, (x1, y1): Point, (x2, y2): Point) {
        self.push(&html! {
            line class=(class) x1=(Pixels(x1)) y1=(Pixels(y1)) x2=(Pixels(x2)) y2=(Pixels(y2)) {}
        });
    }

    /// A rectangle from its top left corner and its width and height.
    pub(crate) fn rect(
        &mut self,
        class: &str,
        (x, y): Point,
        (width, height): (f64, f64),
        tip: Option<&str>,
    ) {
        let (width, height) = (width.max(0.0), height.max(0.0));
        self.push(&html! {
            rect class=(class) x=(Pixels(x)) y=(Pixels(y)) width=(Pixels(width))
                height=(Pixels(height)) data-tip=[tip] {}
        });
    }

    fn push(&mut self, mark: &Markup) {
        self.0.push_str(&mark.0);
    }
}

/// A linear map from values to pixels.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Scale {
    /// The range of the finite `values`, widened on both sides by the share `margin`; `None` if
    /// there is no finite value.
    pub(crate) fn covering(values: impl Iterator<Item = f64>, margin: f64) -> Option<(f64, f64)> {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|v| v.is_finite()) {
            low = low.min(value);
            high = high.max(value);
        }
        if low > high {
            return None;
        }
        let span = (high - low).max(high.abs().max(1e-9) * 1e-3);
        Some((low - span * margin, high + span * margin))
    }

    /// As [`Self::covering`], at least as wide as `noise`: an axis that is narrower shows chance.
    pub(crate) fn beyond(
        noise: f64,
        values: impl Iterator<Item = f64>,
        margin: f64,
    ) -> Option<(f64, f64)> {
        let (low, high) = Self::covering(values, margin)?;
        let missing = (noise - (high - low)).max(0.0) / 2.0;
        Some((low - missing, high + missing))
    }

    /// Maps `low` to the pixel `from` and `high` to `to`.
    pub(crate) fn new((low, high): (f64, f64), from: f64, to: f64) -> Self {
        let high = if high > low { high } else { low + 1.0 };
        Self {
            low,
            high,
            from,
            to,
        }
    }

    pub(crate) fn map(&self, value: f64) -> f64 {
        self.from + (value - self.low) / (self.high - self.low) * (self.to - self.from)
    }

    pub(crate) fn contains(&self, value: f64) -> bool {
        value >= self.low && value <= self.high
    }

    /// The lowest and the highest value.
    pub(crate) fn ends(&self) -> (f64, f64) {
        (self.low, self.high)
    }

    /// About `count` round values within the scale, and the number of decimals they need.
    pub(crate) fn ticks(&self, count: usize) -> (Vec<f64>, usize) {
        let raw = (self.high - self.low) / count.max(1) as f64;
        let power = 10f64.powf(raw.log10().floor());
        let step = [1.0, 2.0, 2.5, 5.0, 10.0]
            .into_iter()
            .map(|s| s * power)
            .find(|&s| s >= raw * 0.999)
            .unwrap_or(raw);
        let decimals = (0..9).find(|&d| {
            let scaled = step * 10f64.powi(d);
            (scaled - scaled.round()).abs() < 1e-6 * scaled.max(1.0)
        });
        let first = (self.low / step - 1e-9).ceil() as i64;
        let last = (self.high / step + 1e-9).floor() as i64;
        let ticks = (first..=last.min(first + 200))
            .map(|i| i as f64 * step)
            .collect();
        (ticks, decimals.unwrap_or(9) as usize)
    }
}

/// Formats a tick label from its value and its number of decimals.
pub(crate) type TickFormat<'a> = dyn Fn(f64, usize) -> String + 'a;

/// A tick label as a plain number.
pub(crate) fn plain(value: f64, decimals: usize) -> String {
    format!("{:.decimals$}", value + 0.0)
}

/// A tick label of a share (0..=1) as percent.
pub(crate) fn hundredths(value: f64, decimals: usize) -> String {
    format!("{:.*}", decimals.saturating_sub(2), value * 100.0)
}

/// A tick label of a count; empty between whole numbers.
pub(crate) fn whole(value: f64, _: usize) -> String {
    if (value - value.round()).abs() < 1e-6 {
        format!("{value:.0}")
    } else {
        String::new()
    }
}

/// An axis: its scale, its title and the format of its ticks.
pub(crate) type Axis<'a> = (&'a Scale, &'a str, &'a TickFormat<'a>);

/// The size of a chart with two axes, and its margins, in pixels.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame {
    pub(crate) width: f64,
    pub(crate) height: f64,
    pub(crate) left: f64,
    pub(crate) right: f64,
    pub(crate) top: f64,
    pub(crate) bottom: f64,
}

impl Frame {
    pub(crate) fn new(window: Window) -> Self {
        let (width, height) = window.pick((620.0, 340.0), (340.0, 300.0));
        Self {
            width,
            height,
            left: 52.0,
            right: 14.0,
            top: 26.0,
            bottom: 44.0,
        }
    }

    pub(crate) fn x(&self, ends: (f64, f64)) -> Scale {
        Scale::new(ends, self.left, self.right_edge())
    }

    pub(crate) fn y(&self, ends: (f64, f64)) -> Scale {
        Scale::new(ends, self.bottom_edge(), self.top)
    }

    pub(crate) fn right_edge(&self) -> f64 {
        self.width - self.right
    }

    pub(crate) fn bottom_edge(&self) -> f64 {
        self.height - self.bottom
    }

    /// Whether `x` is in the right half, where labels are placed to the left of their mark.
    pub(crate) fn is_right_half(&self, x: f64) -> bool {
        x > (self.left + self.width) * 0.5
    }

    /// Draws the grid, the tick labels and the titles of both axes.
    pub(crate) fn axes(&self, svg: &mut Canvas, x: Axis<'_>, y: Axis<'_>, window: Window) {
        let (bottom, right) = (self.bottom_edge(), self.right_edge());
        let (ticks, decimals) = y.0.ticks(5);
        for tick in ticks {
            let height = y.0.map(tick);
            svg.segment("grid", (self.left, height), (right, height));
            let label = (self.left - 8.0, height + 4.0);
            svg.text("tick end", label, &y.2(tick, decimals));
        }
        let (ticks, decimals) = x.0.ticks(window.pick(7, 4));
        svg.segment("axis", (self.left, bottom), (right, bottom));
        for tick in ticks {
            let left = x.0.map(tick);
            svg.segment("axis", (left, bottom), (left, bottom + 4.0));
            let label = (left, bottom + 17.0);
            svg.text("tick middle", label, &x.2(tick, decimals));
        }
        svg.text("title end", (right, self.height - 6.0), x.1);
        svg.text("title", (4.0, 13.0), y.1);
    }
}

/// Moves label heights apart to at least `gap`, keeping their order; within `top..=bottom` if
/// they fit.
pub(crate) fn spread(heights: &mut [f64], gap: f64, top: f64, bottom: f64) {
    let mut order: Vec<usize> = (0..heights.len()).collect();
    order.sort_by(|&a, &b| heights[a].total_cmp(&heights[b]));
    let mut least = top;
    for &index in &order {
        heights[index] = heights[index].max(least);
        least = heights[index] + gap;
    }
    let mut most = bottom;
    for &index in order.iter().rev() {
        heights[index] = heights[index].min(most);
        most = heights[index] - gap;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_within_the_scale() {
        let check = |ends, expected: &[f64], decimals| {
            let (ticks, needed) = Scale::new(ends, 0.0, 100.0).ticks(5);
            assert_eq!(needed, decimals, "{ticks:?}");
            assert_eq!(ticks.len(), expected.len(), "{ticks:?}");
            let mut pairs = ticks.iter().zip(expected);
            assert!(pairs.all(|(a, b)| (a - b).abs() < 1e-9), "{ticks:?}");
        };
        check((0.0, 1.0), &[0.0, 0.2, 0.4, 0.6, 0.8, 1.0], 1);
        check((0.61, 0.73), &[0.625, 0.65, 0.675, 0.7, 0.725], 3);
    }

    #[test]
    fn an_axis_is_no_narrower_than_the_noise_of_its_values() {
        let ends = |noise| Scale::beyond(noise, [0.90, 0.91].into_iter(), 0.0).unwrap();
        assert_eq!(ends(0.005), (0.90, 0.91));
        let (low, high) = ends(0.03);
        assert!((low - 0.89).abs() < 1e-12 && (high - 0.92).abs() < 1e-12);
    }

    #[test]
    fn labels_are_spread_without_leaving_the_frame() {
        let mut heights = [50.0, 51.0, 98.0, 99.0];
        spread(&mut heights, 12.0, 0.0, 100.0);
        assert_eq!(heights, [50.0, 62.0, 88.0, 100.0]);
    }

    #[test]
    fn marks_escape_their_texts() {
        let hostile = "\"><script>&";
        let mut canvas = Canvas::default();
        canvas.text("label", (1.0, 2.25), hostile);
        canvas.dot(hostile, (1.0, 2.0), 3.0, hostile);
        let escaped = "&quot;&gt;&lt;script&gt;&amp;";
        assert_eq!(
            canvas.0,
            format!(
                "<text class=\"label\" x=\"1\" y=\"2.2\">{escaped}</text>\
                 <circle class=\"{escaped}\" cx=\"1\" cy=\"2\" r=\"3\" data-tip=\"{escaped}\"></circle>"
            )
        );
    }
}
