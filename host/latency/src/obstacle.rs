//! Obstacles to using a device, each with its own remedy.

use std::fmt;

/// An obstacle to using a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Obstacle {
    /// The client program is not installed on this machine.
    NoProgram,
    /// Nothing answers at the device's address.
    Unreachable,
    /// The device rejects this user's key or certificate.
    KeyRefused,
    /// The device presents an unexpected key or certificate.
    Impostor,
    /// The phone has not authorised this computer for debugging.
    NotAllowed,
    /// The agent is not on the device.
    NotDeployed,
    /// The agent on the device is for another processor or C library.
    WrongArchitecture,
    /// The device has no certificates.
    NotEnrolled,
    /// Others on this machine can read this host's key.
    LooseKey,
    /// A certificate is out of date by one of the two clocks.
    OutOfDate,
    /// The device's list of clients lacks this host.
    NotListed,
}

impl Obstacle {
    /// Returns whether it may pass by itself, as when a cable is plugged in again.
    pub fn may_pass(self) -> bool {
        self == Self::Unreachable
    }

    /// Returns the remedy. `device` is the user's name for the device.
    pub fn advice(self, device: &str) -> String {
        match self {
            Self::NoProgram => "install it, or put its folder on PATH".to_owned(),
            Self::Unreachable => {
                "is it switched on and connected, and is the address right?".to_owned()
            }
            Self::KeyRefused => {
                "graphprune does not prompt for passwords: load a key that the device accepts (`ssh-copy-id`), or for TLS enrol it again with `graphprune device enroll`".to_owned()
            }
            Self::Impostor => {
                "connect once by hand with `ssh` and check the key it shows, or for TLS enrol the device again with `graphprune device enroll`".to_owned()
            }
            Self::NotAllowed => {
                "unlock the phone and confirm the question whether this computer may debug it"
                    .to_owned()
            }
            Self::NotDeployed => format!("put it there with `graphprune device deploy {device}`"),
            Self::WrongArchitecture => format!(
                "deploy the right one with `graphprune device deploy {device}`; add `--libc` where the device's C library is old or of another kind"
            ),
            Self::NotEnrolled => format!(
                "make them with `graphprune device enroll {device} --host ADDRESS`, and copy the device's part to it"
            ),
            Self::LooseKey => format!(
                "run `chmod 600` on it; if another user may have read it, make new certificates with `graphprune device enroll {device} --host ADDRESS --new-ca`"
            ),
            Self::OutOfDate => format!(
                "compare `date` on the device with this machine's and set the wrong clock; if both are right, renew the certificates with `graphprune device enroll {device} --host ADDRESS`"
            ),
            Self::NotListed => "if it should have access, run `graphprune device enroll --client NAME` on the host that holds the CA's key, and copy the files that it names".to_owned(),
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoProgram => "its client program is missing",
            Self::Unreachable => "it cannot be reached",
            Self::KeyRefused => "it refuses this user",
            Self::Impostor => "its key is not the expected one",
            Self::NotAllowed => "it does not allow this computer to debug it",
            Self::NotDeployed => "the agent is not on it",
            Self::WrongArchitecture => "the agent on it does not run there",
            Self::NotEnrolled => "there are no certificates for it",
            Self::LooseKey => "this host's key can be read by other users",
            Self::OutOfDate => "a certificate is out of date by one of the two clocks",
            Self::NotListed => "this host is not among the clients of the device",
        })
    }
}
