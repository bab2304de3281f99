//! Graph PruningNet (Zhang et al., arXiv 1911.09817): a graph convolutional network over the
//! topology of the layers. Its node embeddings generate the weights of every layer for a given
//! width configuration.
//!
//! `H_0 = X(c)`, `H_{l+1} = relu(Â H_l Θ_l)`, `vec(W_i) = U_i (h_i(c) - h_i(full)) + b_i`.
//!
//! The paper has `U_i h_i(c) + b_i`, the same functions with `b_i - U_i h_i(full)` in place of
//! `b_i`. In this form `b_i` is the weight of the full network, so a warm start begins with the
//! user's network, and the large constant part of an embedding does not multiply the gradient of
//! `U_i`. Without the difference a warm start of ResNet-20 lost most of its accuracy.
//!
//! A weight shared by several layers is generated from the mean of their embeddings. `b_i` and
//! the parameters trained directly (biases, BatchNorm's scale and shift) are stored in the same
//! [`Params`], so a warm start copies nothing.

use std::collections::HashMap;
use std::path::Path;

use channels::{Analysis, Crop, Cut, GroupId};
use onnx_graph::{Graph, ValueId};
use tch::{Device, Kind, Tensor};
use torch_exec::{ExecError, Params, WeightSource, crop};

use crate::TrainError;
use crate::checkpoint::{self, Meta};
use crate::config::{NetWeights, PruningNetConfig, Start};
use crate::generator::{Generator, Kernel, generators};
use crate::init::{RandomTensors, initialise};
use crate::sgd::Trained;
use crate::topology::{FEATURES, Topology};

/// The properties of a group that weight generation uses.
struct NetGroup {
    channels: usize,
    /// Whether the group can be emptied.
    removable: bool,
    /// Positions of the producing layers in the topology.
    producers: Vec<usize>,
}

impl NetGroup {
    fn all(analysis: &Analysis, topology: &Topology) -> Vec<Self> {
        let layers = topology.layers().iter().enumerate();
        let position: HashMap<_, _> = layers.map(|(i, layer)| (layer.node, i)).collect();
        let groups = analysis.groups().iter().enumerate();
        let group = |(i, group): (usize, &channels::Group)| Self {
            channels: group.channels,
            removable: analysis.removal(GroupId(i)).is_some(),
            producers: group
                .producers
                .iter()
                .filter_map(|p| position.get(p).copied())
                .collect(),
        };
        groups.map(group).collect()
    }
}

/// Draws the matrices Θ of the graph convolutions.
fn thetas(
    config: &PruningNetConfig,
    random: &mut RandomTensors,
) -> Result<Vec<Tensor>, TrainError> {
    let rows = |layer| if layer == 0 { FEATURES } else { config.hidden };
    (0..config.layers)
        .map(|layer| {
            let rows = rows(layer);
            random.draw(&[rows, config.hidden], (2.0 / rows as f64).sqrt())
        })
        .collect()
}

fn adjacency(topology: &Topology, device: Device) -> Result<Tensor, TrainError> {
    let n = topology.layers().len() as i64;
    Ok(Tensor::f_from_slice(&topology.adjacency())?
        .f_reshape([n, n])?
        .f_to_device(device)?)
}

/// A network that generates the weights of every width configuration of one graph.
pub struct PruningNet {
    topology: Topology,
    params: Params,
    direct: Vec<(String, Tensor)>,
    adjacency: Tensor,
    thetas: Vec<Tensor>,
    generators: Vec<Generator>,
    groups: Vec<NetGroup>,
    device: Device,
}

