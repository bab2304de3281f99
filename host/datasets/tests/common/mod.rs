//! Shared by the integration tests.
#![allow(dead_code, reason = "every test binary uses a part")]

use std::path::{Path, PathBuf};

/// Returns the folder of real data; if it is missing, prints a line and returns `None`.
pub fn real_data(name: &str) -> Option<PathBuf> {
    let shared = std::env::var_os("GRAPHPRUNE_SHARED").map(PathBuf::from);
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let dir = shared.unwrap_or(beside).join("data").join(name);
    if dir.is_dir() {
        return Some(dir);
    }
    println!(
        "left out: no real data at {} (set GRAPHPRUNE_SHARED)",
        dir.display()
    );
    None
}

/// Returns the number of images per class.
pub fn histogram(dataset: &dyn datasets::Dataset) -> Vec<usize> {
    let mut counts = vec![0; dataset.classes().len()];
    for index in 0..dataset.len() {
        counts[dataset.label(index)] += 1;
    }
    counts
}

/// Writes an image of one colour.
pub fn write_image(path: &Path, width: u32, height: u32, colour: [u8; 3]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    image::RgbImage::from_pixel(width, height, image::Rgb(colour))
        .save(path)
        .unwrap();
}

/// Returns one CIFAR-10 record.
pub fn record(label: u8, value: u8) -> Vec<u8> {
    let mut bytes = vec![value; 3073];
    bytes[0] = label;
    bytes
}

/// Returns an IDX file: magic number, dimensions, body.
pub fn idx(magic: u32, dims: &[u32], body: &[u8]) -> Vec<u8> {
    let mut bytes = magic.to_be_bytes().to_vec();
    for dim in dims {
        bytes.extend(dim.to_be_bytes());
    }
    bytes.extend(body);
    bytes
}
