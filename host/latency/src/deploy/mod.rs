//! Puts the right agent on a device.
//!
//! A version lies in `agents/HASH`, named by what it holds; the link `current` leads to the one in use. A new version is
//! uploaded beside, checked by its digests, tried there, and only then the link is exchanged; so whatever breaks, and
//! whenever, the device has the version it had.

mod bundle;
mod target;

use std::path::PathBuf;
use std::time::Duration;

use agent_protocol::Token;
pub use bundle::Agents;
use bundle::{Bundle, Item};
use target::Target;

use crate::shell::Shell;
use crate::transport::remote::{is_foreign, quote};
use crate::{LatencyError, Obstacle};

/// The agent's program.
pub(crate) const AGENT: &str = "graphprune-agent";
/// ONNX Runtime's library.
const LIBRARY: &str = "libonnxruntime.so";
/// What a short command on the device may take.
const CALL: Duration = Duration::from_secs(60);
/// What the agent's first run may take: a slow card reads the library for a while.
const FIRST_RUN: Duration = Duration::from_secs(180);
/// A link may be as slow as this, bytes a second.
const SLOWEST: u64 = 32 * 1024;
/// How often a file is sent again whose connection broke.
const RETRIES: u32 = 2;
/// Space that must be left over, bytes.
const SPARE: u64 = 16 << 20;

/// What is to be put on a device.
#[derive(Clone, Debug, Default)]
pub struct Deployment {
    /// What the user calls the device.
    pub device: String,
    /// The agent's folder on the device.
    pub folder: String,
    /// The triple that the device's profile names; empty: whatever the device says.
    pub triple: String,
    /// Bring a C library even where the device's own would do.
    pub libc: bool,
    /// ONNX Runtime's library, instead of the one that comes with the agent.
    pub runtime: Option<PathBuf>,
    /// Further files beside it, such as an execution provider's libraries.
    pub with: Vec<PathBuf>,
}

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeployStep {
    /// A file is on its way.
    Sending {
        /// The file.
        file: String,
        /// Bytes of all files that are on their way or there.
        sent: u64,
        /// Bytes of all files.
        of: u64,
    },
    /// The digests are compared on the device.
    Verifying,
    /// The agent is tried on the device.
    Trying,
}

/// What was done.
#[derive(Clone, Debug)]
pub struct Deployed {
    /// The version's name on the device.
    pub hash: String,
    /// The version it replaced.
    pub replaced: Option<String>,
    /// For whom the agent was built.
    pub triple: String,
    /// The agent's version.
    pub version: String,
    /// Why it brings a C library, if it does.
    pub libc: Option<String>,
    /// Bytes that were sent; 0 when everything was there.
    pub sent: u64,
}

/// Puts an agent on a device, unless the same one is there.
///
/// # Errors
/// When the device cannot be reached, is of a kind for which there is no agent, has too little space, or the agent does not
/// run there. The device then has the version it had.
pub fn deploy(
    shell: &dyn Shell,
    agents: &Agents,
    wanted: &Deployment,
    progress: &mut (dyn FnMut(DeployStep) + Send),
) -> Result<Deployed, LatencyError> {
    let target = Target::probe(shell, &wanted.folder)?;
    let bundle = agents.bundle(&target, wanted)?;
    let deploying = Deploying {
        shell,
        wanted,
        target: &target,
        bundle: &bundle,
        hash: bundle.hash(),
        mark: mark()?,
    };
    let sent = if deploying.is_there()? {
        0
    } else {
        deploying.upload(progress)?;
        bundle.bytes()
    };
    progress(DeployStep::Trying);
    deploying.try_out(sent > 0)?;
    let replaced = deploying.switch()?;
    deploying.tidy(replaced.as_deref());
    Ok(Deployed {
        hash: deploying.hash,
        replaced,
        triple: bundle.triple.clone(),
        version: bundle.version.clone(),
        libc: bundle.libc.clone(),
        sent,
    })
}

/// A name that no other deployment has.
fn mark() -> Result<String, LatencyError> {
    let token = Token::generate().map_err(|source| LatencyError::Io {
        doing: "drawing a name".into(),
        source,
    })?;
    Ok(token.secret().chars().take(12).collect())
}

