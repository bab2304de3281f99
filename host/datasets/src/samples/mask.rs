//! Masks: images whose pixels are class numbers.

use std::fs::File;
use std::io::{BufReader, Read as _};
use std::path::Path;

use image::ImageReader;
use png::{BitDepth, ColorType, Decoder, Transformations};

use super::arrays::unfit;
use crate::{DataError, InputSpec};

/// The class number of positions that do not count.
pub(super) const IGNORED: f32 = 255.0;
/// The first bytes of a PNG file.
const PNG: [u8; 8] = *b"\x89PNG\r\n\x1a\n";
/// The most bytes of a decoded mask: 16384 x 16384 pixels of a byte.
const MOST_BYTES: usize = 1 << 28;

/// The class number of each pixel.
struct Mask {
    width: u32,
    height: u32,
    classes: Vec<u16>,
}

/// Writes the class numbers of a mask: its grey values or palette indices where the network sees
/// the image, for positions of `height` x `width`. Positions of padding do not count.
pub(super) fn read(
    path: &Path,
    input: &InputSpec,
    (height, width): (usize, usize),
    out: &mut [f32],
) -> Result<(), DataError> {
    let mask = Mask::read(path)?;
    let placement = input
        .geometry
        .place((mask.width, mask.height), input.size(), 1.0);
    for (at, value) in out.iter_mut().enumerate() {
        let middle = |index: usize, of: usize| (index as f64 + 0.5) / of as f64;
        let (x, y) = (middle(at % width, width), middle(at / width, height));
        let pixel = placement.source(x, y).and_then(|(x, y)| mask.at(x, y));
        *value = pixel.map_or(IGNORED, f32::from);
    }
    Ok(())
}

impl Mask {
    fn read(path: &Path) -> Result<Self, DataError> {
        let mut file = File::open(path)
            .map_err(|e| DataError::missing_or_io(path, e, "the mask of an image"))?;
        let mut start = [0u8; PNG.len()];
        match file.read_exact(&mut start) {
            Ok(()) if start == PNG => png(path),
            _ => other(path),
        }
    }

    fn at(&self, x: u32, y: u32) -> Option<u16> {
        let inside = x < self.width && y < self.height;
        let at = y as usize * self.width as usize + x as usize;
        self.classes.get(at).copied().filter(|_| inside)
    }
}

fn broken(path: &Path, reason: impl ToString) -> DataError {
    DataError::BrokenImage {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

fn coloured(path: &Path, colours: usize) -> DataError {
    let reason = format!("a mask has a class number for each pixel, not {colours} colours");
    unfit(path, reason)
}

/// The numbers of a PNG file as they are stored: neither looked up in its palette nor scaled to
/// eight bits.
fn png(path: &Path) -> Result<Mask, DataError> {
    let file = File::open(path).map_err(|e| DataError::io(path, e))?;
    let mut decoder = Decoder::new(BufReader::new(file));
    decoder.set_transformations(Transformations::IDENTITY);
    let mut reader = decoder.read_info().map_err(|e| broken(path, e))?;
    let size = reader.output_buffer_size().filter(|&of| of <= MOST_BYTES);
    let size = size.ok_or_else(|| broken(path, "it is too large"))?;
    let mut bytes = vec![0; size];
    let info = reader.next_frame(&mut bytes).map_err(|e| broken(path, e))?;
    let channels = match info.color_type {
        ColorType::Grayscale | ColorType::Indexed => 1,
        ColorType::GrayscaleAlpha => 2,
        ColorType::Rgb => return Err(coloured(path, 3)),
        ColorType::Rgba => return Err(coloured(path, 4)),
    };
    let pixels = info.width as usize;
    let number = |row: &[u8], x: usize| -> u16 {
        let byte = |at: usize| u16::from(row.get(at).copied().unwrap_or(0));
        match info.bit_depth {
            BitDepth::Sixteen => byte(2 * x * channels) << 8 | byte(2 * x * channels + 1),
            BitDepth::Eight => byte(x * channels),
            depth => {
                let bits = depth as usize;
                let shift = 8 - bits - x * bits % 8;
                byte(x * bits / 8) >> shift & ((1 << bits) - 1)
            }
        }
    };
    let rows = bytes.chunks_exact(info.line_size.max(1));
    let numbers = rows.flat_map(|row| (0..pixels).map(move |x| (row, x)));
    Ok(Mask {
        width: info.width,
        height: info.height,
        classes: numbers.map(|(row, x)| number(row, x)).collect(),
    })
}

/// The grey values of a file of another format.
fn other(path: &Path) -> Result<Mask, DataError> {
    let reader = ImageReader::open(path).map_err(|e| DataError::io(path, e))?;
    let reader = reader.with_guessed_format();
    let image = reader
        .map_err(|e| DataError::io(path, e))?
        .decode()
        .map_err(|e| broken(path, e))?;
    let colours = usize::from(image.color().channel_count());
    if colours > 2 {
        return Err(coloured(path, colours));
    }
    let grey = image.into_luma8();
    Ok(Mask {
        width: grey.width(),
        height: grey.height(),
        classes: grey.as_raw().iter().map(|&of| u16::from(of)).collect(),
    })
}
