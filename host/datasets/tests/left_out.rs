//! Unusable files and doubtful data are counted, named and, beyond a limit, refused.

mod common;

use std::fs;
use std::path::Path;

use common::{idx, record};
use datasets::{DataSpec, InputSpec, Notes, Splits, open, open_with, verify};

/// Writes an image of noise, so that a JPEG of it has a body to truncate.
fn photo(path: &Path, seed: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let pixel = |x: u32, y: u32| {
        let mix = (x * 7919 + y * 104_729 + seed * 1_299_709) % 251;
        image::Rgb([mix as u8, (mix * 3 % 251) as u8, (x * 8) as u8])
    };
    let format = match path.extension().and_then(|e| e.to_str()) {
        Some("jpg" | "jpeg") => image::ImageFormat::Jpeg,
        _ => image::ImageFormat::Png,
    };
    image::RgbImage::from_fn(32, 32, pixel)
        .save_with_format(path, format)
        .unwrap();
}

/// Writes `count` images of each of two classes, alternating JPEG and PNG.
fn folder(dir: &Path, count: u32) {
    for (c, class) in ["cat", "dog"].iter().enumerate() {
        for i in 0..count {
            let kind = if i % 2 == 0 { "jpg" } else { "png" };
            photo(&dir.join(format!("{class}/{i}.{kind}")), i * 2 + c as u32);
        }
    }
}

fn spec(dir: &Path) -> DataSpec {
    format!("folder:{}", dir.display()).parse().unwrap()
}

fn rgb() -> InputSpec {
    InputSpec::preset("half", [3, 32, 32]).unwrap()
}

fn images(splits: &Splits) -> usize {
    splits.train.len() + splits.search.len() + splits.test.len()
}

/// Returns a JPEG with a thumbnail in its header, as written by cameras.
fn with_thumbnail(jpeg: &[u8], thumbnail: &[u8]) -> Vec<u8> {
    let mut out = jpeg[..2].to_vec();
    out.extend([0xff, 0xe1]);
    out.extend(((thumbnail.len() + 2) as u16).to_be_bytes());
    out.extend(thumbnail);
    out.extend(&jpeg[2..]);
    out
}

/// Adds `bytes` as `name` to 2 x 10 usable images. The file must be left out for a reason
/// containing `reason`, or be used if there is none.
fn check(name: &str, bytes: &[u8], reason: Option<&str>) {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    folder(dir, 10);
    fs::write(dir.join("cat").join(name), bytes).unwrap();
    let Some(reason) = reason else {
        let splits = open(&spec(dir), &rgb()).unwrap();
        assert_eq!(images(&splits), 21, "{name}");
        assert_eq!(
            splits.notes,
            Notes {
                files: 21,
                ..Notes::default()
            }
        );
        for part in [&splits.train, &splits.search, &splits.test] {
            verify(&**part).unwrap();
        }
        return;
    };
    let error = open(&spec(dir), &rgb()).unwrap_err().to_string();
    for part in ["1 of 21", reason, name, "--allow-skipped"] {
        assert!(error.contains(part), "{name}: no '{part}' in: {error}");
    }
    let splits = open_with(&spec(dir), &rgb(), true).unwrap();
    assert_eq!(images(&splits), 20, "{name}");
    assert_eq!(splits.notes.left_out(), 1);
    let skipped = &splits.notes.skipped[0];
    assert!(skipped.reason.contains(reason), "{skipped}");
    assert!(skipped.examples[0].ends_with(name), "{skipped}");
}

#[test]
fn truncated_images_are_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    photo(&path("a.jpg"), 500);
    photo(&path("a.png"), 500);
    let jpeg = fs::read(path("a.jpg")).unwrap();
    let png = fs::read(path("a.png")).unwrap();
    let half = |bytes: &[u8]| bytes[..bytes.len() / 2].to_vec();
    check("half.jpg", &half(&jpeg), Some("cut-off JPEG"));
    check("half.png", &half(&png), Some("cut-off PNG"));
    check("nearly.jpg", &jpeg[..jpeg.len() - 2], Some("cut-off JPEG"));
    check("nearly.png", &png[..png.len() - 12], Some("cut-off PNG"));
    check("head.jpg", &jpeg[..10], Some("cut-off JPEG"));
    // The end marker of a thumbnail is not that of the image.
    let camera = with_thumbnail(&jpeg, &jpeg);
    check("camera.jpg", &camera, None);
    check(
        "half camera.jpg",
        &camera[..camera.len() - 40],
        Some("cut-off JPEG"),
    );
    // Cameras append data after the end.
    check(
        "trailer.jpg",
        &[&jpeg[..], b"made by a camera"].concat(),
        None,
    );
    check("trailer.png", &[&png[..], b"and more"].concat(), None);
}

