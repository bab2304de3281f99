//! The secret of one start of an agent.

use subtle::ConstantTimeEq;

/// The metadata key that carries the token on every call.
pub const TOKEN_METADATA: &str = "graphprune-token";

/// The secret of one start of an agent. Compared in constant time; never printed.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// Generates a token: 256 random bits as hexadecimal digits.
    pub fn generate() -> Result<Self, std::io::Error> {
        let mut bytes = [0u8; 32];
        getrandom::fill(&mut bytes).map_err(std::io::Error::other)?;
        Ok(Self(
            bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        ))
    }

    /// Takes a token from elsewhere: 32 to 256 visible ASCII characters.
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

    /// Returns the text that is sent.
    pub fn secret(&self) -> &str {
        &self.0
    }

    /// Whether `other` is this token, in a time that does not depend on where they differ.
    pub fn matches(&self, other: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(other).into()
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_matches_only_itself_and_is_not_printed() {
        let (one, other) = (Token::generate().unwrap(), Token::generate().unwrap());
        assert!(one.matches(one.secret().as_bytes()) && !one.matches(other.secret().as_bytes()));
        assert!(!one.matches(&one.secret().as_bytes()[..63]) && !one.matches(b""));
        assert!(!format!("{one:?}").contains(one.secret()));
        let parsed = Token::parse(one.secret()).unwrap();
        assert!(parsed.matches(one.secret().as_bytes()));
        let spaced = format!("{} x", "y".repeat(32));
        for weak in ["", "short", &"x".repeat(257), &spaced] {
            assert!(Token::parse(weak).is_err(), "{weak}");
        }
    }
}
