//! Loading a network from an ONNX file or from the zoo.

use std::fs;
use std::path::Path;

use channels::{Analysis, AnalysisOptions};
use datasets::TensorSpec;
use onnx_graph::ops::Op;
use onnx_graph::{DType, Graph, GraphError, InputSize, NoExternalData, ValueId};
use sha2::{Digest as _, Sha256};

use crate::config::{ModelSource, ModelSpec, TrainingMode};
use crate::error::PipelineError;
use crate::missing::all_counted;

/// A network that can be pruned.
#[derive(Debug, Clone)]
pub struct LoadedModel {
    /// File name or zoo name.
    pub name: String,
    /// The network.
    pub graph: Graph,
    /// Its groups.
    pub analysis: Analysis,
    /// Whether its weights are trained (it came from a file) or only initialised (from the zoo).
    pub trained: bool,
    /// SHA-256 of the file, or of the exported zoo network.
    pub sha256: String,
    /// Its inputs, for one sample.
    pub inputs: Vec<TensorSpec>,
    /// Channels, height and width of the input image. Of other inputs `[1, 1, n]`, with `n` numbers
    /// for a sample.
    pub input: [usize; 3],
    /// Number of classes of a classifier: the last size of the first output, 0 if it is open.
    pub classes: usize,
    /// Bytes of the file, or of the exported zoo network.
    pub bytes: u64,
    /// Images of a batch, where the file fixes them. The graph's batch is open.
    pub batch: Option<usize>,
    /// Why the graph's batch is fixed, as in the file.
    pub unopened: Option<String>,
}

impl LoadedModel {
    /// Refuses a network that is no classifier of images.
    ///
    /// # Errors
    /// [`PipelineError::UnfitModel`] with what is missing.
    pub(crate) fn check_classifier(&self) -> Result<(), PipelineError> {
        let reason = match &self.inputs[..] {
            [_] if self.graph.channel_axis(self.graph.inputs()[0]) != 1 => String::from(
                "its input has the channels last (batch, height, width, channels); export it with the channels first, as \
                 PyTorch does (tf2onnx: --inputs-as-nchw)",
            ),
            [input] if input.dims.len() != 3 || input.integers => String::from(
                "its input is not an image of known size (batch, channels, height, width)",
            ),
            [_] if self.classes == 0 => String::from(
                "the size of its output is not known, so neither is the number of classes",
            ),
            [_] => return Ok(()),
            inputs => format!(
                "has {} inputs and {} outputs; a classifier with one image input is needed",
                inputs.len(),
                self.graph.outputs().len()
            ),
        };
        Err(PipelineError::UnfitModel {
            model: self.name.clone(),
            reason,
        })
    }

    /// Refuses a network that takes one number of samples only.
    ///
    /// # Errors
    /// [`PipelineError::UnfitModel`] with what fixes it.
    pub(crate) fn check_open(&self) -> Result<(), PipelineError> {
        match &self.unopened {
            None => Ok(()),
            Some(reason) => Err(PipelineError::UnfitModel {
                model: self.name.clone(),
                reason: reason.clone(),
            }),
        }
    }

    /// Refuses a network with nodes in training mode, unless `mode` takes them as they are at
    /// inference.
    ///
    /// # Errors
    /// [`PipelineError::UnfitModel`] naming the nodes.
    pub(crate) fn accept_training(&self, mode: TrainingMode) -> Result<(), PipelineError> {
        match training_nodes(&self.graph) {
            Some(nodes) if mode == TrainingMode::Refuse => Err(PipelineError::UnfitModel {
                model: self.name.clone(),
                reason: format!(
                    "{nodes}: outputs then depend on the other images of a batch or on chance. Export it in evaluation mode \
                     (model.eval() in PyTorch), or prune it as it is at inference: --training-mode inference \
                     (training_mode = \"inference\" in the configuration)"
                ),
            }),
            _ => Ok(()),
        }
    }

    /// A warning about nodes that were converted to inference mode.
    pub(crate) fn training_warning(&self) -> Option<String> {
        let nodes = training_nodes(&self.graph)?;
        Some(format!(
            "{nodes} in the given file. All networks of this run, the original too, have them in inference mode: their \
             outputs are not those of the file."
        ))
    }
}

/// Refuses a network with nodes in training mode: its figures would be those of another network
/// than the file's.
///
/// # Errors
/// [`PipelineError::UnfitModel`] naming the nodes.
pub(crate) fn refuse_training(graph: &Graph, model: &str) -> Result<(), PipelineError> {
    match training_nodes(graph) {
        None => Ok(()),
        Some(nodes) => Err(PipelineError::UnfitModel {
            model: model.to_owned(),
            reason: format!(
                "{nodes}, and would be treated as at inference. Export it in evaluation mode (model.eval() in PyTorch)"
            ),
        }),
    }
}

