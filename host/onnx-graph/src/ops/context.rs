//! The interface of operators: reading, writing, shapes and folding.

use std::collections::HashMap;

use crate::attribute::{Attribute, AttributeValue};
use crate::dims::broadcast;
use crate::fold::{Fold, OpenSizes};
use crate::value::{Dim, Shape, ValueId, ValueTable};
use crate::{DType, GraphError, Tensor, TensorData};

/// An operator with typed attributes.
pub(crate) trait Operator: Sized {
    /// Name in the default operator set.
    const NAME: &'static str;
    /// Operator sets that introduced the operator or changed it, ascending.
    const VERSIONS: &'static [i64];
    /// Least and greatest number of inputs of the node, without those resolved into the operator.
    const INPUTS: (usize, usize);
    /// First operator set with the form that `emit` writes.
    const SINCE: i64 = 13;
    /// Whether the operator may have more than one output.
    const MANY_OUTPUTS: bool = false;
    /// How constants and sizes determine the result.
    const FOLD: Fold<Self> = Fold::Never;

    /// First operator set with the form that `emit` writes for these attributes and inputs.
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

/// The first operator set, from `since` on, that allows `axes`.
pub(crate) fn since_axes(since: i64, axes: &[i64]) -> i64 {
    if axes.iter().any(|&axis| axis < 0) {
        since.max(AXES_FROM_THE_END)
    } else {
        since
    }
}

/// Shapes of a single output.
pub(crate) fn one(shape: Option<Shape>) -> Result<Vec<Option<Shape>>, String> {
    Ok(vec![shape])
}

/// The output has the shape of the first input.
pub(crate) fn same(facts: &Facts<'_>) -> Result<Vec<Option<Shape>>, String> {
    one(facts.shape(0).map(<[Dim]>::to_vec))
}

/// The output has the shape of the first two inputs, broadcast against each other.
pub(crate) fn broadcast_two(facts: &Facts<'_>) -> Result<Vec<Option<Shape>>, String> {
    let (Some(a), Some(b)) = (facts.shape(0), facts.shape(1)) else {
        return one(None);
    };
    one(Some(broadcast(a, b)?))
}

/// The shape of an image of `channels` whose other sizes are open and named after the node.
pub(crate) fn open_shape(facts: &Facts<'_>, channels: usize, rank: usize) -> Shape {
    let dim = |i| {
        if i == 1 {
            Dim::Known(channels)
        } else {
            Dim::Symbol(format!("{}_dim{i}", facts.name))
        }
    };
    (0..rank).map(dim).collect()
}

/// An input that may be resolved into the operator.
pub(crate) enum Input<T> {
    /// Omitted.
    Absent,
    /// Constant.
    Known(T),
    /// Computed, or a constant of another type.
    Dynamic,
}

/// A node being read.
pub(crate) struct Parsing<'a> {
    pub values: ValueTable<'a>,
    pub node: &'a str,
    pub opset: i64,
    pub attributes: &'a [Attribute],
    /// Per attribute whether it was looked up.
    pub used: Vec<bool>,
    pub inputs: Vec<Option<ValueId>>,
    pub outputs: usize,
    pub extra_outputs_read: bool,
    /// Set by an operator in training mode that is read in its inference form.
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

    fn input(&self, i: usize) -> Option<ValueId> {
        self.inputs.get(i).copied().flatten()
    }

