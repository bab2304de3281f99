//! The place of a process among the others, from its environment.

use std::time::Duration;

use crate::CollectiveError;

/// The variable with the seconds that a process waits for the others.
pub const TIMEOUT: &str = "GRAPHPRUNE_RANK_SECONDS";

/// Seconds that a process waits for the others by default. A slow disk or a first batch may hold
/// one of them up for a minute.
const SECONDS: u64 = 300;

const DEFAULT_PORT: u16 = 29500;

/// The place of one process among several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Number of this process, from 0.
    pub rank: usize,
    /// Number of processes, at least 2.
    pub size: usize,
    /// Number of this process on its machine, from 0.
    pub local_rank: usize,
    /// Processes on this machine; `None` if that is not known.
    pub local_size: Option<usize>,
    /// The machine of the store.
    pub host: String,
    /// The port of the store.
    pub port: u16,
    /// Whether this process runs the store. torchrun's agent does so itself.
    pub serves: bool,
    /// How often all processes were started again.
    pub attempt: u64,
    /// The network interface of the processes' connections, if one is named.
    pub interface: Option<String>,
    /// How long a process waits for the others.
    pub timeout: Duration,
}

impl Place {
    /// The place of a process among `size` on this machine, for a program that starts them itself:
    /// rank 0 listens on `port` of the loopback interface.
    #[must_use]
    pub fn on_loopback(rank: usize, size: usize, port: u16) -> Self {
        Self {
            rank,
            size,
            local_rank: rank,
            local_size: Some(size),
            host: "127.0.0.1".into(),
            port,
            serves: rank == 0,
            attempt: 0,
            interface: None,
            timeout: Duration::from_secs(SECONDS),
        }
    }

    /// The place that torchrun (`RANK`, `WORLD_SIZE`), SLURM (`SLURM_PROCID`, `SLURM_NTASKS`, and
    /// `MASTER_ADDR`, by which the user says that the tasks belong together) or Kubeflow's trainer
    /// (`PET_NODE_RANK`, `PET_NNODES`) gives this process; `None` if it is alone.
    ///
    /// # Errors
    /// [`CollectiveError::Environment`] names a variable that is missing or wrong.
    pub fn from_env() -> Result<Option<Self>, CollectiveError> {
        Self::from_variables(&|name| std::env::var(name).ok())
    }

    /// As [`Place::from_env`], with the variables that `lookup` finds.
    ///
    /// # Errors
    /// As [`Place::from_env`].
    pub fn from_variables(
        lookup: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, CollectiveError> {
        let all = Variables(lookup);
        let Some((rank, size, local_rank, local_size, host)) = all.numbers()? else {
            return Ok(None);
        };
        if size < 2 {
            return Ok(None);
        }
        if rank >= size {
            return Err(CollectiveError::Environment {
                name: "RANK",
                reason: format!("{rank} is no rank of {size} processes, which count from 0"),
            });
        }
        let Some(host) = host else {
            return Err(CollectiveError::Environment {
                name: "MASTER_ADDR",
                reason: format!("is not set, and {size} processes must know where rank 0 runs"),
            });
        };
        let port = match all.number::<u16>("MASTER_PORT")? {
            Some(port) => port,
            None => all
                .number::<u16>("PET_MASTER_PORT")?
                .unwrap_or(DEFAULT_PORT),
        };
        let by_agent = all
            .text("TORCHELASTIC_USE_AGENT_STORE")
            .is_some_and(|text| text.eq_ignore_ascii_case("true"));
        let seconds = all.number::<u64>(TIMEOUT)?.unwrap_or(SECONDS);
        if seconds == 0 {
            return Err(CollectiveError::Environment {
                name: TIMEOUT,
                reason: "must be at least 1 second".into(),
            });
        }
        Ok(Some(Self {
            rank,
            size,
            local_rank,
            local_size,
            host,
            port,
            serves: rank == 0 && !by_agent,
            attempt: match all.number("TORCHELASTIC_RESTART_COUNT")? {
                Some(count) => count,
                None => all.number("SLURM_RESTART_COUNT")?.unwrap_or(0),
            },
            interface: all.text("GLOO_SOCKET_IFNAME"),
            timeout: Duration::from_secs(seconds),
        }))
    }

    /// Whether the store is on this machine's loopback interface, and so all processes are here.
    pub(crate) fn is_loopback(&self) -> bool {
        let address = self.host.parse::<std::net::IpAddr>();
        self.host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }
}

/// Rank, size, local rank, local size, host.
type Numbers = (usize, usize, usize, Option<usize>, Option<String>);

struct Variables<'a>(&'a dyn Fn(&str) -> Option<String>);

