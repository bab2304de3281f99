//! The hosts that may use a user's devices: their certificates, and the list of them on each
//! device.

use std::path::{Path, PathBuf};

use agent_protocol::{AllowedClient, AllowedClients, CLIENTS_FILE, Right, Sha256, check_name};
use time::Date;

use super::authority::{Authority, Subject, invalid, read, until};
use super::devices;
use crate::{LatencyError, home};

/// What a folder of certificates contains of clients: the list, and a folder for each other host.
pub const FILES: [&str; 2] = [CLIENTS_FILE, CLIENTS];
const CLIENTS: &str = "clients";

/// A request for the certificate of another host.
#[derive(Clone, Debug)]
pub struct ClientEnrolment {
    /// The user's name for the host.
    pub name: String,
    /// What it may do on the devices.
    pub rights: Vec<Right>,
    /// Validity of its certificate, days.
    pub days: u32,
    /// The folder for certificates; the user's by default.
    pub folder: Option<PathBuf>,
}

/// The certificate of another host.
#[derive(Clone, Debug)]
pub struct ClientEnrolled {
    /// The files for that host: `ca.pem`, `host.pem`, `host.key`.
    pub client_folder: PathBuf,
    /// The last day of its certificate.
    pub valid_until: Date,
    /// The list with it.
    pub list: ClientList,
}

/// The list of clients, and the copies that belong on the devices.
#[derive(Clone, Debug)]
pub struct ClientList {
    /// The clients.
    pub clients: AllowedClients,
    /// Each device's name and the copy of the list for it.
    pub devices: Vec<(String, PathBuf)>,
}

impl ClientList {
    /// Returns the command that copies a list to a device, where it takes effect without a
    /// restart.
    pub fn copying(list: &Path) -> String {
        devices::copying_list(list)
    }
}

/// Makes or renews the certificate of another host, and adds the host to the list of every
/// device. It has no part in the CA's key, so it can be revoked.
///
/// # Errors
/// Fails if the name or validity is invalid, the name is this host's own, or a file cannot be read
/// or written.
pub fn enroll_client(enrolment: &ClientEnrolment) -> Result<ClientEnrolled, LatencyError> {
    let name = enrolment.name.as_str();
    let folder = own_or(enrolment.folder.as_deref())?;
    let until = until(enrolment.days, name)?;
    check_name(name).map_err(|error| invalid(name, error))?;
    // Taken before the list is read: another process may be changing it.
    let _lock = home::lock(&folder.join("ca.pem"))?;
    let mut clients = listed(&folder)?;
    let client_folder = folder.join(CLIENTS).join(name);
    let is_other = client_folder.join("host.key").is_file();
    if !is_other && clients.all().iter().any(|client| client.name == name) {
        return Err(invalid(
            name,
            "this is the name of the host that holds the CA's key; choose another",
        ));
    }
    let ca = Authority::of(&folder)?;
    let subject = Subject {
        name,
        address: None,
        until,
    };
    let key = ca.certify_client(&client_folder, &subject)?;
    home::write(&client_folder.join("ca.pem"), ca.pem.as_bytes(), false)?;
    clients
        .allow(entry(name, key, &enrolment.rights))
        .map_err(|error| invalid(name, error))?;
    Ok(ClientEnrolled {
        client_folder,
        valid_until: until.date(),
        list: distribute(&folder, clients)?,
    })
}

