//! Walking a network from its input to its output.

use std::collections::HashMap;

use onnx_graph::ops::{Op, Quantization};
use onnx_graph::{DType, Graph, Node, ValueId};

use crate::error::LowerError;
use crate::layer::Ending;
use crate::lowered::{Footprint, Lowered, Port};
use crate::ops;
use crate::program::Program;
use crate::state::{Pending, State, Work};
use crate::value::{Integers, Quantity, image, tensor};

/// Makes a plan of a quantised network for one image.
///
/// # Errors
/// The node, input or output that the boards' operators do not cover.
pub fn lower(graph: &Graph) -> Result<Lowered, LowerError> {
    if !has_integers(graph) {
        return Err(LowerError::Floats);
    }
    let one;
    let graph = if graph.batch().and_then(onnx_graph::Dim::known) == Some(1) {
        graph
    } else {
        one = single(graph)?;
        &one
    };
    let mut walk = Walk {
        graph,
        program: Program::default(),
        states: HashMap::new(),
        input: None,
    };
    let &[input] = graph.inputs() else {
        return Err(end(graph, "input", "it has to be the only one"));
    };
    walk.states.insert(input, State::Image);
    for node in graph.nodes() {
        let state = walk.node(node).map_err(|reason| LowerError::Node {
            node: node.name.clone(),
            op: node.op.name().into(),
            reason,
        })?;
        walk.states.insert(node.output(), state);
    }
    if let Some((name, kind)) = graph.other_outputs().into_iter().next() {
        return Err(LowerError::End {
            end: "output",
            value: name,
            reason: format!("it is {kind}, and a board computes numbers"),
        });
    }
    walk.finish()
}

/// Whether any operator of a network makes integers of floats or the reverse.
#[must_use]
pub fn has_integers(graph: &Graph) -> bool {
    let is = |node: &Node| matches!(node.op, Op::QuantizeLinear(_) | Op::DequantizeLinear(_));
    graph.nodes().iter().any(is)
}

/// The network for one image.
fn single(graph: &Graph) -> Result<Graph, LowerError> {
    let (graph, _) = graph
        .clone()
        .with_open_batch("N")
        .map_err(|e| end(graph, "input", &e.to_string()))?;
    let name = graph.clone();
    graph
        .with_batch(1)
        .map_err(|e| end(&name, "input", &e.to_string()))
}

fn end(graph: &Graph, end: &'static str, reason: &str) -> LowerError {
    let ids = match end {
        "input" => graph.inputs(),
        _ => graph.outputs(),
    };
    LowerError::End {
        end,
        value: ids.last().map_or("", |&id| &graph.value(id).name).into(),
        reason: reason.into(),
    }
}

struct Walk<'a> {
    graph: &'a Graph,
    program: Program,
    states: HashMap<ValueId, State>,
    /// The network's input and its integers.
    input: Option<(ValueId, Integers)>,
}

