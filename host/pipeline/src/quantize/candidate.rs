//! Forms of a network in integers.

use std::collections::{BTreeMap, BTreeSet};

use latency::Model;
use onnx_graph::quantize::{Quantize, Role, Scheme, quantize, regions, role};
use onnx_graph::{Graph, NodeId, ValueId, deploy};
use torch_exec::{RangeMethod, activation_ranges};
use train::Calibration;

use crate::error::PipelineError;

/// Images per batch of calibration and comparison.
pub(super) const BATCH: usize = 100;

/// The network in floats, and what is known of it.
pub(crate) struct Subject {
    pub name: String,
    /// With its normalisations folded and an open batch.
    pub graph: Graph,
    pub batch: Option<usize>,
    pub ranges: BTreeMap<ValueId, (f32, f32)>,
    /// Parts that can stay in floats, in the order of the network.
    pub regions: Vec<BTreeSet<NodeId>>,
}

/// What is in integers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Form {
    pub scheme: Scheme,
    /// Operators that stay in floats.
    pub float: BTreeSet<NodeId>,
    /// The parts in floats, in words.
    pub left: Vec<String>,
}

/// A form as a network.
pub(crate) struct Built {
    pub graph: Graph,
    pub model: Model,
    pub bytes: Vec<u8>,
}

/// The schemes that runtimes have kernels for. Which of them is fast depends on the processor:
/// unsigned activations on x86, signed ones on Arm. `bits` are those of weights that are multiplied
/// with unsigned activations.
pub(super) fn schemes(bits: u8) -> [Scheme; 4] {
    let usual = Scheme {
        weight_bits: bits,
        ..Scheme::default()
    };
    [
        usual,
        Scheme {
            signed: true,
            ..Scheme::default()
        },
        Scheme {
            per_channel: false,
            ..usual
        },
        Scheme {
            layers_only: true,
            ..usual
        },
    ]
}

impl Form {
    pub fn new(scheme: Scheme) -> Self {
        Self {
            scheme,
            float: BTreeSet::new(),
            left: Vec::new(),
        }
    }

    /// In words, such as `u8 activations, 8-bit weights per channel; layer 'conv1' in floats`.
    pub fn name(&self) -> String {
        let Scheme {
            signed,
            per_channel,
            weight_bits,
            layers_only,
        } = self.scheme;
        let mut name = format!(
            "{} activations, {weight_bits}-bit weights per {}",
            if signed { "i8" } else { "u8" },
            if per_channel { "channel" } else { "tensor" }
        );
        if layers_only {
            name.push_str(", layers only");
        }
        if !self.left.is_empty() {
            name.push_str(&format!("; {} in floats", self.left.join(" and ")));
        }
        name
    }

    /// The same with a further part in floats.
    pub fn without(&self, part: &Part) -> Self {
        let mut form = self.clone();
        form.float.extend(&part.nodes);
        form.left.push(part.name.clone());
        form
    }
}

/// A part of the network that may stay in floats.
pub(crate) struct Part {
    pub name: String,
    pub nodes: BTreeSet<NodeId>,
}

impl Subject {
    /// The first and the last layer, and the regions between conversions.
    pub fn parts(&self) -> Vec<Part> {
        let scheme = Scheme::default();
        let layers = self.graph.iter();
        let layers: Vec<NodeId> = layers
            .filter(|(_, node)| role(&self.graph, node, &scheme) == Some(Role::Layer))
            .map(|(id, _)| id)
            .collect();
        let mut parts = Vec::new();
        let ends = [layers.last(), layers.first()];
        let ends: BTreeSet<NodeId> = ends.into_iter().flatten().copied().collect();
        for &id in ends.iter().rev() {
            parts.push(Part {
                name: format!("layer '{}'", self.graph.node(id).name),
                nodes: [id].into(),
            });
        }
        let all = self.regions.len();
        // One region is the whole network.
        let regions = self.regions.iter().enumerate().filter(|_| all > 1);
        parts.extend(regions.map(|(i, nodes)| Part {
            name: format!("part {} of {all}", i + 1),
            nodes: nodes.clone(),
        }));
        parts
    }

    pub fn build(&self, form: &Form) -> Result<Built, PipelineError> {
        let fail = |source| PipelineError::Model {
            model: self.name.clone(),
            source,
        };
        let options = Quantize {
            scheme: form.scheme,
            ranges: self.ranges.clone(),
            float: form.float.clone(),
        };
        let graph = quantize(&self.graph, &options).map_err(fail)?;
        let deployed = deploy(&graph, self.batch).map_err(fail)?;
        Ok(Built {
            graph,
            model: Model::new(form.name(), &deployed.bytes[..]),
            bytes: deployed.bytes,
        })
    }

    /// A network with folded normalisations and an open batch, given with its name and the batch of
    /// its file, and the ranges of its activations on images.
    pub fn observe(
        (name, graph, batch): (&str, Graph, Option<usize>),
        images: &Calibration,
        method: RangeMethod,
    ) -> Result<Self, PipelineError> {
        Ok(Self {
            name: name.to_owned(),
            ranges: activation_ranges(&graph, images.batches(), method)?,
            graph,
            batch,
            regions: Vec::new(),
        })
    }

    pub fn with_regions(mut self, most: usize) -> Self {
        self.regions = regions(&self.graph, most);
        self
    }
}
