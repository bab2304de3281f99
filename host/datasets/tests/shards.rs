//! Images in tar files are read where they lie, with their classes.

use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;

use datasets::{Augment, DataError, DataSpec, Dataset, InputSpec, Loader, LoaderConfig, Splits};
use image::{ImageFormat, Rgb, RgbImage};

/// A member of a shard.
type Member = (String, Vec<u8>);

fn image(class: u8, format: ImageFormat) -> Vec<u8> {
    let picture = RgbImage::from_fn(24, 20, |x, y| {
        Rgb([class * 60, (x * 9) as u8, (y * 9) as u8])
    });
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// Samples `first..last`, the class of each its number modulo 3. Labels are text or JSON, images
/// JPEG or PNG, by turns.
fn samples(first: u8, last: u8) -> Vec<Member> {
    let members = (first..last).flat_map(|i| {
        let class = i % 3;
        let (format, extension) = match i % 2 {
            0 => (ImageFormat::Jpeg, "jpg"),
            _ => (ImageFormat::Png, "png"),
        };
        let label = match i % 4 {
            0 | 1 => ("cls", class.to_string()),
            _ => ("json", format!("{{\"label\": {class}, \"of\": \"x\"}}")),
        };
        [
            (format!("p/s{i:03}.{extension}"), image(class, format)),
            (format!("p/s{i:03}.{}", label.0), label.1.into_bytes()),
        ]
    });
    members.collect()
}

fn shard(path: &Path, members: &[Member]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut builder = tar::Builder::new(std::fs::File::create(path).unwrap());
    for (name, bytes) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder
            .append_data(&mut header, name, bytes.as_slice())
            .unwrap();
    }
    builder.finish().unwrap();
}

fn input() -> InputSpec {
    InputSpec::preset("half", [3, 8, 8]).unwrap()
}

fn open(pattern: &Path) -> Result<Splits, DataError> {
    let spec: DataSpec = format!("wds:{}", pattern.display()).parse()?;
    datasets::open(&spec, &input())
}

fn pixels(data: &dyn Dataset, index: usize) -> Vec<f32> {
    let mut out = vec![0.0; 3 * 8 * 8];
    data.decode(index, &mut out).unwrap();
    out
}

#[test]
fn every_sample_of_every_shard_is_read_once_with_its_class() {
    let dir = tempfile::tempdir().unwrap();
    shard(&dir.path().join("a-000.tar"), &samples(0, 30));
    shard(&dir.path().join("a-001.tar"), &samples(30, 60));
    let splits = open(&dir.path().join("a-{000..001}.tar")).unwrap();
    let parts = [&splits.train, &splits.search, &splits.test];
    assert_eq!(parts.iter().map(|part| part.len()).sum::<usize>(), 60);
    assert_eq!(splits.train.classes(), ["0", "1", "2"]);
    for part in parts {
        for index in 0..part.len() {
            let red = pixels(&**part, index)[0] * 255.0;
            let class = part.label(index) as f32;
            assert!((red - class * 60.0).abs() < 12.0, "{red} {class}");
        }
    }
}

#[test]
fn an_image_in_a_shard_is_that_of_a_folder_with_the_same_file() {
    let dir = tempfile::tempdir().unwrap();
    let members = samples(0, 30);
    shard(&dir.path().join("t/train/x.tar"), &members);
    shard(&dir.path().join("t/test/x.tar"), &members);
    for part in ["train", "test"] {
        for (index, member) in members.iter().step_by(2).enumerate() {
            let folder = dir.path().join(format!("f/{part}/{}", index % 3));
            std::fs::create_dir_all(&folder).unwrap();
            let name = Path::new(&member.0).file_name().unwrap();
            std::fs::write(folder.join(name), &member.1).unwrap();
        }
    }
    let tars = open(&dir.path().join("t")).unwrap();
    let spec: DataSpec = format!("folder:{}", dir.path().join("f").display())
        .parse()
        .unwrap();
    let files = datasets::open(&spec, &input()).unwrap();
    let all = |data: &dyn Dataset| {
        let rows = (0..data.len()).map(|i| {
            let bits: Vec<u32> = pixels(data, i).iter().map(|v| v.to_bits()).collect();
            (data.label(i), bits)
        });
        let mut rows: Vec<_> = rows.collect();
        rows.sort();
        rows
    };
    assert_eq!(all(&*tars.test), all(&*files.test));
}

