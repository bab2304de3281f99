//! An agent as an operator starts it, and whether it is well.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use agent_protocol::wire::agent_client::AgentClient;
use agent_protocol::{TOKEN_METADATA, Token, wire};
use latency::{AgentState, Client};
use tempfile::TempDir;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::fixture::{Convolution, agent, job, quick};

/// How long the client of a test waits for a sign of life.
pub const SILENCE: Duration = Duration::from_secs(60);
/// The most memory of an agent that does nothing, KiB.
const IDLE_KIB: u64 = 30 * 1024;
/// The most that an attack may add to it at any moment, KiB.
const GROWTH_KIB: u64 = 32 * 1024;

/// Puts a token on every call.
pub type WithToken = Box<dyn FnMut(Request<()>) -> Result<Request<()>, Status> + Send>;
/// The generated client, with a token.
pub type Stub = AgentClient<InterceptedService<Channel, WithToken>>;

/// An agent of one's own, ended with this value.
pub struct Served {
    child: Child,
    pid: u32,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its token.
    pub token: Token,
    work: TempDir,
    idle_kib: u64,
}

impl Served {
    /// An agent on the loopback interface with a token.
    pub fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(agent());
        command.args(["serve", "--token-stdin", "--exit-with-parent"]);
        Self::launch(command, arguments, tempfile::tempdir().unwrap())
    }

    /// The same, started by another command and with its own folder in another place.
    pub fn start_in(place: TempDir, mut command: Command) -> Self {
        command.args(["serve", "--token-stdin", "--exit-with-parent"]);
        Self::launch(command, &[], place)
    }

    /// An agent behind TLS with the certificates in this folder.
    pub fn with_tls(folder: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(agent());
        command
            .args(["serve", "--exit-with-parent", "--tls"])
            .arg(folder);
        Self::launch(command, arguments, tempfile::tempdir().unwrap())
    }

    fn launch(mut command: Command, arguments: &[&str], work: TempDir) -> Self {
        let token = Token::generate().unwrap();
        let mut child = command
            .arg("--work")
            .arg(work.path())
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        writeln!(child.stdin.as_mut().unwrap(), "{}", token.secret()).unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let greeting: serde_json::Value = serde_json::from_str(&line).expect("a greeting");
        let address = greeting["address"].as_str().unwrap().parse().unwrap();
        let pid = u32::try_from(greeting["pid"].as_u64().unwrap()).unwrap();
        let mut served = Self {
            child,
            pid,
            address,
            token,
            work,
            idle_kib: 0,
        };
        served.idle_kib = served.memory_kib("VmRSS:");
        assert!(served.idle_kib < IDLE_KIB, "{} KiB", served.idle_kib);
        served
    }

    /// Kills it and starts another one at the same address and in the same folder, with a token of its own.
    pub fn replace(mut self) -> Self {
        self.kill();
        let mut command = Command::new(agent());
        command.args(["serve", "--token-stdin", "--exit-with-parent", "--listen"]);
        command.arg(self.address.to_string());
        let work = std::mem::replace(&mut self.work, tempfile::tempdir().unwrap());
        Self::launch(command, &[], work)
    }

    /// Kills it as the kernel would.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The process that was started: its own or one that started it.
    pub fn started_pid(&self) -> u32 {
        self.child.id()
    }

    /// The folder that it makes its own in.
    pub fn work(&self) -> &Path {
        self.work.path()
    }

    /// The folder that it made.
    pub fn own_folder(&self) -> PathBuf {
        own_folder(self.work())
    }

    /// Its memory, KiB: `VmRSS` is what it has now, `VmHWM` the most it ever had.
    fn memory_kib(&self, which: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with(which));
        let word = line.unwrap().split_whitespace().nth(1);
        word.unwrap().parse().unwrap()
    }

    /// The host's own client.
    pub fn client(&self) -> Client {
        self.client_at(self.address)
    }

    /// The host's own client, by way of another address.
    pub fn client_at(&self, address: SocketAddr) -> Client {
        Client::connect(&format!("http://{address}"), &self.token).unwrap()
    }

    /// The generated client, which sends what it is told to.
    pub async fn stub(&self) -> Stub {
        stub(self.address, self.token.secret()).await
    }

    /// What it does and holds.
    pub fn state(&self) -> AgentState {
        self.client().agent_state().unwrap()
    }

    /// It lives, answers, measures, and has not grown.
    pub fn is_well(&self) {
        let model = Convolution::default().model("well");
        let mut client = self.client();
        client.upload(&model).unwrap();
        let all = client.measure(&job(&model, quick()), SILENCE, &mut |_| {});
        assert!(all.unwrap()[0].is_valid());
        drop(client);
        self.has_not_grown();
    }

    /// Whatever was sent to it, it never had more memory than when it began, but for bounded buffers.
    pub fn has_not_grown(&self) {
        let (now, most) = (self.memory_kib("VmRSS:"), self.memory_kib("VmHWM:"));
        println!(
            "memory: {} KiB idle, {now} KiB now, {most} KiB at most",
            self.idle_kib
        );
        let grown = most.saturating_sub(self.idle_kib);
        assert!(grown < GROWTH_KIB, "it grew by {grown} KiB");
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // It was killed already in some tests.
        let _ = self.child.wait();
    }
}

/// The agent's folder in `place`.
pub fn own_folder(place: &Path) -> PathBuf {
    let mut entries = std::fs::read_dir(place)
        .unwrap()
        .map(|entry| entry.unwrap());
    let own = entries.find(|entry| {
        let name = entry.file_name();
        name.to_string_lossy().starts_with("graphprune-agent-")
    });
    own.expect("the agent has a folder").path()
}

/// The generated client for an agent at this address.
pub async fn stub(address: SocketAddr, token: &str) -> Stub {
    let channel = Endpoint::from_shared(format!("http://{address}"))
        .unwrap()
        .connect()
        .await
        .unwrap();
    let value: tonic::metadata::MetadataValue<_> = token.parse().unwrap();
    let with_token: WithToken = Box::new(move |mut request| {
        request.metadata_mut().insert(TOKEN_METADATA, value.clone());
        Ok(request)
    });
    AgentClient::with_interceptor(channel, with_token)
        .max_decoding_message_size(1 << 28)
        .max_encoding_message_size(1 << 28)
}

/// How many wait in its queue.
pub async fn queued(stub: &mut Stub) -> u32 {
    let reply = stub.get_agent_state(wire::AgentStateRequest {}).await;
    reply.unwrap().into_inner().queued
}

/// Runs a future to its end.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

/// Waits until something is so; two minutes are more than any of it takes.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + Duration::from_secs(120);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// An upload of these bytes in two parts.
pub fn upload_of(bytes: &[u8]) -> Vec<wire::UploadModelRequest> {
    use wire::upload_model_request::Part;
    let header = wire::UploadHeader {
        sha256: latency::Sha256::of(bytes).0.to_vec(),
        size_bytes: bytes.len() as u64,
        offset_bytes: 0,
    };
    let parts = [Part::Header(header), Part::Chunk(bytes.to_vec())];
    parts
        .map(|part| wire::UploadModelRequest { part: Some(part) })
        .into()
}
