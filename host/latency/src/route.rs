//! The ways that the bytes of a connection take.

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

/// What opening a connection may take.
const OPEN: Duration = Duration::from_secs(20);
/// How often a connection in use asks for a sign of life, and how long it waits for one. A device whose cores are all busy
/// with a measurement may answer late.
const ALIVE_EVERY: Duration = Duration::from_secs(5);
const ALIVE_WITHIN: Duration = Duration::from_secs(15);

/// A way to an agent.
pub(crate) enum Route {
    /// An address that this machine reaches by itself: `http://HOST:PORT`.
    Uri(String),
    /// The standard input and output of a program, started anew for each connection.
    Program(Vec<OsString>),
    /// TLS to `https://HOST:PORT`.
    Tls(String, Box<ClientTlsConfig>),
}

impl Route {
    /// The way in a few words.
    pub fn describe(&self) -> String {
        match self {
            Self::Uri(uri) | Self::Tls(uri, _) => uri.clone(),
            Self::Program(words) => words
                .first()
                .map_or_else(String::new, |word| word.to_string_lossy().into_owned()),
        }
    }

    /// Opens the connection. A lost one is opened anew by the next call.
    pub async fn open(&self, words: &Overheard) -> Result<Channel, Error> {
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
                let (program, words) = (program.clone(), words.clone());
                let connector = tower::service_fn(move |_: Uri| {
                    let started = Pipe::start(&program, &words).map(TokioIo::new);
                    async move { started }
                });
                // The name is only for the calls' headers: nothing is looked up.
                endpoint("http://agent.invalid")?
                    .connect_with_connector(connector)
                    .await
            }
        }
    }
}

/// What the programs of a route said on their standard error, newest last.
#[derive(Clone, Default)]
pub(crate) struct Overheard(Arc<Mutex<Option<StderrTail>>>);

impl Overheard {
    /// The last program's words, once it has ended.
    pub fn collect(&self) -> String {
        let words = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        words.as_ref().map(StderrTail::collect).unwrap_or_default()
    }
}

/// A program whose standard output and input are a stream of bytes. It ends with the stream.
struct Pipe {
    child: Child,
    stream: Join<ChildStdout, ChildStdin>,
}

impl Pipe {
    fn start(words: &[OsString], overheard: &Overheard) -> io::Result<Self> {
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
        let heard = child.stderr.take().map(process::last_words);
        *overheard.0.lock().unwrap_or_else(PoisonError::into_inner) = heard;
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
