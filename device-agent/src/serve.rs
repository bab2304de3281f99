//! The server: its options, its start and its end.

use std::io::{BufRead, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use agent_protocol::{PROTOCOL_VERSION, Token};
use anyhow::{Context, bail};
use clap::Args;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;

use crate::connections::{self, Connections};
use crate::device::System;
use crate::gate::{Credential, Gate};
use crate::models::ModelStore;
use crate::service::{Parts, Service};
use crate::{folder, measure, runtime, tls, worker};

/// The variable that holds the token unless it comes over standard input.
pub const TOKEN_VARIABLE: &str = "GRAPHPRUNE_AGENT_TOKEN";
/// Calls of one connection at once.
const STREAMS: u32 = 16;
/// Bytes of one call that may wait to be read.
const STREAM_WINDOW: u32 = 512 * 1024;
/// Bytes of all calls of one connection that may.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Bytes of one call's headers.
const HEADER_BYTES: u32 = 8 * 1024;
/// Calls of one connection that were reset before the agent saw them; with more the connection is closed.
const RESETS: usize = 20;

/// How the server runs.
#[derive(Args)]
pub struct Options {
    /// Port on the loopback interface; 0 takes a free one.
    #[arg(long, default_value_t = 0, conflicts_with = "listen")]
    port: u16,
    /// Where to listen. Anything but the loopback interface needs --tls.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Folder with agent.pem, agent.key and hosts.pem, as `graphprune device enroll` makes it: clients show a certificate
    /// that hosts.pem vouches for, and no token is asked for.
    #[arg(long, value_name = "DIR")]
    tls: Option<PathBuf>,
    /// ONNX Runtime's library [default: ORT_DYLIB_PATH, then libonnxruntime.so next to this program].
    #[arg(long, value_name = "FILE")]
    runtime: Option<PathBuf>,
    /// Read the token from the first line of standard input instead of GRAPHPRUNE_AGENT_TOKEN.
    #[arg(long, conflicts_with = "tls")]
    token_stdin: bool,
    /// End when standard input closes, as it does when the host dies.
    #[arg(long)]
    exit_with_parent: bool,
    /// Folder in which the agent makes its own for models and workers [default: one among the user's caches].
    #[arg(long, value_name = "DIR")]
    work: Option<PathBuf>,
    /// Bytes all models together may take; the one used longest ago leaves first.
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 30)]
    model_bytes: u64,
    /// Connections at once.
    #[arg(long, value_name = "N", default_value_t = 32)]
    connections: usize,
    /// Time a new connection has until its first call, the TLS handshake included.
    #[arg(long, value_name = "MS", default_value_t = 10_000)]
    greeting_ms: u64,
    /// Time after which a silent client is asked for a sign of life.
    #[arg(long, value_name = "MS", default_value_t = 5_000)]
    ping_ms: u64,
    /// Time it has to give one. On a slow link the question waits behind what was sent before it.
    #[arg(long, value_name = "MS", default_value_t = 30_000)]
    pong_ms: u64,
    /// Time a request's bytes may stay away before it is given up.
    #[arg(long, value_name = "MS", default_value_t = 60_000)]
    stall_ms: u64,
    /// Where the kernel tells about the hardware; for containers, which see theirs elsewhere, and for tests.
    #[arg(long, value_name = "FOLDER", default_value = "/sys", hide = true)]
    sysfs: PathBuf,
}

impl Options {
    /// Where to listen and how, if both go together.
    fn entrance(&self) -> anyhow::Result<(SocketAddr, Option<TlsAcceptor>)> {
        let address = self
            .listen
            .unwrap_or_else(|| (Ipv4Addr::LOCALHOST, self.port).into());
        let Some(folder) = &self.tls else {
            if !address.ip().is_loopback() {
                bail!(
                    "{address} can be reached from other machines, and without TLS anyone there could read along: make certificates with `graphprune device enroll` and name their folder with --tls, or listen on 127.0.0.1 and let graphprune come over ssh or adb"
                );
            }
            return Ok((address, None));
        };
        let acceptor = tls::acceptor(folder).context("setting up TLS")?;
        Ok((address, Some(acceptor)))
    }

