//! The gaps in a network's costs, with advice.

use onnx_graph::cost::{Costs, costs};
use onnx_graph::{Dim, Graph, NodeId};
use serde::Serialize;

use crate::error::PipelineError;

/// The gaps in a network's costs, as nodes with their operators.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// Inputs with open sizes beside the batch, each with the option that gives its size. Only
    /// parameters are counted then.
    pub open_inputs: Vec<OpenInput>,
    /// Layers whose multiply-accumulates are not counted.
    pub macs: Vec<String>,
    /// Nodes whose outputs' bytes are not counted.
    pub activations: Vec<String>,
    /// Nodes that may hold parameters inside, which are not counted.
    pub parameters: Vec<String>,
    /// The first nodes with outputs of unknown size.
    pub origins: Vec<String>,
}

/// An input that leaves sizes open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OpenInput {
    /// Its name.
    pub name: String,
    /// Its shape, if it is stated.
    pub shape: Option<Vec<String>>,
}

impl OpenInput {
    /// The option that gives its size, with a placeholder for each open one.
    fn option(&self) -> String {
        let sizes = match &self.shape {
            Some(shape) => shape.iter().enumerate().map(|(axis, dim)| {
                match (axis, shape.len(), dim.parse::<usize>()) {
                    (_, _, Ok(size)) => size.to_string(),
                    (0, ..) => "1".into(),
                    (2, 4, _) => "HEIGHT".into(),
                    (3, 4, _) => "WIDTH".into(),
                    _ => "SIZE".into(),
                }
            }),
            None => return format!("--input-size {}=1x3xHEIGHTxWIDTH", self.name),
        };
        format!(
            "--input-size {}={}",
            self.name,
            sizes.collect::<Vec<_>>().join("x")
        )
    }
}

/// The most nodes that a message names.
const NAMED: usize = 3;

