//! Handwritten HTTP/2 frames, for bytes that no library would send.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A client's first bytes: the preface and empty settings.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// Frame types.
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const CONTINUATION: u8 = 9;
/// The flag that ends a block of headers.
pub const END_HEADERS: u8 = 4;

/// Returns one frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// Returns a string in HPACK, without Huffman coding.
fn string(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    if text.len() < 127 {
        bytes.push(u8::try_from(text.len()).unwrap());
    } else {
        bytes.push(127);
        let mut rest = text.len() - 127;
        while rest >= 128 {
            bytes.push(u8::try_from(rest % 128).unwrap() | 128);
            rest /= 128;
        }
        bytes.push(u8::try_from(rest).unwrap());
    }
    bytes.extend(text);
    bytes
}

/// Returns one header, which is added to the dynamic table if `indexed`.
pub fn header(name: &str, value: &[u8], indexed: bool) -> Vec<u8> {
    let first = if indexed { 0x40 } else { 0x10 };
    [vec![first], string(name.as_bytes()), string(value)].concat()
}

/// Returns the headers of a call.
pub fn call(method: &str, token: Option<&str>) -> Vec<u8> {
    let path = format!("/graphprune.agent.v1.Agent/{method}");
    let mut block = [
        header(":method", b"POST", false),
        header(":scheme", b"http", false),
        header(":path", path.as_bytes(), false),
        header(":authority", b"localhost", false),
        header("content-type", b"application/grpc", false),
        header("te", b"trailers", false),
    ]
    .concat();
    if let Some(token) = token {
        block.extend(header("graphprune-token", token.as_bytes(), false));
    }
    block
}

/// Connects and sends `bytes`.
pub fn connect(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    let limit = Some(Duration::from_secs(60));
    stream.set_read_timeout(limit).unwrap();
    stream.set_write_timeout(limit).unwrap();
    stream.write_all(bytes).unwrap();
    stream
}

/// Reads until the agent closes the connection. Panics when it does not.
pub fn closed(mut stream: &TcpStream) {
    let mut answer = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answer) {
        let open = [std::io::ErrorKind::WouldBlock, std::io::ErrorKind::TimedOut];
        assert!(!open.contains(&error.kind()), "it is still open");
    }
}

/// Sends all parts unless the agent closes the connection. Returns whether it does.
pub fn pour(mut stream: &TcpStream, parts: impl Iterator<Item = Vec<u8>>) -> bool {
    // Unread answers would block the agent.
    let mut answers = stream.try_clone().unwrap();
    let reader = std::thread::spawn(move || std::io::copy(&mut answers, &mut std::io::sink()));
    let mut open = true;
    for part in parts {
        open = stream.write_all(&part).is_ok();
        if !open {
            break;
        }
    }
    // Otherwise the reader would wait while the agent keeps the connection open.
    let _ = stream.shutdown(std::net::Shutdown::Write);
    // Any outcome of the reader will do.
    let _ = reader.join();
    !open
}

/// Reads frames up to one with headers, which carries an answer or its status.
pub fn until_headers(mut stream: &TcpStream) -> Vec<u8> {
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).expect("an answer");
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload).expect("a whole frame");
        if head[3] == HEADERS {
            return payload;
        }
    }
}
