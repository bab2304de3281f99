//! The reference of all configuration keys, `host/docs/configuration.md`, follows from the types.
//! With UPDATE_DOCS=1 this test writes it.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use pipeline::{RunConfig, Setting, settings};

const HEAD: &str = "\
# Configuration

Every key of the TOML file that `--config` names, and of the `config.toml` in a run folder. Absent keys take their defaults,
unknown keys are errors. Shares can be written as on the command line: `0.5`, `\"50%\"` or `\"0.5x\"`.

<!-- written from the types: UPDATE_DOCS=1 cargo test -p pipeline --test configuration -->
";

fn escaped(text: &str) -> String {
    text.replace('|', "\\|")
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

fn page() -> String {
    let mut text = HEAD.to_owned();
    for table in settings() {
        if !table.path.is_empty() {
            let _ = writeln!(text, "\n## `[{}]`\n\n{}", table.path, escaped(&table.about));
        }
        if !table.settings.is_empty() {
            text.push_str("\n| key | value | default | meaning |\n|---|---|---|---|\n");
        }
        for Setting {
            key,
            values,
            default,
            meaning,
        } in &table.settings
        {
            let values = match &values[..] {
                [kind] if !kind.contains(['"', '{']) => kind.clone(),
                all => all.iter().map(|v| code(v)).collect::<Vec<_>>().join(", "),
            };
            let default = default.as_deref().map_or("-".into(), code);
            let meaning = escaped(meaning);
            let _ = writeln!(text, "| `{key}` | {values} | {default} | {meaning} |");
        }
    }
    text
}

#[test]
fn the_reference_of_all_keys_is_up_to_date() {
    let text = page();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == text,
        "host/docs/configuration.md is out of date: UPDATE_DOCS=1 cargo test -p pipeline --test configuration"
    );
}

#[test]
fn a_configuration_with_its_comments_is_read_back_and_names_every_setting() {
    let settings_of = "data = \"shapes\"\ntrain_on = \"cuda\"\n[budget]\nlatency = \"0.7x\"\n[groups]\nattention = \"heads\"\n\
                       [groups.\"a.*\"]\nkeep = 0.5\n[search.reward]\nmode = { soft = { w = -0.25 } }\n[augment]\nflip = true\n";
    for text in ["", settings_of] {
        let config = RunConfig::from_toml(text, None).unwrap();
        let written = config.annotated().unwrap();
        let again = RunConfig::from_toml(&written, None);
        assert_eq!(again.as_ref(), Ok(&config), "{written}");
        for table in settings() {
            for Setting { key, .. } in &table.settings {
                let named = written.contains(&format!("\n{key} = "))
                    || written.contains(&format!("\n# {key} ="));
                assert!(
                    named || table.path.contains("PATTERN"),
                    "{}.{key}",
                    table.path
                );
            }
        }
    }
}
