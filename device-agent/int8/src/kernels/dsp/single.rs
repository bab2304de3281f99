//! Outputs of the only pixel of a layer, four at a time: a matrix product.

use core::arch::naked_asm;

use crate::kernels::factors::{Factors, Scales};

/// One pixel of a layer.
pub(super) struct Single<'a> {
    pub by: Factors<'a, 2>,
    /// Its column, word behind word.
    pub halves: &'a [u8],
}

/// What the functions read and count in; its order is that of the assembly.
#[repr(C)]
struct SingleCall {
    packed: *const u8,
    halves: *const u8,
    halves_end: *const u8,
    scales: *const Scales<2>,
    offset: i32,
    shift: u32,
    to: *mut u8,
    pairs: usize,
    /// Bytes of a pair's weights.
    of_pair: usize,
    /// Whether a column has an odd number of quads.
    odd: usize,
}

impl Single<'_> {
    /// Computes all outputs, or their sums where nothing rounds. Returns whether it did: it does
    /// not if a length is unusual.
    #[inline(always)]
    pub fn multiply(&self, to: &mut [u8]) -> bool {
        let (by, plain) = (self.by, self.by.plain());
        let of_pair = self.halves.len();
        let (pairs, odd) = (by.outputs / 2, by.outputs % 2);
        let bytes = if plain.is_some() { 1 } else { 4 };
        let is_whole = of_pair > 0
            && of_pair.is_multiple_of(8)
            && by.packed.len() >= of_pair * (pairs + odd)
            && by.scales.len() >= pairs + odd
            && to.len() >= bytes * by.outputs;
        if !is_whole {
            return false;
        }
        let halves = self.halves.as_ptr_range();
        let mut call = SingleCall {
            packed: by.packed.as_ptr(),
            halves: halves.start,
            halves_end: halves.end,
            scales: by.scales.as_ptr(),
            offset: plain.map_or(0, |plain| plain.offset),
            shift: plain.map_or(0, |plain| plain.shift),
            to: to.as_mut_ptr(),
            pairs,
            of_pair,
            odd: of_pair % 16,
        };
        let function = match plain {
            Some(_) => rounded,
            None => summed,
        };
        if pairs > 0 {
            // SAFETY: `pairs` is positive; there are `of_pair` bytes of halfwords, in whole quads,
            // and per pair as many weights, a block of scales and two outputs, of a byte each if
            // they are rounded, otherwise of a word. All but the outputs begin on words.
            unsafe { function(&mut call) };
        }
        if odd > 0 {
            // The weights of its pair are there, room for two outputs is not.
            let mut two = [0; 8];
            call.packed = by.packed[of_pair * pairs..].as_ptr();
            call.scales = by.scales[pairs..].as_ptr();
            call.to = two.as_mut_ptr();
            call.pairs = 1;
            // SAFETY: as above, of one pair.
            unsafe { function(&mut call) };
            to[2 * pairs * bytes..][..bytes].copy_from_slice(&two[..bytes]);
        }
        if let Some(plain) = plain {
            plain.limit(&mut to[..by.outputs]);
        }
        true
    }
}

/// Adds the products of four entries in r4 and r5 with the weights of two outputs in r6 and r7 to
/// two sums.
macro_rules! products {
    ($one:literal, $two:literal) => {
        concat!(
            "sxtb16 r12, r6\n",
            "sxtb16 r6, r6, ror #8\n",
            concat!("smlad ", $one, ", r12, r4, ", $one, "\n"),
            concat!("smlad ", $one, ", r6, r5, ", $one, "\n"),
            "sxtb16 r12, r7\n",
            "sxtb16 r7, r7, ror #8\n",
            concat!("smlad ", $two, ", r12, r4, ", $two, "\n"),
            concat!("smlad ", $two, ", r7, r5, ", $two, "\n"),
        )
    };
}

