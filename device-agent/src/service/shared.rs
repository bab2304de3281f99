//! The state that calls share with the tasks they leave behind.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use agent_protocol::{Activity, AgentState, DeviceInfo, ModelRef, Progress, Stage};
use tonic::Status;

use crate::connections::{Caller, Connections};
use crate::device::System;
use crate::models::{ModelStore, Pin};
use crate::queue::{Queue, Turn};
use crate::runtime::Runtime;

/// The parts of an agent that its calls need.
pub struct Resources {
    /// The device as the agent announces it.
    pub device: DeviceInfo,
    /// Reads the device's state.
    pub system: System,
    /// ONNX Runtime.
    pub runtime: Runtime,
    /// The models the agent holds.
    pub models: Arc<ModelStore>,
    /// Its connections.
    pub connections: Arc<Connections>,
    /// How long a request waits for another's upload of the same model.
    pub stall: Duration,
}

/// The resources, the queue and the activity of an agent.
pub struct Shared {
    /// The resources.
    pub resources: Resources,
    /// One measurement at a time: two would disturb each other.
    pub queue: Arc<Queue>,
    started: Instant,
    active: Mutex<Option<Active>>,
}

/// The measurement or run that has the device's turn.
struct Active {
    client: String,
    models: Vec<String>,
    progress: Progress,
    began: Instant,
}

/// A turn whose progress is published in the agent's state.
pub struct ActiveTurn {
    shared: Arc<Shared>,
    _turn: Turn,
}

impl ActiveTurn {
    /// Publishes the progress.
    pub fn publish(&self, progress: &Progress) {
        if let Some(active) = &mut *self.shared.active() {
            active.progress.clone_from(progress);
        }
    }
}

impl Drop for ActiveTurn {
    fn drop(&mut self) {
        // No file of one turn, left by accident or on purpose, reaches the next.
        self.shared.resources.models.clear_work();
        *self.shared.active() = None;
    }
}

impl Shared {
    /// An idle agent.
    pub fn new(resources: Resources) -> Arc<Self> {
        Arc::new(Self {
            resources,
            queue: Queue::new(1),
            started: Instant::now(),
            active: Mutex::default(),
        })
    }

    fn active(&self) -> MutexGuard<'_, Option<Active>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes the client and the models of a turn that begins.
    pub fn activate<'a>(
        self: &Arc<Self>,
        turn: Turn,
        caller: &Caller,
        models: impl IntoIterator<Item = &'a ModelRef>,
    ) -> ActiveTurn {
        *self.active() = Some(Active {
            client: caller.label(),
            models: models.into_iter().map(|model| model.name.clone()).collect(),
            progress: Progress::at(Stage::Start),
            began: Instant::now(),
        });
        ActiveTurn {
            shared: Arc::clone(self),
            _turn: turn,
        }
    }

    /// Returns the agent's current state.
    pub fn state(&self) -> AgentState {
        let activity = self.active().as_ref().map(|active| Activity {
            client: active.client.clone(),
            models: active.models.clone(),
            progress: active.progress.clone(),
            elapsed_ns: nanoseconds(active.began.elapsed()),
        });
        let stock = self.resources.models.stock();
        AgentState {
            activity,
            queued: saturated(self.queue.waiting()),
            uptime_ns: nanoseconds(self.started.elapsed()),
            models: stock.models,
            model_bytes: stock.bytes,
            model_limit_bytes: self.resources.models.limit_bytes(),
            connections: saturated(self.resources.connections.count()),
        }
    }

    /// Returns a model's file, which is not evicted before the pin is dropped.
    pub fn pin(&self, model: &ModelRef) -> Result<Pin, Status> {
        self.resources.models.pin(model.sha256).ok_or_else(|| {
            Status::not_found(format!(
                "model `{}` ({}) was not sent",
                model.name, model.sha256
            ))
        })
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Returns a count as the protocol's type.
pub fn saturated(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
