//! What an operator sees when it is read, written and shaped.

use std::collections::HashMap;

use crate::attribute::{Attribute, AttributeValue};
use crate::fold::OpenSizes;
use crate::graph::{Dim, Graph, Node, Shape, ValueId};
use crate::{GraphError, Tensor};

/// An operator with typed attributes.
pub(crate) trait Operator: Sized {
    /// Name in the default operator set.
    const NAME: &'static str;
    /// Least and greatest number of inputs left to the node once constants are resolved into the operator.
    const INPUTS: (usize, usize);
    /// First operator set that has a form written by `emit`.
    const SINCE: i64 = 13;
    /// Whether the operator may have more outputs than one.
    const MANY_OUTPUTS: bool = false;

    /// First operator set that has the form written by `emit` with these attributes and inputs.
    fn since(&self, _facts: &Facts<'_>) -> i64 {
        Self::SINCE
    }

    /// Reads the attributes; `None` keeps the node opaque.
    fn parse(node: &mut Parsing<'_>) -> Result<Option<Self>, GraphError>;
    /// Writes the attributes and the inputs that were resolved into the operator.
    fn emit(&self, out: &mut Emission);
    /// Shapes of the outputs, where they are determined.
    fn shapes(&self, facts: &Facts<'_>) -> Result<Vec<Option<Shape>>, String>;
}

/// The operator set from which on axes may count from the end.
const AXES_FROM_THE_END: i64 = 11;

/// `since`, or the operator set that allows the axes.
pub(crate) fn with_axes(since: i64, axes: &[i64]) -> i64 {
    if axes.iter().any(|&axis| axis < 0) {
        since.max(AXES_FROM_THE_END)
    } else {
        since
    }
}

/// The first operator set in which a Softmax or LogSoftmax over `axis` means that axis: before 13 it means all axes from
/// there on, which is the same where the others have size 1.
pub(crate) fn softmax_since(axis: i64, facts: &Facts<'_>) -> i64 {
    let alone = facts.shape(0).is_some_and(|shape| {
        crate::dims::axis(axis, shape.len())
            .is_ok_and(|at| shape[at + 1..].iter().all(|d| *d == Dim::Known(1)))
    });
    if alone { with_axes(1, &[axis]) } else { 13 }
}

/// Shapes of a single output.
pub(crate) fn one(shape: Option<Shape>) -> Result<Vec<Option<Shape>>, String> {
    Ok(vec![shape])
}

/// The output has the shape of the first input.
pub(crate) fn same(facts: &Facts<'_>) -> Result<Vec<Option<Shape>>, String> {
    one(facts.shape(0).map(<[Dim]>::to_vec))
}

/// The shape of an image of `channels` whose other sizes are open, named after the node.
pub(crate) fn open_shape(facts: &Facts<'_>, channels: usize, rank: usize) -> Shape {
    let dim = |i| {
        if i == 1 {
            Dim::Known(channels)
        } else {
            Dim::Symbol(format!("{}_dim{i}", facts.node.name))
        }
    };
    (0..rank).map(dim).collect()
}

/// An input that may have been resolved.
pub(crate) enum Input<T> {
    Absent,
    Known(T),
    Dynamic,
}

/// A node being read.
pub(crate) struct Parsing<'a> {
    pub graph: &'a Graph,
    pub node: &'a str,
    pub opset: i64,
    pub attributes: &'a [Attribute],
    pub used: Vec<bool>,
    pub inputs: Vec<Option<ValueId>>,
    pub outputs: usize,
    pub extra_outputs_read: bool,
    /// Set by an operator that the file has in training mode and that is read as it is at inference.
    pub training: bool,
    pub open_sizes: &'a HashMap<ValueId, OpenSizes>,
}

impl<'a> Parsing<'a> {
    fn find(&mut self, name: &str) -> Option<&'a AttributeValue> {
        let at = self.attributes.iter().position(|a| a.name == name)?;
        self.used[at] = true;
        Some(&self.attributes[at].value)
    }

