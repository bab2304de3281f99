//! Plans, which list the kept units of each group, and cuts, their effect on a network.

use std::collections::{BTreeMap, BTreeSet};

use onnx_graph::ops::{Op, Opaque};
use onnx_graph::{AttributeValue, Dim, Graph, Live, NodeId, ValueId};
use serde::{Deserialize, Serialize};

use crate::atoms::{Atoms, Edit};
use crate::error::ChannelError;
use crate::groups::Analysis;
use crate::units::GroupId;

/// The kept units of each group.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PrunePlan {
    /// Per group, in the order of the [`Analysis`], the kept units, ascending. Only a group with
    /// a [`Removal`](crate::Removal) may keep none.
    pub keep: Vec<Vec<usize>>,
}

impl PrunePlan {
    /// Creates the plan that keeps everything.
    #[must_use]
    pub fn full(analysis: &Analysis) -> Self {
        Self {
            keep: analysis
                .groups()
                .iter()
                .map(|g| (0..g.channels).collect())
                .collect(),
        }
    }

    /// Creates the plan that keeps the first `widths[g]` units of `order[g]`, which lists the
    /// units of group `g` from the most to the least important.
    ///
    /// # Errors
    /// [`ChannelError::GroupCount`] or [`ChannelError::BadWidth`] if the lists do not fit the
    /// network, and those of [`PrunePlan::check`].
    pub fn from_widths(
        analysis: &Analysis,
        order: &[Vec<usize>],
        widths: &[usize],
    ) -> Result<Self, ChannelError> {
        let groups = analysis.groups();
        for len in [order.len(), widths.len()] {
            if len != groups.len() {
                return Err(ChannelError::GroupCount {
                    plan: len,
                    network: groups.len(),
                });
            }
        }
        let mut keep = Vec::with_capacity(groups.len());
        for ((group, order), &width) in groups.iter().zip(order).zip(widths) {
            if width > group.channels || order.len() != group.channels {
                return Err(ChannelError::BadWidth {
                    group: group.name.clone(),
                    width,
                    channels: group.channels,
                });
            }
            let mut kept = order[..width].to_vec();
            kept.sort_unstable();
            keep.push(kept);
        }
        let plan = Self { keep };
        plan.check(analysis)?;
        Ok(plan)
    }

    /// Returns the number of kept units per group.
    #[must_use]
    pub fn widths(&self) -> Vec<usize> {
        self.keep.iter().map(Vec::len).collect()
    }

    /// Checks that the plan fits the network.
    ///
    /// # Errors
    /// [`ChannelError`] for the first group that does not fit.
    pub fn check(&self, analysis: &Analysis) -> Result<(), ChannelError> {
        let groups = analysis.groups();
        if self.keep.len() != groups.len() {
            return Err(ChannelError::GroupCount {
                plan: self.keep.len(),
                network: groups.len(),
            });
        }
        for (g, (group, keep)) in groups.iter().zip(&self.keep).enumerate() {
            if keep.is_empty() && analysis.removal(GroupId(g)).is_none() {
                return Err(ChannelError::EmptyGroup {
                    group: group.name.clone(),
                });
            }
            let mut next = 0;
            for &unit in keep {
                if unit < next || unit >= group.channels {
                    return Err(ChannelError::BadUnit {
                        group: group.name.clone(),
                        unit,
                        channels: group.channels,
                    });
                }
                next = unit + 1;
            }
        }
        Ok(())
    }
}

/// The kept indices of a constant's axes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Crop {
    /// Axes with their kept indices, ascending; axes that keep everything are omitted.
    pub axes: Vec<(usize, Vec<usize>)>,
}

/// The places of kept channels on an axis of a node that computes with all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spread {
    /// The axis, of the first input and of the output.
    pub axis: usize,
    /// Per place of the original's input the position among the kept channels; `None` for a
    /// dropped one, where a zero stands.
    pub places: Vec<Option<usize>>,
    /// Kept places of the output, ascending.
    pub kept: Vec<usize>,
}

