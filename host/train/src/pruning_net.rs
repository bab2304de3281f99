//! Graph PruningNet (Zhang et al., arXiv 1911.09817): a graph convolutional network over the layers' topology whose
//! node embeddings generate every layer's weights for a given width configuration.
//!
//! `H_0 = X(c)`, `H_{l+1} = relu(Â H_l Θ_l)`, `vec(W_i) = U_i (h_i(c) - h_i(full)) + b_i`. The paper has `U_i h_i(c) + b_i`,
//! the same functions with `b_i - U_i h_i(full)` in the place of `b_i`. Written like this, `b_i` is the weight of the full
//! network, which therefore starts as the user's in a warm start, and the large constant part of an embedding does not
//! multiply the gradient of `U_i`; with it, a warm start of ResNet-20 lost most of its accuracy. A weight shared by several layers is generated
//! from the mean of their embeddings. `b_i` lives in the same [`Params`] as the parameters that are trained directly
//! (biases, BatchNorm's scale and shift), so a warm start needs no copying.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use channels::{Analysis, Crop, Cut, GroupId};
use onnx_graph::{Graph, ValueId};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};
use torch_exec::{ExecError, Params, WeightSource, crop};

use crate::TrainError;
use crate::checkpoint::{self, Meta};
use crate::generator::{Generator, Kernel};
use crate::init::{initialise, spread};
use crate::sgd::Trained;
use crate::topology::{FEATURES, Topology};

/// Where the generated weights start.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// At the weights that the graph holds: at first the full-width network is the user's network.
    #[default]
    Warm,
    /// At He initialisation, the paper's way.
    Scratch,
}

/// Settings of a [`PruningNet`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PruningNetConfig {
    /// Width of the embeddings.
    pub hidden: usize,
    /// Graph convolution layers.
    pub layers: usize,
    /// Where the generated weights start.
    pub start: Start,
    /// Standard deviation of U's elements, as a share of the layer's weights' own over the root of `hidden`.
    pub u_scale: f64,
    /// Layers with more weights than this get a factored generator.
    pub factor_above: usize,
    /// Rank of the factored generators.
    pub rank: usize,
}

impl Default for PruningNetConfig {
    fn default() -> Self {
        Self {
            hidden: 32,
            layers: 2,
            start: Start::Warm,
            u_scale: 0.01,
            factor_above: 200_000,
            rank: 4,
        }
    }
}

/// What the network needs to know of a group.
struct NetGroup {
    channels: usize,
    /// Whether it may be emptied.
    removable: bool,
    /// Positions of the producing layers.
    producers: Vec<usize>,
}

/// The network that generates the weights of every width configuration of one graph.
pub struct PruningNet {
    topology: Topology,
    params: Params,
    direct: Vec<(String, Tensor)>,
    adjacency: Tensor,
    thetas: Vec<Tensor>,
    generators: Vec<Generator>,
    groups: Vec<NetGroup>,
    config: PruningNetConfig,
    device: Device,
}

