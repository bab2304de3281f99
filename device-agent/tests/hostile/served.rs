//! An agent as an operator starts it, and its health.

use std::io::Write;
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

use crate::fixture::{Convolution, agent, greeting, job, quick};

/// How long a test's client waits for the next event.
pub const SILENCE: Duration = Duration::from_secs(60);
/// Maximum memory of an idle agent, KiB.
const IDLE_KIB: u64 = 30 * 1024;
/// Maximum that an attack may add to it at any moment, KiB.
const GROWTH_KIB: u64 = 32 * 1024;

/// Puts a token on every call.
pub type WithToken = Box<dyn FnMut(Request<()>) -> Result<Request<()>, Status> + Send>;
/// The generated client, with a token.
pub type Stub = AgentClient<InterceptedService<Channel, WithToken>>;

/// A started agent, which ends when this is dropped.
pub struct Served {
    child: Child,
    pid: u32,
    /// The address it listens on.
    pub address: SocketAddr,
    /// Its token.
    pub token: Token,
    work: TempDir,
    idle_kib: u64,
}

impl Served {
    /// Starts an agent on the loopback interface with a token.
    pub fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(agent());
        command.args(["serve", "--token-stdin", "--exit-with-parent"]);
        Self::launch(command, arguments, tempfile::tempdir().unwrap())
    }

    /// As [`Self::start`], by another command and with its folder in `place`.
    pub fn start_in(place: TempDir, mut command: Command) -> Self {
        command.args(["serve", "--token-stdin", "--exit-with-parent"]);
        Self::launch(command, &[], place)
    }

    /// Starts an agent behind TLS with the certificates in this folder.
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
        let (address, pid) = greeting(&mut child);
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

    /// Kills it and starts another one at the same address and in the same folder, with a new
    /// token.
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

    /// Returns its process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Returns the process that the test started: the agent or its parent.
    pub fn started_pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns the parent of its folder.
    pub fn work(&self) -> &Path {
        self.work.path()
    }

    /// Returns its folder.
    pub fn own_folder(&self) -> PathBuf {
        own_folder(self.work())
    }

    /// Returns its memory, KiB: `VmRSS` is the current one, `VmHWM` the peak.
    fn memory_kib(&self, which: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with(which));
        let word = line.unwrap().split_whitespace().nth(1);
        word.unwrap().parse().unwrap()
    }

    /// Connects the host's own client.
    pub fn client(&self) -> Client {
        self.client_at(self.address)
    }

    /// Connects the host's own client at another address.
    pub fn client_at(&self, address: SocketAddr) -> Client {
        Client::connect(&format!("http://{address}"), &self.token).unwrap()
    }

    /// Connects the generated client, which sends any message.
    pub async fn stub(&self) -> Stub {
        stub(self.address, self.token.secret()).await
    }

    /// Returns its state.
    pub fn state(&self) -> AgentState {
        self.client().agent_state().unwrap()
    }

    /// Expects it to answer, to measure and not to have grown.
    pub fn is_well(&self) {
        let model = Convolution::default().model("well");
        let mut client = self.client();
        client.upload(&model).unwrap();
        let all = client.measure(&job(&model, quick()), SILENCE, &mut |_| {});
        assert!(all.unwrap()[0].is_valid());
        drop(client);
        self.has_not_grown();
    }

    /// Expects its peak memory to be that of an idle agent plus bounded buffers.
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
        // Some tests kill it before.
        let _ = self.child.wait();
    }
}

/// Returns the agent's folder in `place`.
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

/// Connects the generated client to this address.
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

/// Returns the number of waiting measurements.
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

/// Polls until there is a value; two minutes are more than any condition here takes.
pub fn eventually<T>(what: &str, mut poll: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + Duration::from_secs(120);
    loop {
        if let Some(value) = poll() {
            return value;
        }
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Returns an upload of these bytes in two parts.
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
