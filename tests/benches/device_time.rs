//! Device time saved by measuring only candidates that may win: the same search twice, from the
//! same trained Graph PruningNet, with every candidate measured and with screening.
//!
//! `cargo bench -p graphprune-tests --bench device_time [-- RUN]`. RUN is the folder of a run
//! with a finished joint training, which is copied, not changed; without it a small one is
//! trained first. `DEVICE_TIME_PAGE` names a file for a page with both curves.

use std::fs;
use std::path::{Path, PathBuf};

use pipeline::{
    LatencyBudget, ModelSpec, NoReporter, Records, Run, RunConfig, SearchConfig, Stage, StopFlag,
};
use report::{Candidate, Header, ReportData};

/// Number of last improvements printed.
const LAST: usize = 6;

fn main() {
    let named = std::env::args().skip(1).find(|a| !a.starts_with('-'));
    let place = tempfile::tempdir().expect("a folder");
    let trained = match named {
        Some(run) => PathBuf::from(run),
        None => train(&place.path().join("trained")),
    };
    let mut candidates = Vec::new();
    for (name, screens) in [("every candidate measured", false), ("screened", true)] {
        let folder = place.path().join(name);
        copy(&trained, &folder);
        let file = folder.join("config.toml");
        let text = fs::read_to_string(&file).expect("the run's configuration");
        let mut config = RunConfig::from_toml(&text, None).expect("a configuration");
        config.knowledge.screen.enabled = screens;
        config.result.baselines.clear();
        fs::write(&file, config.to_toml().expect("it is written")).expect("the file is written");
        let mut run = Run::resume(&folder).expect("the copy is a run");
        run.advance(Stage::Search, &StopFlag::default(), &mut NoReporter)
            .expect("the search ends");
        drop(run);
        let searched = search_of(&folder, name);
        print_improvements(name, &searched);
        candidates.extend(searched);
    }
    if let Some(page) = std::env::var_os("DEVICE_TIME_PAGE") {
        let data = ReportData {
            header: Header {
                model: "device time of two searches".into(),
                ..Header::default()
            },
            candidates,
            ..ReportData::default()
        };
        fs::write(page, report::render(&data)).expect("the page is written");
    }
}

fn train(folder: &Path) -> PathBuf {
    let mut config = RunConfig {
        model: ModelSpec::new("resnet20"),
        data: "shapes".parse().ok(),
        search: SearchConfig {
            episodes: Some(160),
            ..SearchConfig::default()
        },
        ..RunConfig::default()
    };
    config.budget.latency = Some(LatencyBudget::Ratio(0.5));
    config.joint.epochs = 4;
    let mut run = Run::start(config, folder).expect("the folder is new");
    run.advance(Stage::Train, &StopFlag::default(), &mut NoReporter)
        .expect("the training ends");
    folder.to_owned()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("the run's folder") {
        let entry = entry.expect("an entry");
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            copy(&source, &target);
        } else {
            fs::copy(source, target).expect("a copy");
        }
    }
}

fn search_of(folder: &Path, name: &str) -> Vec<Candidate> {
    let records = Records::open(&folder.join("run.sqlite")).expect("the run's records");
    let candidate = |episode| Candidate {
        strategy: name.into(),
        ..Candidate::from(episode)
    };
    records.all_episodes().map(candidate).collect()
}

/// Prints the last improvements of the best accuracy within the budget, with the device time by
/// then.
fn print_improvements(name: &str, candidates: &[Candidate]) {
    let measured = candidates.iter().filter(|c| c.latency_ratio.is_some());
    let seconds: f64 = candidates.iter().map(|c| c.device_s).sum();
    println!(
        "\n{name}: {} of {} candidates measured in {seconds:.1} s of the device",
        measured.count(),
        candidates.len()
    );
    let (mut spent, mut best) = (0.0, 0.0);
    let mut improvements = Vec::new();
    for c in candidates {
        spent += c.device_s;
        if c.feasible && c.latency_ratio.is_some() && c.accuracy > best {
            best = c.accuracy;
            improvements.push((spent, c.episode, best));
        }
    }
    println!("| device time, s | episode | best accuracy within the budget |\n|---|---|---|");
    for (spent, episode, best) in improvements.iter().rev().take(LAST).rev() {
        println!("| {spent:.1} | {episode} | {:.2} % |", best * 100.0);
    }
}