impl PruningNet {
    /// Creates a Graph PruningNet for `graph` and its analysis. Equal seeds give equal networks.
    ///
    /// # Errors
    /// [`TrainError::NoLayers`] if the graph has no layer with constant weights; otherwise errors
    /// of libtorch.
    pub fn new(
        graph: &Graph,
        analysis: &Analysis,
        config: &PruningNetConfig,
        device: Device,
        seed: u64,
    ) -> Result<Self, TrainError> {
        let topology = Topology::new(graph, analysis);
        if topology.layers().is_empty() {
            return Err(TrainError::NoLayers {
                network: graph.name.clone(),
            });
        }
        let params = match config.start {
            Start::Warm => Params::from_graph(graph, device)?,
            Start::Scratch => Params::from_graph(&initialise(graph, seed)?, device)?,
        };
        let trainable = params.trainable(graph);
        let direct = trainable
            .iter()
            .map(|(_, name, tensor)| (name.clone(), tensor.shallow_clone()))
            .collect();
        let trainable: HashMap<ValueId, Tensor> =
            trainable.into_iter().map(|(id, _, t)| (id, t)).collect();
        let mut random = RandomTensors::new(seed, 1, device);
        Ok(Self {
            thetas: thetas(config, &mut random)?,
            generators: match config.weights {
                NetWeights::Generated => generators(&topology, &trainable, config, &mut random)?,
                NetWeights::Shared => Vec::new(),
            },
            adjacency: adjacency(&topology, device)?,
            groups: NetGroup::all(analysis, &topology),
            topology,
            params,
            direct,
            device,
        })
    }

    /// The topology of the layers.
    #[must_use]
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// The parameters trained directly and the b of every generated weight.
    #[must_use]
    pub fn params(&self) -> &Params {
        &self.params
    }

    fn check(&self, widths: &[usize]) -> Result<(), TrainError> {
        let bad = |reason| Err(TrainError::Widths { reason });
        if widths.len() != self.groups.len() {
            return bad(format!(
                "{} widths for {} groups",
                widths.len(),
                self.groups.len()
            ));
        }
        match widths
            .iter()
            .zip(&self.groups)
            .position(|(&w, g)| (w == 0 && !g.removable) || w > g.channels)
        {
            Some(i) => bad(format!(
                "group {i} cannot keep {} of {} channels",
                widths[i], self.groups[i].channels
            )),
            None => Ok(()),
        }
    }

    /// Embeddings of all layers, `[layers, hidden]`, differentiable.
    fn embed(&self, widths: &[usize]) -> Result<Tensor, TrainError> {
        self.check(widths)?;
        let features = Tensor::f_from_slice(&self.topology.features(widths))?;
        let mut h = features
            .f_reshape([-1, FEATURES as i64])?
            .f_to_device(self.device)?;
        for theta in &self.thetas {
            h = self.adjacency.f_mm(&h.f_mm(theta)?)?.f_relu()?;
        }
        Ok(h)
    }

    /// Returns the embeddings of the weight-bearing layers for kept counts `widths` (one per
    /// group); `[layers][hidden]`.
    ///
    /// # Errors
    /// [`TrainError::Widths`] if a width does not fit its group.
    pub fn embeddings(&self, widths: &[usize]) -> Result<Vec<Vec<f32>>, TrainError> {
        let _guard = tch::no_grad_guard();
        let h = self
            .embed(widths)?
            .f_to_device(Device::Cpu)?
            .f_contiguous()?;
        let mut flat = vec![0f32; h.numel()];
        let count = flat.len();
        h.f_copy_data(&mut flat, count)?;
        Ok(flat
            .chunks(h.size()[1] as usize)
            .map(<[f32]>::to_vec)
            .collect())
    }

    /// Returns the embeddings of the groups, each the mean over its producing layers;
    /// `[groups][hidden]`. They make up the state of the reinforcement learning agent.
    ///
    /// # Errors
    /// As [`PruningNet::embeddings`].
    pub fn group_embeddings(&self, widths: &[usize]) -> Result<Vec<Vec<f32>>, TrainError> {
        let layers = self.embeddings(widths)?;
        let mean = |group: &NetGroup| {
            let members = &group.producers;
            let mut sum = vec![0f32; layers[0].len()];
            for &m in members {
                sum.iter_mut()
                    .zip(&layers[m])
                    .for_each(|(s, x)| *s += x / members.len() as f32);
            }
            sum
        };
        Ok(self.groups.iter().map(mean).collect())
    }