struct Deploying<'a> {
    shell: &'a dyn Shell,
    wanted: &'a Deployment,
    target: &'a Target,
    bundle: &'a Bundle,
    hash: String,
    mark: String,
}

impl Deploying<'_> {
    fn refuse(&self, problem: String) -> LatencyError {
        LatencyError::Deploy {
            device: self.wanted.device.clone(),
            problem,
        }
    }

    /// A script that runs in the agent's folder.
    fn in_folder(&self, script: &str) -> String {
        format!("cd {} || exit\n{script}", quote(&self.target.folder))
    }

    fn ask(&self, script: &str) -> Result<String, LatencyError> {
        self.shell.ask(&self.in_folder(script), CALL)
    }

    /// Whether this version is on the device, whole.
    fn is_there(&self) -> Result<bool, LatencyError> {
        let folder = format!("agents/{}", self.hash);
        let there = self.ask(&format!("[ -d {folder} ] && echo yes || echo no"))?;
        if there != "yes" {
            return Ok(false);
        }
        Ok(self.mismatches(&folder)?.is_empty())
    }

    fn incoming(&self) -> String {
        format!("agents/.incoming-{}", self.mark)
    }

    fn upload(&self, progress: &mut (dyn FnMut(DeployStep) + Send)) -> Result<(), LatencyError> {
        let outcome = self.try_upload(progress);
        if outcome.is_err() {
            // What cannot be tidied up now is by the next deployment.
            let _ = self.ask(&format!("rm -rf {}", self.incoming()));
        }
        outcome
    }

    fn try_upload(
        &self,
        progress: &mut (dyn FnMut(DeployStep) + Send),
    ) -> Result<(), LatencyError> {
        let need = self.bundle.bytes() + SPARE;
        if let Some(free) = self.target.free_bytes.filter(|free| *free < need) {
            return Err(self.refuse(format!(
                "{:.0} MB are needed in {} and {:.0} MB are free",
                need as f64 / 1e6,
                self.target.folder,
                free as f64 / 1e6
            )));
        }
        let incoming = self.incoming();
        let mut folders: Vec<String> = vec![incoming.clone()];
        let inner = self
            .bundle
            .items
            .iter()
            .filter_map(|item| item.name.rsplit_once('/'));
        folders.extend(inner.map(|(folder, _)| format!("{incoming}/{}", quote(folder))));
        self.ask(&format!("umask 077; mkdir -p {}", folders.join(" ")))?;
        let mut before = 0;
        for item in &self.bundle.items {
            self.send(item, before, progress)?;
            before += item.bytes;
        }
        progress(DeployStep::Verifying);
        let wrong = self.mismatches(&incoming)?;
        if !wrong.is_empty() {
            return Err(self.refuse(format!(
                "{} did not arrive as it was sent",
                wrong.join(", ")
            )));
        }
        // What may lie at the version's place is not what its name says.
        let place = format!("agents/{}", self.hash);
        self.ask(&format!(
            "chmod 755 {incoming}/{AGENT}* && {{ [ ! -d {incoming}/libc ] || chmod 755 {incoming}/libc/*; }} && \
             {{ [ ! -e {place} ] || mv {place} agents/.old-{mark}; }} && mv {incoming} {place} && rm -rf agents/.old-{mark}",
            mark = self.mark
        ))
        .map(drop)
    }

    fn send(
        &self,
        item: &Item,
        before: u64,
        progress: &mut (dyn FnMut(DeployStep) + Send),
    ) -> Result<(), LatencyError> {
        let to = format!("{}/{}/{}", self.target.folder, self.incoming(), item.name);
        let limit = CALL + Duration::from_secs(item.bytes / SLOWEST);
        let mut tries = 0;
        loop {
            let sent = self.shell.push(&item.source, &to, limit, &mut |sent| {
                progress(DeployStep::Sending {
                    file: item.name.clone(),
                    sent: before + sent,
                    of: self.bundle.bytes(),
                });
            });
            match sent {
                Err(error) if error.is_agent_lost() && tries < RETRIES => {
                    tries += 1;
                    tracing::warn!(%error, file = item.name, "sending it again");
                    std::thread::sleep(Duration::from_secs(tries.into()));
                }
                outcome => return outcome,
            }
        }
    }

    /// The files of a folder on the device that are not what they must be.
    fn mismatches(&self, folder: &str) -> Result<Vec<String>, LatencyError> {
        let names: Vec<String> = self
            .bundle
            .items
            .iter()
            .map(|item| quote(&item.name))
            .collect();
        let script = format!(
            "cd {folder} || exit\n\
             for s in sha256sum 'toybox sha256sum' 'busybox sha256sum'; do \
             if $s /dev/null >/dev/null 2>&1; then for f in {names}; do $s \"$f\" 2>/dev/null || echo '- -'; done; exit 0; fi; done\n\
             echo 'there is no sha256sum, nor a toybox or busybox with one' >&2; exit 1",
            names = names.join(" ")
        );
        let limit = CALL + Duration::from_secs(self.bundle.bytes() / (4 << 20));
        let digests = self.shell.ask(&self.in_folder(&script), limit)?;
        let mut digests = digests.lines();
        let wrong = self.bundle.items.iter().filter(|item| {
            let digest = digests.next().and_then(|line| line.split(' ').next());
            // A name with odd characters makes sha256sum begin the line with a backslash.
            digest.map(|digest| digest.trim_start_matches('\\')) != Some(&item.sha256.to_string())
        });
        Ok(wrong.map(|item| item.name.clone()).collect())
    }

    /// Runs the version once. One that was just sent and does not run is removed.
    fn try_out(&self, is_new: bool) -> Result<(), LatencyError> {
        let place = format!("agents/{}", self.hash);
        let script = format!("TMPDIR=$(pwd)/work {place}/{AGENT} info");
        let done = self.shell.run(&self.in_folder(&script), FIRST_RUN)?;
        if done.is_success() {
            return Ok(());
        }
        if is_new {
            // What cannot be removed now is by the next deployment.
            let _ = self.ask(&format!("rm -rf {place}"));
        }
        let detail = done.describe();
        if done
            .code()
            .is_some_and(|code| is_foreign(code, &done.stderr))
        {
            return Err(LatencyError::Unusable {
                device: self.wanted.device.clone(),
                place: self.shell.place(),
                obstacle: Obstacle::WrongArchitecture,
                detail: format!(
                    "{} on {}: {detail}",
                    self.bundle.triple, self.target.machine
                ),
            });
        }
        Err(self.refuse(format!("it does not run there: {detail}")))
    }

    /// Lets `current` lead to the version, in one step. Returns the version it led to, if that was another.
    fn switch(&self) -> Result<Option<String>, LatencyError> {
        let link = format!("agents/{}", self.hash);
        let before = self.target.current.clone().filter(|before| *before != link);
        if self.target.current.as_deref() == Some(&link) {
            return Ok(None);
        }
        self.point(&link)?;
        let check = self.ask(&format!("current/{AGENT} --version"));
        let Err(error) = check else {
            return Ok(before);
        };
        let back = match &before {
            Some(before) => self.point(before),
            None => self.ask("rm -f current").map(drop),
        };
        Err(match back {
            Ok(()) => error,
            Err(worse) => self.refuse(format!("{error}; and going back failed: {worse}")),
        })
    }

    fn point(&self, to: &str) -> Result<(), LatencyError> {
        let new = format!(".current-{}", self.mark);
        // Without -T the new link would be moved into the folder that the old one leads to.
        self.ask(&format!(
            "ln -s {to} {new} && {{ mv -f -T {new} current 2>/dev/null || {{ rm -f current && mv {new} current; }}; }}",
            to = quote(to)
        ))
        .map(drop)
    }

    /// Removes what is neither in use nor was before, and what broken deployments left an hour ago.
    fn tidy(&self, replaced: Option<&str>) {
        // Where nothing was replaced, the one before is not known, and so all stay.
        let Some(kept) = replaced.map(quote) else {
            return;
        };
        let script = format!(
            "for v in agents/*; do case \"$v\" in agents/{hash}|{kept}) ;; *) rm -rf \"$v\";; esac; done\n\
             find agents -maxdepth 1 -name '.*-*' -mmin +60 -exec rm -rf {{}} +",
            hash = self.hash
        );
        if let Err(error) = self.ask(&script) {
            tracing::warn!(%error, "old versions of the agent are left on the device");
        }
    }
}
