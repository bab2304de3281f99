//! Photos become the same input as with Pillow, OpenCV and NumPy. `data/preprocessing.py` writes
//! the expected values.

use std::path::Path;

use datasets::{
    Augment, DataSpec, Dataset, FolderDataset, InputSpec, Loader, LoaderConfig, Preprocessing,
    Preset, Splits, Targets, TensorSpec, Wanted, open, open_samples,
};
use serde::Deserialize;

const SIDE: usize = 8;

/// What Python makes of the photo.
#[derive(Deserialize)]
struct Case {
    name: String,
    settings: String,
    channels: usize,
    values: Vec<f32>,
}

fn cases() -> Vec<Case> {
    serde_json::from_str(include_str!("data/preprocessing.json")).unwrap()
}

/// The photo of the script, by its formula.
fn photo() -> image::RgbImage {
    image::RgbImage::from_fn(61, 45, |x, y| {
        let red = (x * x / 13 + 3 * y) % 256;
        let green = (5 * x + y * y / 9) % 256;
        let blue = if (x / 8 + y / 6) % 2 == 0 { 220 } else { 30 };
        image::Rgb([red as u8, green as u8, blue])
    })
}

/// The photo in each of two classes, several times.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for class in ["a", "b"] {
        std::fs::create_dir(folder.path().join(class)).unwrap();
        for number in 0..5 {
            let path = folder.path().join(format!("{class}/{number}.png"));
            photo().save(path).unwrap();
        }
    }
    folder
}

fn settings(text: &str) -> Preprocessing {
    toml::from_str(text).unwrap()
}

fn normalised(data: &dyn Dataset) -> Vec<f32> {
    let mut values = vec![0.0; data.image_shape().iter().product()];
    data.decode(0, &mut values).unwrap();
    data.input().normalise(&mut values);
    values
}

/// At most two grey levels lie between the values and the expected ones.
fn check(name: &str, input: &InputSpec, values: &[f32], expected: &[f32]) {
    assert_eq!(values.len(), expected.len(), "{name}");
    let plane = input.height * input.width;
    for (at, (value, expected)) in values.iter().zip(expected).enumerate() {
        let std = &input.normalise.std;
        let std = std.get(at / plane).unwrap_or(&std[0]);
        let level = 1.0 / (input.normalise.scale * std);
        let levels = (value - expected).abs() / level;
        assert!(
            levels < 2.01,
            "{name}: {value} at {at}, not {expected}: {levels}"
        );
    }
}

fn samples(dir: &Path, of: Preprocessing, channels: usize) -> Splits {
    let wanted = Wanted {
        inputs: vec![TensorSpec {
            name: "x".into(),
            dims: vec![channels, SIDE, SIDE],
            integers: false,
        }],
        targets: Targets::None,
        preprocessing: of,
        preset: Preset::Unit,
    };
    let spec: DataSpec = format!("images:{}", dir.display()).parse().unwrap();
    open_samples(&spec, &wanted).unwrap()
}

#[test]
fn a_photo_becomes_what_python_makes_of_it() {
    let folder = folder();
    for case in cases() {
        let settings = settings(&case.settings);
        let input = settings.input(Preset::Unit, [case.channels, SIDE, SIDE]);
        let input = input.unwrap();
        let by_class = FolderDataset::open(folder.path(), None, &input).unwrap();
        check(&case.name, &input, &normalised(&by_class), &case.values);
        let splits = samples(folder.path(), settings, case.channels);
        let samples = normalised(splits.train.as_ref());
        check(&case.name, &input, &samples, &case.values);
    }
}

#[test]
fn an_array_of_images_becomes_what_python_makes_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let planes = |channel: usize| photo().pixels().map(|pixel| pixel.0[channel]).collect();
    // An IDX file holds grey images: each channel of the photo is one.
    for case in cases().iter().filter(|case| case.name == "opencv") {
        for (channel, expected) in case.values.chunks(SIDE * SIDE).enumerate() {
            let image: Vec<u8> = planes(channel);
            for part in ["train", "t10k"] {
                let file = |name: &str| folder.path().join(format!("{part}-{name}-ubyte"));
                let mut images = vec![0, 0, 8, 3, 0, 0, 0, 4, 0, 0, 0, 45, 0, 0, 0, 61];
                images.extend(image.repeat(4));
                std::fs::write(file("images-idx3"), images).unwrap();
                let labels = [0, 0, 8, 1, 0, 0, 0, 4, 0, 1, 0, 1];
                std::fs::write(file("labels-idx1"), labels).unwrap();
            }
            let spec = format!("idx:{},search=1", folder.path().display());
            let input = settings(&case.settings).input(Preset::Unit, [1, SIDE, SIDE]);
            let input = input.unwrap();
            let splits = open(&spec.parse().unwrap(), &input).unwrap();
            let values = normalised(splits.train.as_ref());
            check(&case.name, &input, &values, expected);
        }
    }
}

