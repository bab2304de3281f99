//! Starting the agent in a shell on another machine.

use super::process::{ALLOW_UNCONFINED, StartFailure};
use crate::Obstacle;

/// The status with which the command for the agent says that there is none.
const NOT_DEPLOYED: i32 = 97;
/// With these a shell says that a file is no program it can run.
const NOT_EXECUTABLE: [i32; 2] = [126, 127];
/// What shells say of a program for another processor, or without its loader. Some take it for a script.
const FOREIGN: [&str; 6] = [
    "Exec format error",
    "cannot execute",
    "not executable",
    "wrong ELF class",
    "bad ELF magic",
    "syntax error",
];

/// A word for a POSIX shell, whatever it holds.
pub fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// A path on the device for a POSIX shell. `~/` at its beginning is the user's home folder.
pub fn quote_path(path: &str) -> String {
    match path.strip_prefix("~/") {
        Some(below) => format!("\"$HOME\"/{}", quote(below)),
        // A path that begins with a hyphen is no option.
        None if path.starts_with('-') => quote(&format!("./{path}")),
        None => quote(path),
    }
}

/// The words that run a script of a POSIX shell, whatever shell reads them.
pub fn in_sh(script: &str) -> String {
    format!("exec sh -c {}", quote_strictly(script))
}

fn quote_strictly(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// The script that becomes the agent deployed in `folder`. Its models lie in `folder` too: elsewhere may be no place, or
/// memory. The place is the user's alone: a shell of adb makes folders that everybody may write to, and the agent refuses
/// those.
pub fn agent_script(folder: &str, allow_unconfined: bool) -> String {
    let folder = quote_path(folder);
    let more = if allow_unconfined {
        format!(" {ALLOW_UNCONFINED}")
    } else {
        String::new()
    };
    format!(
        "f={folder}\n\
         a=\"$f\"/current/graphprune-agent\n\
         [ -e \"$a\" ] || {{ echo \"there is no $a\" >&2; exit {NOT_DEPLOYED}; }}\n\
         mkdir -p \"$f\"/work && chmod 700 \"$f\"/work && w=$(cd \"$f\"/work && pwd) || exit\n\
         exec \"$a\" serve --exit-with-parent --token-stdin --work \"$w\"{more}"
    )
}

/// What is in the way, where the failure tells that the script ran and there is no agent for it.
pub fn obstacle(failure: &StartFailure) -> Option<Obstacle> {
    let status = failure.status.and_then(|status| status.code())?;
    if status == NOT_DEPLOYED {
        return Some(Obstacle::NotDeployed);
    }
    is_foreign(status, &failure.words).then_some(Obstacle::WrongArchitecture)
}

/// Whether a shell that ended so could not run the program, because it is none for this machine.
pub fn is_foreign(status: i32, words: &str) -> bool {
    FOREIGN.iter().any(|said| words.contains(said)) || NOT_EXECUTABLE.contains(&status)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_shell_reads_what_was_quoted() {
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
        assert!(!agent_script("~/agent", false).contains(ALLOW_UNCONFINED));
        assert!(agent_script("~/agent", true).ends_with("--work \"$w\" --allow-unconfined"));
    }

    #[test]
    fn a_home_folder_is_the_devices_and_a_hyphen_no_option() {
        assert_eq!(quote_path("~/a b"), "\"$HOME\"/'a b'");
        assert_eq!(quote_path("-rf"), "./-rf");
        assert_eq!(quote_path("/data/local/tmp"), "/data/local/tmp");
    }
}
