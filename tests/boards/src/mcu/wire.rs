//! The remote protocol of a Black Magic Probe, version 3, as far as probe-rs uses it.
//!
//! Source: `src/remote.h` of the Black Magic Debug project. A request is `!`, two letters,
//! arguments in hexadecimal digits, `#`; an answer `&`, a letter, digits, `#`.

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// The probe's name and version.
    Name,
    /// The version of this protocol.
    Version,
    /// Bits on the wire, lowest first.
    SwdOut { bits: u32, count: u8 },
    /// Bits from the wire.
    SwdIn { count: u8 },
    /// A register of the debug port.
    ReadDp { address: u16 },
    /// Likewise.
    WriteDp { address: u16, value: u32 },
    /// A register of an access port.
    ReadAp { port: u8, address: u16 },
    /// Likewise.
    WriteAp { port: u8, address: u16 },
    /// Memory.
    Read { address: u32, length: u32 },
    /// Memory.
    Write { address: u32, bytes: Vec<u8> },
    /// Speeds, voltages, pins: without a meaning for an emulated board.
    Setting,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// A number.
    Number(u64),
    /// A register of a port, its bytes in the order of the wire.
    Register(u32),
    /// Text.
    Text(String),
    /// Memory.
    Bytes(Vec<u8>),
    /// The target did not do it.
    Failed,
}

impl Answer {
    /// Writes the answer.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Number(number) => format!("&K{number:x}#"),
            Self::Register(value) => format!("&K{:08x}#", value.swap_bytes()),
            Self::Text(text) => format!("&K{text}#"),
            Self::Bytes(bytes) => format!("&K{}#", super::gdb::to_hex(bytes)),
            Self::Failed => "&E1#".to_owned(),
        }
    }
}

impl Request {
    /// Reads a request, without its `!` and `#`. `None` if it is none.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let number = |from: usize, length: usize| {
            u32::from_str_radix(text.get(from..from + length)?, 16).ok()
        };
        let short = |from: usize, length: usize| u16::try_from(number(from, length)?).ok();
        let byte = |from: usize| u8::try_from(number(from, 2)?).ok();
        Some(match text.get(..2)? {
            "GA" => Self::Name,
            "HC" => Self::Version,
            "So" => Self::SwdOut {
                count: byte(2)?,
                bits: u32::from_str_radix(text.get(4..)?, 16).ok()?,
            },
            "Si" => Self::SwdIn { count: byte(2)? },
            // After the letters comes the number of the device, which is 0.
            "Ad" => Self::ReadDp {
                address: short(6, 4)?,
            },
            "AR" => Self::WriteDp {
                address: short(6, 4)?,
                value: number(10, 8)?,
            },
            "Aa" => Self::ReadAp {
                port: byte(4)?,
                address: short(6, 4)?,
            },
            "AA" => Self::WriteAp {
                port: byte(4)?,
                address: short(6, 4)?,
            },
            "Am" => Self::Read {
                address: number(14, 8)?,
                length: number(22, 8)?,
            },
            "AM" => Self::Write {
                address: number(16, 8)?,
                bytes: super::gdb::from_hex(text.get(32..)?.as_bytes())?,
            },
            "SS" => Self::Setting,
            letters if letters.starts_with('G') => Self::Setting,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_as_probe_rs_writes_them() {
        let check = |text: &str, expected: Option<Request>| {
            assert_eq!(Request::parse(text), expected, "{text}");
        };
        check("GA", Some(Request::Name));
        check(
            "So08a5",
            Some(Request::SwdOut {
                bits: 0xa5,
                count: 8,
            }),
        );
        check("Si20", Some(Request::SwdIn { count: 32 }));
        check("Ad00ff0004", Some(Request::ReadDp { address: 4 }));
        check(
            "AR0000000400000050",
            Some(Request::WriteDp {
                address: 4,
                value: 0x50,
            }),
        );
        check(
            "Aa000001fc",
            Some(Request::ReadAp {
                port: 0,
                address: 0x1fc,
            }),
        );
        check(
            "Am00002300000020000000000000ff",
            Some(Request::Read {
                address: 0x2000_0000,
                length: 0xff,
            }),
        );
        check(
            "AM0000230000000220000000000000040a0b0c0d",
            Some(Request::Write {
                address: 0x2000_0000,
                bytes: vec![10, 11, 12, 13],
            }),
        );
        check("", None);
        check("Am", None);
        check("Am0000230000002000000z000000ff", None);
        check("JT", None);
        check("é", None);
    }

    #[test]
    fn registers_travel_with_their_bytes_reversed() {
        assert_eq!(Answer::Register(0x2ba0_1477).text(), "&K7714a02b#");
        assert_eq!(Answer::Bytes(vec![1, 0xab]).text(), "&K01ab#");
        assert_eq!(Answer::Number(3).text(), "&K3#");
    }
}