/// What to do with a network whose first axis is another one than the batch.
const NO_BATCH: &str = "that axis is no batch: export the network with an open batch that is called so (torch.onnx.export: \
                        dynamic_axes={'x': {1: 'batch'}}), or with the batch first";

/// The most nodes that a message names.
const NAMED: usize = 5;

/// The nodes in training mode, in words; `None` without any.
pub(crate) fn training_nodes(graph: &Graph) -> Option<String> {
    let all = graph.training();
    let named: Vec<String> = all
        .iter()
        .take(NAMED)
        .map(|name| format!("'{name}'"))
        .collect();
    let more = match all.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let (count, are) = match all.len() {
        0 => return None,
        1 => (String::from("1 node"), "is"),
        n => (format!("{n} nodes"), "are"),
    };
    Some(format!(
        "{count} ({}{more}) {are} in training mode",
        named.join(", ")
    ))
}

/// Reads an ONNX file, with external tensors from its own folder only.
///
/// # Errors
/// [`PipelineError::Io`] or [`PipelineError::Model`] naming the file.
pub fn read_model_file(path: &Path) -> Result<Graph, PipelineError> {
    read_sized_model(path, &[])
}

/// Reads the ONNX file that `spec` names, with the sizes that it has for inputs left open.
pub(crate) fn read_spec(spec: &ModelSpec) -> Result<Graph, PipelineError> {
    read_sized_model(Path::new(spec.name()), &spec.input_sizes)
}

/// Reads an ONNX file with these sizes for inputs left open; a size that names none of its inputs
/// is an error.
pub(crate) fn read_sized_model(path: &Path, sizes: &[InputSize]) -> Result<Graph, PipelineError> {
    is_known(path)?;
    let bytes = fs::read(path).map_err(|e| PipelineError::io(path, "read the model", e))?;
    read_model_bytes(path, bytes, sizes)
}

/// Refuses a name that is neither a file nor looks like one, with the names of the zoo.
fn is_known(path: &Path) -> Result<(), PipelineError> {
    if path.exists() || path.extension().is_some() {
        return Ok(());
    }
    let known: Vec<_> = model_zoo::names().iter().map(|n| n.name).collect();
    Err(PipelineError::UnfitModel {
        model: path.display().to_string(),
        reason: format!(
            "neither a file nor a network of the zoo; the zoo has {}",
            known.join(", ")
        ),
    })
}

/// Reads the bytes of an ONNX file; `path` is where its external tensors are.
pub(crate) fn read_model_bytes(
    path: &Path,
    bytes: Vec<u8>,
    sizes: &[InputSize],
) -> Result<Graph, PipelineError> {
    let bytes = latency::self_contained(path, bytes, u64::MAX)?;
    let fail = |source| PipelineError::Model {
        model: path.display().to_string(),
        source,
    };
    let mut graph = onnx_graph::read_sized(bytes, &NoExternalData, sizes).map_err(fail)?;
    graph.infer_shapes().map_err(fail)?;
    Ok(graph)
}

/// Loads the classifier `spec` names. A zoo network is built for `classes` classes and images of
/// `input` (channels, height, width), initialised from `seed`. Its channels are grouped as
/// `groups` says.
///
/// # Errors
/// When the file cannot be read, is not a model, or does not look like an image classifier.
pub fn load_model(
    spec: &ModelSpec,
    classes: usize,
    input: [usize; 3],
    seed: u64,
    groups: AnalysisOptions,
) -> Result<LoadedModel, PipelineError> {
    let model = load_network(spec, classes, input, seed, groups)?;
    model.check_open()?;
    model.check_classifier()?;
    Ok(model)
}

