//! Precision as an axis of the search: parts of a network that compute in floats or in 8-bit
//! integers, as joint pruning and quantisation (AJPQ, arXiv 2011.06231) decides per layer.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use latency_model::{IN_FLOATS, IN_INTEGERS, Precision};
use onnx_graph::ops::Op;
use onnx_graph::quantize::{Quantize, Scheme, quantize};
use onnx_graph::{Graph, GraphError, Node, ValueId, fold_batch_norm};
use search::GroupSpace;
use serde::{Deserialize, Serialize};
use torch_exec::{RangeMethod, activation_ranges};
use train::Calibration;

use crate::error::PipelineError;

/// The parts of a network whose precision is open, as found on the device.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Parts {
    #[serde(with = "SchemeRecord")]
    pub scheme: Scheme,
    /// The names of the operators of each part, in the order of the network.
    pub open: Vec<BTreeSet<String>>,
    /// Least and greatest value of the original's activations, by name.
    pub ranges: BTreeMap<String, (f32, f32)>,
    /// The mean squared distance of the outputs with each part in integers.
    pub losses: Vec<f64>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Scheme")]
struct SchemeRecord {
    signed: bool,
    per_channel: bool,
    weight_bits: u8,
    layers_only: bool,
}

/// The ranges of a network's activations.
#[derive(Clone, Copy)]
pub(crate) enum Ranges {
    /// Those of the original: latency does not depend on them.
    OfOriginal,
    /// Observed on the network itself.
    Observed,
}

/// Open precision in a run.
pub(crate) struct OpenPrecision {
    pub parts: Parts,
    /// The images that ranges are observed on.
    pub images: Calibration,
    /// The name of the network.
    pub model: String,
    /// The channel groups of each part's layers.
    pub groups: Vec<Vec<usize>>,
}

impl Parts {
    /// A network with folded normalisations in integers, as far as `entries` selects its parts and
    /// `ranges` has its activations.
    pub fn form(
        &self,
        folded: &Graph,
        entries: &[usize],
        ranges: BTreeMap<ValueId, (f32, f32)>,
    ) -> Result<Graph, GraphError> {
        let parts = self.open.iter().zip(entries);
        let integers: BTreeSet<&String> = parts
            .filter(|(_, entry)| **entry == IN_INTEGERS)
            .flat_map(|(part, _)| part)
            .collect();
        let float = folded.iter();
        let float = float.filter(|(_, node)| !integers.contains(&node.name));
        let options = Quantize {
            scheme: self.scheme,
            ranges,
            float: float.map(|(id, _)| id).collect(),
            ..Quantize::default()
        };
        quantize(folded, &options)
    }

    /// The numbers of a layer in integers.
    pub fn precision(&self) -> Precision {
        if self.scheme.signed {
            Precision::Signed
        } else {
            Precision::Unsigned
        }
    }

    /// The axes of the search. A uniform network is in integers throughout.
    pub fn axes(&self) -> Vec<GroupSpace> {
        let count = self.open.len();
        let name = |part| {
            format!(
                "precision of part {part} of {count} ({IN_INTEGERS}: integers, {IN_FLOATS}: floats)"
            )
        };
        let options = || vec![IN_INTEGERS, IN_FLOATS];
        (1..=count)
            .map(|part| GroupSpace::choice(name(part), options(), IN_INTEGERS))
            .collect()
    }

    /// What the network loses by each option of each axis.
    pub fn losses(&self) -> Vec<Vec<f64>> {
        self.losses.iter().map(|&loss| vec![loss, 0.0]).collect()
    }

    /// Which parts are in integers, in words.
    pub fn words(&self, entries: &[usize]) -> String {
        let parts = (1..).zip(entries);
        let integers: Vec<String> = parts
            .filter(|(_, entry)| **entry == IN_INTEGERS)
            .map(|(part, _)| part.to_string())
            .collect();
        match integers.len() {
            0 => "all in floats".into(),
            all if all == entries.len() => "all open parts in integers".into(),
            _ => format!(
                "parts {} of {} in integers",
                integers.join(", "),
                entries.len()
            ),
        }
    }
}

