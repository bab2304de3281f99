//! Shell commands that start the agent on another machine.

use agent_protocol::BoardSpec;

use super::process::{ALLOW_UNCONFINED, StartFailure};
use crate::Obstacle;

/// The exit status of [`agent_script`] if there is no agent.
pub(crate) const NOT_DEPLOYED: i32 = 97;
/// The exit statuses of a shell that cannot run a file.
const NOT_EXECUTABLE: [i32; 2] = [126, 127];
/// Messages of shells for a program of another processor, or without its loader. Some shells run
/// it as a script.
const FOREIGN: [&str; 6] = [
    "Exec format error",
    "cannot execute",
    "not executable",
    "wrong ELF class",
    "bad ELF magic",
    "syntax error",
];

/// Quotes a word for a POSIX shell.
pub fn quote(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@%+".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    quote_strictly(word)
}

/// Quotes a path on the device for a POSIX shell. A leading `~/` means the user's home
/// folder.
pub fn quote_path(path: &str) -> String {
    match path.strip_prefix("~/") {
        Some(below) => format!("\"$HOME\"/{}", quote(below)),
        // A path with a leading hyphen must not become an option.
        None if path.starts_with('-') => quote(&format!("./{path}")),
        None => quote(path),
    }
}

/// Wraps a POSIX shell script so that any login shell runs it.
pub fn in_sh(script: &str) -> String {
    format!("exec sh -c {}", quote_strictly(script))
}

fn quote_strictly(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Returns the beginning of a script, which finds the agent deployed in `folder` as `$a`.
fn agent_found(folder: &str) -> String {
    let folder = quote_path(folder);
    format!(
        "f={folder}\n\
         a=\"$f\"/current/graphprune-agent\n\
         [ -e \"$a\" ] || {{ echo \"there is no $a\" >&2; exit {NOT_DEPLOYED}; }}\n"
    )
}

/// Returns the script that runs the agent deployed in `folder` with this argument.
pub fn agent_call(folder: &str, argument: &str) -> String {
    format!("{}exec \"$a\" {}", agent_found(folder), quote(argument))
}

/// Returns the script that starts the agent deployed in `folder`, for a board where there is one.
/// The agent's work folder lies there as well, since temporary folders can be small or in memory.
/// It is private: adb's shell creates world-writable folders, and the agent refuses those.
pub fn agent_script(folder: &str, board: Option<&BoardSpec>, allow_unconfined: bool) -> String {
    let mut more = String::new();
    // A description of plain fields is always JSON.
    if let Some(board) = board.and_then(|board| serde_json::to_string(board).ok()) {
        more = format!(" --board {}", quote(&board));
    }
    if allow_unconfined {
        more.push(' ');
        more.push_str(ALLOW_UNCONFINED);
    }
    format!(
        "{}mkdir -p \"$f\"/work && chmod 700 \"$f\"/work && w=$(cd \"$f\"/work && pwd) || exit\n\
         exec \"$a\" serve --exit-with-parent --token-stdin --work \"$w\"{more}",
        agent_found(folder)
    )
}

/// The obstacle behind a script that ran but found no usable agent.
pub fn obstacle(failure: &StartFailure) -> Option<Obstacle> {
    let status = failure.status.and_then(|status| status.code())?;
    if status == NOT_DEPLOYED {
        return Some(Obstacle::NotDeployed);
    }
    is_foreign(status, &failure.stderr).then_some(Obstacle::WrongArchitecture)
}

/// Whether a shell's status and messages mean that the program is not for this machine.
pub fn is_foreign(status: i32, stderr: &str) -> bool {
    FOREIGN.iter().any(|message| stderr.contains(message)) || NOT_EXECUTABLE.contains(&status)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_shell_reads_a_quoted_word_unchanged() {
        let check = |word: &str| {
            let out = Command::new("sh")
                .args(["-c", &format!("printf %s {}", quote(word))])
                .output()
                .unwrap();
            assert_eq!(String::from_utf8_lossy(&out.stdout), word);
            let script = format!("printf %s {}", quote(word));
            let out = Command::new("sh")
                .args(["-c", &in_sh(&script)])
                .output()
                .unwrap();
            assert_eq!(String::from_utf8_lossy(&out.stdout), word);
        };
        check("plain/path-1.0");
        check("a b");
        check("it's $HOME `id` \"x\" \\ *");
        check("");
        check("new\nline; exit 1");
    }

    #[test]
    fn an_agent_runs_models_unconfined_only_where_that_is_allowed() {
        assert!(!agent_script("~/agent", None, false).contains(ALLOW_UNCONFINED));
        let allowed = agent_script("~/agent", None, true);
        assert!(allowed.ends_with("--work \"$w\" --allow-unconfined"));
    }

    #[test]
    fn a_path_keeps_the_devices_home_folder_and_is_no_option() {
        assert_eq!(quote_path("~/a b"), "\"$HOME\"/'a b'");
        assert_eq!(quote_path("-rf"), "./-rf");
        assert_eq!(quote_path("/data/local/tmp"), "/data/local/tmp");
    }
}