#[test]
fn other_formats_and_mismatched_names_are_recognised_by_content() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    photo(&path("a.jpg"), 500);
    photo(&path("a.png"), 500);
    let jpeg = fs::read(path("a.jpg")).unwrap();
    let png = fs::read(path("a.png")).unwrap();
    check("a.webp", b"RIFF\x20\0\0\0WEBPVP8 0123456789", Some("WebP"));
    check(
        "a webp.jpg",
        b"RIFF\x20\0\0\0WEBPVP8 0123456789",
        Some("WebP"),
    );
    check("a.gif", b"GIF89a\x01\0\x01\0", Some("GIF"));
    check("a.bmp", b"BM\x46\0\0\0\0\0\0\0", Some("BMP"));
    check("a.tiff", b"II*\0\x08\0\0\0", Some("TIFF"));
    check("a.heic", b"\0\0\0\x18ftypheic", Some(".heic"));
    check("text.jpg", b"no image", Some("hold no JPEG or PNG"));
    check("empty.png", b"", Some("empty"));
    check("noname", &jpeg, Some("without an image's extension"));
    // For names of images the content decides.
    check("really a png.jpg", &png, None);
    check("really a jpeg.png", &jpeg, None);
    check("LOUD.JPG", &jpeg, None);
}

#[test]
fn other_files_are_named_and_do_not_count() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    folder(dir, 10);
    fs::write(dir.join("cat/labels.txt"), "cats").unwrap();
    fs::write(dir.join("cat/.DS_Store"), "hidden").unwrap();
    let splits = open(&spec(dir), &rgb()).unwrap();
    assert_eq!((images(&splits), splits.notes.left_out()), (20, 0));
    assert!(splits.notes.others[0].examples[0].ends_with("labels.txt"));
}

#[test]
fn images_beside_and_below_class_folders_are_reported() {
    for (path, reason) in [
        ("stray.png", "outside of any class folder"),
        ("cat/more/deep/1.png", "inside a class folder"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        folder(dir.path(), 10);
        photo(&dir.path().join(path), 999);
        let error = open(&spec(dir.path()), &rgb()).unwrap_err().to_string();
        assert!(
            error.contains(reason) && error.contains("1 of 21"),
            "{error}"
        );
    }
}

#[test]
fn one_in_a_hundred_may_be_unusable() {
    for (bad, fine) in [(2, true), (3, false)] {
        let dir = tempfile::tempdir().unwrap();
        folder(dir.path(), 100);
        for i in 0..bad {
            fs::write(
                dir.path().join(format!("dog/bad{i}.webp")),
                b"RIFF\x20\0\0\0WEBPVP8 ",
            )
            .unwrap();
        }
        let opened = open(&spec(dir.path()), &rgb());
        assert_eq!(opened.is_ok(), fine, "{bad} of {}", 200 + bad);
        if let Ok(splits) = opened {
            assert_eq!(splits.notes.left_out(), bad);
        }
    }
}

#[test]
fn a_class_of_unusable_images_is_an_error_with_reasons() {
    let dir = tempfile::tempdir().unwrap();
    folder(dir.path(), 4);
    fs::create_dir(dir.path().join("emu")).unwrap();
    fs::write(dir.path().join("emu/1.webp"), b"RIFF\x20\0\0\0WEBPVP8 ").unwrap();
    let error = open_with(&spec(dir.path()), &rgb(), true)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("emu") && error.contains("1 WebP images"),
        "{error}"
    );
}

/// Every one of `parts` must occur in a warning; without parts there must be no warning.
#[track_caller]
fn check_warned(splits: &Splits, parts: &[&str]) {
    let warnings = &splits.notes.warnings;
    for part in parts {
        assert!(
            warnings.iter().any(|w| w.contains(part)),
            "no '{part}' in {warnings:?}"
        );
    }
    assert_eq!(warnings.is_empty(), parts.is_empty(), "{warnings:?}");
}

