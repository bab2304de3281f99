//! Attentions in one operator are read as the products and the softmax that they are made of, so
//! that their heads and widths are followed: [Attention](https://onnx.ai/onnx/operators/onnx__Attention.html),
//! which PyTorch's newest exporter writes, and Attention and MultiHeadAttention of
//! [ONNX Runtime](https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md).
//!
//! Forms with a cache, groups of queries, a cap or further outputs stay as they are.

use std::collections::HashMap;

use super::build::Reader;
use crate::captures::{DEPTH, reads};
use crate::proto::{AttributeProto, NodeProto, attribute_type as kind, plain};
use crate::value::Dim;
use crate::{DType, GraphError, Tensor};

/// Most elements of a mask that hides what follows.
const MOST: usize = 1 << 20;

/// The first operator set in which Slice has its bounds as inputs.
const SLICE: i64 = 10;

/// An attention that is made of other operators.
struct Form {
    source: Source,
    /// Number of heads, where the last axis of three packs them; `None` where they have an axis.
    packed: Option<usize>,
    scale: f32,
    mask: Option<Mask>,
    /// The numbers of queries and keys, where a query sees no key behind itself.
    causal: Option<(usize, usize)>,
}

/// Where queries, keys and values come from.
enum Source {
    /// They are given, with biases in one list of the given sizes.
    Given(Option<[usize; 3]>),
    /// A layer makes all three, of the given size each.
    Layer(usize),
}

/// What is added to the scores.
enum Mask {
    Sum,
    /// True where a key is seen.
    Seen,
}

/// The nodes and constants that replace an attention.
struct Draft<'r, 'a> {
    reader: &'r mut Reader<'a>,
    label: String,
    nodes: Vec<NodeProto>,
    constants: Vec<(String, Tensor)>,
}

