//! One connection to an agent, whatever the transport that leads to it.

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

use crate::route::{Overheard, Route};
use crate::{LatencyError, Model};

/// What an ordinary call may take.
const CALL: Duration = Duration::from_secs(20);
/// What sending one model may take, at the least; larger ones get more.
const UPLOAD: Duration = Duration::from_secs(60);
/// Bytes of one chunk.
const CHUNK: usize = 256 * 1024;

/// Puts the token on every call; with a client's certificate there is none.
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

/// A connection to an agent. Its calls block, each for a bounded time.
pub struct Client {
    runtime: Runtime,
    agent: AgentClient<InterceptedService<Channel, WithToken>>,
    device: DeviceInfo,
}

impl Client {
    /// Connects to the agent at `uri` (`http://HOST:PORT`) and agrees on the protocol.
    ///
    /// # Errors
    /// When nothing answers, the token is wrong or the agent speaks another protocol.
    pub fn connect(uri: &str, token: &Token) -> Result<Self, LatencyError> {
        Self::over(&Route::Uri(uri.to_owned()), Some(token))
    }

    /// Connects by a route and agrees on the protocol.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub(crate) fn over(route: &Route, token: Option<&Token>) -> Result<Self, LatencyError> {
        let refuse = |detail: String| LatencyError::Connection {
            call: "connecting",
            detail,
        };
        let value = token
            .map(|token| token.secret().parse::<MetadataValue<Ascii>>())
            .transpose()
            .map_err(|_| refuse("the token is no header text".into()))?
            .map(|mut value| {
                value.set_sensitive(true);
                value
            });
        // A thread of its own drives the connection: the agent's questions for a sign of life come between calls too.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("agent-connection")
            .enable_all()
            .build()
            .map_err(|source| LatencyError::Io {
                doing: "starting the client's executor".into(),
                source,
            })?;
        let overheard = Overheard::default();
        let channel = runtime.block_on(route.open(&overheard));
        let channel = channel
            .map_err(|error| refuse(with_words(&causes(&error), route, &overheard.collect())))?;
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
                    detail: with_words(&detail, route, &overheard.collect()),
                });
            }
            reply => reply?,
        };
        check_version(PROTOCOL_VERSION, reply.protocol)?;
        let device = reply
            .device
            .ok_or_else(|| refuse("the agent does not describe its device".into()))?;
        Ok(Self {
            runtime,
            agent,
            device: device.try_into()?,
        })
    }

    /// The device, as the agent describes it.
    pub fn device(&self) -> &DeviceInfo {
        &self.device
    }

    /// The device's state now.
    ///
    /// # Errors
    /// When the agent does not answer.
    pub fn device_state(&mut self) -> Result<DeviceState, LatencyError> {
        let call = self.agent.get_device_state(wire::DeviceStateRequest {});
        Ok(bounded(&self.runtime, "asking for the device's state", CALL, call)?.try_into()?)
    }

    /// What the agent does and holds now.
    ///
    /// # Errors
    /// When the agent does not answer.
    pub fn agent_state(&mut self) -> Result<AgentState, LatencyError> {
        let call = self.agent.get_agent_state(wire::AgentStateRequest {});
        Ok(bounded(&self.runtime, "asking for the agent's state", CALL, call)?.try_into()?)
    }

    /// Looks at the device and its agent every `interval` (at least 200 ms) for as long as `look` returns `true`.
    ///
    /// # Errors
    /// When the interval is refused, or nothing comes for much longer than it.
    pub fn monitor(
        &mut self,
        interval: Duration,
        look: &mut dyn FnMut(MonitorEvent) -> bool,
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
            if !look(event.try_into()?) {
                return Ok(());
            }
        }
    }

    /// Sees to it that the agent holds a model. Returns the bytes that had to be sent: none if it held it already, and only
    /// the rest if an earlier upload broke off.
    ///
    /// # Errors
    /// When the model is empty or too large, or the agent does not take it.
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
        let question = wire::HasModelRequest {
            sha256: digest.0.to_vec(),
        };
        let held = bounded(
            &self.runtime,
            "asking for a model",
            CALL,
            self.agent.has_model(question),
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
        let mut at = usize::try_from(offset).unwrap_or(0);
        let mut header = Some(Part::Header(header.into()));
        let parts = std::iter::from_fn(move || {
            let part = header.take().or_else(|| {
                let chunk = bytes
                    .get(at..bytes.len().min(at + CHUNK))
                    .filter(|chunk| !chunk.is_empty())?;
                at += chunk.len();
                Some(Part::Chunk(chunk.to_vec()))
            })?;
            Some(wire::UploadModelRequest { part: Some(part) })
        });
        // Ten megabytes a second is slower than any link a model is sent over.
        let limit = UPLOAD + Duration::from_millis(size / 10_000);
        let call = self.agent.upload_model(tokio_stream::iter(parts));
        bounded(&self.runtime, "sending a model", limit, call)?;
        Ok(size - offset)
    }

    /// Measures models the agent holds. `silence` is the longest time without a sign of life, after which the agent counts
    /// as hanging.
    ///
    /// # Errors
    /// [`LatencyError::Failed`] when the worker failed; others when the agent did.
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
        let mute = || lost(format!("no sign of life for {} s", silence.as_secs()));
        let wanted = job.models.len() + usize::from(job.reference.is_some());
        let request = wire::MeasureRequest::from(job.clone());
        let agent = &mut self.agent;
        self.runtime.block_on(async {
            let reply = timeout(silence, agent.measure(request))
                .await
                .map_err(|_| mute())?;
            let mut events = reply
                .map_err(|status| refused(CALL_NAME, &status))?
                .into_inner();
            loop {
                let event = timeout(silence, events.message())
                    .await
                    .map_err(|_| mute())?;
                let event = event
                    .map_err(|status| refused(CALL_NAME, &status))?
                    .ok_or_else(|| lost("the agent ended without a result".into()))?;
                match MeasureEvent::try_from(event)? {
                    MeasureEvent::Progress(step) => progress(&step),
                    MeasureEvent::Failure(failure) => return Err(LatencyError::Failed(failure)),
                    MeasureEvent::Results(all) if all.len() == wanted => return Ok(all),
                    MeasureEvent::Results(all) => {
                        return Err(lost(format!(
                            "{} results came instead of {wanted}",
                            all.len()
                        )));
                    }
                }
            }
        })
    }

    /// Runs a model the agent holds once and returns its first output.
    ///
    /// # Errors
    /// [`LatencyError::Failed`] when the worker failed, as it does when the model takes no such input or gives no floats;
    /// others when the job is wrong or the agent failed.
    pub fn run(&mut self, job: RunJob) -> Result<RunOutput, LatencyError> {
        const CALL_NAME: &str = "running a model";
        job.check()?;
        // The agent ends the worker when its time is up, and then still has to say so.
        let limit = Duration::from_nanos(job.limits.time_ns) + CALL;
        let call = self.agent.run(wire::RunRequest::from(job));
        match bounded(&self.runtime, CALL_NAME, limit, call)?.end {
            Some(End::Output(output)) => Ok(output.try_into()?),
            Some(End::Failure(failure)) => Err(LatencyError::Failed(failure.try_into()?)),
            None => Err(LatencyError::Connection {
                call: CALL_NAME,
                detail: "the agent answered without an outcome".into(),
            }),
        }
    }

    /// Asks the agent to end.
    ///
    /// # Errors
    /// When it does not answer.
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

/// Waits for a call's answer for a bounded time.
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

/// Tells an agent that refuses from one that is gone.
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
        | Code::Unauthenticated
        | Code::NotFound
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::ResourceExhausted
        | Code::Unimplemented => LatencyError::Refused { call, detail },
        _ => LatencyError::Connection { call, detail },
    }
}

/// What went wrong on a route, with what its program said.
fn with_words(detail: &str, route: &Route, words: &str) -> String {
    let words = if words.is_empty() {
        String::new()
    } else {
        format!(" ({words})")
    };
    format!("{}: {detail}{words}", route.describe())
}

/// An error with what lies beneath it.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