#[test]
fn empty_classes_and_duplicate_images_cause_warnings() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    folder(&dir.join("train"), 20);
    for i in 0..6 {
        photo(&dir.join(format!("test/cat/{i}.png")), 900 + i);
        photo(&dir.join(format!("test/dog/{i}.png")), 950 + i);
    }
    check_warned(&open(&spec(dir), &rgb()).unwrap(), &[]);
    // Copies under other names, in the test part and in another class.
    for i in 0..20 {
        let (from, to) = (format!("train/cat/{i}"), format!("test/cat/again{i}"));
        let kind = if i % 2 == 0 { "jpg" } else { "png" };
        fs::copy(
            dir.join(format!("{from}.{kind}")),
            dir.join(format!("{to}.{kind}")),
        )
        .unwrap();
        let other = format!("train/dog/again{i}.{kind}");
        fs::copy(dir.join(format!("{from}.{kind}")), dir.join(other)).unwrap();
    }
    let splits = open(&spec(dir), &rgb()).unwrap();
    check_warned(
        &splits,
        &["test split are training images", "more than one class"],
    );
    for part in ["train", "test"] {
        photo(&dir.join(part).join("owl/0.png"), 990);
    }
    fs::remove_dir_all(dir.join("test/dog")).unwrap();
    check_warned(
        &open(&spec(dir), &rgb()).unwrap(),
        &["1 of 3 classes have no test image (first: 'dog')"],
    );
}

#[test]
fn array_data_is_checked_for_the_same_faults() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let records = |labels: std::ops::Range<u8>, from: u8| -> Vec<u8> {
        (0..40u8)
            .flat_map(|i| record(labels.start + i % (labels.end - labels.start), from + i))
            .collect()
    };
    fs::write(dir.join("data_batch_1.bin"), records(0..10, 0)).unwrap();
    fs::write(dir.join("test_batch.bin"), records(0..10, 100)).unwrap();
    let opened = |text: &str| {
        let spec: DataSpec = format!("{text}:{}", dir.display()).parse().unwrap();
        open(&spec, &InputSpec::preset("unit", [3, 32, 32]).unwrap()).unwrap()
    };
    check_warned(&opened("cifar10"), &[]);
    fs::write(dir.join("test_batch.bin"), records(0..10, 0)).unwrap();
    check_warned(
        &opened("cifar10"),
        &["of the test split are training images"],
    );
    fs::write(dir.join("test_batch.bin"), records(0..9, 100)).unwrap();
    check_warned(
        &opened("cifar10"),
        &["1 of 10 classes have no test image (first: 'truck')"],
    );
}

#[test]
fn missing_records_are_an_error_if_a_header_counts_them() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let put = |name: &str, bytes: &[u8]| fs::write(dir.join(name), bytes).unwrap();
    let images = idx(
        0x803,
        &[40, 4, 4],
        &(0..640).map(|i| i as u8).collect::<Vec<_>>(),
    );
    let labels = idx(0x801, &[40], &(0..40).map(|i| i % 10).collect::<Vec<u8>>());
    for part in ["train", "t10k"] {
        put(&format!("{part}-images-idx3-ubyte"), &images);
        put(&format!("{part}-labels-idx1-ubyte"), &labels);
    }
    let opened = || {
        let spec: DataSpec = format!("mnist:{}", dir.display()).parse().unwrap();
        open(&spec, &InputSpec::preset("mnist", [1, 4, 4]).unwrap())
    };
    opened().unwrap();
    for cut in [images.len() - 16, images.len() / 2, 16, 15, 1, 0] {
        put("train-images-idx3-ubyte", &images[..cut]);
        let error = opened().unwrap_err().to_string();
        assert!(error.contains("train-images-idx3-ubyte"), "{cut}: {error}");
    }
    put("train-images-idx3-ubyte", &[&images[..], &[0; 16]].concat());
    assert!(opened().is_err(), "more records than in the header");
}

#[test]
fn a_grey_model_gets_a_folder_in_grey() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    for (class, shade) in [("dark", 40u8), ("light", 200)] {
        for i in 0..10u8 {
            let path = dir.join(format!("{class}/{i}.png"));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            image::GrayImage::from_pixel(20, 20, image::Luma([shade + i]))
                .save(path)
                .unwrap();
        }
    }
    let splits = open(&spec(dir), &InputSpec::preset("unit", [1, 16, 16]).unwrap()).unwrap();
    assert_eq!(splits.train.image_shape(), [1, 16, 16]);
    let mut image = vec![0.0; 256];
    for i in 0..splits.train.len() {
        splits.train.decode(i, &mut image).unwrap();
        let dark = splits.train.label(i) == 0;
        assert!(
            image.iter().all(|&v| (v < 0.3) == dark && v > 0.1),
            "{image:?}"
        );
    }
    let error = InputSpec::preset("imagenet", [1, 16, 16])
        .unwrap_err()
        .to_string();
    for part in [
        "imagenet",
        "3 values",
        "1 channel",
        "--normalise",
        "mnist",
        "half",
    ] {
        assert!(error.contains(part), "no '{part}' in: {error}");
    }
    assert!(!error.contains("1 or 1"), "{error}");
}
