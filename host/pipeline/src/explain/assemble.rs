//! From profiles and predictions to an explanation.

use latency::NodeProvider;
use measuring::{Observed, Pass};
use onnx_graph::NodeId;
use report::{Explanation, GroupSaving, LayerChange, LayerRun, OtherOperators, Remainder};

use super::attribute::{split, uncertainty};
use super::layout::Layout;
use super::pair::Pair;
use super::predicted::Predictions;
use super::reasons::{self, Circumstances};
use crate::operators::{self, Places, Times, spreads};

/// Profiles are added until half the 95 % interval of every group's saving is at most this share
/// of the original's operators.
const PRECISION: f64 = 0.005;

/// Whether the profiles determine every group's saving well enough.
pub(super) fn precise(pair: &Pair, layout: &Layout, passes: &[Pass]) -> bool {
    let profiled = Profiled::new(pair, layout, passes);
    let limit = PRECISION * profiled.before.sum();
    (0..pair.widths.len()).all(|g| profiled.uncertainty(layout, g) <= limit)
}

/// The profiles of both networks together.
struct Profiled {
    before: Times,
    after: Times,
    spreads: [Vec<f64>; 2],
}

impl Profiled {
    fn new(pair: &Pair, layout: &Layout, passes: &[Pass]) -> Self {
        let sorted = |graph, layers: &[Option<NodeId>], at: usize| {
            let places = Places::new(graph, layers.iter().flatten().copied());
            let passes = passes.iter().map(|pass| &pass[at]);
            Times::of_passes(passes, &places, layers)
        };
        let before = sorted(&pair.original, &layout.before, 0);
        let after = sorted(&pair.pruned, &layout.after, 1);
        Self {
            before: Times::medians(&before),
            after: Times::medians(&after),
            spreads: [spreads(&before), spreads(&after)],
        }
    }

    /// Half the 95 % interval of a group's saving, ns.
    fn uncertainty(&self, layout: &Layout, group: usize) -> f64 {
        uncertainty(group, &layout.shares, &self.spreads)
    }
}

/// Assembles the explanation. The names of files and device are left to the caller.
pub(super) fn assemble(
    pair: &Pair,
    layout: &Layout,
    observed: &Observed,
    predictions: Option<&Predictions>,
) -> Explanation {
    let profiled = Profiled::new(pair, layout, &observed.passes);
    let (before, after) = (&profiled.before, &profiled.after);
    let groups = pair.widths.len();
    let (saved, untouched_ns) = split(&before.saved(after), &layout.shares, groups);
    let taken: Vec<f64> = before.layers.iter().map(|ns| ns.unwrap_or(0.0)).collect();
    let (taken, _) = split(&taken, &layout.shares, groups);
    let others = others(before, after);
    let others_ns: f64 = others.iter().map(OtherOperators::saved_ns).sum();
    let layers = layers(pair, layout, observed, [before, after], predictions);
    let outside_ns = (observed.original_ns - before.sum()) - (observed.pruned_ns - after.sum());
    let predicted = predictions.map(|p| p.saved(&layout.shares, groups));
    let groups = pair.analysis.groups().iter().enumerate().map(|(g, group)| {
        let touched: Vec<&LayerChange> = layers
            .iter()
            .zip(&layout.sides)
            .filter(|(_, sides)| sides.concerns(g))
            .map(|(layer, _)| layer)
            .collect();
        let step = predictions.and_then(|p| p.step(pair, layout, g));
        let mut saving = GroupSaving {
            name: group.name.clone(),
            channels: group.channels,
            kept: pair.widths[g],
            layers: touched.iter().map(|layer| layer.name.clone()).collect(),
            before_ns: taken[g],
            predicted_ns: predicted.as_ref().and_then(|saved| saved[g]),
            saved_ns: saved[g],
            uncertainty_ns: profiled.uncertainty(layout, g),
            step: step.map(|(step, _)| (step.first, step.last)),
            changes: reasons::changes(&touched),
            reason: None,
        };
        let about = Circumstances {
            layers: touched,
            others: &others,
            step,
        };
        saving.reason = reasons::reason(&saving, &about);
        saving
    });
    let groups: Vec<GroupSaving> = groups.collect();
    Explanation {
        program: format!("graphprune {}", env!("CARGO_PKG_VERSION")),
        original_ns: observed.original_ns,
        pruned_ns: observed.pruned_ns,
        ratio: observed.ratio,
        passes: observed.passes.len() as u64,
        notes: notes(layout, before, predictions),
        rest: Remainder {
            untouched_ns,
            others_ns,
            outside_ns,
        },
        groups,
        layers,
        others,
        ..Explanation::default()
    }
}

