//! Building the quantised network.

use std::collections::{BTreeMap, HashMap};

use super::role::{Role, role};
use super::{Quantize, Scheme, weights};
use crate::graph::{Graph, Node};
use crate::ops::{DequantizeLinear, Op, Pad, Quantization, QuantizeLinear};
use crate::value::{NodeId, ValueId};
use crate::{DType, GraphError};

/// Returns the network with integers in the layers and between them, as far as `options` has the
/// ranges of their activations.
///
/// A Relu or Clip behind a layer or an addition is left out: the integers of the output end where
/// it would cut. The outputs of the network stay floats.
///
/// # Errors
/// [`GraphError::Unsupported`] for weights that are not finite; [`GraphError::Shape`] if an
/// operator rejects its inputs, which would be a fault of this function.
pub fn quantize(graph: &Graph, options: &Quantize) -> Result<Graph, GraphError> {
    let plan = Plan::new(graph, options);
    let mut builder = Builder {
        graph,
        options,
        plan,
        out: graph.emptied(),
        floats: HashMap::new(),
        integers: HashMap::new(),
        rounded: HashMap::new(),
    };
    builder.inputs();
    for (id, node) in graph.iter() {
        builder.node(id, node)?;
    }
    for &output in graph.outputs() {
        let value = builder.float_value(output);
        builder.out.add_output(value);
    }
    let mut out = builder.out;
    out.remove_dead();
    out.check()?;
    Ok(out)
}

/// What becomes of each node and value.
struct Plan {
    roles: Vec<Option<Role>>,
    /// Nodes whose effect the integers of their output have, by the node that precedes them.
    absorbed: HashMap<NodeId, NodeId>,
    /// The integers of a value.
    integers: HashMap<ValueId, Quantization>,
}

impl Plan {
    fn new(graph: &Graph, options: &Quantize) -> Self {
        let readers = graph.consumers();
        let mut roles: Vec<Option<Role>> = graph
            .iter()
            .map(|(id, node)| {
                role(graph, node, &options.scheme).filter(|_| !options.float.contains(&id))
            })
            .collect();
        let known = |id: ValueId| {
            let range = options.ranges.get(&id);
            range.is_some_and(|(low, high)| low.is_finite() && high.is_finite() && low <= high)
        };
        let mut absorbed: HashMap<NodeId, NodeId> = HashMap::new();
        for (id, node) in graph.iter() {
            let activations = activations(graph, node);
            let value = node.output();
            let only = match &readers[value.index()] {
                &[reader] if !graph.outputs().contains(&value) => Some(reader),
                _ => None,
            };
            let takes = matches!(roles[id.index()], Some(Role::Layer))
                || matches!(node.op, Op::Add(_)) && roles[id.index()].is_some();
            let cut = only.filter(|&reader| {
                takes && cuts_at_zero(&graph.node(reader).op) && !options.float.contains(&reader)
            });
            let last = cut.map_or(value, |reader| graph.node(reader).output());
            if !activations.iter().all(|&v| known(v)) || !known(last) {
                roles[id.index()] = None;
            } else if let Some(reader) = cut {
                absorbed.insert(id, reader);
            }
        }
        let mut plan = Self {
            roles,
            absorbed,
            integers: HashMap::new(),
        };
        plan.leave_out_islands(graph);
        plan.choose(graph, options);
        plan
    }

    /// Leaves operators in floats that no layer in integers is connected with: they would pay for
    /// the conversion alone.
    fn leave_out_islands(&mut self, graph: &Graph) {
        let producers = graph.producers();
        let mut reached: Vec<bool> = self.roles.iter().map(|r| *r == Some(Role::Layer)).collect();
        // Along both directions until nothing changes; paths are short.
        loop {
            let mut changed = false;
            for (id, node) in graph.iter() {
                if self.roles[id.index()].is_none() {
                    continue;
                }
                let before = activations(graph, node).into_iter();
                for before in before.filter_map(|value| producers[value.index()]) {
                    let before = self.before(graph, &producers, before);
                    if self.roles[before.index()].is_some()
                        && reached[before.index()] != reached[id.index()]
                    {
                        (reached[before.index()], reached[id.index()]) = (true, true);
                        changed = true;
                    }
                }
            }
            if !changed {
                break;
            }
        }
        for (role, reached) in self.roles.iter_mut().zip(reached) {
            *role = role.filter(|_| reached);
        }
    }

    /// The node that a node is absorbed by, or the node itself.
    fn before(&self, graph: &Graph, producers: &[Option<NodeId>], id: NodeId) -> NodeId {
        let from = graph.node(id).input(0).and_then(|v| producers[v.index()]);
        from.filter(|from| self.absorbed.get(from) == Some(&id))
            .unwrap_or(id)
    }

