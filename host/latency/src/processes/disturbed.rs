//! Which processes were disturbed.

use agent_protocol::{Measurement, Sampling, pace};

/// Processes from which on an interval over them is of use.
const FEWEST_FAST: usize = 3;

/// The change of pace that one of several processes may have, as a share of what
/// [`drift_accept_rel`](Sampling::drift_accept_rel) accepts of a single one.
/// Others can take its place. Of the default, a quarter, it is [`pace::CHANGED`].
const OF_ACCEPTED_DRIFT: f64 = 0.4;

/// The usable measurements of one model, one per process.
pub struct ByDisturbance<'a> {
    /// The change of the sentinel's time, relative, within a steady process.
    most_change: f64,
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

/// A field of [`ByDisturbance`], the least disturbed last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Valid,
    Steady,
    Calm,
    Fast,
}

impl<'a> ByDisturbance<'a> {
    /// Sorts measurements. `references_ns` has the 5th percentile of the reference's time in each
    /// process; without one, no process counts as slow.
    pub fn of(all: &[&'a Measurement], references_ns: Option<&[f64]>, sampling: &Sampling) -> Self {
        let most_change = OF_ACCEPTED_DRIFT * sampling.drift_accept_rel;
        let of = |all: &[&'a Measurement], keep: &dyn Fn(&Measurement) -> bool| {
            all.iter().copied().filter(|m| keep(m)).collect::<Vec<_>>()
        };
        let is_steady = |m: &Measurement| m.is_valid() && changed_pace(m, most_change).is_none();
        let is_calm = |m: &Measurement| is_steady(m) && !is_contended(m);
        let calm = of(all, &is_calm);
        let fast = references_ns.map_or_else(
            || calm.clone(),
            |times| {
                let timed = all.iter().copied().zip(times);
                let timed: Vec<_> = timed.filter(|(m, _)| is_calm(m)).collect();
                let fastest = timed.iter().map(|(_, ns)| **ns);
                let limit = (1.0 + pace::CHANGED) * fastest.fold(f64::INFINITY, f64::min);
                let fast = timed.into_iter().filter(|(_, ns)| **ns <= limit);
                fast.map(|(m, _)| m).collect()
            },
        );
        Self {
            most_change,
            valid: of(all, &Measurement::is_valid),
            steady: of(all, &is_steady),
            calm,
            fast,
        }
    }

    /// The measurements of a kind.
    pub fn of_kind(&self, kind: Kind) -> &[&'a Measurement] {
        match kind {
            Kind::Fast => &self.fast,
            Kind::Calm => &self.calm,
            Kind::Steady => &self.steady,
            Kind::Valid => &self.valid,
        }
    }

    /// The kinds that a figure may be over, the best one first: the fast ones if there are at
    /// least half of `fewest`, since one that is fast by luck is no pace of the device; else the
    /// calm ones if there are at least `fewest`, else the steady ones if there are as many, else
    /// all valid ones. Kinds that hold more processes follow, down to the steady ones.
    pub fn kinds(&self, fewest: usize) -> impl Iterator<Item = Kind> {
        let best = self.kind(fewest);
        let more = [Kind::Calm, Kind::Steady];
        let more = more.into_iter().filter(move |kind| *kind < best);
        std::iter::once(best).chain(more)
    }

    fn kind(&self, fewest: usize) -> Kind {
        if self.fast.len() >= fewest.div_ceil(2).max(FEWEST_FAST) {
            Kind::Fast
        } else if self.calm.len() >= fewest {
            Kind::Calm
        } else if self.steady.len() >= fewest {
            Kind::Steady
        } else {
            Kind::Valid
        }
    }

    /// Returns remarks on the disturbed ones among `count` processes, for a figure over `used`.
    pub fn notes(&self, count: usize, used: Kind) -> Vec<String> {
        let mut notes = Vec::new();
        let fate = |kind| match used >= kind {
            true => "left out",
            false => "used all the same",
        };
        if let Some(example) = self.example_of_change() {
            notes.push(format!(
                "in {} of {count} processes {example}; {}",
                self.valid.len() - self.steady.len(),
                fate(Kind::Steady)
            ));
        }
        let contended = self.steady.len() - self.calm.len();
        if contended > 0 {
            notes.push(format!(
                "in {contended} of {count} processes the model waited for a core during more than {:.0} % of the sampling; {}",
                pace::CONTENDED * 100.0,
                fate(Kind::Calm)
            ));
        }
        let slow = self.calm.len() - self.fast.len();
        if slow > 0 {
            notes.push(format!(
                "in {slow} of {count} processes the reference was more than {:.0} % slower than in the fastest, as beside other work on \
                 the same core; {}",
                pace::CHANGED * 100.0,
                fate(Kind::Fast)
            ));
        }
        notes
    }

    /// Returns why no figure of theirs may be used: in too many the device changed its pace, so
    /// that other work or heat may have slowed one model more than the other.
    pub fn objection(&self, count: usize, fewest: usize) -> Option<String> {
        let unsteady = self.valid.len() - self.steady.len();
        let example = self.example_of_change()?;
        (self.steady.len() < fewest).then(|| {
            format!(
                "in {unsteady} of {count} processes {example}, and {fewest} steady ones are needed: let the device cool, or end other programs"
            )
        })
    }

    /// Describes a change of the device's pace within one of the valid ones.
    fn example_of_change(&self) -> Option<String> {
        let mut valid = self.valid.iter();
        valid.find_map(|m| changed_pace(m, self.most_change))
    }
}

fn changed_pace(m: &Measurement, most: f64) -> Option<String> {
    pace::throttling(&m.before, &m.after)
        .or_else(|| m.sentinel.and_then(|sentinel| pace::change(sentinel, most)))
}

fn is_contended(m: &Measurement) -> bool {
    m.contention.is_some_and(|c| c.share() > pace::CONTENDED)
}