#[test]
fn generated_images_become_grey_where_that_is_asked_for() {
    let spec: DataSpec = "shapes:train=20,test=10,seed=1".parse().unwrap();
    let input = |text: &str, channels: usize| {
        let input = settings(text).input(Preset::Unit, [channels, 16, 16]);
        open(&spec, &input.unwrap())
    };
    let one = normalised(input("grey = true", 1).unwrap().train.as_ref());
    let three = normalised(input("grey = true", 3).unwrap().train.as_ref());
    assert_eq!(three, one.repeat(3));
    let colours = normalised(input("", 3).unwrap().train.as_ref());
    for (at, &grey) in one.iter().enumerate() {
        let [r, g, b] = [0, 1, 2].map(|c| colours[c * 256 + at]);
        let luma = 0.299 * r + 0.587 * g + 0.114 * b;
        assert!((grey - luma).abs() < 0.004, "{grey} {luma}");
    }
    assert!(input("", 1).is_err());
    let error = input("resize = 20", 3).unwrap_err().to_string();
    assert!(error.contains("rendered at the size"), "{error}");
}

#[test]
fn augmented_images_keep_the_padding_and_the_order_of_channels() {
    let folder = folder();
    let of = settings("fit = 'letterbox'\npad = 7\nscale = 1\norder = 'bgr'\ngrey = true");
    let input = of.input(Preset::Unit, [3, SIDE, SIDE]).unwrap();
    let data = FolderDataset::open(folder.path(), None, &input).unwrap();
    let config = LoaderConfig {
        batch: 10,
        augment: Augment {
            random_resized_crop: true,
            flip: true,
            ..Augment::none()
        },
        ..LoaderConfig::default()
    };
    let loader = Loader::new(std::sync::Arc::new(data), config).unwrap();
    let mut padded = 0;
    for batch in loader.epoch(0) {
        for image in batch.unwrap().images.chunks(3 * SIDE * SIDE) {
            let (blue, rest) = image.split_at(SIDE * SIDE);
            assert_eq!(blue, &rest[..SIDE * SIDE], "grey in all channels");
            let is_padded = |row: usize| {
                let row = &blue[row * SIDE..][..SIDE];
                row.iter().all(|value| (value - 7.0).abs() < 1e-3)
            };
            padded += usize::from(is_padded(0));
            assert!(!is_padded(SIDE / 2), "{blue:?}");
        }
    }
    assert!(padded > 0, "the photo is wider than high");
}

#[test]
fn a_mask_lies_where_its_image_lies() {
    let folder = tempfile::tempdir().unwrap();
    for part in ["images", "masks"] {
        std::fs::create_dir(folder.path().join(part)).unwrap();
    }
    // The right half is white, and of class 1.
    for number in 0..10 {
        let name = format!("{number}.png");
        let half = |white: u8| move |x: u32, _: u32| image::Luma([white * u8::from(x >= 16)]);
        let image = image::GrayImage::from_fn(32, 16, half(255));
        image
            .save(folder.path().join("images").join(&name))
            .unwrap();
        let mask = image::GrayImage::from_fn(32, 16, half(1));
        mask.save(folder.path().join("masks").join(&name)).unwrap();
    }
    let check = |text: &str, expected: &str| {
        let wanted = Wanted {
            inputs: vec![TensorSpec {
                name: "x".into(),
                dims: vec![1, SIDE, SIDE],
                integers: false,
            }],
            targets: Targets::Mask {
                output: "y".into(),
                dims: vec![SIDE, SIDE],
                classes: 2,
            },
            preprocessing: settings(text),
            preset: Preset::Unit,
        };
        let spec = format!("images:{}", folder.path().display());
        let splits = open_samples(&spec.parse().unwrap(), &wanted).unwrap();
        let mut mask = vec![0.0; SIDE * SIDE];
        splits.train.target(0, &mut mask).unwrap();
        let column = |row: usize| -> String {
            let row = mask[row * SIDE..][..SIDE].iter();
            row.map(|&class| match class {
                0.0 => '0',
                1.0 => '1',
                255.0 => '-',
                _ => '?',
            })
            .collect()
        };
        let rows: Vec<String> = [0, SIDE / 2].into_iter().map(column).collect();
        assert_eq!(rows.join(" "), expected, "{text}");
    };
    check("", "00001111 00001111");
    check("fit = 'stretch'", "00001111 00001111");
    check("fit = 'letterbox'", "-------- 00001111");
    check("resize = 12", "00001111 00001111");
    check("resize = '4x4'", "-------- --0011--");
}
