//! The completion scripts, in the shells that they are for: bash, fish and zsh.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use graphprune_boards::Kit;
use graphprune_tests::{Sandbox, binary};

/// Printed by zsh when it has answered. It is written in two parts, so that the echo of the
/// command does not contain it.
const END: &str = "answered-2";

/// What is typed, and words of the answer.
const LINES: [(&str, &[&str]); 4] = [
    ("graphprune ", &["measure", "prune", "bench"]),
    (
        "graphprune prune --strategy ",
        &["ddpg", "evolution", "knapsack"],
    ),
    (
        "graphprune prune --task ",
        &["classification", "multilabel", "follow"],
    ),
    (
        "graphprune measure --device ",
        &["local", "kitchen", "stm32f4-discovery"],
    ),
];

/// A folder with the script of a shell and a registered device.
fn prepared(shell: &str, script: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    let add = ["device", "add", "kitchen", "--profile", "raspberry-pi-4"];
    let added = sandbox.run(&[&add[..], &["--address", "ssh:pi@kitchen"]].concat());
    assert!(
        added.status.success(),
        "{}",
        String::from_utf8_lossy(&added.stderr)
    );
    let made = sandbox.run(&["completions", shell]);
    assert!(made.status.success());
    let path = sandbox.path(script);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, made.stdout).unwrap();
    sandbox
}

/// Returns a command with the program on its path, and the settings of the folder.
fn shell(sandbox: &Sandbox, words: &[&str]) -> Command {
    let program = binary("graphprune");
    let mut path = program.parent().unwrap().as_os_str().to_owned();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap());
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).current_dir(sandbox.path(""));
    for (name, value) in sandbox.command(&[]).get_envs() {
        command.env(name, value.unwrap());
    }
    command
        .env("PATH", path)
        .env("HOME", sandbox.path(""))
        .env("TERM", "dumb");
    command
}

fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

fn check(answer: impl Fn(&str) -> String) {
    for (line, words) in LINES {
        let answer = answer(line);
        for word in words {
            let is_there = answer
                .split(|c: char| c.is_whitespace() || c == '\x07')
                .any(|part| part == *word);
            assert!(is_there, "`{line}` offers no {word}:\n{answer}");
        }
        assert!(!answer.contains("not found"), "{answer}");
    }
}

#[test]
fn bash_offers_commands_values_and_devices() {
    let sandbox = prepared("bash", "graphprune.bash");
    check(|line| {
        let script = r#"
            source graphprune.bash
            function=$(complete -p graphprune | sed 's/.* -F \([^ ]*\).*/\1/')
            read -ra COMP_WORDS <<< "$1"
            [[ $1 == *" " ]] && COMP_WORDS+=("")
            COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
            COMP_LINE=$1 COMP_POINT=${#1} COMP_TYPE=9
            "$function" graphprune "${COMP_WORDS[-1]}" "${COMP_WORDS[-2]}"
            printf '%s\n' "${COMPREPLY[@]}"
        "#;
        output(&mut shell(&sandbox, &["bash", "-c", script, "bash", line]))
    });
}

#[test]
fn fish_offers_commands_values_and_devices() {
    let kit = Kit::find().unwrap();
    let sandbox = prepared("fish", ".config/fish/completions/graphprune.fish");
    check(|line| {
        let fish = kit.fish();
        let mut words: Vec<&str> = fish.iter().map(String::as_str).collect();
        let script = format!("complete --do-complete '{line}'");
        words.extend(["-c", &script]);
        output(&mut shell(&sandbox, &words))
    });
}

/// What zsh shows after a line and a tab, in a terminal that `script` makes. `setup` runs first.
fn zsh_shows(sandbox: &Sandbox, [zsh, setup, line]: [&str; 3]) -> String {
    let command = format!("{zsh} -f -i");
    let mut script = shell(
        sandbox,
        &["script", "--quiet", "--command", &command, "/dev/null"],
    );
    script
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = script.spawn().unwrap();
    let mut keys = child.stdin.take().unwrap();
    // Control-A and Control-K clear the line that was completed. Until zsh takes the terminal over,
    // they mean nothing to it, other than Control-U.
    let typed = format!("{setup}\n{line}\t\x01\x0bprint answered-$((1+1))\n");
    keys.write_all(typed.as_bytes()).unwrap();
    let mut shown = String::new();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut bytes = Vec::new();
    while !shown.contains(END) {
        bytes.clear();
        let read = lines.read_until(b'\n', &mut bytes).unwrap();
        assert!(read > 0, "zsh ended:\n{shown}");
        shown.push_str(&String::from_utf8_lossy(&bytes));
    }
    keys.write_all(b"exit\n").unwrap();
    drop(keys);
    child.wait().unwrap();
    shown
}

#[test]
fn zsh_offers_them_at_the_first_tab_sourced_or_found_by_name() {
    let kit = Kit::find().unwrap();
    let sandbox = prepared("zsh", "functions/_graphprune");
    let [zsh, functions] = kit.zsh();
    let functions = functions.display();
    let own = Path::new("functions").display();
    let start = format!("stty cols 300; fpath=({functions}/**/*(/) {functions})");
    let found =
        format!("{start}; fpath=($PWD/{own} $fpath); autoload -Uz compinit; compinit -u -D");
    let sourced =
        format!("{start}; autoload -Uz compinit; compinit -u -D; source {own}/_graphprune");
    for setup in [found, sourced] {
        check(|line| zsh_shows(&sandbox, [zsh.to_str().unwrap(), &setup, line]));
    }
}
