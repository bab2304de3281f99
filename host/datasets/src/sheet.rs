//! Several images in one picture, each with lines of text below it.

use std::convert::Infallible;

use embedded_graphics::mono_font::iso_8859_1::FONT_6X10;
use embedded_graphics::mono_font::{MonoFont, MonoTextStyle};
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::prelude::*;
use embedded_graphics::text::{Baseline, Text};

/// Pixels between images.
const GAP: usize = 4;

/// Least pixels of an image's longer side: smaller images are magnified by a whole number.
const LEAST: usize = 96;

const FONT: MonoFont<'_> = FONT_6X10;

/// Pixels of a line of text.
const LINE: usize = 12;

/// An image of a contact sheet.
pub struct Tile {
    /// Values 0..=1, one channel after the other.
    pub pixels: Vec<f32>,
    /// Lines below the image, in a font of Latin letters. Each is cut to the image's width.
    pub caption: Vec<Line>,
}

/// A line of text in a contact sheet.
pub struct Line {
    /// The text.
    pub text: String,
    /// Its colour.
    pub tone: Tone,
}

/// The colour of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Black.
    Plain,
    /// Green.
    Right,
    /// Red.
    Wrong,
}

impl Tone {
    /// Dark enough for a contrast of 4.5 on white (WCAG 2.2, criterion 1.4.3).
    fn colour(self) -> Rgb888 {
        match self {
            Self::Plain => Rgb888::BLACK,
            Self::Right => Rgb888::new(0, 110, 40),
            Self::Wrong => Rgb888::new(190, 20, 20),
        }
    }
}

/// Images side by side in rows of `columns`, on white: the shape (channels, height, width) and the
/// pixels of the picture, 0..=1. Images are of `shape`; grey ones become coloured.
#[must_use]
pub fn contact_sheet(tiles: &[Tile], shape: [usize; 3], columns: usize) -> ([usize; 3], Vec<f32>) {
    let [channels, height, width] = shape;
    let zoom = LEAST.div_ceil(height.max(width).max(1)).max(1);
    let columns = columns.clamp(1, tiles.len().max(1));
    let rows = tiles.len().div_ceil(columns).max(1);
    let lines = tiles.iter().map(|tile| tile.caption.len()).max();
    let (tile_high, tile_wide) = (height * zoom + lines.unwrap_or(0) * LINE, width * zoom);
    let mut canvas = Canvas::new(
        if channels == 1 { 3 } else { channels },
        rows * (tile_high + GAP) + GAP,
        columns * (tile_wide + GAP) + GAP,
    );
    for (number, tile) in tiles.iter().enumerate() {
        let top = GAP + number / columns * (tile_high + GAP);
        let left = GAP + number % columns * (tile_wide + GAP);
        for channel in 0..canvas.channels {
            for y in 0..height * zoom {
                let row = (channel.min(channels - 1) * height + y / zoom) * width;
                let from = &tile.pixels[row..][..width];
                for (x, value) in canvas.row(channel, top + y)[left..][..tile_wide]
                    .iter_mut()
                    .enumerate()
                {
                    *value = from[x / zoom];
                }
            }
        }
        let mut y = top + height * zoom + 1;
        for line in &tile.caption {
            canvas.write(line, [left, y], tile_wide);
            y += LINE;
        }
    }
    ([canvas.channels, canvas.high, canvas.wide], canvas.pixels)
}

/// A picture that text is drawn on.
struct Canvas {
    channels: usize,
    high: usize,
    wide: usize,
    pixels: Vec<f32>,
}

impl Canvas {
    fn new(channels: usize, high: usize, wide: usize) -> Self {
        let pixels = vec![1.0; channels * high * wide];
        Self {
            channels,
            high,
            wide,
            pixels,
        }
    }

    fn row(&mut self, channel: usize, y: usize) -> &mut [f32] {
        &mut self.pixels[(channel * self.high + y) * self.wide..][..self.wide]
    }

