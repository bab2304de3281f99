//! This machine as the device: the agent as a child process.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use agent_protocol::{
    DeviceInfo, FailureKind, Limits, MeasureJob, Measurement, ModelRef, ProtocolError, RunJob,
    Token, Verdict,
};
use serde::{Deserialize, Serialize};

use crate::{Client, LatencyError, LatencySource, MeasureRequest, Model};

/// How the agent of this machine is run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LocalConfig {
    /// The agent's program. Otherwise the variable GRAPHPRUNE_AGENT, otherwise `graphprune-agent` next to this program.
    pub agent: Option<PathBuf>,
    /// ONNX Runtime's library. Otherwise the agent looks for it: ORT_DYLIB_PATH, then next to itself.
    pub runtime_library: Option<PathBuf>,
    /// The profile's name, part of the device's identity.
    pub profile: String,
    /// How long the agent may take to come up, ns.
    pub start_timeout_ns: u64,
    /// How long the agent may give no sign of life while it measures before it counts as hanging, ns.
    pub silence_timeout_ns: u64,
    /// How often a lost agent is started anew within one request.
    pub restarts: u32,
    /// How often a measurement is repeated that came out invalid or whose worker crashed.
    pub retries: u32,
}

impl Default for LocalConfig {
    fn default() -> Self {
        Self {
            agent: None,
            runtime_library: None,
            profile: "local".to_owned(),
            start_timeout_ns: 30_000_000_000,
            silence_timeout_ns: 20_000_000_000,
            restarts: 3,
            retries: 2,
        }
    }
}

/// The agent's last words, for error messages, and the thread that listens to them until the agent has ended.
#[derive(Default)]
struct LastWords {
    lines: Arc<Mutex<VecDeque<String>>>,
    listener: Option<JoinHandle<()>>,
}

impl LastWords {
    fn of(stderr: impl Read + Send + 'static) -> Self {
        let lines = Arc::default();
        let keep = Arc::clone(&lines);
        let listener = std::thread::spawn(move || keep_last_words(BufReader::new(stderr), &keep));
        Self {
            lines,
            listener: Some(listener),
        }
    }

    /// What was said. Only for an agent that has ended.
    fn collect(self) -> String {
        // A listener that failed has kept what it heard until then.
        let _ = self.listener.map(JoinHandle::join);
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(" / ")
    }
}

/// A running agent.
struct Agent {
    child: Child,
    /// Held open: the agent ends when this closes, and so when this process ends, however it does.
    stdin: Option<ChildStdin>,
    client: Client,
    words: LastWords,
}

/// This machine through an agent of its own. The agent ends with this value.
pub struct LocalDevice {
    config: LocalConfig,
    program: PathBuf,
    agent: Option<Agent>,
    device: DeviceInfo,
}

impl LocalDevice {
    /// Starts the agent and connects to it.
    ///
    /// # Errors
    /// When its program is not found or does not come up; the error holds its last words.
    pub fn start(config: &LocalConfig) -> Result<Self, LatencyError> {
        let program = find_agent(config)?;
        let agent = Agent::start(&program, config)?;
        let device = DeviceInfo {
            profile: config.profile.clone(),
            ..agent.client.device().clone()
        };
        Ok(Self {
            config: config.clone(),
            program,
            agent: Some(agent),
            device,
        })
    }

    /// The agent's process, while there is one.
    pub fn agent_pid(&self) -> Option<u32> {
        self.agent.as_ref().map(|agent| agent.child.id())
    }

    /// The connection, to ask what [`LatencySource`] does not; `None` when the agent was lost.
    pub fn client(&mut self) -> Option<&mut Client> {
        self.agent.as_mut().map(|agent| &mut agent.client)
    }

    /// Runs a model once, in a worker process with the default [`Limits`] and one thread, and returns its first output,
    /// row-major. The model has a single input, of floats: it gets `input`, row-major, NCHW `shape`.
    ///
    /// # Errors
    /// [`LatencyError::Protocol`] when `shape` is not that of `input` or the input is too large;
    /// [`LatencyError::Failed`] when the model takes no such input, its first output is no tensor of floats or too large,
    /// or the worker failed; others when the agent did.
    pub fn run(
        &mut self,
        model: &Model,
        input: &[f32],
        shape: &[usize; 4],
    ) -> Result<Vec<f32>, LatencyError> {
        let job = RunJob {
            model: refer(model),
            input: input.to_vec(),
            shape: shape.iter().map(|&dim| dim as u64).collect(),
            limits: Limits::default(),
        };
        job.check()?;
        self.with_agent("running a model", |client| {
            client.upload(model)?;
            Ok(client.run(job.clone())?.output)
        })
    }

