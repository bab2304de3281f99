//! Names in requests are never paths.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use agent_protocol::{PROTOCOL_VERSION, wire};

use crate::fixture::{Convolution, agent, job, quick};
use crate::served::{Served, block_on, own_folder, upload_of};

/// Names that would lead out of a folder if they were used as paths.
const HOSTILE: [&str; 6] = [
    "../../x",
    "/var/graphprune-hostile-name",
    "..",
    "a/../../../x",
    "x\\..\\..",
    "%2e%2e%2fx",
];

/// Adds every path below a folder with its content, without the agent's own folder.
fn add_all(folder: &Path, into: &mut BTreeSet<(PathBuf, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("graphprune-agent-"))
        {
            continue;
        }
        if path.is_dir() {
            into.insert((path.clone(), Vec::new()));
            add_all(&path, into);
        } else {
            into.insert((path.clone(), std::fs::read(&path).unwrap()));
        }
    }
}

fn snapshot(folder: &Path) -> BTreeSet<(PathBuf, Vec<u8>)> {
    let mut all = BTreeSet::new();
    add_all(folder, &mut all);
    all
}

#[test]
fn no_name_in_a_request_reaches_a_file_outside_the_agents_folder() {
    let outside = tempfile::tempdir().unwrap();
    let around = outside.path().join("a/b");
    std::fs::create_dir_all(&around).unwrap();
    let work = tempfile::Builder::new()
        .prefix("work")
        .tempdir_in(&around)
        .unwrap();
    let place = work.path().to_owned();
    for canary in ["x", "a/x", "a/b/x", "a/b/y"] {
        std::fs::write(outside.path().join(canary), canary).unwrap();
    }
    let before = snapshot(outside.path());
    let served = Served::start_in(work, Command::new(agent()));
    let model = Convolution::default().model("m");
    block_on(async {
        let mut stub = served.stub().await;
        let parts = upload_of(model.onnx());
        stub.upload_model(tokio_stream::iter(parts)).await.unwrap();
        for name in HOSTILE {
            // Only digests become names of files.
            let digest = name.as_bytes().to_vec();
            let long = [name.as_bytes(), &[b'x'; 32]].concat()[..32].to_vec();
            for sha256 in [digest, long] {
                let question = wire::HasModelRequest {
                    sha256: sha256.clone(),
                };
                let reply = stub.has_model(question).await;
                assert!(reply.is_err() || !reply.unwrap().into_inner().present);
                let mut parts = upload_of(b"hostile");
                if let Some(wire::upload_model_request::Part::Header(header)) = &mut parts[0].part {
                    header.sha256 = sha256;
                }
                assert!(stub.upload_model(tokio_stream::iter(parts)).await.is_err());
            }
            let hello = wire::HelloRequest {
                protocol: PROTOCOL_VERSION,
                client: name.into(),
            };
            stub.hello(hello).await.unwrap();
            let mut request = wire::MeasureRequest::from(job(&model, quick()));
            request.models[0].name = name.into();
            request.reference = Some(request.models[0].clone());
            request.evidence = wire::Evidence::Full.into();
            let mut events = stub.measure(request.clone()).await.unwrap().into_inner();
            let mut last = None;
            while let Some(event) = events.message().await.unwrap() {
                last = event.event;
            }
            assert!(
                matches!(last, Some(wire::measure_event::Event::Results(_))),
                "{name}: a name is only a name: {last:?}"
            );
            request.runtime = Some(wire::RuntimeOptions {
                providers: vec![wire::Provider {
                    name: name.into(),
                    options: std::iter::once((name.to_owned(), name.to_owned())).collect(),
                }],
                ..wire::RuntimeOptions::default()
            });
            assert!(
                stub.measure(request).await.is_err(),
                "{name} is no provider"
            );
            let run = wire::RunRequest {
                sha256: model.sha256().0.to_vec(),
                name: name.into(),
                input: vec![1.0; 3 * 16 * 16],
                shape: vec![1, 3, 16, 16],
                limits: Some(latency::Limits::default().into()),
                ..wire::RunRequest::default()
            };
            let reply = stub.run(run).await.unwrap().into_inner();
            assert!(matches!(reply.end, Some(wire::run_reply::End::Output(_))));
        }
    });
    assert_eq!(snapshot(outside.path()), before);
    assert!(!Path::new("/var/graphprune-hostile-name").exists());
    for entry in std::fs::read_dir(own_folder(&place)).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let digest = name
            .strip_suffix(".onnx")
            .or_else(|| name.strip_suffix(".part"));
        let is_digest =
            digest.is_some_and(|d| d.len() == 64 && d.bytes().all(|b| b.is_ascii_hexdigit()));
        assert!(is_digest || name == "lock" || name == "work", "{name}");
        if name == "work" {
            let left: Vec<_> = std::fs::read_dir(entry.path()).unwrap().collect();
            assert!(left.is_empty(), "{left:?}");
        }
    }
    drop(served);
    assert!(!place.exists(), "its files are removed with it");
}
