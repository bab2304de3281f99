//! Checked edits: a patch adds nodes and replaces values by others of the same type, or fails and
//! leaves the graph unchanged.

mod batch_norm;

pub use batch_norm::{InsertedNorm, fold_batch_norm, insert_batch_norm};

use crate::graph::{Graph, Node};
use crate::ops::Op;
use crate::order::topological;
use crate::value::ValueId;
use crate::{GraphError, Tensor};

/// A value in a patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// A value of the graph.
    Old(ValueId),
    /// A value that the patch adds, by its number.
    New(usize),
}

impl From<ValueId> for Wire {
    fn from(id: ValueId) -> Self {
        Self::Old(id)
    }
}

#[derive(Debug, Clone)]
enum Addition {
    Constant {
        name: String,
        tensor: Tensor,
    },
    Node {
        name: String,
        op: Op,
        inputs: Vec<Option<Wire>>,
    },
}

/// An edit of a graph: values to add and values to replace. [`Graph::apply`] checks and applies
/// it.
#[derive(Debug, Clone)]
pub struct Patch {
    anchor: String,
    additions: Vec<Addition>,
    replacements: Vec<(ValueId, Wire)>,
}

impl Patch {
    /// Creates an empty patch; `anchor` is the node that errors name.
    #[must_use]
    pub fn new(anchor: impl Into<String>) -> Self {
        Self {
            anchor: anchor.into(),
            additions: Vec::new(),
            replacements: Vec::new(),
        }
    }

    /// Adds a constant.
    pub fn constant(&mut self, name: impl Into<String>, tensor: Tensor) -> Wire {
        self.additions.push(Addition::Constant {
            name: name.into(),
            tensor,
        });
        Wire::New(self.additions.len() - 1)
    }

    /// Adds a node with one output and returns that output.
    pub fn node(&mut self, name: impl Into<String>, op: impl Into<Op>, inputs: &[Wire]) -> Wire {
        let inputs = inputs.iter().map(|&w| Some(w)).collect();
        self.additions.push(Addition::Node {
            name: name.into(),
            op: op.into(),
            inputs,
        });
        Wire::New(self.additions.len() - 1)
    }

    /// Replaces `old` by `new` in all nodes except the patch's own, and among the graph outputs,
    /// where `new` takes the name.
    pub fn replace(&mut self, old: ValueId, new: Wire) {
        self.replacements.push((old, new));
    }
}

impl Graph {
    /// Applies a patch and returns the ids of the values that it adds. The output of an opaque
    /// node whose shape no rule determines has the shape of the value that it replaces. Other
    /// value ids stay valid, node ids do not. Dead nodes stay in place, for
    /// [`Graph::remove_dead`].
    ///
    /// # Errors
    /// [`GraphError::Patch`] if a replacement has another shape or element type than the value
    /// that it replaces, or depends on its own result; [`GraphError::Shape`] if a new node
    /// rejects its inputs. The graph is then unchanged.
    pub fn apply(&mut self, patch: Patch) -> Result<Vec<ValueId>, GraphError> {
        let (values, nodes) = (self.values.len(), self.nodes.clone());
        let ends = self.outputs.clone();
        let names = (self.value_names.clone(), self.node_names.clone());
        self.try_apply(patch).inspect_err(|_| {
            for index in values..self.values.len() {
                self.constants.remove(&ValueId(index as u32));
            }
            self.values.truncate(values);
            self.nodes = nodes;
            self.outputs = ends;
            (self.value_names, self.node_names) = names;
        })
    }