#[test]
fn the_parts_of_a_batch_are_the_whole_batch() {
    let dir = tempfile::tempdir().unwrap();
    shard(&dir.path().join("x.tar"), &samples(0, 60));
    let splits = open(dir.path()).unwrap();
    let config = LoaderConfig {
        batch: 10,
        augment: Augment {
            random_resized_crop: true,
            flip: true,
            ..Augment::none()
        },
        ..LoaderConfig::default()
    };
    let loader = Loader::new(Arc::clone(&splits.train), config).unwrap();
    for count in [2, 3, 4] {
        let whole: Vec<_> = loader.epoch(3).map(Result::unwrap).collect();
        let mut parts: Vec<_> = (0..count)
            .map(|i| loader.slice(i, count).epoch(3))
            .collect();
        for batch in whole {
            let (mut images, mut labels) = (Vec::new(), Vec::new());
            for part in &mut parts {
                let part = part.next().unwrap().unwrap();
                assert_eq!(
                    (part.whole, part.shape[0]),
                    (batch.labels.len(), part.labels.len())
                );
                images.extend(part.images);
                labels.extend(part.labels);
            }
            assert_eq!((images, labels), (batch.images, batch.labels));
        }
    }
}

#[test]
fn classes_have_the_names_of_the_file_beside_the_shards() {
    let dir = tempfile::tempdir().unwrap();
    shard(&dir.path().join("a-train-0.tar"), &samples(0, 30));
    shard(&dir.path().join("a-val-0.tar"), &samples(30, 36));
    std::fs::write(dir.path().join("classes.txt"), "cat\ndog\ncow\nowl\n").unwrap();
    let splits = open(dir.path()).unwrap();
    assert_eq!(splits.test.classes(), ["cat", "dog", "cow", "owl"]);
    assert_eq!(splits.test.len(), 6);
    std::fs::write(dir.path().join("classes.txt"), "cat\ndog\n").unwrap();
    let error = open(dir.path()).unwrap_err().to_string();
    assert!(
        error.contains("label 2") && error.contains("2 classes"),
        "{error}"
    );
}

#[test]
fn broken_images_are_named_and_left_out_up_to_one_in_a_hundred() {
    let dir = tempfile::tempdir().unwrap();
    let mut members = samples(0, 200);
    members[20].1.truncate(200);
    shard(&dir.path().join("x.tar"), &members);
    let splits = open(dir.path()).unwrap();
    assert_eq!(splits.notes.left_out(), 1);
    assert!(
        splits.notes.reasons().contains("s010.jpg"),
        "{}",
        splits.notes.reasons()
    );
    // Without a class, too, an image is of no use.
    members.remove(41);
    members.remove(60);
    shard(&dir.path().join("x.tar"), &members);
    let error = open(dir.path()).unwrap_err().to_string();
    assert!(
        error.contains("3 of 200") && error.contains("without a class number"),
        "{error}"
    );
}

#[test]
fn a_shard_that_is_none_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.tar");
    let check = |bytes: &[u8], part: &str| {
        std::fs::write(&path, bytes).unwrap();
        let error = open(&path).unwrap_err().to_string();
        assert!(error.contains("x.tar") && error.contains(part), "{error}");
    };
    check(&[7; 4096], "corrupt");
    check(&[], "no shard holds an image");
    shard(&path, &samples(0, 30));
    let whole = std::fs::read(&path).unwrap();
    check(&whole[..600], "ends after the file");
    shard(
        &path,
        &[
            ("a.jpg".into(), image(0, ImageFormat::Jpeg)),
            ("a.cls".into(), b"cat".to_vec()),
        ],
    );
    let whole = std::fs::read(&path).unwrap();
    check(&whole, "no class number");
}
