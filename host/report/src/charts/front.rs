//! Accuracy against latency of all candidates, with their front, the networks of the table and the budget.

use crate::{
    Role,
    charts::{Chart, Drawing, candidate_tip, colour, strategies},
    data::ReportData,
    format,
    html::Markup,
    svg::{
        Frame, Scale, Window, diamond, dot, hundredths, plain, polyline, rect, segment, spread,
        text,
    },
};

/// A network of the table in the plane of the chart.
struct Mark<'a> {
    label: &'a str,
    role: Role,
    x: f64,
    y: f64,
}

/// None without candidates that have an accuracy and a cost.
pub(crate) fn front(data: &ReportData) -> Option<Chart<'_>> {
    // A search by MACs has no latencies: then the other cost is what there is to show.
    let latency = data.candidates.iter().any(|c| c.latency_ratio.is_some());
    let cost = move |c: &crate::Candidate| {
        if latency {
            c.latency_ratio.map(|r| r.value)
        } else {
            data.macs_ratio(c.macs)
        }
    };
    let points: Vec<(f64, f64, &crate::Candidate)> = data
        .candidates
        .iter()
        .filter_map(|c| Some((cost(c)?, c.accuracy, c)))
        .filter(|(x, y, _)| x.is_finite() && y.is_finite())
        .collect();
    if points.is_empty() {
        return None;
    }
    let marks: Vec<Mark<'_>> = data
        .rows
        .iter()
        .filter_map(|row| {
            let x = if latency {
                row.latency_ratio()?
            } else {
                data.macs_ratio(row.macs?)?
            };
            let y = row.search_accuracy?;
            (x.is_finite() && y.is_finite()).then_some(Mark {
                label: &row.label,
                role: row.role,
                x,
                y,
            })
        })
        .collect();
    let budget = if latency {
        data.budget.latency_ratio
    } else {
        data.budget.macs_ratio
    }
    .filter(|b| b.is_finite());
    let names = strategies(data);
    let mut legend: Vec<(String, String)> = names
        .iter()
        .map(|name| (format!("dot {}", colour(&names, name)), (*name).to_owned()))
        .collect();
    if points.iter().any(|(_, _, c)| !c.feasible) {
        legend.push(("dot over".into(), "over budget".into()));
    }
    legend.push(("line front".into(), "front".into()));
    if budget.is_some() {
        legend.push(("line budget".into(), "budget".into()));
    }
    if !marks.is_empty() {
        legend.push(("mark".into(), "networks of the table".into()));
    }
    let edge = pareto(points.iter().map(|&(x, y, _)| (x, y)).collect());
    let what = if latency { "measured latency" } else { "MACs" };
    let feasible = points.iter().filter(|(_, _, c)| c.feasible).count();
    let description = format!(
        "Accuracy on the search split against {what} relative to the original, {} candidates, {feasible} within the budget. \
         Up and to the left is better; the front joins those that no other beats in both.",
        points.len()
    );
    let title = format!("Accuracy and {}", if latency { "latency" } else { "MACs" });
    let draw = move |window| draw(data, &points, &marks, &edge, budget, (&names, what), window);
    Some(Chart {
        id: "front",
        title,
        description,
        legend,
        draw: Box::new(draw),
    })
}

/// The points that no other beats in both, by rising cost.
fn pareto(mut points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    points.sort_by(|a, b| a.0.total_cmp(&b.0).then(b.1.total_cmp(&a.1)));
    let mut best = f64::NEG_INFINITY;
    points.retain(|&(_, y)| {
        let better = y > best;
        best = best.max(y);
        better
    });
    points
}