/// Four entries and the weights of two outputs.
macro_rules! two_outputs {
    () => {
        concat!(
            "ldmia r1!, {{r4, r5}}\n",
            "ldmia r0!, {{r6, r7}}\n",
            products!("r8", "r9"),
        )
    };
}

/// As [`two_outputs`], and those of the next pair, from r2 on.
macro_rules! four_outputs {
    () => {
        concat!(
            two_outputs!(),
            "ldmia r2!, {{r6, r7}}\n",
            products!("r10", "r11"),
        )
    };
}

/// Rounds two sums: multipliers in r4 and r5, the offset in r1, the shift in r2.
macro_rules! round_two {
    ($one:literal, $two:literal) => {
        concat!(
            concat!("smmla ", $one, ", ", $one, ", r4, r1\n"),
            concat!("smmla ", $two, ", ", $two, ", r5, r1\n"),
            concat!("asr ", $one, ", ", $one, ", r2\n"),
            concat!("asr ", $two, ", ", $two, ", r2\n"),
            concat!("ssat ", $one, ", #8, ", $one, "\n"),
            concat!("ssat ", $two, ", #8, ", $two, "\n"),
            concat!("strb ", $one, ", [lr], #1\n"),
            concat!("strb ", $two, ", [lr], #1\n"),
        )
    };
}

/// Stores two sums; registers as in [`round_two`].
macro_rules! store_two {
    ($one:literal, $two:literal) => {
        concat!("strd ", $one, ", ", $two, ", [lr], #8\n")
    };
}

/// Defines a function that computes the outputs of a pixel by four.
macro_rules! by_fours {
    ($(#[$doc:meta])* $name:ident $finish:ident) => {
        $(#[$doc])*
        // SAFETY: the code keeps to the calling convention: it restores r4 to r11 and returns.
        #[unsafe(naked)]
        unsafe extern "C" fn $name(call: &mut SingleCall) {
            naked_asm!(
                machine!(),
                "push {{r4-r11, lr}}",
                "mov r3, r0",
                "ldr r0, [r3]",
                "2:",
                "ldrd r1, lr, [r3, #4]",
                "ldr r12, [r3, #12]",
                "ldrd r5, r4, [r3, #28]",
                "ldrd r8, r9, [r12]",
                "cmp r5, #1",
                "ldr r5, [r3, #36]",
                "beq 6f",
                "add r2, r0, r4",
                "ldrd r10, r11, [r12, #16]",
                // An odd number of quads begins with the second of a round.
                "cbnz r5, 4f",
                "3:",
                four_outputs!(),
                "4:",
                four_outputs!(),
                "cmp r1, lr",
                "bne 3b",
                "mov r0, r2",
                "ldrd r1, r2, [r3, #16]",
                "ldr r12, [r3, #12]",
                "ldr lr, [r3, #24]",
                "ldrd r4, r5, [r12, #8]",
                $finish!("r8", "r9"),
                "ldrd r4, r5, [r12, #24]",
                $finish!("r10", "r11"),
                "add r12, #32",
                "ldr r4, [r3, #28]",
                "str r12, [r3, #12]",
                "str lr, [r3, #24]",
                "subs r4, #2",
                "str r4, [r3, #28]",
                "bne 2b",
                "pop {{r4-r11, pc}}",
                // The last pair alone.
                "6:",
                "cbnz r5, 8f",
                "7:",
                two_outputs!(),
                "8:",
                two_outputs!(),
                "cmp r1, lr",
                "bne 7b",
                "ldrd r1, r2, [r3, #16]",
                "ldr r12, [r3, #12]",
                "ldr lr, [r3, #24]",
                "ldrd r4, r5, [r12, #8]",
                $finish!("r8", "r9"),
                "pop {{r4-r11, pc}}",
            )
        }
    };
}

by_fours! {
    /// # Safety
    /// Each end of the call comes after its beginning, by whole quads; the pointers are valid
    /// between them and for `pairs`, which is positive.
    rounded round_two
}

by_fours! {
    /// # Safety
    /// As [`rounded`]; outputs are words.
    summed store_two
}
