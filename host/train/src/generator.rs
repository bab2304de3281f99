//! Weight generators of the layers.

use std::collections::{BTreeMap, HashMap};

use onnx_graph::ValueId;
use tch::{Kind, Tensor};

use crate::TrainError;
use crate::config::PruningNetConfig;
use crate::init::RandomTensors;
use crate::topology::Topology;

#[derive(Debug)]
pub(crate) enum Kernel {
    /// U, `[weights, hidden]`.
    Full(Tensor),
    /// The part of a weight at index `o` of axis 0 is `left[o] · R` with `R = right h`, which has
    /// shape `[rank, weights per index]`.
    Factored { left: Tensor, right: Tensor },
}

/// Generates one weight from the embedding of its layers.
#[derive(Debug)]
pub(crate) struct Generator {
    pub weight: ValueId,
    /// Name of the first layer that uses the weight.
    pub name: String,
    /// Positions in the topology of the layers that use the weight.
    pub layers: Vec<i64>,
    /// b, the weight of the full network.
    pub base: Tensor,
    pub kernel: Kernel,
}

/// Creates a generator for every weight of the topology in `trainable`.
pub(crate) fn generators(
    topology: &Topology,
    trainable: &HashMap<ValueId, Tensor>,
    config: &PruningNetConfig,
    random: &mut RandomTensors,
) -> Result<Vec<Generator>, TrainError> {
    let mut users: BTreeMap<ValueId, Vec<i64>> = BTreeMap::new();
    for (i, layer) in topology.layers().iter().enumerate() {
        users.entry(layer.weight).or_default().push(i as i64);
    }
    let mut generators = Vec::new();
    for (weight, layers) in users {
        let Some(base) = trainable.get(&weight) else {
            continue;
        };
        generators.push(Generator {
            weight,
            name: topology.layers()[layers[0] as usize].name.clone(),
            layers,
            kernel: Kernel::random(base, config, random)?,
            base: base.shallow_clone(),
        });
    }
    Ok(generators)
}

impl Kernel {
    fn random(
        base: &Tensor,
        config: &PruningNetConfig,
        random: &mut RandomTensors,
    ) -> Result<Self, TrainError> {
        let count = base.numel();
        let width = config.embedding_width();
        let deviation = base
            .detach()
            .f_square()?
            .f_mean(Kind::Float)?
            .f_double_value(&[])?
            .sqrt();
        let std = config.u_scale * deviation / (width as f64).sqrt();
        if count <= config.factor_above || config.rank == 0 {
            return Ok(Self::Full(random.draw(&[count, width], std)?));
        }
        let rows = base.size().first().map_or(1, |&d| d as usize).max(1);
        let rank = config.rank;
        Ok(Self::Factored {
            left: random.draw(&[rows, rank], 1.0 / (rank as f64).sqrt())?,
            right: random.draw(&[rank * (count / rows), width], std)?,
        })
    }
}

impl Generator {
    /// Generates the weight for the embedding `h` `[hidden]`, at full width.
    pub fn generate(&self, h: &Tensor) -> Result<Tensor, TrainError> {
        let shape = self.base.size();
        match &self.kernel {
            Kernel::Full(u) => Ok(self
                .base
                .f_reshape([-1])?
                .f_addmv(u, h)?
                .f_reshape(&shape)?),
            Kernel::Factored { left, right } => {
                let per = right.f_mv(h)?.f_reshape([left.size()[1], -1])?;
                Ok(left.f_mm(&per)?.f_reshape(&shape)?.f_add(&self.base)?)
            }
        }
    }
}