    fn write(&mut self, line: &Line, [left, top]: [usize; 2], wide: usize) {
        let letters = wide / FONT.character_size.width as usize;
        let text: String = match line.text.chars().count() <= letters {
            true => line.text.clone(),
            false => {
                let kept = line.text.chars().take(letters.saturating_sub(2));
                kept.chain("..".chars()).collect()
            }
        };
        let style = MonoTextStyle::new(&FONT, line.tone.colour());
        let at = Point::new(left as i32, top as i32);
        let Ok(_) = Text::with_baseline(&text, at, style, Baseline::Top).draw(self);
    }
}

impl OriginDimensions for Canvas {
    fn size(&self) -> Size {
        Size::new(self.wide as u32, self.high as u32)
    }
}

impl DrawTarget for Canvas {
    type Color = Rgb888;
    type Error = Infallible;

    fn draw_iter<I>(&mut self, pixels: I) -> Result<(), Infallible>
    where
        I: IntoIterator<Item = Pixel<Rgb888>>,
    {
        let area = self.bounding_box();
        for Pixel(at, colour) in pixels {
            if !area.contains(at) {
                continue;
            }
            let parts = [colour.r(), colour.g(), colour.b()];
            for (channel, part) in parts.into_iter().enumerate().take(self.channels) {
                self.row(channel, at.y as usize)[at.x as usize] = f32::from(part) / 255.0;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tile(value: f32, lines: &[(&str, Tone)]) -> Tile {
        let caption = lines.iter().map(|&(text, tone)| Line {
            text: text.to_owned(),
            tone,
        });
        Tile {
            pixels: vec![value; 32 * 48],
            caption: caption.collect(),
        }
    }

    #[test]
    fn images_lie_in_rows_magnified_and_apart() {
        let tiles = [tile(0.0, &[]), tile(0.25, &[]), tile(0.5, &[])];
        let (shape, pixels) = contact_sheet(&tiles, [1, 32, 48], 2);
        let [_, high, wide] = shape;
        assert_eq!(shape, [3, 2 * 64 + 12, 2 * 96 + 12]);
        let at = |y: usize, x: usize| pixels[y * wide + x];
        assert_eq!((at(0, 0), at(4, 4), at(67, 99)), (1.0, 0.0, 0.0));
        assert_eq!((at(4, 100), at(4, 104), at(72, 4)), (1.0, 0.25, 0.5));
        assert_eq!(at(72, 104), 1.0, "there is no fourth image");
        assert_eq!(pixels[high * wide..][..high * wide], pixels[..high * wide]);
    }

    #[test]
    fn text_is_drawn_below_its_image_in_its_colour_and_no_wider() {
        let long = "a name of many letters";
        let tiles = [
            tile(0.5, &[("cat", Tone::Plain), (long, Tone::Wrong)]),
            tile(0.5, &[]),
        ];
        let ([_, high, wide], pixels) = contact_sheet(&tiles, [1, 32, 48], 2);
        assert_eq!(high, 64 + 2 * LINE + 2 * GAP);
        let part =
            |channel: usize, lines: std::ops::Range<usize>, columns: std::ops::Range<usize>| {
                let rows = lines.map(|y| &pixels[(channel * high + y) * wide..][..wide]);
                let values = rows.flat_map(|row| row[columns.clone()].to_vec());
                values.filter(|&value| value < 1.0).collect::<Vec<f32>>()
            };
        let first = GAP + 64..GAP + 64 + LINE;
        let second = first.end..first.end + LINE;
        let black = part(0, first, 0..wide);
        assert!(!black.is_empty() && black.iter().all(|&value| value == 0.0));
        let red = part(0, second.clone(), 0..wide);
        assert!(red.iter().all(|&value| value == 190.0 / 255.0));
        assert!(red.len() > 60, "{} pixels are no line of text", red.len());
        let beyond = GAP + 96..wide;
        assert!(part(0, second, beyond).is_empty());
    }
}
