//! Accuracy against cost of all candidates, with their Pareto front, the networks of the table
//! and the budget.

use crate::charts::{ACCURACY_NOISE, Chart, Drawing, Legend, Strategies, candidate_tip};
use crate::data::{Candidate, ReportData, Role};
use crate::format;
use crate::svg::{Canvas, Frame, Point, Scale, Window, hundredths, plain, spread};

/// What the chart draws.
struct Front<'a> {
    data: &'a ReportData,
    strategies: Strategies<'a>,
    /// The name of the cost: measured latency, or MACs for a run without latencies.
    cost: &'static str,
    /// What it is relative to.
    whole: &'a str,
    /// Cost and accuracy of the candidates.
    points: Vec<(f64, f64, &'a Candidate)>,
    networks: Vec<Network<'a>>,
    /// Candidates that no other beats in both cost and accuracy, by increasing cost.
    front: Vec<(f64, f64)>,
    budget: Option<f64>,
}

/// A network of the table.
struct Network<'a> {
    label: &'a str,
    role: Role,
    cost: f64,
    accuracy: f64,
}

/// `None` without candidates that have an accuracy and a cost.
pub(crate) fn front(data: &ReportData) -> Option<Chart<'_>> {
    let by_latency = data.candidates.iter().any(|c| c.latency_ratio.is_some());
    let points = points(data, by_latency);
    if points.is_empty() {
        return None;
    }
    let budget = if by_latency {
        data.budget.latency_ratio
    } else {
        data.budget.macs_ratio
    };
    let front = Front {
        data,
        strategies: Strategies::of(data),
        cost: if by_latency {
            "measured latency"
        } else {
            "MACs"
        },
        whole: data
            .stand_in()
            .filter(|_| by_latency)
            .unwrap_or("the original"),
        networks: networks(data, by_latency),
        front: pareto(points.iter().map(|&(cost, y, _)| (cost, y)).collect()),
        budget: budget.filter(|budget| budget.is_finite()),
        points,
    };
    let title = if by_latency { "latency" } else { "MACs" };
    Some(Chart {
        id: "front",
        title: format!("{} and {title}", data.header.estimate.title()),
        description: front.description(),
        legend: front.legend(),
        draw: Box::new(move |window| front.draw(window)),
    })
}

fn points<'a>(data: &'a ReportData, by_latency: bool) -> Vec<(f64, f64, &'a Candidate)> {
    let point = |candidate: &'a Candidate| {
        let cost = if by_latency {
            candidate.latency_ratio?.value
        } else {
            data.macs_ratio(candidate.macs)?
        };
        let accuracy = candidate.accuracy;
        (cost.is_finite() && accuracy.is_finite()).then_some((cost, accuracy, candidate))
    };
    data.candidates.iter().filter_map(point).collect()
}

/// Networks of the table, where they are compared by what the candidates are.
fn networks(data: &ReportData, by_latency: bool) -> Vec<Network<'_>> {
    if data.header.score != data.header.estimate {
        return Vec::new();
    }
    let rows = data.rows.iter().filter_map(|row| {
        let cost = if by_latency {
            row.latency_ratio()?
        } else {
            data.macs_ratio(row.macs?)?
        };
        let accuracy = row.search_accuracy?;
        (cost.is_finite() && accuracy.is_finite()).then_some(Network {
            label: &row.label,
            role: row.role,
            cost,
            accuracy,
        })
    });
    rows.collect()
}

/// The points that no other beats in both, by increasing cost.
fn pareto(mut points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    points.sort_by(|a, b| a.0.total_cmp(&b.0).then(b.1.total_cmp(&a.1)));
    let mut best = f64::NEG_INFINITY;
    points.retain(|&(_, accuracy)| {
        let better = accuracy > best;
        best = best.max(accuracy);
        better
    });
    points
}