/// The changes that a plan makes to attributes of nodes and axes of constants. Node and value ids
/// are those of the original.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Cut {
    /// Nodes whose attributes change, with the new operators.
    pub ops: BTreeMap<NodeId, Op>,
    /// Nodes that compute with all places of an axis.
    pub spreads: BTreeMap<NodeId, Spread>,
    /// Constant lists of one number that change.
    pub numbers: BTreeMap<ValueId, i64>,
    /// Constants that shrink.
    pub crops: BTreeMap<ValueId, Crop>,
    /// Additions that pass one operand on because the branch of the other is removed, with the
    /// position of the operand.
    pub bypassed: BTreeMap<NodeId, usize>,
    /// Nodes that are dead once branches are removed.
    pub dead: BTreeSet<NodeId>,
}

/// Whether each atom is kept.
pub(crate) struct Kept<'a> {
    analysis: &'a Analysis,
    units: Vec<Vec<bool>>,
}

impl<'a> Kept<'a> {
    pub fn new(analysis: &'a Analysis, plan: &PrunePlan) -> Result<Self, ChannelError> {
        plan.check(analysis)?;
        let units = analysis
            .groups()
            .iter()
            .zip(&plan.keep)
            .map(|(group, keep)| {
                let mut kept = vec![false; group.channels];
                keep.iter().for_each(|&k| kept[k] = true);
                kept
            })
            .collect();
        Ok(Self { analysis, units })
    }

    pub fn atom(&self, atom: u32) -> bool {
        self.analysis
            .unit(atom)
            .is_none_or(|u| self.units[u.group.0][u.unit])
    }

    pub fn count(&self, atoms: &[u32]) -> usize {
        atoms.iter().filter(|&&a| self.atom(a)).count()
    }

    /// Per index the number of kept ones before it.
    fn positions(&self, atoms: &[u32]) -> Vec<usize> {
        let kept = atoms.iter().map(|&a| usize::from(self.atom(a)));
        kept.scan(0, |before, kept| {
            Some(std::mem::replace(before, *before + kept))
        })
        .collect()
    }

    /// The places of a node's kept channels; `None` if all are kept.
    fn spread(&self, axis: usize, input: &[u32], output: &[u32]) -> Option<Spread> {
        let all = |atoms: &[u32]| self.count(atoms) == atoms.len();
        if all(input) && all(output) {
            return None;
        }
        let positions = self.positions(input).into_iter().zip(input);
        Some(Spread {
            axis,
            places: positions
                .map(|(position, &atom)| self.atom(atom).then_some(position))
                .collect(),
            kept: (0..output.len())
                .filter(|&i| self.atom(output[i]))
                .collect(),
        })
    }

    /// The kept indices, or `None` if all are kept.
    pub fn indices(&self, atoms: &[u32]) -> Option<Vec<usize>> {
        let kept: Vec<usize> = (0..atoms.len()).filter(|&i| self.atom(atoms[i])).collect();
        (kept.len() < atoms.len()).then_some(kept)
    }
}

