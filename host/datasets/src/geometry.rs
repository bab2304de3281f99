//! Where an image lies in the input of a network.

use std::path::Path;

use crate::DataError;
use crate::scale::{Area, Filter, Pixels, Window};

/// How an image of any size fills an input of one size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sizing {
    /// The centre of the image in the input's side ratio, cut before it is scaled. Where the source
    /// evaluates with a margin, the outer eighth is left out (256 pixels for 224).
    #[default]
    Cover,
    /// The shorter side is scaled to so many pixels; the centre is cut out.
    ShortSide(u32),
    /// Both sides are scaled, to height and width; the centre is cut out.
    Exact(u32, u32),
    /// The whole image is scaled into the input, and padded to it.
    Letterbox,
    /// Both sides are scaled to those of the input.
    Stretch,
}

/// How images become the pixels of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// How the sides are scaled.
    pub sizing: Sizing,
    /// The filter.
    pub filter: Filter,
    /// The value of pixels that the image does not cover, in each channel.
    pub pad: u8,
}

impl Default for Geometry {
    fn default() -> Self {
        Self {
            sizing: Sizing::default(),
            filter: Filter::default(),
            pad: 114,
        }
    }
}

/// What is read of an image.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Taken {
    /// Cut out before it is scaled.
    Cut(Area),
    /// Cut out of the scaled image.
    Scaled(Window),
}

/// Which part of an image fills which part of an input.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Placement {
    from: Taken,
    to: Area,
    input: (u32, u32),
}

impl Geometry {
    /// Places an image of `width` x `height` in an input. `margin` is how many times the image of
    /// [`Sizing::Cover`] is larger than the input.
    pub(crate) fn place(&self, image: (u32, u32), input: (u32, u32), margin: f64) -> Placement {
        let placed = |scaled: (u32, u32)| {
            let (left, width, to_left, to_width) = middle(image.0, scaled.0, input.0);
            let (top, height, to_top, to_height) = middle(image.1, scaled.1, input.1);
            Placement {
                from: Taken::Scaled(Window {
                    left,
                    top,
                    width,
                    height,
                }),
                to: Area {
                    left: to_left,
                    top: to_top,
                    width: to_width,
                    height: to_height,
                },
                input,
            }
        };
        match self.sizing {
            Sizing::Cover => Placement {
                from: Taken::Cut(centre(image, input, margin)),
                to: whole(input),
                input,
            },
            Sizing::ShortSide(side) => placed(short_side(image, side)),
            Sizing::Exact(height, width) => placed((width, height)),
            Sizing::Letterbox => placed(inside(image, input)),
            Sizing::Stretch => placed(input),
        }
    }

    /// Places a part of an image, cut out at random, in an input.
    pub(crate) fn place_part(&self, part: Area, input: (u32, u32)) -> Placement {
        let to = match self.sizing {
            Sizing::Letterbox => {
                let (width, height) = inside((part.width, part.height), input);
                Area {
                    left: (input.0 - width) / 2,
                    top: (input.1 - height) / 2,
                    width,
                    height,
                }
            }
            _ => whole(input),
        };
        Placement {
            from: Taken::Cut(part),
            to,
            input,
        }
    }

    /// The side ratio, width over height, of parts that are cut out at random.
    pub(crate) fn ratio(&self, image: (u32, u32), input: (u32, u32)) -> f64 {
        let ratio = |(width, height): (u32, u32)| f64::from(width) / f64::from(height);
        match self.sizing {
            Sizing::Cover | Sizing::ShortSide(_) => ratio(input),
            // What these scale keeps the ratio that they give it.
            Sizing::Exact(height, width) => ratio(input) * ratio(image) / ratio((width, height)),
            Sizing::Letterbox | Sizing::Stretch => ratio(image),
        }
    }

