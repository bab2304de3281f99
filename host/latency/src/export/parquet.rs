//! Apache Parquet.

use std::io::{self, Write};
use std::sync::Arc;

use parquet::basic::{ConvertedType, Repetition, Type as Physical};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::Result;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{Type, TypePtr};

use super::columns::{Column, Kind, Value};
use crate::Record;

pub(super) fn write(
    records: &[Record],
    columns: &[&Column],
    out: &mut (impl Write + Send),
) -> io::Result<()> {
    rows(records, columns, out).map_err(io::Error::other)
}

fn rows(records: &[Record], columns: &[&Column], out: &mut (impl Write + Send)) -> Result<()> {
    let fields = columns.iter().map(|column| field(column));
    let schema = Type::group_type_builder("measurement")
        .with_fields(fields.collect::<Result<_>>()?)
        .build()?;
    let properties = Arc::new(WriterProperties::default());
    let mut file = SerializedFileWriter::new(out, Arc::new(schema), properties)?;
    let mut group = file.next_row_group()?;
    for column in columns {
        let cells: Vec<Value> = records.iter().map(column.value).collect();
        write_column(&mut group, &cells, column.kind)?;
    }
    group.close()?;
    file.close().map(drop)
}

fn field(column: &Column) -> Result<TypePtr> {
    let (physical, repetition) = match column.kind {
        Kind::Text => (Physical::BYTE_ARRAY, Repetition::REQUIRED),
        Kind::Whole => (Physical::INT64, Repetition::OPTIONAL),
        Kind::Real => (Physical::DOUBLE, Repetition::OPTIONAL),
        Kind::Truth => (Physical::BOOLEAN, Repetition::REQUIRED),
        Kind::List => return list(column.name),
    };
    let builder = Type::primitive_type_builder(column.name, physical).with_repetition(repetition);
    let builder = match column.kind {
        Kind::Text => builder.with_converted_type(ConvertedType::UTF8),
        _ => builder,
    };
    Ok(Arc::new(builder.build()?))
}

/// The type of a list of required numbers, in the layout of the specification (LogicalTypes.md,
/// Lists).
fn list(name: &str) -> Result<TypePtr> {
    let element = Type::primitive_type_builder("element", Physical::INT64)
        .with_repetition(Repetition::REQUIRED)
        .build()?;
    let repeated = Type::group_type_builder("list")
        .with_repetition(Repetition::REPEATED)
        .with_fields(vec![Arc::new(element)])
        .build()?;
    let group = Type::group_type_builder(name)
        .with_repetition(Repetition::REQUIRED)
        .with_converted_type(ConvertedType::LIST)
        .with_fields(vec![Arc::new(repeated)])
        .build()?;
    Ok(Arc::new(group))
}

fn write_column<W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    cells: &[Value],
    kind: Kind,
) -> Result<()> {
    let Some(mut column) = group.next_column()? else {
        return Ok(());
    };
    match kind {
        Kind::Text => {
            let values: Vec<ByteArray> = each(cells, |cell| match cell {
                Value::Text(text) => Some(ByteArray::from(text.as_str())),
                _ => None,
            });
            column
                .typed::<ByteArrayType>()
                .write_batch(&values, None, None)?;
        }
        Kind::Truth => {
            let values: Vec<bool> = each(cells, |cell| match cell {
                Value::Truth(truth) => Some(*truth),
                _ => None,
            });
            column
                .typed::<BoolType>()
                .write_batch(&values, None, None)?;
        }
        Kind::Whole => {
            let values: Vec<i64> = each(cells, |cell| match cell {
                Value::Whole(number) => *number,
                _ => None,
            });
            column
                .typed::<Int64Type>()
                .write_batch(&values, Some(&present(cells)), None)?;
        }
        Kind::Real => {
            let values: Vec<f64> = each(cells, |cell| match cell {
                Value::Real(number) => *number,
                _ => None,
            });
            column
                .typed::<DoubleType>()
                .write_batch(&values, Some(&present(cells)), None)?;
        }
        Kind::List => {
            let (mut values, mut defined, mut repeated) = (Vec::new(), Vec::new(), Vec::new());
            for cell in cells {
                let Value::List(numbers) = cell else { continue };
                // An empty list has one undefined entry. In other lists all entries but the first
                // repeat.
                let count = numbers.len().max(1);
                defined.extend(std::iter::repeat_n(i16::from(!numbers.is_empty()), count));
                repeated.extend((0..count).map(|i| i16::from(i > 0)));
                values.extend_from_slice(numbers);
            }
            column
                .typed::<Int64Type>()
                .write_batch(&values, Some(&defined), Some(&repeated))?;
        }
    }
    column.close()
}

fn each<T>(cells: &[Value], value: impl Fn(&Value) -> Option<T>) -> Vec<T> {
    cells.iter().filter_map(value).collect()
}

/// The definition levels of an optional column.
fn present(cells: &[Value]) -> Vec<i16> {
    let missing = |cell: &Value| matches!(cell, Value::Whole(None) | Value::Real(None));
    cells.iter().map(|cell| i16::from(!missing(cell))).collect()
}
