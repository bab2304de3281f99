//! What the processes of a training tell each other: one sum a step.
//!
//! Each process computes its slice of the same batch. The sum of their gradients, weighted by
//! their rows, is that of the whole batch, so the number of processes is no part of what a
//! training computes. BatchNorm's batch statistics are those of a slice, unless they are
//! [synced](crate::synced); the running statistics are averaged.

use collective::Team;
use rayon::prelude::*;
use sha2::{Digest as _, Sha256};
use tch::{Device, Kind, Tensor};

use crate::TrainError;
use crate::position::{Position, StepResult};
use crate::sgd::Sgd;

/// A step of all processes.
pub(crate) struct Common {
    /// Loss and score of the whole batch.
    pub result: StepResult,
    /// The L2 norm of the gradient, equal to the last bit on all processes: a sum of libtorch
    /// depends on the number of threads.
    pub norm: f64,
    /// The first process with a loss that is not finite.
    pub broken: Option<usize>,
}

/// The buffer of the sum: gradients, running statistics, then numbers: for each trained tensor
/// whether it has a gradient, then [`LOSS`], [`SCORE`], [`STOP`], and for each process whether its
/// loss is not finite and whether it failed.
pub(crate) struct Exchange<'a> {
    team: &'a Team,
    flat: Tensor,
    /// The trained tensors, ordered by name: equal networks may number their values differently.
    order: Vec<usize>,
    /// Elements of all gradients.
    gradients: i64,
    /// Running means and variances, ordered by name.
    statistics: Vec<Tensor>,
    /// Where the numbers begin.
    numbers: i64,
    /// Whether this process wishes to stop.
    pub wishes_to_stop: bool,
    /// Whether one of them wished so before the last step.
    pub stops: bool,
}

const LOSS: usize = 0;
const SCORE: usize = 1;
const STOP: usize = 2;
/// Where the flags of the processes begin.
const FLAGS: usize = 3;

impl<'a> Exchange<'a> {
    /// Creates the buffer for an optimiser, and for running `statistics`.
    pub fn new(team: &'a Team, sgd: &Sgd, mut statistics: Vec<(String, Tensor)>) -> Self {
        statistics.sort_by(|a, b| a.0.cmp(&b.0));
        let statistics: Vec<Tensor> = statistics.into_iter().map(|named| named.1).collect();
        let trained = sgd.trained();
        let mut order: Vec<usize> = (0..trained.len()).collect();
        order.sort_by(|&a, &b| trained[a].name.cmp(&trained[b].name));
        let count = |tensor: &Tensor| tensor.numel() as i64;
        let gradients: i64 = trained.iter().map(|of| count(&of.tensor)).sum();
        let numbers = gradients + statistics.iter().map(count).sum::<i64>();
        let length = numbers + (order.len() + FLAGS + 2 * team.size()) as i64;
        Self {
            team,
            flat: Tensor::zeros([length], (Kind::Float, Device::Cpu)),
            order,
            gradients,
            statistics,
            numbers,
            wishes_to_stop: false,
            stops: false,
        }
    }

    /// Sums a step up over all processes. `share` is that of this process's rows in the batch.
    /// Afterwards the optimiser has the gradients of the whole batch.
    ///
    /// # Errors
    /// The own error, or [`TrainError::Peer`] if another process has one: all end in the same
    /// step. [`TrainError::Collective`] if a process is gone or silent.
    pub fn sum(
        &mut self,
        sgd: &mut Sgd,
        own: Result<StepResult, TrainError>,
        share: f64,
    ) -> Result<Common, TrainError> {
        let _guard = tch::no_grad_guard();
        let (rank, size) = (self.team.rank(), self.team.size());
        let tensors = self.order.len();
        let mut numbers = vec![0f32; tensors + FLAGS + 2 * size];
        let (present, rest) = numbers.split_at_mut(tensors);
        rest[STOP] = f32::from(u8::from(self.wishes_to_stop));
        match &own {
            Ok(result) => {
                self.pack(sgd, present, share)?;
                rest[LOSS] = (result.loss * share) as f32;
                rest[SCORE] = (result.score * share) as f32;
                rest[FLAGS + rank] = f32::from(u8::from(!result.loss.is_finite()));
            }
            Err(_) => {
                let _ = self.flat.f_zero_()?;
                rest[FLAGS + size + rank] = 1.0;
            }
        }
        let mut tail = self.flat.f_narrow(0, self.numbers, numbers.len() as i64)?;
        tail.f_copy_(&Tensor::f_from_slice(&numbers)?)?;
        let summed = self.team.sum(&self.flat);
        own?;
        summed?;
        tail.f_copy_data(&mut numbers, tail.numel())?;
        let (present, rest) = numbers.split_at(tensors);
        let (broken, failed) = rest[FLAGS..].split_at(size);
        let first = |flags: &[f32]| flags.iter().position(|&flag| flag > 0.0);
        if let Some(rank) = first(failed) {
            return Err(TrainError::Peer { rank });
        }
        self.unpack(sgd, present)?;
        self.stops = rest[STOP] > 0.0;
        Ok(Common {
            result: StepResult {
                loss: f64::from(rest[LOSS]),
                score: f64::from(rest[SCORE]),
            },
            norm: self.norm(),
            broken: first(broken),
        })
    }

    /// Learns whether all processes have their rows of a step whose forward pass needs every one.
    /// The process that has none is left to return its own error.
    ///
    /// # Errors
    /// [`TrainError::Peer`] if another process has none.
    pub fn begin_step(&self, is_ready: bool) -> Result<(), TrainError> {
        let mut failed = vec![0f32; self.team.size()];
        failed[self.team.rank()] = f32::from(u8::from(!is_ready));
        let flags = Tensor::f_from_slice(&failed)?;
        self.team.sum(&flags)?;
        flags.f_copy_data(&mut failed, self.team.size())?;
        let first = failed.iter().position(|&flag| flag > 0.0);
        match first.filter(|_| is_ready) {
            Some(rank) => Err(TrainError::Peer { rank }),
            None => Ok(()),
        }
    }

