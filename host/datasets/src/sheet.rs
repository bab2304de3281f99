//! Several images in one picture.

/// Pixels between images.
const GAP: usize = 4;

/// Least pixels of an image's longer side: smaller images are magnified by a whole number.
const LEAST: usize = 96;

/// Images side by side in rows of `columns`, on white: the shape (channels, height, width) and the
/// pixels of the picture, 0..=1. Images are of `shape`.
#[must_use]
pub fn contact_sheet(
    images: &[Vec<f32>],
    shape: [usize; 3],
    columns: usize,
) -> ([usize; 3], Vec<f32>) {
    let [channels, height, width] = shape;
    let zoom = LEAST.div_ceil(height.max(width).max(1)).max(1);
    let columns = columns.clamp(1, images.len().max(1));
    let rows = images.len().div_ceil(columns).max(1);
    let side = |count: usize, pixels: usize| count * (pixels * zoom + GAP) + GAP;
    let (high, wide) = (side(rows, height), side(columns, width));
    let mut pixels = vec![1.0; channels * high * wide];
    for (number, image) in images.iter().enumerate() {
        let top = GAP + number / columns * (height * zoom + GAP);
        let left = GAP + number % columns * (width * zoom + GAP);
        for channel in 0..channels {
            for y in 0..height * zoom {
                let from = &image[(channel * height + y / zoom) * width..][..width];
                let to = &mut pixels[(channel * high + top + y) * wide + left..][..width * zoom];
                for (x, value) in to.iter_mut().enumerate() {
                    *value = from[x / zoom];
                }
            }
        }
    }
    ([channels, high, wide], pixels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_lie_in_rows_magnified_and_apart() {
        let image = |value: f32| vec![value; 32 * 48];
        let images = [image(0.0), image(0.25), image(0.5)];
        let ([channels, high, wide], pixels) = contact_sheet(&images, [1, 32, 48], 2);
        assert_eq!((channels, high, wide), (1, 2 * 64 + 12, 2 * 96 + 12));
        let at = |y: usize, x: usize| pixels[y * wide + x];
        assert_eq!((at(0, 0), at(4, 4), at(67, 99)), (1.0, 0.0, 0.0));
        assert_eq!((at(4, 100), at(4, 104), at(72, 4)), (1.0, 0.25, 0.5));
        assert_eq!(at(72, 104), 1.0, "there is no fourth image");
    }
}