impl Reader<'_> {
    /// Replaces an attention; returns false for all other nodes and forms.
    pub(super) fn attend(&mut self, node: &NodeProto, opset: i64) -> Result<bool, GraphError> {
        let Some(form) = self.form(node, opset) else {
            return Ok(false);
        };
        let mut draft = Draft {
            label: node.label(),
            reader: self,
            nodes: Vec::new(),
            constants: Vec::new(),
        };
        draft.build(node, &form);
        let Draft {
            nodes, constants, ..
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

    fn form(&self, node: &NodeProto, opset: i64) -> Option<Form> {
        let contributed = plain(&node.domain) == "com.microsoft";
        let single = node.output.iter().skip(1).all(String::is_empty);
        let given = |i: usize| node.input.get(i).is_some_and(|input| !input.is_empty());
        let float = self.dtype(node, 0) == Some(DType::F32);
        if !single || !float || !given(0) || !given(1) || node.output[0].is_empty() {
            return None;
        }
        let found = |name: &str| node.attribute.iter().find(|a| a.name == name);
        let number = |name: &str| found(name).and_then(|a| a.i).unwrap_or(0);
        let real = |name: &str| found(name).and_then(|a| a.f).unwrap_or(0.0);
        let scaled = |size: usize| match real("scale") {
            0.0 => 1.0 / (size as f32).sqrt(),
            scale => scale,
        };
        let from = |first: usize| (first..node.input.len()).any(given);
        match (contributed, node.op_type.as_str()) {
            (false, "Attention") if plain(&node.domain).is_empty() => {
                let precise = matches!(number("softmax_precision"), 0 | 1);
                if !given(2) || from(4) || real("softcap") != 0.0 || !precise {
                    return None;
                }
                let heads = (number("q_num_heads"), number("kv_num_heads"));
                let (packed, size) = self.heads(node, heads)?;
                let keys = self.sizes(node, 1)?;
                let along = keys.len() - 2;
                let mask = match self.dtype(node, 3).filter(|_| given(3)) {
                    None if given(3) => return None,
                    None => None,
                    Some(_) if self.sizes(node, 3)?.last() != Some(&keys[along]) => return None,
                    Some(DType::F32) => Some(Mask::Sum),
                    Some(DType::Bool) => Some(Mask::Seen),
                    Some(_) => return None,
                };
                let causal = match number("is_causal") {
                    0 => None,
                    _ => Some((self.sizes(node, 0)?[along].known()?, keys[along].known()?)),
                };
                Some(Form {
                    source: Source::Given(None),
                    packed,
                    scale: scaled(size),
                    mask,
                    causal: causal.map_or(Some(None), |(queries, keys)| {
                        (queries.checked_mul(keys)? <= MOST).then_some(Some((queries, keys)))
                    })?,
                })
            }
            (true, "MultiHeadAttention") if given(2) && !from(4) && number("unidirectional") == 0 => {
                let heads = number("num_heads");
                let (packed, size) = self.heads(node, (heads, heads))?;
                let widths = [0, 1, 2].map(|i| self.sizes(node, i)?.last()?.known());
                let [Some(queries), Some(keys), Some(values)] = widths else {
                    return None;
                };
                let biased = given(3).then_some([queries, keys, values]);
                let total = queries.checked_add(keys)?.checked_add(values)?;
                if given(3) && (self.dims(node, 3)? != [total] || opset < SLICE) {
                    return None;
                }
                packed?;
                Some(Form {
                    source: Source::Given(biased),
                    packed,
                    scale: scaled(size),
                    mask: None,
                    causal: None,
                })
            }
            (true, "Attention") if given(2) && !from(3) && opset >= SLICE => {
                let others = ["unidirectional", "do_rotary", "past_present_share_buffer"];
                let plain = found("qkv_hidden_sizes").is_none();
                let &[_, outputs] = self.dims(node, 1)? else {
                    return None;
                };
                let heads = usize::try_from(number("num_heads")).ok()?;
                let parts = outputs.checked_div(heads.checked_mul(3)?)?;
                let whole = parts.checked_mul(heads)?.checked_mul(3)? == outputs;
                let biased = self.dims(node, 2)? == [outputs];
                let rank = self.sizes(node, 0)?.len();
                if !plain || !whole || !biased || rank != 3 || others.iter().any(|o| number(o) != 0) {
                    return None;
                }
                Some(Form {
                    source: Source::Layer(parts * heads),
                    packed: Some(heads),
                    scale: scaled(parts),
                    mask: None,
                    causal: None,
                })
            }
            _ => None,
        }
    }

    fn sizes(&self, node: &NodeProto, i: usize) -> Option<&[Dim]> {
        let id = *self.scope.get(node.input.get(i)?)?;
        self.graph.value(id).shape.as_deref()
    }

    fn dtype(&self, node: &NodeProto, i: usize) -> Option<DType> {
        let id = *self.scope.get(node.input.get(i)?)?;
        self.graph.value(id).dtype
    }

    /// The sizes of a constant input.
    fn dims(&self, node: &NodeProto, i: usize) -> Option<&[usize]> {
        let id = *self.scope.get(node.input.get(i)?)?;
        self.graph.constant(id).map(Tensor::dims)
    }

    /// The number of heads that the last axis packs, and the size of a query in a head. Queries,
    /// keys and values must have as many heads.
    fn heads(&self, node: &NodeProto, stated: (i64, i64)) -> Option<(Option<usize>, usize)> {
        let [queries, keys, values] = [0, 1, 2].map(|i| self.sizes(node, i));
        let (queries, keys, values) = (queries?, keys?, values?);
        if keys.len() != queries.len() || values.len() != queries.len() {
            return None;
        }
        let width = queries.last()?.known()?;
        match queries.len() {
            3 => {
                let heads = usize::try_from(stated.0).ok().filter(|&n| n > 0)?;
                let whole = width.is_multiple_of(heads);
                (stated.0 == stated.1 && whole).then_some((Some(heads), width / heads))
            }
            4 => {
                let heads = queries[1].known()?;
                let same = [keys, values].iter().all(|v| v[1] == Dim::Known(heads));
                same.then_some((None, width))
            }
            _ => None,
        }
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
        let hidden = |n: usize| vec![f32::NEG_INFINITY; n];
        match (&form.mask, node.input.get(3)) {
            (Some(Mask::Sum), Some(mask)) => {
                scores = self.push("Add", "masked", vec![scores, mask.clone()]);
            }
            (Some(Mask::Seen), Some(mask)) => {
                let seen = self.constant("seen", Tensor::scalar(0.0));
                let unseen = self.constant("unseen", Tensor::scalar(f32::NEG_INFINITY));
                let added = self.push("Where", "mask", vec![mask.clone(), seen, unseen]);
                scores = self.push("Add", "masked", vec![scores, added]);
            }
            _ => {}
        }
        if let Some((queries, keys)) = form.causal {
            let mut mask = hidden(queries * keys);
            for (query, row) in mask.chunks_mut(keys.max(1)).enumerate() {
                row.iter_mut().take(query + 1).for_each(|m| *m = 0.0);
            }
            if let Ok(mask) = Tensor::f32([queries, keys], mask) {
                let mask = self.constant("causal", mask);
                scores = self.push("Add", "behind", vec![scores, mask]);
            }
        }
        let shares = self.push("Softmax", "shares", vec![scores]);
        self.attribute(AttributeProto {
            name: "axis".into(),
            i: Some(-1),
            r#type: kind::INT,
            ..AttributeProto::default()
        });
        let output = node.output[..1].to_vec();
        match form.packed {
            None => self.end("MatMul", self.label.clone(), vec![shares, values], output),
            Some(_) => {
                let result = self.push("MatMul", "result", vec![shares, values]);
                let moved = self.transposed(result, &[0, 2, 1, 3]);
                let target = self.constant("merged", Tensor::i64s(vec![0, 0, -1]));
                self.end("Reshape", self.label.clone(), vec![moved, target], output);
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
    fn range(&mut self, of: &str, whole: String, axis: i64, (start, end): (usize, usize)) -> String {
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
        self.attribute(AttributeProto {
            name: "perm".into(),
            ints: perm.to_vec(),
            r#type: kind::INTS,
            ..AttributeProto::default()
        });
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
        let name = format!("{output}_{op_type}");
        self.end(op_type, name, input, vec![output.clone()]);
        output
    }

    fn end(&mut self, op_type: &str, name: String, input: Vec<String>, output: Vec<String>) {
        self.nodes.push(NodeProto {
            input,
            output,
            name,
            op_type: op_type.into(),
            ..NodeProto::default()
        });
    }

    /// Adds an attribute to the last node.
    fn attribute(&mut self, attribute: AttributeProto) {
        if let Some(node) = self.nodes.last_mut() {
            node.attribute.push(attribute);
        }
    }
}
