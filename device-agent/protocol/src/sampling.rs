//! How a latency is sampled, and what a worker may use for it.

use serde::{Deserialize, Serialize};

use crate::check::{count, within};
use crate::mirror::mirror_struct;
use crate::{ProtocolError, bounds};

/// How a latency is sampled.
///
/// A measurement runs in *rounds*. In each round every model runs one *block* of back-to-back
/// runs. The order of the models rotates from round to round, so drift of the machine affects
/// all alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sampling {
    /// Threads that work on one operator (ONNX Runtime's intra-op pool).
    pub threads: u32,
    /// Whether idle threads spin instead of sleeping. On a shared machine spinning makes
    /// measurements jump.
    pub spinning: bool,
    /// Value of a model's dynamic batch dimension.
    pub batch: u32,
    /// Seed of the random inputs.
    pub seed: u64,
    /// Cores the worker is bound to; empty: all of them.
    pub cores: Vec<u32>,
    /// The worker's niceness, -20 to 19. Only a privileged agent may go below its own niceness;
    /// any other worker keeps the agent's.
    pub nice: i32,
    /// Minimum time each model runs before its first sample, ns.
    pub warmup_ns: u64,
    /// Minimum runs of each model before its first sample.
    pub warmup_runs: u32,
    /// Approximate duration of one block, ns. The number of runs in a block follows from the
    /// model's own speed.
    pub block_ns: u64,
    /// Minimum rounds. A 95 % interval of a median needs six.
    pub min_rounds: u32,
    /// Maximum rounds.
    pub max_rounds: u32,
    /// Sampling ends after this time whatever the interval, ns. Warm-up not included.
    pub max_duration_ns: u64,
    /// Sampling ends when half of every interval, relative to its median, is at most this.
    pub ci_target_rel: f64,
    /// When time is up, a measurement whose interval is within this is still valid.
    pub ci_accept_rel: f64,
    /// Without a reference, a measurement is invalid if its last third differs from its first by
    /// more than this, or if the time of the [`Sentinel`](crate::Sentinel) changed by more. A
    /// figure over several processes leaves those out in which it changed by more than two fifths
    /// of this, and is invalid if too few others remain.
    pub drift_accept_rel: f64,
    /// How long the models run without a pause between the warm-up and the first sample, ns. The
    /// samples then show what a device sustains rather than what it does for a moment.
    pub sustained_ns: u64,
    /// On a bare-metal board, the least time of one sample, ns: the network runs back to back
    /// for so long, and the sample is the mean of these runs. MLPerf Tiny takes windows of ten
    /// seconds. 0: a sample is one run.
    pub window_ns: u64,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            threads: 1,
            spinning: false,
            batch: 1,
            seed: 0,
            cores: Vec::new(),
            nice: -10,
            warmup_ns: 60_000_000,
            warmup_runs: 5,
            block_ns: 5_000_000,
            min_rounds: 10,
            max_rounds: 2000,
            max_duration_ns: 2_000_000_000,
            ci_target_rel: 0.02,
            ci_accept_rel: 0.06,
            drift_accept_rel: 0.25,
            sustained_ns: 0,
            window_ns: 0,
        }
    }
}

