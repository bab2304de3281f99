//! From a graph to its groups of coupled channels.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use onnx_graph::{Graph, NodeId};

use crate::atoms::{Context, Ends, PinReason};
use crate::attention::{self, Role};
use crate::by_parts::{choice, split_and_pinned, tied_groups};
use crate::error::ChannelError;
use crate::groups::{Analysis, Group, PINNED, Pinned, Slot};
use crate::input_axis;
use crate::options::AnalysisOptions;
use crate::removal;
use crate::rules;

/// Finds the groups of `graph`, whose shapes must have been inferred, with the default choices.
/// Channels that no rule covers are pinned.
///
/// # Errors
/// [`ChannelError::Graph`] if the graph breaks its own invariants.
pub fn analyse(graph: &Graph) -> Result<Analysis, ChannelError> {
    analyse_with(graph, AnalysisOptions::default())
}

/// As [`analyse`], with the given choices.
///
/// # Errors
/// As [`analyse`].
pub fn analyse_with(graph: &Graph, options: AnalysisOptions) -> Result<Analysis, ChannelError> {
    graph.check()?;
    let ends = Ends::of(graph);
    let mut cx = followed(Context::new(graph, &ends, options));
    let (outer, whole) = (split_and_pinned(&mut cx), tied_groups(&mut cx));
    let mut others = vec![(outer.clone(), BTreeSet::new())];
    if !whole.is_empty() {
        others.push((outer, whole));
    }
    for (outer, whole) in others {
        if outer.is_empty() && whole.is_empty() {
            continue;
        }
        let mut other = followed(Context {
            outer,
            whole,
            ..Context::new(graph, &ends, options)
        });
        if choice(&mut other) < choice(&mut cx) {
            cx = other;
        }
    }
    let mut analysis = Builder::new(cx).build();
    analysis.removals = removal::find(graph, &ends, &analysis);
    Ok(analysis)
}

/// Applies the rules to all nodes, and pins inputs and outputs.
fn followed(mut cx: Context<'_>) -> Context<'_> {
    let graph = cx.graph;
    for &input in graph.inputs() {
        let axis = input_axis::channel_axis(graph, cx.ends, input);
        if let Some(channels) = graph
            .value(input)
            .shape
            .as_ref()
            .and_then(|s| s.get(axis))
            .and_then(|d| d.known())
        {
            let atoms = cx.fresh(channels);
            cx.pin(
                &atoms,
                &graph.value(input).name,
                "channels of a graph input",
            );
            cx.set(input, axis, atoms);
        }
    }
    let inputs = cx.pins.len();
    for (id, node) in graph.iter() {
        cx.at = Some(id);
        rules::apply(&mut cx, id, node);
    }
    let inside = cx.pins.len();
    for &output in graph.outputs() {
        let reason = match graph.is_inner_output(output) {
            true => "texts, sequences or maps are computed of it",
            false => "channels of a graph output",
        };
        if let Some(map) = cx.maps[output.index()].clone() {
            cx.pin(&map.atoms, &graph.value(output).name, reason);
        }
        for count in cx.counts.get(&output).cloned().unwrap_or_default() {
            cx.pin(
                &count.atoms,
                &graph.value(output).name,
                "a number of channels is a graph output",
            );
        }
    }
    // Channels that are outputs stay for that reason, whatever else happens to them.
    cx.pins.rotate_left(inside);
    cx.ends_pinned = cx.pins.len() - inside + inputs;
    pin_partly_bound_constants(&mut cx);
    cx
}

/// Pins the axes of constants that some reader does not tie to channels: they cannot be cropped.
fn pin_partly_bound_constants(cx: &mut Context<'_>) {
    let graph = cx.graph;
    let mut constants = std::mem::take(&mut cx.constants);
    for &id in graph.constants().keys() {
        let axes = &mut constants[id.index()];
        axes.sort_by_key(|bound| bound.axis);
        let reads = cx.consumers(id).len() + graph.outputs().iter().filter(|o| **o == id).count();
        for bound in axes.iter().filter(|bound| bound.reads < reads) {
            cx.pin(
                &bound.atoms,
                &graph.value(id).name,
                "a constant shared with a reader that does not follow these channels",
            );
        }
    }
    cx.constants = constants;
}

/// Stands for the reason of a set that is not pinned.
const UNPINNED: u32 = u32::MAX;

/// Properties of a coupled set.
#[derive(Clone, Copy)]
struct Set {
    /// A hash of the axes that it appears on, counting repeats. Sets with equal signatures stand
    /// in one group; a chance collision would only put unlike ones under one width, never prune
    /// wrongly, since cutting goes by unit.
    signature: u64,
    /// The layers that produce it, as an index into [`Builder::producers`].
    producers: u32,
    /// The first reason to keep it, as an index into [`Context::pins`], or [`UNPINNED`].
    pinned: u32,
}

/// Index of the empty list in [`Builder::producers`].
const NO_PRODUCER: u32 = 0;

struct Builder<'g> {
    cx: Context<'g>,
    /// Per atom its coupled set.
    set_of: Vec<u32>,
    sets: Vec<Set>,
    /// Lists of layers that produce some set, in topological order; [`NO_PRODUCER`] is empty.
    producers: Vec<Vec<NodeId>>,
}

