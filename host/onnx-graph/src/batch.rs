//! Opening a fixed batch, and fixing an open one.

mod align;

use crate::GraphError;
use crate::dims::Product;
use crate::graph::{Graph, Node};
use crate::ops::{Op, Reshape};
use crate::value::{Dim, Shape, ValueId};

/// Reason of an operator that works along the batch.
const ALONG: &str = "it runs along the images of the batch";

impl Graph {
    /// Returns the batch, if the first input has a shape: its first size, or an open size that is
    /// called so on another axis, as in networks with the time first.
    #[must_use]
    pub fn batch(&self) -> Option<&Dim> {
        let shape = self.value(*self.inputs.first()?).shape.as_ref()?;
        shape.get(axis_of_batch(shape))
    }

    /// Returns the axis of a value that counts the samples of an open batch: the one of its size,
    /// or the first.
    #[must_use]
    pub fn batch_axis(&self, id: ValueId) -> usize {
        let shape = self.value(id).shape.as_deref().unwrap_or_default();
        let is_batch = |dim: &Dim| dim.known().is_none() && Some(dim) == self.batch();
        shape.iter().position(is_batch).unwrap_or(0)
    }

    /// Returns all values; some may be unused.
    pub fn ids(&self) -> impl Iterator<Item = ValueId> + use<> {
        (0..self.values.len() as u32).map(ValueId)
    }

    /// Returns the sizes of a value for one sample: those of all axes but the batch.
    #[must_use]
    pub fn sample_shape(&self, id: ValueId) -> Option<Shape> {
        let mut shape = self.value(id).shape.clone()?;
        let axis = self.batch_axis(id);
        if axis < shape.len() {
            shape.remove(axis);
            return Some(shape);
        }
        None
    }

    /// Opens a fixed batch under the name `symbol`, with a suffix if that is taken, and returns
    /// the size it had; an open batch stays as it is. Reshape targets, slices and constants that
    /// contain the batch are adapted.
    ///
    /// # Errors
    /// [`GraphError::FixedBatch`] with the node that cannot be adapted, and the reason;
    /// [`GraphError::AlongBatch`] with a node that runs along the first axis.
    pub fn with_open_batch(mut self, symbol: &str) -> Result<(Self, Option<usize>), GraphError> {
        let Some(batch) = self.batch().and_then(Dim::known) else {
            return Ok((self, None));
        };
        let opening = Opening {
            batch,
            symbol: self.unused_symbol(symbol),
            old: self.values.iter().map(|v| v.shape.clone()).collect(),
        };
        for id in self.inputs.clone() {
            let value = &mut self.values[id.index()];
            let first = value.shape.as_mut().and_then(|s| s.first_mut());
            match first {
                Some(first) if *first == Dim::Known(batch) => *first = opening.open(),
                _ => {
                    let reason =
                        format!("its first size is not that of the first input's, {batch}");
                    let name = value.name.clone();
                    return Err(opening.refused((name, "graph input".into()), reason));
                }
            }
        }
        let mut index = 0;
        while index < self.nodes.len() {
            let place = opening.place(&self, index);
            index = opening
                .follow(&mut self, index)
                .map_err(|reason| opening.refused(place, reason))?
                + 1;
        }
        for id in &self.outputs {
            let value = self.value(*id);
            // As in the outputs of recognisers, [time, batch, classes].
            let has_batch = |shape: &Shape| shape.contains(&opening.open());
            if !value.shape.as_ref().is_some_and(has_batch) {
                let reason = "none of its sizes is the batch".to_owned();
                return Err(opening.refused((value.name.clone(), "graph output".into()), reason));
            }
        }
        self.declare_open();
        self.remove_dead();
        self.check()?;
        Ok((self, Some(batch)))
    }

    /// Returns a recurrent layer that steps along the open batch: the first axis then is none.
    #[must_use]
    pub fn steps_along_batch(&self) -> Option<&Node> {
        let Some(batch @ Dim::Symbol(_)) = self.batch() else {
            return None;
        };
        self.nodes.iter().find(|node| {
            let Op::Opaque(op) = &node.op else {
                return false;
            };
            let shape = node.input(0).and_then(|id| self.value(id).shape.as_ref());
            let steps = op.steps_along().and_then(|axis| shape?.get(axis));
            steps == Some(batch)
        })
    }

