//! Authenticates calls and bounds their requests before a byte of them is decoded.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use agent_protocol::wire::agent_server::{Agent, AgentServer};
use agent_protocol::{CLIENTS_FILE, Right, TOKEN_METADATA, Token, bounds};
use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Sleep;
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tower::Service;

use crate::clients::Allowed;
use crate::connections::Caller;
use crate::queue::Queue;

/// Bytes of a message's header and of other overhead.
const FRAME: usize = 64;
/// Bytes of a request for a measurement.
const MEASURE_BYTES: usize = 1024 * 1024;
/// Bytes of any other request.
const SMALL_BYTES: usize = 4096;
/// Minimum rate of a sender that takes longer than the patience, bytes a second.
const SLOWEST: u64 = 4096;

/// What authenticates a call.
pub enum Credential {
    /// The token of this start, on every call.
    Token(Token),
    /// A certificate, when the connection was made, and the client's rights in this list.
    Certificate(Arc<Allowed>),
}

/// The agent behind its gate.
pub struct Gate<A> {
    inside: Arc<Inside>,
    /// For calls whose messages are small.
    small: AgentServer<A>,
    /// For [`Agent::run`], whose input may be large.
    large: AgentServer<A>,
}

struct Inside {
    credential: Credential,
    patience: Duration,
    /// Limits large requests: each takes memory until it is answered.
    large: Arc<Queue>,
}

impl<A> Clone for Gate<A> {
    fn clone(&self) -> Self {
        Self {
            inside: Arc::clone(&self.inside),
            small: self.small.clone(),
            large: self.large.clone(),
        }
    }
}

impl<A: Agent> Gate<A> {
    /// Passes calls on to `agent` that show the `credential` and whose bytes never pause for
    /// longer than `patience`.
    pub fn new(agent: Arc<A>, credential: Credential, patience: Duration) -> Self {
        let server = |most: usize| {
            AgentServer::from_arc(Arc::clone(&agent))
                .max_decoding_message_size(most)
                .max_encoding_message_size(bounds::MAX_REPLY_BYTES)
        };
        Self {
            inside: Arc::new(Inside {
                credential,
                patience,
                large: Queue::new(2),
            }),
            small: server(bounds::MAX_CHUNK_BYTES.max(MEASURE_BYTES) + FRAME),
            large: server(bounds::MAX_REQUEST_BYTES),
        }
    }
}

impl Inside {
    fn check<B>(&self, request: &Request<B>, method: &str) -> Result<Caller, Status> {
        let Some(caller) = request.extensions().get::<Caller>() else {
            return Err(Status::internal("the call has no connection"));
        };
        match &self.credential {
            Credential::Certificate(clients) => permitted(clients, caller, method)?,
            Credential::Token(token) => match request.headers().get(TOKEN_METADATA) {
                Some(value) if token.matches(value.as_bytes()) => {}
                Some(_) => {
                    return Err(Status::unauthenticated(
                        "the token is wrong: it belongs to another start of the agent",
                    ));
                }
                None => return Err(Status::unauthenticated("the call carries no token")),
            },
        }
        caller.authenticated();
        Ok(caller.clone())
    }
}

/// Checks the rights of a client as they are now.
fn permitted(clients: &Allowed, caller: &Caller, method: &str) -> Result<(), Status> {
    let Some(key) = caller.key() else {
        return Err(Status::unauthenticated("no certificate was shown"));
    };
    let Some(client) = clients.find(key) else {
        return Err(Status::permission_denied(format!(
            "this host's key is no longer in {CLIENTS_FILE} on the device"
        )));
    };
    let right = right_of(method);
    if client.may(right) {
        return Ok(());
    }
    Err(Status::permission_denied(format!(
        "`{}` does not have the right `{right}` in {CLIENTS_FILE} on the device",
        client.name
    )))
}

/// Returns the right that a call needs.
fn right_of(method: &str) -> Right {
    match method {
        "Hello" | "GetDeviceState" | "GetAgentState" | "Monitor" => Right::Watch,
        "Shutdown" => Right::ShutDown,
        _ => Right::Measure,
    }
}

/// Returns the maximum bytes of a whole request to a method; `None` where the method itself
/// counts.
fn most_bytes(method: &str) -> Option<usize> {
    match method {
        "UploadModel" => None,
        "Run" => Some(bounds::MAX_REQUEST_BYTES + FRAME),
        "Measure" => Some(MEASURE_BYTES + FRAME),
        _ => Some(SMALL_BYTES),
    }
}

impl<A: Agent> Service<Request<Body>> for Gate<A> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let method = request.uri().path().rsplit('/').next().unwrap_or_default();
        let caller = match self.inside.check(&request, method) {
            Ok(caller) => caller,
            Err(status) => return Box::pin(std::future::ready(Ok(status.into_http()))),
        };
        let most = most_bytes(method);
        let is_large = method == "Run";
        let (patience, queue) = (self.inside.patience, Arc::clone(&self.inside.large));
        let request = request.map(|body| Body::new(Bounded::new(body, most, patience)));
        let (mut small, mut large) = (self.small.clone(), self.large.clone());
        Box::pin(async move {
            if !is_large {
                return small.call(request).await;
            }
            let mut ticket = match queue.enter(caller.client()) {
                Ok(ticket) => ticket,
                Err(full) => return Ok(Status::from(full).into_http()),
            };
            // Held until the answer is complete.
            let _turn = ticket.turn().await;
            large.call(request).await
        })
    }
}

impl<A> NamedService for Gate<A> {
    const NAME: &'static str = <AgentServer<A> as NamedService>::NAME;
}

/// A request's body that fails when it is too long, pauses for too long or trickles.
struct Bounded {
    body: Body,
    most: Option<usize>,
    received: usize,
    patience: Duration,
    /// Time spent waiting for the sender; the agent's own processing does not count.
    waited: Duration,
    wait: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl Bounded {
    fn new(body: Body, most: Option<usize>, patience: Duration) -> Self {
        Self {
            body,
            most,
            received: 0,
            patience,
            waited: Duration::ZERO,
            wait: None,
        }
    }

    /// Returns how long the sender may take until the next bytes.
    fn grace(&self) -> Duration {
        let earned = Duration::from_secs(self.received as u64 / SLOWEST);
        (self.patience + earned)
            .saturating_sub(self.waited)
            .min(self.patience)
    }

    fn take(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, Status> {
        let length = frame.data_ref().map_or(0, Bytes::len);
        self.received = self.received.saturating_add(length);
        match self.most {
            Some(most) if self.received > most => Err(Status::resource_exhausted(format!(
                "the request is longer than {most} bytes"
            ))),
            _ => Ok(frame),
        }
    }
}

impl HttpBody for Bounded {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        if let Poll::Ready(next) = Pin::new(&mut this.body).poll_frame(cx) {
            if let Some((begun, _)) = this.wait.take() {
                this.waited += begun.elapsed();
            }
            return Poll::Ready(next.map(|frame| this.take(frame?)));
        }
        let grace = this.grace();
        let (_, sleep) = this
            .wait
            .get_or_insert_with(|| (Instant::now(), Box::pin(tokio::time::sleep(grace))));
        sleep.as_mut().poll(cx).map(|()| {
            Some(Err(Status::deadline_exceeded(format!(
                "the request came too slowly: nothing for {} s or less than {SLOWEST} bytes a second",
                this.patience.as_secs_f64()
            ))))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
