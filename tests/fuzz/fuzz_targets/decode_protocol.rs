//! Arbitrary bytes from the wire become checked values or errors, and a checked value survives
//! the way back.
#![no_main]

use std::fmt::Debug;

use agent_protocol::{
    AgentState, Conditions, DeviceInfo, DeviceState, Failure, Limits, MeasureEvent, MeasureJob,
    Measurement, ModelRef, MonitorEvent, NodeProvider, ProcessFigures, Progress, Ratio, RunJob,
    RunOutput, RuntimeInfo, RuntimeOptions, Sampling, Sha256, Token, Upload, bounds, decode, frame,
    wire,
};
use prost::Message;

fn check<M, T>(bytes: &[u8])
where
    M: Message + Default + From<T>,
    T: TryFrom<M> + Clone + PartialEq + Debug,
{
    let Ok(message) = decode::<M>(bytes, "message") else {
        return;
    };
    let Ok(value) = T::try_from(message) else {
        return;
    };
    match T::try_from(M::from(value.clone())) {
        Ok(again) => assert_eq!(again, value),
        Err(_) => panic!("a checked value does not survive the way back: {value:?}"),
    }
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    check::<wire::MeasureRequest, MeasureJob>(bytes);
    check::<wire::MeasureEvent, MeasureEvent>(bytes);
    check::<wire::Measurement, Measurement>(bytes);
    check::<wire::DeviceState, DeviceState>(bytes);
    check::<wire::DeviceInfo, DeviceInfo>(bytes);
    check::<wire::RuntimeInfo, RuntimeInfo>(bytes);
    check::<wire::NodeProvider, NodeProvider>(bytes);
    check::<wire::Sampling, Sampling>(bytes);
    check::<wire::Limits, Limits>(bytes);
    check::<wire::Progress, Progress>(bytes);
    check::<wire::Failure, Failure>(bytes);
    check::<wire::Ratio, Ratio>(bytes);
    check::<wire::UploadHeader, Upload>(bytes);
    check::<wire::RuntimeOptions, RuntimeOptions>(bytes);
    check::<wire::Conditions, Conditions>(bytes);
    check::<wire::ModelRef, ModelRef>(bytes);
    check::<wire::AgentState, AgentState>(bytes);
    check::<wire::MonitorEvent, MonitorEvent>(bytes);
    check::<wire::ProcessFigures, ProcessFigures>(bytes);
    // Their elements may be NaN, which does not equal itself.
    if let Ok(request) = decode::<wire::RunRequest>(bytes, "RunRequest") {
        let _ = RunJob::try_from(request);
    }
    if let Ok(output) = decode::<wire::RunOutput>(bytes, "RunOutput") {
        let _ = RunOutput::try_from(output);
    }
    if let Ok(request) = decode::<wire::HasModelRequest>(bytes, "HasModelRequest") {
        let _ = Sha256::try_from(&request);
    }
    let mut pipe = bytes;
    while let Ok(Some(_)) =
        frame::read::<wire::WorkerEvent>(&mut pipe, "WorkerEvent", bounds::MAX_REPLY_BYTES)
    {}
    let mut pipe = bytes;
    while let Ok(Some(_)) =
        frame::read::<wire::WorkerJob>(&mut pipe, "WorkerJob", bounds::MAX_REPLY_BYTES)
    {}
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = text.parse::<Sha256>();
        let _ = Token::parse(text);
    }
});