impl<'g> Builder<'g> {
    fn new(mut cx: Context<'g>) -> Self {
        let (set_of, count) = std::mem::take(&mut cx.union).into_sets();
        let new = Set {
            signature: 0,
            producers: NO_PRODUCER,
            pinned: UNPINNED,
        };
        Self {
            cx,
            set_of,
            sets: vec![new; count],
            producers: vec![Vec::new()],
        }
    }

    fn build(mut self) -> Analysis {
        self.find_producers();
        self.sign();
        let reasons = self.pin();
        let (groups, units) = self.group();
        let pinned = self.pinned_summary(&reasons);
        let Self { cx, set_of, .. } = self;
        Analysis {
            groups,
            pinned,
            sets: set_of,
            units,
            lists: cx.lists,
            values: cx.maps,
            constants: cx.constants,
            edits: cx.edits,
            layers: cx.layers,
            removals: Vec::new(),
        }
    }

    /// Records which layers produce each set.
    fn find_producers(&mut self) {
        for (id, atoms) in &self.cx.layers {
            let first = self.producers.len() as u32;
            // Extended lists by the lists they extend: mostly one for all channels of the layer.
            let mut extended: Vec<(u32, u32)> = Vec::new();
            for &atom in atoms.iter() {
                let set = self.set_of[atom as usize];
                let producers = &mut self.sets[set as usize].producers;
                if *producers >= first {
                    continue;
                }
                *producers = match extended.iter().find(|(from, _)| from == producers) {
                    Some(&(_, to)) => to,
                    None => {
                        let to = self.producers.len() as u32;
                        extended.push((*producers, to));
                        let mut layers = self.producers[*producers as usize].clone();
                        layers.push(*id);
                        self.producers.push(layers);
                        to
                    }
                };
            }
        }
    }

    /// Computes the signature of each set.
    fn sign(&mut self) {
        let mut signed = vec![false; self.cx.lists];
        let values = self.cx.maps.iter().flatten().map(|m| &m.atoms);
        let constants = self.cx.constants.iter().flatten().map(|b| &b.atoms);
        for atoms in values.chain(constants) {
            let number = atoms.number();
            if std::mem::replace(&mut signed[number], true) {
                continue;
            }
            for &atom in atoms.iter() {
                // FxHash, the multiply-and-rotate hash of Firefox and rustc.
                let s = &mut self.sets[self.set_of[atom as usize] as usize].signature;
                *s = (s.rotate_left(5) ^ (number as u64 + 1)).wrapping_mul(0x517c_c1b7_2722_0a95);
            }
        }
    }

    /// Records the first reason to keep each set, and returns all reasons.
    fn pin(&mut self) -> Vec<PinReason> {
        let mut reasons = Vec::new();
        for (reason, (atoms, why)) in std::mem::take(&mut self.cx.pins).into_iter().enumerate() {
            for &atom in atoms.iter() {
                let pinned = &mut self.sets[self.set_of[atom as usize] as usize].pinned;
                *pinned = (*pinned).min(reason as u32);
            }
            reasons.push(why);
        }
        let no_producer = reasons.len() as u32;
        for set in self.sets.iter_mut().filter(|s| s.producers == NO_PRODUCER) {
            set.pinned = set.pinned.min(no_producer);
        }
        reasons.push(PinReason {
            node: "graph".to_owned(),
            reason: "no layer with weights makes these channels".to_owned(),
        });
        reasons
    }

