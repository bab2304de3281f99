//! The JSON schema of `report.json`, `host/docs/report.schema.json`, follows from the types. With
//! UPDATE_DOCS=1 this test writes it.

mod sample;

use std::fs;
use std::path::Path;

use serde_json::Value;

fn written() -> Value {
    serde_json::to_value(report::schema()).unwrap()
}

#[test]
fn the_published_schema_is_that_of_the_types() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/report.schema.json");
    let text = serde_json::to_string_pretty(&written()).unwrap() + "\n";
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let published = fs::read_to_string(&path).unwrap();
    assert!(
        published == text,
        "UPDATE_DOCS=1 cargo test -p report --test schema writes it anew"
    );
}

/// Every field of `value` is described by `schema`.
fn check(root: &Value, schema: &Value, value: &Value, place: &str) {
    let schema = match schema["$ref"].as_str() {
        Some(name) => &root["$defs"][name.rsplit('/').next().unwrap()],
        None => schema,
    };
    let choices = schema["anyOf"].as_array().or(schema["oneOf"].as_array());
    match value {
        Value::Object(fields) => {
            let of = |key: &str| match choices {
                Some(choices) => choices
                    .iter()
                    .map(|of| &of["properties"][key])
                    .find(|of| of.is_object()),
                None => Some(&schema["properties"][key]),
            };
            let through =
                choices.and_then(|choices| choices.iter().find(|of| of["$ref"].is_string()));
            if let Some(through) = through {
                return check(root, through, value, place);
            }
            for (key, value) in fields {
                let inner = of(key).filter(|of| of.is_object());
                let inner = inner.unwrap_or_else(|| panic!("{place}.{key} is not in the schema"));
                check(root, inner, value, &format!("{place}.{key}"));
            }
        }
        Value::Array(items) if schema["items"].is_object() => {
            for item in items {
                check(root, &schema["items"], item, place);
            }
        }
        _ => {}
    }
}

#[test]
fn the_schema_describes_every_field_of_a_report() {
    let schema = written();
    for data in [sample::run(), sample::run_by_two(), sample::small()] {
        assert_eq!(data.schema, report::SCHEMA);
        let value = serde_json::to_value(&data).unwrap();
        check(&schema, &schema, &value, "report");
    }
    let of_field = |field: &str| schema["properties"][field]["description"].as_str();
    assert!(
        of_field("rows").is_some_and(|text| text.contains("table")),
        "{schema:#}"
    );
}
