//! Addresses of devices, and the transport of each.

use std::fmt;
use std::str::FromStr;

use agent_protocol::BoardSpec;

use crate::shell::{LocalShell, Shell};
use crate::transport::{probe, tcp};
use crate::{
    Adb, AdbClient, LatencyError, Launcher, Local, Probe, Ssh, SshClient, Tcp, TransportKind, home,
};

/// A device's address: `local`, `ssh:pi@board`, `adb:SERIAL`, `tcp:host:port`,
/// `probe:VID:PID[:SERIAL]`, `ssh:lab@host/probe:VID:PID[:SERIAL]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The kind of transport.
    pub kind: TransportKind,
    /// The rest, in the notation of that kind; empty for this machine.
    pub text: String,
}

impl Address {
    /// Returns the address of this machine.
    pub fn local() -> Self {
        Self {
            kind: TransportKind::Local,
            text: String::new(),
        }
    }

    /// Parses an address. `kind` is the default for one without a kind in front.
    ///
    /// # Errors
    /// A description of the problem.
    pub fn parse(text: &str, kind: Option<TransportKind>) -> Result<Self, String> {
        if text == "local" && kind.is_none_or(|kind| kind == TransportKind::Local) {
            return Ok(Self::local());
        }
        // A probe at another machine is reached by ssh, whatever the profile's transport is.
        let kind = match probe::at_machine(text) {
            Some(_) => Some(TransportKind::Ssh),
            None => kind,
        };
        let prefixed = text
            .split_once(':')
            .and_then(|(kind, rest)| Some((kind_of(kind)?, rest)));
        let (kind, rest) = match (prefixed, kind) {
            (Some(prefixed), _) => prefixed,
            (None, Some(kind)) => (kind, text),
            (None, None) => {
                return Err(format!(
                    "`{text}` is not an address: write ssh:USER@HOST, adb:SERIAL, tcp:HOST:PORT, probe:VID:PID:SERIAL or USER@HOST/probe:VID:PID:SERIAL"
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
        let is_plain = |c: char| c.is_ascii_graphic() && !"'\"\\`$;|&<>(){}*?!".contains(c);
        match self.kind {
            TransportKind::Local if text.is_empty() => Ok(()),
            TransportKind::Local => Err("this machine has no address".into()),
            _ if text.is_empty() => Err("the address is empty".into()),
            _ if text.starts_with('-') || !text.chars().all(is_plain) => {
                Err(format!("`{text}` has characters that no address has"))
            }
            TransportKind::Tcp => tcp::split(text)
                .map(drop)
                .ok_or_else(|| format!("`{text}` is not HOST:PORT")),
            TransportKind::Probe => probe::check(text),
            TransportKind::Ssh if probe::at_machine(text).is_some() => {
                match probe::at_machine(text) {
                    Some(("", _)) | None => Err(format!("`{text}` names no machine")),
                    Some((_, of_probe)) => probe::check(of_probe),
                }
            }
            TransportKind::Ssh | TransportKind::Adb => Ok(()),
        }
    }
}

fn kind_of(word: &str) -> Option<TransportKind> {
    Some(match word {
        "ssh" => TransportKind::Ssh,
        "adb" => TransportKind::Adb,
        "tcp" => TransportKind::Tcp,
        "probe" => TransportKind::Probe,
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

/// The transport to a device.
#[derive(Clone, Debug)]
pub enum Transport {
    /// This machine.
    Local(Local),
    /// The system's ssh.
    Ssh(Ssh),
    /// The `adb` client.
    Adb(Adb),
    /// TLS to an independent agent.
    Tcp(Tcp),
    /// An agent on this machine, for a board behind a debug probe.
    Probe(Probe),
}

impl Transport {
    /// Creates the transport to an address. `device` is the user's name for the device, `folder`
    /// the agent's folder on it (empty for the default), `ssh_arguments` are further arguments of
    /// ssh.
    ///
    /// # Errors
    /// Fails if the system names no folder for certificates.
    pub fn new(
        device: &str,
        address: &Address,
        folder: &str,
        ssh_arguments: &[String],
    ) -> Result<Self, LatencyError> {
        let device = device.to_owned();
        let folder = |default: &str| {
            let folder = if folder.is_empty() { default } else { folder };
            folder.trim_end_matches('/').to_owned()
        };
        Ok(match address.kind {
            TransportKind::Local => Self::Local(Local::default()),
            TransportKind::Ssh => {
                let (machine, of_probe) = match probe::at_machine(&address.text) {
                    Some((machine, of_probe)) => (machine, Some(of_probe)),
                    None => (&address.text[..], None),
                };
                Self::Ssh(Ssh {
                    device,
                    destination: machine.to_owned(),
                    folder: folder(Ssh::FOLDER),
                    client: SshClient {
                        arguments: ssh_arguments.to_vec(),
                        ..SshClient::default()
                    },
                    allow_unconfined: false,
                    board: of_probe.map(|of_probe| BoardSpec {
                        probe: of_probe.to_owned(),
                        ..BoardSpec::default()
                    }),
                })
            }
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
            TransportKind::Probe => Self::Probe(Probe {
                device,
                probe: address.text.clone(),
                board: None,
                agent: None,
            }),
        })
    }

    /// Lets an agent that is started here run models without a layer of confinement that its
    /// kernel offers.
    pub(crate) fn allow_unconfined(&mut self) {
        match self {
            Self::Local(local) => local.allow_unconfined = true,
            Self::Ssh(ssh) => ssh.allow_unconfined = true,
            Self::Adb(adb) => adb.allow_unconfined = true,
            Self::Tcp(_) | Self::Probe(_) => {}
        }
    }

    /// Sets the board behind a probe. Returns whether the transport leads to a board exactly if
    /// there is one.
    pub(crate) fn set_board(&mut self, board: Option<&BoardSpec>) -> bool {
        match self {
            Self::Probe(probe) => {
                probe.board = board.cloned();
                board.is_some()
            }
            Self::Ssh(Ssh {
                board: Some(own), ..
            }) => match board {
                Some(board) => {
                    *own = BoardSpec {
                        probe: std::mem::take(&mut own.probe),
                        ..board.clone()
                    };
                    true
                }
                None => false,
            },
            _ => board.is_none(),
        }
    }

    /// Returns its kind.
    pub fn kind(&self) -> TransportKind {
        match self {
            Self::Local(_) => TransportKind::Local,
            Self::Ssh(_) => TransportKind::Ssh,
            Self::Adb(_) => TransportKind::Adb,
            Self::Tcp(_) => TransportKind::Tcp,
            Self::Probe(_) => TransportKind::Probe,
        }
    }

    /// Returns the launcher of the agent.
    pub fn launcher(&self) -> Box<dyn Launcher> {
        match self {
            Self::Local(local) => Box::new(local.clone()),
            Self::Ssh(ssh) => Box::new(ssh.clone()),
            Self::Adb(adb) => Box::new(adb.clone()),
            Self::Tcp(tcp) => Box::new(tcp.clone()),
            Self::Probe(probe) => Box::new(probe.clone()),
        }
    }

    /// Returns a shell on the device, if the transport has one.
    pub fn shell(&self) -> Option<Box<dyn Shell>> {
        match self {
            Self::Local(_) => Some(Box::new(LocalShell)),
            Self::Ssh(ssh) => Some(Box::new(ssh.clone())),
            Self::Adb(adb) => Some(Box::new(adb.clone())),
            Self::Tcp(_) | Self::Probe(_) => None,
        }
    }

    /// Returns the folder to deploy the agent to, if agents are deployed over this transport.
    pub fn folder(&self) -> Option<&str> {
        match self {
            Self::Ssh(ssh) => Some(&ssh.folder),
            Self::Adb(adb) => Some(&adb.folder),
            Self::Local(_) | Self::Tcp(_) | Self::Probe(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_its_kind_or_takes_the_profiles() {
        let check = |text: &str, kind, expected: Option<&str>| {
            let address = Address::parse(text, kind);
            assert_eq!(
                address.as_ref().ok().map(ToString::to_string).as_deref(),
                expected,
                "{text}: {address:?}"
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
        check("probe:0483:374b", None, Some("probe:0483:374b"));
        check("probe:0483:374B:066A", None, Some("probe:0483:374B:066A"));
        check(
            "probe:1d50:6018:127.0.0.1:4242",
            None,
            Some("probe:1d50:6018:127.0.0.1:4242"),
        );
        let (probe, lab) = (Some(TransportKind::Probe), "ssh:lab@host/probe:0483:374b");
        check("lab@host/probe:0483:374b", probe, Some(lab));
        check("ssh:lab@host/probe:0483:374b", None, Some(lab));
        check("lab@host/probe:0483:374b", None, Some(lab));
        check("lab@host/probe:stlink", probe, None);
        check("/probe:0483:374b", probe, None);
        check("probe:stlink", None, None);
        check("probe:0483", None, None);
    }
}
