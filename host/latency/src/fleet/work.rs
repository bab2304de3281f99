//! A fleet measures a request, with one thread per device.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use agent_protocol::{DeviceInfo, Measurement, bounds};

use super::answer::{Answer, ModelResult};
use super::board::{Board, BoardError, Next, Presence, Purpose, Task};
use super::devices::Fleet;
use super::fault::{Fault, no_device_left};
use super::member::{FleetConfig, Member};
use super::threads::joined;
use crate::{LatencyError, LatencySource, MeasureRequest, Model};

impl<S: LatencySource + Send> Fleet<S> {
    /// Measures a request: returns one result per model, in order. Without models, the reference
    /// is measured alone on one device.
    ///
    /// # Errors
    /// [`LatencyError::NoDeviceLeft`] if every device failed; others if the host fails.
    /// Measurements taken by then are in the devices' stores.
    pub fn measure_on(
        &mut self,
        request: &MeasureRequest,
    ) -> Result<Vec<ModelResult>, LatencyError> {
        // The reference alone is a model like any other.
        let request = match (&request.reference, request.models.is_empty()) {
            (Some(reference), true) => &MeasureRequest {
                models: vec![reference.clone()],
                reference: None,
                ..request.clone()
            },
            _ => request,
        };
        let stored = self.stored(request)?;
        let tasks = self.tasks(request, &stored);
        if tasks.is_empty() {
            return Ok(stored.into_iter().flatten().collect());
        }
        let presence = self.members.iter().map(|member| match &member.away {
            None => Presence::Here,
            Some(away) => Presence::Away {
                until: away.until,
                tried: false,
            },
        });
        let board = Board::new(tasks, stored, presence.collect(), self.config.chunk);
        let shift = Shift {
            board: Mutex::new(board),
            changed: Condvar::new(),
            request,
            config: &self.config,
        };
        thread::scope(|scope| {
            let members = self.members.iter_mut().enumerate();
            let working: Vec<_> = members
                .map(|(me, member)| {
                    let shift = &shift;
                    scope.spawn(move || shift.serve(me, member))
                })
                .collect();
            working.into_iter().for_each(joined);
        });
        let board = shift.board.into_inner();
        let results = board.unwrap_or_else(PoisonError::into_inner).finish();
        let results = results.map_err(|error| match error {
            BoardError::Host(error) => error,
            BoardError::Devices(errors) => {
                let names = self.members.iter().map(|member| member.name.as_str());
                let errors = names.zip(errors);
                no_device_left(errors.filter_map(|(name, error)| Some((name, error?))))
            }
        })?;
        let reference = request.reference.as_ref().map(Model::sha256);
        self.proven = reference.or(self.proven);
        Ok(results)
    }

    /// The stored results. A model counts as measured if one device has stored it together with
    /// the reference.
    fn stored(
        &mut self,
        request: &MeasureRequest,
    ) -> Result<Vec<Option<ModelResult>>, LatencyError> {
        let mut results: Vec<Option<ModelResult>> = request.models.iter().map(|_| None).collect();
        for member in &mut self.members {
            let Some(source) = &mut member.source else {
                continue;
            };
            let mut recalled = source.recall(request)?;
            let reference = request
                .reference
                .as_ref()
                .and_then(|_| recalled.pop())
                .flatten();
            if request.reference.is_some() && reference.is_none() {
                continue;
            }
            let id = source.describe().id();
            for (slot, measurement) in results.iter_mut().zip(recalled) {
                if let (None, Some(measurement)) = (&slot, measurement) {
                    *slot = Some(Ok(Answer {
                        device: member.name.clone(),
                        device_id: id.clone(),
                        measurement,
                        reference: reference.clone(),
                    }));
                }
            }
        }
        Ok(results)
    }

    /// The tasks of a request: the missing models, and those for the comparison of the devices.
    fn tasks(&mut self, request: &MeasureRequest, stored: &[Option<ModelResult>]) -> Vec<Task> {
        let task = |model: &Model, purpose| Task {
            model: model.clone(),
            purpose,
            alone: false,
        };
        let compares = self.config.check_every > 0 && self.members.len() > 1;
        let mut tasks = Vec::new();
        let mut again = Vec::new();
        for (slot, model) in request.models.iter().enumerate() {
            if stored[slot].is_some() {
                continue;
            }
            tasks.push(task(model, Purpose::Answer(slot)));
            let check_every = u64::from(self.config.check_every);
            if compares && self.given.is_multiple_of(check_every) {
                again.push(task(model, Purpose::Again(slot)));
            }
            self.given += 1;
        }
        // The reference against itself has a known ratio of one.
        if let Some(reference) = &request.reference
            && !tasks.is_empty()
            && compares
            && self.proven != Some(reference.sha256())
        {
            let named = Model::new("the reference itself", reference.onnx().clone());
            let devices = 0..self.members.len();
            tasks.extend(devices.map(|device| task(&named, Purpose::Only(device))));
        }
        tasks.extend(again);
        tasks
    }
}

