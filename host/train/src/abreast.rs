//! Fine-tunings side by side: each of several processes trains a whole network, and the first
//! process gets the checkpoints of all.
//!
//! What a process computes is what it computes alone. After each step all processes make one small
//! sum, with which an error or a stop of one of them ends all after the same step. Trainings of
//! different lengths wait for the longest.

use std::fs;
use std::ops::ControlFlow;
use std::path::PathBuf;

use collective::Team;

use crate::TrainError;
use crate::checkpoint::write_atomically;
use crate::finetune::{TrainJob, finetune};
use crate::observer::{Event, Observer};
use crate::teacher::TeacherSetup;
use crate::training::Completion;

/// Fine-tunes a network on each process, `own` on this one, if there is one for it. `files` are the
/// checkpoints of all trainings, by process. The first process has the files from which trainings
/// resume, and gets those of the others at the end of each epoch and of the training; another
/// process keeps only its own while it trains.
///
/// # Errors
/// The own error, or [`TrainError::Peer`] if another process has one; [`TrainError::Collective`] if
/// a process is gone or silent.
pub fn finetune_abreast(
    team: &Team,
    own: Option<(&TrainJob<'_>, TeacherSetup<'_>)>,
    files: &[PathBuf],
    observer: &mut dyn Observer,
) -> Result<Completion, TrainError> {
    let mut link = Link {
        team,
        files,
        stops: false,
        failure: None,
    };
    let result = match (link.hand_out(), own) {
        (Err(broken), _) => Err(broken),
        (Ok(()), None) => Ok(Completion::Finished),
        (Ok(()), Some((job, teacher))) => {
            let job = TrainJob {
                team: None,
                checkpoint: files.get(team.rank()).map(PathBuf::as_path),
                ..*job
            };
            let mut watch = |event: Event| {
                let ends_epoch =
                    (event.step * event.epochs as u64).is_multiple_of(event.steps.max(1));
                let note = Note {
                    saved: ends_epoch && event.checkpointed,
                    wishes_to_stop: observer.progress(event).is_break(),
                    ..Note::default()
                };
                link.step(&note)
            };
            let trained = finetune(&job, Some(teacher), &mut watch);
            trained.map(|(_, end)| end).map_err(Broken::from)
        }
    };
    link.finish(result)
}

/// What a process tells the others.
#[derive(Default)]
struct Note {
    wishes_to_stop: bool,
    failed: bool,
    done: bool,
    /// Its checkpoint is new, and the first process wants it.
    saved: bool,
}

/// What all of them tell.
struct Notes {
    stop: bool,
    done: bool,
    saved: Vec<usize>,
}

/// Why a training is broken off.
enum Broken {
    /// The other processes go on, unless they are told.
    Alone(TrainError),
    /// They know.
    Together(TrainError),
}

impl From<TrainError> for Broken {
    fn from(error: TrainError) -> Self {
        match error {
            TrainError::Peer { .. } | TrainError::Collective(_) => Self::Together(error),
            error => Self::Alone(error),
        }
    }
}

struct Link<'a> {
    team: &'a Team,
    files: &'a [PathBuf],
    /// Whether one of the processes wished to stop: all do, after the same step.
    stops: bool,
    /// Why the own training is broken off, other than by itself.
    failure: Option<Broken>,
}

