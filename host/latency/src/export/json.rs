//! An array of objects.

use std::io::{self, Write};

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

use super::columns::{Column, Value};
use crate::Record;

struct Row<'a>(&'a Record, &'a [&'a Column]);

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.1.len()))?;
        for column in self.1 {
            match (column.value)(self.0) {
                Value::Text(text) => map.serialize_entry(column.name, &text)?,
                Value::Whole(number) => map.serialize_entry(column.name, &number)?,
                Value::Real(number) => map.serialize_entry(column.name, &number)?,
                Value::Truth(truth) => map.serialize_entry(column.name, &truth)?,
                Value::List(numbers) => map.serialize_entry(column.name, &numbers)?,
            }
        }
        map.end()
    }
}

pub(super) fn write(
    records: &[Record],
    columns: &[&Column],
    out: &mut impl Write,
) -> io::Result<()> {
    let mut serializer = serde_json::Serializer::pretty(&mut *out);
    let mut array = serializer.serialize_seq(Some(records.len()))?;
    for record in records {
        array.serialize_element(&Row(record, columns))?;
    }
    SerializeSeq::end(array)?;
    writeln!(out)
}