/// Loads the network `spec` names, whatever it is for.
///
/// # Errors
/// When the file cannot be read, is not a model, or leaves sizes of inputs open.
pub(crate) fn load_network(
    spec: &ModelSpec,
    classes: usize,
    input: [usize; 3],
    seed: u64,
    groups: AnalysisOptions,
) -> Result<LoadedModel, PipelineError> {
    let (name, graph, trained, (sha256, bytes)) = match spec.source() {
        ModelSource::Zoo(zoo) => {
            let config = model_zoo::ZooConfig {
                classes,
                input,
                seed,
                ..model_zoo::ZooConfig::default()
            };
            let graph = model_zoo::build(zoo, &config)?;
            let fail = |source| PipelineError::Model {
                model: zoo.clone(),
                source,
            };
            graph
                .check_input_sizes(&spec.input_sizes)
                .map_err(|e| fail(e.into()))?;
            let bytes = onnx_graph::write(&graph).map_err(fail)?;
            let digest = (hex_sha256(&bytes), bytes.len() as u64);
            (zoo.to_owned(), graph, false, digest)
        }
        ModelSource::File(path) => {
            is_known(path)?;
            let bytes = fs::read(path).map_err(|e| PipelineError::io(path, "read the model", e))?;
            let digest = (hex_sha256(&bytes), bytes.len() as u64);
            let graph = read_model_bytes(path, bytes, &spec.input_sizes)?;
            let stem = path.file_stem().map(|s| s.to_string_lossy().into_owned());
            let name = stem.unwrap_or_else(|| spec.name().to_owned());
            (name, graph, true, digest)
        }
    };
    let unfit = |reason: String| PipelineError::UnfitModel {
        model: spec.name().to_owned(),
        reason,
    };
    if graph.inputs().is_empty() || graph.outputs().is_empty() {
        let (inputs, outputs) = (graph.inputs().len(), graph.outputs().len());
        return Err(unfit(format!("has {inputs} inputs and {outputs} outputs")));
    }
    let fixed = graph.batch().and_then(|batch| batch.known());
    let (graph, batch, unopened) = match graph.clone().with_open_batch("N") {
        Ok((graph, batch)) => (graph, batch, None),
        Err(e @ GraphError::AlongBatch { .. }) => {
            return Err(unfit(format!("{e}; {NO_BATCH}")));
        }
        Err(e) => {
            let reason = format!(
                "{e}; export it with an open batch (torch.onnx.export: dynamic_axes={{'input': {{0: 'N'}}}}, or \
                 dynamic_shapes with dynamo=True)"
            );
            (graph, fixed, Some(reason))
        }
    };
    if let Some(node) = graph.steps_along_batch() {
        let (node, op) = (&node.name, node.op.name());
        return Err(unfit(format!(
            "'{node}' ({op}) steps along the first axis of the inputs; {NO_BATCH}"
        )));
    }
    all_counted(&graph, &name, "pruning")?;
    let inputs = graph.inputs().iter().map(|&id| {
        let spec = tensor_spec(&graph, id);
        spec.ok_or_else(|| {
            let name = &graph.value(id).name;
            unfit(format!(
                "sizes of its input '{name}' are open; fix them with --input-size {name}=1x..."
            ))
        })
    });
    let inputs: Vec<TensorSpec> = inputs.collect::<Result<_, _>>()?;
    let input = match (&inputs[..], graph.input_image()) {
        ([_], Some((c, h, w))) => [c, h, w],
        (all, _) => [1, 1, all.iter().map(TensorSpec::size).sum()],
    };
    let first = graph.value(graph.outputs()[0]).shape.as_ref();
    let classes = first.and_then(|shape| shape.last()?.known()).unwrap_or(0);
    let analysis = channels::analyse_with(&graph, groups)?;
    Ok(LoadedModel {
        name,
        graph,
        analysis,
        trained,
        sha256,
        bytes,
        inputs,
        input,
        classes,
        batch,
        unopened,
    })
}

/// An input or an output for one sample; `None` if a size behind the batch is open.
pub(crate) fn tensor_spec(graph: &Graph, id: ValueId) -> Option<TensorSpec> {
    let value = graph.value(id);
    let dims = graph.sample_shape(id)?;
    Some(TensorSpec {
        name: value.name.clone(),
        dims: dims.iter().map(|dim| dim.known()).collect::<Option<_>>()?,
        integers: value.dtype.is_some_and(|dtype| dtype != DType::F32),
    })
}

/// Whether some convolution has no batch normalisation after it: such a network trains badly.
pub(crate) fn lacks_batch_norm(graph: &Graph) -> bool {
    let consumers = graph.consumers();
    graph.nodes().iter().any(|node| {
        matches!(node.op, Op::Conv(_))
            && !consumers[node.output().index()]
                .iter()
                .any(|&r| matches!(graph.node(r).op, Op::BatchNormalization(_)))
    })
}

/// Whether the network has a batch normalisation.
pub(crate) fn has_batch_norm(graph: &Graph) -> bool {
    let is_norm = |node: &onnx_graph::Node| matches!(node.op, Op::BatchNormalization(_));
    graph.nodes().iter().any(is_norm)
}

pub(crate) fn hex_sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}
