//! The state of the device before, during and after a measurement: temperature, governor, pace,
//! continuous use.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use agent_protocol::MeasureJob;
use latency::{
    Client, Conditions, FailureKind, LatencyError, LatencySource, Limits, Measurement, Model,
    Progress, Sampling, Stage, Verdict,
};

use crate::fixture::{Convolution, agent, device, endless, job, quick, request};
use crate::wire::Bare;

const SILENCE: Duration = Duration::from_secs(60);
const SECOND: u64 = 1_000_000_000;

/// A device with a thermal zone of its own.
struct Board {
    sysfs: tempfile::TempDir,
    _agent: Bare,
    client: Client,
    model: Model,
}

impl Board {
    fn with_temperature(millicelsius: i64) -> Self {
        let sysfs = tempfile::tempdir().unwrap();
        write(
            sysfs.path(),
            "class/thermal/thermal_zone0/type",
            "cpu-thermal",
        );
        heat(sysfs.path(), millicelsius);
        write(
            sysfs.path(),
            "devices/system/cpu/cpu0/cpufreq/scaling_governor",
            "schedutil",
        );
        let agent = Bare::start_by(
            Command::new(agent()),
            &["--sysfs", &sysfs.path().display().to_string()],
        );
        let mut client = agent.client();
        let model = Convolution::default().model("m");
        client.upload(&model).unwrap();
        Self {
            sysfs,
            _agent: agent,
            client,
            model,
        }
    }

    fn job(&self, sampling: Sampling, cool_down_ns: u64) -> MeasureJob {
        MeasureJob {
            conditions: Conditions {
                max_millicelsius: Some(70_000),
                cool_down_ns,
                governor: Some("performance".into()),
            },
            ..job(&self.model, sampling)
        }
    }

    fn measure(
        &mut self,
        job: &MeasureJob,
        on_step: &mut dyn FnMut(&Path, &Progress),
    ) -> Result<Vec<Measurement>, LatencyError> {
        let sysfs = self.sysfs.path();
        self.client
            .measure(job, SILENCE, &mut |step| on_step(sysfs, step))
    }
}

fn write(root: &Path, path: &str, content: &str) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

fn heat(root: &Path, millicelsius: i64) {
    // By a rename, so the agent never reads half a number.
    let path = root.join("class/thermal/thermal_zone0");
    std::fs::write(path.join("new"), format!("{millicelsius}\n")).unwrap();
    std::fs::rename(path.join("new"), path.join("temp")).unwrap();
}

#[test]
fn a_measurement_waits_for_a_hot_device() {
    let mut board = Board::with_temperature(91_000);
    let mut reports = 0;
    let job = board.job(quick(), 3600 * SECOND);
    let all = board
        .measure(&job, &mut |sysfs, step| {
            if step.stage == Stage::Cooling {
                reports += 1;
                if reports == 2 {
                    heat(sysfs, 55_000);
                }
            }
        })
        .unwrap();
    assert!(reports >= 2, "{reports}");
    assert_eq!(all[0].verdict, Verdict::Valid);
    assert_eq!(all[0].before.thermal[0].millicelsius, 55_000);
    let notes = all[0].notes.join("; ");
    assert!(
        notes.contains("0 (schedutil)") && notes.contains("`performance`"),
        "{notes}"
    );
}

#[test]
fn a_device_that_stays_hot_is_not_measured() {
    let mut board = Board::with_temperature(91_000);
    for (patience, needle) in [(0, "after 0 s"), (SECOND, "after 1 s")] {
        let job = board.job(quick(), patience);
        match board.measure(&job, &mut |_, _| {}) {
            Err(LatencyError::Failed(failure)) => {
                assert_eq!(
                    (failure.kind, failure.stage),
                    (FailureKind::Conditions, Stage::Cooling)
                );
                for needle in ["`cpu-thermal` has 91.0 °C", "70.0 °C", needle] {
                    assert!(failure.detail.contains(needle), "{failure}");
                }
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_device_that_becomes_hot_makes_the_measurement_invalid() {
    let mut board = Board::with_temperature(45_000);
    let sampling = Sampling {
        max_duration_ns: SECOND,
        ..endless()
    };
    let job = board.job(sampling, 0);
    let all = board
        .measure(&job, &mut |sysfs, step| {
            if step.stage == Stage::Sampling {
                heat(sysfs, 82_000);
            }
        })
        .unwrap();
    assert!(
        matches!(&all[0].verdict, Verdict::Invalid { reason } if reason.contains("82.0 °C")),
        "{:?}",
        all[0].verdict
    );
}

#[test]
fn a_wait_for_a_cool_device_ends_with_its_client() {
    let mut board = Board::with_temperature(91_000);
    let hot = board.job(quick(), 3600 * SECOND);
    let outcome = board
        .client
        .measure(&hot, Duration::from_nanos(1), &mut |_| {});
    assert!(outcome.is_err_and(|error| error.is_agent_lost()));
    // The agent's one turn is free again.
    let without = job(&board.model, quick());
    assert!(board.measure(&without, &mut |_, _| {}).unwrap()[0].is_valid());
}

#[test]
fn the_state_has_temperature_and_free_space() {
    let mut board = Board::with_temperature(45_000);
    let state = board.client.device_state().unwrap();
    assert_eq!(state.thermal[0].millicelsius, 45_000);
    assert_eq!(state.cores.len(), 1);
    assert!(state.free_disk_bytes.unwrap() > 0);
}

#[test]
fn continuous_use_comes_before_the_samples() {
    let mut device = device();
    let (first, second) = (
        Convolution::default().model("first"),
        Convolution::with_channels(32).model("second"),
    );
    let client = device.client().unwrap();
    for model in [&first, &second] {
        client.upload(model).unwrap();
    }
    let sampling = Sampling {
        sustained_ns: SECOND,
        ..quick()
    };
    let mut both = job(&first, sampling);
    both.models.extend(job(&second, quick()).models);
    let mut stages = Vec::new();
    let mut last = 0;
    let all = client
        .measure(&both, SILENCE, &mut |step| {
            if stages.last() != Some(&step.stage) {
                stages.push(step.stage);
            }
            if step.stage == Stage::Sustained {
                assert!(step.elapsed_ns >= last);
                last = step.elapsed_ns;
            }
        })
        .unwrap();
    assert!(all.iter().all(Measurement::is_valid));
    assert!(last > SECOND / 2, "{last}");
    let at = |stage| stages.iter().position(|&other| other == stage);
    assert!(at(Stage::Warmup) < at(Stage::Sustained), "{stages:?}");
    // The samples may be over before the first report of them.
    assert!(at(Stage::Sampling).is_none_or(|at_sampling| at(Stage::Sustained) < Some(at_sampling)));
}

#[test]
fn continuous_use_that_exceeds_the_workers_time_is_refused() {
    let mut long = request(
        Convolution::default().model("m"),
        Sampling {
            sustained_ns: 5 * SECOND,
            ..quick()
        },
    );
    long.limits = Limits {
        time_ns: 5 * SECOND,
        ..Limits::default()
    };
    let error = device().measure(&long).unwrap_err().to_string();
    assert!(
        error.contains("time_ns") && error.contains("sustained_ns"),
        "{error}"
    );
}

#[test]
fn every_measurement_has_the_pace_of_the_device() {
    let all = device()
        .measure(&request(Convolution::default().model("m"), quick()))
        .unwrap();
    let sentinel = all[0].sentinel.unwrap();
    assert!(sentinel.before_ns > 0 && sentinel.after_ns > 0);
}
