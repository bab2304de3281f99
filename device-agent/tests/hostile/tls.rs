//! An agent on a network serves only clients with an accepted certificate.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;

use agent_protocol::wire::agent_client::AgentClient;
use agent_protocol::wire::measure_event::Event;
use agent_protocol::{PROTOCOL_VERSION, Token, wire};
use latency::Client;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, version};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use crate::certificates::{Authority, Pair, write};
use crate::fixture::{Convolution, agent, job, quick};
use crate::frames::PREFACE;
use crate::proxy::Proxy;
use crate::served::{Served, block_on, upload_of};

/// Connects as the host does.
pub async fn channel(served: &Served, authority: &Authority, pair: &Pair) -> Channel {
    channel_at(served.address, authority, pair).await
}

async fn channel_at(address: SocketAddr, authority: &Authority, pair: &Pair) -> Channel {
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(&authority.certificate))
        .identity(Identity::from_pem(&pair.certificate, &pair.key))
        .domain_name("localhost");
    Endpoint::from_shared(format!("https://{address}"))
        .unwrap()
        .tls_config(tls)
        .unwrap()
        .connect()
        .await
        .unwrap()
}

/// Calls `Hello`, sends a model and measures it.
pub async fn measure(channel: Channel) {
    let mut client = AgentClient::new(channel);
    let hello = wire::HelloRequest {
        protocol: PROTOCOL_VERSION,
        client: "a test".into(),
    };
    let reply = client.hello(hello).await.unwrap().into_inner();
    assert_eq!(reply.protocol, PROTOCOL_VERSION);
    let model = Convolution::default().model("over tls");
    let parts = upload_of(model.onnx());
    client
        .upload_model(tokio_stream::iter(parts))
        .await
        .unwrap();
    let request = wire::MeasureRequest::from(job(&model, quick()));
    let mut events = client.measure(request).await.unwrap().into_inner();
    let mut last = None;
    while let Some(event) = events.message().await.unwrap() {
        last = event.event;
    }
    assert!(matches!(last, Some(Event::Results(all)) if all.measurements.len() == 1));
}

#[test]
fn a_recorded_tls_session_has_no_effect_on_an_agent_with_the_same_certificates() {
    let authority = Authority::new();
    let folder = authority.folder();
    let served = Served::with_tls(folder.path(), &[]);
    let cable = Proxy::to(served.address);
    let host = authority.host();
    block_on(async {
        let channel = channel_at(cable.address, &authority, &host).await;
        measure(channel.clone()).await;
        let mut client = AgentClient::new(channel);
        client.shutdown(wire::ShutdownRequest {}).await.unwrap();
    });
    let recorded = cable.sent();
    assert!(recorded.len() > 1000);
    let other = Served::with_tls(folder.path(), &[]);
    let stream = crate::frames::connect(other.address, &recorded);
    stream.shutdown(Shutdown::Write).unwrap();
    crate::frames::closed(&stream);
    // The recorded session contains an upload and a shutdown.
    block_on(async {
        let channel = channel(&other, &authority, &host).await;
        let mut client = AgentClient::new(channel.clone());
        let state = client.get_agent_state(wire::AgentStateRequest {}).await;
        assert_eq!(state.unwrap().into_inner().models, 0);
        measure(channel).await;
    });
    other.has_not_grown();
}

#[test]
fn a_host_with_its_certificate_measures_without_a_token() {
    let authority = Authority::new();
    let folder = authority.folder();
    let served = Served::with_tls(folder.path(), &["--listen", "0.0.0.0:0"]);
    let mut reachable = served.address;
    reachable.set_ip([127, 0, 0, 1].into());
    block_on(async {
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&authority.certificate))
            .identity({
                let host = authority.host();
                Identity::from_pem(host.certificate, host.key)
            })
            .domain_name("localhost");
        let endpoint = Endpoint::from_shared(format!("https://{reachable}")).unwrap();
        let endpoint = endpoint.tls_config(tls).unwrap();
        measure(endpoint.connect().await.unwrap()).await;
    });
    served.has_not_grown();
}

