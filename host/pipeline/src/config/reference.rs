//! Every setting with its meaning, its values and its default, as the types describe them; and a
//! configuration as TOML with all of this in comments.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;
use serde_json::Value;

use super::{ConfigError, RunConfig};

/// The path of the table of a rule for groups, in which PATTERN is the user's.
const RULES: &str = "groups.\"PATTERN\"";

/// Columns of a comment.
const COLUMNS: usize = 98;

/// A setting of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// The key within its table.
    pub key: String,
    /// What can be written: a kind such as `integer`, or the names to choose from.
    pub values: Vec<String>,
    /// The default as JSON; `None` where the setting has no value by default.
    pub default: Option<String>,
    /// What it means.
    pub meaning: String,
}

/// A table of settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SettingsTable {
    /// The path of the table; empty for the keys that are in none.
    pub path: String,
    /// What the table is about.
    pub about: String,
    /// Its settings, by their keys.
    pub settings: Vec<Setting>,
}

/// Every setting of a run, table by table.
#[must_use]
pub fn settings() -> Vec<SettingsTable> {
    let schema = schemars::schema_for!(RunConfig).to_value();
    let mut tables = Vec::new();
    collect(
        &schema,
        (String::new(), String::new()),
        &schema,
        &mut tables,
    );
    tables
}

fn collect(
    root: &Value,
    (path, about): (String, String),
    schema: &Value,
    tables: &mut Vec<SettingsTable>,
) {
    let properties = schema["properties"].as_object().into_iter().flatten();
    let properties: BTreeMap<&String, &Value> = properties.collect();
    let (inner, keys): (Vec<_>, Vec<_>) = properties
        .into_iter()
        .partition(|(_, property)| resolved(root, property)["properties"].is_object());
    tables.push(SettingsTable {
        settings: keys
            .into_iter()
            .map(|(key, property)| setting(root, key, property))
            .collect(),
        path: path.clone(),
        about,
    });
    let below = |name: &str| match path.as_str() {
        "" => name.to_owned(),
        path => format!("{path}.{name}"),
    };
    for (name, property) in inner {
        let place = (below(name), plain(property));
        collect(root, place, resolved(root, property), tables);
    }
    let named = resolved(root, &schema["additionalProperties"]);
    if named["properties"].is_object() {
        let place = (below("\"PATTERN\""), plain(named));
        collect(root, place, named, tables);
    }
}

fn setting(root: &Value, key: &str, property: &Value) -> Setting {
    let inner = resolved(root, property);
    let variants = variants(inner);
    let mut meaning = plain(property);
    for (name, of) in variants.iter().filter(|(_, of)| !of.is_empty()) {
        // Writing to a string does not fail.
        let _ = write!(meaning, " `{name}`: {of}");
    }
    Setting {
        key: key.to_owned(),
        values: if variants.is_empty() {
            vec![kind(inner).to_owned()]
        } else {
            variants.into_iter().map(|(name, _)| name).collect()
        },
        default: match &property["default"] {
            Value::Null => None,
            Value::String(text) if text.is_empty() => None,
            Value::Number(number) => Some(shortest(number)),
            value => Some(value.to_string()),
        },
        meaning,
    }
}

/// The schema of a type, behind references and options.
fn resolved<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.rsplit('/').next().unwrap_or_default();
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
    plain
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

fn kind(schema: &Value) -> &'static str {
    let types = match &schema["type"] {
        Value::Array(all) => all.iter().find(|one| *one != "null"),
        one => Some(one),
    };
    match types.and_then(Value::as_str) {
        Some("boolean") => "true or false",
        Some("integer") => "integer",
        Some("number") => "number",
        Some("array") => "list",
        _ => "text",
    }
}

/// A number without the digits that come from widening an `f32`.
fn shortest(number: &serde_json::Number) -> String {
    match number.as_f64() {
        Some(wide) if number.is_f64() => float(wide),
        _ => number.to_string(),
    }
}

fn float(wide: f64) -> String {
    let narrow = wide as f32;
    if f64::from(narrow) == wide {
        format!("{narrow:?}")
    } else {
        format!("{wide:?}")
    }
}

impl RunConfig {
    /// The configuration as TOML with every setting: its meaning, its values and its default in
    /// comments. Settings without a value are comments, too. [`RunConfig::stored`] reads it back.
    ///
    /// # Errors
    /// [`ConfigError::Syntax`] when a value cannot be written.
    pub fn annotated(&self) -> Result<String, ConfigError> {
        let values = toml::Table::try_from(self).map_err(|e| ConfigError::Syntax {
            path: None,
            reason: e.to_string(),
        })?;
        let mut text = String::new();
        for table in settings() {
            if table.path == RULES {
                self.annotate_rules(&values, &table, &mut text);
                continue;
            }
            let mut held = Some(&values);
            for part in table.path.split('.').filter(|part| !part.is_empty()) {
                held = held.and_then(|held| held.get(part)?.as_table());
            }
            if !table.path.is_empty() {
                text.push('\n');
                comment(&table.about, &mut text);
                let mark = if held.is_some() { "" } else { "# " };
                text.push_str(&format!("{mark}[{}]\n", table.path));
            }
            write_settings(&table, held, &mut text);
        }
        Ok(text)
    }

    fn annotate_rules(&self, values: &toml::Table, table: &SettingsTable, text: &mut String) {
        let all = values.get("groups").and_then(toml::Value::as_table);
        for pattern in self.groups.rules.keys() {
            let held = all.and_then(|all| all.get(pattern)?.as_table());
            let quoted = toml::Value::String(pattern.clone());
            text.push_str(&format!("\n[groups.{quoted}]\n"));
            write_settings(table, held, text);
        }
    }
}

fn write_settings(table: &SettingsTable, held: Option<&toml::Table>, text: &mut String) {
    for setting in &table.settings {
        let default = setting.default.as_deref().unwrap_or("none");
        let values = setting.values.join(", ");
        comment(
            &format!("{} Values: {values}. Default: {default}.", setting.meaning),
            text,
        );
        let line = match held.and_then(|held| held.get(&setting.key)) {
            Some(value) => format!("{} = {}\n", setting.key, toml_text(value)),
            None => format!("# {} =\n", setting.key),
        };
        text.push_str(&line);
    }
}

/// A value on one line.
fn toml_text(value: &toml::Value) -> String {
    match value {
        toml::Value::Float(number) if number.is_finite() => float(*number),
        toml::Value::Array(all) => {
            let all: Vec<String> = all.iter().map(toml_text).collect();
            format!("[{}]", all.join(", "))
        }
        toml::Value::Table(all) => {
            let all = all
                .iter()
                .map(|(key, value)| format!("{key} = {}", toml_text(value)));
            format!("{{ {} }}", all.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// Adds a text as a comment of limited width.
fn comment(text: &str, to: &mut String) {
    let mut line = String::from("#");
    for word in text.split_whitespace() {
        if line.len() + 1 + word.len() > COLUMNS && line != "#" {
            to.push_str(&line);
            to.push('\n');
            line = "#".into();
        }
        line.push(' ');
        line.push_str(word);
    }
    if line != "#" {
        to.push_str(&line);
        to.push('\n');
    }
}
