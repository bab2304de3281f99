//! A convolution that sums over channels; a matrix product is one over a single pixel.

use core::mem::take;

use super::common::{
    Failed, Memory, NO_WEIGHTS, NOT_BYTES, OTHER_SHAPE, OUTSIDE, OVERLAP, UNSOUND, all_hold,
    are_apart, are_bytes, weights,
};
use super::runs::{PIXELS, Runs};
use super::window::Window;
use crate::bounds::Bounds;
use crate::kernels::{Columns, Factors, Rows};
use crate::requant::{Clamp, Requant};
use crate::tensor::{Element, Region, Tensor};
use crate::wire::record;

record! {
    /// A convolution in groups of channels.
    ///
    /// The *column* of an output pixel is what its sums read of a group: per position of the
    /// window, row by row, the group's input channels; padded to a multiple of 4. Weights: per
    /// group, for each two outputs (the last alone if they are odd, with zeros as the second), and
    /// each four entries of the column, the four bytes of the first output and the four of the
    /// second.
    pub struct Conv {
        /// The input.
        pub input: Tensor,
        /// The output; `i32` elements are the sums themselves.
        pub output: Tensor,
        /// The window.
        pub window: Window,
        /// Number of groups.
        pub groups: u16,
        /// How sums become outputs.
        pub requant: Requant,
        /// The interval of outputs.
        pub clamp: Clamp,
        /// Offset of the packed weights.
        pub weights: u32,
        /// Offset of the scales: per group, for each two outputs, two biases and two multipliers,
        /// all `i32`. A bias contains the effect of the input's zero point.
        pub scales: u32,
        /// Offset of [`Conv::scratch_bytes`] in the arena, in which the kernels gather columns.
        pub scratch: u32,
    }
}

/// The most entries of a short column: that of a 3x3 window over three channels.
const SHORT: u32 = 28;
/// The most bytes of weights that are kept as halfwords.
const EXTENDED: u32 = 4096;
/// The least pixels for which weights are kept as halfwords.
const MANY: usize = 16;

impl Conv {
    fn per_group(&self, tensor: &Tensor) -> u32 {
        u32::from(tensor.channels) / u32::from(self.groups).max(1)
    }

    /// Entries of a column, padded to a multiple of 4.
    #[must_use]
    pub fn column(&self) -> Option<u32> {
        let entries = self
            .window
            .positions()
            .checked_mul(self.per_group(&self.input));
        entries?.checked_next_multiple_of(4)
    }

    /// Bytes of the packed weights of a group.
    #[must_use]
    pub fn group_bytes(&self) -> Option<u32> {
        self.per_group(&self.output)
            .next_multiple_of(2)
            .checked_mul(self.column()?)
    }

    /// Bytes of the packed weights.
    #[must_use]
    pub fn weight_bytes(&self) -> Option<u32> {
        self.group_bytes()?.checked_mul(self.groups.into())
    }

    /// Bytes of arena that the kernels gather columns in: two columns of halfwords, and one of
    /// bytes. Behind them, the weights as halfwords where they are worth it.
    #[must_use]
    pub fn scratch_bytes(&self) -> Option<u32> {
        self.column()?
            .checked_mul(5)?
            .checked_add(self.extended_bytes()?)
    }

    /// Bytes of the weights as halfwords, with biases and multipliers; none where to extend them
    /// for each two pixels costs little beside the sums, or the layer has few pixels.
    fn extended_bytes(&self) -> Option<u32> {
        let column = self.column()?;
        let bytes = (16 + 4 * column.min(SHORT)) * self.blocks();
        let [height, width, _] = self.output.dims();
        let is_short = column <= SHORT && self.window.positions() > 1 && self.groups == 1;
        let is_plain = self.output.element == Element::I8 && !self.requant.exact;
        let is_worth = is_short && is_plain && height * width >= MANY && bytes <= EXTENDED;
        Some(if is_worth { bytes } else { 0 })
    }

    /// Blocks of two outputs in a group.
    fn blocks(&self) -> u32 {
        self.per_group(&self.output).div_ceil(2)
    }

    /// Bytes of biases and multipliers.
    #[must_use]
    pub fn scale_bytes(&self) -> Option<u32> {
        (self.blocks() * 16).checked_mul(self.groups.into())
    }

    /// Multiplications of a weight and an activation, those with padding included.
    #[must_use]
    pub fn macs(&self) -> u64 {
        let outputs: u64 = self.output.dims().iter().map(|&d| d as u64).product();
        outputs * u64::from(self.window.positions()) * u64::from(self.per_group(&self.input))
    }