    /// Fixes an open batch at `size`; a fixed batch stays as it is.
    ///
    /// # Errors
    /// [`GraphError::Shape`] if a node rejects that size.
    pub fn with_batch(mut self, size: usize) -> Result<Self, GraphError> {
        let Some(Dim::Symbol(symbol)) = self.batch().cloned() else {
            return Ok(self);
        };
        let fixed = |dim: &Dim| with_size(dim, &symbol, size).unwrap_or_else(|| dim.clone());
        for value in &mut self.values {
            for dim in value.shape.iter_mut().flatten() {
                *dim = fixed(dim);
            }
        }
        for node in &mut self.nodes {
            if let Op::Expand(op) = &mut node.op {
                op.sizes.iter_mut().for_each(|dim| *dim = fixed(dim));
                if op.sizes.iter().all(|dim| dim.known().is_some()) {
                    node.inputs.truncate(1);
                }
            }
        }
        self.infer_shapes()?;
        self.remove_dead();
        Ok(self)
    }

    /// `symbol`, with a suffix if the graph has a size of that name.
    fn unused_symbol(&self, symbol: &str) -> String {
        let dims = || self.values.iter().flat_map(|v| v.shape.iter().flatten());
        let taken = |name: &str| dims().any(|d| with_size(d, name, 1).as_ref() != Some(d));
        let more = (1..).map(|i| format!("{symbol}{i}"));
        let mut all = std::iter::once(symbol.to_owned()).chain(more);
        all.find(|name| !taken(name)).unwrap_or_default()
    }

    /// Updates the declarations of inputs and outputs with sizes that are open now.
    fn declare_open(&mut self) {
        for id in self.inputs.iter().chain(&self.outputs) {
            let value = &self.values[id.index()];
            let Some(shape) = &value.shape else {
                continue;
            };
            let declared = self.ports.sizes(&value.name);
            for (size, dim) in declared.flat_map(|sizes| sizes.iter_mut().zip(shape)) {
                if let Dim::Symbol(symbol) = dim
                    && size.dim_value.is_some_and(|n| n > 0)
                {
                    size.dim_value = None;
                    size.dim_param = Some(symbol.clone());
                }
            }
        }
    }
}

/// The axis of an input that is the batch: the first, or one whose open size is called so.
pub(crate) fn axis_of_batch(shape: &[Dim]) -> usize {
    let is_called_so =
        |dim: &Dim| matches!(dim, Dim::Symbol(name) if name.to_lowercase().contains("batch"));
    shape.iter().position(is_called_so).unwrap_or(0)
}

/// Replaces a symbol in a size by a number; `None` on overflow, or if the symbol is in more than
/// a product.
fn with_size(dim: &Dim, symbol: &str, size: usize) -> Option<Dim> {
    match dim {
        Dim::Known(_) => Some(dim.clone()),
        Dim::Symbol(_) => Some(Product::one().times(dim)?.with(symbol, size)?.dim()),
    }
}

/// The opening of a batch.
struct Opening {
    batch: usize,
    symbol: String,
    /// The shapes of all values with the fixed batch.
    old: Vec<Option<Shape>>,
}

impl Opening {
    fn open(&self) -> Dim {
        Dim::Symbol(self.symbol.clone())
    }

    fn place(&self, graph: &Graph, index: usize) -> (String, String) {
        let node = &graph.nodes[index];
        (node.name.clone(), node.op.name().to_owned())
    }

    fn refused(&self, (node, op): (String, String), reason: String) -> GraphError {
        let batch = self.batch;
        if reason == ALONG {
            return GraphError::AlongBatch { batch, node, op };
        }
        GraphError::FixedBatch {
            batch,
            node,
            op,
            reason,
        }
    }

    /// Whether a size contains the batch.
    fn follows(&self, dim: &Dim) -> bool {
        with_size(dim, &self.symbol, self.batch).as_ref() != Some(dim)
    }

