//! Which processes were disturbed.

use agent_protocol::{Measurement, pace};

/// Processes from which on an interval over them is of use.
const FEWEST_FAST: usize = 3;

/// The usable measurements of one model, one per process.
pub struct ByDisturbance<'a> {
    /// All valid ones.
    pub valid: Vec<&'a Measurement>,
    /// Those during which the device kept its pace.
    pub steady: Vec<&'a Measurement>,
    /// Those of the steady ones that had a core to themselves.
    pub calm: Vec<&'a Measurement>,
    /// Those of the calm ones whose reference was nearly as fast as in the fastest of them. On a
    /// shared machine a core is slower while its neighbour, or its twin, works for others.
    pub fast: Vec<&'a Measurement>,
}

impl<'a> ByDisturbance<'a> {
    /// Sorts measurements. `references_ns` has the 5th percentile of the reference's time in each
    /// process; without one, no process counts as slow.
    pub fn of(all: &[&'a Measurement], references_ns: Option<&[f64]>) -> Self {
        let of = |all: &[&'a Measurement], keep: &dyn Fn(&Measurement) -> bool| {
            all.iter().copied().filter(|m| keep(m)).collect::<Vec<_>>()
        };
        let valid = of(all, &Measurement::is_valid);
        let steady = of(&valid, &|m| changed_pace(m).is_none());
        let calm = of(&steady, &|m| !is_contended(m));
        let of_process = |m: &Measurement| {
            let at = all.iter().position(|other| std::ptr::eq(*other, m))?;
            references_ns?.get(at).copied()
        };
        let times = calm.iter().filter_map(|m| of_process(m));
        let fastest = times.min_by(f64::total_cmp);
        let fast = of(&calm, &|m| match (of_process(m), fastest) {
            (Some(ns), Some(fastest)) => ns <= (1.0 + pace::CHANGED) * fastest,
            _ => true,
        });
        Self {
            valid,
            steady,
            calm,
            fast,
        }
    }

    /// Whether the fast ones alone give a figure: one that is fast by luck is no pace of the
    /// device.
    fn are_fast_enough(&self, fewest: usize) -> bool {
        self.fast.len() >= fewest.div_ceil(2).max(FEWEST_FAST)
    }

    /// Returns the fast ones if there are at least half of `fewest`, else the calm ones if there
    /// are at least `fewest`, else the steady ones if there are as many, else all valid ones.
    pub fn least_disturbed(&self, fewest: usize) -> &[&'a Measurement] {
        if self.are_fast_enough(fewest) {
            return &self.fast;
        }
        let kinds = [&self.calm, &self.steady];
        let enough = kinds.into_iter().find(|kind| kind.len() >= fewest);
        enough.unwrap_or(&self.valid)
    }

    /// Returns remarks on the disturbed ones among `count` processes.
    pub fn notes(&self, count: usize, fewest: usize) -> Vec<String> {
        let mut notes = Vec::new();
        let fate = |is_enough| match is_enough {
            true => "left out",
            false => "used all the same",
        };
        let example = self.valid.iter().find_map(|m| changed_pace(m));
        if let Some(example) = example {
            notes.push(format!(
                "in {} of {count} processes {example}; {}",
                self.valid.len() - self.steady.len(),
                fate(self.steady.len() >= fewest)
            ));
        }
        let contended = self.steady.len() - self.calm.len();
        if contended > 0 {
            notes.push(format!(
                "in {contended} of {count} processes the model waited for a core during more than {:.0} % of the sampling; {}",
                pace::CONTENDED * 100.0,
                fate(self.calm.len() >= fewest)
            ));
        }
        let slow = self.calm.len() - self.fast.len();
        if slow > 0 {
            notes.push(format!(
                "in {slow} of {count} processes the reference was more than {:.0} % slower than in the fastest, as beside other work on \
                 the same core; {}",
                pace::CHANGED * 100.0,
                fate(self.are_fast_enough(fewest))
            ));
        }
        notes
    }

    /// Returns why no figure of theirs may be used: in too many the device changed its pace, so
    /// that other work or heat may have slowed one model more than the other.
    pub fn objection(&self, count: usize, fewest: usize) -> Option<String> {
        let unsteady = self.valid.len() - self.steady.len();
        let example = self.valid.iter().find_map(|m| changed_pace(m))?;
        (self.steady.len() < fewest).then(|| {
            format!(
                "in {unsteady} of {count} processes {example}, and {fewest} steady ones are needed: let the device cool, or end other programs"
            )
        })
    }
}

fn changed_pace(m: &Measurement) -> Option<String> {
    pace::throttling(&m.before, &m.after).or_else(|| {
        m.sentinel
            .and_then(|sentinel| pace::change(sentinel, pace::CHANGED))
    })
}

fn is_contended(m: &Measurement) -> bool {
    m.contention.is_some_and(|c| c.share() > pace::CONTENDED)
}
