//! Connections that are silent, numerous or dead.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use latency::{Client, Stage};

use crate::certificates::Authority;
use crate::fixture::{Convolution, endless, job, quick, worker_of};
use crate::frames::{
    CONTINUATION, END_HEADERS, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS, call, closed, connect,
    frame, header, pour,
};
use crate::proxy::Proxy;
use crate::served::{SILENCE, Served, block_on, eventually};
use crate::tls;

#[test]
fn a_connection_without_a_call_is_closed_and_one_with_a_call_stays() {
    let served = Served::start(&["--greeting-ms", "400"]);
    let mut early = served.client();
    let greeted = [
        PREFACE.to_vec(),
        frame(HEADERS, END_HEADERS, 1, &call("Hello", Some("wrong"))),
    ]
    .concat();
    for bytes in [
        &b""[..],
        b"P",
        b"PRI * HTTP/2.0\r\n\r\nSM",
        PREFACE,
        &greeted,
    ] {
        let begun = Instant::now();
        closed(&connect(served.address, bytes));
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(20), "{bytes:?}: {took:?}");
    }
    // Far more time has passed than an unauthenticated connection gets.
    assert!(early.agent_state().unwrap().uptime_ns > 2_000_000_000);
    served.is_well();
}

#[test]
fn a_tls_handshake_that_stops_half_way_ends_the_connection() {
    let authority = Authority::new();
    let folder = authority.folder();
    let served = Served::with_tls(folder.path(), &["--greeting-ms", "400"]);
    // The beginning of a ClientHello that announces 512 bytes.
    for bytes in [
        &b""[..],
        b"\x16",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
    ] {
        closed(&connect(served.address, bytes));
    }
    block_on(async {
        let channel = tls::channel(&served, &authority, &authority.host()).await;
        tls::measure(channel).await;
    });
    served.has_not_grown();
}

#[test]
fn a_flood_of_connections_displaces_itself_and_no_authenticated_one() {
    let served = Served::start(&["--connections", "8"]);
    let mut before = served.client();
    let begin = [&b""[..], b"PRI * HTTP", PREFACE];
    let flood: Vec<TcpStream> = (0..200)
        .map(|i| {
            let mut stream = TcpStream::connect(served.address).unwrap();
            // The agent may have closed it.
            let _ = stream.write_all(begin[i % begin.len()]);
            stream
        })
        .collect();
    let model = Convolution::default().model("m");
    let mut during = served.client();
    during.upload(&model).unwrap();
    let all = during.measure(&job(&model, quick()), SILENCE, &mut |_| {});
    assert!(all.unwrap()[0].is_valid());
    let state = before.agent_state().unwrap();
    assert!(state.connections <= 8, "{state:?}");
    drop(flood);
    served.is_well();
}

#[test]
fn authenticated_clients_are_not_displaced_by_further_ones() {
    let served = Served::start(&["--connections", "2"]);
    let uri = format!("http://{}", served.address);
    let mut first = served.client();
    let mut second = served.client();
    assert!(Client::connect(&uri, &served.token).is_err());
    assert_eq!(first.agent_state().unwrap().connections, 2);
    assert!(second.device_state().is_ok());
    drop(first);
    eventually("its place is free", || {
        Client::connect(&uri, &served.token).ok().map(drop)
    });
}

#[test]
fn a_dead_link_ends_the_measurement_and_an_idle_host_keeps_its_connection() {
    let served = Served::start(&["--ping-ms", "300", "--pong-ms", "300"]);
    let cable = Proxy::to(served.address);
    let model = Convolution::default().model("m");
    let mut host = served.client_at(cable.address);
    host.upload(&model).unwrap();
    let mut idle = served.client();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let silence = Duration::from_secs(5);
            let mut pulled = false;
            let outcome = host.measure(&job(&model, endless()), silence, &mut |step| {
                if step.stage == Stage::Sampling && !pulled {
                    pulled = true;
                    cable.pull();
                }
            });
            assert!(outcome.is_err_and(|error| error.is_agent_lost()));
        });
        let mut watch = served.client();
        eventually("it measures", || watch.agent_state().unwrap().activity);
        let begun = Instant::now();
        eventually("the measurement ends", || {
            watch
                .agent_state()
                .unwrap()
                .activity
                .is_none()
                .then_some(())
        });
        println!("noticed after {:?}", begun.elapsed());
        assert_eq!(worker_of(served.pid()), None, "the worker is gone");
    });
    // The agent has pinged this connection all the time; it is the same one.
    assert!(idle.device_state().is_ok());
    served.is_well();
}

#[test]
fn endless_and_expanding_headers_are_cut_off() {
    let served = Served::start(&[]);
    let endless = (0..20_000).map(|i| match i {
        0 => PREFACE.to_vec(),
        1 => frame(HEADERS, 0, 1, &call("Hello", None)),
        _ => frame(CONTINUATION, 0, 1, &header("x", &[b'a'; 4000], false)),
    });
    assert!(pour(&connect(served.address, b""), endless), "endless");
    // One header of four thousand bytes in the dynamic table, then references of one byte each:
    // 60 megabytes when expanded.
    let bomb = [
        call("Hello", None),
        header("x", &[b'a'; 4000], true),
        vec![0x80 | 62; 15_000],
    ]
    .concat();
    let bombs = (0..200u32).map(|i| match i {
        0 => PREFACE.to_vec(),
        _ => frame(HEADERS, END_HEADERS, 2 * i - 1, &bomb[..16_000]),
    });
    pour(&connect(served.address, b""), bombs);
    served.has_not_grown();
    let many: Vec<u8> = (0..500)
        .flat_map(|i| header(&format!("x{i}"), b"y", false))
        .collect();
    let bytes = [
        PREFACE.to_vec(),
        frame(
            HEADERS,
            END_HEADERS,
            1,
            &[call("Hello", None), many].concat(),
        ),
    ];
    pour(&connect(served.address, b""), bytes.into_iter());
    served.is_well();
}

#[test]
fn calls_that_are_reset_at_once_end_the_connection() {
    let served = Served::start(&[]);
    for token in [None, Some(served.token.secret())] {
        let block = call("GetDeviceState", token);
        let storm = (0..200_000u32).map(|i| match i {
            0 => PREFACE.to_vec(),
            _ => [
                frame(HEADERS, END_HEADERS, 2 * i - 1, &block),
                frame(RST_STREAM, 0, 2 * i - 1, &8u32.to_be_bytes()),
            ]
            .concat(),
        });
        assert!(pour(&connect(served.address, b""), storm), "{token:?}");
        served.has_not_grown();
    }
    served.is_well();
}

#[test]
fn floods_of_control_frames_take_no_memory() {
    let served = Served::start(&["--greeting-ms", "2000"]);
    for control in [
        frame(SETTINGS, 0, 0, &[]),
        frame(PING, 0, 0, &[0; 8]),
        frame(4, 0, 0, &[0, 4, 0, 0, 0xff, 0xff]),
        frame(8, 0, 0, &1u32.to_be_bytes()),
        frame(99, 0, 0, &[7; 1000]),
    ] {
        // Unread answers must not pile up in the agent.
        let stream = connect(served.address, PREFACE);
        let limit = Some(Duration::from_millis(500));
        stream.set_write_timeout(limit).unwrap();
        let block = control.repeat(1000);
        let until = Instant::now() + Duration::from_secs(3);
        while Instant::now() < until && (&stream).write_all(&block).is_ok() {}
        served.has_not_grown();
    }
    served.is_well();
}
