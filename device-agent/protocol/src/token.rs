//! The secret that a start of the agent is given.

use subtle::ConstantTimeEq;

/// The metadata key that carries the token on every call.
pub const TOKEN_METADATA: &str = "graphprune-token";

/// A secret of one start of the agent. Compared in constant time; never printed.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// A new one: 256 random bits as hexadecimal digits.
    pub fn generate() -> Result<Self, std::io::Error> {
        let mut bytes = [0u8; 32];
        getrandom::fill(&mut bytes).map_err(std::io::Error::other)?;
        Ok(Self(
            bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        ))
    }

    /// A token that came from elsewhere: at least 32 visible ASCII characters.
    pub fn parse(text: &str) -> Result<Self, crate::ProtocolError> {
        let text = text.trim();
        if text.len() < 32 || text.len() > 256 || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(crate::ProtocolError::field(
                "Token",
                "text",
                format!("{} bytes", text.len()),
                "32 to 256 visible ASCII characters are needed",
            ));
        }
        Ok(Self(text.to_owned()))
    }

    /// The text that travels.
    pub fn secret(&self) -> &str {
        &self.0
    }

    /// Whether `other` is the same, in a time that does not tell where they differ.
    pub fn matches(&self, other: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(other).into()
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(..)")
    }
}
