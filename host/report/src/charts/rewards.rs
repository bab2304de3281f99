//! Reward by episode.

use crate::charts::{Chart, Drawing, Strategies, candidate_tip};
use crate::data::{Candidate, ReportData};
use crate::format;
use crate::svg::{Canvas, Frame, Point, Scale, Window, plain, whole};

/// `None` if no candidate has a reward.
pub(crate) fn rewards(data: &ReportData) -> Option<Chart<'_>> {
    let rewarded = data.candidates.iter().filter(|c| c.reward.is_finite());
    let mut points: Vec<&Candidate> = rewarded.collect();
    points.sort_by_key(|c| c.episode);
    let best = points.iter().max_by(|a, b| a.reward.total_cmp(&b.reward))?;
    let strategies = Strategies::of(data);
    let span = (points.len() / 20).clamp(5, 25);
    let description = format!(
        "The rewards of {} episodes, each strategy's moving average over {span} of its episodes, and the best so far: {} in episode {}.",
        points.len(),
        format::significant(best.reward, 4),
        best.episode
    );
    let mut legend = strategies.legend();
    legend.push((
        "line front".into(),
        format!("average of {span}, by strategy"),
    ));
    legend.push(("line best".into(), "best so far".into()));
    Some(Chart {
        id: "rewards",
        title: "Reward over episodes".into(),
        description,
        legend,
        draw: Box::new(move |window| draw(data, &points, &strategies, span, window)),
    })
}

fn draw(
    data: &ReportData,
    points: &[&Candidate],
    strategies: &Strategies<'_>,
    span: usize,
    window: Window,
) -> Drawing {
    let frame = Frame {
        height: window.pick(400.0, 300.0),
        ..Frame::new(window)
    };
    let mut svg = Canvas::default();
    let episodes = points.iter().map(|c| c.episode as f64);
    let x = frame.x(Scale::covering(episodes, 0.02).unwrap_or((0.0, 1.0)));
    let ends = Scale::covering(visible(points).into_iter(), 0.06);
    let y = frame.y(ends.unwrap_or((0.0, 1.0)));
    frame.axes(
        &mut svg,
        (&x, "episode", &whole),
        (&y, "reward", &plain),
        window,
    );
    let clipped: Vec<f64> = points.iter().map(|c| c.reward.max(y.ends().0)).collect();
    for (candidate, &reward) in points.iter().zip(&clipped) {
        let class = format!("dot faint {}", strategies.colour(&candidate.strategy));
        let center = (x.map(candidate.episode as f64), y.map(reward));
        let tip = candidate_tip(data, candidate);
        svg.dot(&class, center, window.pick(3.2, 2.8), &tip);
    }
    let mut best = Vec::new();
    let mut record = f64::NEG_INFINITY;
    for (candidate, &reward) in points.iter().zip(&clipped) {
        let left = x.map(candidate.episode as f64);
        if reward > record {
            if record.is_finite() {
                best.push((left, y.map(record)));
            }
            record = reward;
        }
        best.push((left, y.map(record)));
    }
    svg.polyline("line best", &best);
    for name in strategies.names() {
        let own = points.iter().zip(&clipped);
        let own = own.filter(|(candidate, _)| candidate.strategy == name);
        let own: Vec<(f64, f64)> = own.map(|(c, &reward)| (c.episode as f64, reward)).collect();
        let average = averages(&own, span).map(|(episode, mean)| (x.map(episode), y.map(mean)));
        let average: Vec<Point> = average.collect();
        // The edge keeps the line apart from the dots of its colour.
        svg.polyline("line edge", &average);
        svg.polyline(&format!("line {}", strategies.colour(name)), &average);
    }
    Drawing::framed(&frame, svg)
}

/// The mean of each reward and those before it, at most `span` in all.
fn averages(rewards: &[(f64, f64)], span: usize) -> impl Iterator<Item = (f64, f64)> {
    rewards
        .iter()
        .enumerate()
        .map(move |(index, &(episode, _))| {
            let recent = &rewards[(index + 1).saturating_sub(span)..=index];
            let sum: f64 = recent.iter().map(|of| of.1).sum();
            (episode, sum / recent.len() as f64)
        })
}

/// The ends of the axis. Rewards far below the others are drawn on its lower edge.
fn visible(points: &[&Candidate]) -> [f64; 2] {
    let mut sorted: Vec<f64> = points.iter().map(|c| c.reward).collect();
    sorted.sort_by(f64::total_cmp);
    let (low, high) = (sorted[0], sorted[sorted.len() - 1]);
    let middle = format::quantile(&sorted, 0.25).unwrap_or(low);
    [low.max(middle - 4.0 * (high - middle).max(1e-9)), high]
}

#[cfg(test)]
mod tests {
    use super::averages;

    #[test]
    fn an_average_is_over_the_last_episodes_of_its_strategy() {
        let rewards = [(0.0, 1.0), (2.0, 3.0), (5.0, 8.0)];
        let means: Vec<(f64, f64)> = averages(&rewards, 2).collect();
        assert_eq!(means, [(0.0, 1.0), (2.0, 2.0), (5.0, 5.5)]);
    }
}
