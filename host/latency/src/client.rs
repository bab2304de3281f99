//! A connection to an agent over any transport.

use std::time::Duration;

use agent_protocol::wire::agent_client::AgentClient;
use agent_protocol::wire::{self, run_reply::End, upload_model_request::Part};
use agent_protocol::{
    AgentState, DeviceInfo, DeviceState, MeasureEvent, MeasureJob, Measurement, MonitorEvent,
    PROTOCOL_VERSION, Progress, RunJob, RunOutput, TOKEN_METADATA, Token, Upload, bounds,
    check_version, plain,
};
use tokio::runtime::Runtime;
use tokio::time::timeout;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::route::{Route, RouteStderr};
use crate::{LatencyError, Model};

/// Time limit of an ordinary call.
const CALL: Duration = Duration::from_secs(20);
/// Time limit of sending a small model.
const UPLOAD: Duration = Duration::from_secs(60);
/// Bytes of one chunk.
const CHUNK: usize = 256 * 1024;

/// Adds the token to every call. A client with a certificate has none.
#[derive(Clone)]
struct WithToken(Option<MetadataValue<Ascii>>);

impl Interceptor for WithToken {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert(TOKEN_METADATA, token.clone());
        }
        Ok(request)
    }
}

/// A connection to an agent. Its calls block for a bounded time.
pub struct Client {
    runtime: Runtime,
    agent: AgentClient<InterceptedService<Channel, WithToken>>,
    device: DeviceInfo,
}

impl Client {
    /// Connects to the agent at `uri` (`http://HOST:PORT`) and checks the protocol's version.
    ///
    /// # Errors
    /// Fails if nothing answers, the token is rejected or the version differs.
    pub fn connect(uri: &str, token: &Token) -> Result<Self, LatencyError> {
        Self::over(&Route::Uri(uri.to_owned()), Some(token))
    }

    /// Connects over a route and checks the protocol's version.
    ///
    /// # Errors
    /// Fails as [`Self::connect`] does.
    pub(crate) fn over(route: &Route, token: Option<&Token>) -> Result<Self, LatencyError> {
        let failed = |detail: String| LatencyError::Connection {
            call: "connecting",
            detail,
        };
        let value = token
            .map(|token| token.secret().parse::<MetadataValue<Ascii>>())
            .transpose()
            .map_err(|_| failed("the token is not valid header text".into()))?
            .map(|mut value| {
                value.set_sensitive(true);
                value
            });
        // A thread drives the connection, so that keep-alive pings are answered between calls.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("agent-connection")
            .enable_all()
            .build()
            .map_err(|source| LatencyError::Io {
                doing: "starting the client's executor".into(),
                source,
            })?;
        let stderr = RouteStderr::default();
        let channel = runtime.block_on(route.open(&stderr));
        let channel = channel
            .map_err(|error| failed(with_stderr(&causes(&error), route, &stderr.collect())))?;
        let mut agent = AgentClient::with_interceptor(channel, WithToken(value))
            .max_decoding_message_size(bounds::MAX_REPLY_BYTES)
            .max_encoding_message_size(bounds::MAX_REQUEST_BYTES);
        let hello = wire::HelloRequest {
            protocol: PROTOCOL_VERSION,
            client: format!("graphprune {}", env!("CARGO_PKG_VERSION")),
        };
        let reply = match bounded(&runtime, "the greeting", CALL, agent.hello(hello)) {
            Err(LatencyError::Connection { call, detail }) => {
                return Err(LatencyError::Connection {
                    call,
                    detail: with_stderr(&detail, route, &stderr.collect()),
                });
            }
            reply => reply?,
        };
        check_version(PROTOCOL_VERSION, reply.protocol)?;
        let device = reply
            .device
            .ok_or_else(|| failed("the agent does not describe its device".into()))?;
        Ok(Self {
            runtime,
            agent,
            device: device.try_into()?,
        })
    }

    /// Returns the agent's description of the device.
    pub fn device(&self) -> &DeviceInfo {
        &self.device
    }

    /// Requests the current state of the device.
    ///
    /// # Errors
    /// Fails if the agent does not answer.
    pub fn device_state(&mut self) -> Result<DeviceState, LatencyError> {
        let call = self.agent.get_device_state(wire::DeviceStateRequest {});
        Ok(bounded(&self.runtime, "asking for the device's state", CALL, call)?.try_into()?)
    }

