//! What the agent answers to each call. Whoever gets here was let in by the [gate](crate::gate).

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use agent_protocol::wire::agent_server::Agent;
use agent_protocol::wire::{self, run_reply::End, upload_model_request::Part};
use agent_protocol::{
    Activity, AgentState, DeviceInfo, Failure, FailureKind, MeasureEvent, MeasureJob, ModelRef,
    MonitorEvent, PROTOCOL_VERSION, Progress, ProtocolError, RunJob, Sha256, Stage, Upload, bounds,
    check_version,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::connections::{Caller, Connections};
use crate::device::System;
use crate::measure::{self, Place};
use crate::models::{ModelStore, Pin, Receiving, Refusal};
use crate::queue::{Queue, Turn};

/// How often a client in the queue gets its position, so that it can tell a wait from a lost connection.
const QUEUE_REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// What the agent is made of.
pub struct Parts {
    /// The device as it greets with.
    pub device: DeviceInfo,
    /// Where the device's state is to be had.
    pub system: System,
    /// ONNX Runtime's library.
    pub library: PathBuf,
    /// The folders of libraries that workers may read.
    pub library_folders: Vec<PathBuf>,
    /// The models it holds.
    pub models: Arc<ModelStore>,
    /// Who is connected.
    pub connections: Arc<Connections>,
    /// How long a request waits for another's upload of the same model.
    pub stall: Duration,
}

/// The agent.
pub struct Service {
    core: Arc<Core>,
    end: watch::Sender<bool>,
}

/// What calls share with the tasks they leave behind.
struct Core {
    parts: Parts,
    /// One measurement at a time: two would measure each other.
    queue: Arc<Queue>,
    started: Instant,
    current: Mutex<Option<Current>>,
}

/// What has the device's turn.
struct Current {
    client: String,
    models: Vec<String>,
    progress: Progress,
    began: Instant,
}

/// A turn that everyone can see.
struct Shown {
    core: Arc<Core>,
    _turn: Turn,
}

impl Shown {
    fn set(&self, progress: &Progress) {
        if let Some(current) = &mut *self.core.current() {
            current.progress.clone_from(progress);
        }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        // Nothing of one turn, be it by accident or on purpose, is there for the next.
        self.core.parts.models.clear_work();
        *self.core.current() = None;
    }
}

impl Core {
    fn current(&self) -> std::sync::MutexGuard<'_, Option<Current>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show<'a>(
        self: &Arc<Self>,
        turn: Turn,
        caller: &Caller,
        models: impl IntoIterator<Item = &'a ModelRef>,
    ) -> Shown {
        *self.current() = Some(Current {
            client: caller.address().to_string(),
            models: models.into_iter().map(|model| model.name.clone()).collect(),
            progress: Progress::at(Stage::Start),
            began: Instant::now(),
        });
        Shown {
            core: Arc::clone(self),
            _turn: turn,
        }
    }

    fn state(&self) -> AgentState {
        let activity = self.current().as_ref().map(|current| Activity {
            client: current.client.clone(),
            models: current.models.clone(),
            progress: current.progress.clone(),
            elapsed_ns: nanoseconds(current.began.elapsed()),
        });
        let stock = self.parts.models.stock();
        AgentState {
            activity,
            queued: count(self.queue.waiting()),
            uptime_ns: nanoseconds(self.started.elapsed()),
            models: stock.models,
            model_bytes: stock.bytes,
            model_limit_bytes: self.parts.models.limit_bytes(),
            connections: count(self.parts.connections.count()),
        }
    }

    /// Keeps a model's file from leaving for as long as it is needed.
    fn pin(&self, model: &ModelRef) -> Result<Pin, Status> {
        self.parts.models.pin(model.sha256).ok_or_else(|| {
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

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn wrong(error: ProtocolError) -> Status {
    Status::invalid_argument(error.to_string())
}

fn refusal(refusal: Refusal) -> Status {
    match refusal {
        Refusal::Wrong(detail) => Status::invalid_argument(detail),
        Refusal::Storage(detail) => {
            Status::resource_exhausted(format!("the device cannot store the model: {detail}"))
        }
        Refusal::Busy => Status::unavailable("the model is being sent by another, too slowly"),
    }
}

fn caller<T>(request: &Request<T>) -> Result<Caller, Status> {
    let found = request.extensions().get::<Caller>().cloned();
    found.ok_or_else(|| Status::internal("the call came over no connection"))
}

impl Service {
    /// The agent; `end` ends its server.
    pub fn new(parts: Parts, end: watch::Sender<bool>) -> Self {
        let core = Core {
            parts,
            queue: Queue::new(1),
            started: Instant::now(),
            current: Mutex::default(),
        };
        Self {
            core: Arc::new(core),
            end,
        }
    }

    /// Begins an upload once nobody else sends the same model. `None` when by then it is here.
    async fn begin(&self, upload: Upload) -> Result<Option<Receiving>, Refusal> {
        let models = &self.core.parts.models;
        loop {
            let ended = models.upload_ended();
            match models.begin(upload) {
                Err(Refusal::Busy) => tokio::time::timeout(self.core.parts.stall, ended)
                    .await
                    .map_err(|_| Refusal::Busy)?,
                outcome => return outcome.map(Some),
            }
            if models.held(upload.sha256).0 {
                return Ok(None);
            }
        }
    }
}

#[tonic::async_trait]
impl Agent for Service {
    async fn hello(
        &self,
        request: Request<wire::HelloRequest>,
    ) -> Result<Response<wire::HelloReply>, Status> {
        check_version(request.get_ref().protocol, PROTOCOL_VERSION)
            .map_err(|error| Status::failed_precondition(error.to_string()))?;
        Ok(Response::new(wire::HelloReply {
            protocol: PROTOCOL_VERSION,
            device: Some(self.core.parts.device.clone().into()),
        }))
    }

    async fn has_model(
        &self,
        request: Request<wire::HasModelRequest>,
    ) -> Result<Response<wire::HasModelReply>, Status> {
        let (present, partial_bytes) = self
            .core
            .parts
            .models
            .held(Sha256::try_from(request.get_ref()).map_err(wrong)?);
        Ok(Response::new(wire::HasModelReply {
            present,
            partial_bytes,
        }))
    }

    async fn upload_model(
        &self,
        request: Request<Streaming<wire::UploadModelRequest>>,
    ) -> Result<Response<wire::UploadModelReply>, Status> {
        let mut parts = request.into_inner();
        let Some(wire::UploadModelRequest {
            part: Some(Part::Header(header)),
        }) = parts.message().await?
        else {
            return Err(Status::invalid_argument("an upload begins with its header"));
        };
        let upload = Upload::try_from(header).map_err(wrong)?;
        let Some(mut receiving) = self.begin(upload).await.map_err(refusal)? else {
            let stored_bytes = upload.size_bytes;
            return Ok(Response::new(wire::UploadModelReply { stored_bytes }));
        };
        while let Some(message) = parts.message().await? {
            match message.part {
                Some(Part::Chunk(bytes)) if bytes.is_empty() => {
                    return Err(Status::invalid_argument("the chunk is empty"));
                }
                Some(Part::Chunk(bytes)) if bytes.len() <= bounds::MAX_CHUNK_BYTES => {
                    receiving.chunk(&bytes).map_err(refusal)?;
                }
                Some(Part::Chunk(_)) => {
                    return Err(Status::invalid_argument("the chunk is too large"));
                }
                Some(Part::Header(_)) | None => {
                    return Err(Status::invalid_argument(
                        "after the header come only chunks",
                    ));
                }
            }
        }
        let stored = tokio::task::spawn_blocking(move || receiving.finish())
            .await
            .map_err(|error| Status::internal(error.to_string()))?;
        Ok(Response::new(wire::UploadModelReply {
            stored_bytes: stored.map_err(refusal)?,
        }))
    }

    type MeasureStream = ReceiverStream<Result<wire::MeasureEvent, Status>>;

    async fn measure(
        &self,
        request: Request<wire::MeasureRequest>,
    ) -> Result<Response<Self::MeasureStream>, Status> {
        let caller = caller(&request)?;
        let job = MeasureJob::try_from(request.into_inner()).map_err(wrong)?;
        let pins: Vec<Pin> = job
            .models
            .iter()
            .chain(&job.reference)
            .map(|model| self.core.pin(model))
            .collect::<Result<_, _>>()?;
        let mut ticket = self.core.queue.enter(caller.client())?;
        let (send, receive) = mpsc::channel(16);
        let core = Arc::clone(&self.core);
        tokio::spawn(async move {
            let turn = loop {
                if ticket.ahead() > 0 {
                    // A listener that is slow misses steps; that it left is seen below.
                    let _ = send.try_send(Ok(waiting(ticket.ahead())));
                }
                tokio::select! {
                    turn = ticket.turn() => break turn,
                    () = send.closed() => return,
                    () = tokio::time::sleep(QUEUE_REPORT_INTERVAL) => {}
                }
            };
            let shown = core.show(turn, &caller, job.models.iter().chain(&job.reference));
            drop(caller);
            // A thread of its own, not one of a pool: it is busy for as long as the measurement lasts.
            let thread = std::thread::Builder::new().name("measure".into()).spawn({
                let send = send.clone();
                move || {
                    let place = Place {
                        library: &core.parts.library,
                        library_folders: &core.parts.library_folders,
                        system: &core.parts.system,
                    };
                    let outcome = measure::measure(&job, &pins, &place, &mut |step| {
                        shown.set(step);
                        // A listener that is slow misses steps; one that left ends the measurement.
                        let event = MeasureEvent::Progress(step.clone());
                        !matches!(
                            send.try_send(Ok(event.into())),
                            Err(mpsc::error::TrySendError::Closed(_))
                        )
                    });
                    let end = outcome.map_or_else(MeasureEvent::Failure, MeasureEvent::Results);
                    drop((pins, shown));
                    // Whoever asked may have left.
                    let _ = send.blocking_send(Ok(end.into()));
                }
            });
            if let Err(error) = thread {
                let failure = Failure {
                    kind: FailureKind::Internal,
                    stage: Stage::Start,
                    model: String::new(),
                    detail: format!("no thread for the measurement: {error}"),
                };
                let _ = send.send(Ok(MeasureEvent::Failure(failure).into())).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(receive)))
    }

    async fn run(
        &self,
        request: Request<wire::RunRequest>,
    ) -> Result<Response<wire::RunReply>, Status> {
        let caller = caller(&request)?;
        let job = RunJob::try_from(request.into_inner()).map_err(wrong)?;
        let pin = self.core.pin(&job.model)?;
        let turn = self.core.queue.enter(caller.client())?.turn().await;
        let shown = self.core.show(turn, &caller, [&job.model]);
        let core = Arc::clone(&self.core);
        let (send, receive) = oneshot::channel();
        // As for a measurement.
        std::thread::Builder::new()
            .name("run".into())
            .spawn(move || {
                let place = Place {
                    library: &core.parts.library,
                    library_folders: &core.parts.library_folders,
                    system: &core.parts.system,
                };
                // Whoever asked may leave, and that ends the run.
                let outcome = measure::run(job, &pin, &place, &mut |step| {
                    shown.set(step);
                    !send.is_closed()
                });
                drop((pin, shown));
                let _ = send.send(outcome);
            })
            .map_err(|error| Status::internal(format!("no thread for the run: {error}")))?;
        let end = match receive.await {
            Ok(Ok(output)) => End::Output(output.into()),
            Ok(Err(failure)) => End::Failure(failure.into()),
            Err(_) => return Err(Status::internal("the run ended without an outcome")),
        };
        Ok(Response::new(wire::RunReply { end: Some(end) }))
    }

    async fn get_device_state(
        &self,
        _request: Request<wire::DeviceStateRequest>,
    ) -> Result<Response<wire::DeviceState>, Status> {
        Ok(Response::new(self.core.parts.system.state().into()))
    }

    async fn get_agent_state(
        &self,
        _request: Request<wire::AgentStateRequest>,
    ) -> Result<Response<wire::AgentState>, Status> {
        Ok(Response::new(self.core.state().into()))
    }

    type MonitorStream = ReceiverStream<Result<wire::MonitorEvent, Status>>;

    async fn monitor(
        &self,
        request: Request<wire::MonitorRequest>,
    ) -> Result<Response<Self::MonitorStream>, Status> {
        let interval = Duration::try_from(request.get_ref()).map_err(wrong)?;
        let (send, receive) = mpsc::channel(1);
        let core = Arc::clone(&self.core);
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(interval);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    _ = ticks.tick() => {}
                    () = send.closed() => return,
                }
                let event = MonitorEvent {
                    device: core.parts.system.state(),
                    agent: core.state(),
                };
                if send.send(Ok(event.into())).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receive)))
    }

    async fn shutdown(
        &self,
        _request: Request<wire::ShutdownRequest>,
    ) -> Result<Response<wire::ShutdownReply>, Status> {
        self.end.send_replace(true);
        Ok(Response::new(wire::ShutdownReply {}))
    }
}

/// A sign of life for someone whose turn has not come.
fn waiting(ahead: usize) -> wire::MeasureEvent {
    MeasureEvent::Progress(Progress {
        queued: count(ahead),
        ..Progress::at(Stage::Queued)
    })
    .into()
}
