//! The defaults that the help shows. Those of clap's options are clap's; those of settings come
//! from the configuration itself.

use clap::{Arg, Command};
use pipeline::{ModelSpec, RunConfig};

/// Options that override a setting: the option, and the path of the setting.
const SETTINGS: [(&str, &str); 18] = [
    ("attention", "groups.attention"),
    ("channel_order", "input.order"),
    ("device", "device"),
    ("epochs", "joint.epochs"),
    ("episodes", "search.episodes"),
    ("finetune_epochs", "finetune.epochs"),
    ("fit", "input.fit"),
    ("interpolation", "input.interpolation"),
    ("measurements", "measurements"),
    ("pad", "input.pad"),
    ("precision", "precision"),
    ("seed", "seed"),
    ("strategy", "search.strategy"),
    ("task", "task.kind"),
    ("threads", "threads"),
    ("train_on", "train_on"),
    ("training_mode", "training_mode"),
    ("weights", "search.weights"),
];

/// The commands that take all settings of a run. Others share the options of images only.
const RUNS: [&str; 5] = ["prune", "train", "search", "finetune", "export"];

/// How a help says that an option has a default.
const SAID: [&str; 2] = ["[default: ", "default: "];

/// The command with the default of every option in its help.
pub fn shown(command: Command) -> Command {
    let settings = settings();
    with(command, &settings)
}

fn with(command: Command, settings: &toml::Table) -> Command {
    let is_run = RUNS.contains(&command.get_name());
    let command = command.mut_args(|arg| match default(&arg, is_run, settings) {
        Some(default) => {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            arg.help(format!("{help} [default: {default}]"))
        }
        None => arg,
    });
    command.mut_subcommands(|inner| with(inner, settings))
}

/// What clap does not show of an option's default; `None` where it or the help does.
fn default(arg: &Arg, is_run: bool, settings: &toml::Table) -> Option<String> {
    let is_option = !arg.is_positional() && arg.get_action().takes_values();
    if !is_option || arg.is_required_set() || !arg.get_default_values().is_empty() {
        return None;
    }
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    if SAID.iter().any(|word| help.to_lowercase().contains(word)) {
        return None;
    }
    let id = arg.get_id().as_str();
    let mut shared = SETTINGS
        .iter()
        .filter(|(_, path)| is_run || path.starts_with("input."));
    let setting = shared.find(|(of, _)| *of == id);
    let value = setting.and_then(|(_, path)| value(settings, path));
    Some(value.unwrap_or_else(|| "none".into()))
}

/// The settings of a run of a network in a file, where nothing else is set.
fn settings() -> toml::Table {
    let config = RunConfig {
        model: ModelSpec::new("model.onnx"),
        data: "shapes".parse().ok(),
        ..RunConfig::default()
    };
    let settled = config.settled().unwrap_or_default();
    toml::Table::try_from(settled).unwrap_or_default()
}

/// The value of a setting as text.
fn value(settings: &toml::Table, path: &str) -> Option<String> {
    let mut parts = path.split('.');
    let first = settings.get(parts.next()?)?;
    let value = parts.try_fold(first, |value, part| value.get(part))?;
    Some(match value {
        toml::Value::String(text) => text.clone(),
        other => other.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::Cli;

    /// Every option of a command and of those below it.
    fn options(command: &Command, path: &str, found: &mut Vec<(String, Arg)>) {
        for arg in command.get_arguments() {
            if !arg.is_positional() && arg.get_action().takes_values() {
                found.push((format!("{path} --{}", arg.get_id()), arg.clone()));
            }
        }
        for inner in command.get_subcommands() {
            options(inner, &format!("{path} {}", inner.get_name()), found);
        }
    }

    #[test]
    fn every_option_shows_its_default() {
        let mut found = Vec::new();
        options(&shown(Cli::command()), "graphprune", &mut found);
        assert!(found.len() > 100, "{} options", found.len());
        for (name, arg) in &found {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            let said = SAID.iter().any(|word| help.to_lowercase().contains(word));
            let is_shown = arg.is_required_set() || !arg.get_default_values().is_empty() || said;
            assert!(is_shown, "{name}: {help}");
        }
    }

    #[test]
    fn a_shown_default_is_that_of_the_configuration() {
        let settings = settings();
        let mut found = Vec::new();
        options(&shown(Cli::command()), "graphprune", &mut found);
        for (id, path) in SETTINGS {
            let of_run = |(name, _): &&(String, Arg)| *name == format!("graphprune prune --{id}");
            let (name, arg) = found.iter().find(of_run).expect(id);
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            match value(&settings, path) {
                Some(value) => {
                    assert!(
                        help.ends_with(&format!("[default: {value}]")),
                        "{name}: {help}"
                    );
                }
                // What the default depends on is said in words.
                None => assert!(help.contains("efault"), "{name}: {help}"),
            }
        }
    }
}
