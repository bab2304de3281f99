//! Several hosts on one device.

use std::time::Duration;

use agent_protocol::wire::{self, measure_event::Event};
use latency::{LatencyError, Stage};
use tonic::{Code, Streaming};

use crate::fixture::{Convolution, endless, job, quick};
use crate::served::{SILENCE, Served, Stub, block_on, eventually, queued};

/// Reads a measurement to its end. Returns whether it has results.
async fn succeeds(mut events: Streaming<wire::MeasureEvent>) -> bool {
    let mut last = None;
    while let Some(event) = events.message().await.unwrap() {
        last = event.event;
    }
    matches!(last, Some(Event::Results(_)))
}

async fn measure(stub: &mut Stub, sampling: latency::Sampling) -> Streaming<wire::MeasureEvent> {
    let model = Convolution::default().model("queued");
    let request = wire::MeasureRequest::from(job(&model, sampling));
    stub.measure(request).await.unwrap().into_inner()
}

#[test]
fn hosts_take_turns_and_one_with_many_measurements_starves_no_other() {
    let served = Served::start(&[]);
    let model = Convolution::default().model("queued");
    served.client().upload(&model).unwrap();
    block_on(async {
        let mut busy = served.stub().await;
        let endless = measure(&mut busy, endless()).await;
        let (send, mut order) = tokio::sync::mpsc::unbounded_channel();
        let listen = |who: &'static str, events| {
            let send = send.clone();
            tokio::spawn(async move {
                let success = succeeds(events).await;
                send.send((who, success)).unwrap();
            });
        };
        for name in ["first of many", "second of many", "third of many"] {
            listen(name, measure(&mut busy, quick()).await);
        }
        let mut other = served.stub().await;
        listen("the other", measure(&mut other, quick()).await);
        assert_eq!(queued(&mut other).await, 4);
        drop(endless);
        let mut served = Vec::new();
        for _ in 0..4 {
            served.push(order.recv().await.unwrap());
        }
        let expected = [
            ("first of many", true),
            ("the other", true),
            ("second of many", true),
            ("third of many", true),
        ];
        assert_eq!(served, expected);
    });
    served.is_well();
}

#[test]
fn a_waiting_client_gets_its_position_and_may_leave() {
    let served = Served::start(&[]);
    let model = Convolution::default().model("long");
    let mut first = served.client();
    first.upload(&model).unwrap();
    let (mut waiting, mut observer) = (served.client(), served.client());
    std::thread::scope(|scope| {
        let long = scope.spawn(|| {
            let outcome = first.measure(&job(&model, endless()), SILENCE, &mut |_| {});
            assert!(outcome.is_err(), "the agent ends during it");
        });
        eventually("the long one has its turn", || {
            let state = observer.agent_state().unwrap();
            let activity = state.activity?;
            assert_eq!(activity.models, ["long"]);
            (activity.progress.stage == Stage::Sampling && activity.elapsed_ns > 0).then_some(())
        });
        let mut ahead = None;
        // The first event is the position in the queue; the client gives up before the second.
        let outcome = waiting.measure(
            &job(&model, quick()),
            Duration::from_millis(300),
            &mut |step| {
                assert_eq!(step.stage, Stage::Queued);
                ahead = Some(step.queued);
            },
        );
        assert!(outcome.is_err_and(|error| error.is_agent_lost()));
        assert_eq!(ahead, Some(1));
        eventually("the ticket is released", || {
            (observer.agent_state().unwrap().queued == 0).then_some(())
        });
        let mut events = 0;
        observer
            .monitor(Duration::from_millis(200), &mut |event| {
                assert!(event.device.taken_unix_ns > 0 && event.agent.activity.is_some());
                assert!(event.agent.connections >= 2 && event.agent.models == 1);
                assert_eq!(event.agent.model_bytes, model.onnx().len() as u64);
                events += 1;
                events < 3
            })
            .unwrap();
        let refused = observer.monitor(Duration::from_millis(1), &mut |_| false);
        assert!(matches!(refused, Err(LatencyError::Refused { .. })));
        observer.shutdown().unwrap();
        long.join().unwrap();
    });
}

#[test]
fn a_full_queue_refuses() {
    let served = Served::start(&[]);
    served
        .client()
        .upload(&Convolution::default().model("queued"))
        .unwrap();
    block_on(async {
        let mut first = served.stub().await;
        let _endless = measure(&mut first, endless()).await;
        // A connection has at most sixteen calls, so several connections fill the queue.
        let mut held = Vec::new();
        for _ in 0..4 {
            let mut stub = served.stub().await;
            for _ in 0..15 {
                held.push(measure(&mut stub, quick()).await);
            }
        }
        let mut stub = served.stub().await;
        for _ in 0..4 {
            held.push(measure(&mut stub, quick()).await);
        }
        let model = Convolution::default().model("queued");
        let request = wire::MeasureRequest::from(job(&model, quick()));
        let status = stub.measure(request).await.map(drop).unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
        assert_eq!(queued(&mut stub).await, 64);
        drop(held);
        while queued(&mut stub).await > 0 {
            tokio::task::yield_now().await;
        }
    });
    served.is_well();
}