    /// Requests the current activity and contents of the agent.
    ///
    /// # Errors
    /// Fails if the agent does not answer.
    pub fn agent_state(&mut self) -> Result<AgentState, LatencyError> {
        let call = self.agent.get_agent_state(wire::AgentStateRequest {});
        Ok(bounded(&self.runtime, "asking for the agent's state", CALL, call)?.try_into()?)
    }

    /// Observes the device and its agent every `interval` (at least 200 ms) until `observer`
    /// returns `false`.
    ///
    /// # Errors
    /// Fails if the agent refuses the interval, or falls silent.
    pub fn monitor(
        &mut self,
        interval: Duration,
        observer: &mut dyn FnMut(MonitorEvent) -> bool,
    ) -> Result<(), LatencyError> {
        const CALL_NAME: &str = "watching the device";
        let lost = |detail: String| LatencyError::Connection {
            call: CALL_NAME,
            detail,
        };
        let silence = interval + CALL;
        let request = wire::MonitorRequest {
            interval_ns: u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX),
        };
        let call = self.agent.monitor(request);
        let mut events = bounded(&self.runtime, CALL_NAME, CALL, call)?;
        loop {
            let event = self
                .runtime
                .block_on(async { timeout(silence, events.message()).await })
                .map_err(|_| lost(format!("no sign of life for {} s", silence.as_secs())))?
                .map_err(|status| refused(CALL_NAME, &status))?
                .ok_or_else(|| lost("the agent ended".into()))?;
            if !observer(event.try_into()?) {
                return Ok(());
            }
        }
    }

    /// Uploads a model unless the agent holds it. Returns the number of bytes sent: an upload
    /// resumes an interrupted one.
    ///
    /// # Errors
    /// Fails if the model is empty or too large, or the agent refuses it.
    pub fn upload(&mut self, model: &Model) -> Result<u64, LatencyError> {
        let size = model.onnx().len() as u64;
        if size == 0 || size > bounds::MAX_MODEL_BYTES {
            return Err(LatencyError::Model {
                name: model.name().to_owned(),
                detail: format!(
                    "it has {size} bytes; 1 to {} can be sent",
                    bounds::MAX_MODEL_BYTES
                ),
            });
        }
        let digest = model.sha256();
        let request = wire::HasModelRequest {
            sha256: digest.0.to_vec(),
        };
        let held = bounded(
            &self.runtime,
            "asking for a model",
            CALL,
            self.agent.has_model(request),
        )?;
        if held.present {
            return Ok(0);
        }
        let offset = if held.partial_bytes <= size {
            held.partial_bytes
        } else {
            0
        };
        let header = Upload {
            sha256: digest,
            size_bytes: size,
            offset_bytes: offset,
        };
        let bytes = model.onnx().clone();
        let mut position = usize::try_from(offset).unwrap_or(0);
        let mut header = Some(Part::Header(header.into()));
        let parts = std::iter::from_fn(move || {
            let part = header.take().or_else(|| {
                let chunk = bytes
                    .get(position..bytes.len().min(position + CHUNK))
                    .filter(|chunk| !chunk.is_empty())?;
                position += chunk.len();
                Some(Part::Chunk(chunk.to_vec()))
            })?;
            Some(wire::UploadModelRequest { part: Some(part) })
        });
        // 10 MB/s is slower than any link in use.
        let limit = UPLOAD + Duration::from_millis(size / 10_000);
        let call = self.agent.upload_model(tokio_stream::iter(parts));
        bounded(&self.runtime, "sending a model", limit, call)?;
        Ok(size - offset)
    }

    /// Measures uploaded models. An agent that sends nothing for `silence` counts as hanging.
    ///
    /// # Errors
    /// [`LatencyError::Failed`] if the worker failed; others if the agent did.
    pub fn measure(
        &mut self,
        job: &MeasureJob,
        silence: Duration,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<Vec<Measurement>, LatencyError> {
        const CALL_NAME: &str = "measuring";
        let lost = |detail: String| LatencyError::Connection {
            call: CALL_NAME,
            detail,
        };
        let hanging = || lost(format!("no sign of life for {} s", silence.as_secs()));
        let expected = job.models.len() + usize::from(job.reference.is_some());
        let request = wire::MeasureRequest::from(job.clone());
        let agent = &mut self.agent;
        self.runtime.block_on(async {
            let reply = timeout(silence, agent.measure(request))
                .await
                .map_err(|_| hanging())?;
            let mut events = reply
                .map_err(|status| refused(CALL_NAME, &status))?
                .into_inner();
            loop {
                let event = timeout(silence, events.message())
                    .await
                    .map_err(|_| hanging())?;
                let event = event
                    .map_err(|status| refused(CALL_NAME, &status))?
                    .ok_or_else(|| lost("the agent ended without a result".into()))?;
                match MeasureEvent::try_from(event)? {
                    MeasureEvent::Progress(step) => progress(&step),
                    MeasureEvent::Failure(failure) => return Err(LatencyError::Failed(failure)),
                    MeasureEvent::Results(all) if all.len() == expected => return Ok(all),
                    MeasureEvent::Results(all) => {
                        return Err(lost(format!("{} results instead of {expected}", all.len())));
                    }
                }
            }
        })
    }

    /// Runs an uploaded model once and returns its first output.
    ///
    /// # Errors
    /// [`LatencyError::Failed`] if the worker failed, or the model does not accept the input or
    /// does not return floats; others if the job is invalid or the agent failed.
    pub fn run(&mut self, job: RunJob) -> Result<RunOutput, LatencyError> {
        const CALL_NAME: &str = "running a model";
        job.check()?;
        // The agent ends the worker after its time limit, and then reports that.
        let limit = Duration::from_nanos(job.limits.time_ns) + CALL;
        let call = self.agent.run(wire::RunRequest::from(job));
        match bounded(&self.runtime, CALL_NAME, limit, call)?.end {
            Some(End::Output(output)) => Ok(output.try_into()?),
            Some(End::Failure(failure)) => Err(LatencyError::Failed(failure.try_into()?)),
            None => Err(LatencyError::Connection {
                call: CALL_NAME,
                detail: "the agent answered without a result".into(),
            }),
        }
    }

    /// Ends the agent.
    ///
    /// # Errors
    /// Fails if it does not answer.
    pub fn shutdown(&mut self) -> Result<(), LatencyError> {
        let call = self.agent.shutdown(wire::ShutdownRequest {});
        bounded(
            &self.runtime,
            "ending the agent",
            Duration::from_secs(5),
            call,
        )
        .map(drop)
    }
}

