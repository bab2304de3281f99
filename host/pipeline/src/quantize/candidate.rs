//! Forms of a network in numbers of fewer bits.

use std::collections::{BTreeMap, BTreeSet};

use latency::Model;
use onnx_graph::quantize::{Quantize, Role, Scheme, quantize, regions, role};
use onnx_graph::{Graph, NodeId, ValueId, deploy, in_halves};
use torch_exec::{RangeMethod, activation_ranges};
use train::Calibration;

use crate::error::PipelineError;
use crate::on_device::compared;

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

/// The numbers of a form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Form {
    /// 8-bit integers, as far as these say.
    Integers(Integers),
    /// Floats of 16 bits.
    Halves,
}

/// What is in integers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Integers {
    pub scheme: Scheme,
    /// Operators that stay in floats.
    pub float: BTreeSet<NodeId>,
    /// Bits of the weights of single layers.
    pub bits: BTreeMap<NodeId, u8>,
    /// The parts in floats, in words.
    pub left: Vec<String>,
}

/// The bits of weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WeightBits {
    /// Of those that are multiplied with unsigned activations.
    pub layers: u8,
    /// Of those that are multiplied with signed ones.
    pub signed: u8,
    /// Of the first and the last layer, where others have fewer: they are small and sensitive.
    pub ends: u8,
}

impl WeightBits {
    /// At most `limit` bits, where the device adds products with `exact` bits exactly.
    pub fn limited(exact: u8, limit: Option<u8>) -> Self {
        let limit = limit.unwrap_or(8);
        Self {
            layers: exact.min(limit),
            signed: limit.min(8),
            ends: exact,
        }
    }
}

/// A form as a network.
pub(crate) struct Built {
    pub graph: Graph,
    pub model: Model,
    /// The file by which it is compared; see [`compared`].
    pub compared: Model,
    pub bytes: Vec<u8>,
}

/// The schemes that runtimes have kernels for. Which of them is fast depends on the processor:
/// unsigned activations on x86, signed ones on Arm.
fn schemes(bits: WeightBits) -> [Scheme; 4] {
    let usual = Scheme {
        weight_bits: bits.layers,
        ..Scheme::default()
    };
    [
        usual,
        Scheme {
            signed: true,
            weight_bits: bits.signed,
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
    /// All of a network in integers, as boards compute.
    pub fn whole() -> Self {
        Self::Integers(Integers::new(Scheme::default()))
    }

    /// In words.
    pub fn name(&self) -> String {
        match self {
            Self::Integers(integers) => integers.name(),
            Self::Halves => "16-bit floats".into(),
        }
    }
}

impl Integers {
    pub fn new(scheme: Scheme) -> Self {
        Self {
            scheme,
            float: BTreeSet::new(),
            bits: BTreeMap::new(),
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
        if let Some(bits) = self.bits.values().next() {
            name.push_str(&format!(" ({bits} at the ends)"));
        }
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
    /// The first and the last layer.
    pub fn ends(&self) -> BTreeSet<NodeId> {
        let scheme = Scheme::default();
        let layers = self.graph.iter();
        let mut layers = layers
            .filter(|(_, node)| role(&self.graph, node, &scheme) == Some(Role::Layer))
            .map(|(id, _)| id);
        let first = layers.next();
        first.into_iter().chain(layers.next_back()).collect()
    }

    /// The forms that are tried first, with weights of these bits.
    pub fn forms(&self, bits: WeightBits) -> Vec<Integers> {
        let ends = self.ends().into_iter().map(|id| (id, bits.ends));
        let ends: BTreeMap<NodeId, u8> = match bits.layers < bits.ends {
            true => ends.collect(),
            false => BTreeMap::new(),
        };
        let schemes = schemes(bits).into_iter();
        let forms = schemes.map(|scheme| Integers {
            bits: ends.clone(),
            ..Integers::new(scheme)
        });
        forms.collect()
    }

    /// The first and the last layer, and the regions between conversions.
    pub fn parts(&self) -> Vec<Part> {
        let mut parts = Vec::new();
        for &id in self.ends().iter().rev() {
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
        let form = match form {
            Form::Integers(integers) => integers,
            Form::Halves => return self.halves(form.name()),
        };
        let options = Quantize {
            scheme: form.scheme,
            ranges: self.ranges.clone(),
            float: form.float.clone(),
            bits: form.bits.clone(),
        };
        let graph = quantize(&self.graph, &options).map_err(fail)?;
        self.built(form.name(), graph)
    }

    /// The network in 16-bit floats.
    fn halves(&self, name: String) -> Result<Built, PipelineError> {
        let fail = |source| PipelineError::Model {
            model: self.name.clone(),
            source,
        };
        let graph = self.graph.rounded_to_halves().map_err(fail)?;
        let deployed = deploy(&graph, self.batch).map_err(fail)?;
        let bytes = in_halves(&deployed.bytes).map_err(fail)?;
        let model = Model::new(name, &bytes[..]);
        let file = |graph: &Graph| in_halves(&deploy(graph, self.batch)?.bytes);
        Ok(Built {
            compared: compared(&graph, &model, file).map_err(fail)?,
            graph,
            model,
            bytes,
        })
    }

    /// A form of the network under a name.
    pub fn built(&self, name: String, graph: Graph) -> Result<Built, PipelineError> {
        let fail = |source| PipelineError::Model {
            model: self.name.clone(),
            source,
        };
        let file = |graph: &Graph| Ok(deploy(graph, self.batch)?.bytes);
        let bytes = file(&graph).map_err(fail)?;
        let model = Model::new(name, &bytes[..]);
        Ok(Built {
            compared: compared(&graph, &model, file).map_err(fail)?,
            graph,
            model,
            bytes,
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
