//! Reward over episodes.

use crate::{
    charts::{Chart, Drawing, candidate_tip, colour, strategies},
    data::ReportData,
    format,
    html::Markup,
    svg::{Frame, Scale, Window, dot, plain, polyline},
};

/// None without a candidate that has a reward.
pub(crate) fn rewards(data: &ReportData) -> Option<Chart<'_>> {
    let mut points: Vec<&crate::Candidate> = data
        .candidates
        .iter()
        .filter(|c| c.reward.is_finite())
        .collect();
    points.sort_by_key(|c| c.episode);
    let best = points.iter().max_by(|a, b| a.reward.total_cmp(&b.reward))?;
    let names = strategies(data);
    let span = (points.len() / 20).clamp(5, 25);
    let description = format!(
        "The reward of each of {} episodes, their moving average over {span} episodes and the best so far. \
         The best, {}, came in episode {}.",
        points.len(),
        format::significant(best.reward, 4),
        best.episode
    );
    let mut legend: Vec<(String, String)> = names
        .iter()
        .map(|name| (format!("dot {}", colour(&names, name)), (*name).to_owned()))
        .collect();
    legend.push(("line average".into(), format!("average of {span}")));
    legend.push(("line best".into(), "best so far".into()));
    let draw = move |window| draw(data, &points, &names, span, window);
    Some(Chart {
        id: "rewards",
        title: "Reward over episodes".into(),
        description,
        legend,
        draw: Box::new(draw),
    })
}

fn draw(
    data: &ReportData,
    points: &[&crate::Candidate],
    names: &[&str],
    span: usize,
    window: Window,
) -> Drawing {
    let frame = Frame {
        height: window.pick(400.0, 300.0),
        ..Frame::new(window)
    };
    let mut svg = Markup::default();
    let episodes = points.iter().map(|c| c.episode as f64);
    let x = frame.x(Scale::covering(episodes, 0.02).unwrap_or((0.0, 1.0)));
    // The worst hundredth may lie far below: then it sits on the lower edge.
    let mut sorted: Vec<f64> = points.iter().map(|c| c.reward).collect();
    sorted.sort_by(f64::total_cmp);
    let (low, middle, high) = (
        sorted[0],
        format::quantile(&sorted, 0.25).unwrap_or(sorted[0]),
        sorted[sorted.len() - 1],
    );
    let low = low.max(middle - 4.0 * (high - middle).max(1e-9));
    let y = frame.y(Scale::covering([low, high].into_iter(), 0.06).unwrap_or((0.0, 1.0)));
    frame.axes(
        &mut svg,
        (&x, "episode", &|v, _| format!("{v:.0}")),
        (&y, "reward", &plain),
        window,
    );
    for candidate in points {
        let class = format!("dot faint {}", colour(names, &candidate.strategy));
        let place = (
            x.place(candidate.episode as f64),
            y.place(candidate.reward.max(y.ends().0)),
        );
        dot(
            &mut svg,
            &class,
            place,
            window.pick(3.2, 2.8),
            &candidate_tip(data, candidate),
        );
    }
    let mut average = Vec::new();
    let mut best = Vec::new();
    let mut record = f64::NEG_INFINITY;
    let shown: Vec<f64> = points.iter().map(|c| c.reward.max(y.ends().0)).collect();
    for (index, (candidate, &reward)) in points.iter().zip(&shown).enumerate() {
        let recent = &shown[(index + 1).saturating_sub(span)..=index];
        let mean = recent.iter().sum::<f64>() / recent.len() as f64;
        let place = x.place(candidate.episode as f64);
        average.push((place, y.place(mean)));
        if reward > record {
            if record.is_finite() {
                best.push((place, y.place(record)));
            }
            record = reward;
        }
        best.push((place, y.place(record)));
    }
    polyline(&mut svg, "line best", &best);
    polyline(&mut svg, "line average", &average);
    Drawing {
        width: frame.width,
        height: frame.height,
        content: svg,
    }
}
