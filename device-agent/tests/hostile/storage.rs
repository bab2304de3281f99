//! Disks that are too small and disks that fill up: a small tmpfs in a mount namespace of the
//! agent. The tests need unprivileged user namespaces, which most systems allow, or root.

use std::path::PathBuf;
use std::process::Command;

use agent_protocol::wire;
use agent_protocol::wire::upload_model_request::Part;
use latency::{LatencyError, Model};
use tonic::Code;

use crate::fixture::{Convolution, agent};
use crate::served::{Served, block_on, eventually, own_folder, upload_of};

/// Starts an agent whose folder is on a disk of this many mebibytes. Returns it with the disk's
/// path in this namespace.
fn on_a_disk_of(mebibytes: u32) -> (Served, PathBuf) {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().to_str().unwrap();
    let script = format!(
        "mount -t tmpfs -o size={mebibytes}m graphprune-test {folder} && \"$0\" \"$@\"; exit $?"
    );
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script]);
    command.arg(agent());
    let served = Served::start_in(place, command);
    let folder = served.work().to_str().unwrap();
    // Through the shell, because the agent's own /proc entries are closed.
    let disk = PathBuf::from(format!("/proc/{}/root{folder}", served.started_pid()));
    (served, disk)
}

#[test]
fn a_model_larger_than_the_disk_is_refused_before_its_first_byte() {
    let (served, disk) = on_a_disk_of(4);
    let mut client = served.client();
    let refused = |outcome: Result<u64, LatencyError>| match outcome {
        Err(LatencyError::Refused { detail, .. }) => {
            assert!(detail.contains("bytes free"), "{detail}");
        }
        other => panic!("{other:?}"),
    };
    refused(client.upload(&Model::new("large", vec![1; 5 << 20])));
    // A sixteenth of the disk is kept free.
    refused(client.upload(&Model::new("almost", vec![1; (4 << 20) - 100_000])));
    let files = std::fs::read_dir(own_folder(&disk)).unwrap().count();
    assert_eq!(files, 2, "the lock and the workers' folder");
    for filling in 1..6 {
        // Each needs the space of the previous one, which is evicted.
        client
            .upload(&Model::new("fits", vec![filling; 3 << 20]))
            .unwrap();
    }
    drop(client);
    served.is_well();
}

#[test]
fn a_disk_that_fills_up_during_an_upload_costs_that_upload_only() {
    let (served, disk) = on_a_disk_of(8);
    let own = own_folder(&disk);
    let bytes = vec![7; 1 << 20];
    let part = own.join(format!("{}.part", latency::Sha256::of(&bytes)));
    let filler = disk.join("filler");
    block_on(async {
        let mut stub = served.stub().await;
        let (send, parts) = tokio::sync::mpsc::channel(1);
        let parts = tokio_stream::wrappers::ReceiverStream::new(parts);
        let upload = tokio::spawn(async move { stub.upload_model(parts).await });
        let chunk = |bytes: &[u8]| wire::UploadModelRequest {
            part: Some(Part::Chunk(bytes.to_vec())),
        };
        send.send(upload_of(&bytes)[0].clone()).await.unwrap();
        send.send(chunk(&bytes[..1000])).await.unwrap();
        eventually("the first part is there", || {
            (std::fs::metadata(&part).ok()?.len() == 1000).then_some(())
        });
        // Another file fills the disk.
        let full = std::fs::write(&filler, vec![0; 8 << 20]).unwrap_err();
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
        send.send(chunk(&bytes[1000..])).await.unwrap();
        drop(send);
        let status = upload.await.unwrap().unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
        assert!(
            status.message().contains("disk is full")
                && status.message().contains("bytes are free"),
            "{status}"
        );
    });
    assert!(!part.exists(), "a useless part takes no space");
    let mut client = served.client();
    let model = Convolution::default().model("m");
    let outcome = client.upload(&model);
    assert!(
        matches!(outcome, Err(LatencyError::Refused { .. })),
        "{outcome:?}"
    );
    std::fs::remove_file(&filler).unwrap();
    client.upload(&Model::new("the same", bytes)).unwrap();
    drop(client);
    served.is_well();
}
