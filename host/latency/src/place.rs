//! Where a device is, and everything that leads there: the way to its agent and a shell.

use std::fmt;
use std::str::FromStr;

use crate::shell::Shell;
use crate::transport::tcp;
use crate::{
    Adb, AdbClient, LatencyError, Launcher, Local, Ssh, SshClient, Tcp, TransportKind, home,
};

/// A device's address: `local`, `ssh:pi@board`, `adb:SERIAL`, `tcp:host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// How the device is reached.
    pub kind: TransportKind,
    /// The rest, as that kind writes it; empty for this machine.
    pub text: String,
}

impl Address {
    /// Reads an address. Without a kind in front it is of `kind`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str, kind: Option<TransportKind>) -> Result<Self, String> {
        if text == "local" && kind.is_none_or(|kind| kind == TransportKind::Local) {
            return Ok(Self {
                kind: TransportKind::Local,
                text: String::new(),
            });
        }
        let prefixed = text
            .split_once(':')
            .and_then(|(kind, rest)| Some((kind_of(kind)?, rest)));
        let (kind, rest) = match (prefixed, kind) {
            (Some(found), _) => found,
            (None, Some(kind)) => (kind, text),
            (None, None) => {
                return Err(format!(
                    "`{text}` is no address: ssh:USER@HOST, adb:SERIAL or tcp:HOST:PORT is needed"
                ));
            }
        };
        let address = Self {
            kind,
            text: rest.to_owned(),
        };
        address.check().map(|()| address)
    }

    fn check(&self) -> Result<(), String> {
        let text = &self.text;
        // The address becomes an argument of a program.
        let plain = |c: char| c.is_ascii_graphic() && !"'\"\\`$;|&<>(){}*?!".contains(c);
        match self.kind {
            TransportKind::Local if text.is_empty() => Ok(()),
            TransportKind::Local => Err("this machine has no address".into()),
            _ if text.is_empty() => Err("the address is empty".into()),
            _ if text.starts_with('-') || !text.chars().all(plain) => {
                Err(format!("`{text}` has characters that no address has"))
            }
            TransportKind::Tcp => tcp::split(text)
                .map(drop)
                .ok_or_else(|| format!("`{text}` is no HOST:PORT")),
            TransportKind::Ssh | TransportKind::Adb => Ok(()),
        }
    }
}

fn kind_of(word: &str) -> Option<TransportKind> {
    Some(match word {
        "ssh" => TransportKind::Ssh,
        "adb" => TransportKind::Adb,
        "tcp" => TransportKind::Tcp,
        _ => return None,
    })
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TransportKind::Local => f.write_str("local"),
            kind => write!(f, "{kind}:{}", self.text),
        }
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse(text, None)
    }
}

/// A device and what leads to it.
#[derive(Clone, Debug)]
pub enum Place {
    /// This machine.
    Local(Local),
    /// Behind ssh.
    Ssh(Ssh),
    /// Behind adb.
    Adb(Adb),
    /// An agent that runs by itself.
    Tcp(Tcp),
}

impl Place {
    /// The place at an address. `device` is what the user calls it, `folder` the agent's folder on it (empty: the usual
    /// one), `ssh_arguments` what ssh is told besides.
    ///
    /// # Errors
    /// When the folder for certificates is nowhere.
    pub fn at(
        device: &str,
        address: &Address,
        folder: &str,
        ssh_arguments: &[String],
    ) -> Result<Self, LatencyError> {
        let device = device.to_owned();
        let folder = |usual: &str| {
            let chosen = if folder.is_empty() { usual } else { folder };
            chosen.trim_end_matches('/').to_owned()
        };
        Ok(match address.kind {
            TransportKind::Local => Self::Local(Local::default()),
            TransportKind::Ssh => Self::Ssh(Ssh {
                device,
                destination: address.text.clone(),
                folder: folder(Ssh::FOLDER),
                client: SshClient {
                    arguments: ssh_arguments.to_vec(),
                    ..SshClient::default()
                },
                allow_unconfined: false,
            }),
            TransportKind::Adb => Self::Adb(Adb {
                device,
                folder: folder(Adb::FOLDER),
                client: AdbClient::new(&address.text),
                allow_unconfined: false,
            }),
            TransportKind::Tcp => Self::Tcp(Tcp {
                device,
                address: address.text.clone(),
                certificates: home::certificates()?,
            }),
        })
    }

    /// Lets an agent that is started here run models without a layer of confinement that its kernel offers.
    pub(crate) fn allow_unconfined(&mut self) {
        match self {
            Self::Local(local) => local.allow_unconfined = true,
            Self::Ssh(ssh) => ssh.allow_unconfined = true,
            Self::Adb(adb) => adb.allow_unconfined = true,
            Self::Tcp(_) => {}
        }
    }

    /// The way to the agent.
    pub fn launcher(&self) -> Box<dyn Launcher> {
        match self {
            Self::Local(local) => Box::new(local.clone()),
            Self::Ssh(ssh) => Box::new(ssh.clone()),
            Self::Adb(adb) => Box::new(adb.clone()),
            Self::Tcp(tcp) => Box::new(tcp.clone()),
        }
    }

    /// A shell on the device, where there is a way to one.
    pub fn shell(&self) -> Option<Box<dyn Shell>> {
        match self {
            Self::Local(_) => Some(Box::new(crate::shell::LocalShell)),
            Self::Ssh(ssh) => Some(Box::new(ssh.clone())),
            Self::Adb(adb) => Some(Box::new(adb.clone())),
            Self::Tcp(_) => None,
        }
    }

    /// The agent's folder on the device, where graphprune puts agents there.
    pub fn folder(&self) -> Option<&str> {
        match self {
            Self::Ssh(ssh) => Some(&ssh.folder),
            Self::Adb(adb) => Some(&adb.folder),
            Self::Local(_) | Self::Tcp(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_its_kind_or_takes_the_profiles() {
        let check = |text: &str, kind, wanted: Option<&str>| {
            let read = Address::parse(text, kind);
            assert_eq!(
                read.as_ref().ok().map(ToString::to_string).as_deref(),
                wanted,
                "{text}: {read:?}"
            );
        };
        let (ssh, adb) = (Some(TransportKind::Ssh), Some(TransportKind::Adb));
        check("ssh:pi@board", None, Some("ssh:pi@board"));
        check("pi@board", ssh, Some("ssh:pi@board"));
        check("10.0.0.3:5555", adb, Some("adb:10.0.0.3:5555"));
        check("tcp:[fe80::1]:7070", ssh, Some("tcp:[fe80::1]:7070"));
        check("local", None, Some("local"));
        check("board", None, None);
        check("ssh:-oProxyCommand=x", None, None);
        check("ssh:a b", None, None);
        check("ssh:", None, None);
        check("tcp:host:99999", None, None);
        check("adb:a;reboot", None, None);
    }
}
