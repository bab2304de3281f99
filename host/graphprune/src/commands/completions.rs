//! `graphprune completions`: shell completions. The script of a shell asks this program for the
//! candidates, so that it offers the devices that are registered.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use clap_complete::CompleteEnv;
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};
use clap_complete::env::Shells;
use latency::{Profile, Registered, Registry};
use pipeline::{ChannelOrder, Fit, Interpolation, Preset, StrategyKind, TaskKind};

use crate::output::Output;

/// The variable that a shell sets to ask for candidates.
const VARIABLE: &str = "GRAPHPRUNE_COMPLETE";

/// The name of the program.
const PROGRAM: &str = "graphprune";

/// Lets the script complete when zsh has loaded it from `fpath` for a first completion. It then
/// runs as the body of the completer, and defines the function that later completions call.
const FIRST_CALL: &str = r#"
if [[ ${funcstack[1]} == _graphprune ]]; then
    _clap_dynamic_completer_graphprune "$@"
fi
"#;

/// Print a script that completes commands, options, and their values: strategies, devices, profiles
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  graphprune completions bash > ~/.local/share/bash-completion/completions/graphprune\n  \
                  graphprune completions fish > ~/.config/fish/completions/graphprune.fish\n  \
                  graphprune completions zsh > ~/.zfunc/_graphprune   # with fpath+=~/.zfunc before compinit"
)]
pub struct Args {
    /// Shell
    #[arg(value_parser = ["bash", "elvish", "fish", "powershell", "zsh"])]
    shell: String,
}

/// Prints the script.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let shells = Shells::builtins();
    let shell = shells.completer(&args.shell).context("an unknown shell")?;
    shell.write_registration(VARIABLE, PROGRAM, PROGRAM, PROGRAM, &mut Output)?;
    if args.shell == "zsh" {
        Output.write_all(FIRST_CALL.as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Answers a shell that asks for candidates of `command`, and ends the program then.
pub fn answer(command: fn() -> clap::Command) {
    CompleteEnv::with_factory(|| with_candidates(command()))
        .var(VARIABLE)
        .bin(PROGRAM)
        .completer(PROGRAM)
        .complete();
}

/// The candidates of options and arguments, by their names.
fn candidates(command: &str, argument: &str) -> Option<fn() -> Vec<CompletionCandidate>> {
    Some(match (command, argument) {
        ("doctor" | "deploy" | "monitor", "device" | "name") | ("remove", "name") => registered,
        (_, "device") => devices,
        (_, "profile") => profiles,
        (_, "strategy") => || named(StrategyKind::ALL.map(StrategyKind::name)),
        (_, "normalise") => || named(Preset::ALL.map(Preset::name)),
        (_, "channel_order") => || named(ChannelOrder::ALL.map(ChannelOrder::name)),
        (_, "fit") => || named(Fit::ALL.map(Fit::name)),
        (_, "interpolation") => || named(Interpolation::ALL.map(Interpolation::name)),
        (_, "weights") => || named(["generated", "repaired"]),
        (_, "precision") => || named(["given", "joint"]),
        (_, "attention") => || named(["widths", "heads"]),
        (_, "training_mode") => || named(["refuse", "inference"]),
        (_, "ranges") => || named(["min-max", "percentile:99.99", "least-squares"]),
        (_, "task") => || named(TaskKind::ALL.map(TaskKind::name)),
        _ => return None,
    })
}

fn with_candidates(command: clap::Command) -> clap::Command {
    let name = command.get_name().to_owned();
    let command = command.mut_args(|arg| match candidates(&name, arg.get_id().as_str()) {
        Some(of) => arg.add(ArgValueCandidates::new(of)),
        None => arg,
    });
    command.mut_subcommands(with_candidates)
}

fn named<const N: usize>(names: [&'static str; N]) -> Vec<CompletionCandidate> {
    names.into_iter().map(CompletionCandidate::new).collect()
}

/// This machine and the registered devices, with their profiles and addresses. A registry that
/// cannot be read offers none: a shell has no place for the reason.
fn registered() -> Vec<CompletionCandidate> {
    let all = Registry::of_user().and_then(|registry| registry.with_local());
    let all = all.unwrap_or_else(|_| vec![(Registry::LOCAL.to_owned(), Registered::local())]);
    let candidates = all.into_iter().map(|(name, device)| {
        let about = match device == Registered::local() {
            true => "this machine".to_owned(),
            false => format!("{}, {}", device.profile, device.address),
        };
        CompletionCandidate::new(name).help(Some(about.into()))
    });
    candidates.collect()
}

/// What `--device` takes: a device, or a profile for all devices of it.
fn devices() -> Vec<CompletionCandidate> {
    let mut all = registered();
    all.extend(
        profiles()
            .into_iter()
            .skip_while(|of| of.get_value() == "local"),
    );
    all
}

fn profiles() -> Vec<CompletionCandidate> {
    Profile::NAMES
        .iter()
        .map(CompletionCandidate::new)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use clap::CommandFactory as _;
    use clap::error::ErrorKind;

    use super::*;
    use crate::cli::Cli;

    /// Gives every candidate to its option, of the command that `path` leads to.
    fn check(command: &clap::Command, path: &[String], accepted: &mut usize) {
        for argument in command.get_arguments() {
            let of = candidates(command.get_name(), argument.get_id().as_str());
            for candidate in of.iter().flat_map(|of| of()) {
                let mut words: Vec<OsString> = path.iter().map(OsString::from).collect();
                words.extend(argument.get_long().map(|long| format!("--{long}").into()));
                words.push(candidate.get_value().to_owned());
                // Other arguments are missing, which is reported after the values.
                let kind = Cli::command()
                    .try_get_matches_from(&words)
                    .map_or_else(|error| Some(error.kind()), |_| None);
                let is_refused = [ErrorKind::InvalidValue, ErrorKind::ValueValidation];
                assert!(
                    !kind.is_some_and(|kind| is_refused.contains(&kind)),
                    "{words:?}"
                );
                *accepted += 1;
            }
        }
        for below in command.get_subcommands() {
            let path = [path, &[below.get_name().to_owned()]].concat();
            check(below, &path, accepted);
        }
    }

    #[test]
    fn every_candidate_is_a_value_of_its_option() {
        let mut accepted = 0;
        check(&Cli::command(), &[PROGRAM.to_owned()], &mut accepted);
        assert!(accepted > 100, "{accepted} candidates");
    }
}
