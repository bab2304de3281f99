//! A fleet at work: a thread a device.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ScopedJoinHandle};
use std::time::Instant;

use super::board::{Board, End, Next, Presence, Purpose, Task};
use super::{
    Answer, Each, Fault, Fleet, FleetConfig, Member, Outcome, fault, no_device_left, part,
};
use crate::{LatencyError, LatencySource, MeasureRequest, Measurement, Model};

/// A thread's result; its panic goes on in this one.
pub(super) fn joined<T>(handle: ScopedJoinHandle<'_, T>) -> T {
    handle
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

struct Shared {
    board: Mutex<Board>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Board> {
        // A thread that panics ends the request as a whole.
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn measure<S: LatencySource + Send>(
    fleet: &mut Fleet<S>,
    request: &MeasureRequest,
) -> Result<Vec<Outcome>, LatencyError> {
    // The reference alone is a model like any other.
    let request = match (&request.reference, request.models.is_empty()) {
        (Some(reference), true) => &MeasureRequest {
            models: vec![reference.clone()],
            reference: None,
            ..request.clone()
        },
        _ => request,
    };
    let answers = known(fleet, request)?;
    let tasks = tasks(fleet, request, &answers);
    if tasks.is_empty() {
        return Ok(answers.into_iter().flatten().collect());
    }
    let presence = fleet.members.iter().map(|member| match &member.away {
        None => Presence::Here,
        Some(away) => Presence::Away {
            until: away.until,
            tried: false,
        },
    });
    let shared = Shared {
        board: Mutex::new(Board::new(
            tasks,
            answers,
            presence.collect(),
            fleet.config.chunk,
        )),
        changed: Condvar::new(),
    };
    let config = &fleet.config;
    thread::scope(|scope| {
        let working: Vec<_> = fleet
            .members
            .iter_mut()
            .enumerate()
            .map(|(me, member)| {
                let shared = &shared;
                scope.spawn(move || serve(me, member, shared, request, config))
            })
            .collect();
        working.into_iter().for_each(joined);
    });
    let board = shared
        .board
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    let outcomes = board.end().map_err(|end| match end {
        End::Host(error) => error,
        End::Devices(errors) => {
            let names = fleet.members.iter().map(|member| member.name.as_str());
            no_device_left(
                names
                    .zip(errors)
                    .filter_map(|(name, error)| Some((name, error?))),
            )
        }
    })?;
    fleet.proven = request
        .reference
        .as_ref()
        .map(Model::sha256)
        .or(fleet.proven);
    Ok(outcomes)
}

/// What the devices' stores know: a model counts as known where one device has it together with the reference.
fn known<S: LatencySource>(
    fleet: &mut Fleet<S>,
    request: &MeasureRequest,
) -> Result<Vec<Option<Outcome>>, LatencyError> {
    let mut answers: Vec<Option<Outcome>> = request.models.iter().map(|_| None).collect();
    for member in &mut fleet.members {
        let Some(source) = &mut member.source else {
            continue;
        };
        let mut found = source.recall(request)?;
        let reference = request
            .reference
            .as_ref()
            .and_then(|_| found.pop())
            .flatten();
        if request.reference.is_some() && reference.is_none() {
            continue;
        }
        let id = source.describe().id();
        for (slot, measurement) in answers.iter_mut().zip(found) {
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
    Ok(answers)
}

/// What is missing, and what serves the comparison of the devices.
fn tasks<S>(
    fleet: &mut Fleet<S>,
    request: &MeasureRequest,
    answers: &[Option<Outcome>],
) -> Vec<Task> {
    let task = |model: &Model, purpose| Task {
        model: model.clone(),
        purpose,
        alone: false,
    };
    let mut tasks = Vec::new();
    let mut again = Vec::new();
    for (place, model) in request.models.iter().enumerate() {
        if answers[place].is_some() {
            continue;
        }
        tasks.push(task(model, Purpose::Wanted(place)));
        fleet.given += 1;
        if fleet.config.check_every > 0
            && fleet.members.len() > 1
            && (fleet.given - 1).is_multiple_of(u64::from(fleet.config.check_every))
        {
            again.push(task(model, Purpose::Again(place)));
        }
    }
    // The reference beside itself: a ratio that is known to be one.
    if let Some(reference) = &request.reference
        && !tasks.is_empty()
        && fleet.members.len() > 1
        && fleet.config.check_every > 0
        && fleet.proven != Some(reference.sha256())
    {
        let named = Model::new("the reference itself", reference.onnx().clone());
        tasks.extend((0..fleet.members.len()).map(|device| task(&named, Purpose::Only(device))));
    }
    tasks.extend(again);
    tasks
}

/// One device's thread: takes work until the request is over.
fn serve<S: LatencySource>(
    me: usize,
    member: &mut Member<S>,
    shared: &Shared,
    request: &MeasureRequest,
    config: &FleetConfig,
) {
    loop {
        let mut board = shared.lock();
        let tasks = loop {
            match board.next(me, Instant::now()) {
                Next::Work(tasks) => break tasks,
                Next::End => {
                    drop(board);
                    shared.changed.notify_all();
                    return;
                }
                Next::Wait(None) => {
                    board = shared
                        .changed
                        .wait(board)
                        .unwrap_or_else(PoisonError::into_inner);
                }
                Next::Wait(Some(time)) => {
                    board = shared
                        .changed
                        .wait_timeout(board, time)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0;
                }
            }
        };
        drop(board);
        let models = tasks.iter().map(|task| task.model.clone()).collect();
        let outcome = member
            .source()
            .and_then(|source| source.measure(&part(request, models)));
        settle(me, member, shared, tasks, outcome, config);
        shared.changed.notify_all();
    }
}

fn settle<S: LatencySource>(
    me: usize,
    member: &mut Member<S>,
    shared: &Shared,
    tasks: Vec<Task>,
    outcome: Result<Vec<Measurement>, LatencyError>,
    config: &FleetConfig,
) {
    let mut board = shared.lock();
    match outcome {
        Ok(measurements) => {
            member.away = None;
            let id = member
                .source
                .as_ref()
                .map_or_else(String::new, |source| source.describe().id());
            let (models, reference) = measurements.split_at(tasks.len().min(measurements.len()));
            let answers = models.iter().map(|measurement| {
                Ok(Answer {
                    device: member.name.clone(),
                    device_id: id.clone(),
                    measurement: measurement.clone(),
                    reference: reference.first().cloned(),
                })
            });
            board.done(tasks, answers);
        }
        Err(error) => match fault(&error) {
            Fault::Host => board.fail(&tasks, error),
            Fault::Model if tasks.len() > 1 => board.split(tasks),
            Fault::Model => board.done(tasks, [Err(error)]),
            // A device that lives but cannot measure now is no reason to end the request when there is no other.
            Fault::Device if matches!(error, LatencyError::Failed(_)) && board.alone(me) => {
                if tasks.len() > 1 {
                    board.split(tasks);
                } else {
                    board.done(tasks, [Err(error)]);
                }
            }
            Fault::Device => {
                member.set_aside(&error, config);
                let until = member.away.as_ref().map_or_else(Instant::now, |a| a.until);
                board.lost_device(me, tasks, until, error);
            }
        },
    }
}

pub(super) fn measure_on_each<S: LatencySource + Send>(
    fleet: &mut Fleet<S>,
    request: &MeasureRequest,
) -> Result<Each, LatencyError> {
    let members = present(fleet);
    let outcomes = thread::scope(|scope| {
        let working: Vec<_> = fleet
            .members
            .iter_mut()
            .enumerate()
            .filter(|(i, _)| members.contains(i))
            .map(|(_, member)| {
                scope.spawn(move || {
                    let measured = member.source().and_then(|source| source.measure(request));
                    (member, measured)
                })
            })
            .collect();
        working.into_iter().map(joined).collect::<Vec<_>>()
    });
    let mut each = Each::default();
    for (member, outcome) in outcomes {
        match outcome {
            Ok(measurements) => {
                member.away = None;
                each.measured.push((member.name.clone(), measurements));
            }
            Err(error) if fault(&error) == Fault::Host => return Err(error),
            Err(error) => {
                if fault(&error) == Fault::Device && !matches!(error, LatencyError::Failed(_)) {
                    member.set_aside(&error, &fleet.config);
                }
                each.failed.push((member.name.clone(), error));
            }
        }
    }
    let lost = |(_, error): &(String, LatencyError)| !matches!(error, LatencyError::Failed(_));
    if each.measured.is_empty() && each.failed.iter().all(lost) {
        return Err(no_device_left(each.failed));
    }
    Ok(each)
}

pub(super) fn with_device<S: LatencySource + Send, T>(
    fleet: &mut Fleet<S>,
    mut task: impl FnMut(&mut S) -> Result<T, LatencyError>,
) -> Result<T, LatencyError> {
    let mut errors = Vec::new();
    for i in present(fleet) {
        let member = &mut fleet.members[i];
        match member.source().and_then(&mut task) {
            Ok(value) => {
                member.away = None;
                return Ok(value);
            }
            Err(error) if fault(&error) == Fault::Device => {
                member.set_aside(&error, &fleet.config);
                errors.push((i, error));
            }
            Err(error) => return Err(error),
        }
    }
    let name = |i: usize| fleet.members[i].name.as_str();
    Err(no_device_left(
        errors.into_iter().map(|(i, error)| (name(i), error)),
    ))
}

/// The devices that are not set aside or may be tried again, all of them when there is none; those that are well come first.
fn present<S>(fleet: &Fleet<S>) -> Vec<usize> {
    let now = Instant::now();
    let until = |i: &usize| fleet.members[*i].away.as_ref().map(|away| away.until);
    let (well, away): (Vec<usize>, Vec<usize>) =
        (0..fleet.members.len()).partition(|i| until(i).is_none());
    let due: Vec<usize> = away
        .iter()
        .copied()
        .filter(|i| well.is_empty() || until(i).is_some_and(|until| until <= now))
        .collect();
    well.into_iter().chain(due).collect()
}
