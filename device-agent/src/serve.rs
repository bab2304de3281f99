//! The server.

use std::io::{BufRead, Read, Write};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use agent_protocol::wire::agent_server::{Agent, AgentServer};
use agent_protocol::wire::{self, run_reply::End, upload_model_request::Part};
use agent_protocol::{
    DeviceInfo, Failure, FailureKind, MeasureEvent, MeasureJob, ModelRef, PROTOCOL_VERSION,
    Progress, ProtocolError, RunJob, Sha256, Stage, TOKEN_METADATA, Token, Upload, bounds,
    check_version,
};
use anyhow::Context;
use clap::Args;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

use crate::device::System;
use crate::measure::{self, Place};
use crate::models::{ModelStore, Pin, Refusal};
use crate::runtime;

/// The variable that holds the token unless it comes over standard input.
pub const TOKEN_VARIABLE: &str = "GRAPHPRUNE_AGENT_TOKEN";
/// How often whoever waits for another's measurement to end hears that he is not forgotten.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// How the server runs.
#[derive(Args)]
pub struct Options {
    /// Port on the loopback interface; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// ONNX Runtime's library [default: ORT_DYLIB_PATH, then libonnxruntime.so next to this program].
    #[arg(long, value_name = "FILE")]
    runtime: Option<PathBuf>,
    /// Read the token from the first line of standard input instead of GRAPHPRUNE_AGENT_TOKEN.
    #[arg(long)]
    token_stdin: bool,
    /// End when standard input closes, as it does when the host dies.
    #[arg(long)]
    exit_with_parent: bool,
    /// Bytes all models together may take; the one used longest ago leaves first.
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 30)]
    model_bytes: u64,
    /// Where the kernel tells about the hardware; for containers, which see theirs elsewhere, and for tests.
    #[arg(long, value_name = "FOLDER", default_value = "/sys", hide = true)]
    sysfs: PathBuf,
}

/// Serves until told to end.
pub fn serve(options: Options) -> anyhow::Result<()> {
    let token = read_token(&options)?;
    let library = runtime::find(options.runtime.as_deref())?;
    let models =
        Arc::new(ModelStore::new(options.model_bytes).context("making the folder for models")?);
    let facts = measure::runtime_facts(&library, &models.work_folder())?;
    let system = System {
        sysfs: options.sysfs.clone(),
        folder: models.work_folder(),
    };
    let (end, mut ended) = watch::channel(false);
    if options.exit_with_parent {
        let end = end.clone();
        std::thread::spawn(move || {
            // What the host writes has no meaning; that it stops does, and so does an error.
            let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
            end.send_replace(true);
        });
    }
    let service = Arc::new(Service {
        device: system.info(facts),
        system,
        library,
        models: Arc::clone(&models),
        measuring: Arc::new(Mutex::new(())),
        end: end.clone(),
    });
    let guard = move |request: Request<()>| match request.metadata().get(TOKEN_METADATA) {
        Some(value) if token.matches(value.as_bytes()) => Ok(request),
        Some(_) => Err(Status::unauthenticated(
            "the token is wrong: it belongs to another start of the agent",
        )),
        None => Err(Status::unauthenticated("the call carries no token")),
    };
    let executor = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("starting the executor")?;
    let outcome = executor.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port))
            .await
            .with_context(|| format!("listening on 127.0.0.1:{}", options.port))?;
        let greeting = serde_json::json!({
            "port": listener.local_addr()?.port(),
            "protocol": PROTOCOL_VERSION,
            "version": env!("CARGO_PKG_VERSION"),
            "pid": std::process::id(),
        });
        let mut out = std::io::stdout();
        writeln!(out, "{greeting}")
            .and_then(|()| out.flush())
            .context("telling the port")?;
        let agent = AgentServer::from_arc(service)
            .max_decoding_message_size(bounds::MAX_REQUEST_BYTES)
            .max_encoding_message_size(bounds::MAX_REPLY_BYTES);
        let mut drained = ended.clone();
        let server = Server::builder()
            .tcp_nodelay(true)
            .concurrency_limit_per_connection(16)
            .add_service(tonic::service::interceptor::InterceptedService::new(
                agent, guard,
            ))
            .serve_with_incoming_shutdown(TcpListenerStream::new(listener), async move {
                // An error means that nobody can end it any more, which nobody needs to wait for.
                let _ = drained.wait_for(|end| *end).await;
            });
        let mut server = tokio::spawn(server);
        tokio::select! {
            outcome = &mut server => return outcome?.context("serving"),
            _ = ended.wait_for(|end| *end) => {}
            () = terminated() => { end.send_replace(true); }
        }
        // The answer to the call that ended it still goes out; a measurement under way is not waited for.
        match tokio::time::timeout(Duration::from_millis(300), server).await {
            Ok(outcome) => outcome?.context("serving"),
            Err(_) => Ok(()),
        }
    });
    executor.shutdown_background();
    models.clear();
    outcome
}