/// Computes the changes that `plan` makes to `graph`, without touching a weight.
///
/// # Errors
/// As [`PrunePlan::check`].
pub fn cut(graph: &Graph, analysis: &Analysis, plan: &PrunePlan) -> Result<Cut, ChannelError> {
    let kept = Kept::new(analysis, plan)?;
    let mut cache: Vec<Option<Option<Vec<usize>>>> = vec![None; analysis.lists];
    let mut indices = |atoms: &Atoms| {
        let indices = &mut cache[atoms.number()];
        indices.get_or_insert_with(|| kept.indices(atoms)).clone()
    };
    let (out, live) = bypass(graph, analysis, plan).unzip();
    let mut out: Cut = out.unwrap_or_default();
    for &id in graph.constants().keys() {
        if live.as_ref().is_some_and(|l: &Live| !l.values[id.index()]) {
            continue;
        }
        let axes: Vec<_> = analysis.constants[id.index()]
            .iter()
            .filter_map(|bound| indices(&bound.atoms).map(|keep| (bound.axis, keep)))
            .collect();
        if !axes.is_empty() {
            out.crops.insert(id, Crop { axes });
        }
    }
    for (id, edit) in &analysis.edits {
        let id = *id;
        if out.dead.contains(&id) {
            continue;
        }
        if let Edit::Spread {
            axis,
            input,
            output,
        } = edit
        {
            let spread = kept.spread(*axis, input, output);
            out.spreads.extend(spread.map(|spread| (id, spread)));
            continue;
        }
        if let Edit::Number { part, output } = edit {
            let count = kept.count(output);
            if count < output.len() {
                out.numbers.insert(*part, count as i64);
            }
            continue;
        }
        let mut op = graph.node(id).op.clone();
        match (&mut op, edit) {
            (Op::Conv(conv), Edit::Depthwise { input }) => conv.group = kept.count(input),
            (Op::ConvTranspose(conv), Edit::Depthwise { input }) => {
                conv.group = kept.count(input);
            }
            (Op::Opaque(layer), Edit::Attribute { name, counted }) => {
                state(layer, name, kept.count(counted));
            }
            (Op::Opaque(layer), Edit::Depthwise { input }) => {
                state(layer, "group", kept.count(input));
            }
            (Op::Expand(expand), Edit::Expand { position, output }) => {
                expand.sizes[*position] = Dim::Known(kept.count(output));
            }
            (Op::GroupNormalization(norm), Edit::Groups { first }) => {
                norm.groups = kept.count(first);
            }
            (Op::Conv(conv), Edit::Groups { first }) => conv.group = kept.count(first),
            (Op::Split(split), Edit::Split { parts }) => {
                split.sizes = parts.iter().map(|p| kept.count(p)).collect();
            }
            (
                Op::Slice(slice),
                Edit::Slice {
                    position,
                    input,
                    range,
                    offset,
                },
            ) => {
                let start = kept.count(&input[..range.start]) + offset;
                slice.starts[*position] = start as i64;
                slice.ends[*position] = kept.count(&input[..range.end]) as i64;
            }
            (
                Op::Pad(pad),
                Edit::Pad {
                    axis,
                    rank,
                    before,
                    after,
                },
            ) => {
                pad.pads[*axis] = kept.count(before) as i64;
                pad.pads[axis + rank] = kept.count(after) as i64;
            }
            (Op::Gather(gather), Edit::Gather { input, output }) => {
                let kept_before = kept.positions(input);
                let picks = gather.indices.iter().zip(output.iter());
                let picks = picks.filter(|&(_, &atom)| kept.atom(atom));
                let numbers = picks.map(|(&i, _)| {
                    let at = if i < 0 { i + input.len() as i64 } else { i };
                    kept_before[at as usize] as i64
                });
                gather.indices = numbers.collect();
                if let [count] = &mut gather.dims[..] {
                    *count = gather.indices.len();
                }
            }
            (Op::Reshape(reshape), Edit::Reshape { position, output }) => {
                reshape.target[*position] = kept.count(output) as i64;
            }
            (op, edit) => unreachable!(
                "{edit:?} was recorded for another operator than {}",
                op.name()
            ),
        }
        if op != graph.node(id).op {
            out.ops.insert(id, op);
        }
    }
    Ok(out)
}

/// Sets an attribute to a number, if the node states it.
fn state(op: &mut Opaque, name: &str, number: usize) {
    for attribute in op.attributes.iter_mut().filter(|a| a.name == name) {
        attribute.value = AttributeValue::Int(number as i64);
    }
}

/// The branches that a plan removes, and what the outputs then depend on; `None` if it removes
/// none.
fn bypass(graph: &Graph, analysis: &Analysis, plan: &PrunePlan) -> Option<(Cut, Live)> {
    let mut out = Cut::default();
    for (g, _) in plan.keep.iter().enumerate().filter(|(_, k)| k.is_empty()) {
        let removal = analysis.removal(GroupId(g))?;
        out.bypassed.extend(removal.bypassed.iter().copied());
    }
    if out.bypassed.is_empty() {
        return None;
    }
    let live = graph.live(|id, i| out.bypassed.get(&id).is_none_or(|&survivor| survivor == i));
    let dead = graph.iter().filter(|(id, _)| !live.nodes[id.index()]);
    out.dead = dead.map(|(id, _)| id).collect();
    out.bypassed.retain(|id, _| live.nodes[id.index()]);
    Some((out, live))
}
