//! The clients that may use an agent on a network, and what each of them may do.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{ProtocolError, Sha256};

/// The name of the list's file beside the agent's certificate.
pub const CLIENTS_FILE: &str = "clients.json";
/// Clients in a list.
const MAX_CLIENTS: usize = 1024;

/// Something that a client may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Right {
    /// See the state of the device and what it measures. Every listed client has this right.
    Watch,
    /// Send models, measure and run them.
    Measure,
    /// End the agent.
    ShutDown,
}

impl Right {
    /// All rights.
    pub const ALL: [Self; 3] = [Self::Watch, Self::Measure, Self::ShutDown];

    /// Returns its name in lists and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Watch => "watch",
            Self::Measure => "measure",
            Self::ShutDown => "shut-down",
        }
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Right {
    type Err = ProtocolError;

    fn from_str(text: &str) -> Result<Self, ProtocolError> {
        let right = Self::ALL.into_iter().find(|right| right.name() == text);
        right.ok_or_else(|| {
            let expected = "watch, measure or shut-down is needed";
            ProtocolError::field("Client", "right", text, expected)
        })
    }
}

/// A client that may use the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AllowedClient {
    /// The user's name for it.
    pub name: String,
    /// The SHA-256 of its public key (the DER of `SubjectPublicKeyInfo`, RFC 5280 section 4.1),
    /// which stays the same when its certificate is renewed.
    pub key: Sha256,
    /// What it may do.
    pub rights: Vec<Right>,
}

impl AllowedClient {
    /// Whether it has a right.
    pub fn may(&self, right: Right) -> bool {
        right == Right::Watch || self.rights.contains(&right)
    }
}

/// The clients that may use an agent. No two have the same name or the same key.
///
/// ```
/// use agent_protocol::{AllowedClient, AllowedClients, Right, Sha256};
///
/// let key = Sha256::of(b"the DER of a public key");
/// let mut clients = AllowedClients::default();
/// clients.allow(AllowedClient { name: "ci".into(), key, rights: vec![Right::Measure] })?;
/// assert!(clients.find(key).is_some_and(|client| !client.may(Right::ShutDown)));
/// assert!(clients.revoke("ci").is_some());
/// assert!(clients.find(key).is_none());
/// # Ok::<(), agent_protocol::ProtocolError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct AllowedClients {
    clients: Vec<AllowedClient>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    clients: Vec<AllowedClient>,
}

impl TryFrom<Unchecked> for AllowedClients {
    type Error = ProtocolError;

    fn try_from(list: Unchecked) -> Result<Self, ProtocolError> {
        let mut checked = Self::default();
        for client in list.clients {
            let (name, before) = (client.name.clone(), checked.clients.len());
            checked.allow(client)?;
            // A second client of the same name or key would take the first one's place.
            if checked.clients.len() <= before {
                return Err(refused(&name, "each name and each key may occur once"));
            }
        }
        Ok(checked)
    }
}

/// Checks a name, which may become part of a path: 1 to 64 ASCII letters, digits, `-`, `_` and
/// `.`, the first of them no `.`.
///
/// # Errors
/// Fails for another name.
pub fn check_name(name: &str) -> Result<(), ProtocolError> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let is_fine =
        (1..=64).contains(&name.len()) && !name.starts_with('.') && name.chars().all(is_plain);
    let expected = "1 to 64 ASCII letters, digits, `-`, `_` and `.` are needed";
    is_fine.then_some(()).ok_or_else(|| refused(name, expected))
}

fn refused(name: &str, expected: &'static str) -> ProtocolError {
    ProtocolError::field("Client", "name", name, expected)
}

impl AllowedClients {
    /// Adds a client in place of those with its name or its key.
    ///
    /// # Errors
    /// Fails as [`check_name`] does, or if the list is full.
    pub fn allow(&mut self, client: AllowedClient) -> Result<(), ProtocolError> {
        check_name(&client.name)?;
        let name = client.name.as_str();
        if self.clients.len() >= MAX_CLIENTS {
            return Err(refused(name, "the list holds 1024 clients at most"));
        }
        self.clients
            .retain(|other| other.name != client.name && other.key != client.key);
        self.clients.push(client);
        Ok(())
    }

    /// Removes the client of this name and returns it.
    pub fn revoke(&mut self, name: &str) -> Option<AllowedClient> {
        let position = self.clients.iter().position(|client| client.name == name)?;
        Some(self.clients.remove(position))
    }

    /// Returns the client with this key.
    pub fn find(&self, key: Sha256) -> Option<&AllowedClient> {
        self.clients.iter().find(|client| client.key == key)
    }

    /// Returns all clients, oldest first.
    pub fn all(&self) -> &[AllowedClient] {
        &self.clients
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(name: &str, key: &str) -> AllowedClient {
        AllowedClient {
            name: name.into(),
            key: Sha256::of(key.as_bytes()),
            rights: vec![Right::Measure],
        }
    }

    fn names(clients: &AllowedClients) -> Vec<&str> {
        clients.all().iter().map(|c| c.name.as_str()).collect()
    }

    #[test]
    fn a_client_replaces_those_of_its_name_or_key() {
        let mut clients = AllowedClients::default();
        for (name, key) in [("desk", "1"), ("ci", "2"), ("desk", "3"), ("laptop", "2")] {
            clients.allow(client(name, key)).unwrap();
        }
        assert_eq!(names(&clients), ["desk", "laptop"]);
        assert!(clients.find(Sha256::of(b"1")).is_none());
        assert!(clients.revoke("ci").is_none());
        assert_eq!(clients.revoke("laptop").unwrap().key, Sha256::of(b"2"));
        assert_eq!(names(&clients), ["desk"]);
    }

    #[test]
    fn a_name_that_is_no_plain_word_is_refused() {
        let mut clients = AllowedClients::default();
        for name in ["", ".", "../ci", "a b", "ä", "a\n", &"x".repeat(65)] {
            assert!(clients.allow(client(name, "1")).is_err(), "{name:?}");
        }
        clients.allow(client(&"x".repeat(64), "1")).unwrap();
    }

    #[test]
    fn every_listed_client_may_watch_and_has_only_its_rights_beside_that() {
        let measures = client("ci", "1");
        let may = |client: &AllowedClient| Right::ALL.map(|right| client.may(right));
        assert_eq!(may(&measures), [true, true, false]);
        let watches = AllowedClient {
            rights: Vec::new(),
            ..measures
        };
        assert_eq!(may(&watches), [true, false, false]);
        for right in Right::ALL {
            assert_eq!(right.to_string().parse::<Right>().unwrap(), right);
        }
        assert!("deploy".parse::<Right>().is_err());
    }
}