    pub fn malformed(&self, reason: impl Into<String>) -> GraphError {
        GraphError::Malformed {
            place: format!("node '{}'", self.node),
            reason: reason.into(),
        }
    }

    pub fn has(&self, name: &str) -> bool {
        self.attributes.iter().any(|a| a.name == name)
    }

    pub fn int(&mut self, name: &str, default: i64) -> Result<i64, GraphError> {
        match self.find(name) {
            None => Ok(default),
            Some(AttributeValue::Int(v)) => Ok(*v),
            Some(_) => Err(self.malformed(format!("attribute '{name}' is not an integer"))),
        }
    }

    pub fn flag(&mut self, name: &str, default: bool) -> Result<bool, GraphError> {
        Ok(self.int(name, i64::from(default))? != 0)
    }

    pub fn float(&mut self, name: &str, default: f32) -> Result<f32, GraphError> {
        Ok(self.maybe_float(name)?.unwrap_or(default))
    }

    pub fn maybe_float(&mut self, name: &str) -> Result<Option<f32>, GraphError> {
        match self.find(name) {
            None => Ok(None),
            Some(AttributeValue::Float(v)) => Ok(Some(*v)),
            Some(_) => Err(self.malformed(format!("attribute '{name}' is not a float"))),
        }
    }

    pub fn floats(&mut self, name: &str) -> Result<Option<Vec<f32>>, GraphError> {
        match self.find(name) {
            None => Ok(None),
            Some(AttributeValue::Floats(v)) => Ok(Some(v.clone())),
            Some(_) => Err(self.malformed(format!("attribute '{name}' is not a list of floats"))),
        }
    }

    pub fn ints(&mut self, name: &str) -> Result<Option<Vec<i64>>, GraphError> {
        match self.find(name) {
            None => Ok(None),
            Some(AttributeValue::Ints(v)) => Ok(Some(v.clone())),
            Some(_) => Err(self.malformed(format!("attribute '{name}' is not a list of integers"))),
        }
    }

    pub fn sizes(&mut self, name: &str) -> Result<Option<Vec<usize>>, GraphError> {
        let Some(list) = self.ints(name)? else {
            return Ok(None);
        };
        let sizes = list
            .iter()
            .map(|&v| usize::try_from(v).ok().filter(|&v| v <= u32::MAX as usize))
            .collect();
        match sizes {
            Some(sizes) => Ok(Some(sizes)),
            None => Err(self.malformed(format!(
                "attribute '{name}' holds {list:?}, sizes from 0 to 2^32 - 1 are needed"
            ))),
        }
    }

    pub fn text(&mut self, name: &str) -> Result<Option<&'a str>, GraphError> {
        match self.find(name) {
            None => Ok(None),
            Some(AttributeValue::Text(v)) => std::str::from_utf8(v)
                .map(Some)
                .map_err(|_| self.malformed(format!("attribute '{name}' is not UTF-8 text"))),
            Some(_) => Err(self.malformed(format!("attribute '{name}' is not text"))),
        }
    }

    pub fn shape(&self, i: usize) -> Option<&'a [Dim]> {
        self.graph
            .value(self.inputs.get(i).copied().flatten()?)
            .shape
            .as_deref()
    }

    /// The integers of input `i`.
    pub fn int_input(&self, i: usize) -> Input<Vec<i64>> {
        match self.inputs.get(i).copied().flatten() {
            None => Input::Absent,
            Some(id) => self
                .graph
                .constant(id)
                .and_then(Tensor::to_i64s)
                .map_or(Input::Dynamic, Input::Known),
        }
    }

    /// Dimensions of input `i`, when it is constant.
    pub fn constant_dims(&self, i: usize) -> Option<Vec<usize>> {
        let id = self.inputs.get(i).copied().flatten()?;
        Some(self.graph.constant(id)?.dims().to_vec())
    }

    /// The floats of input `i`.
    pub fn floats_input(&self, i: usize) -> Input<Vec<f32>> {
        match self.inputs.get(i).copied().flatten() {
            None => Input::Absent,
            Some(id) => match self.graph.constant(id).and_then(Tensor::as_f32) {
                Some(list) => Input::Known(list.to_vec()),
                None => Input::Dynamic,
            },
        }
    }

    /// The single float of input `i`.
    pub fn float_input(&self, i: usize) -> Input<f32> {
        match self.inputs.get(i).copied().flatten() {
            None => Input::Absent,
            Some(id) => match self.graph.constant(id).and_then(Tensor::as_f32) {
                Some(&[v]) => Input::Known(v),
                _ => Input::Dynamic,
            },
        }
    }

    /// What is known of the integers of input `i` when some of them are sizes left open.
    pub fn sizes_input(&self, i: usize) -> Option<&'a OpenSizes> {
        self.open_sizes.get(&self.inputs.get(i).copied().flatten()?)
    }

    /// Drops inputs from the `n`-th on: they were resolved into the operator.
    pub fn keep_inputs(&mut self, n: usize) {
        self.inputs.truncate(n);
    }

    /// Drops outputs after the first where nobody reads them; false when somebody does.
    pub fn only_first_output(&mut self) -> bool {
        if !self.extra_outputs_read {
            self.outputs = 1;
        }
        !self.extra_outputs_read
    }
}

