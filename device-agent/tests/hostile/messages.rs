//! Malformed, oversized and contradictory messages, from unauthenticated and authenticated
//! clients.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use agent_protocol::wire::upload_model_request::Part;
use agent_protocol::{PROTOCOL_VERSION, Token, wire};
use bytes::Bytes;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tonic::Code;

use crate::bytes::{Caller, METHODS};
use crate::fixture::{Convolution, job, quick};
use crate::frames::{DATA, END_HEADERS, HEADERS, PREFACE, call, closed, connect, frame, pour};
use crate::served::{Served, block_on, upload_of};

#[test]
fn noise_at_the_port_does_no_harm() {
    let served = Served::start(&["--greeting-ms", "1000"]);
    let mut random = ChaCha8Rng::seed_from_u64(4);
    for round in 0..100 {
        let mut noise: Vec<u8> = if round % 2 == 0 {
            Vec::new()
        } else {
            PREFACE.to_vec()
        };
        noise.extend((0..random.random_range(0..8000)).map(|_| random.random::<u8>()));
        let mut stream = TcpStream::connect(served.address).unwrap();
        // The agent may close the connection at any point of this.
        let _ = stream.write_all(&noise);
        let _ = stream.shutdown(Shutdown::Write);
        closed(&stream);
    }
    served.is_well();
}

#[test]
fn a_call_that_is_no_protobuf_is_refused() {
    let served = Served::start(&[]);
    let mut random = ChaCha8Rng::seed_from_u64(5);
    block_on(async {
        let other = Token::generate().unwrap();
        for token in [None, Some(other.secret()), Some(served.token.secret())] {
            let caller = Caller::to(served.address, token).await;
            let is_authenticated = token == Some(served.token.secret());
            // `Shutdown` is left out: from an authenticated client an empty message ends the
            // agent.
            for method in METHODS.iter().filter(|method| **method != "Shutdown") {
                for length in [1, 10, 300] {
                    let noise: Vec<u8> = (0..length).map(|_| random.random()).collect();
                    let outcome = caller
                        .call(method, vec![[&[0xff][..], &noise].concat().into()], &[])
                        .await;
                    let status = outcome.expect_err(method);
                    if !is_authenticated {
                        assert_eq!(status.code(), Code::Unauthenticated, "{method}: {status}");
                    }
                }
            }
            let status = caller
                .call("NoSuchCall", Vec::new(), &[])
                .await
                .unwrap_err();
            let expected = if is_authenticated {
                Code::Unimplemented
            } else {
                Code::Unauthenticated
            };
            assert_eq!(status.code(), expected);
        }
    });
    served.is_well();
}

#[test]
fn compressed_messages_are_not_unpacked() {
    let served = Served::start(&[]);
    block_on(async {
        let caller = Caller::to(served.address, Some(served.token.secret())).await;
        for method in METHODS {
            let bytes = vec![Bytes::from_static(&[0x1f, 0x8b, 8, 0])];
            let outcome = caller
                .call(method, bytes, &[("grpc-encoding", "gzip")])
                .await;
            let status = outcome.expect_err(method);
            assert_eq!(status.code(), Code::Unimplemented, "{method}: {status}");
        }
    });
    served.is_well();
}

#[test]
fn a_request_larger_than_its_call_may_be_is_refused() {
    let served = Served::start(&[]);
    block_on(async {
        let caller = Caller::to(served.address, Some(served.token.secret())).await;
        let sizes = [
            ("Hello", 5_000),
            ("HasModel", 5_000),
            ("GetDeviceState", 5_000),
            ("Monitor", 5_000),
            ("UploadModel", 1_100_000),
            ("Measure", 1_100_000),
            ("Run", 70_000_000),
        ];
        for (method, size) in sizes {
            // An unknown field of this length, which every message allows.
            let mut bytes = vec![0xfa, 0x7f];
            prost::encoding::encode_varint(size, &mut bytes);
            bytes.resize(bytes.len() + usize::try_from(size).unwrap(), 0);
            let outcome = caller.call(method, vec![bytes.into()], &[]).await;
            let status = outcome.expect_err(method);
            assert!(
                [Code::OutOfRange, Code::ResourceExhausted].contains(&status.code()),
                "{method}: {status}"
            );
        }
    });
    served.has_not_grown();
    // A message that announces four gigabytes.
    for method in METHODS {
        let open = [
            PREFACE.to_vec(),
            frame(
                HEADERS,
                END_HEADERS,
                1,
                &call(method, Some(served.token.secret())),
            ),
            frame(DATA, 0, 1, &[0, 0xff, 0xff, 0xff, 0xff, 1, 2, 3]),
        ];
        pour(&connect(served.address, b""), open.into_iter());
    }
    served.is_well();
}