    /// Runs `task` on a living agent, starting it anew when it is lost.
    fn with_agent<T>(
        &mut self,
        doing: &'static str,
        mut task: impl FnMut(&mut Client) -> Result<T, LatencyError>,
    ) -> Result<T, LatencyError> {
        let mut lost = 0;
        loop {
            let outcome = match self.agent.as_mut() {
                Some(agent) => task(&mut agent.client),
                None => match Agent::start(&self.program, &self.config) {
                    Ok(agent) => task(&mut self.agent.insert(agent).client),
                    Err(LatencyError::AgentStart { path, detail }) => {
                        Err(LatencyError::Connection {
                            call: "starting the agent",
                            detail: format!("{}: {detail}", path.display()),
                        })
                    }
                    Err(error) => Err(error),
                },
            };
            match outcome {
                Err(error) if error.is_agent_lost() => {
                    lost += 1;
                    let words = self.agent.take().map(Agent::kill).unwrap_or_default();
                    let detail = if words.is_empty() {
                        error.to_string()
                    } else {
                        format!("{error} ({words})")
                    };
                    tracing::warn!(lost, detail, "the agent was lost");
                    if lost > self.config.restarts {
                        return Err(LatencyError::AgentLost {
                            times: lost,
                            doing,
                            detail,
                        });
                    }
                }
                outcome => return outcome,
            }
        }
    }

    /// One measurement without repeats for its verdict.
    fn measure_once(&mut self, request: &MeasureRequest) -> Result<Vec<Measurement>, LatencyError> {
        let job = MeasureJob {
            models: request.models.iter().map(refer).collect(),
            reference: request.reference.as_ref().map(refer),
            sampling: request.sampling.clone(),
            limits: request.limits.clone(),
            evidence: request.evidence,
        };
        let silence = Duration::from_nanos(self.config.silence_timeout_ns);
        self.with_agent("measuring", |client| {
            for model in request.models.iter().chain(&request.reference) {
                client.upload(model)?;
            }
            client.measure(&job, silence, &mut |step| {
                tracing::trace!(stage = %step.stage, rounds = step.rounds, ci = step.widest_ci_rel, "measuring");
            })
        })
    }

    fn measure_patiently(
        &mut self,
        request: &MeasureRequest,
    ) -> Result<Vec<Measurement>, LatencyError> {
        let mut crashes = 0;
        loop {
            match self.measure_once(request) {
                Err(LatencyError::Failed(failure))
                    if failure.kind == FailureKind::Crashed && crashes < self.config.retries =>
                {
                    crashes += 1;
                    tracing::warn!(%failure, "the worker crashed; measuring again");
                }
                outcome => return outcome,
            }
        }
    }
}

fn refer(model: &Model) -> ModelRef {
    ModelRef {
        name: model.name().to_owned(),
        sha256: model.sha256(),
    }
}

impl LatencySource for LocalDevice {
    fn measure(&mut self, request: &MeasureRequest) -> Result<Vec<Measurement>, LatencyError> {
        request
            .sampling
            .check()
            .and_then(|()| request.limits.check())?;
        if request.models.is_empty() && request.reference.is_none() {
            return Err(ProtocolError::Missing {
                message: "MeasureRequest",
                field: "models",
            }
            .into());
        }
        let mut results = self.measure_patiently(request)?;
        for _ in 0..self.config.retries {
            let wrong: Vec<usize> = results
                .iter()
                .enumerate()
                .filter(|(_, m)| !m.is_valid())
                .map(|(i, _)| i)
                .collect();
            let Some(&first) = wrong.first() else { break };
            if let Verdict::Invalid { reason } = &results[first].verdict {
                tracing::info!(
                    model = results[first].name,
                    reason,
                    "an invalid measurement; measuring again"
                );
            }
            let models: Vec<Model> = wrong
                .iter()
                .filter_map(|&i| request.models.get(i))
                .cloned()
                .collect();
            let again = self.measure_patiently(&MeasureRequest {
                models,
                ..request.clone()
            })?;
            // The reference comes last and was measured again whether or not it was wrong.
            let slots = wrong.into_iter().filter(|&i| i < request.models.len());
            for (slot, measurement) in slots.chain(request.models.len()..results.len()).zip(again) {
                results[slot] = measurement;
            }
        }
        Ok(results)
    }

    fn describe(&self) -> DeviceInfo {
        self.device.clone()
    }
}