impl OpenPrecision {
    /// The network of `graph` with the parts in integers that `entries` selects, and its
    /// normalisations folded; `graph` itself where all parts are in floats, or in integers already:
    /// those that it was trained with.
    pub fn apply<'g>(
        &self,
        graph: &'g Graph,
        entries: &[usize],
        ranges: Ranges,
    ) -> Result<Cow<'g, Graph>, PipelineError> {
        let is_rounded = |node: &Node| matches!(node.op, Op::QuantizeLinear(_));
        if !entries.contains(&IN_INTEGERS) || graph.nodes().iter().any(is_rounded) {
            return Ok(Cow::Borrowed(graph));
        }
        let fail = |source: GraphError| PipelineError::Model {
            model: self.model.clone(),
            source,
        };
        let folded = fold_batch_norm(graph).map_err(fail)?;
        let ranges = match ranges {
            Ranges::Observed => {
                activation_ranges(&folded, self.images.batches(), RangeMethod::default())?
            }
            Ranges::OfOriginal => {
                let known = self.parts.ranges.iter();
                known
                    .filter_map(|(name, &range)| Some((folded.find_value(name)?, range)))
                    .collect()
            }
        };
        let form = self.parts.form(&folded, entries, ranges).map_err(fail)?;
        Ok(Cow::Owned(form))
    }

    /// The mean of the embeddings of the groups of each part.
    pub fn embeddings(&self, groups: &[Vec<f32>]) -> Vec<Vec<f32>> {
        let size = groups.first().map_or(0, Vec::len);
        let mean = |part: &Vec<usize>| {
            let mut mean = vec![0.0; size];
            for &group in part {
                for (sum, x) in mean.iter_mut().zip(&groups[group]) {
                    *sum += x / part.len() as f32;
                }
            }
            mean
        };
        self.groups.iter().map(mean).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use onnx_graph::quantize::{Role, regions, role};
    use onnx_graph::{Tensor, deploy};

    fn network() -> Graph {
        model_zoo::build("resnet20", &model_zoo::ZooConfig::default()).unwrap()
    }

    /// Two parts of open precision.
    fn halves(graph: &Graph) -> OpenPrecision {
        let folded = fold_batch_norm(graph).unwrap();
        let name = |&id: &_| folded.node(id).name.clone();
        let parts = regions(&folded, 2);
        let open: Vec<BTreeSet<String>> = parts
            .iter()
            .map(|part| part.iter().map(name).collect())
            .collect();
        assert_eq!(open.len(), 2);
        let pixels: Vec<f32> = (0..4 * 3 * 32 * 32)
            .map(|i| (i % 17) as f32 / 8.0 - 1.0)
            .collect();
        let images = torch_exec::Tensor::from_slice(&pixels).reshape([4, 3, 32, 32]);
        let images = Calibration::from(vec![images]);
        let observed = activation_ranges(&folded, images.batches(), RangeMethod::default());
        let observed = observed.unwrap().into_iter();
        OpenPrecision {
            parts: Parts {
                scheme: Scheme::default(),
                open,
                ranges: observed
                    .map(|(id, range)| (folded.value(id).name.clone(), range))
                    .collect(),
                losses: vec![2.0, 3.0],
            },
            images,
            model: "resnet20".into(),
            groups: vec![vec![0, 1], vec![2]],
        }
    }

    /// The names of the layers whose weights are integers.
    fn in_integers(graph: &Graph) -> BTreeSet<String> {
        let stored = |node: &&onnx_graph::Node| {
            let weights = graph.constant_input(node, 1);
            weights.is_some_and(|weights| Tensor::stored(weights).is_some())
        };
        let layers = graph.nodes().iter().filter(stored);
        layers.map(|node| node.name.clone()).collect()
    }

    #[test]
    fn exactly_the_layers_of_the_selected_parts_are_in_integers() {
        let graph = network();
        let open = halves(&graph);
        let folded = fold_batch_norm(&graph).unwrap();
        let is_layer =
            |node: &&onnx_graph::Node| role(&folded, node, &Scheme::default()) == Some(Role::Layer);
        let layers = folded.nodes().iter().filter(is_layer);
        let layers: Vec<&String> = layers.map(|node| &node.name).collect();
        for ranges in [Ranges::OfOriginal, Ranges::Observed] {
            for entries in [
                [IN_FLOATS, IN_FLOATS],
                [IN_INTEGERS, IN_FLOATS],
                [IN_FLOATS, IN_INTEGERS],
                [IN_INTEGERS, IN_INTEGERS],
            ] {
                let mixed = open.apply(&graph, &entries, ranges).unwrap();
                let expected = layers.iter().filter(|name| {
                    let part = open
                        .parts
                        .open
                        .iter()
                        .position(|part| part.contains(**name));
                    entries[part.unwrap()] == IN_INTEGERS
                });
                let expected: BTreeSet<String> = expected.map(|name| (*name).clone()).collect();
                assert_eq!(in_integers(&mixed), expected, "{entries:?}");
                deploy(&mixed, None).unwrap();
            }
        }
    }

    #[test]
    fn a_part_lies_where_its_groups_do_and_costs_what_its_integers_lose() {
        let open = halves(&network());
        let of_groups = [vec![1.0, 4.0], vec![3.0, 0.0], vec![5.0, 6.0]];
        assert_eq!(open.embeddings(&of_groups), [[2.0, 2.0], [5.0, 6.0]]);
        let axes = open.parts.axes();
        assert_eq!(axes.len(), 2);
        assert_eq!(open.parts.losses(), [[2.0, 0.0], [3.0, 0.0]]);
        assert_eq!(open.parts.words(&[IN_FLOATS; 2]), "all in floats");
        assert_eq!(
            open.parts.words(&[IN_INTEGERS, IN_FLOATS]),
            "parts 1 of 2 in integers"
        );
        assert_eq!(
            open.parts.words(&[IN_INTEGERS; 2]),
            "all open parts in integers"
        );
    }

    #[test]
    fn parts_are_recorded_and_read_back() {
        let parts = halves(&network()).parts;
        let text = serde_json::to_string(&parts).unwrap();
        let read: Parts = serde_json::from_str(&text).unwrap();
        assert_eq!((read.scheme, read.open), (parts.scheme, parts.open));
        assert_eq!((read.ranges, read.losses), (parts.ranges, parts.losses));
    }
}
