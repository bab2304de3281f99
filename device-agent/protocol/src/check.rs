//! Small checks that the conversions are made of.

use prost::Message;

use crate::{ProtocolError, bounds, plain};

/// Decodes a message; `name` is its name in errors.
pub fn decode<M: Message + Default>(bytes: &[u8], name: &'static str) -> Result<M, ProtocolError> {
    M::decode(bytes).map_err(|source| ProtocolError::Decode {
        message: name,
        source,
    })
}

/// Returns the field, or an error that names it.
pub(crate) fn need<T>(
    message: &'static str,
    field: &'static str,
    value: Option<T>,
) -> Result<T, ProtocolError> {
    value.ok_or(ProtocolError::Missing { message, field })
}

/// Refuses a text of more than `limit` bytes.
pub(crate) fn text(
    message: &'static str,
    field: &'static str,
    value: String,
    limit: usize,
) -> Result<String, ProtocolError> {
    if value.len() > limit {
        let length = format!("{} bytes long", value.len());
        return Err(ProtocolError::field(
            message,
            field,
            length,
            "the text is too long",
        ));
    }
    Ok(value)
}

/// Takes a message for people from the other side, on one line, its control characters escaped.
pub(crate) fn line(
    message: &'static str,
    field: &'static str,
    value: String,
) -> Result<String, ProtocolError> {
    let value = text(message, field, value, bounds::MAX_TEXT_BYTES)?;
    let plain = plain::on_one_line(&value).into_owned();
    Ok(plain::cut(plain, bounds::MAX_TEXT_BYTES))
}

/// As [`line`], for a message that may have several lines.
pub(crate) fn lines(
    message: &'static str,
    field: &'static str,
    value: String,
) -> Result<String, ProtocolError> {
    let value = text(message, field, value, bounds::MAX_TEXT_BYTES)?;
    let plain = plain::printable(&value).into_owned();
    Ok(plain::cut(plain, bounds::MAX_TEXT_BYTES))
}

/// Refuses a name that is long or has control characters.
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

/// Takes a short list of names.
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

/// Takes a list of at most `limit` messages, each checked by its own conversion.
pub(crate) fn list<M, T: TryFrom<M, Error = ProtocolError>>(
    message: &'static str,
    field: &'static str,
    values: Vec<M>,
    limit: usize,
) -> Result<Vec<T>, ProtocolError> {
    count(message, field, &values, limit)?;
    values.into_iter().map(T::try_from).collect()
}

/// Refuses a list of more than `limit` entries.
pub(crate) fn count<T>(
    message: &'static str,
    field: &'static str,
    list: &[T],
    limit: usize,
) -> Result<(), ProtocolError> {
    if list.len() > limit {
        let length = format!("a list of {}", list.len());
        return Err(ProtocolError::field(
            message,
            field,
            length,
            "the list is too long",
        ));
    }
    Ok(())
}

/// Refuses a value outside of `low..=high`.
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

/// Refuses a number that is negative or not finite.
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

/// Expects the checked type to refuse the message after `spoil`, with an error that contains
/// `needle`.
#[cfg(test)]
pub(crate) fn assert_refused<M: Clone, T>(message: &M, spoil: impl FnOnce(&mut M), needle: &str)
where
    T: TryFrom<M, Error = ProtocolError> + std::fmt::Debug,
{
    let mut spoilt = message.clone();
    spoil(&mut spoilt);
    let error = T::try_from(spoilt).unwrap_err().to_string();
    assert!(error.contains(needle), "{needle}: {error}");
}

/// Expects a value to come back from the wire unchanged.
#[cfg(test)]
pub(crate) fn assert_survives<M, T>(value: &T)
where
    M: Message + Default + From<T>,
    T: TryFrom<M, Error = ProtocolError> + Clone + PartialEq + std::fmt::Debug,
{
    let bytes = M::from(value.clone()).encode_to_vec();
    let back = T::try_from(decode(&bytes, "message").unwrap()).unwrap();
    assert_eq!(&back, value);
}
