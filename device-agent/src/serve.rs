//! The server: its options, its start and its end.

use std::io::{BufRead, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use agent_protocol::{BoardSpec, MissingLayer, PROTOCOL_VERSION, Token};
use anyhow::{Context, bail};
use clap::Args;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;

use crate::connections::{self, Connections};
use crate::device::System;
use crate::gate::{Credential, Gate};
use crate::launch::TOKEN_VARIABLE;
use crate::models::ModelStore;
use crate::runtime::{self, Runtime};
use crate::service::{Resources, Service};
use crate::tls::{self, Tls};
use crate::{folder, worker};

/// Calls of one connection at once.
const STREAMS: u32 = 16;
/// Unread bytes of one call.
const STREAM_WINDOW: u32 = 512 * 1024;
/// Unread bytes of all calls of one connection.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Bytes of one call's headers.
const HEADER_BYTES: u32 = 8 * 1024;
/// Calls of one connection that the client reset before the agent handled them; with more, the
/// connection is closed.
const RESETS: usize = 20;

/// The server's options.
#[derive(Args)]
pub struct Options {
    /// Port on the loopback interface; 0 takes a free one.
    #[arg(long, default_value_t = 0, conflicts_with = "listen")]
    port: u16,
    /// Address to listen on. Anything but the loopback interface needs --tls.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Folder with agent.pem, agent.key, hosts.pem and clients.json, as `graphprune device enroll`
    /// makes it: clients need a certificate signed by a CA in hosts.pem and a place in
    /// clients.json, which is read again when it changes; and no token.
    #[arg(long, value_name = "DIR")]
    tls: Option<PathBuf>,
    /// ONNX Runtime's library [default: ORT_DYLIB_PATH, then libonnxruntime.so next to this
    /// program].
    #[arg(long, value_name = "FILE")]
    runtime: Option<PathBuf>,
    /// Measure on a bare-metal board behind a debug probe instead of this device: its description
    /// as JSON, as graphprune writes it from a profile.
    #[arg(long, value_name = "JSON", conflicts_with = "runtime")]
    board: Option<String>,
    /// Folder of the boards' firmware [default: `firmware` next to this program].
    #[arg(long, value_name = "DIR", requires = "board")]
    firmware: Option<PathBuf>,
    /// Read the token from the first line of standard input instead of GRAPHPRUNE_AGENT_TOKEN.
    #[arg(long, conflicts_with = "tls")]
    token_stdin: bool,
    /// End when standard input closes, as it does when the host ends.
    #[arg(long)]
    exit_with_parent: bool,
    /// Folder in which the agent makes its own for models and workers [default: one among the
    /// user's caches].
    #[arg(long, value_name = "DIR")]
    work: Option<PathBuf>,
    /// Maximum bytes of all models together; the least recently used is evicted.
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 30)]
    model_bytes: u64,
    /// Maximum connections at once.
    #[arg(long, value_name = "N", default_value_t = 32)]
    connections: usize,
    /// Time a new connection has until its first authenticated call, the TLS handshake included.
    #[arg(long, value_name = "MS", default_value_t = 10_000)]
    greeting_ms: u64,
    /// Time after which a silent client is pinged.
    #[arg(long, value_name = "MS", default_value_t = 5_000)]
    ping_ms: u64,
    /// Time it has to answer. On a slow link the ping waits behind earlier bytes.
    #[arg(long, value_name = "MS", default_value_t = 30_000)]
    pong_ms: u64,
    /// Maximum pause within a request's bytes.
    #[arg(long, value_name = "MS", default_value_t = 60_000)]
    stall_ms: u64,
    /// Run models although a layer of confinement that the kernel offers cannot be put in place.
    /// Only for models that you trust.
    #[arg(long)]
    allow_unconfined: bool,
    /// The kernel's view of the hardware; for containers, which have theirs elsewhere, and for
    /// tests.
    #[arg(long, value_name = "FOLDER", default_value = "/sys", hide = true)]
    sysfs: PathBuf,
}

impl Options {
    /// Returns the address to listen on, and TLS; refuses a public address without TLS.
    fn entrance(&self) -> anyhow::Result<(SocketAddr, Option<Tls>)> {
        let address = self
            .listen
            .unwrap_or_else(|| (Ipv4Addr::LOCALHOST, self.port).into());
        let Some(folder) = &self.tls else {
            if !address.ip().is_loopback() {
                bail!(
                    "{address} can be reached from other machines, and without TLS the network could read the traffic: make certificates with `graphprune device enroll` and name their folder with --tls, or listen on 127.0.0.1 and let graphprune come over ssh or adb"
                );
            }
            return Ok((address, None));
        };
        let tls = tls::configure(folder).context("setting up TLS")?;
        Ok((address, Some(tls)))
    }