/// Waits for the signals that ask a process to end.
async fn terminated() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut interrupt)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = interrupt.recv() => {}
    }
}

fn read_token(options: &Options) -> anyhow::Result<Token> {
    let text = if options.token_stdin {
        let mut line = String::new();
        let mut limited = std::io::stdin().lock().take(1024);
        limited
            .read_line(&mut line)
            .context("reading the token from standard input")?;
        line
    } else {
        std::env::var(TOKEN_VARIABLE)
            .with_context(|| format!("the token is read from {TOKEN_VARIABLE} (or, with --token-stdin, from standard input)"))?
    };
    Ok(Token::parse(&text)?)
}

struct Service {
    device: DeviceInfo,
    system: System,
    library: PathBuf,
    models: Arc<ModelStore>,
    /// One measurement at a time: two would measure each other.
    measuring: Arc<Mutex<()>>,
    end: watch::Sender<bool>,
}

impl Service {
    /// Keeps a model's file from leaving for as long as it is needed.
    fn pin(&self, model: &ModelRef) -> Result<Pin, Status> {
        self.models.pin(model.sha256).ok_or_else(|| {
            Status::not_found(format!(
                "model `{}` ({}) was not sent",
                model.name, model.sha256
            ))
        })
    }
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
            device: Some(self.device.clone().into()),
        }))
    }

    async fn has_model(
        &self,
        request: Request<wire::HasModelRequest>,
    ) -> Result<Response<wire::HasModelReply>, Status> {
        let (present, partial_bytes) = self
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
        let mut receiving = self
            .models
            .begin(Upload::try_from(header).map_err(wrong)?)
            .map_err(refusal)?;
        while let Some(message) = parts.message().await? {
            match message.part {
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
        let job = MeasureJob::try_from(request.into_inner()).map_err(wrong)?;
        let pins: Vec<Pin> = job
            .models
            .iter()
            .chain(&job.reference)
            .map(|model| self.pin(model))
            .collect::<Result<_, _>>()?;
        let (send, receive) = mpsc::channel(16);
        let measuring = Arc::clone(&self.measuring);
        let (library, system) = (self.library.clone(), self.system.clone());
        tokio::spawn(async move {
            let turn = loop {
                match tokio::time::timeout(HEARTBEAT, Arc::clone(&measuring).lock_owned()).await {
                    Ok(turn) => break turn,
                    Err(_) if send.send(Ok(waiting())).await.is_err() => return,
                    Err(_) => {}
                }
            };
            // A thread of its own, not one of a pool: workers die with the thread that started them.
            let thread = std::thread::Builder::new().name("measure".into()).spawn({
                let send = send.clone();
                move || {
                    let place = Place {
                        library: &library,
                        system: &system,
                    };
                    let outcome = measure::measure(&job, &pins, &place, &mut |step| {
                        // A listener that is slow misses steps; one that left ends the measurement.
                        let event = MeasureEvent::Progress(step.clone());
                        !matches!(
                            send.try_send(Ok(event.into())),
                            Err(mpsc::error::TrySendError::Closed(_))
                        )
                    });
                    let end = outcome.map_or_else(MeasureEvent::Failure, MeasureEvent::Results);
                    drop((pins, turn));
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
        let job = RunJob::try_from(request.into_inner()).map_err(wrong)?;
        let pin = self.pin(&job.model)?;
        let turn = Arc::clone(&self.measuring).lock_owned().await;
        let (library, system) = (self.library.clone(), self.system.clone());
        let (send, receive) = oneshot::channel();
        // As for a measurement: workers die with the thread that started them.
        std::thread::Builder::new()
            .name("run".into())
            .spawn(move || {
                let place = Place {
                    library: &library,
                    system: &system,
                };
                // Whoever asked may leave, and that ends the run.
                let outcome = measure::run(job, &pin, &place, &mut |_| !send.is_closed());
                drop((pin, turn));
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
        Ok(Response::new(self.system.state().into()))
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
fn waiting() -> wire::MeasureEvent {
    MeasureEvent::Progress(Progress::at(Stage::Queued)).into()
}
