//! Every export format holds the contents of the store.

use std::path::{Path, PathBuf};

use latency::{Format, Key, Origin, Record, RuntimeOptions, Sampling, Store, Verdict, export};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row};

use crate::fixture::{device, measurement, model};

/// Two measurements: a complete candidate, and an invalid one without optional values and with
/// text that needs quoting.
fn records(folder: &Path) -> Vec<Record> {
    let mut store = Store::open(&folder.join("m.sqlite")).unwrap();
    let mut put = |name: &str, full: bool| {
        let (model, reference) = (model(name), model("reference"));
        let mut m = measurement(&model, full.then_some(&reference), full);
        if !full {
            m.verdict = Verdict::Invalid {
                reason: "a \"storm\",\nand wind".into(),
            };
            m.samples_ns = vec![4];
        }
        let key = Key::new(
            model.sha256(),
            full.then_some(reference.sha256()),
            &device(),
            &Sampling::default(),
            &RuntimeOptions::default(),
        );
        store
            .insert(&Origin::here(&device()), &[(key, &m)])
            .unwrap();
    };
    put("a, b", true);
    put("c", false);
    store.all().unwrap()
}

fn exported(format: Format, samples: bool) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out");
    export(&records(folder.path()), format, samples, &path).unwrap();
    (folder, path)
}

#[test]
fn csv_holds_every_column_with_quoting() {
    let (_folder, path) = exported(Format::Csv, true);
    let mut reader = csv::Reader::from_path(&path).unwrap();
    let head = reader.headers().unwrap().clone();
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    let cell = |row: usize, name: &str| {
        let column = head.iter().position(|n| n == name).unwrap();
        rows[row][column].to_owned()
    };
    assert_eq!(rows.len(), 2);
    assert_eq!(cell(0, "model_name"), "a, b");
    assert_eq!(cell(0, "median_ns"), "2");
    assert_eq!(cell(0, "ratio_ci95_high"), "0.6");
    assert_eq!(cell(0, "peak_memory_bytes"), "11");
    assert_eq!(cell(0, "samples_ns"), "1 2 3 2 2 2");
    assert_eq!(cell(1, "invalid_reason"), "a \"storm\",\nand wind");
    assert_eq!(cell(1, "valid"), "false");
    assert_eq!(cell(1, "ratio"), "");
    assert_eq!(cell(1, "samples_ns"), "4");
    for name in &head {
        let unit = ["_ns", "_bytes", "_millicelsius"]
            .iter()
            .any(|unit| name.ends_with(unit));
        let time = ["median", "min", "p5", "load", "taken"]
            .iter()
            .any(|time| name.starts_with(time));
        assert!(unit || !time, "{name} does not say its unit");
    }
}

#[test]
fn json_has_null_for_missing_values() {
    let (_folder, path) = exported(Format::Json, false);
    let rows: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!(rows[0]["ratio"], 0.5);
    assert_eq!(rows[0]["device"], device().id());
    assert_eq!(rows[0]["providers_asked"], "cpu");
    assert!(rows[1]["ratio"].is_null() && rows[1]["peak_memory_bytes"].is_null());
    assert_eq!(rows[1]["valid"], false);
    assert!(rows[0].get("samples_ns").is_none());
}

#[test]
fn parquet_is_readable_by_its_own_reader() {
    let (_folder, path) = exported(Format::Parquet, true);
    let reader = SerializedFileReader::new(std::fs::File::open(&path).unwrap()).unwrap();
    let rows: Vec<Row> = reader
        .get_row_iter(None)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let cell = |row: usize, name: &str| {
        let mut columns = rows[row].get_column_iter();
        columns.find(|(n, _)| *n == name).unwrap().1.clone()
    };
    assert_eq!(rows.len(), 2);
    assert_eq!(cell(0, "model_name"), Field::Str("a, b".into()));
    assert_eq!(cell(0, "median_ns"), Field::Double(2.0));
    assert_eq!(cell(0, "peak_memory_bytes"), Field::Long(11));
    assert_eq!(cell(1, "peak_memory_bytes"), Field::Null);
    assert_eq!(cell(1, "valid"), Field::Bool(false));
    let samples = |row| match cell(row, "samples_ns") {
        Field::ListInternal(list) => list.elements().to_vec(),
        other => panic!("{other:?}"),
    };
    assert_eq!(samples(0), [1, 2, 3, 2, 2, 2].map(Field::Long));
    assert_eq!(samples(1), [Field::Long(4)]);
}

#[test]
fn a_failed_export_leaves_the_old_file() {
    let folder = tempfile::tempdir().unwrap();
    let records = records(folder.path());
    let path = folder.path().join("missing/out.csv");
    let error = export(&records, Format::Csv, false, &path).unwrap_err();
    assert!(error.to_string().contains("missing/out.csv"), "{error}");
    // A folder of that name cannot be replaced, and no temporary file remains.
    let taken = folder.path().join("taken");
    std::fs::create_dir(&taken).unwrap();
    assert!(export(&records, Format::Csv, false, &taken).is_err());
    let left = std::fs::read_dir(folder.path()).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert!(
        !left
            .iter()
            .any(|name| name.to_string_lossy().ends_with(".tmp")),
        "{left:?}"
    );
}
