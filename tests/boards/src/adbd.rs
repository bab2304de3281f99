//! Android's debug bridge: the real daemon in a container without network, a server of its own, and
//! a client.
//!
//! The daemon listens on every interface, so it gets only a loopback interface of its own. A
//! relay connects it to a socket in the file system, and a [`SlowLink`] connects that to the
//! loopback interface of this machine, where the server finds it as a device on the network.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::container::{self, Container, Root, Start};
use crate::kit::{checked, quoted};
use crate::{BoardError, Kit, SlowLink, System, Upstream, free_port};

const GETPROP: &str = include_str!("getprop.sh");
const PROGRAM: &str = "usr/lib/android-sdk/platform-tools/adbd";
const HOME: &str = "/data/local/tmp";
/// Attempts to find a port that no other process takes meanwhile.
const PORTS: usize = 5;

/// The configuration of a device.
#[derive(Debug, Clone)]
pub struct AdbdConfig {
    /// The programs on it.
    pub system: System,
    /// qemu's name of the processor, where one is emulated.
    pub cpu: String,
    /// The answers of `getprop`.
    pub properties: BTreeMap<String, String>,
    /// Size of `/data/local/tmp` in bytes; it is in memory.
    pub home_bytes: u64,
}

impl AdbdConfig {
    /// Plausible properties: architecture, model, serial number, version.
    pub fn new(system: System) -> Self {
        let abi = match (system, std::env::consts::ARCH) {
            (System::Host, "x86_64") => "x86_64",
            _ => "arm64-v8a",
        };
        let properties = [
            ("ro.product.cpu.abi", abi),
            ("ro.product.cpu.abilist", abi),
            ("ro.product.manufacturer", "graphprune"),
            ("ro.product.model", "Test Phone"),
            ("ro.serialno", "GP0123456789"),
            ("ro.build.version.release", "14"),
            ("ro.build.version.sdk", "34"),
        ];
        Self {
            system,
            cpu: "cortex-a72".to_owned(),
            properties: properties
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            home_bytes: 512 << 20,
        }
    }
}

impl Default for AdbdConfig {
    fn default() -> Self {
        Self::new(System::Host)
    }
}

/// A device connected to `adb`. Commands run as root in `/`; `/data/local/tmp` is an empty
/// folder.
#[derive(Debug)]
pub struct Adbd {
    kit: Kit,
    config: AdbdConfig,
    folder: TempDir,
    link: SlowLink,
    device: Option<Container>,
    /// Dropped last, because the device reports to it.
    _server: Container,
    server_port: u16,
}

impl Adbd {
    /// Starts server and device and connects them.
    ///
    /// # Errors
    /// When the set-up is missing, or this machine does not let users make namespaces.
    pub fn start(config: AdbdConfig) -> Result<Self, BoardError> {
        let kit = Kit::find()?;
        let folder = container::folder("adbd")?;
        let files = container::files(folder.path());
        for inside in ["files/bin", "home", "client"] {
            let path = folder.path().join(inside);
            std::fs::create_dir_all(&path).map_err(BoardError::io("creating", &path))?;
        }
        let (server, server_port) = start_server(&kit, folder.path())?;
        let client = adb(&kit, folder.path(), server_port);
        container::write_script(
            &folder.path().join("client/adb"),
            &format!("{client} \"$@\""),
        )?;
        container::write_script(&files.join("bin/getprop"), GETPROP)?;
        let line = |(name, value): (&String, &String)| format!("[{name}]: [{value}]\n");
        let properties: String = config.properties.iter().map(line).collect();
        container::write(&files.join("properties"), &properties)?;
        let mut this = Self {
            link: SlowLink::start(Upstream::Unix(files.join("adbd.sock")))?,
            kit,
            config,
            folder,
            device: None,
            _server: server,
            server_port,
        };
        this.restart()?;
        Ok(this)
    }

    /// Returns the device's name for `adb -s`, which a restart preserves.
    pub fn serial(&self) -> String {
        self.link.address().to_string()
    }

    /// Returns the client: a program called `adb` that always uses this server. Its folder may
    /// come first in PATH.
    pub fn client(&self) -> PathBuf {
        self.folder.path().join("client/adb")
    }

    /// Returns variables with which any `adb` of the same version uses this server and device.
    pub fn env(&self) -> Vec<(&'static str, OsString)> {
        vec![
            (
                "ANDROID_ADB_SERVER_PORT",
                self.server_port.to_string().into(),
            ),
            ("HOME", self.folder.path().join("home").into()),
            ("ANDROID_SERIAL", self.serial().into()),
        ]
    }

    /// Returns a command of the client for this device.
    pub fn adb(&self) -> Command {
        let mut command = Command::new(self.client());
        command.env("ANDROID_SERIAL", self.serial());
        command
    }

    /// Runs one command in the device's shell.
    ///
    /// # Errors
    /// When the client cannot be started; the result has the command's status.
    pub fn run(&self, command: &str) -> Result<Output, BoardError> {
        self.adb()
            .args(["shell", command])
            .stdin(Stdio::null())
            .output()
            .map_err(BoardError::start("adb"))
    }

