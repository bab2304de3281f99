//! The shared queue of a fleet's request: who takes what, and what is left when somebody fails.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::{LatencyError, Model};

use super::Outcome;

/// A model to be measured once.
#[derive(Clone, Debug)]
pub(super) struct Task {
    pub model: Model,
    pub purpose: Purpose,
    /// Whether it is taken alone: it was in a chunk that failed, and may be the reason.
    pub alone: bool,
}

/// What a task is for. A request is answered when all its wanted ones are; the others serve the comparison of the devices
/// and are dropped when nobody can do them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The answer at this place.
    Wanted(usize),
    /// The model at this place once more, on another device than the one that answers.
    Again(usize),
    /// Something that only this device can do.
    Only(usize),
}

/// Whether a device works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    Here,
    /// Set aside until then; `tried` in this request, so that it is not forced to try again.
    Away {
        until: Instant,
        tried: bool,
    },
}

/// What a device is to do next.
pub(super) enum Next {
    /// These, at once.
    Work(Vec<Task>),
    /// Wait until something changes, or so long.
    Wait(Option<Duration>),
    /// The request is over.
    End,
}

pub(super) struct Board {
    queue: VecDeque<Task>,
    /// Tasks that some device has taken.
    running: usize,
    chunk: usize,
    presence: Vec<Presence>,
    /// Who has taken which wanted task.
    owner: Vec<Option<usize>>,
    answers: Vec<Option<Outcome>>,
    /// The last error of every device in this request.
    errors: Vec<Option<LatencyError>>,
    /// The host's own error, which ends the request.
    fatal: Option<LatencyError>,
}

impl Board {
    pub fn new(
        tasks: impl IntoIterator<Item = Task>,
        answers: Vec<Option<Outcome>>,
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

    /// What `me` is to do.
    pub fn next(&mut self, me: usize, now: Instant) -> Next {
        if self.fatal.is_some() || self.lost() {
            return Next::End;
        }
        self.drop_what_nobody_can_do();
        if self.queue.is_empty() {
            return match self.running {
                0 => Next::End,
                _ => Next::Wait(None),
            };
        }
        if let Presence::Away { until, tried } = self.presence[me] {
            let nobody = !self.presence.contains(&Presence::Here);
            if until > now && (tried || !nobody) {
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

    /// Whether every device has failed in this request and something is left to do.
    fn lost(&self) -> bool {
        let gone = |presence: &Presence| matches!(presence, Presence::Away { tried: true, .. });
        self.presence.iter().all(gone) && self.answers.iter().any(Option::is_none)
    }

    /// A chunk of what is wanted, smaller as the end comes near, so that a slow device does not hold up the others; when nothing
    /// is wanted any more, one of the other tasks.
    fn take(&mut self, me: usize) -> Vec<Task> {
        let wanted = |task: &Task| matches!(task.purpose, Purpose::Wanted(_));
        let left = self.queue.iter().filter(|task| wanted(task)).count();
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
                taken.len() < size && !first.alone && !task.alone && wanted(first)
            });
            let mine = match task.purpose {
                Purpose::Wanted(_) => true,
                Purpose::Only(device) => left == 0 && device == me,
                Purpose::Again(place) => {
                    left == 0 && self.owner[place].is_some_and(|owner| owner != me)
                }
            };
            if mine && fits {
                if let Purpose::Wanted(place) = task.purpose {
                    self.owner[place] = Some(me);
                }
                taken.push(task);
            } else {
                rest.push_back(task);
            }
        }
        self.queue = rest;
        taken
    }

    fn drop_what_nobody_can_do(&mut self) {
        let here: Vec<usize> = (0..self.presence.len())
            .filter(|&i| self.presence[i] == Presence::Here)
            .collect();
        let owner = &self.owner;
        self.queue.retain(|task| match task.purpose {
            Purpose::Wanted(_) => true,
            Purpose::Only(device) => here.contains(&device),
            Purpose::Again(place) => here.iter().any(|&device| owner[place] != Some(device)),
        });
    }

    /// Whether `me` is the only device at work.
    pub fn alone(&self, me: usize) -> bool {
        let others = |(i, presence): (usize, &Presence)| i != me && *presence == Presence::Here;
        !self.presence.iter().enumerate().any(others)
    }

    /// One outcome a task, in order.
    pub fn done(&mut self, tasks: Vec<Task>, outcomes: impl IntoIterator<Item = Outcome>) {
        self.running -= tasks.len();
        for (task, outcome) in tasks.into_iter().zip(outcomes) {
            if let Purpose::Wanted(place) = task.purpose {
                if outcome.is_err() {
                    // Nor would it come to anything on another device.
                    self.queue
                        .retain(|other| other.purpose != Purpose::Again(place));
                }
                self.answers[place] = Some(outcome);
            }
        }
    }

    /// One of these models makes the measurement fail. Which one is found out by taking each alone.
    pub fn split(&mut self, tasks: Vec<Task>) {
        self.running -= tasks.len();
        self.give_back(tasks);
    }

    /// The device failed; its work goes to others.
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

    /// The host failed.
    pub fn fail(&mut self, tasks: &[Task], error: LatencyError) {
        self.running -= tasks.len();
        self.fatal.get_or_insert(error);
    }

    fn give_back(&mut self, tasks: Vec<Task>) {
        for task in tasks.into_iter().rev() {
            if let Purpose::Wanted(place) = task.purpose {
                self.owner[place] = None;
            }
            self.queue.push_front(Task {
                alone: true,
                ..task
            });
        }
    }

    /// The answers in their order. Otherwise what ended the request: the host's error, or those of all devices.
    pub fn end(self) -> Result<Vec<Outcome>, End> {
        if let Some(error) = self.fatal {
            return Err(End::Host(error));
        }
        let (count, errors) = (self.answers.len(), self.errors);
        let answers: Vec<Outcome> = self.answers.into_iter().flatten().collect();
        if answers.len() == count {
            Ok(answers)
        } else {
            Err(End::Devices(errors))
        }
    }
}

/// Why a request came to nothing.
pub(super) enum End {
    Host(LatencyError),
    Devices(Vec<Option<LatencyError>>),
}