impl Sampling {
    /// Checks that every field is within its bounds; the error names the first that is not.
    pub fn check(&self) -> Result<(), ProtocolError> {
        const M: &str = "Sampling";
        let cores = bounds::MAX_CORES as u32;
        within(M, "threads", self.threads, (1, cores), "1 to 1024 threads")?;
        within(M, "batch", self.batch, (1, 65_536), "1 to 65536")?;
        count(M, "cores", &self.cores, bounds::MAX_CORES)?;
        for &core in &self.cores {
            let last = cores - 1;
            within(M, "cores", core, (0, last), "a core's number below 1024")?;
        }
        let day = (0, bounds::MAX_DURATION_NS);
        for (field, value) in [
            ("warmup_ns", self.warmup_ns),
            ("max_duration_ns", self.max_duration_ns),
            ("sustained_ns", self.sustained_ns),
            ("window_ns", self.window_ns),
        ] {
            within(M, field, value, day, "at most a day")?;
        }
        let runs = (0, bounds::MAX_BLOCK_RUNS);
        within(M, "warmup_runs", self.warmup_runs, runs, "0 to 4096 runs")?;
        let block = (1, bounds::MAX_DURATION_NS);
        within(M, "block_ns", self.block_ns, block, "1 ns to a day")?;
        let rounds = (6, bounds::MAX_ROUNDS);
        within(
            M,
            "min_rounds",
            self.min_rounds,
            rounds,
            "6 to 16384 rounds",
        )?;
        within(
            M,
            "max_rounds",
            self.max_rounds,
            (self.min_rounds, bounds::MAX_ROUNDS),
            "min_rounds to 16384 rounds",
        )?;
        let target = self.ci_target_rel;
        within(M, "ci_target_rel", target, (1e-6, 10.0), "0.000001 to 10")?;
        within(
            M,
            "ci_accept_rel",
            self.ci_accept_rel,
            (target, 10.0),
            "ci_target_rel to 10",
        )?;
        let drift = self.drift_accept_rel;
        within(M, "drift_accept_rel", drift, (0.0, 1e6), "0 to 1000000")?;
        Ok(())
    }
}

mirror_struct!(Sampling {
    threads,
    spinning,
    batch,
    seed,
    cores,
    nice,
    warmup_ns,
    warmup_runs,
    block_ns,
    min_rounds,
    max_rounds,
    max_duration_ns,
    ci_target_rel,
    ci_accept_rel,
    drift_accept_rel,
    sustained_ns,
    window_ns,
});

/// What one worker process may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Wall-clock time of one worker process from its start to its end, ns. The agent kills it
    /// afterwards.
    pub time_ns: u64,
    /// Address space of the worker process, bytes. ONNX Runtime itself takes some 400 MiB of it.
    pub memory_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            time_ns: 120_000_000_000,
            memory_bytes: 8 * 1024 * 1024 * 1024,
        }
    }
}

impl Limits {
    /// Checks that both limits are within their bounds; the error names the first that is not.
    pub fn check(&self) -> Result<(), ProtocolError> {
        const M: &str = "Limits";
        let time = (1, bounds::MAX_DURATION_NS);
        within(M, "time_ns", self.time_ns, time, "1 ns to a day")?;
        let memory = (1, 1 << 50);
        within(
            M,
            "memory_bytes",
            self.memory_bytes,
            memory,
            "1 byte to a pebibyte",
        )?;
        Ok(())
    }
}

mirror_struct!(Limits {
    time_ns,
    memory_bytes,
});

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{assert_refused, assert_survives};
    use crate::wire;

    #[test]
    fn settings_survive_the_wire() {
        assert_survives::<wire::Sampling, _>(&Sampling {
            cores: vec![0, 3],
            sustained_ns: 1,
            window_ns: 2,
            ..Sampling::default()
        });
        assert_survives::<wire::Limits, _>(&Limits::default());
    }

    #[test]
    fn a_field_out_of_bounds_is_refused_by_its_name() {
        let check = |spoil: fn(&mut wire::Sampling), needle: &str| {
            let sampling = wire::Sampling::from(Sampling::default());
            assert_refused::<_, Sampling>(&sampling, spoil, needle);
        };
        check(|s| s.threads = 0, "threads is 0");
        check(|s| s.min_rounds = 5, "min_rounds is 5");
        check(|s| s.max_rounds = 7, "max_rounds is 7");
        check(|s| s.ci_target_rel = f64::NAN, "ci_target_rel is NaN");
        check(|s| s.ci_accept_rel = 0.0, "ci_accept_rel is 0");
        check(|s| s.cores = vec![4096], "cores is 4096");
        check(|s| s.max_duration_ns = u64::MAX, "max_duration_ns");
        check(|s| s.window_ns = u64::MAX, "window_ns");
        let limits = wire::Limits::from(Limits::default());
        assert_refused::<_, Limits>(&limits, |l| l.time_ns = 0, "time_ns is 0");
    }
}