    /// Chooses the integers of all values that are read or made in integers. Values that an
    /// operator moves have the same before and after it.
    fn choose(&mut self, graph: &Graph, options: &Quantize) {
        let mut root: BTreeMap<ValueId, ValueId> = BTreeMap::new();
        let mut ranges: BTreeMap<ValueId, (f32, f32)> = BTreeMap::new();
        fn find(root: &BTreeMap<ValueId, ValueId>, mut id: ValueId) -> ValueId {
            while let Some(&next) = root.get(&id) {
                id = next;
            }
            id
        }
        let mut add = |root: &BTreeMap<ValueId, ValueId>, id: ValueId, at: ValueId| {
            if let Some(&(low, high)) = options.ranges.get(&id) {
                let range = ranges.entry(find(root, at)).or_insert((low, high));
                *range = (range.0.min(low), range.1.max(high));
            }
        };
        let mut values = Vec::new();
        for (id, node) in graph.iter() {
            let Some(role) = self.roles[id.index()] else {
                continue;
            };
            let absorbed = self.absorbed.get(&id);
            let last = absorbed.map_or(node.output(), |&reader| graph.node(reader).output());
            let read = activations(graph, node);
            match (role, read.first()) {
                (Role::Move, Some(&from)) => {
                    let from = find(&root, from);
                    root.insert(last, from);
                    add(&root, last, from);
                }
                _ => add(&root, last, last),
            }
            values.push(last);
            for value in read {
                add(&root, value, value);
                values.push(value);
            }
        }
        for value in values {
            if let Some(&range) = ranges.get(&find(&root, value)) {
                self.integers
                    .insert(value, options.scheme.activation(range));
            }
        }
    }
}

/// The inputs of a node that are activations.
fn activations(graph: &Graph, node: &Node) -> Vec<ValueId> {
    let inputs = node.inputs.iter().flatten().copied();
    let floats = inputs.filter(|&id| graph.value(id).dtype == Some(DType::F32));
    floats.filter(|&id| graph.constant(id).is_none()).collect()
}

/// Whether an operator limits its input to an interval that begins at 0.
fn cuts_at_zero(op: &Op) -> bool {
    match op {
        Op::Relu(_) => true,
        Op::Clip(op) => op.min == Some(0.0),
        _ => false,
    }
}

struct Builder<'a> {
    graph: &'a Graph,
    options: &'a Quantize,
    plan: Plan,
    out: Graph,
    /// The values of the new network for operators in floats.
    floats: HashMap<ValueId, ValueId>,
    /// The values of the new network for operators in integers.
    integers: HashMap<ValueId, ValueId>,
    /// The integers that these are made of.
    rounded: HashMap<ValueId, ValueId>,
}