    /// Refuses a key in a folder that workers may read: those of the libraries.
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
                "the certificates in {} are below {}, where every model that runs could read the key: keep them in a folder of their own elsewhere",
                tls.display(),
                folder.display()
            );
        }
        Ok(())
    }

    /// Reads the description of the board.
    fn board(&self) -> anyhow::Result<Option<BoardSpec>> {
        let text = self.board.as_deref();
        text.map(serde_json::from_str)
            .transpose()
            .context("reading the description of the board")
    }

    /// Prepares the runtime: that of a board, or ONNX Runtime's library.
    fn open_runtime(&self, board: Option<&BoardSpec>, work: PathBuf) -> anyhow::Result<Runtime> {
        if let Some(board) = board {
            let firmware = runtime::find_firmware(self.firmware.as_deref())?;
            return Runtime::of_board(board, firmware, work);
        }
        let library = runtime::find_library(self.runtime.as_deref())?;
        // Once before the library is loaded; the caller checks the folders of its dependencies.
        let beside = library.parent().map(Path::to_owned);
        self.check_apart(beside.as_slice())?;
        Runtime::probe(library, work, self.allow_unconfined)
    }

    fn credential(&self, tls: Option<&Tls>) -> anyhow::Result<Credential> {
        if let Some(tls) = tls {
            return Ok(Credential::Certificate(Arc::clone(&tls.clients)));
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

/// Serves until a call, a signal or the end of standard input ends it.
pub fn serve(options: Options) -> anyhow::Result<()> {
    // Otherwise a process of the same user, a worker among them, could read the token and the
    // key from this process's memory. A system without the call only lacks this protection.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let (address, tls) = options.entrance()?;
    let credential = options.credential(tls.as_ref())?;
    let board = options.board()?;
    let place = match &options.work {
        Some(place) => place.clone(),
        None => folder::default_place().context("finding a place for models")?,
    };
    let models = Arc::new(ModelStore::new(&place, options.model_bytes)?);
    let mut runtime = options.open_runtime(board.as_ref(), models.work_folder())?;
    options.check_apart(runtime.library_folders())?;
    let facts = runtime.facts()?;
    warn_of(&facts.unconfined, options.allow_unconfined);
    let system = System {
        sysfs: options.sysfs.clone(),
        folder: models.work_folder(),
        probe: board.map(|board| board.probe),
    };
    let (end, mut ended) = watch::channel(false);
    if options.exit_with_parent {
        let end = end.clone();
        std::thread::spawn(move || {
            // The bytes are ignored; their end, or an error, ends the agent.
            let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
            end.send_replace(true);
        });
    }
    let connections = Connections::new(
        options.connections,
        Duration::from_millis(options.greeting_ms),
    );
    let stall = Duration::from_millis(options.stall_ms);
    let resources = Resources {
        device: system.info(facts),
        system,
        runtime,
        models: Arc::clone(&models),
        connections: Arc::clone(&connections),
        stall,
    };
    let service = Service::new(resources, end.clone());
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
        announce(listener.local_addr()?)?;
        let (ready, incoming) = mpsc::channel(1);
        if let Some(tls) = &tls {
            let (connections, clients) = (Arc::clone(&connections), Arc::clone(&tls.clients));
            tokio::spawn(connections::review(connections, clients));
        }
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
                // An error means that all senders are gone, and so is the agent.
                let _ = drained.wait_for(|end| *end).await;
            });
        let mut server = tokio::spawn(server);
        tokio::select! {
            outcome = &mut server => return outcome?.context("serving"),
            _ = ended.wait_for(|end| *end) => {}
            () = terminated() => { end.send_replace(true); }
        }
        // The answer to the call that ended it still goes out; a measurement in progress is
        // dropped.
        match tokio::time::timeout(Duration::from_millis(300), server).await {
            Ok(outcome) => outcome?.context("serving"),
            Err(_) => Ok(()),
        }
    });
    executor.shutdown_background();
    models.clear();
    outcome
}

/// Warns of layers that the kernel offers and that are not in effect.
fn warn_of(unconfined: &[MissingLayer], allowed: bool) {
    let consequence = if allowed {
        "models run without it"
    } else {
        "no model runs without it unless the agent is started with --allow-unconfined"
    };
    for missing in unconfined.iter().filter(|missing| missing.offered) {
        eprintln!(
            "warning: confinement: {} is not in effect ({}); {consequence}",
            missing.layer, missing.reason
        );
    }
}

/// Announces on standard output where the agent listens.
fn announce(address: SocketAddr) -> anyhow::Result<()> {
    let announcement = serde_json::json!({
        "port": address.port(),
        "address": address,
        "protocol": PROTOCOL_VERSION,
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
    });
    let mut out = std::io::stdout();
    writeln!(out, "{announcement}")
        .and_then(|()| out.flush())
        .context("announcing the port")
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
