//! A microcontroller board: QEMU's Cortex-M behind a debug probe on TCP.
//!
//! The probe speaks the protocol of a Black Magic Probe ([`wire`]), which probe-rs has a driver
//! for. Its debug port ([`port`]) and the core's debug registers ([`core`]) are answered here over
//! QEMU's stub for GDB ([`gdb`]). The flash is memory that an algorithm of its own erases and
//! programs, so that the flash path of probe-rs runs ([`chip`]).
//!
//! Such a board has no cycle counter: times measured on it are meaningless. With
//! [`McuConfig::counts_instructions`] its SysTick timer follows the instructions.

mod chip;
mod core;
mod gdb;
mod port;
mod wire;

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tempfile::TempDir;

use crate::poll::{self, PATIENCE};
use crate::{BoardError, Kit, container};
use chip::Chip;
use gdb::Gdb;
use port::Port;

pub use chip::McuCore;

/// The longest request, in bytes.
const MOST_REQUEST: u64 = 4096;

/// The configuration of a microcontroller board.
#[derive(Debug, Clone, Copy)]
pub struct McuConfig {
    /// The processor.
    pub core: McuCore,
    /// Whether time on the board follows the instructions, one a nanosecond, rather than this
    /// machine's clock.
    pub counts_instructions: bool,
    /// Whether debuggers are locked out as on Nordic's nRF52, until all of the chip is erased.
    pub locked: bool,
}

impl Default for McuConfig {
    fn default() -> Self {
        Self {
            core: McuCore::M4,
            counts_instructions: false,
            locked: false,
        }
    }
}

/// A microcontroller board with its probe. Dropping it ends both.
#[derive(Debug)]
pub struct Mcu {
    config: McuConfig,
    chip: Chip,
    address: SocketAddr,
    emulator: Child,
    bridge: Arc<Bridge>,
    folder: TempDir,
}

/// The probe.
struct Bridge {
    port: Mutex<Port>,
    is_closed: AtomicBool,
    requests: AtomicU64,
    hold: Mutex<Hold>,
    released: Condvar,
}

/// A moment at which the probe stops answering for a while.
#[derive(Default)]
struct Hold {
    /// The number of answers after which the next one waits.
    after: Option<u64>,
    /// Whether an answer waits.
    is_reached: bool,
}

impl std::fmt::Debug for Bridge {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Bridge")
    }
}

impl Mcu {
    /// Starts a board whose core runs an idle loop.
    ///
    /// # Errors
    /// When the set-up is missing, or the emulator does not start.
    pub fn start(config: McuConfig) -> Result<Self, BoardError> {
        let chip = Chip::of(config.core);
        let folder = container::folder("mcu")?;
        let listening = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|listener| Ok((listener.local_addr()?, listener)));
        let (address, listener) = listening.map_err(not_opened)?;
        let (emulator, port) = power(config, chip, folder.path())?;
        let bridge = Arc::new(Bridge {
            port: Mutex::new(port),
            is_closed: AtomicBool::new(false),
            requests: AtomicU64::new(0),
            hold: Mutex::default(),
            released: Condvar::new(),
        });
        let of_thread = Arc::clone(&bridge);
        std::thread::spawn(move || of_thread.listen(&listener));
        Ok(Self {
            config,
            chip,
            address,
            emulator,
            bridge,
            folder,
        })
    }

    /// Returns where the probe listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns how many requests the probe has answered.
    pub fn requests(&self) -> u64 {
        self.bridge.requests.load(Ordering::Relaxed)
    }

    /// Lets the probe answer so many more requests. The next one waits for [`Self::release`].
    pub fn hold_after(&self, requests: u64) {
        let after = Some(self.requests() + requests);
        *self.bridge.hold() = Hold {
            after,
            is_reached: false,
        };
    }

    /// Whether a request waits for [`Self::release`].
    pub fn is_holding(&self) -> bool {
        self.bridge.hold().is_reached
    }

    /// Lets the probe go on.
    pub fn release(&self) {
        *self.bridge.hold() = Hold::default();
        self.bridge.released.notify_all();
    }

    /// Returns the chip's name in [`Self::description`].
    pub fn chip(&self) -> &'static str {
        self.chip.name
    }

    /// Returns the chip's description for probe-rs, in its format.
    pub fn description(&self) -> String {
        self.chip.description()
    }

    /// Makes the core lock up, as a fault in the handler of faults does.
    ///
    /// # Errors
    /// When the emulator has ended.
    pub fn lock_up(&self) -> Result<(), BoardError> {
        self.bridge
            .port()
            .core()
            .lock_up()
            .map_err(|source| BoardError::Io {
                what: "locking up the core".into(),
                source,
            })
    }

    /// Writes to the board's memory past the probe.
    ///
    /// # Errors
    /// When the emulator has ended, or there is no memory.
    pub fn write(&self, address: u32, bytes: &[u8]) -> Result<(), BoardError> {
        self.bridge
            .port()
            .core()
            .write(address, bytes)
            .map_err(|source| BoardError::Io {
                what: format!("writing memory at {address:#x}"),
                source,
            })
    }

    /// Reads the board's memory past the probe.
    ///
    /// # Errors
    /// When the emulator has ended, or there is no memory.
    pub fn read(&self, address: u32, length: usize) -> Result<Vec<u8>, BoardError> {
        let mut bytes = vec![0; length];
        let read = self.bridge.port().core().read(address, &mut bytes);
        read.map(|()| bytes).map_err(|source| BoardError::Io {
            what: format!("reading memory at {address:#x}"),
            source,
        })
    }

    /// Kills the emulator. The probe stays, and reports that its target is gone by closing each
    /// connection.
    pub fn kill(&mut self) {
        end(&mut self.emulator);
    }

    /// Starts the emulator anew behind the same probe: a board whose power has come back, with its
    /// memory empty.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn restart(&mut self) -> Result<(), BoardError> {
        self.kill();
        let (emulator, port) = power(self.config, self.chip, self.folder.path())?;
        self.emulator = emulator;
        *self.bridge.port() = port;
        Ok(())
    }
}