    pub(super) fn check(&self, bounds: Bounds) -> Result<(), &'static str> {
        let (from, to) = (&self.input, &self.output);
        let whole = |t: &Tensor| {
            t.channels > 0 && self.groups > 0 && t.channels.is_multiple_of(self.groups)
        };
        let scratch = Region {
            offset: self.scratch,
            len: self.scratch_bytes().unwrap_or(u32::MAX),
        };
        all_hold(&[
            (are_bytes(&[from]), NOT_BYTES),
            (bounds.holds(from) && bounds.holds(to), OUTSIDE),
            (bounds.has(self.scratch, self.scratch_bytes()), OUTSIDE),
            (
                whole(from) && whole(to) && self.window.is_sound(),
                OTHER_SHAPE,
            ),
            (are_apart([from.region(), to.region(), scratch]), OVERLAP),
            (
                bounds.has_weights(self.weights, self.weight_bytes())
                    && bounds.has_weights(self.scales, self.scale_bytes()),
                NO_WEIGHTS,
            ),
            (self.requant.is_sound() && self.clamp.in_order(), UNSOUND),
        ])
    }
}

/// A convolution while it runs: what the columns are gathered from.
struct Gathering<'a> {
    conv: &'a Conv,
    from: &'a [u8],
    /// Input channels before the group's, and of the group.
    channels: (usize, usize),
    /// Where positions side by side are one run of bytes.
    runs: Option<Runs>,
}

impl Conv {
    pub(super) fn run(&self, memory: &mut Memory<'_>) -> Result<(), Failed> {
        let column = self.column().ok_or(Failed)?;
        let packed = weights(memory.weights, self.weights, self.weight_bytes())?;
        let scales = weights(memory.weights, self.scales, self.scale_bytes())?;
        let start = self.scratch as usize;
        let scratch = start..start + self.scratch_bytes().ok_or(Failed)? as usize;
        let [from, to, scratch] =
            memory.parts([self.input.range(), self.output.range(), scratch])?;
        let rounding = (self.output.element == Element::I8)
            .then(|| self.requant.rounding(self.output.zero_point, self.clamp));
        let scales = scales.as_chunks::<4>().0.as_chunks::<2>().0;
        let factors = Factors {
            packed,
            scales: scales.as_chunks::<2>().0,
            outputs: self.per_group(&self.output) as usize,
            rounding,
        };
        let mut columns = Columns::new(scratch, column as usize, factors);
        if self.is_product() {
            let entries = self.per_group(&self.input) as usize;
            let from = from.get(..entries).ok_or(Failed)?;
            if columns.product(from, factors, to) {
                return Ok(());
            }
        }
        self.run_groups(columns, factors, (from, to))
    }

    /// Computes all groups; `factors` are those of the layer.
    #[inline(never)]
    fn run_groups(
        &self,
        mut columns: Columns<'_>,
        mut factors: Factors<'_, 2>,
        (from, to): (&[u8], &mut [u8]),
    ) -> Result<(), Failed> {
        let (all, blocks) = (factors, self.blocks() as usize);
        let bytes = self.group_bytes().ok_or(Failed)? as usize;
        let entries = self.per_group(&self.input) as usize;
        let side_by_side = self.window.dilation[1] == 1 && self.groups == 1;
        let runs = side_by_side.then(|| Runs::of(&self.window, self.input.dims()));
        for group in 0..usize::from(self.groups) {
            let packed = all.packed.get(group * bytes..(group + 1) * bytes);
            let scales = all.scales.get(group * blocks..(group + 1) * blocks);
            factors.packed = packed.ok_or(Failed)?;
            factors.scales = scales.ok_or(Failed)?;
            let gathering = Gathering {
                conv: self,
                from,
                channels: (group * entries, entries),
                runs: runs.clone(),
            };
            gathering.group(&mut columns, factors, (&mut *to, group * factors.outputs))?;
        }
        Ok(())
    }

    /// Whether it is a matrix product, whose only column is the input as it lies.
    fn is_product(&self) -> bool {
        let [height, width, _] = self.output.dims();
        let is_one = height * width == 1 && self.window.positions() == 1;
        is_one && self.groups == 1 && self.window.pad == [0; 2]
    }
}