    /// The axis of a value that contains the batch, and its size.
    fn axis<'g>(&self, graph: &'g Graph, id: ValueId) -> Option<(usize, &'g Dim)> {
        let shape = graph.value(id).shape.as_ref()?;
        shape.iter().enumerate().find(|(_, d)| self.follows(d))
    }

    fn old_dims(&self, id: ValueId) -> Option<Vec<usize>> {
        let shape = self.old.get(id.index())?.as_ref()?;
        shape.iter().map(Dim::known).collect()
    }

    /// Adapts the node at `index` and returns its new index, since nodes may be inserted before
    /// it.
    fn follow(&self, graph: &mut Graph, index: usize) -> Result<usize, String> {
        let inputs: Vec<ValueId> = graph.nodes[index]
            .inputs
            .iter()
            .flatten()
            .copied()
            .collect();
        let Some(&input) = inputs.iter().find(|&&v| self.axis(graph, v).is_some()) else {
            return Ok(index);
        };
        self.adapt(graph, index, input)?;
        let index = self.align(graph, index)?;
        if matches!(graph.nodes[index].op, Op::Opaque(_)) {
            for id in graph.nodes[index].outputs.iter().flatten() {
                graph.values[id.index()].shape = None;
            }
        }
        graph.infer_node(index).map_err(|e| match e {
            GraphError::Shape { reason, .. } => reason,
            other => other.to_string(),
        })?;
        let node = &graph.nodes[index];
        let sizes_only = matches!(node.op, Op::Shape(_));
        for (i, id) in node.outputs.iter().enumerate() {
            let Some(id) = *id else { continue };
            let (new, old) = (&graph.value(id).shape, &self.old[id.index()]);
            let Some(new) = new else {
                return Err(format!(
                    "how its output {i} follows the batch is not known: there is no rule for its shape"
                ));
            };
            let fixed: Option<Shape> = new
                .iter()
                .map(|d| with_size(d, &self.symbol, self.batch))
                .collect();
            if old.is_some() && fixed != *old {
                return Err(format!(
                    "with the batch open its output has the shape {new:?}, which is not {:?} for a batch of {}",
                    old.as_deref().unwrap_or_default(),
                    self.batch
                ));
            }
            if !sizes_only && !new.iter().any(|d| self.follows(d)) {
                return Err("it joins what is of several images, or takes some of them".into());
            }
        }
        Ok(index)
    }

    /// Changes the attributes of an operator that contain the batch; `input` is the first input
    /// that does.
    fn adapt(&self, graph: &mut Graph, index: usize, input: ValueId) -> Result<(), String> {
        let Some((axis, dim)) = self.axis(graph, input) else {
            return Ok(());
        };
        let (whole, dim) = (*dim == self.open(), dim.clone());
        let rank = graph.value(input).shape.as_ref().map_or(0, Vec::len);
        let output = graph.nodes[index].outputs.first().copied().flatten();
        let old = [Some(input), output].map(|v| self.old_dims(v?));
        match &mut graph.nodes[index].op {
            Op::Reshape(op) => {
                let [Some(from), Some(to)] = old else {
                    return Err("its sizes are not known".into());
                };
                self.retarget(op, (axis, &dim), &from, &to)?;
            }
            Op::Slice(op) => {
                for i in 0..op.starts.len() {
                    if op.axis(i, rank) != Some(axis) {
                        continue;
                    }
                    let step = op.steps.get(i).copied().unwrap_or(1);
                    let all = usize::try_from(op.ends[i]).is_ok_and(|end| end >= self.batch);
                    if !(whole && all && step == 1 && op.starts[i] == 0) {
                        return Err("it takes some images of the batch".into());
                    }
                    op.ends[i] = i64::MAX;
                }
            }
            Op::Softmax(op) if op.axis(rank) == Some(axis) => return Err(ALONG.into()),
            Op::LogSoftmax(op) if op.axis(rank) == Some(axis) => return Err(ALONG.into()),
            Op::Opaque(op) if op.steps_along() == Some(axis) => return Err(ALONG.into()),
            Op::LayerNormalization(op) if op.axis(rank).is_some_and(|first| first <= axis) => {
                return Err(ALONG.into());
            }
            _ => {}
        }
        Ok(())
    }

    /// Adapts the target of a Reshape to the batch, which is in axis `source` of the input. The
    /// batch is the outermost factor of that axis, and must be that of one axis of the result.
    fn retarget(
        &self,
        op: &mut Reshape,
        (source, dim): (usize, &Dim),
        from: &[usize],
        to: &[usize],
    ) -> Result<(), String> {
        let splits = || format!("its target {:?} splits the images of the batch", op.target);
        if op.allow_zero || to.contains(&0) || to.len() != op.target.len() {
            return Err(splits());
        }
        // The number of elements of the batch.
        let whole: usize = from[source..].iter().product();
        let within = whole / self.batch;
        let inner = |i: usize| to[i + 1..].iter().product::<usize>();
        let holds = |&i: &usize| inner(i) * to[i] == whole && within.is_multiple_of(inner(i));
        let axis = (0..to.len()).find(holds).ok_or_else(splits)?;
        let target = &mut op.target;
        if *dim == self.open() && source == axis && to[axis] == self.batch {
            target[axis] = 0;
            return Ok(());
        }
        for (target, &size) in target.iter_mut().zip(to) {
            if *target == -1 {
                *target = size as i64;
            }
        }
        target[axis] = -1;
        Ok(())
    }
}