impl Builder<'_> {
    fn inputs(&mut self) {
        for &input in self.graph.inputs() {
            let value = self.graph.value(input);
            let dtype = value.dtype.unwrap_or(DType::F32);
            let copy = self.out.add_input(&value.name, dtype, Vec::new());
            self.out.values[copy.index()].shape.clone_from(&value.shape);
            self.floats.insert(input, copy);
        }
    }

    /// The value as an operator in floats reads it.
    fn float_value(&mut self, id: ValueId) -> ValueId {
        if let Some(&known) = self.floats.get(&id) {
            return known;
        }
        let tensor = self.graph.constant(id).cloned();
        let name = &self.graph.value(id).name;
        let copy = match tensor {
            Some(tensor) => self.out.add_constant(name, tensor),
            // The graph is in topological order, so that only constants are left.
            None => self.out.add_value(name, None, None),
        };
        self.floats.insert(id, copy);
        copy
    }

    /// The value as an operator in integers reads it.
    fn integer(&mut self, id: ValueId) -> Result<ValueId, GraphError> {
        if let Some(&known) = self.integers.get(&id) {
            return Ok(known);
        }
        let Some(&quantization) = self.plan.integers.get(&id) else {
            return Ok(self.float_value(id));
        };
        let name = self.graph.value(id).name.clone();
        let float = self.float_value(id);
        let rounded = self.round(float, quantization, &name)?;
        let dequantized = format!("{name}_dequantized");
        let new = self.restore(rounded, quantization, (&name, &dequantized))?;
        self.rounded.insert(id, rounded);
        self.integers.insert(id, new);
        Ok(new)
    }

    /// Appends the node that rounds the value named `name` to integers.
    fn round(
        &mut self,
        value: ValueId,
        quantization: Quantization,
        name: &str,
    ) -> Result<ValueId, GraphError> {
        let op = QuantizeLinear(quantization);
        self.push(
            (&format!("{name}_quantize"), op.into()),
            value,
            &format!("{name}_quantized"),
        )
    }

    /// Appends the node that makes floats of the integers of the value named `name`.
    fn restore(
        &mut self,
        rounded: ValueId,
        quantization: Quantization,
        (name, output): (&str, &str),
    ) -> Result<ValueId, GraphError> {
        let op = DequantizeLinear(quantization);
        self.push((&format!("{name}_dequantize"), op.into()), rounded, output)
    }

    fn push(
        &mut self,
        (name, op): (&str, Op),
        input: ValueId,
        output: &str,
    ) -> Result<ValueId, GraphError> {
        let made = self
            .out
            .push_node(name, op, vec![Some(input)], &[Some(output)])?;
        Ok(made[0].unwrap_or(input))
    }

    fn node(&mut self, id: NodeId, node: &Node) -> Result<(), GraphError> {
        if self.integers.contains_key(&node.output()) {
            // Left out: the node before it has its effect.
            return Ok(());
        }
        let Some(role) = self.plan.roles[id.index()] else {
            return self.float(node);
        };
        if let Op::Pad(pad) = &node.op {
            return self.pad(node, pad);
        }
        let layer = match role {
            Role::Layer => self.layer(id, node)?,
            _ => [None, None],
        };
        let mut inputs = Vec::with_capacity(node.inputs.len());
        for (i, &input) in node.inputs.iter().enumerate() {
            let stored = i
                .checked_sub(1)
                .and_then(|i| layer.get(i).copied().flatten());
            inputs.push(match (stored, input) {
                (Some(stored), _) => Some(stored),
                (None, Some(v)) if self.graph.constant(v).is_none() => Some(self.integer(v)?),
                (None, other) => other.map(|v| self.float_value(v)),
            });
        }
        let absorbed = self.plan.absorbed.get(&id);
        let last = absorbed.map_or(node.output(), |&reader| self.graph.node(reader).output());
        let name = self.graph.value(last).name.clone();
        // A matrix product in integers can end in floats.
        let leaves = absorbed.is_none()
            && self.graph.outputs().contains(&last)
            && matches!(node.op, Op::Gemm(_) | Op::MatMul(_));
        let quantization = self.plan.integers.get(&last).copied().filter(|_| !leaves);
        let Some(quantization) = quantization else {
            let name = &self.graph.value(node.output()).name;
            let made = self
                .out
                .push_node(&node.name, node.op.clone(), inputs, &[Some(name)])?;
            self.floats.extend(made[0].map(|new| (node.output(), new)));
            return Ok(());
        };
        let raw = format!("{name}_raw");
        let made = self
            .out
            .push_node(&node.name, node.op.clone(), inputs, &[Some(&raw)])?;
        if let Some(made) = made[0] {
            let rounded = self.round(made, quantization, &name)?;
            self.made(last, rounded, quantization)?;
        }
        Ok(())
    }

    /// Records that the value `last` is made of the integers `rounded`.
    fn made(
        &mut self,
        last: ValueId,
        rounded: ValueId,
        quantization: Quantization,
    ) -> Result<(), GraphError> {
        let name = &self.graph.value(last).name;
        let new = self.restore(rounded, quantization, (name, name))?;
        self.rounded.insert(last, rounded);
        self.floats.insert(last, new);
        self.integers.insert(last, new);
        Ok(())
    }

    /// Pads the integers themselves: ONNX Runtime pads in floats otherwise.
    fn pad(&mut self, node: &Node, op: &Pad) -> Result<(), GraphError> {
        let value = node.output();
        let from = node.input(0).map(|x| (x, self.integer(x)));
        let Some((x, read)) = from else {
            return self.float(node);
        };
        read?;
        let integers = self.plan.integers.get(&value).copied();
        let (Some(&rounded), Some(quantization)) = (self.rounded.get(&x), integers) else {
            return self.float(node);
        };
        let padded = Pad {
            value: quantization.zero_point as f32,
            ..op.clone()
        };
        let name = format!("{}_quantized", self.graph.value(value).name);
        let padded = self.push((&node.name, padded.into()), rounded, &name)?;
        self.made(value, padded, quantization)
    }

    /// Adds weights and bias of a layer as integers.
    fn layer(&mut self, id: NodeId, node: &Node) -> Result<[Option<ValueId>; 2], GraphError> {
        let x = node.input(0).and_then(|x| self.plan.integers.get(&x));
        let (Some(x), Some(w)) = (x, self.graph.constant_input(node, 1)) else {
            return Ok([None, None]);
        };
        let bias = self.graph.constant_input(node, 2);
        let scheme = self.options.scheme;
        let scheme = Scheme {
            weight_bits: *self.options.bits.get(&id).unwrap_or(&scheme.weight_bits),
            ..scheme
        };
        let (w, b) = weights::integers(node, (w, bias), x.scale, &scheme)?;
        let mut added = [None, None];
        for (i, tensor) in [Some(w), b].into_iter().enumerate() {
            if let (Some(old), Some(tensor)) = (node.input(i + 1), tensor) {
                let name = &self.graph.value(old).name;
                added[i] = Some(self.out.add_constant(name, tensor));
            }
        }
        Ok(added)
    }

    /// Copies a node that stays in floats.
    fn float(&mut self, node: &Node) -> Result<(), GraphError> {
        let inputs = node.inputs.iter().map(|v| v.map(|v| self.float_value(v)));
        let inputs = inputs.collect();
        let names = node
            .outputs
            .iter()
            .map(|v| v.map(|v| self.graph.value(v).name.as_str()));
        let names: Vec<_> = names.collect();
        let made = self
            .out
            .push_node(&node.name, node.op.clone(), inputs, &names)?;
        for (old, new) in node.outputs.iter().zip(made) {
            self.floats.extend(old.zip(new));
        }
        Ok(())
    }
}
