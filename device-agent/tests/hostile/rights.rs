//! What the clients in the list of an agent on a network may do, and how they lose it.

use agent_protocol::wire::agent_client::AgentClient;
use agent_protocol::{AllowedClients, PROTOCOL_VERSION, Right, wire};
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::certificates::{Authority, write, write_list};
use crate::fixture::{Convolution, endless, job};
use crate::served::{Served, block_on, upload_of};
use crate::tls;

/// Makes every call and returns those that were refused for lack of a right. `Shutdown` comes last,
/// because it ends an agent that permits it.
async fn denied(channel: Channel) -> Vec<&'static str> {
    let mut client = AgentClient::new(channel);
    let model = Convolution::default().model("m");
    let hello = wire::HelloRequest {
        protocol: PROTOCOL_VERSION,
        client: "a test".into(),
    };
    let parts = tokio_stream::iter(upload_of(model.onnx()));
    let monitor = wire::MonitorRequest {
        interval_ns: 100_000_000,
    };
    let outcomes: [(&'static str, Option<Status>); 9] = [
        ("Hello", client.hello(hello).await.err()),
        (
            "GetDeviceState",
            client
                .get_device_state(wire::DeviceStateRequest {})
                .await
                .err(),
        ),
        (
            "GetAgentState",
            client
                .get_agent_state(wire::AgentStateRequest {})
                .await
                .err(),
        ),
        ("Monitor", client.monitor(monitor).await.err()),
        (
            "HasModel",
            client
                .has_model(wire::HasModelRequest::default())
                .await
                .err(),
        ),
        ("UploadModel", client.upload_model(parts).await.err()),
        (
            "Measure",
            client.measure(wire::MeasureRequest::default()).await.err(),
        ),
        ("Run", client.run(wire::RunRequest::default()).await.err()),
        (
            "Shutdown",
            client.shutdown(wire::ShutdownRequest {}).await.err(),
        ),
    ];
    let refused = outcomes.into_iter().filter(|(call, status)| {
        let is_denied = status
            .as_ref()
            .is_some_and(|status| status.code() == Code::PermissionDenied);
        let names_the_list = |status: &Status| status.message().contains("clients.json");
        assert!(
            !is_denied || status.as_ref().is_some_and(names_the_list),
            "{call}"
        );
        is_denied
    });
    refused.map(|(call, _)| call).collect()
}

#[test]
fn a_client_may_make_the_calls_of_its_rights_only_and_changes_need_no_restart() {
    let authority = Authority::new();
    let folder = authority.folder();
    let served = Served::with_tls(folder.path(), &[]);
    let measuring = ["HasModel", "UploadModel", "Measure", "Run"];
    let check = |rights: &[Right], expected: &[&str]| {
        authority.allow(folder.path(), rights);
        let refused = block_on(async {
            denied(tls::channel(&served, &authority, &authority.host()).await).await
        });
        assert_eq!(refused, expected, "{rights:?}");
    };
    check(&[], &[&measuring[..], &["Shutdown"]].concat());
    check(&[Right::Watch], &[&measuring[..], &["Shutdown"]].concat());
    check(&[Right::Measure], &["Shutdown"]);
    check(&[Right::ShutDown], &measuring);
}

#[test]
fn a_revoked_client_loses_its_connection_and_its_measurement() {
    let authority = Authority::new();
    let folder = authority.folder();
    let served = Served::with_tls(folder.path(), &[]);
    block_on(async {
        let host = authority.host();
        let channel = tls::channel(&served, &authority, &host).await;
        let mut client = AgentClient::new(channel.clone());
        let model = Convolution::default().model("m");
        let parts = tokio_stream::iter(upload_of(model.onnx()));
        client.upload_model(parts).await.unwrap();
        let request = wire::MeasureRequest::from(job(&model, endless()));
        let mut events = client.measure(request).await.unwrap().into_inner();
        assert!(events.message().await.unwrap().is_some());
        write_list(folder.path(), &AllowedClients::default());
        let lost = loop {
            match events.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the measurement ended"),
                Err(status) => break status,
            }
        };
        assert_ne!(lost.code(), Code::Ok);
        let bytes = tls::received_as(&served, &authority, &host).await;
        assert_eq!(bytes, b"", "a new connection");
        authority.allow(folder.path(), &Right::ALL);
        let channel = tls::channel(&served, &authority, &host).await;
        let mut client = AgentClient::new(channel.clone());
        // The measurement of the lost connection ends by itself.
        loop {
            let state = client.get_agent_state(wire::AgentStateRequest {}).await;
            if state.unwrap().into_inner().activity.is_none() {
                break;
            }
        }
        tls::measure(channel).await;
    });
    served.has_not_grown();
}

#[test]
fn a_list_that_becomes_unreadable_admits_no_client_until_it_is_mended() {
    let authority = Authority::new();
    let folder = authority.folder();
    let served = Served::with_tls(folder.path(), &[]);
    let host = authority.host();
    block_on(async {
        tls::measure(tls::channel(&served, &authority, &host).await).await;
        write(
            &folder.path().join("clients.json"),
            "{\"clients\": [",
            0o644,
        );
        assert_eq!(tls::received_as(&served, &authority, &host).await, b"");
        std::fs::remove_file(folder.path().join("clients.json")).unwrap();
        assert_eq!(tls::received_as(&served, &authority, &host).await, b"");
        authority.allow(folder.path(), &[Right::Measure]);
        tls::measure(tls::channel(&served, &authority, &host).await).await;
    });
    served.has_not_grown();
}
