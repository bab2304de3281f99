//! Deployment of the agent to a device.
//!
//! A version lies in `agents/HASH`, named by its content; the link `current` points to the active
//! one. A new version is uploaded aside, verified by its digests and run once before the link is
//! switched. A failure at any point leaves the old version active.

mod bundle;
mod deployment;
mod link;
mod network;
mod target;

use std::time::Duration;

pub use bundle::Agents;
use bundle::{AGENT, Bundle, BundleFile};
pub use deployment::{DeployStep, Deployed, Deployment};
use link::{CALL, SLOWEST, SPARE, mark};
pub use network::{PackedNetwork, send_network};
use target::Target;

use crate::shell::Shell;
use crate::transport::remote::{is_foreign, quote};
use crate::{LatencyError, Obstacle};

/// Time limit of the agent's first run, in which a slow card has to read the library.
const FIRST_RUN: Duration = Duration::from_secs(180);
/// Number of retries for a file after a connection failure.
const RETRIES: u32 = 2;

/// Deploys the agent to a device, unless the same version is there.
///
/// # Errors
/// Fails if the device is unreachable, there is no agent for it, its space is too small, or the
/// agent does not run there. The old version then stays active.
pub fn deploy(
    shell: &dyn Shell,
    agents: &Agents,
    deployment: &Deployment,
    progress: &mut (dyn FnMut(DeployStep) + Send),
) -> Result<Deployed, LatencyError> {
    let target = Target::probe(shell, &deployment.folder)?;
    let bundle = agents.bundle(&target, deployment)?;
    let deploying = Deploying {
        shell,
        device: &deployment.device,
        target: &target,
        bundle: &bundle,
        hash: bundle.hash(),
        mark: mark()?,
    };
    let sent = if deploying.is_deployed()? {
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

struct Deploying<'a> {
    shell: &'a dyn Shell,
    device: &'a str,
    target: &'a Target,
    bundle: &'a Bundle,
    hash: String,
    mark: String,
}

impl Deploying<'_> {
    fn refuse(&self, problem: String) -> LatencyError {
        LatencyError::Deploy {
            device: self.device.to_owned(),
            problem,
        }
    }

    /// Prepends a change to the agent's folder to a script.
    fn in_folder(&self, script: &str) -> String {
        format!("cd {} || exit\n{script}", quote(&self.target.folder))
    }

    /// Runs a short script in the agent's folder and returns its output.
    fn output(&self, script: &str) -> Result<String, LatencyError> {
        self.shell.output(&self.in_folder(script), CALL)
    }

    /// Whether this version is on the device with all its files.
    fn is_deployed(&self) -> Result<bool, LatencyError> {
        let folder = format!("agents/{}", self.hash);
        let exists = self.output(&format!("[ -d {folder} ] && echo yes || echo no"))?;
        if exists != "yes" {
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
            // If this fails as well, the next deployment tidies up.
            let _ = self.output(&format!("rm -rf {}", self.incoming()));
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
            .files
            .iter()
            .filter_map(|file| file.name.rsplit_once('/'));
        folders.extend(inner.map(|(folder, _)| format!("{incoming}/{}", quote(folder))));
        self.output(&format!("umask 077; mkdir -p {}", folders.join(" ")))?;
        let mut before = 0;
        for file in &self.bundle.files {
            self.send(file, before, progress)?;
            before += file.bytes;
        }
        progress(DeployStep::Verifying);
        let damaged = self.mismatches(&incoming)?;
        if !damaged.is_empty() {
            return Err(self.refuse(format!(
                "{} did not arrive as it was sent",
                damaged.join(", ")
            )));
        }
        // An existing folder of this name failed verification and is replaced.
        let place = format!("agents/{}", self.hash);
        self.output(&format!(
            "chmod 755 {incoming}/{AGENT}* && {{ [ ! -d {incoming}/libc ] || chmod 755 {incoming}/libc/*; }} && \
             {{ [ ! -e {place} ] || mv {place} agents/.old-{mark}; }} && mv {incoming} {place} && rm -rf agents/.old-{mark}",
            mark = self.mark
        ))
        .map(drop)
    }

    fn send(
        &self,
        file: &BundleFile,
        before: u64,
        progress: &mut (dyn FnMut(DeployStep) + Send),
    ) -> Result<(), LatencyError> {
        let to = format!("{}/{}/{}", self.target.folder, self.incoming(), file.name);
        let limit = CALL + Duration::from_secs(file.bytes / SLOWEST);
        let mut tries = 0;
        loop {
            let sent = self.shell.push(&file.source, &to, limit, &mut |sent| {
                progress(DeployStep::Sending {
                    file: file.name.clone(),
                    sent: before + sent,
                    of: self.bundle.bytes(),
                });
            });
            match sent {
                Err(error) if error.is_agent_lost() && tries < RETRIES => {
                    tries += 1;
                    tracing::warn!(%error, file = file.name, "sending it again");
                    std::thread::sleep(Duration::from_secs(tries.into()));
                }
                outcome => return outcome,
            }
        }
    }

    /// The files of a folder on the device whose digests do not match.
    fn mismatches(&self, folder: &str) -> Result<Vec<String>, LatencyError> {
        let names: Vec<String> = self
            .bundle
            .files
            .iter()
            .map(|file| quote(&file.name))
            .collect();
        let script = format!(
            "cd {folder} || exit\n\
             for s in sha256sum 'toybox sha256sum' 'busybox sha256sum'; do \
             if $s /dev/null >/dev/null 2>&1; then for f in {names}; do $s \"$f\" 2>/dev/null || echo '- -'; done; exit 0; fi; done\n\
             echo 'there is no sha256sum, nor a toybox or busybox with one' >&2; exit 1",
            names = names.join(" ")
        );
        let limit = CALL + Duration::from_secs(self.bundle.bytes() / (4 << 20));
        let digests = self.shell.output(&self.in_folder(&script), limit)?;
        let mut digests = digests.lines();
        let mismatches = self.bundle.files.iter().filter(|file| {
            let digest = digests.next().and_then(|line| line.split(' ').next());
            // sha256sum begins the line with a backslash if the name needs escaping.
            digest.map(|digest| digest.trim_start_matches('\\')) != Some(&file.sha256.to_string())
        });
        Ok(mismatches.map(|file| file.name.clone()).collect())
    }

    /// Runs the version once. A new version that does not run is removed.
    fn try_out(&self, is_new: bool) -> Result<(), LatencyError> {
        let place = format!("agents/{}", self.hash);
        let script = format!("TMPDIR=$(pwd)/work {place}/{AGENT} info");
        let done = self.shell.run(&self.in_folder(&script), FIRST_RUN)?;
        if done.is_success() {
            return Ok(());
        }
        if is_new {
            // If this fails as well, the next deployment tidies up.
            let _ = self.output(&format!("rm -rf {place}"));
        }
        let detail = done.describe();
        if done
            .code()
            .is_some_and(|code| is_foreign(code, &done.stderr))
        {
            return Err(LatencyError::Unusable {
                device: self.device.to_owned(),
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

    /// Switches `current` to the version atomically. Returns the version it pointed to before, if
    /// that was another.
    fn switch(&self) -> Result<Option<String>, LatencyError> {
        let link = format!("agents/{}", self.hash);
        let before = self.target.current.clone().filter(|before| *before != link);
        if self.target.current.as_deref() == Some(&link) {
            return Ok(None);
        }
        self.point(&link)?;
        let check = self.output(&format!("current/{AGENT} --version"));
        let Err(error) = check else {
            return Ok(before);
        };
        let back = match &before {
            Some(before) => self.point(before),
            None => self.output("rm -f current").map(drop),
        };
        Err(match back {
            Ok(()) => error,
            Err(worse) => self.refuse(format!("{error}; and going back failed: {worse}")),
        })
    }

    fn point(&self, to: &str) -> Result<(), LatencyError> {
        let new = format!(".current-{}", self.mark);
        // Without -T the new link would be moved into the folder behind the old one.
        self.output(&format!(
            "ln -s {to} {new} && {{ mv -f -T {new} current 2>/dev/null || {{ rm -f current && mv {new} current; }}; }}",
            to = quote(to)
        ))
        .map(drop)
    }

    /// Removes all versions but the active and the previous one, and leftovers of failed
    /// deployments after an hour.
    fn tidy(&self, replaced: Option<&str>) {
        // If nothing was replaced, the previous version is unknown and all are kept.
        let Some(kept) = replaced.map(quote) else {
            return;
        };
        let script = format!(
            "for v in agents/*; do case \"$v\" in agents/{hash}|{kept}) ;; *) rm -rf \"$v\";; esac; done\n\
             find agents -maxdepth 1 -name '.*-*' -mmin +60 -exec rm -rf {{}} +",
            hash = self.hash
        );
        if let Err(error) = self.output(&script) {
            tracing::warn!(%error, "old versions of the agent are left on the device");
        }
    }
}
