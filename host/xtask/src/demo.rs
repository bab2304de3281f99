//! `cargo xtask demo`: the main job on the built-in network and data, for this machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::setup;
use crate::shell::{self, Checkout};

/// What the demo asks of `graphprune`; the user's own arguments and `--out` follow.
const COMMAND: [&str; 10] = [
    "prune",
    "shapes_net",
    "--data",
    "shapes",
    "--device",
    "local",
    "--latency",
    "0.4x",
    "--config",
    CONFIG,
];
const CONFIG: &str = "host/xtask/demo.toml";

/// Where the demo's run folder goes, relative to the checkout, and what lies in one that is under way or done.
const FOLDER: &str = "runs/demo";
const RUN_CONFIG: &str = "config.toml";
const RUN_REPORT: &str = "report.html";

pub fn run(checkout: &Checkout, cuda: bool, more: &[String]) -> Result<()> {
    setup::run(
        checkout,
        &setup::Options {
            cuda,
            ..setup::Options::default()
        },
    )?;
    shell::timed("build", || {
        let mut cargo = checkout.cargo();
        cargo.args([
            "build",
            "--release",
            "--package",
            "graphprune",
            "--package",
            "graphprune-agent",
        ]);
        shell::run(&mut cargo)
    })?;

    let config = fs::read_to_string(checkout.root().join(CONFIG))
        .with_context(|| format!("cannot read {CONFIG}"))?;
    let asked = format!("{} {}\n{config}", COMMAND.join(" "), more.join(" "));
    let (folder, resume) = choose_folder(checkout.root(), &asked)?;
    shell::timed("demo", || {
        let program = checkout
            .metadata()?
            .target_directory
            .join("release/graphprune");
        let mut graphprune = Command::new(program);
        graphprune.current_dir(checkout.root());
        if let Some(paths) = checkout.library_path()? {
            graphprune.env("LD_LIBRARY_PATH", paths);
        }
        if resume {
            // With the settings it was started with.
            graphprune.args([COMMAND[0], "--resume"]);
        } else {
            graphprune.args(COMMAND).args(more);
        }
        graphprune.arg("--out").arg(&folder);
        shell::run(&mut graphprune).with_context(|| {
            format!(
                "the demo stopped; `cargo xtask demo` goes on with {} if it can",
                folder.display()
            )
        })
    })?;
    Ok(())
}

/// The first numbered folder that is free, or that the same demo left unfinished (`true`: to be resumed).
///
/// What a folder was started with is kept in a file beside it, since the folder itself belongs to the run.
fn choose_folder(root: &Path, asked: &str) -> Result<(PathBuf, bool)> {
    for number in 1.. {
        let name = if number == 1 {
            FOLDER.to_owned()
        } else {
            format!("{FOLDER}-{number}")
        };
        let folder = PathBuf::from(name);
        let beside = root.join(&folder).with_extension("asked");
        // A run writes its configuration last when it starts; without one there is nothing to lose or to go on with.
        if !root.join(&folder).join(RUN_CONFIG).exists() {
            if let Some(parent) = beside.parent() {
                fs::create_dir_all(parent)
                    .with_context(|| format!("cannot create {}", parent.display()))?;
            }
            fs::write(&beside, asked)
                .with_context(|| format!("cannot write {}", beside.display()))?;
            return Ok((folder, false));
        }
        let finished = root.join(&folder).join(RUN_REPORT).exists();
        let same = fs::read_to_string(&beside).is_ok_and(|text| text == asked);
        if !finished && same {
            println!(
                "{} is unfinished and of the same demo: going on with it",
                folder.display()
            );
            return Ok((folder, true));
        }
        println!(
            "{} is there already, finished or of another demo: it is left alone",
            folder.display()
        );
    }
    unreachable!("there is a free number")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unfinished_folder_of_the_same_demo_is_resumed_and_any_other_left_alone() {
        let root = tempfile::tempdir().unwrap();
        let choose = |asked| {
            let (folder, resume) = choose_folder(root.path(), asked).unwrap();
            (folder.to_str().unwrap().to_owned(), resume)
        };
        assert_eq!(choose("a"), ("runs/demo".to_owned(), false));
        let first = root.path().join("runs/demo");
        fs::create_dir_all(&first).unwrap();
        assert_eq!(choose("a"), ("runs/demo".to_owned(), false));
        fs::write(first.join(RUN_CONFIG), "").unwrap();
        assert_eq!(choose("a"), ("runs/demo".to_owned(), true));
        assert_eq!(choose("b"), ("runs/demo-2".to_owned(), false));
        fs::write(first.join(RUN_REPORT), "").unwrap();
        assert_eq!(choose("a"), ("runs/demo-2".to_owned(), false));
    }
}