    /// Tells the others in the step's sum that this process cannot go on, and returns why.
    pub fn give_up(&mut self, sgd: &mut Sgd, error: TrainError) -> TrainError {
        match self.sum(sgd, Err(error), 0.0) {
            Err(error) => error,
            // The own error comes back.
            Ok(_) => TrainError::Peer {
                rank: self.team.rank(),
            },
        }
    }

    /// The layer to blame for a number that is not finite, as process `root` finds it.
    pub fn layer(&self, root: usize, find: impl FnOnce() -> String) -> Result<String, TrainError> {
        let own = if self.team.rank() == root {
            find()
        } else {
            String::new()
        };
        let bytes = self.team.share_bytes(own.as_bytes(), root)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Writes the weighted gradients and statistics, and which tensors have a gradient.
    fn pack(&mut self, sgd: &mut Sgd, present: &mut [f32], share: f64) -> Result<(), TrainError> {
        let mut at = 0;
        let (trained, gradients) = sgd.gradients();
        for (&index, present) in self.order.iter().zip(present) {
            let length = trained[index].tensor.numel() as i64;
            let mut slot = self.flat.f_narrow(0, at, length)?;
            at += length;
            match &gradients[index] {
                Some(gradient) => {
                    slot.f_copy_(&gradient.f_reshape([-1])?)?;
                    *present = 1.0;
                }
                None => {
                    let _ = slot.f_zero_()?;
                }
            }
        }
        for statistic in &self.statistics {
            let length = statistic.numel() as i64;
            let mut slot = self.flat.f_narrow(0, at, length)?;
            slot.f_copy_(&statistic.f_reshape([-1])?)?;
            at += length;
        }
        let _ = self.flat.f_narrow(0, 0, at)?.f_mul_scalar_(share)?;
        Ok(())
    }

    /// Takes the sums over, into tensors of the layout that they have.
    fn unpack(&self, sgd: &mut Sgd, present: &[f32]) -> Result<(), TrainError> {
        let mut at = 0;
        let (trained, gradients) = sgd.gradients();
        for (&index, &present) in self.order.iter().zip(present) {
            let tensor = &trained[index].tensor;
            let length = tensor.numel() as i64;
            let slot = self.flat.f_narrow(0, at, length)?;
            at += length;
            if present > 0.0 {
                let gradient = gradients[index].get_or_insert_with(|| tensor.detach().zeros_like());
                gradient.f_copy_(&slot.f_reshape(tensor.size())?)?;
            }
        }
        for statistic in &self.statistics {
            let length = statistic.numel() as i64;
            let slot = self.flat.f_narrow(0, at, length)?;
            statistic
                .shallow_clone()
                .f_copy_(&slot.f_reshape(statistic.size())?)?;
            at += length;
        }
        Ok(())
    }

    fn norm(&self) -> f64 {
        const CHUNK: usize = 1 << 16;
        // SAFETY: `flat` is a contiguous host tensor of floats with at least `gradients` elements,
        // and nothing writes to it meanwhile.
        let gradients = unsafe {
            std::slice::from_raw_parts(self.flat.data_ptr().cast::<f32>(), self.gradients as usize)
        };
        let square = |chunk: &[f32]| {
            let squares = chunk.iter().map(|&g| f64::from(g) * f64::from(g));
            squares.sum::<f64>()
        };
        let sums: Vec<f64> = gradients.par_chunks(CHUNK).map(square).collect();
        sums.iter().sum::<f64>().sqrt()
    }
}

/// Gives all processes the first one's position and state, so that a training begins and resumes
/// from one file. `found` is the outcome of reading that file, where this process does so.
///
/// # Errors
/// The own error, or [`TrainError::Peer`] if the first process has one; [`TrainError::Unlike`] if
/// this process has other tensors.
pub(crate) fn begin_together(
    team: &Team,
    found: Result<Position, TrainError>,
    mut state: Vec<(String, Tensor)>,
) -> Result<Position, TrainError> {
    let _guard = tch::no_grad_guard();
    state.sort_by(|a, b| a.0.cmp(&b.0));
    let names = state
        .iter()
        .map(|(name, tensor)| format!("{name} {:?}", tensor.size()));
    let digest = Sha256::digest(names.collect::<Vec<_>>().join("\n"));
    let kind = i64::from_le_bytes(std::array::from_fn(|i| digest[i]));
    let numbers = match &found {
        Ok(at) => [1, at.epoch as i64, at.batch as i64, at.step as i64, kind],
        Err(_) => [0; 5],
    };
    let shared = Tensor::f_from_slice(&numbers)?;
    team.broadcast(&shared, 0)?;
    let numbers = Vec::<i64>::try_from(&shared)?;
    found?;
    let [1, epoch, batch, step, leaders] = numbers[..] else {
        return Err(TrainError::Peer { rank: 0 });
    };
    if leaders != kind {
        return Err(TrainError::Unlike { rank: team.rank() });
    }
    for (_, tensor) in &state {
        let host = tensor
            .detach()
            .f_to_device(Device::Cpu)?
            .f_contiguous()?
            .f_reshape([-1])?;
        team.broadcast(&host, 0)?;
        let shaped = host.f_reshape(tensor.size())?;
        tensor.detach().f_copy_(&shaped)?;
    }
    Ok(Position {
        epoch: epoch as usize,
        batch: batch as usize,
        step: step as u64,
    })
}
