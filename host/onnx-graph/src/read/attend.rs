//! The operators that replace an [attention](super::attention).

use std::collections::HashMap;

use super::attention::{Form, Mask, Source};
use super::build::Reader;
use super::rewrite::Nodes;
use crate::captures::{DEPTH, reads};
use crate::proto::{AttributeProto, NodeProto, attribute_type as kind};
use crate::{GraphError, Tensor};

/// The nodes and constants that replace an attention.
struct Draft<'r, 'a> {
    reader: &'r mut Reader<'a>,
    label: String,
    nodes: Nodes,
    constants: Vec<(String, Tensor)>,
}

impl Reader<'_> {
    /// Replaces an attention; returns false for all other nodes and forms.
    pub(super) fn attend(&mut self, node: &NodeProto, opset: i64) -> Result<bool, GraphError> {
        let Some(form) = self.attention(node, opset) else {
            return Ok(false);
        };
        let mut draft = Draft {
            label: node.label(),
            reader: self,
            nodes: Nodes::default(),
            constants: Vec::new(),
        };
        draft.build(node, &form);
        let Draft {
            nodes: Nodes(nodes),
            constants,
            ..
        } = draft;
        let mut before: HashMap<&String, usize> = HashMap::new();
        for input in &node.input {
            *before.entry(input).or_default() += 1;
        }
        for (name, count) in reads(&nodes, DEPTH) {
            match self.scope.get(&name) {
                Some(id) => {
                    let more = count.saturating_sub(before.get(&name).copied().unwrap_or(0));
                    *self.uses.entry(*id).or_default() += more;
                }
                None => *self.reads.entry(name).or_default() += count,
            }
        }
        for (name, tensor) in constants {
            self.constant(&name, tensor)?;
        }
        for node in &nodes {
            self.node(node, opset)?;
        }
        Ok(true)
    }
}

impl Draft<'_, '_> {
    fn build(&mut self, node: &NodeProto, form: &Form) {
        let [queries, keys, values] = self.parts(node, &form.source);
        let (queries, keys, values) = match form.packed {
            Some(heads) => (
                self.split(queries, heads, &[0, 2, 1, 3]),
                self.split(keys, heads, &[0, 2, 3, 1]),
                self.split(values, heads, &[0, 2, 1, 3]),
            ),
            None => (queries, self.transposed(keys, &[0, 1, 3, 2]), values),
        };
        let scale = self.constant("scale", Tensor::scalar(form.scale));
        let queries = self.push("Mul", "scaled", vec![queries, scale]);
        let mut scores = self.push("MatMul", "scores", vec![queries, keys]);
        let mask = node.input.get(3).cloned().unwrap_or_default();
        let causal = form.causal.clone();
        let before = causal.map(|mask| self.constant("before", mask));
        let seen = match (&form.mask, before) {
            (Some(Mask::Seen), Some(before)) => Some(self.push("And", "seen", vec![mask, before])),
            (Some(Mask::Seen), None) => Some(mask),
            (Some(Mask::Sum), before) => {
                scores = self.push("Add", "masked", vec![scores, mask]);
                before
            }
            (None, before) => before,
        };
        if let Some(seen) = &seen {
            let least = self.constant("least", Tensor::scalar(f32::MIN));
            scores = self.push("Where", "seen_scores", vec![seen.clone(), scores, least]);
        }
        let mut shares = self.push("Softmax", "shares", vec![scores]);
        self.nodes.attributes([AttributeProto {
            name: "axis".into(),
            i: Some(-1),
            r#type: kind::INT,
            ..AttributeProto::default()
        }]);
        if let Some(seen) = seen {
            let nothing = self.constant("nothing", Tensor::scalar(0.0));
            shares = self.push("Where", "seen_shares", vec![seen, shares, nothing]);
        }
        let output = node.output[..1].to_vec();
        match form.packed {
            None => self
                .nodes
                .end("MatMul", self.label.clone(), vec![shares, values], output),
            Some(_) => {
                let result = self.push("MatMul", "result", vec![shares, values]);
                let moved = self.transposed(result, &[0, 2, 1, 3]);
                let target = self.constant("merged", Tensor::i64s(vec![0, 0, -1]));
                self.nodes
                    .end("Reshape", self.label.clone(), vec![moved, target], output);
            }
        }
    }

    /// Queries, keys and values.
    fn parts(&mut self, node: &NodeProto, source: &Source) -> [String; 3] {
        let input = |i: usize| node.input[i].clone();
        let names = ["queries", "keys", "values"];
        match source {
            Source::Given(None) => [input(0), input(1), input(2)],
            Source::Given(Some(sizes)) => {
                let mut start = 0;
                [0, 1, 2].map(|i| {
                    let bias = self.range(names[i], input(3), 0, (start, start + sizes[i]));
                    start += sizes[i];
                    self.push("Add", names[i], vec![input(i), bias])
                })
            }
            Source::Layer(size) => [0, 1, 2].map(|i| {
                let range = (i * size, (i + 1) * size);
                let weight = self.range(names[i], input(1), 1, range);
                let bias = self.range(names[i], input(2), 0, range);
                let product = format!("{}_product", names[i]);
                let product = self.push("MatMul", &product, vec![input(0), weight]);
                self.push("Add", names[i], vec![product, bias])
            }),
        }
    }

    /// A range of a constant.
    fn range(
        &mut self,
        of: &str,
        whole: String,
        axis: i64,
        (start, end): (usize, usize),
    ) -> String {
        let bounds = [start as i64, end as i64, axis];
        let mut inputs = vec![whole];
        for bound in bounds {
            let name = format!("{of}_bound");
            inputs.push(self.constant(&name, Tensor::i64s(vec![bound])));
        }
        self.push("Slice", &format!("{of}_part"), inputs)
    }

    /// Splits the heads off the last of three axes, and orders the four.
    fn split(&mut self, value: String, heads: usize, perm: &[i64]) -> String {
        let target = Tensor::i64s(vec![0, 0, heads as i64, -1]);
        let target = self.constant("heads", target);
        let split = self.push("Reshape", "split", vec![value, target]);
        self.transposed(split, perm)
    }

    fn transposed(&mut self, value: String, perm: &[i64]) -> String {
        let moved = self.push("Transpose", "moved", vec![value]);
        self.nodes.attributes([AttributeProto {
            name: "perm".into(),
            ints: perm.to_vec(),
            r#type: kind::INTS,
            ..AttributeProto::default()
        }]);
        moved
    }

    /// A name that nothing has.
    fn name(&mut self, of: &str) -> String {
        let names = &mut self.reader.names;
        let name = names.unused(&format!("{}_{of}", self.label));
        names.take(&name, 0);
        name
    }

    fn constant(&mut self, of: &str, tensor: Tensor) -> String {
        let name = self.name(of);
        self.constants.push((name.clone(), tensor));
        name
    }

    fn push(&mut self, op_type: &str, of: &str, input: Vec<String>) -> String {
        let output = self.name(of);
        self.nodes.push(op_type, output, input)
    }
}