impl Front<'_> {
    fn description(&self) -> String {
        let feasible = self.points.iter().filter(|(_, _, c)| c.feasible).count();
        format!(
            "{} on the search split against {} relative to {}, {} candidates, {feasible} within the budget. \
             Up and to the left is better; the front joins the candidates that no other beats in both.",
            self.data.header.estimate.title(),
            self.cost,
            self.whole,
            self.points.len()
        )
    }

    fn legend(&self) -> Legend {
        let mut legend = self.strategies.legend();
        let mut add = |class: &str, meaning: &str| legend.push((class.into(), meaning.into()));
        if self.points.iter().any(|(_, _, c)| !c.feasible) {
            add("dot over", "over budget");
        }
        add("line front", "front");
        if self.budget.is_some() {
            add("line budget", "budget");
        }
        if !self.networks.is_empty() {
            add("mark", "networks of the table");
        }
        legend
    }

    fn draw(&self, window: Window) -> Drawing {
        let frame = Frame {
            height: window.pick(400.0, 340.0),
            ..Frame::new(window)
        };
        let (points, networks) = (&self.points, &self.networks);
        let costs = points.iter().map(|p| p.0);
        let costs = costs.chain(networks.iter().map(|n| n.cost));
        let accuracies = points.iter().map(|p| p.1);
        let accuracies = accuracies.chain(networks.iter().map(|n| n.accuracy));
        let x = Scale::beyond(self.cost_noise(), costs.chain(self.budget), 0.05);
        let x = frame.x(x.unwrap_or((0.0, 1.0)));
        let y = Scale::beyond(ACCURACY_NOISE, accuracies, 0.06);
        let y = frame.y(y.unwrap_or((0.0, 1.0)));
        let mut svg = Canvas::default();
        let budget = self.budget.map(|budget| (budget, x.map(budget)));
        if let Some((_, left)) = budget {
            let size = (left - frame.left, frame.bottom_edge() - frame.top);
            svg.rect("within", (frame.left, frame.top), size, None);
        }
        let title = format!("{}, relative to {}", self.cost, self.whole);
        let y_title = format!("{} on the search split, %", self.data.header.estimate.name);
        frame.axes(
            &mut svg,
            (&x, &title, &plain),
            (&y, &y_title, &hundredths),
            window,
        );
        if let Some((budget, left)) = budget {
            let ends = ((left, frame.top), (left, frame.bottom_edge()));
            svg.segment("line budget", ends.0, ends.1);
            let label = format!("budget {budget:.3}");
            svg.text("budget-text end", (left - 5.0, frame.top + 13.0), &label);
        }
        let mut steps: Vec<Point> = Vec::new();
        for &(cost, accuracy) in &self.front {
            if let Some(&(_, last)) = steps.last() {
                steps.push((x.map(cost), last));
            }
            steps.push((x.map(cost), y.map(accuracy)));
        }
        svg.polyline("line front", &steps);
        self.candidates(&mut svg, (&x, &y), window);
        self.marks(&mut svg, &frame, (&x, &y), window);
        Drawing::framed(&frame, svg)
    }

    /// The median width of the candidates' intervals.
    fn cost_noise(&self) -> f64 {
        let widths = self.points.iter().filter_map(|(_, _, candidate)| {
            let ratio = candidate.latency_ratio?;
            Some(ratio.high - ratio.low).filter(|width| width.is_finite())
        });
        let mut widths: Vec<f64> = widths.collect();
        widths.sort_by(f64::total_cmp);
        format::quantile(&widths, 0.5).unwrap_or(0.0)
    }

    /// The candidates over the budget lie behind the others.
    fn candidates(&self, svg: &mut Canvas, (x, y): (&Scale, &Scale), window: Window) {
        for within in [false, true] {
            let points = self.points.iter().filter(|p| p.2.feasible == within);
            for &(cost, accuracy, candidate) in points {
                let class = if within {
                    format!("dot {}", self.strategies.colour(&candidate.strategy))
                } else {
                    "dot over".to_owned()
                };
                let center = (x.map(cost), y.map(accuracy));
                let tip = candidate_tip(self.data, candidate);
                svg.dot(&class, center, window.pick(4.0, 3.5), &tip);
            }
        }
    }

    fn marks(&self, svg: &mut Canvas, frame: &Frame, (x, y): (&Scale, &Scale), window: Window) {
        let heights = self.networks.iter().map(|n| y.map(n.accuracy) + 4.0);
        let mut heights: Vec<f64> = heights.collect();
        let (top, bottom) = (frame.top + 8.0, frame.bottom_edge() - 6.0);
        spread(&mut heights, 14.0, top, bottom);
        for (network, height) in self.networks.iter().zip(heights) {
            let center = (x.map(network.cost), y.map(network.accuracy));
            let tip = format!(
                "{}\n{} {}\n{} {}",
                network.label,
                self.data.header.estimate.name,
                format::percent(network.accuracy),
                self.cost,
                format::ratio(network.cost)
            );
            let (class, radius, strong) = match network.role {
                Role::Pruned => ("mark pruned", 8.0, " strong"),
                _ => ("mark", 6.0, ""),
            };
            svg.diamond(class, center, radius, &tip);
            let (side, anchor) = if frame.is_right_half(center.0) {
                (-13.0, "label end")
            } else {
                (13.0, "label")
            };
            let name = network.label.strip_prefix("baseline ");
            let label = format::shorten(name.unwrap_or(network.label), window.pick(30, 22));
            let class = format!("{anchor}{strong}");
            svg.text(&class, (center.0 + side, height), &label);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::pareto;

    #[test]
    fn the_front_keeps_the_points_that_no_other_beats() {
        let points = vec![
            (0.5, 0.8),
            (0.4, 0.7),
            (0.6, 0.75),
            (0.4, 0.6),
            (0.7, 0.9),
            (0.8, 0.9),
        ];
        assert_eq!(pareto(points), [(0.4, 0.7), (0.5, 0.8), (0.7, 0.9)]);
    }
}
