//! The code of steps and refreshes.
//!
//! Gaps have a Rice code whose parameter follows the mean gap, as in LOCO-I (Weinberger, Seroussi
//! and Sapiro, 2000). A quotient of [`ESCAPE`] ones is followed by a bit: 1 and a whole gap, or 0
//! and the bits of an amount. A stream that is cut, or filled up with ones, ends within a code:
//! it never yields a wrong step.

/// Ones that start an escape.
const ESCAPE: u32 = 24;
/// Gaps after which the mean forgets the oldest.
const MEMORY: u64 = 64;

/// What the stream says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Event {
    /// Pass so many weights, and refine the next.
    Gap(u64),
    /// Set the amount.
    Amount(f32),
}

/// The parameter of the Rice code.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rice {
    sum: u64,
    count: u64,
    /// Bits of a whole gap.
    whole: u32,
}

impl Rice {
    /// The state at the start, for `n` weights.
    pub fn new(n: u64) -> Self {
        let whole = u64::BITS - n.leading_zeros();
        Self {
            sum: 1,
            count: 1,
            whole,
        }
    }

    fn parameter(&self) -> u32 {
        let mean = self.sum / self.count;
        (u64::BITS - mean.leading_zeros()).min(self.whole)
    }

    fn learn(&mut self, gap: u64) {
        self.sum += gap;
        self.count += 1;
        if self.count == MEMORY {
            self.sum /= 2;
            self.count /= 2;
        }
    }
}

/// Writes bits, most significant first.
#[derive(Debug, Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
    /// Free bits of the last byte.
    free: u32,
}

impl Writer {
    pub fn bit(&mut self, bit: bool) {
        if self.free == 0 {
            self.bytes.push(0);
            self.free = 8;
        }
        self.free -= 1;
        if let Some(last) = self.bytes.last_mut() {
            *last |= u8::from(bit) << self.free;
        }
    }

    fn bits(&mut self, value: u64, count: u32) {
        for bit in (0..count).rev() {
            self.bit(value >> bit & 1 == 1);
        }
    }

    pub fn event(&mut self, event: Event, rice: &mut Rice) {
        match event {
            Event::Gap(gap) => {
                let parameter = rice.parameter();
                let quotient = gap >> parameter;
                if quotient < u64::from(ESCAPE) {
                    self.bits(u64::MAX, quotient as u32);
                    self.bit(false);
                    self.bits(gap, parameter);
                } else {
                    self.bits(u64::MAX, ESCAPE + 1);
                    self.bits(gap, rice.whole);
                }
                rice.learn(gap);
            }
            Event::Amount(amount) => {
                self.bits(u64::MAX, ESCAPE);
                self.bit(false);
                self.bits(u64::from(amount.to_bits()), f32::MANTISSA_DIGITS + 8);
            }
        }
    }

    /// Number of whole and started bytes.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Returns the bytes, filled up with ones.
    pub fn finish(mut self) -> Vec<u8> {
        while self.free > 0 {
            self.bit(true);
        }
        self.bytes
    }
}

/// Reads bits. All functions return `None` at the end.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    /// Bits read.
    at: usize,
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes of the bits read.
    pub fn len(&self) -> usize {
        self.at.div_ceil(8)
    }

    pub fn bit(&mut self) -> Option<bool> {
        let byte = self.bytes.get(self.at / 8)?;
        let bit = byte >> (7 - self.at % 8) & 1 == 1;
        self.at += 1;
        Some(bit)
    }

    fn bits(&mut self, count: u32) -> Option<u64> {
        (0..count).try_fold(0, |value, _| Some(value << 1 | u64::from(self.bit()?)))
    }

    pub fn event(&mut self, rice: &mut Rice) -> Option<Event> {
        let mut quotient = 0;
        while quotient < ESCAPE && self.bit()? {
            quotient += 1;
        }
        let gap = if quotient < ESCAPE {
            let parameter = rice.parameter();
            u64::from(quotient) << parameter | self.bits(parameter)?
        } else if self.bit()? {
            self.bits(rice.whole)?
        } else {
            let bits = self.bits(f32::MANTISSA_DIGITS + 8)?;
            return Some(Event::Amount(f32::from_bits(bits as u32)));
        };
        rice.learn(gap);
        Some(Event::Gap(gap))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_prefix_yields_a_prefix_of_the_events(
            gaps in proptest::collection::vec((any::<bool>(), 0_u32..20, 0_u64..1 << 20), 1..60),
        ) {
            let events = gaps.into_iter().map(|(amount, shift, value)| match amount {
                true => Event::Amount(value as f32),
                false => Event::Gap(value >> shift),
            });
            let events: Vec<Event> = events.collect();
            let mut writer = Writer::default();
            let mut rice = Rice::new(1 << 20);
            for event in &events {
                writer.event(*event, &mut rice);
            }
            let bytes = writer.finish();
            for len in 0..=bytes.len() {
                let mut reader = Reader::new(&bytes[..len]);
                let mut rice = Rice::new(1 << 20);
                let read = std::iter::from_fn(|| reader.event(&mut rice));
                let read: Vec<Event> = read.collect();
                prop_assert!(events.starts_with(&read));
                prop_assert!(len < bytes.len() || events.len() == read.len());
            }
        }
    }
}