impl PruningNet {
    /// A Graph PruningNet for `graph`, with the analysis of the same graph. Equal seeds give equal networks.
    ///
    /// # Errors
    /// [`TrainError::NoLayers`] when the graph has no layer with constant weights; otherwise what libtorch reports.
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
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(1);
        let hidden = config.hidden;
        let mut random = |shape: &[usize], std: f64| -> Result<Tensor, TrainError> {
            let values = spread(&mut rng, shape.iter().product(), std);
            let dims: Vec<i64> = shape.iter().map(|&d| d as i64).collect();
            Ok(Tensor::f_from_slice(&values)?
                .f_reshape(dims)?
                .f_to_device(device)?
                .f_set_requires_grad(true)?)
        };
        let mut thetas = Vec::new();
        for l in 0..config.layers {
            let rows = if l == 0 { FEATURES } else { hidden };
            thetas.push(random(&[rows, hidden], (2.0 / rows as f64).sqrt())?);
        }
        let mut users: BTreeMap<ValueId, Vec<i64>> = BTreeMap::new();
        for (i, layer) in topology.layers().iter().enumerate() {
            users.entry(layer.weight).or_default().push(i as i64);
        }
        let trainable = params.trainable(graph);
        let direct = trainable
            .iter()
            .map(|(_, n, t)| (n.clone(), t.shallow_clone()))
            .collect();
        let trainable: HashMap<ValueId, Tensor> =
            trainable.into_iter().map(|(id, _, t)| (id, t)).collect();
        let mut generators = Vec::new();
        for (weight, layers) in users {
            let Some(base) = trainable.get(&weight) else {
                continue;
            };
            let shape = base.size();
            let count = base.numel();
            let width = if config.layers == 0 { FEATURES } else { hidden };
            let deviation = base
                .detach()
                .f_square()?
                .f_mean(Kind::Float)?
                .f_double_value(&[])?
                .sqrt();
            let std = config.u_scale * deviation / (width as f64).sqrt();
            let rows = shape.first().map_or(1, |&d| d as usize).max(1);
            let kernel = if count > config.factor_above && config.rank > 0 {
                let left = random(&[rows, config.rank], 1.0 / (config.rank as f64).sqrt())?;
                Kernel::Factored {
                    left,
                    right: random(&[config.rank * (count / rows), width], std)?,
                }
            } else {
                Kernel::Full(random(&[count, width], std)?)
            };
            let name = topology.layers()[layers[0] as usize].name.clone();
            generators.push(Generator {
                weight,
                name,
                layers,
                shape,
                base: base.shallow_clone(),
                kernel,
            });
        }
        let n = topology.layers().len() as i64;
        let adjacency = Tensor::f_from_slice(&topology.adjacency())?
            .f_reshape([n, n])?
            .f_to_device(device)?;
        let at: HashMap<_, _> = topology
            .layers()
            .iter()
            .enumerate()
            .map(|(i, l)| (l.node, i))
            .collect();
        let groups = analysis.groups().iter().enumerate();
        let groups = groups
            .map(|(i, g)| NetGroup {
                channels: g.channels,
                removable: analysis.removal(GroupId(i)).is_some(),
                producers: g
                    .producers
                    .iter()
                    .filter_map(|p| at.get(p).copied())
                    .collect(),
            })
            .collect();
        Ok(Self {
            topology,
            params,
            direct,
            adjacency,
            thetas,
            generators,
            groups,
            config: config.clone(),
            device,
        })
    }

    /// The topology graph it works on.
    #[must_use]
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// The parameters trained directly, and the b of every generated weight.
    #[must_use]
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// The settings it was made with.
    #[must_use]
    pub fn config(&self) -> &PruningNetConfig {
        &self.config
    }

    /// Where its tensors live.
    #[must_use]
    pub fn device(&self) -> Device {
        self.device
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

    /// The embedding of every weight-bearing layer for kept counts `widths` (one per group); `[layers][hidden]`.
    ///
    /// # Errors
    /// [`TrainError::Widths`] when a width does not fit its group.
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

    /// The embedding of every group, the mean over its producing layers; `[groups][hidden]`. The reinforcement
    /// learning's state is made of these.
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

    /// Generates the weights for `widths`, cropped to what `cut` keeps (all, if `None`: the configuration's weights at
    /// full shape). The result must be used with the same cut. Differentiable unless gradients are off.
    ///
    /// # Errors
    /// [`TrainError::Widths`] when a width does not fit its group; [`TrainError::Exec`] when the cut does not fit.
    pub fn bind(&self, widths: &[usize], cut: Option<&Cut>) -> Result<Bound<'_>, TrainError> {
        let full: Vec<usize> = self.groups.iter().map(|g| g.channels).collect();
        let h = self.embed(widths)?.f_sub(&self.embed(&full)?)?;
        let mut generated = HashMap::with_capacity(self.generators.len());
        let unused = |layer: &i64| {
            let node = &self.topology.layers()[*layer as usize].node;
            cut.is_some_and(|c| c.dead.contains(node))
        };
        for g in &self.generators {
            if g.layers.iter().all(unused) {
                continue;
            }
            let own = match g.layers.as_slice() {
                [one] => h.f_select(0, *one)?,
                many => h
                    .f_index_select(0, &Tensor::from_slice(many).to_device(self.device))?
                    .f_mean_dim(&[0i64][..], false, None::<Kind>)?,
            };
            let full = g.generate(&own)?;
            let kept = match cut.and_then(|c| c.crops.get(&g.weight)) {
                Some(c) => crop(&full, c)?,
                None => full,
            };
            generated.insert(g.weight, kept);
        }
        Ok(Bound {
            params: &self.params,
            generated,
        })
    }

    /// Everything that is trained, with stable names.
    pub(crate) fn trained(&self) -> Vec<Trained> {
        let mut out = Vec::new();
        for (i, theta) in self.thetas.iter().enumerate() {
            out.push(Trained {
                name: format!("theta/{i}"),
                tensor: theta.shallow_clone(),
                decay: true,
            });
        }
        for g in &self.generators {
            let mut add = |part: &str, t: &Tensor| {
                out.push(Trained {
                    name: format!("{part}/{}", g.name),
                    tensor: t.shallow_clone(),
                    decay: true,
                });
            };
            match &g.kernel {
                Kernel::Full(u) => add("u", u),
                Kernel::Factored { left, right } => {
                    add("u-left", left);
                    add("u-right", right);
                }
            }
        }
        for (name, tensor) in &self.direct {
            let (name, decay) = (format!("direct/{name}"), tensor.dim() > 1);
            out.push(Trained {
                name,
                tensor: tensor.shallow_clone(),
                decay,
            });
        }
        out
    }

    /// Everything that makes up its state, by name.
    pub(crate) fn tensors(&self) -> Vec<(String, Tensor)> {
        self.trained()
            .into_iter()
            .map(|t| (t.name, t.tensor))
            .collect()
    }

    /// Writes the state to `path`, atomically.
    ///
    /// # Errors
    /// As [`checkpoint::save`].
    pub fn save(&self, path: &Path, seed: u64) -> Result<(), TrainError> {
        let meta = Meta {
            kind: "pruning-net".into(),
            fingerprint: checkpoint::fingerprint(&self.config),
            seed,
            epoch: 0,
            batch: 0,
            step: 0,
        };
        checkpoint::save(path, &meta, &self.tensors())
    }

    /// Reads the state from a file that [`PruningNet::save`] or a joint training's checkpoint wrote.
    ///
    /// # Errors
    /// [`TrainError::Checkpoint`] when it is missing, damaged or belongs to another network.
    pub fn load(&mut self, path: &Path) -> Result<Meta, TrainError> {
        let missing = || TrainError::Checkpoint {
            path: path.into(),
            reason: "there is no such file".into(),
        };
        let (meta, held) = checkpoint::load(path)?.ok_or_else(missing)?;
        checkpoint::restore(path, &held, &self.tensors())?;
        Ok(meta)
    }
}

/// Generated, cropped weights of one width configuration; everything else comes from the net's [`Params`].
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
