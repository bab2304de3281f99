//! The agent's answers to calls, which the [gate](crate::gate) has authenticated.

mod shared;

use std::sync::Arc;
use std::time::Duration;

use agent_protocol::wire::agent_server::Agent;
use agent_protocol::wire::{self, run_reply::End, upload_model_request::Part};
use agent_protocol::{
    Failure, FailureKind, MeasureEvent, MeasureJob, MonitorEvent, PROTOCOL_VERSION, Progress,
    ProtocolError, RunJob, Sha256, Stage, Upload, bounds, check_version,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::connections::Caller;
use crate::measure;
use crate::models::{Pin, Receiving, Refusal};
use shared::{Shared, saturated};

pub use shared::Resources;

/// Interval at which a client in the queue gets its position, which distinguishes a wait from a
/// lost connection.
const QUEUE_REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// The agent.
pub struct Service {
    shared: Arc<Shared>,
    end: watch::Sender<bool>,
}

fn invalid(error: ProtocolError) -> Status {
    Status::invalid_argument(error.to_string())
}

fn refusal(refusal: Refusal) -> Status {
    match refusal {
        Refusal::Invalid(detail) => Status::invalid_argument(detail),
        Refusal::Storage(detail) => {
            Status::resource_exhausted(format!("the device cannot store the model: {detail}"))
        }
        Refusal::Busy => Status::unavailable("another client is sending the model, too slowly"),
    }
}

fn caller<T>(request: &Request<T>) -> Result<Caller, Status> {
    let caller = request.extensions().get::<Caller>().cloned();
    caller.ok_or_else(|| Status::internal("the call has no connection"))
}

impl Service {
    /// An idle agent; `end` ends its server.
    pub fn new(resources: Resources, end: watch::Sender<bool>) -> Self {
        Self {
            shared: Shared::new(resources),
            end,
        }
    }

    /// Begins an upload once no other client is sending the same model. `None` if the agent
    /// holds it by then.
    async fn begin(&self, upload: Upload) -> Result<Option<Receiving>, Refusal> {
        let resources = &self.shared.resources;
        let models = &resources.models;
        loop {
            let ended = models.upload_ended();
            match models.begin(upload) {
                Err(Refusal::Busy) => tokio::time::timeout(resources.stall, ended)
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
            device: Some(self.shared.resources.device.clone().into()),
        }))
    }

    async fn has_model(
        &self,
        request: Request<wire::HasModelRequest>,
    ) -> Result<Response<wire::HasModelReply>, Status> {
        let digest = Sha256::try_from(request.get_ref()).map_err(invalid)?;
        let (present, partial_bytes) = self.shared.resources.models.held(digest);
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
        let upload = Upload::try_from(header).map_err(invalid)?;
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
                        "only chunks may follow the header",
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
        let job = MeasureJob::try_from(request.into_inner()).map_err(invalid)?;
        let pins: Vec<Pin> = job
            .models
            .iter()
            .chain(&job.reference)
            .map(|model| self.shared.pin(model))
            .collect::<Result<_, _>>()?;
        let mut ticket = self.shared.queue.enter(caller.client())?;
        let (send, receive) = mpsc::channel(16);
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            let turn = loop {
                if ticket.ahead() > 0 {
                    // A slow client misses steps; its departure shows below.
                    let _ = send.try_send(Ok(queued(ticket.ahead())));
                }
                tokio::select! {
                    turn = ticket.turn() => break turn,
                    () = send.closed() => return,
                    () = tokio::time::sleep(QUEUE_REPORT_INTERVAL) => {}
                }
            };
            let models = job.models.iter().chain(&job.reference);
            let active = shared.activate(turn, &caller, models);
            drop(caller);
            // A thread of its own rather than one of a pool: it is busy for the whole
            // measurement.
            let thread = std::thread::Builder::new().name("measure".into()).spawn({
                let send = send.clone();
                move || {
                    let (runtime, system) = (&shared.resources.runtime, &shared.resources.system);
                    let outcome = measure::measure(&job, &pins, runtime, system, &mut |step| {
                        active.publish(step);
                        // A slow client misses steps; one that has left cancels the measurement.
                        let event = MeasureEvent::Progress(step.clone());
                        !matches!(
                            send.try_send(Ok(event.into())),
                            Err(mpsc::error::TrySendError::Closed(_))
                        )
                    });
                    let end = outcome.map_or_else(MeasureEvent::Failure, MeasureEvent::Results);
                    drop((pins, active));
                    // The client may have left.
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
        let job = RunJob::try_from(request.into_inner()).map_err(invalid)?;
        let pin = self.shared.pin(&job.model)?;
        let turn = self.shared.queue.enter(caller.client())?.turn().await;
        let active = self.shared.activate(turn, &caller, [&job.model]);
        let shared = Arc::clone(&self.shared);
        let (send, receive) = oneshot::channel();
        // A thread of its own, as for a measurement.
        std::thread::Builder::new()
            .name("run".into())
            .spawn(move || {
                let runtime = &shared.resources.runtime;
                // A client that leaves cancels the run.
                let outcome = measure::run(job, &pin, runtime, &mut |step| {
                    active.publish(step);
                    !send.is_closed()
                });
                drop((pin, active));
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
        Ok(Response::new(self.shared.resources.system.state().into()))
    }

    async fn get_agent_state(
        &self,
        _request: Request<wire::AgentStateRequest>,
    ) -> Result<Response<wire::AgentState>, Status> {
        Ok(Response::new(self.shared.state().into()))
    }

    type MonitorStream = ReceiverStream<Result<wire::MonitorEvent, Status>>;

    async fn monitor(
        &self,
        request: Request<wire::MonitorRequest>,
    ) -> Result<Response<Self::MonitorStream>, Status> {
        let interval = Duration::try_from(request.get_ref()).map_err(invalid)?;
        let (send, receive) = mpsc::channel(1);
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(interval);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    _ = ticks.tick() => {}
                    () = send.closed() => return,
                }
                let event = MonitorEvent {
                    device: shared.resources.system.state(),
                    agent: shared.state(),
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

/// Returns the event of a measurement with this many turns before its own.
fn queued(ahead: usize) -> wire::MeasureEvent {
    MeasureEvent::Progress(Progress {
        queued: saturated(ahead),
        ..Progress::at(Stage::Queued)
    })
    .into()
}
