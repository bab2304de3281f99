//! Computed costs against measured latency.

use agent_protocol::stats::Interval;

use crate::charts::{Chart, Drawing, Strategies, candidate_tip};
use crate::data::{Candidate, ReportData};
use crate::format;
use crate::svg::{Canvas, Frame, Scale, Window, plain};

/// A candidate with its computed cost and its measured latency.
type Costed<'a> = (f64, Interval, &'a Candidate);

/// MACs, relative to the original, against measured latency; `None` for fewer than two candidates
/// with both.
pub(crate) fn macs_against_latency(data: &ReportData) -> Option<Chart<'_>> {
    let points = points(data, |c| data.macs_ratio(c.macs));
    let axis = "MACs, relative to the original".to_owned();
    chart(data, points, ("macs", "MACs"), axis)
}

/// Predicted against measured latency; `None` for fewer than two candidates with both.
pub(crate) fn prediction_against_latency(data: &ReportData) -> Option<Chart<'_>> {
    let points = points(data, |c| c.predicted_ratio);
    let axis = format!("predicted latency, relative to {}", whole(data));
    chart(data, points, ("prediction", "Predicted latency"), axis)
}

/// What latencies are relative to.
fn whole(data: &ReportData) -> &str {
    data.stand_in().unwrap_or("the original")
}

fn points<'a>(data: &'a ReportData, cost: impl Fn(&Candidate) -> Option<f64>) -> Vec<Costed<'a>> {
    let both = data.candidates.iter();
    let both = both.filter_map(|c| Some((cost(c)?, c.latency_ratio?, c)));
    let finite = |(cost, latency, _): &Costed<'_>| {
        let Interval { value, low, high } = latency;
        [cost, value, low, high].iter().all(|v| v.is_finite())
    };
    both.filter(finite).collect()
}

/// Costs with the medians of the latencies.
fn medians(points: &[Costed<'_>]) -> Vec<(f64, f64)> {
    points.iter().map(|p| (p.0, p.1.value)).collect()
}

fn chart<'a>(
    data: &'a ReportData,
    points: Vec<Costed<'a>>,
    (id, name): (&'static str, &str),
    axis: String,
) -> Option<Chart<'a>> {
    if points.len() < 2 {
        return None;
    }
    let values = medians(&points);
    let distance: f64 = values.iter().map(|(x, y)| (x - y).abs()).sum();
    let relation = match (correlation(&values), correlation(&ranks(&values))) {
        (Some(r), Some(rho)) => format!("Correlation {r:.3}, of the ranks {rho:.3}."),
        _ => "No correlation: one of the two does not vary.".to_owned(),
    };
    let strategies = Strategies::of(data);
    let mut legend = strategies.legend();
    legend.push(("line equal".into(), "equal".into()));
    Some(Chart {
        id,
        title: format!("{name} against measured latency"),
        description: format!(
            "{} candidates with the 95 % intervals of their measurements. {relation} Mean distance from equality {:.3}.",
            points.len(),
            distance / values.len() as f64
        ),
        legend,
        draw: Box::new(move |window| draw(data, &points, &strategies, &axis, window)),
    })
}

fn draw(
    data: &ReportData,
    points: &[Costed<'_>],
    strategies: &Strategies<'_>,
    axis: &str,
    window: Window,
) -> Drawing {
    let frame = Frame::new(window);
    let mut svg = Canvas::default();
    let costs = Scale::covering(points.iter().map(|p| p.0), 0.05);
    let latencies = Scale::covering(points.iter().flat_map(|p| [p.1.low, p.1.high]), 0.05);
    let x = frame.x(costs.unwrap_or((0.0, 1.0)));
    let y = frame.y(latencies.unwrap_or((0.0, 1.0)));
    let y_title = format!("measured latency, relative to {}", whole(data));
    frame.axes(&mut svg, (&x, axis, &plain), (&y, &y_title, &plain), window);
    let (low, high) = (x.ends().0.max(y.ends().0), x.ends().1.min(y.ends().1));
    if low < high {
        let ends = [low, high].map(|end| (x.map(end), y.map(end)));
        svg.segment("line equal", ends[0], ends[1]);
    }
    for (cost, latency, _) in points {
        let left = x.map(*cost);
        svg.segment(
            "bars",
            (left, y.map(latency.low)),
            (left, y.map(latency.high)),
        );
    }
    for &(cost, latency, candidate) in points {
        let class = format!("dot faint {}", strategies.colour(&candidate.strategy));
        let mut tip = candidate_tip(data, candidate);
        if let Some(predicted) = candidate.predicted_ratio {
            tip.push_str(&format!("\npredicted {}", format::ratio(predicted)));
        }
        let center = (x.map(cost), y.map(latency.value));
        svg.dot(&class, center, window.pick(3.6, 3.2), &tip);
    }
    if let Some(r) = correlation(&medians(points)) {
        let corner = (frame.right_edge() - 4.0, frame.bottom_edge() - 8.0);
        svg.text("label end", corner, &format!("r = {r:.3}"));
    }
    Drawing::framed(&frame, svg)
}

/// Pearson's correlation; `None` if one of the two does not vary.
fn correlation(values: &[(f64, f64)]) -> Option<f64> {
    let count = values.len() as f64;
    let (mx, my) = values
        .iter()
        .fold((0.0, 0.0), |(a, b), (x, y)| (a + x / count, b + y / count));
    let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
    for (x, y) in values {
        xx += (x - mx) * (x - mx);
        yy += (y - my) * (y - my);
        xy += (x - mx) * (y - my);
    }
    let r = xy / (xx * yy).sqrt();
    r.is_finite().then_some(r)
}

/// The values replaced by their ranks; equal values share their mean rank.
fn ranks(values: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let rank = |values: Vec<f64>| {
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
        let mut ranks = vec![0.0; values.len()];
        let mut start = 0;
        while start < order.len() {
            let same = order[start..]
                .iter()
                .take_while(|&&i| values[i] == values[order[start]])
                .count();
            for &index in &order[start..start + same] {
                ranks[index] = start as f64 + (same - 1) as f64 / 2.0;
            }
            start += same;
        }
        ranks
    };
    let first = rank(values.iter().map(|v| v.0).collect());
    let second = rank(values.iter().map(|v| v.1).collect());
    first.into_iter().zip(second).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn correlations_have_their_known_answers() {
        let check = |values: &[(f64, f64)], expected: f64| {
            let r = correlation(values).unwrap();
            assert!((r - expected).abs() < 1e-12, "{r}");
        };
        check(&[(1.0, 2.0), (2.0, 4.0), (3.0, 6.0)], 1.0);
        check(&[(1.0, 3.0), (2.0, 2.0), (3.0, 1.0)], -1.0);
        assert_eq!(correlation(&[(1.0, 3.0), (1.0, 2.0)]), None);
        let ranks = ranks(&[(5.0, 1.0), (1.0, 1.0), (9.0, 0.0)]);
        assert_eq!(ranks, [(1.0, 1.5), (0.0, 1.5), (2.0, 0.0)]);
    }
}