    /// Returns the groups, and per coupled set its unit.
    fn group(&self) -> (Vec<Group>, Vec<Slot>) {
        let mut groups: Vec<Group> = Vec::new();
        let mut by_key: HashMap<(u64, u32), usize> = HashMap::new();
        // The channels of a layer are adjacent and mostly in one group.
        let mut last: Option<((u64, u32), usize)> = None;
        let mut units = vec![PINNED; self.sets.len()];
        for (set, unit) in self.sets.iter().zip(&mut units) {
            if set.pinned != UNPINNED {
                continue;
            }
            let key = (set.signature, set.producers);
            let group = match last {
                Some((same, group)) if same == key => group,
                _ => *by_key.entry(key).or_insert_with(|| {
                    groups.push(Group {
                        name: String::new(),
                        channels: 0,
                        producers: self.producers[set.producers as usize].clone(),
                    });
                    groups.len() - 1
                }),
            };
            last = Some((key, group));
            *unit = Slot {
                group: group as u32,
                unit: groups[group].channels as u32,
            };
            groups[group].channels += 1;
        }
        let mut roles: Vec<Option<Role>> = vec![None; groups.len()];
        for (atom, role) in attention::roles(&self.cx) {
            let unit = units[self.set_of[atom as usize] as usize];
            if unit != PINNED {
                let known = &mut roles[unit.group as usize];
                *known = Some(role.and(*known));
            }
        }
        let (groups, positions) = self.sorted_and_named(groups, &roles);
        for unit in units.iter_mut().filter(|u| **u != PINNED) {
            unit.group = positions[unit.group as usize];
        }
        (groups, units)
    }

    /// Returns the groups in the order of their first producers, and the new position of each.
    fn sorted_and_named(
        &self,
        groups: Vec<Group>,
        roles: &[Option<Role>],
    ) -> (Vec<Group>, Vec<u32>) {
        let mut positions = vec![0u32; groups.len()];
        let mut sorted: Vec<(usize, Group)> = groups.into_iter().enumerate().collect();
        sorted.sort_by_key(|(_, group)| group.producers.first().copied());
        let mut used: HashMap<String, usize> = HashMap::new();
        let named = |(new, (old, mut group)): (usize, (usize, Group))| {
            positions[old] = new as u32;
            let base = self.base_name(&group, roles[old]);
            let n = used.entry(base.clone()).or_default();
            *n += 1;
            group.name = if *n == 1 { base } else { format!("{base}#{n}") };
            group
        };
        let groups = sorted.into_iter().enumerate().map(named).collect();
        (groups, positions)
    }

    /// The name of the first layer, or for the channels of an attention that of the module with
    /// their role.
    fn base_name(&self, group: &Group, role: Option<Role>) -> String {
        let layers = group.producers.iter();
        let names: Vec<&str> = layers
            .map(|&p| self.cx.graph.node(p).name.as_str())
            .collect();
        match (role, names.first()) {
            // With more layers than projections the channels extend beyond the attention.
            (Some(role), Some(_)) if names.len() <= role.projections() => {
                format!("{} ({})", attention::module(&names), role.words())
            }
            (_, first) => first.copied().unwrap_or("group").to_owned(),
        }
    }

    fn pinned_summary(&self, reasons: &[PinReason]) -> Vec<Pinned> {
        let mut by_reason = vec![0usize; reasons.len()];
        for set in self.sets.iter().filter(|set| set.pinned != UNPINNED) {
            by_reason[set.pinned as usize] += 1;
        }
        let mut counts: BTreeMap<&PinReason, usize> = BTreeMap::new();
        for (reason, &channels) in reasons.iter().zip(&by_reason) {
            if channels > 0 {
                *counts.entry(reason).or_default() += channels;
            }
        }
        let mut out: Vec<Pinned> = counts
            .into_iter()
            .map(|(r, channels)| Pinned {
                node: r.node.clone(),
                channels,
                reason: r.reason.clone(),
            })
            .collect();
        out.sort_by_key(|p| std::cmp::Reverse(p.channels));
        out
    }
}