impl<S: LatencySource + Send> LatencySource for Fleet<S> {
    /// Measures as [`Fleet::measure_on`] does. The first error is that of the request; the
    /// reference is that of the device that measured the first model.
    fn measure(&mut self, request: &MeasureRequest) -> Result<Vec<Measurement>, LatencyError> {
        let mut answers = self
            .measure_on(request)?
            .into_iter()
            .collect::<Result<Vec<_>, _>>()?;
        let reference = answers
            .first_mut()
            .and_then(|answer| answer.reference.take());
        Ok(answers
            .into_iter()
            .map(|answer| answer.measurement)
            .chain(reference)
            .collect())
    }

    fn recall(
        &mut self,
        request: &MeasureRequest,
    ) -> Result<Vec<Option<Measurement>>, LatencyError> {
        let mut slots = vec![None; request.names().count()];
        for source in self.members.iter_mut().filter_map(|m| m.source.as_mut()) {
            for (slot, recalled) in slots.iter_mut().zip(source.recall(request)?) {
                *slot = slot.take().or(recalled);
            }
        }
        Ok(slots)
    }

    fn describe(&self) -> DeviceInfo {
        self.first()
            .map(LatencySource::describe)
            .unwrap_or_default()
    }
}

/// The shared state of the threads that work on one request.
struct Shift<'a> {
    board: Mutex<Board>,
    changed: Condvar,
    request: &'a MeasureRequest,
    config: &'a FleetConfig,
}

impl Shift<'_> {
    fn lock(&self) -> MutexGuard<'_, Board> {
        // A panicking thread ends the request as a whole.
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves the request with one device until it is over.
    fn serve<S: LatencySource>(&self, me: usize, member: &mut Member<S>) {
        while let Some(tasks) = self.next(me) {
            let models = tasks.iter().map(|task| task.model.clone()).collect();
            let outcome = member
                .source()
                .and_then(|source| source.measure(&part(self.request, models)));
            self.settle(me, member, tasks, outcome);
            self.changed.notify_all();
        }
        self.changed.notify_all();
    }

    /// Waits for tasks; `None` once the request is over.
    fn next(&self, me: usize) -> Option<Vec<Task>> {
        let mut board = self.lock();
        loop {
            board = match board.next(me, Instant::now()) {
                Next::Work(tasks) => return Some(tasks),
                Next::End => return None,
                Next::Wait(None) => self
                    .changed
                    .wait(board)
                    .unwrap_or_else(PoisonError::into_inner),
                Next::Wait(Some(time)) => {
                    self.changed
                        .wait_timeout(board, time)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
            };
        }
    }

    fn settle<S: LatencySource>(
        &self,
        me: usize,
        member: &mut Member<S>,
        tasks: Vec<Task>,
        outcome: Result<Vec<Measurement>, LatencyError>,
    ) {
        let mut board = self.lock();
        match outcome {
            Ok(measurements) => {
                member.away = None;
                let answers = answers(member, tasks.len(), measurements);
                board.done(tasks, answers);
            }
            Err(error) => match Fault::of(&error) {
                Fault::Host => board.fail(&tasks, error),
                Fault::Model if tasks.len() > 1 => board.split(tasks),
                Fault::Model => board.done(tasks, [Err(error)]),
                // A running device that cannot measure now must not end the request if it is the
                // only one.
                Fault::Device if matches!(error, LatencyError::Failed(_)) && board.alone(me) => {
                    if tasks.len() > 1 {
                        board.split(tasks);
                    } else {
                        board.done(tasks, [Err(error)]);
                    }
                }
                Fault::Device => {
                    let until = member.set_aside(&error, self.config);
                    board.lost_device(me, tasks, until, error);
                }
            },
        }
    }
}

/// The answers to `count` tasks from the measurements of a device. A measurement behind them is
/// that of the reference.
fn answers<S: LatencySource>(
    member: &Member<S>,
    count: usize,
    mut measurements: Vec<Measurement>,
) -> Vec<ModelResult> {
    let id = member
        .source
        .as_ref()
        .map_or_else(String::new, |source| source.describe().id());
    let behind = measurements.split_off(count.min(measurements.len()));
    let reference = behind.into_iter().next();
    let answer = |measurement| {
        Ok(Answer {
            device: member.name.clone(),
            device_id: id.clone(),
            measurement,
            reference: reference.clone(),
        })
    };
    measurements.into_iter().map(answer).collect()
}

/// A part of a request with these models. The time limits grow with the number of models; they
/// are not part of a measurement's key.
fn part(request: &MeasureRequest, models: Vec<Model>) -> MeasureRequest {
    let mut part = MeasureRequest {
        models,
        ..request.clone()
    };
    let beside = usize::from(request.reference.is_some());
    let (now, one) = (part.models.len() + beside, 1 + beside);
    if now > one {
        let longer = |ns: u64| ns.saturating_mul(now as u64) / one as u64;
        let most = bounds::MAX_DURATION_NS;
        part.sampling.max_duration_ns = longer(part.sampling.max_duration_ns).min(most);
        part.limits.time_ns = longer(part.limits.time_ns).min(most);
    }
    part
}