/// A node being written.
pub(crate) struct Emission {
    /// The operator set that is written.
    pub opset: i64,
    pub attributes: Vec<Attribute>,
    /// Inputs after the node's own, or an input left out.
    pub inputs: Vec<Option<Extra>>,
}

/// An input that a node gets when it is written; the word is for its name.
pub(crate) enum Extra {
    /// A constant.
    Tensor(&'static str, Tensor),
    /// A list: the sizes of so many leading axes of the node's first input, then these numbers.
    Sizes(&'static str, usize, Vec<i64>),
}

impl Emission {
    fn set(&mut self, name: &str, value: AttributeValue) {
        self.attributes.push(Attribute {
            name: name.to_owned(),
            value,
        });
    }

    pub fn int(&mut self, name: &str, v: i64) {
        self.set(name, AttributeValue::Int(v));
    }

    pub fn float(&mut self, name: &str, v: f32) {
        self.set(name, AttributeValue::Float(v));
    }

    pub fn text(&mut self, name: &str, v: &str) {
        self.set(name, AttributeValue::Text(v.as_bytes().to_vec()));
    }

    pub fn sizes(&mut self, name: &str, v: &[usize]) {
        self.set(
            name,
            AttributeValue::Ints(v.iter().map(|&x| x as i64).collect()),
        );
    }

    pub fn ints(&mut self, name: &str, v: &[i64]) {
        self.set(name, AttributeValue::Ints(v.to_vec()));
    }

    pub fn ints_input(&mut self, what: &'static str, v: &[i64]) {
        let list = Tensor::i64s(v.to_vec());
        self.inputs.push(Some(Extra::Tensor(what, list)));
    }

    pub fn float_input(&mut self, what: &'static str, v: Option<f32>) {
        self.inputs
            .push(v.map(|v| Extra::Tensor(what, Tensor::scalar(v))));
    }
}

/// What is known of a node's inputs when its shape is inferred.
pub(crate) struct Facts<'a> {
    pub graph: &'a Graph,
    pub node: &'a Node,
}

impl<'a> Facts<'a> {
    pub fn shape(&self, i: usize) -> Option<&'a [Dim]> {
        self.graph.value(self.node.input(i)?).shape.as_deref()
    }

    /// The shape of input `i`, which must have `rank` dimensions.
    pub fn ranked(&self, i: usize, rank: usize, what: &str) -> Result<Option<&'a [Dim]>, String> {
        match self.shape(i) {
            Some(s) if s.len() != rank => Err(format!(
                "{what} has {} dimensions, {rank} are needed: {s:?}",
                s.len()
            )),
            other => Ok(other),
        }
    }
}
