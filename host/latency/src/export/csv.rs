//! Comma-separated values.

use std::io::{self, Write};

use super::columns::{Column, Value};
use crate::Record;

pub(super) fn write(
    records: &[Record],
    columns: &[&Column],
    out: &mut impl Write,
) -> io::Result<()> {
    let mut writer = csv::Writer::from_writer(out);
    writer.write_record(columns.iter().map(|column| column.name))?;
    for record in records {
        writer.write_record(columns.iter().map(|column| cell((column.value)(record))))?;
    }
    writer.flush()
}

fn cell(value: Value) -> String {
    match value {
        Value::Text(text) => text,
        Value::Whole(number) => number.map_or_else(String::new, |n| n.to_string()),
        Value::Real(number) => number.map_or_else(String::new, |n| n.to_string()),
        Value::Truth(truth) => truth.to_string(),
        Value::List(numbers) => {
            let texts: Vec<String> = numbers.iter().map(i64::to_string).collect();
            texts.join(" ")
        }
    }
}
