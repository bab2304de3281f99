//! Conversions of messages whose fields have the same names and types in the checked type.

/// Implements both conversions between a checked type and its message of the same name. Every
/// field is copied; on the way in, the type's `check` has the last word.
macro_rules! mirror_struct {
    ($type:ident { $($field:ident),+ $(,)? }) => {
        impl TryFrom<$crate::wire::$type> for $type {
            type Error = $crate::ProtocolError;

            fn try_from(message: $crate::wire::$type) -> Result<Self, Self::Error> {
                let value = Self { $($field: message.$field),+ };
                value.check()?;
                Ok(value)
            }
        }

        impl From<$type> for $crate::wire::$type {
            fn from(value: $type) -> Self {
                Self { $($field: value.$field),+ }
            }
        }
    };
}

/// Implements both conversions between an enum and the enum of the same name on the wire, which
/// has `Unspecified` besides. `from_wire` takes the number as it was received.
macro_rules! mirror_enum {
    ($type:ident { $($variant:ident),+ $(,)? }, $expected:literal) => {
        impl $type {
            pub(crate) fn from_wire(
                message: &'static str,
                field: &'static str,
                number: i32,
            ) -> Result<Self, $crate::ProtocolError> {
                match $crate::wire::$type::try_from(number) {
                    $(Ok($crate::wire::$type::$variant) => Ok(Self::$variant),)+
                    Ok($crate::wire::$type::Unspecified) | Err(_) => Err(
                        $crate::ProtocolError::field(message, field, number, $expected)
                    ),
                }
            }

            pub(crate) fn to_wire(self) -> i32 {
                match self {
                    $(Self::$variant => $crate::wire::$type::$variant.into(),)+
                }
            }
        }
    };
}

pub(crate) use {mirror_enum, mirror_struct};
