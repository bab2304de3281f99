//! Broken data is refused with an error that names the file, class or option.

mod common;

use std::{fs, io::Write, path::Path};

use common::{idx, record, write_image};
use datasets::{DataError, DataSpec, InputSpec, open, verify};

fn opened(data: &str, dir: &Path, input: &InputSpec) -> Result<datasets::Splits, DataError> {
    let spec: DataSpec = data.replace("DIR", dir.to_str().unwrap()).parse()?;
    open(&spec, input)
}

fn rgb() -> InputSpec {
    InputSpec::preset("half", [3, 32, 32]).unwrap()
}

fn grey() -> InputSpec {
    InputSpec::preset("mnist", [1, 4, 4]).unwrap()
}

#[track_caller]
fn check(data: &str, dir: &Path, input: &InputSpec, parts: &[&str]) {
    let error = opened(data, dir, input).expect_err("accepted").to_string();
    for part in parts {
        assert!(error.contains(part), "'{part}' is not in: {error}");
    }
}

#[test]
fn broken_cifar_files_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let (train, test) = (dir.join("data_batch_1.bin"), dir.join("test_batch.bin"));
    check("cifar10:DIR/nowhere", dir, &rgb(), &["nowhere", "missing"]);
    check("cifar10:DIR", dir, &rgb(), &["data_batch_1.bin", "missing"]);
    let good: Vec<u8> = (0..40).flat_map(|i| record(i % 10, i)).collect();
    fs::write(&train, &good).unwrap();
    check("cifar10:DIR", dir, &rgb(), &["test_batch.bin", "missing"]);
    fs::write(&test, &good[..5000]).unwrap();
    check(
        "cifar10:DIR",
        dir,
        &rgb(),
        &["test_batch.bin", "5000", "3073"],
    );
    fs::write(&test, record(10, 0)).unwrap();
    check(
        "cifar10:DIR",
        dir,
        &rgb(),
        &["test_batch.bin", "record 0", "label 10", "10 classes"],
    );
    fs::write(&test, &good).unwrap();
    opened("cifar10:DIR", dir, &rgb()).unwrap();
    check(
        "cifar10:DIR,search=40",
        dir,
        &rgb(),
        &["search=40", "empty"],
    );
    fs::write(dir.join("batches.meta.txt"), "one\ntwo\n").unwrap();
    check(
        "cifar10:DIR",
        dir,
        &rgb(),
        &["batches.meta.txt", "2 class names"],
    );
}

#[test]
fn broken_idx_files_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let images = |count: u32| idx(0x803, &[count, 4, 4], &vec![7; count as usize * 16]);
    let labels = |count: u32| {
        idx(
            0x801,
            &[count],
            &(0..count).map(|i| (i % 10) as u8).collect::<Vec<_>>(),
        )
    };
    let put = |name: &str, bytes: Vec<u8>| fs::write(dir.join(name), bytes).unwrap();
    check(
        "mnist:DIR",
        dir,
        &grey(),
        &["train-images-idx3-ubyte", "missing"],
    );
    put("train-images-idx3-ubyte", images(40));
    put("train-labels-idx1-ubyte", labels(40));
    put("t10k-images-idx3-ubyte", images(20));
    put("t10k-labels-idx1-ubyte", labels(20));
    opened("mnist:DIR", dir, &grey()).unwrap();

    put("t10k-labels-idx1-ubyte", labels(19));
    check(
        "mnist:DIR",
        dir,
        &grey(),
        &["t10k-labels", "19 labels", "20 images"],
    );
    put("t10k-labels-idx1-ubyte", idx(0x801, &[20], &[11; 20]));
    check("mnist:DIR", dir, &grey(), &["t10k-labels", "label 11"]);
    put("t10k-labels-idx1-ubyte", images(20));
    check(
        "mnist:DIR",
        dir,
        &grey(),
        &["t10k-labels", "0x00000803", "0x00000801"],
    );
    put("t10k-labels-idx1-ubyte", labels(20)[..20].to_vec());
    check("mnist:DIR", dir, &grey(), &["t10k-labels", "truncated"]);
    put("t10k-labels-idx1-ubyte", vec![0, 0]);
    check("mnist:DIR", dir, &grey(), &["t10k-labels", "no header"]);
    put(
        "t10k-images-idx3-ubyte",
        idx(0x803, &[u32::MAX, u32::MAX, u32::MAX], &[0; 16]),
    );
    put("t10k-labels-idx1-ubyte", labels(20));
    check("mnist:DIR", dir, &grey(), &["t10k-images", "truncated"]);

    let mut zip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    zip.write_all(&images(20)).unwrap();
    let mut zipped = zip.finish().unwrap();
    fs::remove_file(dir.join("t10k-images-idx3-ubyte")).unwrap();
    put("t10k-images-idx3-ubyte.gz", zipped.clone());
    opened("mnist:DIR", dir, &grey()).unwrap();
    let middle = zipped.len() - 6;
    zipped[middle] ^= 0xff;
    put("t10k-images-idx3-ubyte.gz", zipped.clone());
    check(
        "mnist:DIR",
        dir,
        &grey(),
        &["t10k-images-idx3-ubyte.gz", "corrupt"],
    );
    zipped.truncate(12);
    put("t10k-images-idx3-ubyte.gz", zipped);
    check(
        "mnist:DIR",
        dir,
        &grey(),
        &["t10k-images-idx3-ubyte.gz", "corrupt"],
    );
}