    fn try_apply(&mut self, patch: Patch) -> Result<Vec<ValueId>, GraphError> {
        let Patch {
            anchor,
            additions,
            replacements,
        } = patch;
        let fail = |reason: String| GraphError::Patch {
            node: anchor.clone(),
            reason,
        };
        let before = self.nodes.len();
        let mut added: Vec<ValueId> = Vec::with_capacity(additions.len());
        let find = |added: &[ValueId], wire: Wire, values: usize| match wire {
            Wire::Old(id) if id.index() < values => Ok(id),
            Wire::New(i) if i < added.len() => Ok(added[i]),
            _ => Err(fail(format!(
                "{wire:?} is no value of the graph or of the patch so far"
            ))),
        };
        for addition in additions {
            let id = match addition {
                Addition::Constant { name, tensor } => self.add_constant(&name, tensor),
                Addition::Node { name, op, inputs } => {
                    let values = self.values.len();
                    let inputs: Vec<Option<ValueId>> = inputs
                        .into_iter()
                        .map(|w| w.map(|w| find(&added, w, values)).transpose())
                        .collect::<Result<_, _>>()?;
                    let output = self.add_value(&format!("{name}_out"), None, None);
                    let name = self.take_node_name(&name);
                    self.nodes.push(Node {
                        name,
                        op,
                        inputs,
                        outputs: vec![Some(output)],
                    });
                    self.infer_node(self.nodes.len() - 1)?;
                    output
                }
            };
            added.push(id);
        }
        for (old, new) in replacements {
            let new = find(&added, new, self.values.len())?;
            self.take_type(old, new);
            let (was, is) = (self.value(old), self.value(new));
            if was.shape != is.shape || was.dtype != is.dtype {
                let text = format!(
                    "'{}' {:?} {:?} cannot stand in for {:?} {:?}",
                    is.name, is.dtype, is.shape, was.dtype, was.shape
                );
                return Err(fail(text));
            }
            for node in &mut self.nodes[..before] {
                for input in node.inputs.iter_mut().flatten().filter(|v| **v == old) {
                    *input = new;
                }
            }
            if self.outputs.contains(&old) {
                for output in self.outputs.iter_mut().filter(|v| **v == old) {
                    *output = new;
                }
                self.swap_names(old, new);
            }
        }
        self.sort_nodes(before)
            .map_err(|at| fail(format!("'{}' would wait for itself", self.nodes[at].name)))?;
        Ok(added)
    }

    /// Gives a value whose shape no rule determines that of the value which it replaces.
    fn take_type(&mut self, old: ValueId, new: ValueId) {
        let makes = |node: &&Node| node.outputs.contains(&Some(new));
        let made = self.nodes.iter().rev().find(makes);
        if made.is_some_and(|node| matches!(node.op, Op::Opaque(_)))
            && self.value(new).shape.is_none()
        {
            let was = self.value(old).clone();
            self.state_type(new, was.dtype, was.shape.as_ref());
        }
    }

    fn swap_names(&mut self, a: ValueId, b: ValueId) {
        let name = std::mem::take(&mut self.values[a.index()].name);
        let name = std::mem::replace(&mut self.values[b.index()].name, name);
        self.values[a.index()].name = name;
        for id in [a, b] {
            self.value_names
                .move_to(&self.values[id.index()].name, id.0);
        }
    }

    /// Sorts the nodes topologically; those from `added` on are placed right behind their inputs.
    pub(crate) fn sort_nodes(&mut self, added: usize) -> Result<(), usize> {
        let producers = self.producers();
        let needs: Vec<Vec<usize>> = self
            .nodes
            .iter()
            .map(|n| {
                n.inputs
                    .iter()
                    .flatten()
                    .filter_map(|v| Some(producers[v.index()]?.index()))
                    .collect()
            })
            .collect();
        // A new node ranks with its last input, so that the order stays close to the old one.
        let mut ranks: Vec<(usize, usize)> = (0..added).map(|i| (i, i)).collect();
        for (i, list) in needs.iter().enumerate().skip(added) {
            let last = list
                .iter()
                .filter(|&&n| n < i)
                .map(|&n| ranks[n].0)
                .max()
                .unwrap_or(0);
            ranks.push((last, i));
        }
        let mut ranked: Vec<usize> = (0..self.nodes.len()).collect();
        ranked.sort_by_key(|&i| ranks[i]);
        let mut position = vec![0; ranked.len()];
        for (p, &i) in ranked.iter().enumerate() {
            position[i] = p;
        }
        let moved: Vec<Vec<usize>> = ranked
            .iter()
            .map(|&i| needs[i].iter().map(|&n| position[n]).collect())
            .collect();
        let order = topological(&moved).map_err(|at| ranked[at])?;
        let mut nodes: Vec<Option<Node>> = std::mem::take(&mut self.nodes)
            .into_iter()
            .map(Some)
            .collect();
        self.nodes = order
            .iter()
            .filter_map(|&p| nodes[ranked[p]].take())
            .collect();
        Ok(())
    }
}
