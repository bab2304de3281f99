//! `cargo xtask test`: every check and test, in the order in which they are cheap to fail.

use std::time::Instant;

use anyhow::{Result, bail};
use clap::Args;

use crate::output::say;
use crate::shell::{self, Checkout, Watch};
use crate::{check, firmware, fuzz, setup};

/// Of the changes that the fuzz targets make.
const FUZZ_SEED: u32 = 1;

/// How much to test.
#[derive(Args)]
pub struct Options {
    /// Leave out the documentation and the fuzz targets
    #[arg(long)]
    quick: bool,
    /// Seconds for which each fuzz target runs
    #[arg(long, default_value_t = 6)]
    fuzz_seconds: u32,
    /// Run only the tests with this in their name, and no check
    filter: Option<String>,
}

pub fn run(checkout: &Checkout, options: &Options) -> Result<()> {
    let start = Instant::now();
    let mut counts = Counts::default();
    setup::run(checkout, &setup::Options::default())?;
    // Downloads and the firmware's few crates keep one core busy at most: the lints use the others.
    std::thread::scope(|scope| {
        let boards = scope.spawn(|| prepare_boards(checkout));
        if options.filter.is_none() {
            lint(checkout)?;
        }
        boards
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    step("build", &mut || {
        // With the tests, so that both are built with the same features; the tests start the
        // agent itself.
        let mut cargo = checkout.cargo();
        shell::run(cargo.args(["build", "--workspace", "--bins", "--tests"]))
    })?;
    step("tests", &mut || {
        let mut cargo = checkout.cargo_with_torch()?;
        cargo.args(["test", "--workspace", "--no-fail-fast"]);
        if let Some(filter) = &options.filter {
            cargo.arg("--").arg(filter);
        }
        let passed = shell::watched(&mut cargo, Watch::Stdout, |line| counts.add(line))?;
        say!(
            "{} passed, {} failed, {} ignored",
            counts.passed,
            counts.failed,
            counts.ignored
        );
        if !passed {
            bail!("`cargo test` ended with a failure");
        }
        if counts.passed == 0 {
            bail!("no test ran");
        }
        Ok(())
    })?;
    if options.filter.is_none() && !options.quick {
        step("documentation", &mut || {
            let mut cargo = checkout.cargo();
            cargo
                .args(["doc", "--workspace", "--no-deps"])
                .env("RUSTDOCFLAGS", "-D warnings");
            shell::run(&mut cargo)
        })?;
        let fuzz = fuzz::Options {
            seconds: options.fuzz_seconds,
            seed: Some(FUZZ_SEED),
        };
        step("fuzz", &mut || fuzz::run(checkout, fuzz))?;
    }
    say!(
        "\n{} passed, {} failed in {}",
        counts.passed,
        counts.failed,
        shell::seconds(start.elapsed())
    );
    Ok(())
}

/// Runs a named step.
fn step(name: &str, work: &mut dyn FnMut() -> Result<()>) -> Result<()> {
    shell::timed(name, work).map_err(|error| error.context(format!("the step `{name}` failed")))
}

/// Installs the servers and devices that the tests stand up themselves, and builds the firmware.
fn prepare_boards(checkout: &Checkout) -> Result<()> {
    let everything = setup::Options {
        boards: true,
        ..setup::Options::default()
    };
    setup::run(checkout, &everything)?;
    step("firmware", &mut || {
        firmware::run(checkout, &firmware::Options::default())
    })
}

/// Runs what reads the sources only.
fn lint(checkout: &Checkout) -> Result<()> {
    step("check", &mut || {
        check::run(checkout, &check::Options::default())
    })?;
    step("clippy", &mut || {
        let mut cargo = checkout.cargo();
        cargo.args([
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ]);
        shell::run(&mut cargo)
    })
}

/// How many tests ran, over all test programs.
#[derive(Default, Debug, PartialEq)]
struct Counts {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Counts {
    /// Adds what one line says, if it is the last of a test program.
    fn add(&mut self, line: &str) {
        let Some((_, result)) = line.split_once("test result: ") else {
            return;
        };
        let number = |word: &str| {
            let part = result
                .split([';', '.'])
                .find(|part| part.trim().ends_with(word))?;
            part.trim().split(' ').next()?.parse::<u64>().ok()
        };
        self.passed += number(" passed").unwrap_or(0);
        self.failed += number(" failed").unwrap_or(0);
        self.ignored += number(" ignored").unwrap_or(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_results_of_all_test_programs_are_added_up() {
        let mut counts = Counts::default();
        for line in [
            "running 2 tests",
            "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.02s",
            "test result: FAILED. 5 passed; 1 failed; 3 ignored; 0 measured; 7 filtered out; finished in 0.02s",
        ] {
            counts.add(line);
        }
        assert_eq!(
            counts,
            Counts {
                passed: 7,
                failed: 1,
                ignored: 3
            }
        );
    }
}
