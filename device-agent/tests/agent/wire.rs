//! Unauthenticated clients and arbitrary bytes at the agent's port.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use agent_protocol::wire::agent_client::AgentClient;
use agent_protocol::{PROTOCOL_VERSION, TOKEN_METADATA, Token, wire};
use latency::{Client, LatencyError};
use tonic::transport::Endpoint;
use tonic::{Code, Request};

use crate::fixture::{agent, greeting};

/// A started agent, which ends when this is dropped.
pub struct Bare {
    pub child: Child,
    port: u16,
    token: Token,
}

impl Bare {
    fn start() -> Self {
        Self::start_by(Command::new(agent()), &[])
    }

    /// Starts the agent by this command, with further arguments for `serve`.
    pub fn start_by(mut command: Command, arguments: &[&str]) -> Self {
        let token = Token::generate().unwrap();
        let mut child = command
            .args(["serve", "--exit-with-parent", "--token-stdin"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        writeln!(child.stdin.as_mut().unwrap(), "{}", token.secret()).unwrap();
        let (address, _) = greeting(&mut child);
        Self {
            child,
            port: address.port(),
            token,
        }
    }

    /// Connects a client.
    pub fn client(&self) -> Client {
        Client::connect(&self.uri(), &self.token).unwrap()
    }

    fn uri(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Calls `hello` with this token and version.
    fn hello(&self, token: Option<&str>, protocol: u32) -> Result<wire::HelloReply, tonic::Status> {
        let executor = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        executor.block_on(async {
            let channel = Endpoint::from_shared(self.uri())
                .unwrap()
                .connect()
                .await
                .unwrap();
            let mut client = AgentClient::new(channel);
            let mut request = Request::new(wire::HelloRequest {
                protocol,
                client: "a test".into(),
            });
            if let Some(token) = token {
                request
                    .metadata_mut()
                    .insert(TOKEN_METADATA, token.parse().unwrap());
            }
            client.hello(request).await.map(tonic::Response::into_inner)
        })
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        self.child.wait().unwrap();
    }
}

#[test]
fn a_call_without_the_token_of_this_start_is_refused() {
    let agent = Bare::start();
    let mut longer = agent.token.secret().to_owned();
    longer.push('0');
    for token in [
        None,
        Some(""),
        Some("wrong"),
        Some(&longer[..]),
        Some(&longer[..32]),
    ] {
        let status = agent.hello(token, PROTOCOL_VERSION).unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated, "{token:?}: {status}");
    }
    let other = Token::generate().unwrap();
    let error = Client::connect(&agent.uri(), &other).err().unwrap();
    assert!(
        matches!(&error, LatencyError::Refused { detail, .. } if detail.contains("token")),
        "{error}"
    );
    assert!(
        agent
            .hello(Some(agent.token.secret()), PROTOCOL_VERSION)
            .is_ok()
    );
}

#[test]
fn the_refusal_of_another_protocol_names_both_versions() {
    let agent = Bare::start();
    let status = agent
        .hello(Some(agent.token.secret()), PROTOCOL_VERSION + 98)
        .unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(
        status
            .message()
            .contains(&format!("protocol {}", PROTOCOL_VERSION + 98))
            && status
                .message()
                .contains(&format!("the agent {PROTOCOL_VERSION}")),
        "{status}"
    );
}

#[test]
fn arbitrary_bytes_at_the_port_do_no_harm() {
    let agent = Bare::start();
    let noise: Vec<u8> = (0..4096u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let http = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec();
    let preface = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        vec![0xff; 512],
    ]
    .concat();
    for bytes in [noise, http, preface, Vec::new()] {
        let mut stream = TcpStream::connect(("127.0.0.1", agent.port)).unwrap();
        // The agent may close the connection at any point of this.
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    }
    assert!(
        agent
            .hello(Some(agent.token.secret()), PROTOCOL_VERSION)
            .is_ok()
    );
}

#[test]
fn a_shutdown_ends_the_agent() {
    let mut agent = Bare::start();
    let mut client = agent.client();
    assert!(client.device_state().unwrap().taken_unix_ns > 0);
    client.shutdown().unwrap();
    assert!(agent.child.wait().unwrap().success());
}

#[test]
fn a_weak_token_is_refused_at_the_start() {
    let run = |token: Option<&str>| {
        let mut command = Command::new(agent());
        command
            .arg("serve")
            .env_remove("GRAPHPRUNE_AGENT_TOKEN")
            .stdin(Stdio::null());
        if let Some(token) = token {
            command.env("GRAPHPRUNE_AGENT_TOKEN", token);
        }
        let output = command.output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(run(None).contains("GRAPHPRUNE_AGENT_TOKEN"));
    assert!(run(Some("short")).contains("32 to 256"));
}
