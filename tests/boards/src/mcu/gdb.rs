//! A client of GDB's remote protocol, as far as a debug probe needs it.
//!
//! The other side is QEMU's stub. Source: "Debugging with GDB", appendix "GDB Remote Serial
//! Protocol".

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// How long the stub may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most bytes of one read or write of memory; the stub takes packets of 4 kB.
const MOST_BYTES: usize = 1024;
/// GDB's number of the program status register in QEMU's description of a Cortex-M.
const XPSR: u8 = 0x19;
/// The byte that stops a running core.
const INTERRUPT: u8 = 0x03;
/// The stub's signal for a stop on request.
const ON_REQUEST: u8 = 2;

/// A core behind a stub.
pub(super) struct Gdb {
    stream: UnixStream,
    /// Bytes that arrived and belong to no packet yet.
    unread: Vec<u8>,
    /// Whether a request to stop precedes the next packet. Its answer comes first.
    interrupts: bool,
    /// Why the core stopped at that request.
    stop: Option<Stop>,
}

/// Why a running core stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The probe asked for it.
    Requested,
    /// A breakpoint or the end of a step.
    Trap,
}

/// A register of a Cortex-M, by the number that its debug registers use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Register(pub u8);

impl Register {
    /// The link register.
    pub(super) const LR: Self = Self(14);
    /// The stack pointer.
    pub(super) const SP: Self = Self(13);
    /// The program counter.
    pub(super) const PC: Self = Self(15);

    /// Returns GDB's number. `None` for those that the stub does not show.
    fn of_gdb(self) -> Option<u8> {
        match self.0 {
            0..=15 => Some(self.0),
            16 => Some(XPSR),
            // After a reset the main stack pointer is the current one.
            17 => Some(13),
            _ => None,
        }
    }
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the emulator's stub: {what}"),
    )
}

