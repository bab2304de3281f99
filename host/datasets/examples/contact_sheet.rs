//! Renders a sheet of the built-in shapes, one column per class:
//! `cargo run -p datasets --example contact_sheet FILE.png`.

use datasets::{SHAPE_CLASSES, render_shape};

const SIDE: usize = 32;
const ZOOM: usize = 2;
const ROWS: usize = 12;

fn main() -> Result<(), image::ImageError> {
    let file = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "shapes.png".to_owned());
    let cell = SIDE * ZOOM + 4;
    let size = ((SHAPE_CLASSES.len() * cell) as u32, (ROWS * cell) as u32);
    let mut sheet = image::RgbImage::from_pixel(size.0, size.1, image::Rgb([255; 3]));
    let mut pixels = vec![0; 3 * SIDE * SIDE];
    for row in 0..ROWS {
        for class in 0..SHAPE_CLASSES.len() {
            render_shape(
                class,
                [0, 0, (row * SHAPE_CLASSES.len() + class) as u64],
                SIDE,
                SIDE,
                &mut pixels,
            );
            for y in 0..SIDE * ZOOM {
                for x in 0..SIDE * ZOOM {
                    let at = y / ZOOM * SIDE + x / ZOOM;
                    let colour = [
                        pixels[at],
                        pixels[SIDE * SIDE + at],
                        pixels[2 * SIDE * SIDE + at],
                    ];
                    sheet.put_pixel(
                        (class * cell + 2 + x) as u32,
                        (row * cell + 2 + y) as u32,
                        image::Rgb(colour),
                    );
                }
            }
        }
    }
    sheet.save(&file)?;
    println!("{file}: columns are {}", SHAPE_CLASSES.join(", "));
    Ok(())
}
