//! Loader, splits and the built-in shapes.

mod common;

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use common::{histogram, write_image};
use datasets::{
    Augment, Batch, ColourJitter, DataError, DataSpec, Dataset, InputSpec, Loader, LoaderConfig,
    SHAPE_CLASSES, Splits, Subset, open,
};

fn input() -> InputSpec {
    InputSpec::preset("half", [3, 32, 32]).unwrap()
}

fn shapes(options: &str) -> Splits {
    open(&format!("shapes:{options}").parse().unwrap(), &input()).unwrap()
}

fn everything() -> Augment {
    Augment {
        crop_pad: 3,
        flip: true,
        cutout: 6,
        colour: Some(ColourJitter::default()),
        random_resized_crop: true,
    }
}

fn epoch(data: &Arc<dyn Dataset>, config: LoaderConfig, number: u64) -> Vec<Batch> {
    Loader::new(data.clone(), config)
        .unwrap()
        .epoch(number)
        .map(Result::unwrap)
        .collect()
}

#[test]
fn batches_do_not_depend_on_the_number_of_workers() {
    let train = shapes("train=230,test=10").train;
    let run = |workers, prefetch, number| {
        let config = LoaderConfig {
            batch: 32,
            seed: 5,
            augment: everything(),
            workers,
            prefetch,
            ..Default::default()
        };
        epoch(&train, config, number)
    };
    let first = run(1, 0, 3);
    assert_eq!(first.len(), 7);
    assert_eq!(first[6].shape, [15, 3, 32, 32]);
    for (workers, prefetch) in [(2, 1), (5, 3), (0, 4), (64, 0)] {
        assert!(first == run(workers, prefetch, 3), "{workers} workers");
    }
    assert!(first != run(1, 0, 4), "another epoch is another order");
}

#[test]
fn an_epoch_resumes_from_any_batch_with_the_same_batches() {
    let train = shapes("train=100,test=10").train;
    let config = LoaderConfig {
        batch: 16,
        augment: everything(),
        ..Default::default()
    };
    let loader = Loader::new(train, config).unwrap();
    let whole: Vec<Batch> = loader.epoch(2).map(Result::unwrap).collect();
    for first in 0..=loader.batches() + 1 {
        let rest: Vec<Batch> = loader.epoch_from(2, first).map(Result::unwrap).collect();
        assert!(rest == whole[first.min(whole.len())..]);
    }
}

#[test]
fn every_image_comes_once_an_epoch() {
    let splits = shapes("train=200,test=50");
    let mut images = HashSet::new();
    for batch in epoch(
        &splits.train,
        LoaderConfig {
            batch: 7,
            ..Default::default()
        },
        0,
    ) {
        for image in batch.images.chunks_exact(3072) {
            assert!(images.insert(image.iter().map(|v| v.to_bits()).collect::<Vec<_>>()));
        }
    }
    assert_eq!(images.len(), splits.train.len());
    let dropped = LoaderConfig {
        batch: 7,
        drop_last: true,
        ..Default::default()
    };
    assert!(
        epoch(&splits.train, dropped, 0)
            .iter()
            .all(|batch| batch.shape[0] == 7)
    );
    let in_order: Vec<i64> = epoch(&splits.test, LoaderConfig::evaluation(9), 0)
        .into_iter()
        .flat_map(|b| b.labels)
        .collect();
    assert_eq!(in_order, (0..50).map(|i| i % 10).collect::<Vec<_>>());
}

#[test]
fn dropping_an_unfinished_epoch_ends_its_workers() {
    let train = shapes("train=400,test=10").train;
    for taken in 0..6 {
        for workers in [1, 3] {
            let counted = Arc::new(Counted {
                inner: train.clone(),
                decoded: AtomicUsize::new(0),
                breaks_at: None,
            });
            let config = LoaderConfig {
                batch: 8,
                workers,
                prefetch: 2,
                ..Default::default()
            };
            let loader = Loader::new(counted.clone(), config).unwrap();
            let mut batches = loader.epoch(0);
            assert_eq!(
                batches.by_ref().take(taken).map(Result::unwrap).count(),
                taken
            );
            drop(batches);
            drop(loader);
            assert_eq!(
                Arc::strong_count(&counted),
                1,
                "a worker still holds the data"
            );
            let most = (taken + workers + 2) * 8;
            assert!(
                counted.decoded.load(Ordering::Relaxed) <= most,
                "workers ran ahead of the window"
            );
        }
    }
}

