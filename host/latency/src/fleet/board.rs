//! The shared queue of a request: assigns tasks to devices, and returns those of failed devices.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::answer::ModelResult;
use crate::{LatencyError, Model};

/// A model to measure once.
#[derive(Clone, Debug)]
pub(super) struct Task {
    pub model: Model,
    pub purpose: Purpose,
    /// Whether it must be taken alone: its chunk failed, perhaps because of it.
    pub alone: bool,
}

/// The purpose of a task. A request ends when all answers are there; the other tasks compare the
/// devices, and are dropped when no device can do them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The answer in this slot.
    Answer(usize),
    /// The model of this slot again, on another device than the one that answers.
    Again(usize),
    /// A task for this device only.
    Only(usize),
}

/// The presence of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    Here,
    /// Set aside until then. `tried` if it failed in this request, after which it is not tried
    /// early.
    Away {
        until: Instant,
        tried: bool,
    },
}

/// The next action of a device.
pub(super) enum Next {
    /// Do these tasks in one measurement.
    Work(Vec<Task>),
    /// Wait for a change, at most for this time.
    Wait(Option<Duration>),
    /// Stop: the request is over.
    End,
}

pub(super) struct Board {
    queue: VecDeque<Task>,
    /// Number of assigned tasks.
    running: usize,
    chunk: usize,
    presence: Vec<Presence>,
    /// The device that took each answer's task.
    owner: Vec<Option<usize>>,
    answers: Vec<Option<ModelResult>>,
    /// The last error of each device in this request.
    errors: Vec<Option<LatencyError>>,
    /// An error of the host, which ends the request.
    fatal: Option<LatencyError>,
}

impl Board {
    pub fn new(
        tasks: impl IntoIterator<Item = Task>,
        answers: Vec<Option<ModelResult>>,
        presence: Vec<Presence>,
        chunk: usize,
    ) -> Self {
        Self {
            queue: tasks.into_iter().collect(),
            running: 0,
            chunk: chunk.max(1),
            owner: vec![None; answers.len()],
            errors: presence.iter().map(|_| None).collect(),
            presence,
            answers,
            fatal: None,
        }
    }

    /// Returns the next action of the device `me`.
    pub fn next(&mut self, me: usize, now: Instant) -> Next {
        if self.fatal.is_some() || self.lost() {
            return Next::End;
        }
        self.drop_impossible();
        if self.queue.is_empty() {
            return match self.running {
                0 => Next::End,
                _ => Next::Wait(None),
            };
        }
        if let Presence::Away { until, tried } = self.presence[me] {
            let others = self.presence.contains(&Presence::Here);
            if until > now && (tried || others) {
                return Next::Wait(Some(until - now));
            }
            self.presence[me] = Presence::Here;
        }
        let tasks = self.take(me);
        if tasks.is_empty() {
            return Next::Wait(None);
        }
        self.running += tasks.len();
        Next::Work(tasks)
    }

    /// Whether every device has failed in this request before all answers are there.
    fn lost(&self) -> bool {
        let gone = |presence: &Presence| matches!(presence, Presence::Away { tried: true, .. });
        self.presence.iter().all(gone) && self.answers.iter().any(Option::is_none)
    }

    /// Takes a chunk of answers, smaller towards the end so that a slow device does not delay the
    /// others; once no answers are left, one of the other tasks.
    fn take(&mut self, me: usize) -> Vec<Task> {
        let answers = |task: &Task| matches!(task.purpose, Purpose::Answer(_));
        let left = self.queue.iter().filter(|task| answers(task)).count();
        let here = self
            .presence
            .iter()
            .filter(|p| **p == Presence::Here)
            .count();
        let size = left.div_ceil(2 * here.max(1)).clamp(1, self.chunk);
        let mut taken: Vec<Task> = Vec::new();
        let mut rest = VecDeque::with_capacity(self.queue.len());
        for task in self.queue.drain(..) {
            let fits = taken.first().is_none_or(|first| {
                taken.len() < size && !first.alone && !task.alone && answers(first)
            });
            let mine = match task.purpose {
                Purpose::Answer(_) => true,
                Purpose::Only(device) => left == 0 && device == me,
                Purpose::Again(slot) => {
                    left == 0 && self.owner[slot].is_some_and(|owner| owner != me)
                }
            };
            if mine && fits {
                if let Purpose::Answer(slot) = task.purpose {
                    self.owner[slot] = Some(me);
                }
                taken.push(task);
            } else {
                rest.push_back(task);
            }
        }
        self.queue = rest;
        taken
    }

    /// Drops tasks that no present device can do.
    fn drop_impossible(&mut self) {
        let here: Vec<usize> = (0..self.presence.len())
            .filter(|&i| self.presence[i] == Presence::Here)
            .collect();
        let owner = &self.owner;
        self.queue.retain(|task| match task.purpose {
            Purpose::Answer(_) => true,
            Purpose::Only(device) => here.contains(&device),
            Purpose::Again(slot) => here.iter().any(|&device| owner[slot] != Some(device)),
        });
    }

    /// Returns whether `me` is the only present device.
    pub fn alone(&self, me: usize) -> bool {
        let others = |(i, presence): (usize, &Presence)| i != me && *presence == Presence::Here;
        !self.presence.iter().enumerate().any(others)
    }

    /// Records the results of tasks, one per task in order.
    pub fn done(&mut self, tasks: Vec<Task>, results: impl IntoIterator<Item = ModelResult>) {
        self.running -= tasks.len();
        for (task, result) in tasks.into_iter().zip(results) {
            if let Purpose::Answer(slot) = task.purpose {
                if result.is_err() {
                    // The model would fail on another device as well.
                    self.queue
                        .retain(|other| other.purpose != Purpose::Again(slot));
                }
                self.answers[slot] = Some(result);
            }
        }
    }

    /// Returns a failed chunk to the queue. Each of its models is then taken alone to find the
    /// one that fails.
    pub fn split(&mut self, tasks: Vec<Task>) {
        self.running -= tasks.len();
        self.give_back(tasks);
    }

    /// Sets a failed device aside and returns its tasks to the queue.
    pub fn lost_device(
        &mut self,
        me: usize,
        tasks: Vec<Task>,
        until: Instant,
        error: LatencyError,
    ) {
        self.running -= tasks.len();
        self.presence[me] = Presence::Away { until, tried: true };
        self.errors[me] = Some(error);
        self.give_back(tasks);
    }

    /// Ends the request with an error of the host.
    pub fn fail(&mut self, tasks: &[Task], error: LatencyError) {
        self.running -= tasks.len();
        self.fatal.get_or_insert(error);
    }

    fn give_back(&mut self, tasks: Vec<Task>) {
        for task in tasks.into_iter().rev() {
            if let Purpose::Answer(slot) = task.purpose {
                self.owner[slot] = None;
            }
            self.queue.push_front(Task {
                alone: true,
                ..task
            });
        }
    }

    /// Returns the answers in order.
    pub fn finish(self) -> Result<Vec<ModelResult>, BoardError> {
        if let Some(error) = self.fatal {
            return Err(BoardError::Host(error));
        }
        let (count, errors) = (self.answers.len(), self.errors);
        let answers: Vec<ModelResult> = self.answers.into_iter().flatten().collect();
        if answers.len() == count {
            Ok(answers)
        } else {
            Err(BoardError::Devices(errors))
        }
    }
}

/// The error of a request: that of the host, or those of the devices.
pub(super) enum BoardError {
    Host(LatencyError),
    Devices(Vec<Option<LatencyError>>),
}