#[test]
fn broken_image_folders_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    check("folder:DIR/nowhere", dir, &rgb(), &["nowhere", "missing"]);
    check("folder:DIR", dir, &rgb(), &["0 class folders"]);
    for class in ["cat", "dog"] {
        for i in 0..10 {
            write_image(
                &dir.join(format!("{class}/{i}.png")),
                40,
                50,
                [i * 20, 0, 255],
            );
        }
    }
    let splits = opened("folder:DIR", dir, &rgb()).unwrap();
    assert_eq!(
        (splits.train.len(), splits.search.len(), splits.test.len()),
        (14, 2, 4)
    );
    fs::create_dir(dir.join("emu")).unwrap();
    check("folder:DIR", dir, &rgb(), &["emu", "no JPEG or PNG"]);
    fs::write(dir.join("emu/readme.txt"), "no image").unwrap();
    check("folder:DIR", dir, &rgb(), &["emu", "no JPEG or PNG"]);
    fs::write(dir.join("emu/1.jpg"), "no image").unwrap();
    check("folder:DIR", dir, &rgb(), &["emu", "1.jpg", "hold no JPEG"]);
    fs::remove_dir_all(dir.join("emu")).unwrap();
    // Only decoding reveals this fault.
    let mut inside = fs::read(dir.join("cat/3.png")).unwrap();
    let middle = inside.len() / 2;
    inside[middle] ^= 0xff;
    fs::write(dir.join("cat/3.png"), inside).unwrap();
    let splits = opened("folder:DIR", dir, &rgb()).unwrap();
    let errors: Vec<String> = [splits.train, splits.search, splits.test]
        .iter()
        .filter_map(|part| verify(&**part).err().map(|e| e.to_string()))
        .collect();
    assert!(
        errors.len() == 1 && errors[0].contains("3.png"),
        "{errors:?}"
    );

    for part in ["train/cat", "train/dog", "test/cat", "test/emu"] {
        write_image(&dir.join(format!("whole/{part}/1.png")), 40, 50, [9; 3]);
    }
    check(
        "folder:DIR/whole",
        dir,
        &rgb(),
        &["emu", "training classes"],
    );
}

#[test]
fn data_of_another_shape_than_the_model_is_refused_with_both_shapes() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let records: Vec<u8> = (0..40).flat_map(|i| record(i % 10, i)).collect();
    fs::write(dir.join("data_batch_1.bin"), &records).unwrap();
    fs::write(dir.join("test_batch.bin"), &records).unwrap();
    let input = |shape| InputSpec::preset("unit", shape).unwrap();
    check(
        "cifar10:DIR",
        dir,
        &input([3, 96, 96]),
        &["96x96", "32x32", "resize=96", "pad=96"],
    );
    check(
        "cifar10:DIR",
        dir,
        &input([3, 16, 16]),
        &["16x16", "32x32", "resize=16 "],
    );
    check(
        "cifar10:DIR",
        dir,
        &input([1, 32, 32]),
        &["1 channel of 32x32", "3 channels of 32x32"],
    );
    check(
        "cifar10:DIR,pad=16",
        dir,
        &input([3, 16, 16]),
        &["pad=16", "resize=16"],
    );
    check(
        "shapes",
        dir,
        &input([1, 32, 32]),
        &["1 channel ", "3 channels"],
    );
    check(
        "shapes:resize=64",
        dir,
        &input([3, 32, 32]),
        &["resize", "rendered"],
    );
    check("shapes", dir, &input([3, 8, 8]), &["16 x 16"]);
    check(
        "folder:DIR",
        dir,
        &input([4, 32, 32]),
        &["4 channels ", "3 channels"],
    );
    let resized = opened("cifar10:DIR,resize=96", dir, &input([3, 96, 96])).unwrap();
    assert_eq!(resized.test.image_shape(), [3, 96, 96]);
    let mut image = vec![0.0; 3 * 96 * 96];
    resized.test.decode(39, &mut image).unwrap();
    assert!(image.iter().all(|&v| (v - 39.0 / 255.0).abs() < 1e-6));
}