#[test]
fn large_unauthenticated_requests_take_no_memory() {
    let served = Served::start(&[]);
    block_on(async {
        let large = Bytes::from(vec![7; 60_000_000]);
        let mut calls = Vec::new();
        for _ in 0..8 {
            let caller = Caller::to(served.address, Some("0123456789abcdef0123456789abcdef")).await;
            for _ in 0..8 {
                let (caller, large) = (caller.clone(), large.clone());
                calls.push(tokio::spawn(async move {
                    caller.call("Run", vec![large], &[]).await
                }));
            }
        }
        for call in calls {
            assert!(call.await.unwrap().is_err());
        }
    });
    served.is_well();
}

#[test]
fn a_request_that_trickles_or_stops_is_aborted() {
    let served = Served::start(&["--stall-ms", "500"]);
    let token = Some(served.token.secret());
    for method in METHODS {
        let begun = Instant::now();
        let open = [
            PREFACE.to_vec(),
            frame(HEADERS, END_HEADERS, 1, &call(method, token)),
            frame(DATA, 0, 1, &[0, 0, 0, 0, 9, 1]),
        ]
        .concat();
        let stream = connect(served.address, &open);
        let status = crate::frames::until_headers(&stream);
        assert!(
            !status.is_empty() && begun.elapsed() < Duration::from_secs(20),
            "{method}"
        );
    }
    block_on(async {
        let mut stub = served.stub().await;
        let (send, parts) = tokio::sync::mpsc::channel(1);
        let bytes = vec![3; 100_000];
        let mut upload = upload_of(&bytes).into_iter();
        send.send(upload.next().unwrap()).await.unwrap();
        let trickle = tokio::spawn(async move {
            let chunk = wire::UploadModelRequest {
                part: Some(Part::Chunk(vec![3])),
            };
            while send.send(chunk.clone()).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        let parts = tokio_stream::wrappers::ReceiverStream::new(parts);
        let status = stub.upload_model(parts).await.unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
        trickle.await.unwrap();
    });
    served.is_well();
}

#[test]
fn uploads_that_contradict_their_header_are_not_kept() {
    let served = Served::start(&[]);
    block_on(async {
        let mut stub = served.stub().await;
        let bytes = vec![5; 1000];
        let (header, chunk) = (upload_of(&bytes)[0].clone(), upload_of(&bytes)[1].clone());
        let part = |part| wire::UploadModelRequest { part };
        let check = [
            (
                "more than announced",
                vec![header.clone(), chunk.clone(), chunk.clone()],
            ),
            (
                "other bytes",
                vec![header.clone(), part(Some(Part::Chunk(vec![6; 1000])))],
            ),
            (
                "too few",
                vec![header.clone(), part(Some(Part::Chunk(vec![5; 10])))],
            ),
            ("no header", vec![chunk.clone()]),
            ("two headers", vec![header.clone(), header.clone()]),
            (
                "an empty chunk",
                vec![header.clone(), part(Some(Part::Chunk(Vec::new())))],
            ),
            ("an empty part", vec![header.clone(), part(None)]),
            ("nothing", Vec::new()),
        ];
        for (what, parts) in check {
            let status = stub
                .upload_model(tokio_stream::iter(parts))
                .await
                .unwrap_err();
            assert_eq!(status.code(), Code::InvalidArgument, "{what}: {status}");
        }
        for (size, offset) in [(0, 0), (u64::MAX, 0), (10, 11), (1000, 999)] {
            let mut header = header.clone();
            if let Some(Part::Header(header)) = &mut header.part {
                (header.size_bytes, header.offset_bytes) = (size, offset);
            }
            let parts = tokio_stream::iter([header]);
            let status = stub.upload_model(parts).await.unwrap_err();
            assert_eq!(
                status.code(),
                Code::InvalidArgument,
                "{size} {offset}: {status}"
            );
        }
    });
    assert_eq!(served.state().models, 0);
    served.is_well();
}

#[test]
fn a_host_waits_while_another_sends_the_same_model() {
    let served = Served::start(&[]);
    block_on(async {
        let (mut first, mut second) = (served.stub().await, served.stub().await);
        let model = Convolution::default().model("both");
        let mut parts = upload_of(model.onnx()).into_iter();
        let (send, slowly) = tokio::sync::mpsc::channel(1);
        let slowly = tokio_stream::wrappers::ReceiverStream::new(slowly);
        let slow = tokio::spawn(async move { first.upload_model(slowly).await });
        send.send(parts.next().unwrap()).await.unwrap();
        let file = served.own_folder().join(format!("{}.part", model.sha256()));
        crate::served::eventually("the first has begun", || file.exists().then_some(()));
        let parallel = upload_of(model.onnx());
        let fast =
            tokio::spawn(async move { second.upload_model(tokio_stream::iter(parallel)).await });
        send.send(parts.next().unwrap()).await.unwrap();
        drop(send);
        for outcome in [slow.await, fast.await] {
            let reply = outcome.unwrap().unwrap().into_inner();
            assert_eq!(reply.stored_bytes, model.onnx().len() as u64);
        }
    });
    assert_eq!(served.state().models, 1);
    served.is_well();
}

#[test]
fn contradictory_requests_are_refused_before_a_worker_starts() {
    let served = Served::start(&[]);
    let model = Convolution::default().model("m");
    served.client().upload(&model).unwrap();
    let valid = wire::MeasureRequest::from(job(&model, quick()));
    type Spoil = fn(&mut wire::MeasureRequest);
    let invalid: [(&str, Spoil); 10] = [
        ("65 models", |r| r.models = vec![r.models[0].clone(); 65]),
        ("no models", |r| r.models.clear()),
        ("NaN", |r| {
            r.sampling.as_mut().unwrap().ci_target_rel = f64::NAN
        }),
        ("infinite", |r| {
            r.sampling.as_mut().unwrap().drift_accept_rel = f64::INFINITY
        }),
        ("no sampling", |r| r.sampling = None),
        ("no rounds", |r| r.sampling.as_mut().unwrap().max_rounds = 0),
        ("a century", |r| {
            r.sampling.as_mut().unwrap().warmup_ns = u64::MAX
        }),
        ("all memory", |r| {
            r.limits.as_mut().unwrap().memory_bytes = u64::MAX
        }),
        ("a short digest", |r| r.models[0].sha256.truncate(31)),
        ("no such evidence", |r| r.evidence = 77),
    ];
    block_on(async {
        let mut stub = served.stub().await;
        for (what, spoil) in invalid {
            let mut request = valid.clone();
            spoil(&mut request);
            let status = stub.measure(request).await.map(drop).unwrap_err();
            assert_eq!(status.code(), Code::InvalidArgument, "{what}: {status}");
        }
        let mut unsent = valid.clone();
        unsent.models[0].sha256 = vec![9; 32];
        let status = stub.measure(unsent).await.map(drop).unwrap_err();
        assert_eq!(status.code(), Code::NotFound, "{status}");
        let hello = wire::HelloRequest {
            protocol: PROTOCOL_VERSION + 1,
            client: String::new(),
        };
        let status = stub.hello(hello).await.unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition);
        assert!(
            status.message().contains("update graphprune") || status.message().contains("deploy")
        );
    });
    served.is_well();
}
