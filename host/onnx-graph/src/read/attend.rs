//! The operators that replace an [attention](super::attention).

use super::attention::{Form, Mask, Source};
use super::build::Reader;
use super::draft::Draft;
use crate::proto::NodeProto;
use crate::{GraphError, Tensor};

impl Reader<'_> {
    /// Replaces an attention; returns false for all other nodes and forms.
    pub(super) fn attend(&mut self, node: &NodeProto, opset: i64) -> Result<bool, GraphError> {
        let Some(form) = self.attention(node, opset) else {
            return Ok(false);
        };
        let mut draft = Draft::new(self, node);
        draft.build(node, &form);
        draft.read(node, opset)?;
        Ok(true)
    }
}

impl Draft<'_, '_> {
    fn build(&mut self, node: &NodeProto, form: &Form) {
        let [queries, keys, values] = self.parts(node, &form.source);
        let (queries, keys, values) = match form.packed {
            Some(heads) => {
                let kept = heads / form.shared.max(1);
                (
                    self.split(queries, heads, &[0, 2, 1, 3]),
                    self.split(keys, kept, &[0, 2, 3, 1]),
                    self.split(values, kept, &[0, 2, 1, 3]),
                )
            }
            None => (queries, self.transposed(keys, &[0, 1, 3, 2]), values),
        };
        let [keys, values] =
            [keys, values].map(|heads| self.repeated(heads, (form.heads, form.shared)));
        let scale = self.constant("scale", Tensor::scalar(form.scale));
        let queries = self.push("Mul", "scaled", vec![queries, scale]);
        let mut scores = self.push("MatMul", "scores", vec![queries, keys]);
        let causal = form.causal.clone();
        let mut seen = causal.map(|mask| self.constant("before", mask));
        for mask in &form.masks {
            let sum = match mask {
                Mask::Seen(i) => {
                    let mask = node.input[*i].clone();
                    seen = Some(match seen {
                        Some(before) => self.push("And", "seen", vec![mask, before]),
                        None => mask,
                    });
                    continue;
                }
                Mask::Sum(i) => node.input[*i].clone(),
                Mask::Kept {
                    input,
                    none,
                    hidden,
                } => {
                    let none = self.constant("none", none.clone());
                    let flags = vec![node.input[*input].clone(), none];
                    let kept = self.push("Greater", "kept", flags);
                    self.hiding(kept, *hidden)
                }
                Mask::Lengths {
                    input,
                    positions,
                    hidden,
                } => {
                    let positions = self.constant("positions", positions.clone());
                    let target = self.constant("column", Tensor::i64s(vec![-1, 1]));
                    let lengths = vec![node.input[*input].clone(), target];
                    let lengths = self.push("Reshape", "lengths", lengths);
                    let kept = self.push("Less", "kept", vec![positions, lengths]);
                    self.hiding(kept, *hidden)
                }
            };
            scores = self.push("Add", "masked", vec![scores, sum]);
        }
        if let Some(seen) = &seen {
            let least = self.constant("least", Tensor::scalar(f32::MIN));
            scores = self.push("Where", "seen_scores", vec![seen.clone(), scores, least]);
        }
        let mut shares = self.push("Softmax", "shares", vec![scores]);
        self.int("axis", -1);
        if let Some(seen) = seen {
            let nothing = self.constant("nothing", Tensor::scalar(0.0));
            shares = self.push("Where", "seen_shares", vec![seen, shares, nothing]);
        }
        let output = node.output[..1].to_vec();
        match form.packed {
            None => self.end("MatMul", vec![shares, values], output),
            Some(_) => {
                let result = self.push("MatMul", "result", vec![shares, values]);
                let moved = self.transposed(result, &[0, 2, 1, 3]);
                let target = self.constant("merged", Tensor::i64s(vec![0, 0, -1]));
                self.end("Reshape", vec![moved, target], output);
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
            Source::Layer(sizes) => {
                let mut start = 0;
                [0, 1, 2].map(|i| {
                    let range = (start, start + sizes[i]);
                    start = range.1;
                    let weight = self.range(names[i], input(1), 1, range);
                    let bias = self.range(names[i], input(2), 0, range);
                    let product = format!("{}_product", names[i]);
                    let product = self.push("MatMul", &product, vec![input(0), weight]);
                    self.push("Add", names[i], vec![product, bias])
                })
            }
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

    /// Each head of keys or values `shared` times in a row, for the `count` heads of queries.
    fn repeated(&mut self, heads: String, (count, shared): (usize, usize)) -> String {
        if shared == 1 {
            return heads;
        }
        let kept = count.checked_div(shared).unwrap_or_default();
        let order = (0..kept).flat_map(|head| std::iter::repeat_n(head as i64, shared));
        let order = self.constant("order", Tensor::i64s(order.collect()));
        let repeated = self.push("Gather", "repeated", vec![heads, order]);
        self.int("axis", 1);
        repeated
    }

    /// The sum that hides keys, by sequence and key: zero where `kept` is true.
    fn hiding(&mut self, kept: String, hidden: f32) -> String {
        let nothing = self.constant("shown", Tensor::scalar(0.0));
        let hidden = self.constant("hidden", Tensor::scalar(hidden));
        let rows = self.push("Where", "hiding", vec![kept, nothing, hidden]);
        let target = self.constant("by_key", Tensor::i64s(vec![0, 1, 1, -1]));
        self.push("Reshape", "hiding_by_key", vec![rows, target])
    }

    fn transposed(&mut self, value: String, perm: &[i64]) -> String {
        let moved = self.push("Transpose", "moved", vec![value]);
        self.ints("perm", perm.to_vec());
        moved
    }
}
