//! Small checks the conversions are made of.

use prost::Message;

use crate::types::Sha256;
use crate::{ProtocolError, bounds, plain};

/// Decodes a message; `name` is what an error calls it.
pub fn decode<M: Message + Default>(bytes: &[u8], name: &'static str) -> Result<M, ProtocolError> {
    M::decode(bytes).map_err(|source| ProtocolError::Decode {
        message: name,
        source,
    })
}

/// The field, or an error that names it.
pub(crate) fn need<T>(
    message: &'static str,
    field: &'static str,
    value: Option<T>,
) -> Result<T, ProtocolError> {
    value.ok_or(ProtocolError::Missing { message, field })
}

/// A digest of the right length.
pub(crate) fn digest(message: &'static str, bytes: &[u8]) -> Result<Sha256, ProtocolError> {
    <[u8; 32]>::try_from(bytes).map(Sha256).map_err(|_| {
        ProtocolError::field(
            message,
            "sha256",
            format!("{} bytes long", bytes.len()),
            "32 bytes are needed",
        )
    })
}

/// A text that is not longer than `limit` bytes.
pub(crate) fn text(
    message: &'static str,
    field: &'static str,
    value: String,
    limit: usize,
) -> Result<String, ProtocolError> {
    if value.len() > limit {
        let found = format!("{} bytes long", value.len());
        return Err(ProtocolError::field(
            message,
            field,
            found,
            "the text is too long",
        ));
    }
    Ok(value)
}

/// A text for people that somebody else wrote, on one line: what a terminal obeys is made visible.
pub(crate) fn words(
    message: &'static str,
    field: &'static str,
    value: String,
) -> Result<String, ProtocolError> {
    let value = text(message, field, value, bounds::MAX_TEXT_BYTES)?;
    let plain = plain::on_one_line(&value).into_owned();
    Ok(plain::cut(plain, bounds::MAX_TEXT_BYTES))
}

/// The same of a text that may have several lines.
pub(crate) fn lines(
    message: &'static str,
    field: &'static str,
    value: String,
) -> Result<String, ProtocolError> {
    let value = text(message, field, value, bounds::MAX_TEXT_BYTES)?;
    let plain = plain::printable(&value).into_owned();
    Ok(plain::cut(plain, bounds::MAX_TEXT_BYTES))
}

/// A name: a short text without control characters.
pub(crate) fn name(
    message: &'static str,
    field: &'static str,
    value: String,
) -> Result<String, ProtocolError> {
    if value.chars().any(char::is_control) {
        return Err(ProtocolError::field(
            message,
            field,
            value.escape_debug(),
            "control characters are refused",
        ));
    }
    text(message, field, value, bounds::MAX_NAME_BYTES)
}

/// A few names.
pub(crate) fn names(
    message: &'static str,
    field: &'static str,
    values: Vec<String>,
) -> Result<Vec<String>, ProtocolError> {
    count(message, field, &values, bounds::MAX_LIST)?;
    values
        .into_iter()
        .map(|value| name(message, field, value))
        .collect()
}

/// No more than `limit` entries.
pub(crate) fn count<T>(
    message: &'static str,
    field: &'static str,
    list: &[T],
    limit: usize,
) -> Result<(), ProtocolError> {
    if list.len() > limit {
        let found = format!("a list of {}", list.len());
        return Err(ProtocolError::field(
            message,
            field,
            found,
            "the list is too long",
        ));
    }
    Ok(())
}

/// A value within bounds, both included.
pub(crate) fn within<T: PartialOrd + std::fmt::Display>(
    message: &'static str,
    field: &'static str,
    value: T,
    (low, high): (T, T),
    expected: &'static str,
) -> Result<T, ProtocolError> {
    if value >= low && value <= high {
        Ok(value)
    } else {
        Err(ProtocolError::field(message, field, value, expected))
    }
}

/// A finite number that is not negative.
pub(crate) fn amount(
    message: &'static str,
    field: &'static str,
    value: f64,
) -> Result<f64, ProtocolError> {
    within(
        message,
        field,
        value,
        (0.0, f64::MAX),
        "a finite number of at least 0 is needed",
    )
}
