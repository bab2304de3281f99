//! The reference of all configuration keys, `host/docs/configuration.md`, follows from the types.
//! With UPDATE_DOCS=1 this test writes it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use pipeline::RunConfig;
use serde_json::Value;

const HEAD: &str = "\
# Configuration

Every key of the TOML file that `--config` names, and of the `config.toml` in a run folder. Absent keys take their defaults,
unknown keys are errors. Shares can be written as on the command line: `0.5`, `\"50%\"` or `\"0.5x\"`.

<!-- written from the types: UPDATE_DOCS=1 cargo test -p pipeline --test configuration -->
";

/// The schema of a type, behind references and options.
fn resolved<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.rsplit('/').next().unwrap();
        return resolved(root, &root["$defs"][name]);
    }
    let alternatives = schema["anyOf"].as_array();
    let present = alternatives.and_then(|all| all.iter().find(|one| one["type"] != "null"));
    present.map_or(schema, |one| resolved(root, one))
}

/// A description on one line, without the links of the code's documentation.
fn plain(schema: &Value) -> String {
    let text = schema["description"].as_str().unwrap_or_default();
    let text = text.replace("[`", "`").replace("`]", "`");
    let words: Vec<&str> = text.split_whitespace().collect();
    let text = words.join(" ");
    let mut parts = text.split("(crate::");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str(part.split_once(')').map_or("", |(_, rest)| rest));
    }
    plain.replace('|', "\\|")
}

/// The values of an enumeration with their meanings.
fn variants(schema: &Value) -> Vec<(String, String)> {
    let all = schema["oneOf"].as_array().into_iter().flatten();
    let each = all.flat_map(|one| {
        let meaning = plain(one);
        let object = one["properties"].as_object();
        let tagged = object.into_iter().flatten().map(|(tag, inner)| {
            let fields = inner["properties"].as_object().into_iter().flatten();
            let fields: Vec<&str> = fields.map(|(name, _)| name.as_str()).collect();
            format!("{{ {tag} = {{ {} = ... }} }}", fields.join(" = ..., "))
        });
        let listed = one["enum"].as_array().into_iter().flatten();
        let named = listed.chain(one.get("const")).filter_map(Value::as_str);
        let named = named.map(|name| format!("\"{name}\""));
        let names: Vec<String> = named.chain(tagged).collect();
        names.into_iter().map(move |name| (name, meaning.clone()))
    });
    each.collect()
}

fn kind(schema: &Value) -> String {
    let types = match &schema["type"] {
        Value::Array(all) => all.iter().find(|one| *one != "null"),
        one => Some(one),
    };
    match types.and_then(Value::as_str) {
        Some("boolean") => "true or false".into(),
        Some("integer") => "integer".into(),
        Some("number") => "number".into(),
        Some("array") => "list".into(),
        _ => "text".into(),
    }
}

/// A number without the digits that come from widening an `f32`.
fn shortest(number: &serde_json::Number) -> String {
    match number.as_f64() {
        Some(wide) if number.is_f64() && f64::from(wide as f32) == wide => {
            format!("{:?}", wide as f32)
        }
        _ => number.to_string(),
    }
}

fn rows(root: &Value, path: &str, schema: &Value, text: &mut String) {
    let properties: BTreeMap<&String, &Value> =
        schema["properties"].as_object().unwrap().iter().collect();
    let (tables, keys): (Vec<_>, Vec<_>) = properties
        .into_iter()
        .partition(|(_, property)| resolved(root, property)["properties"].is_object());
    if !keys.is_empty() {
        text.push_str("\n| key | value | default | meaning |\n|---|---|---|---|\n");
    }
    for (name, property) in keys {
        let inner = resolved(root, property);
        let variants = variants(inner);
        let values = match &variants[..] {
            [] => kind(inner),
            all => {
                let names: Vec<String> = all.iter().map(|(name, _)| format!("`{name}`")).collect();
                names.join(", ")
            }
        };
        let default = match &property["default"] {
            Value::Null => "-".into(),
            Value::String(text) if text.is_empty() => "-".into(),
            Value::Number(number) => format!("`{}`", shortest(number)),
            value => format!("`{value}`"),
        };
        let mut meaning = plain(property);
        for (name, of) in variants.iter().filter(|(_, of)| !of.is_empty()) {
            let _ = write!(meaning, " `{name}`: {of}");
        }
        let _ = writeln!(text, "| `{name}` | {values} | {default} | {meaning} |");
    }
    for (name, property) in tables {
        let path = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        let inner = resolved(root, property);
        let _ = writeln!(text, "\n## `[{path}]`\n\n{}", plain(property));
        rows(root, &path, inner, text);
    }
}

#[test]
fn the_reference_of_all_keys_is_up_to_date() {
    let schema = serde_json::to_value(schemars::schema_for!(RunConfig)).unwrap();
    let mut text = HEAD.to_owned();
    rows(&schema, "", &schema, &mut text);
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