/// Returns the bytes that the agent sends inside a TLS session to a client with this certificate.
async fn received(
    served: &Served,
    authority: &Authority,
    pair: Option<&Pair>,
    version: &'static SupportedProtocolVersion,
) -> Vec<u8> {
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_slice(authority.certificate.as_bytes()).unwrap();
    roots.add(ca).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match pair {
        None => config.with_no_client_auth(),
        Some(pair) => {
            let chain = CertificateDer::pem_slice_iter(pair.certificate.as_bytes());
            let chain = chain.collect::<Result<_, _>>().unwrap();
            let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
            config.with_client_auth_cert(chain, key).unwrap()
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = tokio::net::TcpStream::connect(served.address)
        .await
        .unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    let mut bytes = Vec::new();
    let name = "localhost".try_into().unwrap();
    if let Ok(mut stream) = connector.connect(name, stream).await {
        // In TLS 1.3 the client finishes before the agent has checked its certificate.
        let _ = stream.write_all(PREFACE).await;
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut buffer).await {
            bytes.extend_from_slice(&buffer[..count]);
            if pair.is_some() && bytes.len() >= 9 {
                break;
            }
        }
    }
    bytes
}

/// Returns the bytes that a client with this certificate gets.
pub async fn received_as(served: &Served, authority: &Authority, pair: &Pair) -> Vec<u8> {
    received(served, authority, Some(pair), &version::TLS13).await
}

#[test]
fn a_client_without_an_accepted_certificate_gets_no_byte() {
    let authority = Authority::new();
    let other = Authority::new();
    let folder = authority.folder();
    let served = Served::with_tls(folder.path(), &[]);
    let accepted = authority.host();
    block_on(async {
        let bytes = received(&served, &authority, Some(&accepted), &version::TLS13).await;
        assert!(!bytes.is_empty(), "HTTP/2 settings");
        let refused = [
            ("none", None),
            ("another CA's", Some(other.host())),
            ("an expired one", Some(authority.expired())),
            ("an agent's", Some(authority.agent())),
            ("one that is not listed", Some(authority.unlisted())),
            ("one without a purpose", Some(authority.without_purpose())),
            ("one of a CA below", Some(authority.through_another())),
        ];
        for (what, pair) in &refused {
            let bytes = received(&served, &authority, pair.as_ref(), &version::TLS13).await;
            assert_eq!(bytes, b"", "{what}");
        }
        let bytes = received(&served, &authority, Some(&accepted), &version::TLS12).await;
        assert_eq!(bytes, b"", "TLS 1.2");
        measure(channel(&served, &authority, &accepted).await).await;
    });
}

#[test]
fn plain_text_at_a_tls_port_is_refused() {
    let authority = Authority::new();
    let folder = authority.folder();
    let served = Served::with_tls(folder.path(), &[]);
    let mut stream = TcpStream::connect(served.address).unwrap();
    stream.write_all(PREFACE).unwrap();
    let mut bytes = Vec::new();
    // The agent may reset the connection after its alert.
    let _ = stream.read_to_end(&mut bytes);
    assert!(
        bytes.is_empty() || (bytes[0] == 0x15 && bytes.len() == 7),
        "an alert at most: {bytes:?}"
    );
    let uri = format!("http://{}", served.address);
    let outcome = Client::connect(&uri, &Token::generate().unwrap());
    assert!(outcome.is_err_and(|error| error.is_agent_lost()));
    block_on(async { measure(channel(&served, &authority, &authority.host()).await).await });
}

/// Returns the error of an agent that does not start.
fn refusal(arguments: &[&str]) -> String {
    let output = Command::new(agent())
        .arg("serve")
        .args(arguments)
        .env("GRAPHPRUNE_AGENT_TOKEN", "0123456789abcdef0123456789abcdef")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(!output.status.success(), "{arguments:?}: it started");
    assert!(output.stdout.is_empty(), "it announced a port");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn without_tls_only_the_loopback_interface_is_accepted() {
    for address in [
        "0.0.0.0:0",
        "[::]:0",
        "192.0.2.1:7070",
        "[::ffff:127.0.0.1]:0",
    ] {
        let text = refusal(&["--listen", address]);
        assert!(
            text.contains("graphprune device enroll") && text.contains("--tls"),
            "{address}: {text}"
        );
    }
    for address in ["127.0.0.1:0", "127.0.0.2:0"] {
        Served::start(&["--listen", address]).is_well();
    }
}

#[test]
fn a_key_that_others_can_read_and_missing_certificates_are_refused_by_name() {
    let authority = Authority::new();
    let check = |spoil: &dyn Fn(&std::path::Path), needles: &[&str]| {
        let folder = authority.folder();
        spoil(folder.path());
        let text = refusal(&["--tls", folder.path().to_str().unwrap()]);
        for needle in needles {
            assert!(text.contains(needle), "{needle}: {text}");
        }
        assert!(!text.contains("PRIVATE KEY"), "{text}");
    };
    for mode in [0o640, 0o604, 0o660, 0o777] {
        check(
            &|folder| {
                let key = std::fs::read_to_string(folder.join("agent.key")).unwrap();
                write(&folder.join("agent.key"), &key, mode);
            },
            &["agent.key", "chmod 600"],
        );
    }
    for name in ["agent.pem", "agent.key", "hosts.pem", "clients.json"] {
        check(
            &|folder| std::fs::remove_file(folder.join(name)).unwrap(),
            &[name],
        );
    }
    check(
        &|folder| write(&folder.join("hosts.pem"), "no certificate", 0o644),
        &["hosts.pem"],
    );
    for list in ["", "{}", r#"{"clients": [{"name": "a b"}]}"#] {
        check(
            &|folder| write(&folder.join("clients.json"), list, 0o644),
            &["clients.json"],
        );
    }
    for mode in [0o646, 0o664] {
        check(
            &|folder| {
                let list = std::fs::read_to_string(folder.join("clients.json")).unwrap();
                write(&folder.join("clients.json"), &list, mode);
            },
            &["clients.json", "chmod go-w"],
        );
    }
    check(
        &|folder| write(&folder.join("agent.key"), &authority.agent().key, 0o600),
        &["agent.pem and agent.key", "do not fit"],
    );
}