    /// The pixels of the input, in rows. `path` is where they come from.
    pub(crate) fn draw(
        &self,
        pixels: &Pixels<'_>,
        placement: &Placement,
        path: &Path,
    ) -> Result<Vec<u8>, DataError> {
        let Placement { from, to, input } = *placement;
        let size = (to.width, to.height);
        let drawn = match from {
            Taken::Cut(area) => pixels.scaled(area, size, self.filter, path),
            Taken::Scaled(window) => pixels.cut_from_scaled(window, size, self.filter, path),
        }?;
        if size == input {
            return Ok(drawn);
        }
        let depth = pixels.kind.size();
        let mut all = vec![self.pad; input.0 as usize * input.1 as usize * depth];
        let (row, width) = (input.0 as usize * depth, to.width as usize * depth);
        let first = to.top as usize * row + to.left as usize * depth;
        for (line, from) in drawn.chunks_exact(width.max(1)).enumerate() {
            all[first + line * row..][..width].copy_from_slice(from);
        }
        Ok(all)
    }
}

impl Placement {
    /// The pixel of the image nearest to a point of the input, as shares of its width and height;
    /// `None` where the input is padded.
    pub fn source(&self, x: f64, y: f64) -> Option<(u32, u32)> {
        let Placement { from, to, input } = *self;
        let window = match from {
            Taken::Scaled(window) => window,
            Taken::Cut(area) => Window {
                left: area.left.into(),
                top: area.top.into(),
                width: area.width.into(),
                height: area.height.into(),
            },
        };
        let across = |share: f64, side: u32, (left, width): (u32, u32), (at, most): (f64, f64)| {
            let inside = (share * f64::from(side) - f64::from(left)) / f64::from(width);
            let is_inside = (0.0..1.0).contains(&inside);
            is_inside.then_some((at + inside * most) as u32)
        };
        let column = across(x, input.0, (to.left, to.width), (window.left, window.width))?;
        let row = across(y, input.1, (to.top, to.height), (window.top, window.height))?;
        Some((column, row))
    }
}

fn whole((width, height): (u32, u32)) -> Area {
    Area {
        left: 0,
        top: 0,
        width,
        height,
    }
}

/// One side of an image, scaled and cut or padded at both ends: where the cut begins in the image
/// and its length, and where it lies in the input and its length. Halves of pixels are rounded as
/// torchvision's `CenterCrop` does.
fn middle(image: u32, scaled: u32, input: u32) -> (f64, f64, u32, u32) {
    if scaled <= input {
        return (0.0, image.into(), (input - scaled) / 2, scaled);
    }
    let left = (f64::from(scaled - input) / 2.0).round_ties_even();
    let pixel = f64::from(image) / f64::from(scaled);
    (left * pixel, f64::from(input) * pixel, 0, input)
}

/// The size of an image whose shorter side is scaled, as torchvision's `Resize` computes it.
fn short_side((width, height): (u32, u32), side: u32) -> (u32, u32) {
    let longer = |long: u32, short: u32| {
        let scaled = u64::from(side) * u64::from(long) / u64::from(short.max(1));
        u32::try_from(scaled).unwrap_or(u32::MAX)
    };
    match width <= height {
        true => (side, longer(height, width)),
        false => (longer(width, height), side),
    }
}

/// The largest size with the side ratio of an image that fits into an input.
fn inside((width, height): (u32, u32), input: (u32, u32)) -> (u32, u32) {
    let scale = (f64::from(input.0) / f64::from(width)).min(f64::from(input.1) / f64::from(height));
    let side = |pixels: u32, most: u32| {
        ((f64::from(pixels) * scale).round_ties_even() as u32).clamp(1, most)
    };
    (side(width, input.0), side(height, input.1))
}

/// The centre part of an image with the input's side ratio, `margin` times smaller than the
/// largest.
fn centre((width, height): (u32, u32), input: (u32, u32), margin: f64) -> Area {
    let (input_width, input_height) = (f64::from(input.0), f64::from(input.1));
    // Image pixels per input pixel if the image just covers input x margin.
    let scale = (f64::from(width) / input_width).min(f64::from(height) / input_height) / margin;
    let side = |pixels: f64, most: u32| ((pixels * scale).round() as u32).clamp(1, most);
    let (w, h) = (side(input_width, width), side(input_height, height));
    Area {
        left: (width - w) / 2,
        top: (height - h) / 2,
        width: w,
        height: h,
    }
}
