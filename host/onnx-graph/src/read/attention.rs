//! Attentions in one operator are read as the products and the softmax that they are made of, so
//! that their heads and widths are followed:
//! [Attention](https://onnx.ai/onnx/operators/onnx__Attention.html), which PyTorch's newest
//! exporter writes, and Attention and MultiHeadAttention of [ONNX
//! Runtime](https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md).
//!
//! Forms with a cache, groups of queries, a cap or further outputs stay as they are.

use super::build::Reader;
use crate::proto::{AttributeProto, NodeProto, plain};
use crate::value::Dim;
use crate::{DType, Tensor, TensorData};

/// Most elements of a mask that hides what follows.
const MOST: usize = 1 << 20;

/// The first operator set in which Slice has its bounds as inputs.
const SLICE: i64 = 10;

/// The attributes of an attention of ONNX up to opset 25.
const PLAIN: &[&str] = &[
    "is_causal",
    "kv_num_heads",
    "q_num_heads",
    "qk_matmul_output_mode",
    "scale",
    "softcap",
    "softmax_precision",
];

/// An attention that is made of other operators.
pub(super) struct Form {
    pub source: Source,
    /// Number of heads, where the last axis of three packs them; `None` where they have an axis.
    pub packed: Option<usize>,
    pub scale: f32,
    pub mask: Option<Mask>,
    /// True for the keys up to each query, where a query sees no key behind itself.
    pub causal: Option<Tensor>,
}

/// Where queries, keys and values come from.
pub(super) enum Source {
    /// They are given, with biases in one list of the given sizes.
    Given(Option<[usize; 3]>),
    /// A layer makes all three, of the given size each.
    Layer(usize),
}

/// What is added to the scores.
pub(super) enum Mask {
    Sum,
    /// True where a key is seen. A query that sees none gives zeros.
    Seen,
}

fn find<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute.iter().find(|a| a.name == name)
}

fn number(node: &NodeProto, name: &str) -> i64 {
    find(node, name).and_then(|a| a.i).unwrap_or(0)
}

fn real(node: &NodeProto, name: &str) -> f32 {
    find(node, name).and_then(|a| a.f).unwrap_or(0.0)
}

/// The factor of the scores of queries of `size`.
fn scale(node: &NodeProto, size: usize) -> f32 {
    match real(node, "scale") {
        0.0 => 1.0 / (size as f32).sqrt(),
        scale => scale,
    }
}

/// True for the keys up to each query, by rows of queries.
fn before(queries: usize, keys: usize) -> Option<Tensor> {
    queries.checked_mul(keys).filter(|&n| n <= MOST)?;
    let seen = (0..queries).flat_map(|query| (0..keys).map(move |key| key <= query));
    Tensor::new(vec![queries, keys], TensorData::Bool(seen.collect())).ok()
}

fn given(node: &NodeProto, i: usize) -> bool {
    node.input.get(i).is_some_and(|input| !input.is_empty())
}

fn any_from(node: &NodeProto, first: usize) -> bool {
    (first..node.input.len()).any(|i| given(node, i))
}

impl Reader<'_> {
    /// The form of a node that is an attention; `None` for all others.
    pub(super) fn attention(&self, node: &NodeProto, opset: i64) -> Option<Form> {
        let single = node.output.iter().skip(1).all(String::is_empty);
        let float = self.dtype(node, 0) == Some(DType::F32);
        let whole = (0..3).all(|i| given(node, i)) && !node.output.first()?.is_empty();
        if !single || !float || !whole {
            return None;
        }
        match (plain(&node.domain), node.op_type.as_str()) {
            ("", "Attention") => self.plain_form(node),
            ("com.microsoft", "MultiHeadAttention") => self.biased_form(node, opset),
            ("com.microsoft", "Attention") => self.packed_form(node, opset),
            _ => None,
        }
    }

    /// Attention of ONNX.
    fn plain_form(&self, node: &NodeProto) -> Option<Form> {
        let precise = matches!(number(node, "softmax_precision"), 0 | 1);
        let known = node
            .attribute
            .iter()
            .all(|a| PLAIN.contains(&a.name.as_str()));
        if any_from(node, 4) || real(node, "softcap") != 0.0 || !precise || !known {
            return None;
        }
        let heads = (number(node, "q_num_heads"), number(node, "kv_num_heads"));
        let (packed, size) = self.heads(node, heads)?;
        let keys = self.sizes(node, 1)?;
        let along = keys.len() - 2;
        let mask = match given(node, 3) {
            false => None,
            true if self.sizes(node, 3)?.last() != Some(&keys[along]) => return None,
            true => Some(match self.dtype(node, 3)? {
                DType::F32 => Mask::Sum,
                DType::Bool => Mask::Seen,
                _ => return None,
            }),
        };
        let causal = match number(node, "is_causal") {
            0 => None,
            _ => {
                let queries = self.sizes(node, 0)?[along].known()?;
                Some(before(queries, keys[along].known()?)?)
            }
        };
        Some(Form {
            source: Source::Given(None),
            packed,
            scale: scale(node, size),
            mask,
            causal,
        })
    }

    /// MultiHeadAttention of ONNX Runtime, over queries, keys and values of three axes.
    fn biased_form(&self, node: &NodeProto, opset: i64) -> Option<Form> {
        let heads = number(node, "num_heads");
        let (packed, size) = self.heads(node, (heads, heads))?;
        if any_from(node, 4) || number(node, "unidirectional") != 0 {
            return None;
        }
        let widths = [0, 1, 2].map(|i| self.sizes(node, i)?.last()?.known());
        let [Some(queries), Some(keys), Some(values)] = widths else {
            return None;
        };
        let sizes = [queries, keys, values];
        let total = sizes
            .iter()
            .try_fold(0usize, |n, &size| n.checked_add(size))?;
        if given(node, 3) && (self.dims(node, 3)? != [total] || opset < SLICE) {
            return None;
        }
        packed?;
        Some(Form {
            source: Source::Given(given(node, 3).then_some(sizes)),
            packed,
            scale: scale(node, size),
            mask: None,
            causal: None,
        })
    }

    /// Attention of ONNX Runtime: one layer makes queries, keys and values.
    fn packed_form(&self, node: &NodeProto, opset: i64) -> Option<Form> {
        let others = ["unidirectional", "do_rotary", "past_present_share_buffer"];
        let plain = others.iter().all(|name| number(node, name) == 0);
        if any_from(node, 3) || opset < SLICE || !plain || find(node, "qkv_hidden_sizes").is_some()
        {
            return None;
        }
        let &[_, outputs] = self.dims(node, 1)? else {
            return None;
        };
        let heads = usize::try_from(number(node, "num_heads")).ok()?;
        let size = outputs.checked_div(heads.checked_mul(3)?)?;
        let whole = size.checked_mul(heads)?.checked_mul(3)? == outputs;
        if !whole || self.dims(node, 2)? != [outputs] || self.sizes(node, 0)?.len() != 3 {
            return None;
        }
        Some(Form {
            source: Source::Layer(size * heads),
            packed: Some(heads),
            scale: scale(node, size),
            mask: None,
            causal: None,
        })
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