/// The operators other than layers, the largest change first.
fn others(before: &Times, after: &Times) -> Vec<OtherOperators> {
    let mut kinds: Vec<&String> = before.others.keys().chain(after.others.keys()).collect();
    kinds.sort();
    kinds.dedup();
    let mut others: Vec<OtherOperators> = kinds
        .into_iter()
        .map(|kind| {
            let of = |times: &Times| times.others.get(kind).copied().unwrap_or_default();
            let ((count_before, before_ns), (count_after, after_ns)) = (of(before), of(after));
            OtherOperators {
                kind: kind.clone(),
                count_before,
                count_after,
                before_ns,
                after_ns,
            }
        })
        .collect();
    others.sort_by(|a, b| b.saved_ns().abs().total_cmp(&a.saved_ns().abs()));
    others
}

fn layers(
    pair: &Pair,
    layout: &Layout,
    observed: &Observed,
    times: [&Times; 2],
    predictions: Option<&Predictions>,
) -> Vec<LayerChange> {
    let sizes = pair.sizes();
    let ran = [
        Ran::new(&pair.original, &layout.before, observed.operators(false)),
        Ran::new(&pair.pruned, &layout.after, observed.operators(true)),
    ];
    let run = |i: usize, at: usize| {
        let widths = if at == 0 { &sizes } else { &pair.widths };
        let gone = at == 1 && layout.after[i].is_none();
        let (inputs, outputs) = match gone {
            true => (0, 0),
            false => layout.sides[i].channels(widths),
        };
        let (kernel, provider) = ran[at].of(i);
        LayerRun {
            ns: times[at].layers[i],
            predicted_ns: predictions.and_then(|p| p.layer(i, at)),
            inputs,
            outputs,
            kernel,
            provider,
        }
    };
    let names = layout.names.iter().enumerate();
    names
        .map(|(i, name)| LayerChange {
            name: name.clone(),
            before: run(i, 0),
            after: run(i, 1),
        })
        .collect()
}

/// The operators that ran each layer of a network.
struct Ran<'a>(Vec<Vec<&'a NodeProvider>>);

impl<'a> Ran<'a> {
    fn new(
        graph: &onnx_graph::Graph,
        layers: &[Option<NodeId>],
        operators: &'a [NodeProvider],
    ) -> Self {
        let places = Places::new(graph, layers.iter().flatten().copied());
        let mut ran = vec![Vec::new(); layers.len()];
        for operator in operators {
            let layer = places.layer(operator);
            let at = layer.and_then(|id| layers.iter().position(|layer| *layer == Some(id)));
            if let Some(at) = at {
                ran[at].push(operator);
            }
        }
        Self(ran)
    }

    /// Kernels and providers of a layer.
    fn of(&self, layer: usize) -> (String, String) {
        let listed = |mut names: Vec<String>| {
            names.dedup();
            names.join(", ")
        };
        let operators = &self.0[layer];
        (
            listed(operators.iter().map(|o| operators::kernel(o)).collect()),
            listed(operators.iter().map(|o| o.provider.clone()).collect()),
        )
    }
}

fn notes(layout: &Layout, before: &Times, predictions: Option<&Predictions>) -> Vec<String> {
    let mut notes = Vec::new();
    let missing = before.layers.iter().filter(|ns| ns.is_none()).count();
    if missing > 0 {
        notes.push(format!(
            "the runtime's profile does not name {missing} of {} layers; their time is among the other operators",
            layout.names.len()
        ));
    }
    match predictions {
        Some(predictions) if predictions.unknown() > 0 => notes.push(format!(
            "the kernels of {} layers cannot be measured alone; for them nothing is predicted",
            predictions.unknown()
        )),
        Some(_) => {}
        None => notes.push("nothing was predicted".into()),
    }
    notes
}
