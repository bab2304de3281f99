//! Attentions in one operator are read as the products and the softmax that they are made of, so
//! that their heads and widths are followed:
//! [Attention](https://onnx.ai/onnx/operators/onnx__Attention.html), which PyTorch's newest
//! exporter writes, and Attention and MultiHeadAttention of [ONNX
//! Runtime](https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md).
//!
//! Forms with a cache, a cap or further outputs stay as they are.

use super::build::Reader;
use crate::proto::{AttributeProto, NodeProto, plain};
use crate::value::Dim;
use crate::{DType, Tensor, TensorData};

/// Most elements of a mask that hides what follows.
const MOST: usize = 1 << 20;

/// What ONNX Runtime adds to the scores of hidden keys.
const HIDDEN: f32 = -10000.0;

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
    /// Number of heads of queries.
    pub heads: usize,
    /// How many of them read each head of keys and values.
    pub shared: usize,
    pub scale: f32,
    pub masks: Vec<Mask>,
    /// True for the keys up to each query, where a query sees no key behind itself.
    pub causal: Option<Tensor>,
}

/// Where queries, keys and values come from.
pub(super) enum Source {
    /// They are given, with biases in one list of the given sizes.
    Given(Option<[usize; 3]>),
    /// A layer makes all three, of the given sizes.
    Layer([usize; 3]),
}