/// Waits for the answer to a call for a bounded time.
fn bounded<T>(
    runtime: &Runtime,
    call: &'static str,
    limit: Duration,
    answer: impl Future<Output = Result<tonic::Response<T>, Status>>,
) -> Result<T, LatencyError> {
    match runtime.block_on(async { timeout(limit, answer).await }) {
        Ok(Ok(reply)) => Ok(reply.into_inner()),
        Ok(Err(status)) => Err(refused(call, &status)),
        Err(_) => Err(LatencyError::Connection {
            call,
            detail: format!("no answer within {limit:?}"),
        }),
    }
}

/// Maps a status to an error: the agent refused the call, or the connection failed.
fn refused(call: &'static str, status: &Status) -> LatencyError {
    let mut detail = if status.message().is_empty() {
        status.to_string()
    } else {
        status.message().to_owned()
    };
    if let Some(source) = std::error::Error::source(status) {
        detail = format!("{detail}: {}", causes(source));
    }
    let detail = plain::on_one_line(&detail).into_owned();
    match status.code() {
        Code::InvalidArgument
        | Code::PermissionDenied
        | Code::Unauthenticated
        | Code::NotFound
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::ResourceExhausted
        | Code::Unimplemented => LatencyError::Refused { call, detail },
        _ => LatencyError::Connection { call, detail },
    }
}

/// Adds the route and the standard error of its program to an error.
fn with_stderr(detail: &str, route: &Route, stderr: &str) -> String {
    let stderr = if stderr.is_empty() {
        String::new()
    } else {
        format!(" ({stderr})")
    };
    format!("{}: {detail}{stderr}", route.describe())
}

/// An error with its chain of causes.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
