//! Samples in memory on which networks are measured. Of several processes each one holds a part,
//! and one sum gives the score on all of them.

use std::rc::Rc;
use std::sync::Arc;

use channels::Cut;
use collective::Team;
use datasets::Dataset;
use onnx_graph::Graph;
use tch::{Device, Tensor};
use torch_exec::{NormMode, Params, WeightSource};

use crate::TrainError;
use crate::network::{Network, Runtime};
use crate::samples::{EvaluatorConfig, draw, read};
use crate::task::{Score, Tally, Task};

/// Samples of a split, or this process's part of them.
pub struct Held {
    task: Arc<dyn Task>,
    batches: Vec<(Tensor, Tensor)>,
    /// The original's heads on each batch, where they are remembered.
    originals: Vec<Vec<Tensor>>,
    /// The processes that hold the other parts. All of them measure the same networks.
    team: Option<Rc<Team>>,
}

impl Held {
    /// Draws samples of `data`, and reads the part of them that falls to this process.
    ///
    /// # Errors
    /// [`TrainError::Data`] if a sample cannot be read, [`TrainError::TooFewImages`] without any.
    pub fn draw(
        data: &dyn Dataset,
        task: Arc<dyn Task>,
        config: &EvaluatorConfig,
        device: Device,
        team: Option<Rc<Team>>,
    ) -> Result<Self, TrainError> {
        if data.is_empty() {
            return Err(TrainError::TooFewImages {
                what: "the search split",
                held: 0,
                batch: config.batch,
            });
        }
        let count = match config.search_images {
            0 => data.len(),
            count => count,
        };
        let indices = draw(data.len(), count, config.seed);
        let batches = part(&indices, team.as_deref()).chunks(config.batch.max(1));
        let batches = batches.map(|batch| read(data, batch, device));
        Ok(Self {
            batches: batches.collect::<Result<_, _>>()?,
            task,
            originals: Vec::new(),
            team,
        })
    }

    /// Computes what the original gives. Later scores compare networks with it.
    ///
    /// # Errors
    /// Errors of compiling and running the network.
    pub fn remember(&mut self, original: &Graph, runtime: Runtime) -> Result<(), TrainError> {
        let _guard = tch::no_grad_guard();
        let network = Network::for_task(original, &*self.task, runtime.options)?;
        let params = Params::with_options(original, runtime.device, &runtime.options)?;
        let heads = self.batches.iter().map(|(images, _)| {
            let outputs = network.outputs(images, &params, None, NormMode::Running, &[])?;
            Ok(outputs.heads)
        });
        self.originals = heads.collect::<Result<_, TrainError>>()?;
        Ok(())
    }

    /// Measures a network with its own weights and statistics, together with the other processes.
    ///
    /// # Errors
    /// Errors of compiling and running the network; [`TrainError::Peer`] if another process has
    /// one, and [`TrainError::Collective`] if a process is gone or silent.
    pub fn score_of(&self, graph: &Graph, runtime: Runtime) -> Result<Score, TrainError> {
        tallied(&*self.task, self.team.as_deref(), |tally| {
            let network = Network::for_task(graph, &*self.task, runtime.options)?;
            let params = Params::with_options(graph, runtime.device, &runtime.options)?;
            self.add(tally, &network, (&params, None))
        })
    }

    /// Measures `network` with other weights, likewise.
    pub(crate) fn measure(
        &self,
        network: &Network,
        weights: (&dyn WeightSource, Option<&Cut>),
    ) -> Result<Score, TrainError> {
        tallied(&*self.task, self.team.as_deref(), |tally| {
            self.add(tally, network, weights)
        })
    }

    fn add(
        &self,
        tally: &mut dyn Tally,
        network: &Network,
        (weights, cut): (&dyn WeightSource, Option<&Cut>),
    ) -> Result<(), TrainError> {
        for (index, (images, targets)) in self.batches.iter().enumerate() {
            let own = network.outputs(images, weights, cut, NormMode::Running, &[])?;
            let original = self.originals.get(index);
            tally.add(&own.heads, targets, original.map(|heads| &heads[..]))?;
        }
        Ok(())
    }
}

/// The samples that fall to this process: as many as to the others, give or take one.
pub(crate) fn part<'a>(indices: &'a [usize], team: Option<&Team>) -> &'a [usize] {
    let (rank, size) = team.map_or((0, 1), |team| (team.rank(), team.size()));
    &indices[indices.len() * rank / size..indices.len() * (rank + 1) / size]
}

/// The score of what `fill` adds to a tally, on all processes of `team`: one sum makes the tallies
/// of their parts one.
///
/// # Errors
/// The own error, or [`TrainError::Peer`] if another process has one; [`TrainError::Collective`] if
/// a process is gone or silent.
pub(crate) fn tallied(
    task: &dyn Task,
    team: Option<&Team>,
    fill: impl FnOnce(&mut dyn Tally) -> Result<(), TrainError>,
) -> Result<Score, TrainError> {
    let _guard = tch::no_grad_guard();
    let mut tally = task.tally();
    let own = fill(&mut *tally);
    let Some(team) = team else {
        own?;
        return Ok(tally.score());
    };
    let mut numbers = tally.sums();
    let sums = numbers.len();
    numbers.resize(sums + team.size(), 0.0);
    numbers[sums + team.rank()] = f64::from(u8::from(own.is_err()));
    let summed = team.sum_numbers(&mut numbers);
    own?;
    summed?;
    if let Some(rank) = numbers[sums..].iter().position(|&failed| failed > 0.0) {
        return Err(TrainError::Peer { rank });
    }
    tally.take(&numbers[..sums]);
    Ok(tally.score())
}