fn listed(nodes: &[String]) -> String {
    let first = nodes
        .iter()
        .take(NAMED)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    match nodes.len().saturating_sub(NAMED) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

impl Missing {
    /// The gaps in the costs of a network.
    #[must_use]
    pub fn of(graph: &Graph, costs: &Costs) -> Self {
        let named = |ids: &[NodeId]| {
            let nodes = ids.iter().map(|&id| graph.node(id));
            nodes
                .map(|n| format!("{} ({})", n.name, n.op.name()))
                .collect()
        };
        let open = graph.open_inputs().into_iter().map(|id| {
            let value = graph.value(id);
            let shape = value.shape.as_ref();
            OpenInput {
                name: value.name.clone(),
                shape: shape.map(|dims| dims.iter().map(Dim::to_string).collect()),
            }
        });
        Self {
            open_inputs: open.collect(),
            macs: named(&costs.uncounted),
            activations: named(&costs.unsized_nodes),
            parameters: named(&costs.hidden),
            origins: named(&costs.origins),
        }
    }

    /// Whether the multiply-accumulates of all layers are known.
    #[must_use]
    pub fn knows_macs(&self) -> bool {
        self.open_inputs.is_empty() && self.macs.is_empty()
    }

    /// Which inputs leave sizes open, and the options that give them.
    #[must_use]
    pub fn open(&self) -> Option<String> {
        if self.open_inputs.is_empty() {
            return None;
        }
        let each = self.open_inputs.iter().map(|input| match &input.shape {
            Some(shape) => format!("'{}' [{}]", input.name, shape.join(", ")),
            None => format!("'{}'", input.name),
        });
        let options = self.open_inputs.iter().map(OpenInput::option);
        Some(format!(
            "the model leaves sizes of its input {} open; give them: {}",
            each.collect::<Vec<_>>().join(" and "),
            options.collect::<Vec<_>>().join(" ")
        ))
    }

    /// Which layers are not counted, and why; `None` where all are.
    #[must_use]
    pub fn macs_text(&self) -> Option<String> {
        if let Some(open) = self.open() {
            return Some(open);
        }
        let layers = match self.macs.len() {
            0 => return None,
            1 => "1 layer is not counted".to_owned(),
            more => format!("{more} layers are not counted"),
        };
        let why = if self.origins.is_empty() {
            "what it multiplies follows no rule that this program has; export the model with operators of ONNX in its place"
                .to_owned()
        } else {
            format!(
                "the sizes behind {} are not known; export the model with fixed shapes, or with another operator there",
                listed(&self.origins)
            )
        };
        Some(format!("{layers}: {}; {why}", listed(&self.macs)))
    }

    /// The gaps in the bytes of activations.
    #[must_use]
    pub fn activations_text(&self) -> Option<String> {
        let nodes = (!self.activations.is_empty()).then(|| listed(&self.activations))?;
        Some(format!(
            "the outputs of these nodes are not counted: {nodes}"
        ))
    }

    /// The gaps in the number of parameters.
    #[must_use]
    pub fn parameters_text(&self) -> Option<String> {
        let nodes = (!self.parameters.is_empty()).then(|| listed(&self.parameters))?;
        Some(format!("what is inside of {nodes} is not counted"))
    }
}

/// Refuses the operation `what` for a network with unknown multiply-accumulates.
pub(crate) fn all_counted(
    graph: &Graph,
    model: &str,
    what: &'static str,
) -> Result<(), PipelineError> {
    match Missing::of(graph, &costs(graph)).macs_text() {
        None => Ok(()),
        Some(reason) => Err(PipelineError::Uncounted {
            model: model.to_owned(),
            what,
            reason,
        }),
    }
}

#[cfg(test)]
mod tests {
    use onnx_graph::ops::{Conv, Opaque};
    use onnx_graph::{DType, InputSize, Tensor};

    use super::*;
    use crate::{AnalysisOptions, ModelSpec, inspect_model, load_model};

    /// An operator without a rule, where one is named, then two convolutions over an image.
    fn network(size: &str, unknown: Option<&str>) -> Graph {
        let mut graph = Graph::new("g", 17);
        let dim = |d: &str| d.parse().map_or_else(|_| Dim::Symbol(d.into()), Dim::Known);
        let shape = ["N", "3", size, size].map(dim).to_vec();
        let mut x = graph.add_input("image", DType::F32, shape);
        if let Some(op_type) = unknown {
            let op = Opaque {
                domain: "my.domain".into(),
                op_type: op_type.into(),
                ..Opaque::default()
            };
            x = graph.push("odd", op.into(), &[x]).unwrap();
        }
        for (name, from, to) in [("first", 3, 8), ("second", 8, 4)] {
            let conv = Conv {
                kernel: vec![1, 1],
                strides: vec![1, 1],
                pads: vec![0; 4],
                dilations: vec![1, 1],
                group: 1,
            };
            let w = Tensor::f32([to, from, 1, 1], vec![0.5; to * from]).unwrap();
            let w = graph.add_constant(&format!("{name}_w"), w);
            x = graph.push(name, conv.into(), &[x, w]).unwrap();
        }
        graph.add_output(x);
        graph
    }

    fn file(dir: &tempfile::TempDir, graph: &Graph) -> ModelSpec {
        let path = dir.path().join("net.onnx");
        std::fs::write(&path, onnx_graph::write(graph).unwrap()).unwrap();
        ModelSpec::new(path.display().to_string())
    }

    #[test]
    fn open_sizes_are_no_figure_until_they_are_given() {
        let dir = tempfile::tempdir().unwrap();
        let mut spec = file(&dir, &network("SIDE", None));
        let look = |spec: &ModelSpec| {
            inspect_model(spec, 0, [0; 3], (AnalysisOptions::default(), None)).unwrap()
        };
        let found = look(&spec);
        assert_eq!((found.macs, found.activation_bytes), (None, None));
        assert!(!found.groups.is_empty() && found.parameters > 0);
        let open =
            "input 'image' [N, 3, SIDE, SIDE] open; give them: --input-size image=1x3xHEIGHTxWIDTH";
        assert!(found.missing.macs_text().unwrap().contains(open));
        let refused = load_model(&spec, 0, [0; 3], 0, AnalysisOptions::default());
        let error = refused.unwrap_err().to_string();
        assert!(error.contains(open), "{error}");

        spec.input_sizes = vec!["1x3x6x4".parse::<InputSize>().unwrap()];
        let found = look(&spec);
        assert_eq!(found.macs, Some(24 * (3 * 8 + 8 * 4)));
        assert!(found.missing.knows_macs());
        spec.input_sizes = vec!["1x1x6x4".parse::<InputSize>().unwrap()];
        let error =
            inspect_model(&spec, 0, [0; 3], (AnalysisOptions::default(), None)).unwrap_err();
        assert!(error.is_usage(), "{error}");
    }

    #[test]
    fn layers_behind_an_unknown_operator_are_named_and_refused() {
        let graph = network("6", Some("Odd"));
        let missing = Missing::of(&graph, &costs(&graph));
        let text = missing.macs_text().unwrap();
        assert_eq!(
            text,
            "3 layers are not counted: odd (Odd), first (Conv), second (Conv); the sizes behind odd (Odd) are not known; \
             export the model with fixed shapes, or with another operator there"
        );
        let error = all_counted(&graph, "net.onnx", "a prediction").unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with("model 'net.onnx': a prediction needs the cost of every layer: 3"),
            "{text}"
        );
        assert!(all_counted(&network("6", None), "net.onnx", "a prediction").is_ok());
    }
}