impl Walk<'_> {
    fn node(&mut self, node: &Node) -> Result<State, String> {
        match &node.op {
            Op::QuantizeLinear(op) => self.quantize(node, &op.0),
            Op::DequantizeLinear(op) => self.dequantize(node, &op.0),
            _ => {
                let context = ops::Context {
                    graph: self.graph,
                    states: &self.states,
                    program: &mut self.program,
                    node,
                };
                ops::lower(context)
            }
        }
    }

    fn state(&self, node: &Node) -> Result<(ValueId, State), String> {
        let id = node.input(0).ok_or("its input is missing")?;
        let state = self.states.get(&id).cloned();
        Ok((id, state.ok_or("its input is a constant")?))
    }

    fn quantize(&mut self, node: &Node, to: &Quantization) -> Result<State, String> {
        let quantity = Quantity::of(to).ok_or("boards take integers of 8 bits")?;
        let (id, state) = self.state(node)?;
        let integers = match state {
            State::Image => self.image(id, quantity)?,
            State::Integers(from) if from.quantity() == quantity => from,
            State::Integers(from) => {
                let pending = Pending::new(
                    &node.name,
                    Work::Function(from, crate::state::identity(&from)),
                );
                ops::finish(&mut self.program, &pending, quantity)?
            }
            State::Pending(pending) => ops::finish(&mut self.program, &pending, quantity)?,
            State::Softmax(_) => {
                return Err("a Softmax runs on the host, as the last operator".into());
            }
        };
        Ok(State::Integers(integers))
    }

    /// The integers of the network's input.
    fn image(&mut self, id: ValueId, quantity: Quantity) -> Result<Integers, String> {
        if let Some((_, known)) = self.input {
            return if known.quantity() == quantity {
                Ok(known)
            } else {
                Err("the network's input is quantised in two ways".into())
            };
        }
        let dims = self.graph.dims(id).ok_or("the size of the input is open")?;
        let mut tensor = tensor(image(&dims)?, 0, quantity.zero_point);
        let bytes = tensor.bytes().ok_or("the input exceeds 4 GiB")?;
        tensor.offset = self.program.buffer(&self.graph.value(id).name, bytes);
        let integers = Integers {
            tensor,
            scale: quantity.scale,
        };
        self.input = Some((id, integers));
        Ok(integers)
    }

    fn dequantize(&mut self, node: &Node, of: &Quantization) -> Result<State, String> {
        let quantity = Quantity::of(of).ok_or("boards take integers of 8 bits")?;
        let (id, state) = self.state(node)?;
        match state {
            // The network is fed integers.
            State::Image if self.graph.value(id).dtype == Some(of.dtype) => {
                Ok(State::Integers(self.image(id, quantity)?))
            }
            // An operator that moves integers does not know their scale.
            State::Integers(from) if from.quantity() == quantity => Ok(State::Integers(from)),
            State::Integers(_) => Err("the integers have another scale".into()),
            _ => Err("its input is not quantised on the board".into()),
        }
    }

    fn finish(mut self) -> Result<Lowered, LowerError> {
        let graph = self.graph;
        let &[output] = graph.outputs() else {
            return Err(end(graph, "output", "it has to be the only one"));
        };
        let refused = |reason: &str| end(graph, "output", reason);
        let state = self.states.get(&output).cloned();
        let (state, softmax) = match state {
            Some(State::Softmax(state)) => (Some(*state), true),
            state => (state, false),
        };
        let (integers, scales) = match state {
            Some(State::Integers(integers)) => (integers, vec![integers.scale]),
            Some(State::Pending(Pending {
                node,
                work: Work::Layer(layer),
                limits,
            })) if limits == (f32::NEG_INFINITY, f32::INFINITY) => {
                let sums = layer.lower(&mut self.program, (&node, Ending::Sums));
                let scales = layer.scales.iter().map(|s| s * layer.input.scale);
                (sums.map_err(|e| refused(&e))?, scales.collect())
            }
            _ => return Err(refused("its operator is not quantised")),
        };
        let Some((input, image)) = self.input else {
            return Err(end(graph, "input", "it is not quantised"));
        };
        let ends = [image.tensor, integers.tensor];
        let (placed, program) = self.program.finish(ends)?;
        let port = |id: ValueId, tensor, scales| Port {
            name: graph.value(id).name.clone(),
            dims: graph.dims(id).unwrap_or_default(),
            tensor,
            scales,
            integer_shift: match graph.value(id).dtype {
                Some(DType::U8) => Some(128),
                Some(DType::I8) => Some(0),
                _ => None,
            },
        };
        Ok(Lowered {
            footprint: Footprint {
                arena: placed.arena,
                peak: placed.peak,
                weights: program.weights.len() as u32,
                plan: placed.plan.len() as u32,
                operators: program.names.len() as u32,
            },
            input: port(input, placed.input, vec![image.scale]),
            output: port(output, placed.output, scales),
            plan: placed.plan,
            weights: program.weights,
            nodes: program.names,
            softmax,
        })
    }
}
