//! Messages over a pipe: a little-endian length of four bytes, then the message.

use std::io::{Read, Write};

use prost::Message;

use crate::{ProtocolError, bounds};

/// Returns the frame of one message.
pub fn bytes<M: Message>(message: &M) -> Result<Vec<u8>, ProtocolError> {
    let limit = bounds::MAX_REPLY_BYTES as u64;
    let length = message.encoded_len() as u64;
    if length > limit {
        return Err(ProtocolError::FrameTooLong { length, limit });
    }
    let mut frame = (length as u32).to_le_bytes().to_vec();
    frame.reserve_exact(message.encoded_len());
    message.encode(&mut frame).map_err(std::io::Error::other)?;
    Ok(frame)
}

/// Writes one message and flushes.
pub fn write<M: Message>(out: &mut impl Write, message: &M) -> Result<(), ProtocolError> {
    out.write_all(&bytes(message)?)?;
    out.flush()?;
    Ok(())
}

/// Reads one message of at most `limit` bytes; `None` when the other side closed the pipe between
/// two messages.
pub fn read<M: Message + Default>(
    from: &mut impl Read,
    name: &'static str,
    limit: usize,
) -> Result<Option<M>, ProtocolError> {
    let mut length = [0u8; 4];
    let mut have = 0;
    while have < length.len() {
        match from.read(&mut length[have..]) {
            Ok(0) if have == 0 => return Ok(None),
            Ok(0) => return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into()),
            Ok(n) => have += n,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    let length = u64::from(u32::from_le_bytes(length));
    let limit = limit.min(bounds::MAX_REPLY_BYTES) as u64;
    if length > limit {
        return Err(ProtocolError::FrameTooLong { length, limit });
    }
    // The buffer grows with the bytes that arrive, so an announced length alone reserves nothing.
    let mut body = Vec::new();
    from.take(length).read_to_end(&mut body)?;
    if (body.len() as u64) < length {
        return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
    }
    crate::decode(&body, name).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire;

    const LIMIT: usize = 64;

    #[test]
    fn a_message_survives_and_a_closed_pipe_differs_from_a_broken_one() {
        let message = wire::HelloRequest {
            protocol: 7,
            client: "x".into(),
        };
        let mut pipe = Vec::new();
        write(&mut pipe, &message).unwrap();
        let whole = pipe.clone();
        let mut from = &whole[..];
        assert_eq!(
            read::<wire::HelloRequest>(&mut from, "HelloRequest", LIMIT).unwrap(),
            Some(message)
        );
        assert_eq!(
            read::<wire::HelloRequest>(&mut from, "HelloRequest", LIMIT).unwrap(),
            None
        );
        for cut in 1..whole.len() {
            assert!(
                read::<wire::HelloRequest>(&mut &whole[..cut], "HelloRequest", LIMIT).is_err(),
                "{cut}"
            );
        }
        assert!(matches!(
            read::<wire::HelloRequest>(&mut &whole[..], "HelloRequest", 2),
            Err(ProtocolError::FrameTooLong {
                length: 5,
                limit: 2
            })
        ));
        let long = u32::MAX.to_le_bytes();
        assert!(matches!(
            read::<wire::HelloRequest>(&mut &long[..], "HelloRequest", LIMIT),
            Err(ProtocolError::FrameTooLong { .. })
        ));
    }
}
