//! Images in Parquet files are read with their classes, as Hugging Face's datasets write them.

use std::fs::File;
use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;

use datasets::{DataError, DataSpec, InputSpec, Splits};
use image::{ImageFormat, Rgb, RgbImage};
use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

const NESTED: &str = "message schema {
    optional group image { optional binary bytes; optional binary path (STRING); }
    optional int64 label;
}";
const FLAT: &str = "message schema { required binary image; required int64 label; }";
const CLASSES: &str = r#"{"info": {"features": {"image": {"_type": "Image"},
    "label": {"names": ["cat", "dog", "owl"], "_type": "ClassLabel"}}}}"#;

type Row = (Option<Vec<u8>>, Option<i64>);

fn picture(class: u8, number: u8) -> Vec<u8> {
    let image = RgbImage::from_fn(24, 20, |x, y| {
        Rgb([class * 60, (x * 9) as u8 ^ number, (y * 9) as u8])
    });
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// Rows `first..last`, the class of each its number modulo 3.
fn rows(first: u8, last: u8) -> Vec<Row> {
    let row = |i: u8| (Some(picture(i % 3, i)), Some(i64::from(i % 3)));
    (first..last).map(row).collect()
}

/// Writes rows in groups of `group`, each page with few of them.
fn write(path: &Path, (schema, compression): (&str, Compression), rows: &[Row], group: usize) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let info = KeyValue::new("huggingface".to_owned(), CLASSES.to_owned());
    let properties = WriterProperties::builder()
        .set_compression(compression)
        .set_data_page_row_count_limit(3)
        .set_write_batch_size(3)
        .set_key_value_metadata(Some(vec![info]))
        .build();
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let is_nested = schema.get_fields()[0].is_group();
    let file = File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties)).unwrap();
    for part in rows.chunks(group) {
        let mut group = writer.next_row_group().unwrap();
        let levels = |present: i16, is: fn(&Row) -> bool| -> Vec<i16> {
            part.iter()
                .map(|row| if is(row) { present } else { present - 1 })
                .collect()
        };
        let images = part
            .iter()
            .filter_map(|row| row.0.clone())
            .map(ByteArray::from);
        let images: Vec<ByteArray> = images.collect();
        let paths = vec![ByteArray::from("x.png"); images.len()];
        let (defined, labelled) = (
            levels(2, |row| row.0.is_some()),
            levels(1, |row| row.1.is_some()),
        );
        let bytes = if is_nested {
            vec![images, paths]
        } else {
            vec![images]
        };
        for values in bytes {
            let mut column = group.next_column().unwrap().unwrap();
            let typed = column.typed::<ByteArrayType>();
            let levels = is_nested.then_some(&defined[..]);
            typed.write_batch(&values, levels, None).unwrap();
            column.close().unwrap();
        }
        let labels: Vec<i64> = part.iter().filter_map(|row| row.1).collect();
        let mut column = group.next_column().unwrap().unwrap();
        let levels = is_nested.then_some(&labelled[..]);
        column
            .typed::<Int64Type>()
            .write_batch(&labels, levels, None)
            .unwrap();
        column.close().unwrap();
        group.close().unwrap();
    }
    writer.close().unwrap();
}

fn open(pattern: &Path, options: &str) -> Result<Splits, DataError> {
    let spec: DataSpec = format!("parquet:{}{options}", pattern.display()).parse()?;
    datasets::open(&spec, &InputSpec::preset("half", [3, 8, 8]).unwrap())
}

fn check_classes(splits: &Splits, names: &[&str]) {
    assert_eq!(splits.train.classes(), names);
    let mut out = vec![0.0; 3 * 8 * 8];
    for part in [&splits.train, &splits.search, &splits.test] {
        for index in (0..part.len()).rev() {
            part.decode(index, &mut out).unwrap();
            let class = part.label(index) as f32;
            assert!(
                (out[0] * 255.0 - class * 60.0).abs() < 1.0,
                "{index}: {} {class}",
                out[0]
            );
        }
    }
}

