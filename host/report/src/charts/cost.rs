//! Costs that are computed against the latency that was measured.

use agent_protocol::stats::Interval;

use crate::{
    charts::{Chart, Drawing, candidate_tip, colour, strategies},
    data::ReportData,
    html::Markup,
    svg::{Frame, Scale, Window, at, dot, plain, segment, text},
};

/// A candidate with its computed cost and its measured latency with interval.
type Point<'a> = (f64, Interval, &'a crate::Candidate);

/// MACs, relative to the original, against measured latency. None below two candidates with both.
pub(crate) fn macs_against_latency(data: &ReportData) -> Option<Chart<'_>> {
    let points = points(data, |c| data.macs_ratio(c.macs));
    chart(
        data,
        points,
        "macs",
        "MACs",
        "MACs, relative to the original",
    )
}

/// The cost model's prediction against measured latency. None below two candidates with both.
pub(crate) fn prediction_against_latency(data: &ReportData) -> Option<Chart<'_>> {
    let points = points(data, |c| c.predicted_ratio);
    chart(
        data,
        points,
        "prediction",
        "Predicted latency",
        "predicted latency, relative to the original",
    )
}

fn points<'a>(
    data: &'a ReportData,
    cost: impl Fn(&crate::Candidate) -> Option<f64>,
) -> Vec<Point<'a>> {
    let both = data
        .candidates
        .iter()
        .filter_map(|c| Some((cost(c)?, c.latency_ratio?, c)));
    both.filter(|(x, of, _)| {
        [*x, of.value, of.low, of.high]
            .iter()
            .all(|v| v.is_finite())
    })
    .collect()
}

fn chart<'a>(
    data: &'a ReportData,
    points: Vec<Point<'a>>,
    id: &'static str,
    name: &str,
    axis: &'static str,
) -> Option<Chart<'a>> {
    if points.len() < 2 {
        return None;
    }
    let values: Vec<(f64, f64)> = points.iter().map(|p| (p.0, p.1.value)).collect();
    let error = values.iter().map(|(x, y)| (x - y).abs()).sum::<f64>() / values.len() as f64;
    let relation = match (correlation(&values), correlation(&ranks(&values))) {
        (Some(r), Some(rho)) => format!("Correlation {r:.3}, of the ranks {rho:.3}."),
        _ => "No correlation: one of the two does not vary.".to_owned(),
    };
    let description = format!(
        "{} candidates with the 95 % intervals of their measurements. {relation} Mean distance from equality {error:.3}.",
        points.len()
    );
    let names = strategies(data);
    let mut legend: Vec<(String, String)> = names
        .iter()
        .map(|name| (format!("dot {}", colour(&names, name)), (*name).to_owned()))
        .collect();
    legend.push(("line equal".into(), "equal".into()));
    let title = format!("{name} against measured latency");
    let draw = move |window| draw(data, &points, &names, axis, window);
    Some(Chart {
        id,
        title,
        description,
        legend,
        draw: Box::new(draw),
    })
}

fn draw(
    data: &ReportData,
    points: &[Point<'_>],
    names: &[&str],
    axis: &str,
    window: Window,
) -> Drawing {
    let frame = Frame::new(window);
    let mut svg = Markup::default();
    let x = frame.x(Scale::covering(points.iter().map(|p| p.0), 0.05).unwrap_or((0.0, 1.0)));
    let y = frame.y(
        Scale::covering(points.iter().flat_map(|p| [p.1.low, p.1.high]), 0.05)
            .unwrap_or((0.0, 1.0)),
    );
    frame.axes(
        &mut svg,
        (&x, axis, &plain),
        (&y, "measured latency, relative to the original", &plain),
        window,
    );
    let (low, high) = (x.ends().0.max(y.ends().0), x.ends().1.min(y.ends().1));
    if low < high {
        segment(
            &mut svg,
            "line equal",
            (x.place(low), y.place(low)),
            (x.place(high), y.place(high)),
        );
    }
    for &(cost, Interval { low, high, .. }, _) in points {
        segment(
            &mut svg,
            "bars",
            (x.place(cost), y.place(low)),
            (x.place(cost), y.place(high)),
        );
    }
    for &(cost, measured, candidate) in points {
        let class = format!("dot faint {}", colour(names, &candidate.strategy));
        let mut tip = candidate_tip(data, candidate);
        if let Some(predicted) = candidate.predicted_ratio {
            tip.push_str(&format!("\npredicted {}", crate::format::ratio(predicted)));
        }
        dot(
            &mut svg,
            &class,
            (x.place(cost), y.place(measured.value)),
            window.pick(3.6, 3.2),
            &tip,
        );
    }
    let values: Vec<(f64, f64)> = points.iter().map(|p| (p.0, p.1.value)).collect();
    if let Some(r) = correlation(&values) {
        text(
            &mut svg,
            "label end",
            frame.width - frame.right - 4.0,
            at(frame.height - frame.bottom - 8.0),
            &format!("r = {r:.3}"),
        );
    }
    Drawing {
        width: frame.width,
        height: frame.height,
        content: svg,
    }
}

/// Pearson's correlation; none if one of the two does not vary.
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

/// Replaces values by their ranks; equal ones share the mean of theirs.
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
    fn correlations_of_known_values() {
        let close = |found: Option<f64>, expected: f64| {
            assert!((found.unwrap() - expected).abs() < 1e-12, "{found:?}")
        };
        close(correlation(&[(1.0, 2.0), (2.0, 4.0), (3.0, 6.0)]), 1.0);
        close(correlation(&[(1.0, 3.0), (2.0, 2.0), (3.0, 1.0)]), -1.0);
        assert_eq!(correlation(&[(1.0, 3.0), (1.0, 2.0)]), None);
        assert_eq!(
            ranks(&[(5.0, 1.0), (1.0, 1.0), (9.0, 0.0)]),
            [(1.0, 1.5), (0.0, 1.5), (2.0, 0.0)]
        );
    }
}