    /// Copies a file to the device.
    ///
    /// # Errors
    /// When it does not arrive complete.
    pub fn push(&self, file: &Path, to: &str) -> Result<(), BoardError> {
        checked(self.adb().arg("push").arg(file).arg(to)).map(drop)
    }

    /// Returns the link between server and device.
    pub fn link(&self) -> &SlowLink {
        &self.link
    }

    /// Returns the end of the daemon's output since its last start.
    pub fn log(&self) -> String {
        self.device
            .as_ref()
            .map_or_else(String::new, Container::log)
    }

    /// Kills the device with all its processes and removes its files. The server then lists it
    /// as offline or not at all.
    pub fn kill(&mut self) {
        self.device = None;
        self.link.cut();
    }

    /// Restarts the device with an empty `/data/local/tmp`, and connects the server to it.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn restart(&mut self) -> Result<(), BoardError> {
        self.kill();
        let socket = container::files(self.folder.path()).join("adbd.sock");
        if socket.exists() {
            std::fs::remove_file(&socket).map_err(BoardError::io("removing", &socket))?;
        }
        self.write_start()?;
        let mut device = Start {
            name: "adbd",
            folder: self.folder.path(),
            root: Some(Root {
                kit: &self.kit,
                system: self.config.system,
                home_bytes: self.config.home_bytes,
            }),
            alone: true,
            commands: "chroot . /bin/sh /.files/device",
        }
        .start()?;
        device.wait("starting", |container| {
            Ok((container.log().contains("adbd started") && socket.exists()).then_some(()))
        })?;
        // The server keeps a dead device's entry, which does not recover by itself.
        let _ = self.of_server(&["disconnect", &self.serial()]);
        device.wait("connecting", |_| self.connected())?;
        self.device = Some(device);
        Ok(())
    }

    fn connected(&self) -> Result<Option<()>, BoardError> {
        self.of_server(&["connect", &self.serial()])?;
        let state = checked(self.adb().arg("get-state"));
        Ok(state.is_ok_and(|state| state == "device").then_some(()))
    }

    fn of_server(&self, words: &[&str]) -> Result<String, BoardError> {
        checked(Command::new(self.client()).args(words))
    }

    /// Writes the start-up script of the container. The port matters only where the machine has
    /// sockets to its hypervisor, which ignore namespaces and on which the daemon listens too.
    fn write_start(&self) -> Result<(), BoardError> {
        let port = free_port()?;
        let relay = self
            .kit
            .tool(Path::new("/.tools"), "socat", "usr/bin/socat");
        let daemon = self.kit.android(Path::new("/.android"), "adbd", PROGRAM);
        let commands = format!(
            "set -e\n\
             /.tools/bin/busybox ip link set lo up\n\
             {} UNIX-LISTEN:/.files/adbd.sock,fork TCP4:127.0.0.1:{port} &\n\
             cd /\n\
             exec env -i PATH=/.files/bin:/usr/bin:/bin:/usr/sbin:/sbin HOME={HOME} TMPDIR={HOME} ADBD_PORT={port} \
             QEMU_CPU={} {}",
            quoted(&relay),
            self.config.cpu,
            quoted(&daemon)
        );
        container::write(
            &container::files(self.folder.path()).join("device"),
            &commands,
        )
    }
}

/// Starts the server in the foreground of a container, so that it ends with the container;
/// otherwise it would outlive the test.
fn start_server(kit: &Kit, folder: &Path) -> Result<(Container, u16), BoardError> {
    let folder = &folder.join("server");
    std::fs::create_dir_all(folder).map_err(BoardError::io("creating", folder))?;
    let mut tries = 0;
    loop {
        tries += 1;
        let port = free_port()?;
        // It would claim every USB device and search for emulators.
        let commands = format!(
            "if [ -d /dev/bus/usb ]; then mount -t tmpfs none /dev/bus/usb; fi\n\
             export ADB_LOCAL_TRANSPORT_MAX_PORT=5554\n\
             {} nodaemon server",
            adb(kit, folder.parent().unwrap_or(folder), port)
        );
        let mut server = Start {
            name: "the server of adb",
            folder,
            root: None,
            alone: false,
            commands: &commands,
        }
        .start()?;
        let ready = server.wait("listening", |_| {
            Ok(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok())
        });
        match ready {
            Err(BoardError::Ended { output, .. }) if tries < PORTS && output.contains("in use") => {
            }
            outcome => return outcome.map(|_| (server, port)),
        }
    }
}

/// Returns adb as a shell command.
fn adb(kit: &Kit, folder: &Path, port: u16) -> String {
    let program = quoted(&kit.android(&kit.set("android"), "adb", "usr/bin/adb"));
    let home = quoted(&[folder.join("home").display().to_string()]);
    format!("HOME={home} ANDROID_ADB_SERVER_PORT={port} {program}")
}
