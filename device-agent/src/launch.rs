//! Starts this program again, as a worker.
//!
//! On a system without a compatible C library the agent is started through a loader that came
//! with it: `./ld-linux-aarch64.so.1 --argv0 agent --library-path . ./graphprune-agent serve`.
//! There `current_exe` is the loader, which needs its own options and this program again.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The variable that holds the agent's token unless it comes over standard input.
pub const TOKEN_VARIABLE: &str = "GRAPHPRUNE_AGENT_TOKEN";

/// Returns the file of this program's code, even if a loader started it.
pub fn program() -> io::Result<PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let here = program as fn() -> io::Result<PathBuf> as usize;
    match mapped_file(&maps, here) {
        Some(file) => Ok(file.to_owned()),
        None => std::env::current_exe(),
    }
}

/// Returns a command that starts this program with `argument` in the way this process was
/// started, without the agent's token.
pub fn again(argument: &str) -> io::Result<Command> {
    let started = std::env::current_exe()?;
    let mut command = Command::new(&started);
    if program()? != started {
        let line = std::fs::read("/proc/self/cmdline")?;
        command.args(loader_arguments(&line, std::env::args_os().count()));
    }
    command.arg(argument).env_remove(TOKEN_VARIABLE);
    Ok(command)
}

/// Returns the file mapped at an address, from the text of `/proc/self/maps`.
fn mapped_file(maps: &str, address: usize) -> Option<&Path> {
    let line = maps.lines().find(|line| {
        let range = line.split(' ').next().and_then(|range| range.split_once('-'));
        range.is_some_and(|(from, to)| {
            let number = |text| usize::from_str_radix(text, 16).ok();
            matches!((number(from), number(to)), (Some(from), Some(to)) if (from..to).contains(&address))
        })
    })?;
    line.find('/').map(|at| Path::new(&line[at..]))
}

/// Returns a loader's arguments up to and including the program. `line` is the kernel's command
/// line, each word ended by a zero byte; `left` is the number of arguments that the loader left
/// to the program, its name included.
fn loader_arguments(line: &[u8], left: usize) -> Vec<OsString> {
    let words: Vec<&[u8]> = line
        .strip_suffix(&[0])
        .unwrap_or(line)
        .split(|&byte| byte == 0)
        .collect();
    let own = left.saturating_sub(1);
    words
        .get(1..words.len().saturating_sub(own))
        .unwrap_or_default()
        .iter()
        .map(|word| OsString::from_vec(word.to_vec()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_at_an_address_is_found_among_the_mappings() {
        let maps = "5500-5600 r--p 00000000 08:01 12   /lib/ld.so\n\
                    5600-5700 r-xp 00001000 08:01 13   /opt/a b/agent\n\
                    5700-5800 rw-p 00000000 00:00 0\n";
        let check = |address, file: Option<&str>| {
            assert_eq!(
                mapped_file(maps, address),
                file.map(Path::new),
                "{address:x}"
            );
        };
        check(0x5500, Some("/lib/ld.so"));
        check(0x5600, Some("/opt/a b/agent"));
        check(0x56ff, Some("/opt/a b/agent"));
        check(0x5700, None);
        check(0x9000, None);
        assert_eq!(mapped_file("nonsense\n-\n", 1), None);
    }

    #[test]
    fn a_loaders_own_arguments_are_found() {
        let check = |line: &[u8], left, want: &[&str]| {
            assert_eq!(loader_arguments(line, left), want);
        };
        let line = b"./ld.so\0--argv0\0agent\0--library-path\0.\0./agent\0serve\0--port\x001\0";
        check(
            line,
            4,
            &["--argv0", "agent", "--library-path", ".", "./agent"],
        );
        check(b"/system/bin/linker64\0./agent\0serve\0", 2, &["./agent"]);
        check(b"./agent\0serve\0", 2, &[]);
        check(b"", 7, &[]);
    }

    #[test]
    fn this_program_is_its_own_file() {
        assert_eq!(program().unwrap(), std::env::current_exe().unwrap());
    }
}