impl Link<'_> {
    fn exchange(&self, own: &Note) -> Result<Notes, TrainError> {
        let (rank, size) = (self.team.rank(), self.team.size());
        let mut numbers = vec![0f64; 1 + 3 * size];
        let flag = |of: bool| f64::from(u8::from(of));
        numbers[0] = flag(own.wishes_to_stop);
        for (at, of) in [own.failed, own.done, own.saved].into_iter().enumerate() {
            numbers[1 + at * size + rank] = flag(of);
        }
        self.team.sum_numbers(&mut numbers)?;
        let of = |at: usize| &numbers[1 + at * size..][..size];
        if let Some(rank) = of(0).iter().position(|&failed| failed > 0.0) {
            return Err(TrainError::Peer { rank });
        }
        Ok(Notes {
            stop: numbers[0] > 0.0,
            done: of(1).iter().all(|&done| done > 0.0),
            saved: (0..size).filter(|&rank| of(2)[rank] > 0.0).collect(),
        })
    }

    /// Goes on where all processes can, or tells them that this one cannot.
    fn agreed<T>(&self, own: Result<T, TrainError>) -> Result<T, Broken> {
        let told = self.exchange(&Note {
            failed: own.is_err(),
            ..Note::default()
        });
        let own = own.map_err(Broken::Together)?;
        told?;
        Ok(own)
    }

    /// The content of a checkpoint; empty if there is none.
    fn read(&self, rank: usize) -> Result<Vec<u8>, TrainError> {
        match fs::read(&self.files[rank]) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            read => read.map_err(|source| TrainError::Io {
                path: self.files[rank].clone(),
                source,
            }),
        }
    }

    /// Gives each process the checkpoint from which its training resumes.
    fn hand_out(&self) -> Result<(), Broken> {
        let ranks = 1..self.files.len();
        let held: Result<Vec<Vec<u8>>, TrainError> = match self.team.leads() {
            true => ranks.clone().map(|rank| self.read(rank)).collect(),
            false => Ok(vec![Vec::new(); ranks.len()]),
        };
        for (rank, own) in ranks.zip(self.agreed(held)?) {
            let bytes = self.share(&own, 0)?;
            if rank == self.team.rank() && !bytes.is_empty() {
                write_atomically(&self.files[rank], &bytes)?;
            }
        }
        Ok(())
    }

    /// Brings the checkpoints of some processes to the first one.
    fn collect(&self, from: &[usize]) -> Result<(), Broken> {
        for &rank in from.iter().filter(|&&rank| rank > 0) {
            let own = match self.team.rank() == rank {
                true => self.read(rank),
                false => Ok(Vec::new()),
            };
            let bytes = self.share(&self.agreed(own)?, rank)?;
            if self.team.leads() && !bytes.is_empty() {
                write_atomically(&self.files[rank], &bytes)?;
            }
        }
        Ok(())
    }

    fn share(&self, own: &[u8], root: usize) -> Result<Vec<u8>, TrainError> {
        Ok(self.team.share_bytes(own, root)?)
    }

    fn step(&mut self, note: &Note) -> ControlFlow<()> {
        let all = self.exchange(note).map_err(Broken::from);
        let done = all.and_then(|all| {
            self.stops = all.stop;
            self.collect(&all.saved)
        });
        self.failure = done.err();
        match self.failure.is_some() || self.stops {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }

    /// Waits for the other trainings.
    fn wait(&mut self, own: Completion) -> Result<Completion, Broken> {
        while !self.stops {
            let all = self.exchange(&Note {
                done: true,
                ..Note::default()
            })?;
            self.collect(&all.saved)?;
            if all.done {
                return Ok(own);
            }
            self.stops = all.stop;
        }
        // Trainings that stop write a checkpoint, which may fail.
        self.agreed(Ok(()))?;
        let all: Vec<usize> = (0..self.files.len()).collect();
        self.collect(&all)?;
        Ok(Completion::Stopped)
    }

    /// Waits for the other trainings, or tells them that this one failed.
    fn finish(mut self, own: Result<Completion, Broken>) -> Result<Completion, TrainError> {
        let own = match self.failure.take() {
            Some(failure) => Err(failure),
            None => own,
        };
        match own.and_then(|end| self.wait(end)) {
            Ok(end) => Ok(end),
            Err(Broken::Together(error)) => Err(error),
            // The own reason counts, whether or not the others are still there.
            Err(Broken::Alone(error)) => match self.agreed::<()>(Err(error)) {
                Err(Broken::Alone(error) | Broken::Together(error)) => Err(error),
                Ok(()) => Ok(Completion::Stopped),
            },
        }
    }
}