    pub fn shape(&self, i: usize) -> Option<&'a [Dim]> {
        self.values.shape(self.input(i)?)
    }

    /// The element type of input `i`, if it is known.
    pub fn dtype(&self, i: usize) -> Option<DType> {
        self.values.dtype(self.input(i)?)
    }

    /// Whether the first input is an activation in 32-bit floats.
    pub fn is_activation(&self) -> bool {
        self.dtype(0) == Some(DType::F32) && self.constant(0).is_none()
    }

    /// Whether input `i` may hold 32-bit floats.
    pub fn float_like(&self, i: usize) -> bool {
        self.dtype(i).is_none_or(|dtype| dtype == DType::F32)
    }

    /// The tensor of input `i`, if it is constant.
    pub fn constant(&self, i: usize) -> Option<&'a Tensor> {
        self.values.constant(self.input(i)?)
    }

    /// Input `i` as what `read` makes of its tensor.
    fn resolve<T>(&self, i: usize, read: impl FnOnce(&'a Tensor) -> Option<T>) -> Input<T> {
        match self.input(i) {
            None => Input::Absent,
            Some(id) => self
                .values
                .constant(id)
                .and_then(read)
                .map_or(Input::Dynamic, Input::Known),
        }
    }

    /// The integers of input `i`.
    pub fn int_input(&self, i: usize) -> Input<Vec<i64>> {
        self.resolve(i, Tensor::to_i64s)
    }

    /// The floats of input `i`.
    pub fn floats_input(&self, i: usize) -> Input<Vec<f32>> {
        self.resolve(i, |tensor| Some(tensor.as_f32()?.to_vec()))
    }

    /// The single number of input `i`, a float or an 8-bit integer.
    pub fn number_input(&self, i: usize) -> Input<f32> {
        self.resolve(i, |tensor| match (tensor.len(), tensor.data()) {
            (1, TensorData::F32(v)) => v.first().copied(),
            (1, TensorData::U8(v)) => v.first().map(|&v| f32::from(v)),
            (1, TensorData::I8(v)) => v.first().map(|&v| f32::from(v)),
            _ => None,
        })
    }

    /// The single float of input `i`.
    pub fn float_input(&self, i: usize) -> Input<f32> {
        self.resolve(i, |tensor| match tensor.as_f32() {
            Some(&[v]) => Some(v),
            _ => None,
        })
    }

    /// The integers of input `i` if some of them are open sizes.
    pub fn sizes_input(&self, i: usize) -> Option<&'a OpenSizes> {
        self.open_sizes.get(&self.input(i)?)
    }

    /// Drops the inputs from the `n`-th on: they are resolved into the operator.
    pub fn keep_inputs(&mut self, n: usize) {
        self.inputs.truncate(n);
    }

    /// Drops the outputs after the first and returns true, unless a node or the graph reads one.
    pub fn only_first_output(&mut self) -> bool {
        if !self.extra_outputs_read {
            self.outputs = 1;
        }
        !self.extra_outputs_read
    }
}

/// A node being written.
pub(crate) struct Emission {
    /// The operator set of the file.
    pub opset: i64,
    /// The element type of the node's first input, if it is known.
    pub dtype: Option<DType>,
    pub attributes: Vec<Attribute>,
    /// Inputs that follow those of the node; `None` is an omitted one.
    pub inputs: Vec<Option<Extra>>,
}

/// An input that the writer adds to a node; the word becomes part of its name.
pub(crate) enum Extra {
    /// A constant.
    Tensor(&'static str, Tensor),
    /// The sizes of that many leading axes of the first input, followed by these numbers.
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

    /// An input without dimensions; `data` has one element.
    pub fn scalar_input(&mut self, what: &'static str, data: TensorData) {
        let tensor = Tensor::new(Vec::new(), data).ok();
        self.inputs.push(tensor.map(|t| Extra::Tensor(what, t)));
    }

    pub fn float_input(&mut self, what: &'static str, v: Option<f32>) {
        self.inputs
            .push(v.map(|v| Extra::Tensor(what, Tensor::scalar(v))));
    }
}

/// A node and the values that it reads, as shape rules see them.
pub(crate) struct Facts<'a> {
    /// The operator set of the graph.
    pub opset: i64,
    pub values: ValueTable<'a>,
    /// Name of the node.
    pub name: &'a str,
    pub inputs: &'a [Option<ValueId>],
    pub outputs: &'a [Option<ValueId>],
}

impl<'a> Facts<'a> {
    pub fn input(&self, i: usize) -> Option<ValueId> {
        self.inputs.get(i).copied().flatten()
    }

    pub fn shape(&self, i: usize) -> Option<&'a [Dim]> {
        self.values.shape(self.input(i)?)
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
