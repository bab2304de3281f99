//! Sequences whose elements are known, and optional values that are there, are read as their
//! elements: older exporters of PyTorch write lists of tensors so.
//!
//! A node that makes a sequence waits until a node is read that does not only name its elements.

use super::build::Reader;
use super::draft::Draft;
use crate::captures::captured;
use crate::proto::{NodeProto, plain};
use crate::value::ValueId;
use crate::{GraphError, Tensor, TensorData};

/// Most elements of a sequence that are told apart.
const MOST: usize = 1 << 10;

/// The operator set since which axes and parts are inputs instead of attributes.
const AS_INPUTS: i64 = 13;

fn number(node: &NodeProto, name: &str, default: i64) -> i64 {
    let stated = node.attribute.iter().find(|a| a.name == name);
    stated.and_then(|a| a.i).unwrap_or(default)
}

/// The position of a possibly negative index among `count`.
fn position(index: i64, count: usize) -> Option<usize> {
    let count = i64::try_from(count).ok()?;
    let index = if index < 0 { index + count } else { index };
    (0..count).contains(&index).then_some(index as usize)
}

impl Reader<'_> {
    /// Reads a node on a sequence or an optional value through the elements; returns false for all
    /// other nodes, and reads before them the sequences that they need as such.
    pub(super) fn by_elements(&mut self, node: &NodeProto, opset: i64) -> Result<bool, GraphError> {
        if plain(&node.domain).is_empty() && self.in_elements(node, opset)? {
            return Ok(true);
        }
        if self.sequences.waiting.is_empty() {
            return Ok(false);
        }
        for name in node.input.iter().cloned().chain(captured(node)) {
            if let Some((maker, opset)) = self.sequences.waiting.remove(&name) {
                self.sequences.needed.insert(name);
                self.node(&maker, opset)?;
            }
        }
        Ok(false)
    }

    /// Whether the node names elements only.
    fn in_elements(&mut self, node: &NodeProto, opset: i64) -> Result<bool, GraphError> {
        let [output] = node.output.as_slice() else {
            return Ok(false);
        };
        if self.sequences.needed.contains(output) {
            return Ok(false);
        }
        match node.op_type.as_str() {
            "ConcatFromSequence" => self.concatenated(node, opset),
            "OptionalGetElement" | "SequenceAt" => match self.element(node) {
                Some(element) => self.replaced(node, opset, |draft| {
                    draft.end("Identity", vec![element], node.output.clone());
                }),
                None => Ok(false),
            },
            "OptionalHasElement" | "SequenceLength" => match self.counted(node) {
                Some(count) => self.constant(output, count).map(|_| true),
                None => Ok(false),
            },
            "SplitToSequence" => match self.parts_of(node) {
                Some(sizes) => self.split_up(node, opset, sizes),
                None => Ok(false),
            },
            _ => match self.listed(node) {
                Some(elements) => {
                    self.wait(node, opset, elements);
                    Ok(true)
                }
                None => Ok(false),
            },
        }
    }

    fn replaced(
        &mut self,
        node: &NodeProto,
        opset: i64,
        build: impl FnOnce(&mut Draft<'_, '_>),
    ) -> Result<bool, GraphError> {
        let mut draft = Draft::new(self, node);
        build(&mut draft);
        draft.read(node, opset)?;
        Ok(true)
    }

    fn wait(&mut self, node: &NodeProto, opset: i64, elements: Vec<String>) {
        let name = node.output[0].clone();
        self.sequences.elements.insert(name.clone(), elements);
        self.sequences.waiting.insert(name, (node.clone(), opset));
    }

    /// The elements of the sequence or the optional value that a node makes of given ones.
    fn listed(&self, node: &NodeProto) -> Option<Vec<String>> {
        let sequence = || self.sequences.elements.get(node.input.first()?).cloned();
        let place = |list: &[String], all: usize| match node.input.get(list.len()) {
            Some(name) if !name.is_empty() => position(self.index(name)?, all),
            _ => all.checked_sub(1),
        };
        match node.op_type.as_str() {
            "SequenceEmpty" => Some(Vec::new()),
            "SequenceConstruct" | "Optional" => {
                let tensors = node.input.iter().all(|name| self.tensor(name).is_some());
                (tensors && !node.input.is_empty()).then(|| node.input.clone())
            }
            "SequenceInsert" => {
                let mut elements = sequence()?;
                self.tensor(node.input.get(1)?)?;
                let at = place(&node.input[..2], elements.len() + 1)?;
                elements.insert(at, node.input[1].clone());
                (elements.len() <= MOST).then_some(elements)
            }
            "SequenceErase" => {
                let mut elements = sequence()?;
                let at = place(&node.input[..1], elements.len())?;
                elements.remove(at);
                Some(elements)
            }
            _ => None,
        }
    }

    /// The element that a node takes out.
    fn element(&self, node: &NodeProto) -> Option<String> {
        let from = node.input.first()?;
        let elements = self.sequences.elements.get(from);
        if node.op_type == "OptionalGetElement" {
            let own = || self.tensor(from).map(|_| from);
            return elements.and_then(|e| e.first()).or_else(own).cloned();
        }
        let elements = elements?;
        let at = position(self.index(node.input.get(1)?)?, elements.len())?;
        Some(elements[at].clone())
    }

    /// The number of elements, or whether there is one.
    fn counted(&self, node: &NodeProto) -> Option<Tensor> {
        let from = node.input.first().map_or("", String::as_str);
        let elements = self.sequences.elements.get(from);
        if node.op_type == "OptionalHasElement" {
            let there = elements.is_some() || self.tensor(from).is_some();
            let known = there || from.is_empty();
            let flag = || Tensor::new(Vec::new(), TensorData::Bool(vec![there])).ok();
            return known.then(flag)?;
        }
        let count = i64::try_from(elements?.len()).ok()?;
        Tensor::new(Vec::new(), TensorData::I64(vec![count])).ok()
    }

    /// The sizes of the parts of a SplitToSequence.
    fn parts_of(&self, node: &NodeProto) -> Option<Vec<i64>> {
        let whole = self.tensor(node.input.first()?)?;
        let shape = self.graph.value(whole).shape.as_ref()?;
        let axis = position(number(node, "axis", 0), shape.len())?;
        let all = shape[axis].known()?;
        let stated = match node.input.get(1).filter(|name| !name.is_empty()) {
            Some(name) => Some(self.graph.constant(*self.scope.get(name.as_str())?)?),
            None => None,
        };
        let sizes = match stated {
            Some(list) if !list.dims().is_empty() => list.to_i64s()?,
            _ => {
                let each = stated.map_or(Some(1), |size| size.to_i64s()?.first().copied())?;
                let each = usize::try_from(each).ok().filter(|&each| each > 0)?;
                if all.div_ceil(each) > MOST {
                    return None;
                }
                let starts = (0..all).step_by(each);
                starts.map(|start| each.min(all - start) as i64).collect()
            }
        };
        let fits = sizes.iter().sum::<i64>() == i64::try_from(all).ok()?;
        (fits && !sizes.is_empty() && sizes.len() <= MOST).then_some(sizes)
    }

    /// Splits a value into the elements of a sequence.
    fn split_up(
        &mut self,
        node: &NodeProto,
        opset: i64,
        sizes: Vec<i64>,
    ) -> Result<bool, GraphError> {
        let axis = number(node, "axis", 0);
        let squeezed = number(node, "keepdims", 1) == 0 && node.input.len() < 2;
        let mut parts = Vec::new();
        self.replaced(node, opset, |draft| {
            parts.extend(sizes.iter().map(|_| draft.name("part")));
            let mut inputs = node.input[..1].to_vec();
            if opset >= AS_INPUTS {
                inputs.push(draft.constant("sizes", Tensor::i64s(sizes.clone())));
                draft.end("Split", inputs, parts.clone());
            } else {
                draft.end("Split", inputs, parts.clone());
                draft.ints("split", sizes.clone());
            }
            draft.int("axis", axis);
            if squeezed {
                for part in &mut parts {
                    *part = along(draft, opset, ("Squeeze", axis), part.clone());
                }
            }
        })?;
        self.wait(node, opset, parts);
        Ok(true)
    }

    /// A ConcatFromSequence as a Concat of the elements.
    fn concatenated(&mut self, node: &NodeProto, opset: i64) -> Result<bool, GraphError> {
        let known = node.input.first();
        let known = known.and_then(|name| self.sequences.elements.get(name));
        let Some(mut elements) = known.filter(|list| !list.is_empty()).cloned() else {
            return Ok(false);
        };
        let axis = number(node, "axis", 0);
        let stacked = number(node, "new_axis", 0) != 0;
        self.replaced(node, opset, |draft| {
            if stacked {
                for element in &mut elements {
                    *element = along(draft, opset, ("Unsqueeze", axis), element.clone());
                }
            }
            draft.end("Concat", elements, node.output.clone());
            draft.int("axis", axis);
        })
    }

    /// A value of the file that is a tensor.
    fn tensor(&self, name: &str) -> Option<ValueId> {
        let id = *self.scope.get(name)?;
        let value = self.graph.value(id);
        let is = value.dtype.is_some() || self.graph.constant(id).is_some();
        is.then_some(id)
    }

    /// A constant number.
    fn index(&self, name: &str) -> Option<i64> {
        let tensor = self.graph.constant(*self.scope.get(name)?)?;
        match tensor.to_i64s()?.as_slice() {
            &[index] => Some(index),
            _ => None,
        }
    }
}

/// Appends a Squeeze or an Unsqueeze of one axis.
fn along(
    draft: &mut Draft<'_, '_>,
    opset: i64,
    (op_type, axis): (&str, i64),
    value: String,
) -> String {
    let mut inputs = vec![value];
    if opset >= AS_INPUTS {
        inputs.push(draft.constant("axis", Tensor::i64s(vec![axis])));
        return draft.push(op_type, "element", inputs);
    }
    let output = draft.push(op_type, "element", inputs);
    draft.ints("axes", vec![axis]);
    output
}