#[test]
fn every_row_of_every_file_is_read_with_its_class_whatever_the_columns_and_the_compression() {
    for (schema, compression) in [
        (NESTED, Compression::SNAPPY),
        (NESTED, Compression::UNCOMPRESSED),
        (FLAT, Compression::GZIP(Default::default())),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| dir.path().join("data").join(name);
        write(
            &file("train-00000-of-00002.parquet"),
            (schema, compression),
            &rows(0, 50),
            20,
        );
        write(
            &file("train-00001-of-00002.parquet"),
            (schema, compression),
            &rows(50, 90),
            17,
        );
        write(
            &file("test-00000-of-00001.parquet"),
            (schema, compression),
            &rows(90, 120),
            30,
        );
        let splits = open(&dir.path().join("data"), "").unwrap();
        assert_eq!(splits.train.len() + splits.search.len(), 90);
        assert_eq!(splits.test.len(), 30);
        check_classes(&splits, &["cat", "dog", "owl"]);
    }
}

#[test]
fn a_pattern_names_the_files_of_one_part() {
    let dir = tempfile::tempdir().unwrap();
    write(
        &dir.path().join("a-0.parquet"),
        (NESTED, Compression::SNAPPY),
        &rows(0, 30),
        10,
    );
    write(
        &dir.path().join("a-1.parquet"),
        (NESTED, Compression::SNAPPY),
        &rows(30, 60),
        10,
    );
    let splits = open(&dir.path().join("a-{0..1}.parquet"), "").unwrap();
    let parts = [&splits.train, &splits.search, &splits.test];
    assert_eq!(parts.iter().map(|part| part.len()).sum::<usize>(), 60);
    check_classes(&splits, &["cat", "dog", "owl"]);
}

#[test]
fn rows_that_cannot_be_used_are_named_and_left_out_up_to_a_share() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.parquet");
    let mut all: Vec<Row> = (0..4).flat_map(|_| rows(0, 120)).collect();
    all[7].0 = None;
    all[8].1 = Some(-1);
    all[9].0 = Some(b"no image".to_vec());
    all[10].0.as_mut().unwrap().truncate(60);
    write(&path, (NESTED, Compression::SNAPPY), &all, 100);
    let splits = open(&path, "").unwrap();
    let parts = [&splits.train, &splits.search, &splits.test];
    assert_eq!(parts.iter().map(|part| part.len()).sum::<usize>(), 476);
    let notes = splits.notes.reasons();
    for reason in [
        "without an image",
        "without a class number",
        "neither JPEG nor PNG",
    ] {
        assert!(notes.contains(reason), "{notes}");
    }
    assert!(
        notes.contains("row 9") && notes.contains("row 10"),
        "{notes}"
    );
    for row in &mut all[20..60] {
        row.0 = None;
    }
    write(&path, (NESTED, Compression::SNAPPY), &all, 100);
    let error = open(&path, "").unwrap_err().to_string();
    assert!(error.contains("without an image"), "{error}");
}

#[test]
fn what_is_no_file_of_images_by_class_is_named_with_what_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let check = |bytes: Option<&[u8]>, schema: &str, words: &[&str]| {
        let path = dir.path().join("x.parquet");
        match bytes {
            Some(bytes) => std::fs::write(&path, bytes).unwrap(),
            None => write(&path, (schema, Compression::SNAPPY), &rows(0, 30), 10),
        }
        let error = open(&path, "").unwrap_err().to_string();
        for word in words {
            assert!(error.contains(word), "{error}");
        }
        assert!(error.contains("x.parquet"), "{error}");
        std::fs::read(&path).unwrap()
    };
    check(
        None,
        &FLAT.replace("label", "age"),
        &["label", "image, age"],
    );
    check(
        None,
        &FLAT.replace("binary image", "binary sound"),
        &["image.bytes", "sound, label"],
    );
    let whole = check(None, &NESTED.replace("label", "x"), &["label"]);
    check(Some(b"PAR1"), FLAT, &[]);
    check(Some(&whole[..whole.len() / 2]), FLAT, &[]);
}

/// A file that was changed anywhere is an error or other data, never a panic.
#[test]
fn damaged_files_do_not_panic() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.parquet");
    write(&path, (NESTED, Compression::SNAPPY), &rows(0, 12), 5);
    let whole = std::fs::read(&path).unwrap();
    let mut out = vec![0.0; 3 * 8 * 8];
    for at in (0..whole.len())
        .step_by(whole.len() / 400 + 1)
        .chain(whole.len() - 600..whole.len())
    {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        std::fs::write(&path, &bytes).unwrap();
        if let Ok(splits) = open(&path, "") {
            for index in 0..splits.train.len() {
                let _ = splits.train.decode(index, &mut out);
            }
        }
    }
}
