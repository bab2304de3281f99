//! Every example in the help of every command runs as it is written, in a folder that
//! `graphprune example` made.

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

use graphprune_tests::{Sandbox, binary};

/// Devices of the examples that are other machines.
const ELSEWHERE: [&str; 6] = ["kitchen", "phone", "jetson", "rack", "f4", "--check"];

/// Commands that compute for minutes in an ordinary run: their example checks it only.
const LONG: [&str; 2] = ["prune", "train"];

struct Folder {
    sandbox: Sandbox,
    path: PathBuf,
}

impl Folder {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        std::fs::create_dir(sandbox.path("bin")).unwrap();
        for shell in [
            ".local/share/bash-completion/completions",
            ".config/fish/completions",
            ".zfunc",
        ] {
            std::fs::create_dir_all(sandbox.path(shell)).unwrap();
        }
        symlink(binary("graphprune"), sandbox.path("bin/graphprune")).unwrap();
        // What the examples print counts, not how precise their figures are: on a busy machine,
        // this machine's own profile takes minutes more.
        let quick = "device add local --profile quick.toml --address local";
        let added = sandbox.run(&quick.split(' ').collect::<Vec<_>>());
        let error = String::from_utf8_lossy(&added.stderr);
        assert!(added.status.success(), "{quick}: {error}");
        let path = sandbox.path("");
        Self { sandbox, path }
    }

    /// Runs a line as a shell does. Returns its exit code and its output.
    fn shell(&self, line: &str) -> (i32, String) {
        let mut path = self.sandbox.path("bin").into_os_string();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap());
        let mut bash = Command::new("bash");
        bash.args(["-c", line])
            .current_dir(&self.path)
            .env("PATH", path)
            .env("HOME", self.sandbox.path(""))
            .env("COLUMNS", "1000");
        for (name, value) in self.sandbox.command(&[]).get_envs() {
            bash.env(name, value.unwrap());
        }
        let output = bash.output().unwrap();
        let bytes = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        (output.status.code().unwrap(), text)
    }

    /// Runs an example, which has to end as documented.
    fn run(&self, line: &str) {
        let (code, text) = self.shell(line);
        let is_elsewhere = ELSEWHERE.iter().any(|name| line.contains(name));
        let expected: &[i32] = match is_elsewhere {
            true => &[0, 1, 3],
            false => &[0, 3],
        };
        assert!(expected.contains(&code), "{line}: exit code {code}\n{text}");
    }

    /// The examples in the help of a command and of those below it.
    fn examples(&self, command: &str, found: &mut Vec<String>) {
        let (code, help) = self.shell(&format!("graphprune {command} --help"));
        assert_eq!(code, 0, "{help}");
        let (_, examples) = help.split_once("\nExample").unwrap_or_default();
        let examples = examples.lines().map(str::trim);
        found.extend(
            examples
                .filter(|line| line.starts_with("graphprune "))
                .map(str::to_owned),
        );
        let Some((_, commands)) = help.split_once("Commands:\n") else {
            return;
        };
        let names = commands.lines().take_while(|line| !line.is_empty());
        for name in names.filter_map(|line| line.split_whitespace().next()) {
            if name != "help" {
                self.examples(&format!("{command} {name}"), found);
            }
        }
    }
}

#[test]
fn every_example_of_the_help_runs_as_it_is_written() {
    let mut folder = Folder::new();
    let mut found = Vec::new();
    folder.examples("", &mut found);
    assert!(found.len() > 50, "{found:?}");
    folder.run(&taken(&mut found, "graphprune example demo"));
    folder.path.push("demo");
    let first = found
        .iter()
        .position(|line| line.contains("--out runs/a") && !line.contains("--resume"));
    folder.run(&found.remove(first.expect("one example makes runs/a")));
    for line in &mut found {
        let command = line.split_whitespace().nth(1).unwrap();
        let is_long = LONG.contains(&command) && !line.contains("--resume");
        if is_long && !line.contains("--dry-run") {
            line.push_str(" --dry-run");
        }
    }
    // What others read comes before them.
    let makes = |line: &String| {
        line.contains("apply") || line.contains("pack model") || line.contains("--save-baseline")
    };
    let (makers, readers): (Vec<String>, Vec<String>) = found.into_iter().partition(makes);
    makers.iter().for_each(|line| folder.run(line));
    // One command at a time continues the run.
    let (of_the_run, others): (Vec<String>, Vec<String>) =
        readers.into_iter().partition(|line| line.contains("runs/"));
    std::thread::scope(|scope| {
        for lines in [of_the_run, others] {
            let folder = &folder;
            scope.spawn(move || lines.iter().for_each(|line| folder.run(line)));
        }
    });
}

/// Takes the line that begins so.
fn taken(found: &mut Vec<String>, begin: &str) -> String {
    let at = found.iter().position(|line| line.starts_with(begin));
    found.remove(at.unwrap_or_else(|| panic!("no example `{begin}`")))
}