impl Drop for Mcu {
    fn drop(&mut self) {
        self.bridge.is_closed.store(true, Ordering::Release);
        self.release();
        // Wakes the thread that waits for connections.
        let _ = TcpStream::connect(self.address);
        end(&mut self.emulator);
    }
}

impl Bridge {
    fn port(&self) -> MutexGuard<'_, Port> {
        self.port.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hold(&self) -> MutexGuard<'_, Hold> {
        self.hold.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while a test holds the probe at this request.
    fn wait_while_held(&self) {
        let answered = self.requests.load(Ordering::Relaxed);
        let mut hold = self.hold();
        while hold.after.is_some_and(|after| answered >= after) {
            hold.is_reached = true;
            let released = self.released.wait(hold);
            hold = released.unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn listen(&self, listener: &TcpListener) {
        for client in listener.incoming() {
            if self.is_closed.load(Ordering::Acquire) {
                return;
            }
            // A probe has one user; the next one waits. An error is the end of the connection.
            if let Ok(client) = client {
                let _ = self.serve(client);
            }
        }
    }

    fn serve(&self, client: TcpStream) -> io::Result<()> {
        client.set_nodelay(true)?;
        let mut requests = BufReader::new(client.try_clone()?);
        let mut answers = client;
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            let mut bounded = io::Read::take(&mut requests, MOST_REQUEST);
            if bounded.read_until(b'#', &mut bytes)? == 0 {
                return Ok(());
            }
            let text = String::from_utf8_lossy(&bytes);
            // Before a `!` the line is only being synchronised.
            let Some((_, request)) = text.trim_end_matches('#').split_once('!') else {
                continue;
            };
            self.wait_while_held();
            let answer = match wire::Request::parse(request) {
                Some(request) => self.port().answer(&request)?,
                None => wire::Answer::Failed,
            };
            answers.write_all(answer.text().as_bytes())?;
            self.requests.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Starts an emulator, and opens its debug port. `folder` keeps its socket and its log.
fn power(config: McuConfig, chip: Chip, folder: &Path) -> Result<(Child, Port), BoardError> {
    let socket = folder.join("gdb");
    let mut emulator = emulator(&Kit::find()?, chip, &socket, config.counts_instructions)?;
    let opened = connect(&socket, &mut emulator, &folder.join("log")).and_then(|stream| {
        Gdb::new(stream)
            .and_then(|gdb| core::Core::new(gdb, chip.flash, chip.is_v8))
            .map_err(not_opened)
    });
    match opened {
        Ok(core) => Ok((emulator, Port::new(core, config.locked))),
        Err(error) => {
            end(&mut emulator);
            Err(error)
        }
    }
}

fn not_opened(source: io::Error) -> BoardError {
    BoardError::Io {
        what: "opening the probe of the microcontroller board".into(),
        source,
    }
}

/// Starts QEMU with its core stopped.
fn emulator(
    kit: &Kit,
    chip: Chip,
    socket: &Path,
    counts_instructions: bool,
) -> Result<Child, BoardError> {
    let log = socket.with_file_name("log");
    let out = std::fs::File::create(&log).map_err(BoardError::io("creating", &log))?;
    let words = kit.mcu("qemu-system-arm", "usr/bin/qemu-system-arm");
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).args([
        "-M",
        chip.machine,
        "-nodefaults",
        "-display",
        "none",
        "-serial",
        "none",
        "-monitor",
        "none",
        "-S",
    ]);
    command.arg("-chardev").arg(format!(
        "socket,id=gdb,path={},server=on,wait=off",
        socket.display()
    ));
    command.args(["-gdb", "chardev:gdb"]);
    if counts_instructions {
        command.args(["-icount", "shift=0,sleep=off"]);
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(out)
        .spawn()
        .map_err(BoardError::start("qemu-system-arm"))
}

/// Connects to the stub once it listens.
fn connect(socket: &Path, emulator: &mut Child, log: &PathBuf) -> Result<UnixStream, BoardError> {
    let output = || std::fs::read_to_string(log).unwrap_or_default();
    let stream = poll::until(PATIENCE, || {
        if let Ok(stream) = UnixStream::connect(socket) {
            return Ok(Some(stream));
        }
        match emulator.try_wait() {
            Ok(None) => Ok(None),
            _ => Err(BoardError::Program {
                program: "qemu-system-arm".into(),
                status: emulator
                    .wait()
                    .map_err(BoardError::start("qemu-system-arm"))?,
                output: output(),
            }),
        }
    })?;
    stream.ok_or_else(|| BoardError::TimedOut {
        target: "the microcontroller board".into(),
        what: "starting the emulator",
        limit: PATIENCE,
        output: output(),
    })
}

fn end(child: &mut Child) {
    // Both fail only when it has ended and was reaped.
    let _ = child.kill();
    let _ = child.wait();
}
