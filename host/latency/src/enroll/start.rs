//! How the files of an enrolled device get there, and how its agent starts.

use super::Enrolled;
use super::devices::CERTIFICATES;
use crate::transport::remote::quote_path;

/// The folder of the agent's program and library in the user's home folder on a device.
const PROGRAMS: &str = "graphprune-agent";
/// The folders of the programs and of the certificates for a service.
const SERVICE_PROGRAMS: &str = "/opt/graphprune";
const SERVICE_CERTIFICATES: &str = "/etc/graphprune/tls";
/// The user of a service, and its folder below `/var/cache`.
const SERVICE_USER: &str = "graphprune";
const SERVICE_CACHE: &str = "graphprune-agent";

impl Enrolled {
    /// Returns commands for this machine that copy the certificates and the agent to the device.
    pub fn copying(&self) -> [String; 2] {
        let folder = self.device_folder.display().to_string();
        [
            format!("scp -rp {} USER@HOST:{CERTIFICATES}", quote_path(&folder)),
            format!("scp -rp AGENTS/TRIPLE USER@HOST:{PROGRAMS}"),
        ]
    }

    /// Returns the command that starts the copied agent on the device, in the user's home folder.
    pub fn by_hand(&self) -> String {
        format!(
            "{PROGRAMS}/graphprune-agent serve --listen 0.0.0.0:{} --tls {CERTIFICATES}",
            self.port
        )
    }

    /// Returns commands that install the copied files for a service, in the user's home folder.
    pub fn installing(&self) -> [String; 4] {
        [
            format!("sudo useradd --system {SERVICE_USER}"),
            format!("sudo cp -rT {PROGRAMS} {SERVICE_PROGRAMS}"),
            format!("sudo install -d -m 700 -o {SERVICE_USER} {SERVICE_CERTIFICATES}"),
            format!(
                "sudo install -m 600 -o {SERVICE_USER} {CERTIFICATES}/* {SERVICE_CERTIFICATES}"
            ),
        ]
    }

    /// Returns the systemd unit of that service.
    pub fn unit(&self) -> String {
        format!(
            "[Unit]\nDescription=graphprune agent\nAfter=network-online.target\nWants=network-online.target\n\n\
             [Service]\nExecStart={SERVICE_PROGRAMS}/graphprune-agent serve --listen 0.0.0.0:{} --tls {SERVICE_CERTIFICATES} \
             --work /var/cache/{SERVICE_CACHE}\nUser={SERVICE_USER}\nCacheDirectory={SERVICE_CACHE}\nCacheDirectoryMode=0700\n\
             LimitNICE=-10\nRestart=always\nRestartSec=2\n\n\
             [Install]\nWantedBy=multi-user.target\n",
            self.port
        )
    }
}