impl Variables<'_> {
    fn text(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|text| !text.is_empty())
    }

    fn number<T: std::str::FromStr>(
        &self,
        name: &'static str,
    ) -> Result<Option<T>, CollectiveError> {
        let parse = |text: String| {
            text.parse().map_err(|_| CollectiveError::Environment {
                name,
                reason: format!("'{text}' is no whole number in its range"),
            })
        };
        self.text(name).map(parse).transpose()
    }

    fn numbers(&self) -> Result<Option<Numbers>, CollectiveError> {
        let host = self.text("MASTER_ADDR");
        if let (Some(rank), Some(size)) = (self.number("RANK")?, self.number("WORLD_SIZE")?) {
            let local = self.number("LOCAL_RANK")?.unwrap_or(0);
            return Ok(Some((
                rank,
                size,
                local,
                self.number("LOCAL_WORLD_SIZE")?,
                host,
            )));
        }
        // A batch script has these variables as well, outside of `srun`.
        if let (Some(rank), Some(size), Some(_)) = (
            self.number("SLURM_PROCID")?,
            self.number("SLURM_NTASKS")?,
            &host,
        ) {
            let local = self.number("SLURM_LOCALID")?.unwrap_or(0);
            let here = self.number("SLURM_NTASKS_PER_NODE")?;
            return Ok(Some((rank, size, local, here, host)));
        }
        if let (Some(rank), Some(size)) =
            (self.number("PET_NODE_RANK")?, self.number("PET_NNODES")?)
        {
            let each = self.text("PET_NPROC_PER_NODE");
            if each.as_deref().is_some_and(|each| each != "1") {
                return Err(CollectiveError::Environment {
                    name: "PET_NPROC_PER_NODE",
                    reason: "several processes on a node are started by `torchrun --no-python graphprune ...`".into(),
                });
            }
            return Ok(Some((
                rank,
                size,
                0,
                Some(1),
                host.or(self.text("PET_MASTER_ADDR")),
            )));
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(variables: &str) -> Result<Option<Place>, CollectiveError> {
        let pairs: Vec<(&str, &str)> = variables
            .split(' ')
            .filter_map(|pair| pair.split_once('='))
            .collect();
        Place::from_variables(&|name| {
            let found = pairs.iter().find(|(of, _)| *of == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn a_place_is_found_in_the_variables_of_each_launcher() {
        let check = |variables: &str, expected: Option<(usize, usize, usize, u16, bool, u64)>| {
            let found = place(variables).unwrap();
            let found = found.map(|p| (p.rank, p.size, p.local_rank, p.port, p.serves, p.attempt));
            assert_eq!(found, expected, "{variables}");
        };
        check("", None);
        check("MASTER_ADDR=a MASTER_PORT=1", None);
        check("RANK=0 WORLD_SIZE=1", None);
        let torchrun = "RANK=0 WORLD_SIZE=2 LOCAL_RANK=0 MASTER_ADDR=a MASTER_PORT=7 \
                        TORCHELASTIC_USE_AGENT_STORE=True TORCHELASTIC_RESTART_COUNT=2";
        check(torchrun, Some((0, 2, 0, 7, false, 2)));
        check(
            "RANK=3 WORLD_SIZE=4 LOCAL_RANK=1 MASTER_ADDR=a",
            Some((3, 4, 1, 29500, false, 0)),
        );
        check(
            "RANK=0 WORLD_SIZE=4 MASTER_ADDR=a",
            Some((0, 4, 0, 29500, true, 0)),
        );
        check("SLURM_PROCID=0 SLURM_NTASKS=4", None);
        check(
            "SLURM_PROCID=5 SLURM_NTASKS=8 SLURM_LOCALID=1 MASTER_ADDR=n1 MASTER_PORT=9 SLURM_RESTART_COUNT=1",
            Some((5, 8, 1, 9, false, 1)),
        );
        check(
            "PET_NODE_RANK=1 PET_NNODES=2 PET_NPROC_PER_NODE=1 PET_MASTER_ADDR=m PET_MASTER_PORT=5",
            Some((1, 2, 0, 5, false, 0)),
        );
    }

    #[test]
    fn a_wrong_variable_is_named() {
        let check = |variables: &str, part: &str| {
            let error = place(variables).unwrap_err().to_string();
            assert!(error.contains(part), "{variables}: {error}");
        };
        check("RANK=x WORLD_SIZE=2", "RANK: 'x'");
        check("RANK=2 WORLD_SIZE=2 MASTER_ADDR=a", "RANK: 2 is no rank");
        check("RANK=0 WORLD_SIZE=2", "MASTER_ADDR");
        check(
            "RANK=0 WORLD_SIZE=2 MASTER_ADDR=a MASTER_PORT=70000",
            "MASTER_PORT",
        );
        check(
            "RANK=0 WORLD_SIZE=2 MASTER_ADDR=a GRAPHPRUNE_RANK_SECONDS=0",
            TIMEOUT,
        );
        check(
            "PET_NODE_RANK=0 PET_NNODES=2 PET_NPROC_PER_NODE=4",
            "torchrun --no-python",
        );
    }
}
