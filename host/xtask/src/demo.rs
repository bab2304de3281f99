//! `cargo xtask demo`: prunes the built-in network on the built-in data for this machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::output::say;
use crate::setup;
use crate::shell::{self, Checkout};

/// The arguments of `graphprune`; the user's arguments and `--out` follow.
const COMMAND: [&str; 10] = [
    "prune",
    "shapes_net",
    "--data",
    "shapes",
    "--device",
    "local",
    "--latency",
    "0.25x",
    "--config",
    CONFIG,
];
const CONFIG: &str = "host/xtask/demo.toml";

/// The run folder, relative to the checkout, and its files in a started and in a finished run.
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
    let request = format!("{} {}\n{config}", COMMAND.join(" "), more.join(" "));
    let (folder, resume) = choose_folder(checkout.root(), &request)?;
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
            // A resumed run keeps its settings.
            graphprune.args([COMMAND[0], "--resume"]);
        } else {
            graphprune.args(COMMAND).args(more);
        }
        graphprune.arg("--out").arg(&folder);
        shell::run(&mut graphprune).with_context(|| {
            format!(
                "the demo stopped; `cargo xtask demo` continues with {} if possible",
                folder.display()
            )
        })
    })?;
    Ok(())
}

/// The first numbered folder that is free (`false`), or in which the same demo is unfinished and
/// can be resumed (`true`).
///
/// The arguments of a demo are stored next to its folder, because the folder belongs to the run.
fn choose_folder(root: &Path, request: &str) -> Result<(PathBuf, bool)> {
    for number in 1.. {
        let name = if number == 1 {
            FOLDER.to_owned()
        } else {
            format!("{FOLDER}-{number}")
        };
        let folder = PathBuf::from(name);
        let beside = root.join(&folder).with_extension("asked");
        // A starting run writes its configuration last, so a folder without one is free.
        if !root.join(&folder).join(RUN_CONFIG).exists() {
            if let Some(parent) = beside.parent() {
                fs::create_dir_all(parent)
                    .with_context(|| format!("cannot create {}", parent.display()))?;
            }
            fs::write(&beside, request)
                .with_context(|| format!("cannot write {}", beside.display()))?;
            return Ok((folder, false));
        }
        let finished = root.join(&folder).join(RUN_REPORT).exists();
        let same = fs::read_to_string(&beside).is_ok_and(|text| text == request);
        if !finished && same {
            say!("resuming the unfinished demo in {}", folder.display());
            return Ok((folder, true));
        }
        say!(
            "skipping {}: it is finished or belongs to another demo",
            folder.display()
        );
    }
    unreachable!("there is a free number")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unfinished_folder_is_resumed_only_by_the_same_demo() {
        let root = tempfile::tempdir().unwrap();
        let choose = |request| {
            let (folder, resume) = choose_folder(root.path(), request).unwrap();
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