impl Gdb {
    /// Takes over a connection to a stub whose core is stopped.
    pub(super) fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut this = Self {
            stream,
            unread: Vec::new(),
            interrupts: false,
            stop: None,
        };
        // Until the description was read, the stub answers no question about a register.
        this.ask("qSupported:xmlRegisters=arm")?;
        this.ask("qXfer:features:read:target.xml:0,fff")?;
        Ok(this)
    }

    /// Reads memory.
    pub(super) fn read(&mut self, address: u32, bytes: &mut [u8]) -> io::Result<()> {
        let mut at = address;
        for part in bytes.chunks_mut(MOST_BYTES) {
            let answer = self.ask(&format!("m{at:x},{:x}", part.len()))?;
            let read = from_hex(&answer).ok_or_else(|| malformed("no memory there"))?;
            if read.len() != part.len() {
                return Err(malformed("another length of memory"));
            }
            part.copy_from_slice(&read);
            at = at.wrapping_add(part.len() as u32);
        }
        Ok(())
    }

    /// Writes memory.
    pub(super) fn write(&mut self, address: u32, bytes: &[u8]) -> io::Result<()> {
        let mut at = address;
        for part in bytes.chunks(MOST_BYTES) {
            let data = to_hex(part);
            self.expect_ok(&format!("M{at:x},{:x}:{data}", part.len()))?;
            at = at.wrapping_add(part.len() as u32);
        }
        Ok(())
    }

    /// Reads a register; those that the stub does not show read as zero.
    pub(super) fn register(&mut self, register: Register) -> io::Result<u32> {
        let Some(number) = register.of_gdb() else {
            return Ok(0);
        };
        let answer = self.ask(&format!("p{number:x}"))?;
        let bytes = from_hex(&answer).and_then(|bytes| bytes.get(..4)?.try_into().ok());
        bytes
            .map(u32::from_le_bytes)
            .ok_or_else(|| malformed("no such register"))
    }

    /// Writes a register; the write of one that the stub does not show is ignored.
    pub(super) fn set_register(&mut self, register: Register, value: u32) -> io::Result<()> {
        let Some(number) = register.of_gdb() else {
            return Ok(());
        };
        let data = to_hex(&value.to_le_bytes());
        self.expect_ok(&format!("P{number:x}={data}"))
    }

    /// Sets or removes a breakpoint.
    pub(super) fn set_breakpoint(&mut self, address: u32, on: bool) -> io::Result<()> {
        let letter = if on { 'Z' } else { 'z' };
        self.expect_ok(&format!("{letter}1,{address:x},2"))
    }

    /// Lets the core run.
    pub(super) fn resume(&mut self) -> io::Result<()> {
        self.send("c")
    }

    /// Executes one instruction.
    pub(super) fn step(&mut self) -> io::Result<()> {
        self.send("s")?;
        self.stopped().map(drop)
    }

    /// Stops a running core. One that stopped by itself before the request arrived ignores it.
    pub(super) fn interrupt(&mut self) -> io::Result<Stop> {
        self.stream.write_all(&[INTERRUPT])?;
        self.stopped()
    }

    /// Stops a running core and does `work`. The request to stop and the first packet of `work`
    /// are one message. Returns why the core stopped, and the outcome.
    pub(super) fn interrupted<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> io::Result<T>,
    ) -> io::Result<(Stop, io::Result<T>)> {
        self.interrupts = true;
        let outcome = work(self);
        let stop = match self.stop.take() {
            Some(stop) => stop,
            None if std::mem::take(&mut self.interrupts) => self.interrupt()?,
            // A lost connection is its own error.
            None => {
                return Err(outcome
                    .err()
                    .unwrap_or_else(|| malformed("it did not stop")));
            }
        };
        Ok((stop, outcome))
    }

    /// Returns why the core stopped, if it did.
    pub(super) fn has_stopped(&mut self) -> io::Result<Option<Stop>> {
        self.stream.set_nonblocking(true)?;
        let mut bytes = [0; 256];
        let read = self.stream.read(&mut bytes);
        self.stream.set_nonblocking(false)?;
        match read {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => self.unread.extend_from_slice(&bytes[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        if self.unread.contains(&b'$') {
            return self.stopped().map(Some);
        }
        Ok(None)
    }

    /// Resets the whole machine, whose core stays stopped.
    pub(super) fn reset(&mut self) -> io::Result<()> {
        let command = to_hex(b"system_reset");
        self.send(&format!("qRcmd,{command}"))?;
        // What the monitor prints comes first.
        loop {
            let answer = self.receive()?;
            match answer.as_slice() {
                b"OK" => return Ok(()),
                [b'O', ..] => {}
                _ => return Err(malformed("the machine cannot be reset")),
            }
        }
    }

    fn stopped(&mut self) -> io::Result<Stop> {
        let answer = self.receive()?;
        let signal = answer
            .strip_prefix(b"T")
            .or_else(|| answer.strip_prefix(b"S"))
            .and_then(|rest| from_hex(rest.get(..2)?))
            .ok_or_else(|| malformed("it did not stop"))?;
        Ok(if signal == [ON_REQUEST] {
            Stop::Requested
        } else {
            Stop::Trap
        })
    }

    fn expect_ok(&mut self, packet: &str) -> io::Result<()> {
        match self.ask(packet)?.as_slice() {
            b"OK" => Ok(()),
            _ => Err(malformed(&format!("`{}` was refused", &packet[..1]))),
        }
    }

    fn ask(&mut self, packet: &str) -> io::Result<Vec<u8>> {
        self.send(packet)?;
        self.receive()
    }

    fn send(&mut self, packet: &str) -> io::Result<()> {
        let sum = packet.bytes().fold(0u8, u8::wrapping_add);
        let packet = format!("${packet}#{sum:02x}");
        if !std::mem::take(&mut self.interrupts) {
            return self.stream.write_all(packet.as_bytes());
        }
        let both = [&[INTERRUPT], packet.as_bytes()].concat();
        self.stream.write_all(&both)?;
        self.stop = Some(self.stopped()?);
        Ok(())
    }

    /// Receives the next packet. QEMU takes the packet after it as its acknowledgement.
    fn receive(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(packet) = self.take_packet() {
                return Ok(packet);
            }
            let mut bytes = [0; 4096];
            let count = self.stream.read(&mut bytes)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.unread.extend_from_slice(&bytes[..count]);
        }
    }

    /// Takes a whole packet, `$data#xx`, from what arrived. The checksum is not checked: the
    /// connection is a local socket.
    fn take_packet(&mut self) -> Option<Vec<u8>> {
        let from = self.unread.iter().position(|byte| *byte == b'$')?;
        let length = self.unread[from..].iter().position(|byte| *byte == b'#')?;
        let end = from + length + 3;
        if self.unread.len() < end {
            return None;
        }
        let packet = self.unread[from + 1..from + length].to_vec();
        self.unread.drain(..end);
        Some(packet)
    }
}

/// Writes bytes as hexadecimal digits.
pub(super) fn to_hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Reads hexadecimal digits. `None` if there are other characters or an odd number.
pub(super) fn from_hex(digits: &[u8]) -> Option<Vec<u8>> {
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}