/// What decides on the scores, by the number of the input with it.
pub(super) enum Mask {
    /// It is added to them.
    Sum(usize),
    /// True where a key is seen. A query that sees none gives zeros.
    Seen(usize),
    /// Above zero, given as `none`, for the keys that are seen, by sequence; `hidden` is added for
    /// the others.
    Kept {
        input: usize,
        none: Tensor,
        hidden: f32,
    },
    /// How many keys are seen, by sequence, to be compared with the `positions` of the keys;
    /// `hidden` is added for those behind.
    Lengths {
        input: usize,
        positions: Tensor,
        hidden: f32,
    },
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
        let Heads {
            packed,
            size,
            count,
            shared,
        } = self.heads(node, heads)?;
        let keys = self.sizes(node, 1)?;
        let along = keys.len() - 2;
        let masks = match given(node, 3) {
            false => Vec::new(),
            true if self.sizes(node, 3)?.last() != Some(&keys[along]) => return None,
            true => match self.dtype(node, 3)? {
                DType::F32 => vec![Mask::Sum(3)],
                DType::Bool => vec![Mask::Seen(3)],
                _ => return None,
            },
        };
        Some(Form {
            source: Source::Given(None),
            packed,
            heads: count,
            shared,
            scale: scale(node, size),
            masks,
            causal: self.causal(node, "is_causal", [0, 1])?,
        })
    }

    /// What a query sees of the keys behind itself, if the attribute `name` hides them:
    /// `Some(None)` if it does not. Queries and keys are the inputs `of`.
    fn causal(&self, node: &NodeProto, name: &str, of: [usize; 2]) -> Option<Option<Tensor>> {
        if number(node, name) == 0 {
            return Some(None);
        }
        let positions = of.map(|i| {
            let sizes = self.sizes(node, i)?;
            sizes.get(sizes.len().checked_sub(2)?)?.known()
        });
        let [Some(queries), Some(keys)] = positions else {
            return None;
        };
        before(queries, keys).map(Some)
    }

    /// The mask of keys by sequence in input `i` of an attention of ONNX Runtime, whose keys are
    /// input `keys`: a list of lengths, or a flag per key.
    fn key_mask(&self, node: &NodeProto, i: usize, keys: usize) -> Option<Vec<Mask>> {
        if !given(node, i) {
            return Some(Vec::new());
        }
        if self.dtype(node, i) != Some(DType::I32) {
            return None;
        }
        let hidden = find(node, "mask_filter_value").and_then(|a| a.f);
        let hidden = hidden.unwrap_or(HIDDEN);
        let [batch, positions, _] = self.sizes(node, keys)? else {
            return None;
        };
        let mask = match self.sizes(node, i)? {
            [rows, columns] if rows == batch && columns == positions => Mask::Kept {
                input: i,
                none: Tensor::new(Vec::new(), TensorData::I32(vec![0])).ok()?,
                hidden,
            },
            [rows] if rows == batch => {
                let keys = positions.known().filter(|&keys| keys <= MOST)?;
                let list = TensorData::I32((0..keys as i32).collect());
                Mask::Lengths {
                    input: i,
                    positions: Tensor::new(vec![1, keys], list).ok()?,
                    hidden,
                }
            }
            _ => return None,
        };
        Some(vec![mask])
    }

    /// The sum with the scores in input `i` of an attention of ONNX Runtime.
    fn score_bias(&self, node: &NodeProto, i: usize) -> Option<Vec<Mask>> {
        match given(node, i) {
            false => Some(Vec::new()),
            true if self.dtype(node, i) != Some(DType::F32) => None,
            true if self.sizes(node, i)?.len() != 4 => None,
            true => Some(vec![Mask::Sum(i)]),
        }
    }

    /// MultiHeadAttention of ONNX Runtime, over queries, keys and values of three axes.
    fn biased_form(&self, node: &NodeProto, opset: i64) -> Option<Form> {
        let heads = number(node, "num_heads");
        let Heads {
            packed,
            size,
            count,
            ..
        } = self.heads(node, (heads, heads))?;
        if any_from(node, 6) {
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
        let mut masks = self.key_mask(node, 4, 1)?;
        masks.append(&mut self.score_bias(node, 5)?);
        Some(Form {
            source: Source::Given(given(node, 3).then_some(sizes)),
            packed,
            heads: count,
            shared: 1,
            scale: scale(node, size),
            masks,
            causal: self.causal(node, "unidirectional", [0, 1])?,
        })
    }

    /// Attention of ONNX Runtime: one layer makes queries, keys and values.
    fn packed_form(&self, node: &NodeProto, opset: i64) -> Option<Form> {
        let others = ["do_rotary", "past_present_share_buffer"];
        let plain = others.iter().all(|name| number(node, name) == 0);
        if given(node, 4) || any_from(node, 6) || opset < SLICE || !plain {
            return None;
        }
        let &[_, outputs] = self.dims(node, 1)? else {
            return None;
        };
        let heads = usize::try_from(number(node, "num_heads")).ok()?;
        let stated = find(node, "qkv_hidden_sizes").map(|a| &a.ints);
        let sizes: Vec<usize> = match stated.filter(|sizes| !sizes.is_empty()) {
            Some(sizes) => {
                let sizes = sizes.iter().map(|&size| usize::try_from(size).ok());
                sizes.collect::<Option<_>>()?
            }
            None => vec![outputs / 3; 3],
        };
        let &[queries, keys, values] = sizes.as_slice() else {
            return None;
        };
        let sizes = [queries, keys, values];
        let whole = |&size: &usize| heads > 0 && size > 0 && size.is_multiple_of(heads);
        let total = queries.checked_add(keys)?.checked_add(values)?;
        let fits = queries == keys && total == outputs && sizes.iter().all(whole);
        if !fits || self.dims(node, 2)? != [outputs] || self.sizes(node, 0)?.len() != 3 {
            return None;
        }
        let mut masks = self.key_mask(node, 3, 0)?;
        masks.append(&mut self.score_bias(node, 5)?);
        Some(Form {
            source: Source::Layer(sizes),
            packed: Some(heads),
            heads,
            shared: 1,
            scale: scale(node, queries / heads),
            masks,
            causal: self.causal(node, "unidirectional", [0, 0])?,
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

    /// The heads of an attention over given queries, keys and values. The node states how many
    /// `queries` and `keys` have; values have as many as keys.
    fn heads(&self, node: &NodeProto, (queries, keys): (i64, i64)) -> Option<Heads> {
        let sizes = [0, 1, 2].map(|i| self.sizes(node, i));
        let [Some(query), Some(key), Some(value)] = sizes else {
            return None;
        };
        if key.len() != query.len() || value.len() != query.len() {
            return None;
        }
        let width = query.last()?.known()?;
        let (count, kept, packed) = match query.len() {
            3 => {
                let count = |n: i64| usize::try_from(n).ok().filter(|&n| n > 0);
                (count(queries)?, count(keys)?, true)
            }
            4 => {
                let kept = key[1].known()?;
                (
                    query[1].known()?,
                    (value[1] == key[1]).then_some(kept)?,
                    false,
                )
            }
            _ => return None,
        };
        let whole = kept > 0 && count.is_multiple_of(kept);
        if !whole || (packed && !width.is_multiple_of(count)) {
            return None;
        }
        Some(Heads {
            packed: packed.then_some(count),
            size: if packed { width / count } else { width },
            count,
            shared: count / kept,
        })
    }
}

/// The heads of an attention.
struct Heads {
    /// Their number, if the last axis packs them.
    packed: Option<usize>,
    /// The size of a query in a head.
    size: usize,
    /// The number of heads of queries.
    count: usize,
    /// How many of them read each head of keys and values.
    shared: usize,
}
