//! ONNX Runtime and ONNX's checker in a Python child process.

use std::io::{BufReader, BufWriter, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::{peer_script, python};

/// A float tensor on its way to or from the reference.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
    /// Elements in row-major order.
    pub data: Vec<f32>,
}

impl Array {
    /// Seeded elements, uniform within `low..high`.
    #[must_use]
    pub fn uniform(shape: &[usize], low: f32, high: f32, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let data = (0..shape.iter().product())
            .map(|_| rng.random_range(low..high))
            .collect();
        Self {
            shape: shape.to_vec(),
            data,
        }
    }
}

/// Entries of an axis of an initialiser to set to zero.
#[derive(Debug, Clone, Serialize)]
pub struct Zeros {
    /// Name of the initialiser.
    pub name: String,
    /// The axis.
    pub axis: usize,
    /// Positions on the axis.
    pub indices: Vec<usize>,
}

/// An error of the reference.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PeerError {
    /// The Python environment is missing or broken.
    #[error("cannot run '{program}' (`cargo xtask setup` installs it): {source}")]
    Start {
        /// The interpreter.
        program: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// The process ended or sent an invalid answer.
    #[error("the reference process failed: {0}")]
    Broken(#[from] std::io::Error),
    /// The checker or the runtime refused the model.
    #[error("refused by the reference: {0}")]
    Refused(String),
}

/// Header of an answer.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Reply {
    /// Whether the request succeeded.
    pub ok: bool,
    /// The error, if it failed.
    pub error: String,
    /// Handle of a loaded model.
    pub handle: u64,
    /// Outputs of a run, or of a loaded model.
    pub outputs: Vec<Described>,
}

/// An output as the reference describes it.
#[derive(Debug, Deserialize)]
pub struct Described {
    /// Name in the model.
    pub name: String,
    /// Dimensions; -1 is open.
    pub shape: Vec<i64>,
}

/// ONNX Runtime on the CPU, one thread, in a child process.
pub struct Ort {
    input: BufWriter<ChildStdin>,
    output: BufReader<ChildStdout>,
    child: Child,
}

impl Ort {
    /// Starts a process.
    ///
    /// # Errors
    /// [`PeerError::Start`] when there is no such interpreter.
    pub fn start() -> Result<Self, PeerError> {
        let program = python();
        let start = Command::new(&program)
            .arg(peer_script("ort_server.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|source| PeerError::Start {
                program: program.display().to_string(),
                source,
            });
        let mut child = start?;
        let input = BufWriter::new(child.stdin.take().expect("stdin is piped"));
        let output = BufReader::new(child.stdout.take().expect("stdout is piped"));
        Ok(Self {
            input,
            output,
            child,
        })
    }

    /// Returns the process that all tests of one binary share; it ends with them.
    ///
    /// # Panics
    /// When it cannot be started: without a reference no test is meaningful.
    pub fn shared() -> MutexGuard<'static, Self> {
        static SHARED: OnceLock<Mutex<Ort>> = OnceLock::new();
        let shared =
            SHARED.get_or_init(|| Mutex::new(Ort::start().unwrap_or_else(|e| panic!("{e}"))));
        // Every request is answered in full, or the process is gone, so a failed test leaves no
        // partial answer.
        shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks `model` (with ONNX's full check when `check` is set) and runs it once for each of
    /// `feeds`, the values of its only input. Returns the outputs of each run.
    ///
    /// # Errors
    /// [`PeerError::Refused`] when checker or runtime refuse the model or an input.
    pub fn run(
        &mut self,
        model: &[u8],
        check: bool,
        feeds: &[Array],
    ) -> Result<Vec<Vec<Array>>, PeerError> {
        let handle = self
            .ask(&serde_json::json!({"op": "load", "check": check}), &[model])?
            .handle;
        let results = feeds
            .iter()
            .map(|feed| self.run_loaded(handle, feed))
            .collect();
        self.ask(&serde_json::json!({"op": "drop", "handle": handle}), &[])?;
        results
    }

    /// Runs `model` with zeros in slices of its initialisers, which are written into the file
    /// before it is loaded. Returns the outputs.
    ///
    /// # Errors
    /// As [`Ort::run`].
    pub fn run_with_zeros(
        &mut self,
        model: &[u8],
        zeros: &[Zeros],
        feed: &Array,
    ) -> Result<Vec<Array>, PeerError> {
        let request = serde_json::json!({"op": "load", "check": false, "zeros": zeros});
        let handle = self.ask(&request, &[model])?.handle;
        let outputs = self.run_loaded(handle, feed);
        self.ask(&serde_json::json!({"op": "drop", "handle": handle}), &[])?;
        outputs
    }

    fn run_loaded(&mut self, handle: u64, feed: &Array) -> Result<Vec<Array>, PeerError> {
        let bytes: Vec<u8> = feed.data.iter().flat_map(|x| x.to_le_bytes()).collect();
        let request = serde_json::json!({"op": "run", "handle": handle, "shapes": [feed.shape]});
        let reply = self.ask(&request, &[&bytes])?;
        let mut outputs = Vec::with_capacity(reply.outputs.len());
        for described in reply.outputs {
            let frame = self.read_frame()?;
            let data = frame
                .chunks_exact(4)
                .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                .collect();
            let shape = described
                .shape
                .iter()
                .map(|&d| usize::try_from(d).unwrap_or(0))
                .collect();
            outputs.push(Array { shape, data });
        }
        Ok(outputs)
    }

    fn ask(&mut self, request: &serde_json::Value, frames: &[&[u8]]) -> Result<Reply, PeerError> {
        self.write_frame(request.to_string().as_bytes())?;
        for frame in frames {
            self.write_frame(frame)?;
        }
        self.input.flush()?;
        let reply: Reply =
            serde_json::from_slice(&self.read_frame()?).map_err(std::io::Error::from)?;
        if reply.ok {
            Ok(reply)
        } else {
            Err(PeerError::Refused(reply.error))
        }
    }

    fn write_frame(&mut self, data: &[u8]) -> Result<(), PeerError> {
        let length = u32::try_from(data.len()).map_err(std::io::Error::other)?;
        self.input.write_all(&length.to_le_bytes())?;
        Ok(self.input.write_all(data)?)
    }

    fn read_frame(&mut self) -> Result<Vec<u8>, PeerError> {
        let mut length = [0; 4];
        self.output.read_exact(&mut length)?;
        let mut data = vec![0; u32::from_le_bytes(length) as usize];
        self.output.read_exact(&mut data)?;
        Ok(data)
    }
}

impl Drop for Ort {
    fn drop(&mut self) {
        // Errors do not matter: the process belongs to the test and has no state to save.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