impl Gathering<'_> {
    /// Computes the outputs of a group, `first` being its first output channel.
    fn group(
        &self,
        columns: &mut Columns<'_>,
        factors: Factors<'_, 2>,
        (to, first): (&mut [u8], usize),
    ) -> Result<(), Failed> {
        let output = &self.conv.output;
        let (width, element) = (usize::from(output.width), output.element.bytes());
        let pixel = usize::from(output.channels) * element;
        let outputs = first * element..(first + factors.outputs) * element;
        let (mut row, mut column) = (0, 0);
        let mut rest = to;
        while !rest.is_empty() {
            if let Some(runs) = &self.runs
                && columns.have_side_by_side(runs.rows)
                && let pixels @ 1.. = runs.side_by_side([row, column], width)
                && let Some(now) = rest.get_mut(..pixels * pixel)
                && columns.side_by_side(self.rows(runs, [row, column]), runs.steps[1], now)
            {
                rest = &mut take(&mut rest)[pixels * pixel..];
                column += pixels;
                if column == width {
                    (row, column) = (row + 1, 0);
                }
                continue;
            }
            let len = rest.len().min(PIXELS * pixel);
            let (pair, later) = take(&mut rest).split_at_mut(len);
            rest = later;
            for slot in 0..pair.len() / pixel {
                match &self.runs {
                    None => self.gather([row, column], columns, slot),
                    Some(runs) if runs.are_within([row, column]) => {
                        let rows = self.rows(runs, [row, column]);
                        if !columns.whole(slot, rows) {
                            columns.rows(slot, rows);
                        }
                    }
                    Some(runs) => self.gather_at_edge(runs, [row, column], columns, slot),
                }
                column += 1;
                if column == width {
                    (row, column) = (row + 1, 0);
                }
            }
            let (one, two) = pair.split_at_mut(pixel);
            let one = one.get_mut(outputs.clone()).ok_or(Failed)?;
            match two.get_mut(outputs.clone()) {
                Some(two) => columns.multiply(factors, [one, two]),
                None => columns.multiply(factors, [one]),
            }
        }
        Ok(())
    }

    /// Whether the pieces of columns have multiples of 4 entries.
    fn is_whole(&self) -> bool {
        self.channels.1.is_multiple_of(4)
    }

    /// What the window of an output pixel covers of the image, if it lies within it.
    #[inline(always)]
    fn rows(&self, runs: &Runs, [row, column]: [usize; 2]) -> Rows<'_> {
        let start = row * runs.steps[0] + column * runs.steps[1];
        let start = start.wrapping_sub(runs.before);
        let [count, len, step] = runs.rows;
        Rows {
            bytes: self.from.get(start..).unwrap_or_default(),
            count,
            len,
            step,
            ahead: 0,
            pitch: len,
            padding: None,
        }
    }

    /// Gathers the column of an output pixel whose window covers some of the padding. Beside the
    /// vector extension's short loops a call would be a hundredth of the instructions.
    #[cfg_attr(dsp, inline(never))]
    #[cfg_attr(not(dsp), inline(always))]
    fn gather_at_edge(
        &self,
        runs: &Runs,
        [row, column]: [usize; 2],
        columns: &mut Columns<'_>,
        slot: usize,
    ) {
        let (window, [height, width, channels]) = (&self.conv.window, self.conv.input.dims());
        let (down, beside) = (
            window.inside(0, row, height),
            window.inside(1, column, width),
        );
        let [count, pitch, step] = runs.rows;
        // The first position that is no padding. Where all are, there are no rows.
        let start = row * runs.steps[0] + column * runs.steps[1] + down.start * step;
        let start = start + beside.start * channels;
        let start = start.wrapping_sub(runs.before);
        let rows = Rows {
            bytes: self.from.get(start..).unwrap_or_default(),
            count: down.len(),
            len: beside.len() * channels,
            step,
            ahead: down.start * pitch + beside.start * channels,
            pitch,
            padding: Some((self.conv.input.zero_point as u8, count * pitch)),
        };
        columns.rows(slot, rows);
    }

    /// Gathers the column of an output pixel by positions.
    #[inline(never)]
    fn gather(&self, [row, column]: [usize; 2], columns: &mut Columns<'_>, slot: usize) {
        let mut to = columns.writer(slot, self.is_whole());
        let window = &self.conv.window;
        let [height, width, channels] = self.conv.input.dims();
        let (first, count) = self.channels;
        let zero = self.conv.input.zero_point as u8;
        let kernel = window.kernel.map(usize::from);
        for y in 0..kernel[0] {
            let Some(y) = window.source(0, row, y, height) else {
                to.fill(zero, kernel[1] * count);
                continue;
            };
            for x in 0..kernel[1] {
                match window.source(1, column, x, width) {
                    Some(x) => {
                        let start = (y * width + x) * channels + first;
                        to.copy(self.from.get(start..start + count).unwrap_or_default());
                    }
                    None => to.fill(zero, count),
                }
            }
        }
        to.finish();
    }
}
