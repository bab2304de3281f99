//! The constants of a graph as tensors.

use std::collections::BTreeMap;

use channels::Crop;
use onnx_graph::ops::Op;
use onnx_graph::{Graph, TensorData, ValueId};
use tch::{Device, Kind, Tensor};

use crate::weights::{crop, indices};
use crate::{ExecError, ExecOptions, WeightSource, to_format};

/// Role of a constant in training.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Updated by gradients.
    Trainable,
    /// A running mean or variance.
    Statistic,
    /// Constant.
    Fixed,
}

struct Entry {
    name: String,
    tensor: Tensor,
    role: Role,
}

/// The constants of a graph on one device: floats as 32-bit tensors, integer lists and masks as
/// they are.
///
/// The weights and biases of convolutions and matrix products (including a bias added right after
/// a MatMul), the scale and bias of normalisations and the slopes of PRelu are trainable. Running
/// means and variances are stored but not trainable. Other constants are fixed.
pub struct Params {
    entries: Vec<Option<Entry>>,
    device: Device,
}

impl Params {
    /// Loads the constants of `graph` onto `device` in the default memory order.
    ///
    /// # Errors
    /// Errors of libtorch, such as a failed allocation.
    pub fn from_graph(graph: &Graph, device: Device) -> Result<Self, ExecError> {
        Self::with_options(graph, device, &ExecOptions::default())
    }

    /// Loads the constants of `graph` onto `device`, convolution weights in the memory order of
    /// `options`.
    ///
    /// # Errors
    /// As [`Params::from_graph`].
    pub fn with_options(
        graph: &Graph,
        device: Device,
        options: &ExecOptions,
    ) -> Result<Self, ExecError> {
        let roles = roles(graph);
        let mut entries: Vec<Option<Entry>> = graph.values().iter().map(|_| None).collect();
        for (&id, constant) in graph.constants() {
            let data = match constant.data() {
                TensorData::F32(v) => Tensor::from_slice(v),
                TensorData::F64(v) => Tensor::from_slice(v).to_kind(Kind::Float),
                TensorData::I64(v) => Tensor::from_slice(v),
                TensorData::I32(v) => Tensor::from_slice(v),
                TensorData::Bool(v) => Tensor::from_slice(v),
                _ => continue,
            };
            let name = graph.value(id).name.clone();
            let role = roles.get(&id).copied().unwrap_or(Role::Fixed);
            let dims: Vec<i64> = constant.dims().iter().map(|&d| d as i64).collect();
            let tensor = data
                .f_reshape(&dims)
                .and_then(|t| t.f_to_device(device))
                .and_then(|t| {
                    if role == Role::Trainable {
                        to_format(&t, options.memory_format)
                    } else {
                        Ok(t)
                    }
                })
                .map_err(ExecError::tensor(format!("loading the constant '{name}'")))?;
            let tensor = tensor.set_requires_grad(role == Role::Trainable);
            entries[id.index()] = Some(Entry { name, tensor, role });
        }
        Ok(Self { entries, device })
    }

    /// The device of the tensors.
    #[must_use]
    pub fn device(&self) -> Device {
        self.device
    }

    /// Returns the uncropped tensor of a constant; it shares memory with this store.
    #[must_use]
    pub fn get(&self, id: ValueId) -> Option<Tensor> {
        Some(
            self.entries
                .get(id.index())?
                .as_ref()?
                .tensor
                .shallow_clone(),
        )
    }

    /// Replaces the elements of a constant.
    ///
    /// # Errors
    /// [`ExecError::NoWeight`] if there is no such constant, [`ExecError::StoredShape`] if the
    /// shape differs.
    pub fn set(&self, id: ValueId, tensor: &Tensor) -> Result<(), ExecError> {
        let entry = self.entries.get(id.index()).and_then(Option::as_ref);
        overwrite(
            entry.ok_or(ExecError::NoWeight { index: id.index() })?,
            tensor,
        )
    }

    /// Returns the trainable constants with their names, in the order of their values; they share
    /// memory with this store.
    #[must_use]
    pub fn trainable(&self, graph: &Graph) -> Vec<(ValueId, String, Tensor)> {
        let held = graph
            .constants()
            .keys()
            .filter_map(|&id| Some((id, self.entries.get(id.index())?.as_ref()?)));
        held.filter(|(_, e)| e.role == Role::Trainable)
            .map(|(id, e)| (id, e.name.clone(), e.tensor.shallow_clone()))
            .collect()
    }

    /// Returns the content of a checkpoint by name: trainable constants and running statistics.
    /// They share memory with this store.
    #[must_use]
    pub fn named(&self) -> Vec<(String, Tensor)> {
        let changing = self
            .entries
            .iter()
            .flatten()
            .filter(|e| e.role != Role::Fixed);
        changing
            .map(|e| (e.name.clone(), e.tensor.detach()))
            .collect()
    }

