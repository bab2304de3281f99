//! Axes, scales and marks that the charts share.

use agent_protocol::stats::Interval;

use crate::{format, html::Markup};

/// A window a chart is drawn for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Window {
    /// From about 700 pixels on.
    Wide,
    /// A telephone's.
    Narrow,
}

impl Window {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Wide => "wide",
            Self::Narrow => "narrow",
        }
    }

    pub(crate) fn pick<T>(self, wide: T, narrow: T) -> T {
        match self {
            Self::Wide => wide,
            Self::Narrow => narrow,
        }
    }
}

/// Coordinates with a tenth of a pixel.
pub(crate) fn at(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
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
    /// Covers `values` and a little more; steps outward to whole ticks. None if no value is finite.
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

    pub(crate) fn new((low, high): (f64, f64), from: f64, to: f64) -> Self {
        let high = if high > low { high } else { low + 1.0 };
        Self {
            low,
            high,
            from,
            to,
        }
    }

    pub(crate) fn place(&self, value: f64) -> f64 {
        self.from + (value - self.low) / (self.high - self.low) * (self.to - self.from)
    }

    pub(crate) fn holds(&self, value: f64) -> bool {
        value >= self.low && value <= self.high
    }

    /// The value at the low or high end.
    pub(crate) fn ends(&self) -> (f64, f64) {
        (self.low, self.high)
    }

    /// Round values within, about `count` of them, and the decimals they need.
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

/// The frame of a chart with two axes.
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
        Scale::new(ends, self.left, self.width - self.right)
    }

    pub(crate) fn y(&self, ends: (f64, f64)) -> Scale {
        Scale::new(ends, self.height - self.bottom, self.top)
    }

    /// Grid, tick labels and titles of both axes. `x_text` and `y_text` write a tick from its value and decimals.
    pub(crate) fn axes(
        &self,
        svg: &mut Markup,
        x: (&Scale, &str, &Write<'_>),
        y: (&Scale, &str, &Write<'_>),
        window: Window,
    ) {
        let (bottom, right) = (self.height - self.bottom, self.width - self.right);
        let (ticks, decimals) = y.0.ticks(5);
        for tick in ticks {
            let place = at(y.0.place(tick));
            svg.empty(
                "line",
                &[
                    ("class", "grid"),
                    ("x1", &at(self.left)),
                    ("x2", &at(right)),
                    ("y1", &place),
                    ("y2", &place),
                ],
            );
            let place = at(y.0.place(tick) + 4.0);
            text(
                svg,
                "tick end",
                self.left - 8.0,
                place,
                &y.2(tick, decimals),
            );
        }
        let (ticks, decimals) = x.0.ticks(window.pick(7, 4));
        svg.empty(
            "line",
            &[
                ("class", "axis"),
                ("x1", &at(self.left)),
                ("x2", &at(right)),
                ("y1", &at(bottom)),
                ("y2", &at(bottom)),
            ],
        );
        for tick in ticks {
            let place = at(x.0.place(tick));
            svg.empty(
                "line",
                &[
                    ("class", "axis"),
                    ("x1", &place),
                    ("x2", &place),
                    ("y1", &at(bottom)),
                    ("y2", &at(bottom + 4.0)),
                ],
            );
            text(
                svg,
                "tick middle",
                x.0.place(tick),
                at(bottom + 17.0),
                &x.2(tick, decimals),
            );
        }
        text(svg, "title end", right, at(self.height - 6.0), x.1);
        text(svg, "title", 4.0, "13".to_owned(), y.1);
    }
}

/// Writes a tick: value, decimals.
pub(crate) type Write<'a> = dyn Fn(f64, usize) -> String + 'a;

/// A tick as a plain number.
pub(crate) fn plain(value: f64, decimals: usize) -> String {
    format!("{:.decimals$}", value + 0.0)
}

/// A tick of a value 0..=1 as percent.
pub(crate) fn hundredths(value: f64, decimals: usize) -> String {
    format!("{:.*}", decimals.saturating_sub(2), value * 100.0)
}

/// A text at a place.
pub(crate) fn text(svg: &mut Markup, class: &str, x: f64, y: String, content: &str) {
    svg.line(
        "text",
        &[("class", class), ("x", &at(x)), ("y", &y)],
        content,
    );
}

/// A circle with a hover text.
pub(crate) fn dot(svg: &mut Markup, class: &str, (x, y): (f64, f64), radius: f64, tip: &str) {
    svg.empty(
        "circle",
        &[
            ("class", class),
            ("cx", &at(x)),
            ("cy", &at(y)),
            ("r", &at(radius)),
            ("data-tip", tip),
        ],
    );
}

/// A diamond with a hover text.
pub(crate) fn diamond(svg: &mut Markup, class: &str, (x, y): (f64, f64), radius: f64, tip: &str) {
    let path = format!(
        "M{} {}l{r} {r}l-{r} {r}l-{r} -{r}z",
        at(x),
        at(y - radius),
        r = at(radius)
    );
    svg.empty("path", &[("class", class), ("d", &path), ("data-tip", tip)]);
}

/// An open line through points.
pub(crate) fn polyline(svg: &mut Markup, class: &str, points: &[(f64, f64)]) {
    let text: Vec<String> = points
        .iter()
        .map(|&(x, y)| format!("{},{}", at(x), at(y)))
        .collect();
    svg.empty("polyline", &[("class", class), ("points", &text.join(" "))]);
}

/// A straight line.
pub(crate) fn segment(svg: &mut Markup, class: &str, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
    svg.empty(
        "line",
        &[
            ("class", class),
            ("x1", &at(x1)),
            ("y1", &at(y1)),
            ("x2", &at(x2)),
            ("y2", &at(y2)),
        ],
    );
}

/// A rectangle with an optional hover text.
pub(crate) fn rect(
    svg: &mut Markup,
    class: &str,
    (x, y): (f64, f64),
    (width, height): (f64, f64),
    tip: Option<&str>,
) {
    let numbers = [at(x), at(y), at(width.max(0.0)), at(height.max(0.0))];
    let mut attributes = vec![
        ("class", class),
        ("x", &numbers[0]),
        ("y", &numbers[1]),
        ("width", &numbers[2]),
        ("height", &numbers[3]),
    ];
    if let Some(tip) = tip {
        attributes.push(("data-tip", tip));
    }
    svg.empty("rect", &attributes);
}

/// Moves label heights apart to at least `gap`, keeping their order; within `top..=bottom` if they fit.
pub(crate) fn spread(places: &mut [f64], gap: f64, top: f64, bottom: f64) {
    let mut order: Vec<usize> = (0..places.len()).collect();
    order.sort_by(|&a, &b| places[a].total_cmp(&places[b]));
    let mut least = top;
    for &index in &order {
        places[index] = places[index].max(least);
        least = places[index] + gap;
    }
    let mut most = bottom;
    for &index in order.iter().rev() {
        places[index] = places[index].min(most);
        most = places[index] - gap;
    }
}

/// Names a measured ratio with its interval.
pub(crate) fn interval(of: Interval) -> String {
    format!(
        "{} ({} to {})",
        format::ratio(of.value),
        format::ratio(of.low),
        format::ratio(of.high)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_within() {
        let check = |ends, expected: &[f64], decimals| {
            let (ticks, found) = Scale::new(ends, 0.0, 100.0).ticks(5);
            assert_eq!(found, decimals, "{ticks:?}");
            assert_eq!(ticks.len(), expected.len(), "{ticks:?}");
            assert!(
                ticks
                    .iter()
                    .zip(expected)
                    .all(|(a, b)| (a - b).abs() < 1e-9),
                "{ticks:?}"
            );
        };
        check((0.0, 1.0), &[0.0, 0.2, 0.4, 0.6, 0.8, 1.0], 1);
        check((0.61, 0.73), &[0.625, 0.65, 0.675, 0.7, 0.725], 3);
    }

    #[test]
    fn labels_are_spread_without_leaving_the_frame() {
        let mut places = [50.0, 51.0, 98.0, 99.0];
        spread(&mut places, 12.0, 0.0, 100.0);
        assert_eq!(places, [50.0, 62.0, 88.0, 100.0]);
    }
}
