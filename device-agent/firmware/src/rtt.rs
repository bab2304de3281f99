//! Real Time Transfer: two ring buffers in memory, which the probe reads and writes while the core
//! runs.
//!
//! Source of the layout: SEGGER's knowledge base, "RTT", section "RTT control block".

use core::cell::UnsafeCell;
use core::sync::atomic::{Ordering, fence};

use crate::commands::{ANSWER_WORDS, COMMAND_WORDS};

const RING_BYTES: usize = 128;
/// The identification by which a debugger finds the block.
const ID: [u8; 16] = *b"SEGGER RTT\0\0\0\0\0\0";

#[repr(C)]
struct Ring {
    name: *const u8,
    buffer: *mut u8,
    size: u32,
    write: u32,
    read: u32,
    /// What the core does when a buffer is full, 2: it waits.
    flags: u32,
}

#[repr(C)]
struct Block {
    id: [u8; 16],
    up_rings: i32,
    down_rings: i32,
    up: Ring,
    down: Ring,
}

#[repr(C, align(4))]
struct Memory {
    block: UnsafeCell<Block>,
    up: UnsafeCell<[u8; RING_BYTES]>,
    down: UnsafeCell<[u8; RING_BYTES]>,
}

// SAFETY: there is one core and no interrupt that uses it; the probe's accesses are volatile here.
unsafe impl Sync for Memory {}

const EMPTY: Ring = Ring {
    name: core::ptr::null(),
    buffer: core::ptr::null_mut(),
    size: 0,
    write: 0,
    read: 0,
    flags: 0,
};

/// All zero, so that it takes no room in the flash; [`Channel::open`] fills it in.
// SAFETY: no other symbol has this name, by which the probe finds the block.
#[unsafe(no_mangle)]
static _SEGGER_RTT: Memory = Memory {
    block: UnsafeCell::new(Block {
        id: [0; 16],
        up_rings: 0,
        down_rings: 0,
        up: EMPTY,
        down: EMPTY,
    }),
    up: UnsafeCell::new([0; RING_BYTES]),
    down: UnsafeCell::new([0; RING_BYTES]),
};

/// The channel to the agent.
pub struct Channel(());

impl Channel {
    /// Fills in the block, by which the agent finds the channel.
    pub fn open() -> Self {
        let block = _SEGGER_RTT.block.get();
        let ring = |memory: &UnsafeCell<[u8; RING_BYTES]>| Ring {
            name: c"graphprune".as_ptr().cast(),
            buffer: memory.get().cast(),
            size: RING_BYTES as u32,
            write: 0,
            read: 0,
            flags: 2,
        };
        // SAFETY: the block is a static, and the probe writes to it only once it has the
        // identification, which comes last.
        unsafe {
            (&raw mut (*block).up).write_volatile(ring(&_SEGGER_RTT.up));
            (&raw mut (*block).down).write_volatile(ring(&_SEGGER_RTT.down));
            (&raw mut (*block).up_rings).write_volatile(1);
            (&raw mut (*block).down_rings).write_volatile(1);
            fence(Ordering::SeqCst);
            (&raw mut (*block).id).write_volatile(ID);
        }
        Self(())
    }

    /// The opened channel, for the end of the program.
    pub fn again() -> Self {
        Self(())
    }

    /// Waits for a command.
    pub fn receive(&self) -> [u32; COMMAND_WORDS] {
        let mut frame = [0; COMMAND_WORDS];
        for word in &mut frame {
            *word = u32::from_le_bytes(core::array::from_fn(|_| self.receive_byte()));
        }
        frame
    }

    /// Sends an answer; waits while the buffer is full.
    pub fn send(&self, frame: &[u32; ANSWER_WORDS]) {
        for byte in frame.iter().flat_map(|word| word.to_le_bytes()) {
            self.send_byte(byte);
        }
    }

    fn receive_byte(&self) -> u8 {
        let block = _SEGGER_RTT.block.get();
        // SAFETY: the ring is a static; the probe changes `write` and the buffer before it, and
        // this only `read`. An index that the probe could have spoilt stays within the buffer.
        unsafe {
            let ring = &raw mut (*block).down;
            let read = (*ring).read % RING_BYTES as u32;
            while (&raw const (*ring).write).read_volatile() == read {
                core::hint::spin_loop();
            }
            fence(Ordering::SeqCst);
            let byte = _SEGGER_RTT
                .down
                .get()
                .cast::<u8>()
                .add(read as usize)
                .read_volatile();
            (&raw mut (*ring).read).write_volatile((read + 1) % RING_BYTES as u32);
            byte
        }
    }

    fn send_byte(&self, byte: u8) {
        let block = _SEGGER_RTT.block.get();
        // SAFETY: as above, with the roles exchanged.
        unsafe {
            let ring = &raw mut (*block).up;
            let write = (*ring).write % RING_BYTES as u32;
            let next = (write + 1) % RING_BYTES as u32;
            while (&raw const (*ring).read).read_volatile() == next {
                core::hint::spin_loop();
            }
            _SEGGER_RTT
                .up
                .get()
                .cast::<u8>()
                .add(write as usize)
                .write_volatile(byte);
            fence(Ordering::SeqCst);
            (&raw mut (*ring).write).write_volatile(next);
        }
    }
}
