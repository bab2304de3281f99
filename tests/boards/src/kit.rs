//! The parts of targets, in the layout of `cargo xtask setup --boards` in `.deps/boards`:
//!
//! | folder | what |
//! |---|---|
//! | `tools` | sshd, socat and busybox for this machine's architecture, with their own C library |
//! | `android` | adbd and adb with theirs |
//! | `qemu` | `usr/bin/qemu-aarch64` and `qemu-arm`, static |
//! | `aarch64` | the file system of the board: busybox, C and C++ libraries |
//! | `mcu` | qemu-system-arm with its libraries |
//! | `shells` | zsh and fish with theirs |
//!
//! Each has a `stamp`, written when it is complete. The loader beside the programs starts them,
//! so the machine's libraries do not matter.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::BoardError;

/// The programs on a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum System {
    /// This machine's own file system, read-only.
    #[default]
    Host,
    /// A small aarch64 Linux, on which 32-bit ARM programs run too. Emulated where this machine
    /// has another architecture.
    Aarch64,
    /// The same without libraries: programs linked against glibc do not start, as on a phone.
    Bare,
}

/// A complete set-up.
#[derive(Debug, Clone)]
pub struct Kit {
    folder: PathBuf,
    triplet: &'static str,
    loader: &'static str,
}

const SETS: [&str; 6] = ["tools", "android", "qemu", "aarch64", "mcu", "shells"];

impl Kit {
    /// Finds the set-up of the checkout that this package was built in.
    ///
    /// # Errors
    /// When it is missing or incomplete.
    pub fn find() -> Result<Self, BoardError> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.deps/boards");
        Self::at(&folder)
    }

    /// Opens the set-up in `folder`.
    ///
    /// # Errors
    /// When it is missing or incomplete.
    pub fn at(folder: &Path) -> Result<Self, BoardError> {
        let (triplet, loader) = match std::env::consts::ARCH {
            "x86_64" => ("x86_64-linux-gnu", "ld-linux-x86-64.so.2"),
            "aarch64" => ("aarch64-linux-gnu", "ld-linux-aarch64.so.1"),
            other => return Err(BoardError::Architecture(other)),
        };
        if let Some(set) = SETS
            .iter()
            .map(|set| folder.join(set))
            .find(|set| !set.join("stamp").is_file())
        {
            return Err(BoardError::NoKit(set));
        }
        Ok(Self {
            folder: folder
                .canonicalize()
                .map_err(BoardError::io("resolving", folder))?,
            triplet,
            loader,
        })
    }

    pub(crate) fn set(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Returns the folder of the emulators, unless this machine is an aarch64 one.
    pub(crate) fn emulators(&self) -> Option<PathBuf> {
        (std::env::consts::ARCH != "aarch64").then(|| self.folder.join("qemu/usr/bin"))
    }

    /// Returns the words that start `program` of the set `tools`, where the set is mounted at
    /// `at`; `name` is the program's own name, its argument zero.
    pub(crate) fn tool(&self, at: &Path, name: &str, program: &str) -> Vec<String> {
        self.of_stable(at, name, program)
    }

    /// As [`Self::tool`], for the set `android`, which has the layout of newer systems.
    pub(crate) fn android(&self, at: &Path, name: &str, program: &str) -> Vec<String> {
        let own = self.libraries(&at.join("usr/lib"));
        let loader = own.join(self.loader);
        words(
            &loader,
            &[own.join("android"), own],
            name,
            &at.join(program),
        )
    }

    /// Returns the words that start `program` of the set `mcu` on this machine itself.
    pub(crate) fn mcu(&self, name: &str, program: &str) -> Vec<String> {
        let at = self.set("mcu");
        let own = self.libraries(&at.join("usr/lib"));
        words(&own.join(self.loader), &[own], name, &at.join(program))
    }

    /// Returns the words that start fish on this machine itself.
    #[must_use]
    pub fn fish(&self) -> Vec<String> {
        let at = self.set("shells");
        let mut words = self.of_stable(&at, "fish", "usr/bin/fish");
        // It looks for its files where they are installed, and finds none on most machines.
        let data = at.join("usr/share/fish");
        let data = data.display();
        words.push("--init-command".to_owned());
        words.push(format!(
            "set --global __fish_data_dir '{data}'; source '{data}/config.fish'"
        ));
        words
    }

    /// Returns zsh, and the folder of its functions, in which it finds its completion system.
    #[must_use]
    pub fn zsh(&self) -> [PathBuf; 2] {
        let at = self.set("shells");
        [
            at.join("bin/zsh-static"),
            at.join("usr/share/zsh/functions"),
        ]
    }

    /// As [`Self::tool`], for any set of the stable suite, which has two folders of libraries.
    fn of_stable(&self, at: &Path, name: &str, program: &str) -> Vec<String> {
        let libraries = ["lib", "usr/lib"].map(|folder| self.libraries(&at.join(folder)));
        let loader = at.join("lib").join(self.triplet).join(self.loader);
        words(&loader, &libraries, name, &at.join(program))
    }

    fn libraries(&self, folder: &Path) -> PathBuf {
        folder.join(self.triplet)
    }
}

fn words(loader: &Path, libraries: &[PathBuf], name: &str, program: &Path) -> Vec<String> {
    let libraries: Vec<_> = libraries
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    vec![
        loader.display().to_string(),
        "--argv0".to_owned(),
        name.to_owned(),
        "--library-path".to_owned(),
        libraries.join(":"),
        program.display().to_string(),
    ]
}

/// Returns the words as a shell command.
pub(crate) fn quoted(words: &[String]) -> String {
    let quote = |word: &String| format!("'{}'", word.replace('\'', r"'\''"));
    words.iter().map(quote).collect::<Vec<_>>().join(" ")
}

/// Runs a command without input and returns its output.
pub(crate) fn checked(command: &mut Command) -> Result<String, BoardError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(BoardError::start(&program))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    Err(BoardError::Program {
        program,
        status: output.status,
        output: format!("{} {}", text(&output.stderr), text(&output.stdout)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_set_up_the_error_names_the_command() {
        let folder = tempfile::tempdir().unwrap();
        let error = Kit::at(folder.path()).unwrap_err().to_string();
        assert!(error.contains("cargo xtask setup --boards"), "{error}");
    }

    #[test]
    fn quoted_words_reach_a_shell_unchanged() {
        assert_eq!(quoted(&["a b".into(), "it's".into()]), r"'a b' 'it'\''s'");
    }
}