fn draw(
    data: &ReportData,
    points: &[(f64, f64, &crate::Candidate)],
    marks: &[Mark<'_>],
    edge: &[(f64, f64)],
    budget: Option<f64>,
    (names, what): (&[&str], &str),
    window: Window,
) -> Drawing {
    let frame = Frame {
        height: window.pick(400.0, 340.0),
        ..Frame::new(window)
    };
    let mut svg = Markup::default();
    let xs = points
        .iter()
        .map(|p| p.0)
        .chain(marks.iter().map(|m| m.x))
        .chain(budget);
    let ys = points.iter().map(|p| p.1).chain(marks.iter().map(|m| m.y));
    let x = frame.x(Scale::covering(xs, 0.05).unwrap_or((0.0, 1.0)));
    let y = frame.y(Scale::covering(ys, 0.06).unwrap_or((0.0, 1.0)));
    let bottom = frame.height - frame.bottom;
    if let Some(budget) = budget {
        let place = x.place(budget);
        rect(
            &mut svg,
            "within",
            (frame.left, frame.top),
            (place - frame.left, bottom - frame.top),
            None,
        );
    }
    let title = format!("{what}, relative to the original");
    frame.axes(
        &mut svg,
        (&x, &title, &plain),
        (&y, "accuracy on the search split, %", &hundredths),
        window,
    );
    if let Some(budget) = budget {
        let place = x.place(budget);
        segment(&mut svg, "line budget", (place, frame.top), (place, bottom));
        text(
            &mut svg,
            "budget-text end",
            place - 5.0,
            crate::svg::at(frame.top + 13.0),
            &format!("budget {budget:.3}"),
        );
    }
    let mut steps = Vec::new();
    for &(px, py) in edge {
        if let Some(&(_, last)) = steps.last() {
            steps.push((x.place(px), last));
        }
        steps.push((x.place(px), y.place(py)));
    }
    polyline(&mut svg, "line front", &steps);
    // Those over the budget lie below the others.
    for within in [false, true] {
        for &(px, py, candidate) in points.iter().filter(|p| p.2.feasible == within) {
            let class = if within {
                format!("dot {}", colour(names, &candidate.strategy))
            } else {
                "dot over".to_owned()
            };
            dot(
                &mut svg,
                &class,
                (x.place(px), y.place(py)),
                window.pick(4.0, 3.5),
                &candidate_tip(data, candidate),
            );
        }
    }
    let mut heights: Vec<f64> = marks.iter().map(|mark| y.place(mark.y) + 4.0).collect();
    spread(&mut heights, 14.0, frame.top + 8.0, bottom - 6.0);
    for (mark, height) in marks.iter().zip(heights) {
        let place = (x.place(mark.x), y.place(mark.y));
        let class = if mark.role == Role::Pruned {
            "mark pruned"
        } else {
            "mark"
        };
        let tip = format!(
            "{}\naccuracy {}\n{what} {}",
            mark.label,
            format::percent(mark.y),
            format::ratio(mark.x)
        );
        let radius = if mark.role == Role::Pruned { 8.0 } else { 6.0 };
        diamond(&mut svg, class, place, radius, &tip);
        // Labels on the right half read to the left, so that none leaves the frame.
        let right = place.0 > (frame.left + frame.width) * 0.5;
        let (side, anchor) = if right {
            (-13.0, "label end")
        } else {
            (13.0, "label")
        };
        let class = if mark.role == Role::Pruned {
            format!("{anchor} strong")
        } else {
            anchor.to_owned()
        };
        text(
            &mut svg,
            &class,
            place.0 + side,
            crate::svg::at(height),
            &format::shorten(mark.label, window.pick(26, 18)),
        );
    }
    Drawing {
        width: frame.width,
        height: frame.height,
        content: svg,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_front_keeps_what_nothing_beats() {
        let points = vec![
            (0.5, 0.8),
            (0.4, 0.7),
            (0.6, 0.75),
            (0.4, 0.6),
            (0.7, 0.9),
            (0.8, 0.9),
        ];
        assert_eq!(super::pareto(points), [(0.4, 0.7), (0.5, 0.8), (0.7, 0.9)]);
    }
}
