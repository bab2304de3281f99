//! Routes of a connection's bytes.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use agent_protocol::StderrTail;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, Join, ReadBuf};
use tokio::process::{ChildStdin, ChildStdout};
use tonic::transport::{Channel, ClientTlsConfig, Endpoint, Error, Uri};

use crate::transport::process;

/// Time limit of opening a connection.
const OPEN: Duration = Duration::from_secs(20);
/// The interval of keep-alive pings and the time limit of their answers. A device whose cores are
/// all busy with a measurement answers late.
const ALIVE_EVERY: Duration = Duration::from_secs(5);
const ALIVE_WITHIN: Duration = Duration::from_secs(15);

/// A route to an agent.
pub(crate) enum Route {
    /// Plain TCP to `http://HOST:PORT`.
    Uri(String),
    /// The standard input and output of a program, which is started for each connection.
    Program(Vec<OsString>),
    /// TLS to `https://HOST:PORT`.
    Tls(String, Box<ClientTlsConfig>),
}

impl Route {
    /// Names the route for messages.
    pub fn describe(&self) -> String {
        match self {
            Self::Uri(uri) | Self::Tls(uri, _) => uri.clone(),
            Self::Program(words) => words
                .first()
                .map_or_else(String::new, |word| word.to_string_lossy().into_owned()),
        }
    }

    /// Opens the connection. After a loss the next call opens it again.
    pub async fn open(&self, stderr: &RouteStderr) -> Result<Channel, Error> {
        let endpoint = |uri: &str| {
            Ok(Endpoint::from_shared(uri.to_owned())?
                .connect_timeout(OPEN)
                .tcp_nodelay(true)
                .http2_keep_alive_interval(ALIVE_EVERY)
                .keep_alive_timeout(ALIVE_WITHIN))
        };
        match self {
            Self::Uri(uri) => endpoint(uri)?.connect().await,
            Self::Tls(uri, tls) => endpoint(uri)?.tls_config((**tls).clone())?.connect().await,
            Self::Program(program) => {
                let (program, stderr) = (program.clone(), stderr.clone());
                let connector = tower::service_fn(move |_: Uri| {
                    let started = Pipe::start(&program, &stderr).map(TokioIo::new);
                    async move { started }
                });
                // The host name only appears in headers and is never resolved.
                endpoint("http://agent.invalid")?
                    .connect_with_connector(connector)
                    .await
            }
        }
    }
}

/// The standard error of a route's last program.
#[derive(Clone, Default)]
pub(crate) struct RouteStderr(Arc<Mutex<Option<StderrTail>>>);

impl RouteStderr {
    /// Returns the end of the standard error, once the program has ended.
    pub fn collect(&self) -> String {
        let tail = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tail.as_ref().map(StderrTail::collect).unwrap_or_default()
    }
}

/// A byte stream over the standard output and input of a program. The program ends with the
/// stream.
struct Pipe {
    child: Child,
    stream: Join<ChildStdout, ChildStdin>,
}

impl Pipe {
    fn start(words: &[OsString], stderr: &RouteStderr) -> io::Result<Self> {
        let (program, arguments) = words
            .split_first()
            .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        let mut child = Command::new(program)
            .args(arguments)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let tail = child.stderr.take().map(process::stderr_tail);
        *stderr.0.lock().unwrap_or_else(PoisonError::into_inner) = tail;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            process::end(&mut child, Duration::ZERO);
            return Err(io::Error::other("the program has no standard streams"));
        };
        let streams = ChildStdout::from_std(stdout)
            .and_then(|stdout| Ok((stdout, ChildStdin::from_std(stdin)?)));
        match streams {
            Ok((stdout, stdin)) => Ok(Self {
                child,
                stream: tokio::io::join(stdout, stdin),
            }),
            Err(error) => {
                process::end(&mut child, Duration::ZERO);
                Err(error)
            }
        }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        process::end(&mut self.child, Duration::ZERO);
    }
}

impl AsyncRead for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