/// Takes a host off the list of every device, and removes its certificate here.
///
/// # Errors
/// Fails if no other host has this name, or a file cannot be read or written.
pub fn revoke_client(name: &str, folder: Option<&Path>) -> Result<ClientList, LatencyError> {
    let folder = own_or(folder)?;
    let _lock = home::lock(&folder.join("ca.pem"))?;
    let mut clients = listed(&folder)?;
    let names: Vec<&str> = clients.all().iter().map(|c| c.name.as_str()).collect();
    if !names.contains(&name) {
        let names = names.join(", ");
        return Err(invalid(
            name,
            format!("no such host is enrolled; enrolled: {names}"),
        ));
    }
    let client_folder = folder.join(CLIENTS).join(name);
    if !client_folder.is_dir() {
        return Err(invalid(
            name,
            "this host holds the CA's key, with which it could enroll itself again: if it was lost, make a new CA on another one with `graphprune device enroll DEVICE --host ADDRESS --new-ca`",
        ));
    }
    clients.revoke(name);
    // The list goes first: a failure after it leaves a certificate of no use.
    let list = distribute(&folder, clients)?;
    std::fs::remove_dir_all(&client_folder).map_err(|source| LatencyError::Io {
        doing: format!("removing {}", client_folder.display()),
        source,
    })?;
    Ok(list)
}

/// Returns the hosts that may use the devices.
///
/// # Errors
/// Fails if the list cannot be read.
pub fn clients(folder: Option<&Path>) -> Result<AllowedClients, LatencyError> {
    listed(&own_or(folder)?)
}

/// Returns the names of the other hosts.
pub(super) fn others(folder: &Path) -> Result<Vec<String>, LatencyError> {
    let clients = listed(folder)?;
    let names = clients.all().iter().map(|client| client.name.clone());
    Ok(names
        .filter(|name| folder.join(CLIENTS).join(name).is_dir())
        .collect())
}

/// Adds this host, with all rights, to the list and returns the list.
pub(super) fn with_this_host(folder: &Path, key: Sha256) -> Result<AllowedClients, LatencyError> {
    let mut clients = listed(folder)?;
    if clients.find(key).is_none() {
        let mut name = host_name();
        while folder.join(CLIENTS).join(&name).is_dir() {
            name.push('-');
        }
        let client = entry(&name, key, &[Right::Measure, Right::ShutDown]);
        clients
            .allow(client)
            .map_err(|error| invalid(&name, error))?;
    }
    Ok(clients)
}

/// Returns this machine's name, made fit for a list.
pub(super) fn host_name() -> String {
    let system = rustix::system::uname();
    let name = system.nodename().to_string_lossy();
    let is_plain = |c: &char| c.is_ascii_alphanumeric() || "-_.".contains(*c);
    let plain: String = name.chars().filter(is_plain).take(48).collect();
    match plain.trim_start_matches('.') {
        "" => "this-host".to_owned(),
        name => name.to_owned(),
    }
}

/// Writes the list to the folder and to those of all devices.
pub(super) fn distribute(
    folder: &Path,
    clients: AllowedClients,
) -> Result<ClientList, LatencyError> {
    let mut text = serde_json::to_vec_pretty(&clients).map_err(|error| LatencyError::Io {
        doing: "writing the list of clients".into(),
        source: error.into(),
    })?;
    text.push(b'\n');
    home::write(&folder.join(CLIENTS_FILE), &text, false)?;
    let mut devices = Vec::new();
    for device in devices::names(folder)? {
        let path = folder.join("devices").join(&device).join(CLIENTS_FILE);
        home::write(&path, &text, false)?;
        devices.push((device, path));
    }
    Ok(ClientList { clients, devices })
}

fn listed(folder: &Path) -> Result<AllowedClients, LatencyError> {
    let path = folder.join(CLIENTS_FILE);
    if !path.exists() {
        return Ok(AllowedClients::default());
    }
    serde_json::from_str(&read(&path)?).map_err(|error| LatencyError::Io {
        doing: format!("reading {}", path.display()),
        source: error.into(),
    })
}

fn own_or(folder: Option<&Path>) -> Result<PathBuf, LatencyError> {
    folder.map_or_else(home::certificates, |folder| Ok(folder.to_owned()))
}

fn entry(name: &str, key: Sha256, rights: &[Right]) -> AllowedClient {
    AllowedClient {
        name: name.to_owned(),
        key,
        rights: rights.to_vec(),
    }
}