impl Agent {
    fn start(program: &Path, config: &LocalConfig) -> Result<Self, LatencyError> {
        let wrong = |detail: String| LatencyError::AgentStart {
            path: program.to_owned(),
            detail,
        };
        let token = Token::generate().map_err(|source| LatencyError::Io {
            doing: "making a token for the agent".into(),
            source,
        })?;
        let mut command = Command::new(program);
        command.args(["serve", "--exit-with-parent", "--token-stdin"]);
        if let Some(library) = &config.runtime_library {
            command.arg("--runtime").arg(library);
        }
        // A group of its own: Ctrl-C in the terminal is for the host, which ends the agent when it is done with it.
        let mut child = command
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| wrong(error.to_string()))?;
        let words = child.stderr.take().map(LastWords::of).unwrap_or_default();
        let stdin = child.stdin.take();
        let greeting = (|| {
            let mut stdin = stdin.ok_or("it has no standard input")?;
            writeln!(stdin, "{}", token.secret())
                .map_err(|error| format!("it took no token: {error}"))?;
            let stdout = child.stdout.take().ok_or("it has no standard output")?;
            let (send, line) = channel();
            std::thread::spawn(move || {
                let mut text = String::new();
                // Nobody listens any more once the start has timed out.
                let _ = send.send(BufReader::new(stdout).read_line(&mut text).map(|_| text));
            });
            let limit = Duration::from_nanos(config.start_timeout_ns);
            let line = match line.recv_timeout(limit) {
                Ok(Ok(line)) => line,
                Ok(Err(error)) => return Err(format!("its greeting could not be read: {error}")),
                Err(RecvTimeoutError::Timeout) => {
                    return Err(format!("it said nothing within {limit:?}"));
                }
                Err(RecvTimeoutError::Disconnected) => return Err("it said nothing".into()),
            };
            let greeting: Greeting =
                serde_json::from_str(&line).map_err(|_| match line.trim() {
                    "" => "it ended at once".to_owned(),
                    line => format!("its first line is no greeting: {line}"),
                })?;
            Ok::<_, String>((stdin, greeting))
        })();
        let connected = greeting.map_err(wrong).and_then(|(stdin, greeting)| {
            let client = Client::connect(&format!("http://127.0.0.1:{}", greeting.port), &token)?;
            Ok((stdin, client))
        });
        match connected {
            Ok((stdin, client)) => Ok(Self {
                child,
                stdin: Some(stdin),
                client,
                words,
            }),
            Err(error) => {
                end(&mut child, Duration::ZERO);
                Err(match error {
                    LatencyError::AgentStart { path, detail } => {
                        let words = words.collect();
                        let said = if words.is_empty() {
                            String::new()
                        } else {
                            format!(" ({words})")
                        };
                        LatencyError::AgentStart {
                            path,
                            detail: format!("{detail}{said}"),
                        }
                    }
                    error => error,
                })
            }
        }
    }

    /// Ends a lost agent at once. Returns its last words.
    fn kill(mut self) -> String {
        end(&mut self.child, Duration::ZERO);
        std::mem::take(&mut self.words).collect()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            self.stdin = None;
            end(&mut self.child, Duration::from_secs(5));
        }
    }
}

/// Waits for a child to end for as long as `patience`, then kills it. It leaves no zombie.
fn end(child: &mut Child, patience: Duration) {
    let until = Instant::now() + patience;
    while Instant::now() < until {
        if matches!(child.try_wait(), Ok(Some(_))) {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    // An error means that it has ended already.
    let _ = child.kill();
    let _ = child.wait();
}

/// The line with which the agent tells where it listens.
#[derive(Deserialize)]
struct Greeting {
    port: u16,
}

fn keep_last_words(from: impl BufRead, words: &Mutex<VecDeque<String>>) {
    for line in from.lines().map_while(Result::ok) {
        tracing::debug!(target: "graphprune_agent", "{line}");
        let mut words = words.lock().unwrap_or_else(PoisonError::into_inner);
        if words.len() == 8 {
            words.pop_front();
        }
        words.push_back(line);
    }
}

fn find_agent(config: &LocalConfig) -> Result<PathBuf, LatencyError> {
    let named = config
        .agent
        .clone()
        .or_else(|| std::env::var_os("GRAPHPRUNE_AGENT").map(PathBuf::from));
    let looked: Vec<PathBuf> = match named {
        Some(path) => vec![path],
        None => {
            let own = std::env::current_exe().map_err(|source| LatencyError::Io {
                doing: "finding this program's own place".into(),
                source,
            })?;
            // Cargo puts tests and examples one folder below the programs.
            let name = format!("graphprune-agent{}", std::env::consts::EXE_SUFFIX);
            own.ancestors()
                .skip(1)
                .take(2)
                .map(|folder| folder.join(&name))
                .collect()
        }
    };
    match looked.iter().find(|path| path.is_file()) {
        Some(path) => Ok(path.clone()),
        None => Err(LatencyError::AgentNotFound { looked }),
    }
}
