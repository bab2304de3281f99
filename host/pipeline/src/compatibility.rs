//! Run folders of version 0.1.0 must stay readable. `tests/finished-run` is one: a search for 0.8
//! of the latency of shapes_net, without its networks and checkpoints, with fewer samples and
//! kernels.

use std::fs;
use std::path::{Path, PathBuf};

use crate::config::{LatencyBudget, RunConfig, StorePlace, StrategyKind};
use crate::folder::RECORDS_FILE;
use crate::pace::PACE;
use crate::prepare::NormOrigin;
use crate::records::{Key, Records};
use crate::stages::calibrate::CALIBRATION;
use crate::stages::export::{EXPORT, FinalRow, NetworkRole, refuse_slower};
use crate::stages::finetune::Purpose;
use crate::stages::kernels::KERNELS;
use crate::stages::train::TRAIN;
use crate::start::{EXEC, FEASIBILITY, INPUTS, NORMS, STEADY};
use crate::summary::{CLOCK, rewrite_report};
use crate::{ModelSource, Run};

/// A copy that the test may write to.
fn copied() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("run");
    fs::create_dir(&root).unwrap();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/finished-run");
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), root.join(entry.file_name())).unwrap();
    }
    (dir, root)
}

#[test]
fn its_configuration_is_resumed() {
    let (_dir, root) = copied();
    let run = Run::resume(&root).unwrap();
    let config = run.config();
    let zoo = ModelSource::Zoo("shapes_net".into());
    assert_eq!(config.model.source(), &zoo);
    assert_eq!(config.budget.latency, Some(LatencyBudget::Ratio(0.8)));
    assert_eq!(config.measurements, StorePlace::User);
    assert_eq!(config.data.as_ref().unwrap().train, Some(600));
    // Keys that have other names today are read by their old ones.
    let path = root.join("config.toml");
    let written = fs::read_to_string(&path).unwrap();
    assert!(written.contains("\nkindred = true\n") && written.contains("\ncorners = true\n"));
    assert!(config.knowledge.donor && config.knowledge.step_edges);
    let again = RunConfig::stored(&config.to_toml().unwrap(), path.clone()).unwrap();
    assert_eq!(&again, config);
    drop(run);
    assert!(path.exists(), "a run is not discarded");
}

#[test]
fn its_finished_stages_are_read() {
    let (_dir, root) = copied();
    let records = Records::open(&root.join(RECORDS_FILE)).unwrap();
    assert_eq!(records.get(&NORMS).unwrap(), Some(NormOrigin::All));
    assert!(records.get(&INPUTS).unwrap().is_some());
    assert!(records.get(&EXEC).unwrap().is_some());
    assert!(records.get(&PACE).unwrap().is_some());
    assert_eq!(records.get(&STEADY).unwrap(), Some(1));
    let feasibility = records.get(&FEASIBILITY).unwrap().unwrap();
    assert!(feasibility.smallest_ratio.unwrap().met_below(0.1));
    let kernels = records.get(&KERNELS).unwrap().unwrap();
    assert_eq!((kernels.table.times().len(), kernels.donor), (6, None));
    assert_eq!(records.get(&CALIBRATION).unwrap().unwrap().len(), 3);
    assert_eq!(records.get(&TRAIN).unwrap().unwrap().steps, 10);
    for (kind, episodes, measured) in [(StrategyKind::Random, 4, 1), (StrategyKind::Uniform, 8, 8)]
    {
        let key: Key<u64> = Key::of("search", kind.name());
        assert_eq!(records.get(&key).unwrap(), Some(episodes));
        let tried = records.episodes(kind);
        assert_eq!(tried.len() as u64, episodes);
        assert_eq!(tried.iter().filter(|e| e.ratio.is_some()).count(), measured);
        assert!(records.strategy_state(kind).unwrap().is_some());
    }
    assert_eq!(records.all_episodes().count(), 12);
    let confirmed = Key::of("confirm", "uniform-0");
    assert_eq!(records.get(&confirmed).unwrap(), Some(false));
    let tuned = Purpose::Result.key("random-0");
    assert_eq!(records.get(&tuned).unwrap().unwrap().widths.len(), 6);
    let rows: Vec<FinalRow> = records.all_of(EXPORT).unwrap();
    let roles: Vec<&NetworkRole> = rows.iter().map(|row| &row.role).collect();
    let baseline = NetworkRole::Baseline("uniform-3".into());
    let expected = [&baseline, &NetworkRole::Original, &NetworkRole::Pruned];
    assert_eq!(roles, expected);
    let ratio = rows[2].ratio.as_ref().unwrap().ratio;
    assert!(ratio.met_below(0.8) && ratio.low < ratio.value);
    assert!(records.get(&CLOCK).unwrap().unwrap().worked_s > 60.0);
    let folder = crate::RunFolder::open(&root).unwrap();
    refuse_slower(&records, &folder).unwrap();
}

#[test]
fn its_report_is_drawn_again() {
    let (_dir, root) = copied();
    let (data, html) = rewrite_report(&root).unwrap();
    assert_eq!((data.rows.len(), data.candidates.len()), (3, 12));
    let page = fs::read_to_string(html).unwrap();
    assert!(page.contains("uniform-3"));
    let before: serde_json::Value =
        serde_json::from_slice(&fs::read(root.join("report.json")).unwrap()).unwrap();
    check_holds(&serde_json::to_value(&data).unwrap(), &before, "report");
}

/// Everything that was there is there, beside what later versions add.
fn check_holds(now: &serde_json::Value, before: &serde_json::Value, place: &str) {
    use serde_json::Value;
    match (now, before) {
        (Value::Object(now), Value::Object(before)) => {
            for (key, value) in before {
                let at = format!("{place}.{key}");
                check_holds(now.get(key).expect(&at), value, &at);
            }
        }
        (Value::Array(now), Value::Array(before)) => {
            assert_eq!(now.len(), before.len(), "{place}");
            for (index, pair) in now.iter().zip(before).enumerate() {
                check_holds(pair.0, pair.1, &format!("{place}[{index}]"));
            }
        }
        _ => assert_eq!(now, before, "{place}"),
    }
}
