//! The command line as it was given.

use std::ffi::OsString;

/// The words of this process for a POSIX shell, with the name of the program that users start.
pub fn given() -> String {
    let words = std::env::args_os().skip(1).map(quoted);
    std::iter::once("graphprune".to_owned())
        .chain(words)
        .collect::<Vec<String>>()
        .join(" ")
}

fn quoted(word: OsString) -> String {
    let word = word.to_string_lossy();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.into_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_quoted_where_a_shell_would_split_or_change_it() {
        for (word, expected) in [
            ("--latency", "--latency"),
            ("0.7x", "0.7x"),
            ("folder:photos,test=0.2", "folder:photos,test=0.2"),
            ("python map.py {model}", "'python map.py {model}'"),
            ("it's", r"'it'\''s'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(word.into()), expected);
        }
    }
}
