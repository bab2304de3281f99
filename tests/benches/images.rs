//! Images per second of a folder of photos, as the loader reads them, beside the scaling of the
//! crate `image`.
//!
//! `cargo bench -p graphprune-tests --bench images [-- FOLDER]`: the photos in `FOLDER/test`, by
//! default those of the shared folder, for a network of 224 x 224. Both read, decode and scale the
//! same centre of each photo on one thread, in alternating rounds; the largest difference of a
//! pixel is printed, too.

use std::path::PathBuf;
use std::time::Instant;

use datasets::{Dataset as _, FolderDataset, InputSpec};
use graphprune_tests::shared_data;
use image::imageops::{self, FilterType};

const SIDE: u32 = 224;
/// Of the larger square whose centre an evaluation takes.
const WHOLE: f64 = 256.0;
const IMAGES: usize = 200;
const ROUNDS: usize = 7;

fn main() {
    let named = std::env::args().skip(1).find(|arg| !arg.starts_with("--"));
    let Some(root) = named.map(PathBuf::from).or_else(|| shared_data("clothing")) else {
        println!("give a folder with train and test");
        return;
    };
    let input = InputSpec::preset("unit", [3, SIDE as usize, SIDE as usize]).expect("a preset");
    let photos = FolderDataset::open(&root.join("test"), None, &input);
    let photos = photos.expect("JPEG and PNG files, a folder a class");
    let count = IMAGES.min(photos.len());
    let mut times = [Vec::new(), Vec::new()];
    let mut apart = 0.0_f32;
    for _ in 0..ROUNDS {
        let clock = Instant::now();
        let ours: Vec<Vec<f32>> = (0..count).map(|i| read(&photos, i)).collect();
        times[0].push(clock.elapsed());
        let clock = Instant::now();
        let theirs: Vec<Vec<f32>> = (0..count).map(|i| read_by_image(&photos, i)).collect();
        times[1].push(clock.elapsed());
        let pairs = ours.iter().flatten().zip(theirs.iter().flatten());
        apart = pairs.fold(apart, |most, (a, b)| most.max((a - b).abs()));
    }
    let rates = times.map(|mut all| {
        all.sort_unstable();
        count as f64 / all[ROUNDS / 2].as_secs_f64()
    });
    println!("loader                {:>6.0} images/s", rates[0]);
    println!("image::imageops       {:>6.0} images/s", rates[1]);
    println!("ratio                 {:>6.2}", rates[0] / rates[1]);
    println!("largest difference    {:>6.1} grey levels", apart * 255.0);
}

fn read(photos: &FolderDataset, index: usize) -> Vec<f32> {
    let mut out = vec![0.0; photos.image_shape().iter().product()];
    photos.decode(index, &mut out).expect("a whole image");
    out
}

fn read_by_image(photos: &FolderDataset, index: usize) -> Vec<f32> {
    let image = image::open(photos.path(index)).expect("a whole image");
    let image = image.into_rgb8();
    let (width, height) = image.dimensions();
    let side = (f64::from(width.min(height)) * f64::from(SIDE) / WHOLE).round() as u32;
    let (left, top) = ((width - side) / 2, (height - side) / 2);
    let view = imageops::crop_imm(&image, left, top, side, side);
    let scaled = imageops::resize(&*view, SIDE, SIDE, FilterType::Triangle);
    let plane = |channel: usize| scaled.pixels().map(move |pixel| pixel.0[channel]);
    let bytes = (0..3).flat_map(plane);
    bytes.map(|byte| f32::from(byte) / 255.0).collect()
}