    /// Writes trainable constants and running statistics into `graph`, the graph this store was
    /// loaded from.
    ///
    /// # Errors
    /// Errors of libtorch if a tensor can't be read back; [`ExecError::Graph`] if a value is not
    /// a constant.
    pub fn write_back(&self, graph: &mut Graph) -> Result<(), ExecError> {
        let ids: Vec<ValueId> = graph.constants().keys().copied().collect();
        for id in ids {
            let Some(entry) = self.entries.get(id.index()).and_then(Option::as_ref) else {
                continue;
            };
            if entry.role != Role::Fixed {
                graph.set_constant(id, to_graph(&entry.tensor)?)?;
            }
        }
        Ok(())
    }
}

impl WeightSource for Params {
    fn weight(&self, id: ValueId, cut: Option<&Crop>) -> Result<Tensor, ExecError> {
        let entry = self.entries.get(id.index()).and_then(Option::as_ref);
        let tensor = &entry
            .ok_or(ExecError::NoWeight { index: id.index() })?
            .tensor;
        match cut {
            Some(cut) => crop(tensor, cut),
            None => Ok(tensor.shallow_clone()),
        }
    }

    fn store(&self, id: ValueId, cut: Option<&Crop>, value: &Tensor) -> Result<(), ExecError> {
        let entry = self.entries.get(id.index()).and_then(Option::as_ref);
        let mut tensor = entry
            .ok_or(ExecError::NoWeight { index: id.index() })?
            .tensor
            .shallow_clone();
        let _guard = tch::no_grad_guard();
        let keep = cut.and_then(|c| c.axes.first());
        match keep {
            None => tensor.f_copy_(value),
            // A crop to neighbouring channels is a view, which holds the new statistics already.
            // To write them again would invalidate the backward pass to come.
            Some(_) if shares_memory(&tensor, cut, value)? => Ok(()),
            Some((axis, keep)) => tensor
                .f_index_copy_(*axis as i64, &indices(keep, value), value)
                .map(|_| ()),
        }
        .map_err(ExecError::tensor("storing running statistics"))
    }
}

/// Whether `value` is the crop of `tensor` in place.
fn shares_memory(tensor: &Tensor, cut: Option<&Crop>, value: &Tensor) -> Result<bool, ExecError> {
    let own = match cut {
        Some(cut) => crop(tensor, cut)?,
        None => tensor.shallow_clone(),
    };
    Ok(own.data_ptr() == value.data_ptr())
}

/// Converts a tensor into a constant of a graph.
pub(crate) fn to_graph(tensor: &Tensor) -> Result<onnx_graph::Tensor, ExecError> {
    let read = || {
        let flat = tensor
            .detach()
            .f_to_device(Device::Cpu)?
            .f_to_kind(Kind::Float)?
            .f_contiguous()?
            .f_flatten(0, -1)?;
        Vec::<f32>::try_from(&flat)
    };
    let dims: Vec<usize> = tensor
        .size()
        .iter()
        .map(|&d| usize::try_from(d).unwrap_or(0))
        .collect();
    let data = read().map_err(ExecError::tensor("reading a weight back"))?;
    Ok(onnx_graph::Tensor::f32(dims, data)?)
}

fn overwrite(entry: &Entry, tensor: &Tensor) -> Result<(), ExecError> {
    let mut own = entry.tensor.shallow_clone();
    if own.size() != tensor.size() {
        return Err(ExecError::StoredShape {
            name: entry.name.clone(),
            stored: tensor.size(),
            required: own.size(),
        });
    }
    let _guard = tch::no_grad_guard();
    own.f_copy_(tensor)
        .map_err(ExecError::tensor(format!("loading '{}'", entry.name)))
}

fn roles(graph: &Graph) -> BTreeMap<ValueId, Role> {
    let producers = graph.producers();
    let after_matmul = |v: Option<ValueId>| {
        let producer = v.and_then(|v| producers[v.index()]);
        producer.is_some_and(|n| matches!(graph.node(n).op, Op::MatMul(_)))
    };
    let mut roles = BTreeMap::new();
    for node in graph.nodes() {
        let (trainable, statistics): (&[usize], &[usize]) = match &node.op {
            Op::Conv(_) | Op::ConvTranspose(_) => (&[1, 2], &[]),
            Op::Gemm(_) => (&[0, 1, 2], &[]),
            Op::MatMul(_) => (&[0, 1], &[]),
            Op::PRelu(_) => (&[1], &[]),
            Op::BatchNormalization(_) => (&[1, 2], &[3, 4]),
            Op::LayerNormalization(_)
            | Op::InstanceNormalization(_)
            | Op::GroupNormalization(_) => (&[1, 2], &[]),
            Op::Opaque(op) if op.is_root_mean_square() => (&[1], &[]),
            Op::Add(_) if after_matmul(node.input(0)) => (&[1], &[]),
            Op::Add(_) if after_matmul(node.input(1)) => (&[0], &[]),
            _ => continue,
        };
        for id in trainable.iter().filter_map(|&i| node.input(i)) {
            roles.insert(id, Role::Trainable);
        }
        for id in statistics.iter().filter_map(|&i| node.input(i)) {
            roles.insert(id, Role::Statistic);
        }
    }
    roles
}
