//! Tests on real data sets, if available.

mod common;

use std::path::Path;

use common::{histogram, real_data};
use datasets::{DataSpec, InputSpec, Loader, LoaderConfig, Splits, open, verify};

fn opened(kind: &str, dir: &Path, options: &str, preset: &str, shape: [usize; 3]) -> Splits {
    let spec: DataSpec = format!("{kind}:{}{options}", dir.display())
        .parse()
        .unwrap();
    open(&spec, &InputSpec::preset(preset, shape).unwrap()).unwrap()
}

#[test]
fn cifar10_has_its_published_class_counts_and_an_even_search_split() {
    let Some(dir) = real_data("cifar10-small") else {
        return;
    };
    let splits = opened("cifar10", &dir, "", "cifar10", [3, 32, 32]);
    let (train, search, test) = (
        histogram(&*splits.train),
        histogram(&*splits.search),
        histogram(&*splits.test),
    );
    let whole: Vec<usize> = train.iter().zip(&search).map(|(a, b)| a + b).collect();
    assert_eq!(
        whole,
        [1005, 974, 1032, 1016, 999, 937, 1030, 1001, 1025, 981]
    );
    assert_eq!(test, [196, 198, 195, 199, 198, 185, 216, 193, 217, 203]);
    assert_eq!(search.iter().sum::<usize>(), 1000);
    for (part, whole) in search.iter().zip(&whole) {
        assert!((*part as f64 - *whole as f64 * 0.1).abs() <= 1.0);
    }
    assert_eq!(splits.train.classes()[6], "frog");
    assert_eq!(
        splits.train.identity(),
        opened("cifar10", &dir, "", "cifar10", [3, 32, 32])
            .train
            .identity()
    );
    assert_ne!(
        splits.train.identity(),
        opened("cifar10", &dir, ",seed=1", "cifar10", [3, 32, 32])
            .train
            .identity()
    );
}

#[test]
fn cifar10_pixels_have_the_published_mean() {
    let Some(dir) = real_data("cifar10-small") else {
        return;
    };
    let splits = opened("cifar10", &dir, "", "none255", [3, 32, 32]);
    let loader = Loader::new(splits.train, LoaderConfig::evaluation(500)).unwrap();
    let (mut sums, mut count) = ([0.0f64; 3], 0.0);
    for batch in loader.epoch(0) {
        for image in batch.unwrap().images.chunks_exact(3072) {
            for (sum, plane) in sums.iter_mut().zip(image.chunks_exact(1024)) {
                *sum += plane.iter().map(|&v| f64::from(v)).sum::<f64>();
            }
            count += 1024.0;
        }
    }
    // The means of the complete training set are 125.3, 123.0 and 113.9.
    for (sum, mean) in sums.iter().zip([125.3, 123.0, 113.9]) {
        assert!(
            (sum / count - mean).abs() < 1.5,
            "{} instead of {mean}",
            sum / count
        );
    }
}

#[test]
fn fashion_mnist_reads_from_gzip_and_pads_to_32() {
    let Some(dir) = real_data("fashion-mnist") else {
        return;
    };
    let splits = opened("fashion-mnist", &dir, "", "mnist", [1, 28, 28]);
    assert_eq!(splits.train.len() + splits.search.len(), 60_000);
    assert_eq!(histogram(&*splits.test), [1000; 10]);
    assert_eq!(histogram(&*splits.search), [600; 10]);
    assert_eq!(
        splits.test.label(0),
        9,
        "the first test image is an ankle boot"
    );
    assert_eq!(splits.test.classes()[9], "Ankle boot");

    let padded = opened(
        "fashion-mnist",
        &dir,
        ",pad=32,train=2000,test=300",
        "mnist",
        [1, 32, 32],
    );
    assert_eq!(
        (padded.train.len(), padded.search.len(), padded.test.len()),
        (1800, 200, 300)
    );
    let mut image = vec![0.0; 1024];
    padded.test.decode(0, &mut image).unwrap();
    assert!(image[..64].iter().all(|&v| v == 0.0) && image.iter().any(|&v| v > 0.5));
}

#[test]
fn a_folder_of_photographs_uses_its_three_parts() {
    let Some(dir) = real_data("clothing") else {
        return;
    };
    let splits = opened("folder", &dir, "", "imagenet", [3, 64, 64]);
    assert_eq!(
        (splits.train.len(), splits.search.len(), splits.test.len()),
        (1000, 341, 372)
    );
    assert_eq!(histogram(&*splits.train), [100; 10]);
    assert_eq!(splits.test.classes()[9], "t-shirt");
    verify(&*splits.test).unwrap();
    let augment = "folder:x".parse::<DataSpec>().unwrap().default_augment();
    let config = LoaderConfig {
        batch: 64,
        augment,
        drop_last: true,
        ..LoaderConfig::default()
    };
    let loader = Loader::new(splits.train, config).unwrap();
    let batch = loader.epoch(0).next().unwrap().unwrap();
    assert_eq!(batch.shape, [64, 3, 64, 64]);
    assert!(batch.images.iter().all(|v| v.is_finite() && v.abs() < 3.0));
}