/// Counts decoded images; can fail or panic at one image.
struct Counted {
    inner: Arc<dyn Dataset>,
    decoded: AtomicUsize,
    breaks_at: Option<(usize, bool)>,
}

impl Dataset for Counted {
    fn len(&self) -> usize {
        self.inner.len()
    }
    fn classes(&self) -> &[String] {
        self.inner.classes()
    }
    fn image_shape(&self) -> [usize; 3] {
        self.inner.image_shape()
    }
    fn label(&self, index: usize) -> usize {
        self.inner.label(index)
    }
    fn decode(&self, index: usize, out: &mut [f32]) -> Result<(), DataError> {
        self.decoded.fetch_add(1, Ordering::Relaxed);
        match self.breaks_at {
            Some((broken, true)) if broken == index => panic!("image {index} panics"),
            Some((broken, false)) if broken == index => Err(DataError::BrokenImage {
                path: format!("{index}.png").into(),
                reason: "half of it is missing".into(),
            }),
            _ => self.inner.decode(index, out),
        }
    }
    fn input(&self) -> &InputSpec {
        self.inner.input()
    }
    fn identity(&self) -> String {
        self.inner.identity()
    }
}

#[test]
fn a_broken_or_panicking_image_ends_the_epoch_with_an_error_in_its_place() {
    let test = shapes("train=20,test=100").test;
    for (panics, part) in [(false, "37.png"), (true, "image 37 panics")] {
        let data = Counted {
            inner: test.clone(),
            decoded: AtomicUsize::new(0),
            breaks_at: Some((37, panics)),
        };
        let loader = Loader::new(
            Arc::new(data),
            LoaderConfig {
                workers: 3,
                ..LoaderConfig::evaluation(10)
            },
        )
        .unwrap();
        let mut batches = loader.epoch(0);
        for _ in 0..3 {
            batches.next().unwrap().unwrap();
        }
        let error = batches.next().unwrap().unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
        assert!(batches.next().is_none());
    }
}

#[test]
fn a_loader_refuses_invalid_settings() {
    let train = shapes("train=30,test=10").train;
    let check = |config: LoaderConfig, part: &str| {
        let error = Loader::new(train.clone(), config)
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains(part), "{error}");
    };
    check(
        LoaderConfig {
            batch: 0,
            ..Default::default()
        },
        "batch",
    );
    check(
        LoaderConfig {
            batch: 64,
            drop_last: true,
            ..Default::default()
        },
        "no batch of 64",
    );
    check(
        LoaderConfig {
            augment: Augment {
                crop_pad: 40,
                ..Augment::none()
            },
            ..Default::default()
        },
        "crop_pad",
    );
}

#[test]
fn splits_share_no_image_and_keep_the_classes_in_proportion() {
    let splits = shapes("train=600,test=100,search=95,seed=3");
    assert_eq!(
        (splits.train.len(), splits.search.len(), splits.test.len()),
        (505, 95, 100)
    );
    assert!(
        histogram(&*splits.search)
            .iter()
            .all(|&n| n == 9 || n == 10)
    );
    let mut images = HashSet::new();
    for part in [&splits.train, &splits.search, &splits.test] {
        for batch in epoch(part, LoaderConfig::evaluation(50), 0) {
            for image in batch.images.chunks_exact(3072) {
                assert!(
                    images.insert(image.iter().map(|v| v.to_bits()).collect::<Vec<_>>()),
                    "an image is in two splits"
                );
            }
        }
    }
    assert_eq!(
        splits.search.identity(),
        shapes("train=600,test=100,search=95,seed=3")
            .search
            .identity()
    );
    assert_ne!(
        splits.search.identity(),
        shapes("train=600,test=100,search=95,seed=4")
            .search
            .identity()
    );
}

#[test]
fn a_single_folder_is_split_in_three_without_overlap() {
    let dir = tempfile::tempdir().unwrap();
    for (class, count) in [("a", 30), ("b", 20), ("c", 10)] {
        for i in 0..count {
            write_image(
                &dir.path().join(format!("{class}/{i}.png")),
                20,
                20,
                [count * 3, i * 8, 77],
            );
        }
    }
    let spec: DataSpec = format!("folder:{},search=6", dir.path().display())
        .parse()
        .unwrap();
    let splits = open(&spec, &InputSpec::preset("unit", [3, 16, 16]).unwrap()).unwrap();
    assert_eq!(histogram(&*splits.test), [6, 4, 2]);
    assert_eq!(histogram(&*splits.search), [3, 2, 1]);
    assert_eq!(histogram(&*splits.train), [21, 14, 7]);
    let mut images = HashSet::new();
    for part in [&splits.train, &splits.search, &splits.test] {
        for batch in epoch(part, LoaderConfig::evaluation(50), 0) {
            for image in batch.images.chunks_exact(768) {
                assert!(images.insert([image[0].to_bits(), image[256].to_bits()]));
            }
        }
    }
    assert_eq!(images.len(), 60);
}