    /// Workers may read libraries and what lies beside them, so the key must not be there.
    fn check_apart(&self, library_folders: &[PathBuf]) -> anyhow::Result<()> {
        let Some(tls) = &self.tls else {
            return Ok(());
        };
        let tls = tls
            .canonicalize()
            .with_context(|| format!("resolving {}", tls.display()))?;
        let own = library_folders.iter().map(PathBuf::as_path);
        let mut readable = own.chain(worker::LIBRARIES.iter().map(Path::new));
        let is_above = |folder: &&Path| {
            let whole = folder.canonicalize();
            tls.starts_with(whole.as_deref().unwrap_or(folder))
        };
        if let Some(folder) = readable.find(is_above) {
            bail!(
                "the certificates in {} lie below {}, where every model that is run could read the key: keep them in a folder of their own elsewhere",
                tls.display(),
                folder.display()
            );
        }
        Ok(())
    }

    fn credential(&self) -> anyhow::Result<Credential> {
        if self.tls.is_some() {
            return Ok(Credential::Certificate);
        }
        let text = if self.token_stdin {
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
        Ok(Credential::Token(Token::parse(&text)?))
    }
}

/// Serves until told to end.
pub fn serve(options: Options) -> anyhow::Result<()> {
    // Otherwise whoever runs as the same user, a worker too, could read the token and the key from this process's memory. Where
    // the call is missing nothing is lost but that.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let (address, tls) = options.entrance()?;
    let credential = options.credential()?;
    let library = runtime::find(options.runtime.as_deref())?;
    // Before the library is loaded, and once more when it is known what comes with it.
    let beside = library.parent().map(Path::to_owned);
    options.check_apart(beside.as_slice())?;
    let place = match &options.work {
        Some(place) => place.clone(),
        None => folder::usual_place().context("finding a place for models")?,
    };
    let models = Arc::new(ModelStore::new(&place, options.model_bytes)?);
    let library_folders = measure::library_folders(&library, &models.work_folder())?;
    options.check_apart(&library_folders)?;
    let facts = measure::runtime_facts(&library, &library_folders, &models.work_folder())?;
    for missing in facts.unconfined.iter().filter(|missing| missing.offered) {
        eprintln!(
            "warning: models are run without {}: {}",
            missing.layer, missing.reason
        );
    }
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
    let connections = Connections::new(
        options.connections,
        Duration::from_millis(options.greeting_ms),
    );
    let stall = Duration::from_millis(options.stall_ms);
    let parts = Parts {
        device: system.info(facts),
        system,
        library,
        library_folders,
        models: Arc::clone(&models),
        connections: Arc::clone(&connections),
        stall,
    };
    let service = Service::new(parts, end.clone());
    let gate = Gate::new(Arc::new(service), credential, stall);
    let ping = Duration::from_millis(options.ping_ms);
    let pong = Duration::from_millis(options.pong_ms);
    let executor = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("starting the executor")?;
    let outcome = executor.block_on(async {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("listening on {address}"))?;
        greet(listener.local_addr()?)?;
        let (ready, incoming) = mpsc::channel(1);
        tokio::spawn(connections::accept(listener, tls, connections, ready));
        let mut drained = ended.clone();
        let server = Server::builder()
            .max_concurrent_streams(STREAMS)
            .concurrency_limit_per_connection(STREAMS as usize)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .http2_max_header_list_size(HEADER_BYTES)
            .http2_max_pending_accept_reset_streams(Some(RESETS))
            .http2_max_local_error_reset_streams(Some(RESETS))
            .http2_keepalive_interval(Some(ping))
            .http2_keepalive_timeout(Some(pong))
            .add_service(gate)
            .serve_with_incoming_shutdown(ReceiverStream::new(incoming), async move {
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

/// Tells whoever started the agent where it listens.
fn greet(address: SocketAddr) -> anyhow::Result<()> {
    let greeting = serde_json::json!({
        "port": address.port(),
        "address": address,
        "protocol": PROTOCOL_VERSION,
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
    });
    let mut out = std::io::stdout();
    writeln!(out, "{greeting}")
        .and_then(|()| out.flush())
        .context("telling the port")
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
