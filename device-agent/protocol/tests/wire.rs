//! No bytes make a conversion panic.

use agent_protocol::{
    DeviceInfo, DeviceState, Failure, MeasureEvent, MeasureJob, MonitorEvent, RunJob, RunOutput,
    Upload, decode, wire,
};
use proptest::prelude::*;

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = decode::<wire::MeasureRequest>(&bytes, "m").map(MeasureJob::try_from);
        let _ = decode::<wire::MeasureEvent>(&bytes, "m").map(MeasureEvent::try_from);
        let _ = decode::<wire::DeviceInfo>(&bytes, "m").map(DeviceInfo::try_from);
        let _ = decode::<wire::DeviceState>(&bytes, "m").map(DeviceState::try_from);
        let _ = decode::<wire::UploadHeader>(&bytes, "m").map(Upload::try_from);
        let _ = decode::<wire::RunRequest>(&bytes, "m").map(RunJob::try_from);
        let _ = decode::<wire::RunOutput>(&bytes, "m").map(RunOutput::try_from);
        let _ = decode::<wire::MonitorEvent>(&bytes, "m").map(MonitorEvent::try_from);
        let _ = decode::<wire::Failure>(&bytes, "m").map(Failure::try_from);
    }
}