    /// Generates the weights for `widths`, cropped to the channels that `cut` keeps; without a
    /// cut, the configuration's weights at full shape. Use the result with the same cut.
    /// Differentiable unless gradients are off.
    ///
    /// # Errors
    /// [`TrainError::Widths`] if a width does not fit its group; [`TrainError::Exec`] if the cut
    /// does not fit.
    pub fn bind(&self, widths: &[usize], cut: Option<&Cut>) -> Result<Bound<'_>, TrainError> {
        let full: Vec<usize> = self.groups.iter().map(|g| g.channels).collect();
        let h = self.embed(widths)?.f_sub(&self.embed(&full)?)?;
        let mut generated = HashMap::with_capacity(self.generators.len());
        let unused = |layer: &i64| {
            let node = &self.topology.layers()[*layer as usize].node;
            cut.is_some_and(|c| c.dead.contains(node))
        };
        for generator in &self.generators {
            if generator.layers.iter().all(unused) {
                continue;
            }
            let own = match generator.layers.as_slice() {
                [one] => h.f_select(0, *one)?,
                many => h
                    .f_index_select(0, &Tensor::from_slice(many).to_device(self.device))?
                    .f_mean_dim(&[0i64][..], false, None::<Kind>)?,
            };
            let full = generator.generate(&own)?;
            let kept = match cut.and_then(|c| c.crops.get(&generator.weight)) {
                Some(c) => crop(&full, c)?,
                None => full,
            };
            generated.insert(generator.weight, kept);
        }
        Ok(Bound {
            params: &self.params,
            generated,
        })
    }

    /// All trained tensors with stable names.
    pub(crate) fn trained(&self) -> Vec<Trained> {
        let mut out = Vec::new();
        let mut add = |name: String, tensor: &Tensor, decay: bool| {
            out.push(Trained {
                name,
                tensor: tensor.shallow_clone(),
                decay,
            });
        };
        // Without a generator, nothing that is trained depends on an embedding.
        let thetas = self.thetas.iter().filter(|_| !self.generators.is_empty());
        for (i, theta) in thetas.enumerate() {
            add(format!("theta/{i}"), theta, true);
        }
        for generator in &self.generators {
            let name = &generator.name;
            match &generator.kernel {
                Kernel::Full(u) => add(format!("u/{name}"), u, true),
                Kernel::Factored { left, right } => {
                    add(format!("u-left/{name}"), left, true);
                    add(format!("u-right/{name}"), right, true);
                }
            }
        }
        for (name, tensor) in &self.direct {
            add(format!("direct/{name}"), tensor, tensor.dim() > 1);
        }
        out
    }

    /// The state by name.
    pub(crate) fn tensors(&self) -> Vec<(String, Tensor)> {
        self.trained()
            .into_iter()
            .map(|t| (t.name, t.tensor))
            .collect()
    }

    /// Reads the state from a checkpoint of the joint training.
    ///
    /// # Errors
    /// [`TrainError::Checkpoint`] if it is missing, damaged or belongs to another network.
    pub fn load(&mut self, path: &Path) -> Result<Meta, TrainError> {
        let missing = || TrainError::Checkpoint {
            path: path.into(),
            reason: "there is no such file".into(),
        };
        let (meta, stored) = checkpoint::load(path)?.ok_or_else(missing)?;
        checkpoint::restore(path, &stored, &self.tensors())?;
        Ok(meta)
    }
}

/// Generated, cropped weights of one width configuration; other constants come from the net's
/// [`Params`].
pub struct Bound<'a> {
    params: &'a Params,
    generated: HashMap<ValueId, Tensor>,
}

impl Bound<'_> {
    /// The generated weights, by constant.
    #[must_use]
    pub fn generated(&self) -> &HashMap<ValueId, Tensor> {
        &self.generated
    }
}

impl WeightSource for Bound<'_> {
    fn weight(&self, id: ValueId, crop: Option<&Crop>) -> Result<Tensor, ExecError> {
        match self.generated.get(&id) {
            Some(tensor) => Ok(tensor.shallow_clone()),
            None => self.params.weight(id, crop),
        }
    }
}