#[test]
fn a_validation_folder_is_the_search_split_or_the_missing_test_split() {
    let dir = tempfile::tempdir().unwrap();
    for (part, count) in [("train", 10), ("validation", 4)] {
        for class in ["a", "b"] {
            for i in 0..count {
                write_image(
                    &dir.path().join(format!("{part}/{class}/{i}.png")),
                    20,
                    20,
                    [i, 0, 0],
                );
            }
        }
    }
    let spec: DataSpec = format!("folder:{}", dir.path().display()).parse().unwrap();
    let input = InputSpec::preset("unit", [3, 16, 16]).unwrap();
    let lens = || {
        let splits = open(&spec, &input).unwrap();
        (splits.train.len(), splits.search.len(), splits.test.len())
    };
    assert_eq!(lens(), (18, 2, 8));
    for class in ["a", "b"] {
        write_image(
            &dir.path().join(format!("test/{class}/0.png")),
            20,
            20,
            [1, 2, 3],
        );
    }
    assert_eq!(lens(), (20, 8, 2));
}

#[test]
fn evaluation_takes_the_centre_and_random_crops_stay_inside() {
    let dir = tempfile::tempdir().unwrap();
    // Left third red, middle green, right blue: the centre crop of a wide image is all green.
    let image = image::RgbImage::from_fn(120, 40, |x, _| {
        image::Rgb([[255, 0, 0], [0, 255, 0], [0, 0, 255]][x as usize / 40])
    });
    for class in ["a", "b"] {
        std::fs::create_dir_all(dir.path().join(class)).unwrap();
        for i in 0..5 {
            image
                .save(dir.path().join(format!("{class}/{i}.png")))
                .unwrap();
        }
    }
    let spec: DataSpec = format!("folder:{}", dir.path().display()).parse().unwrap();
    let splits = open(&spec, &InputSpec::preset("unit", [3, 16, 16]).unwrap()).unwrap();
    let mut out = vec![0.0; 768];
    splits.train.decode(0, &mut out).unwrap();
    assert!(out[..256].iter().all(|&v| v == 0.0) && out[256..512].iter().all(|&v| v == 1.0));
    let augment = Augment {
        random_resized_crop: true,
        ..Augment::none()
    };
    let batches = epoch(
        &splits.train,
        LoaderConfig {
            batch: 7,
            augment,
            ..Default::default()
        },
        0,
    );
    for image in batches[0].images.chunks_exact(768) {
        for pixel in 0..256 {
            let sum = image[pixel] + image[256 + pixel] + image[512 + pixel];
            assert!((sum - 1.0).abs() < 0.02, "a pixel from outside the image");
        }
    }
}

#[test]
fn shapes_are_balanced_repeatable_and_differ_between_parts() {
    let splits = shapes("train=100,test=100");
    assert_eq!(splits.train.classes(), SHAPE_CLASSES);
    assert_eq!(histogram(&*splits.test), [10; 10]);
    let mut images = HashSet::new();
    for key in [[0, 0, 0], [0, 0, 10], [0, 1, 0], [1, 0, 0]] {
        let (mut first, mut second) = (vec![0; 3072], vec![0; 3072]);
        datasets::render_shape(4, key, 32, 32, &mut first);
        datasets::render_shape(4, key, 32, 32, &mut second);
        assert_eq!(first, second);
        assert!(images.insert(first));
    }
}

#[test]
fn a_subset_contains_only_its_own_images() {
    let test = shapes("train=20,test=50").test;
    let part = Subset::new(test.clone(), vec![4, 44, 3], "some").unwrap();
    assert_eq!(
        (part.len(), part.label(0), part.label(1), part.label(2)),
        (3, 4, 4, 3)
    );
    let (mut a, mut b) = (vec![0.0; 3072], vec![0.0; 3072]);
    part.decode(1, &mut a).unwrap();
    test.decode(44, &mut b).unwrap();
    assert_eq!(a, b);
    assert!(Subset::new(test, vec![50], "none").is_err());
}
