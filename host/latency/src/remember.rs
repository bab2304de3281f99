//! A source that never measures the same thing twice, and neither do two of them that share a store.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use agent_protocol::{DeviceInfo, Evidence, Measurement, ProtocolError, Token};

use crate::store::{Hold, Standing, now_unix_ns};
use crate::{Key, LatencyError, LatencySource, MeasureRequest, Model, Origin, Store};

/// How a claim on a measurement is kept and lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// A claim that did not beat for so long has lost its holder, ns. Its holder beats five times as often.
    pub ns: u64,
    /// How often somebody who waits for another's measurement looks, ns.
    pub look_ns: u64,
}

impl Default for Lease {
    fn default() -> Self {
        Self {
            ns: 10_000_000_000,
            look_ns: 50_000_000,
        }
    }
}

/// A source with a store before it. What is stored and valid is answered from there; the rest is measured and stored. What
/// another process with the same store measures at the moment is waited for.
pub struct Remembering<S> {
    source: S,
    store: Store,
    lease: Lease,
    holder: String,
    /// The claims of others, and since when this process has seen them stand still. By its own clock: the other's may jump.
    seen: HashMap<Key, (Hold, Instant)>,
}

impl<S: LatencySource> Remembering<S> {
    /// Puts `store` before `source`.
    ///
    /// # Errors
    /// When the system gives no random numbers: claims are told apart by one.
    pub fn new(source: S, store: Store) -> Result<Self, LatencyError> {
        let random = Token::generate().map_err(|source| LatencyError::Io {
            doing: "telling this process from others that use the measurement store".into(),
            source,
        })?;
        Ok(Self {
            source,
            store,
            lease: Lease::default(),
            holder: format!("{}-{}", std::process::id(), random.secret()),
            seen: HashMap::new(),
        })
    }

    /// Keeps claims in another way.
    #[must_use]
    pub fn with_lease(mut self, lease: Lease) -> Self {
        self.lease = lease;
        self
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The source behind it.
    pub fn source_mut(&mut self) -> &mut S {
        &mut self.source
    }

    /// The keys of a request's models, then of its reference.
    fn keys(&self, request: &MeasureRequest) -> Vec<Key> {
        let device = self.source.describe();
        let reference = request.reference.as_ref().map(Model::sha256);
        let key = |model: &Model, reference| {
            Key::new(
                model.sha256(),
                reference,
                &device,
                &request.sampling,
                &request.runtime,
            )
            .with_inputs(model.inputs())
        };
        let models = request.models.iter().map(|model| key(model, reference));
        models
            .chain(request.reference.as_ref().map(|model| key(model, None)))
            .collect()
    }

    /// Answers or claims what is still missing among `keys`, the first `models` of which are models.
    fn claim(
        &mut self,
        keys: &[Key],
        models: usize,
        full: bool,
        found: &mut [Option<Measurement>],
    ) -> Result<Claimed, LatencyError> {
        // What is asked for twice in one request is measured once.
        for i in 0..keys.len() {
            if found[i].is_none()
                && let Some(twin) = keys[..i].iter().position(|key| *key == keys[i])
            {
                found[i] = found[twin].clone();
            }
        }
        let missing = |range: Range<usize>, found: &[Option<Measurement>]| {
            range
                .filter(|&i| found[i].is_none() && !keys[..i].contains(&keys[i]))
                .collect::<Vec<_>>()
        };
        let mut wanted = missing(0..models, found);
        // The reference is measured along with whatever is missing; it is claimed when only it is.
        if wanted.is_empty() {
            wanted = missing(models..keys.len(), found);
        }
        let mut claimed = Claimed::default();
        if wanted.is_empty() {
            return Ok(claimed);
        }
        let asked: Vec<&Key> = wanted.iter().map(|&i| &keys[i]).collect();
        let (seen, lease) = (&self.seen, self.lease);
        let standings = self.store.claim(&asked, full, &self.holder, |key, hold| {
            is_dead(seen.get(key), hold, lease)
        })?;
        let now = Instant::now();
        let mut seen = HashMap::new();
        for (i, standing) in wanted.into_iter().zip(standings) {
            match standing {
                Standing::Known(measurement) => found[i] = Some(*measurement),
                Standing::Mine => claimed.mine.push(i),
                Standing::Theirs(hold) => {
                    claimed.theirs = true;
                    let since = match self.seen.get(&keys[i]) {
                        Some((before, since)) if *before == hold => *since,
                        _ => now,
                    };
                    seen.insert(keys[i].clone(), (hold, since));
                }
            }
        }
        self.seen = seen;
        Ok(claimed)
    }

    /// Measures the claimed ones and stores them.
    fn measure_claimed(
        &mut self,
        request: &MeasureRequest,
        keys: &[Key],
        mine: &[usize],
        found: &mut [Option<Measurement>],
    ) -> Result<(), LatencyError> {
        let count = request.models.len();
        let part = MeasureRequest {
            models: mine
                .iter()
                .filter_map(|&i| request.models.get(i))
                .cloned()
                .collect(),
            ..request.clone()
        };
        let (source, store) = (&mut self.source, &self.store);
        let (holder, every) = (
            self.holder.as_str(),
            Duration::from_nanos(self.lease.ns / 5),
        );
        let outcome = thread::scope(|scope| {
            let (done, ended) = channel::<()>();
            let path = store.path();
            scope.spawn(move || {
                keep_beating(path, holder, every, &ended);
            });
            let outcome = source.measure(&part);
            drop::<Sender<()>>(done);
            outcome
        });
        let fresh = match outcome {
            Ok(fresh) => fresh,
            Err(error) => {
                self.store.finish(&self.holder, &Origin::default(), &[])?;
                return Err(error);
            }
        };
        let slots: Vec<usize> = mine
            .iter()
            .copied()
            .filter(|&i| i < count)
            .chain(count..keys.len())
            .collect();
        if fresh.len() != slots.len() {
            self.store.finish(&self.holder, &Origin::default(), &[])?;
            return Err(ProtocolError::Missing {
                message: "Results",
                field: "measurements",
            }
            .into());
        }
        let entries: Vec<(Key, &Measurement)> = slots
            .iter()
            .zip(&fresh)
            .map(|(&i, measurement)| (keys[i].clone(), measurement))
            .collect();
        let origin = Origin::here(&self.source.describe());
        self.store.finish(&self.holder, &origin, &entries)?;
        for (i, measurement) in slots.into_iter().zip(fresh) {
            found[i] = Some(measurement);
        }
        Ok(())
    }
}

/// What came of asking for claims.
#[derive(Default)]
struct Claimed {
    /// The places of what is the caller's to measure.
    mine: Vec<usize>,
    /// Whether something is being measured elsewhere.
    theirs: bool,
}

/// Whether a claim's holder is gone: its beat stood still for a lease while this process looked, or is from long ago.
fn is_dead(seen: Option<&(Hold, Instant)>, hold: &Hold, lease: Lease) -> bool {
    let age = now_unix_ns().saturating_sub(hold.beat_unix_ns);
    age > i64::try_from(lease.ns)
        .unwrap_or(i64::MAX)
        .saturating_mul(4)
        || seen.is_some_and(|(before, since)| {
            before == hold && since.elapsed() > Duration::from_nanos(lease.ns)
        })
}

/// Beats the claims of `holder` until the other end of `ended` is gone. A beat that is missed costs at worst a measurement that
/// somebody else takes as well.
fn keep_beating(path: &Path, holder: &str, every: Duration, ended: &Receiver<()>) {
    let mut store = None;
    while matches!(ended.recv_timeout(every), Err(RecvTimeoutError::Timeout)) {
        let beaten = match store.take() {
            Some(store) => Ok(store),
            None => Store::open(path),
        }
        .and_then(|opened| store.insert(opened).beat(holder));
        if let Err(error) = beaten {
            tracing::warn!(%error, "others cannot see that this process measures");
        }
    }
}

impl<S: LatencySource> LatencySource for Remembering<S> {
    fn measure(&mut self, request: &MeasureRequest) -> Result<Vec<Measurement>, LatencyError> {
        let full = request.evidence == Evidence::Full;
        let (keys, count) = (self.keys(request), request.models.len());
        let mut found = keys
            .iter()
            .map(|key| self.store.find(key, full))
            .collect::<Result<Vec<_>, _>>()?;
        loop {
            let claimed = self.claim(&keys, count, full, &mut found)?;
            if !claimed.mine.is_empty() {
                self.measure_claimed(request, &keys, &claimed.mine, &mut found)?;
            } else if claimed.theirs {
                // Nothing is held while others are waited for, so that nobody waits in a circle.
                thread::sleep(Duration::from_nanos(self.lease.look_ns));
            } else if found.iter().all(Option::is_some) {
                break;
            }
        }
        Ok(name_as_asked(found, request))
    }

    fn recall(
        &mut self,
        request: &MeasureRequest,
    ) -> Result<Vec<Option<Measurement>>, LatencyError> {
        let full = request.evidence == Evidence::Full;
        self.keys(request)
            .iter()
            .zip(request.names())
            .map(|(key, name)| {
                let found = self.store.find(key, full)?;
                Ok(found.map(|m| Measurement {
                    name: name.to_owned(),
                    ..m
                }))
            })
            .collect()
    }

    fn describe(&self) -> DeviceInfo {
        self.source.describe()
    }
}

/// A model asked for under another name comes back under the name asked for.
fn name_as_asked(found: Vec<Option<Measurement>>, request: &MeasureRequest) -> Vec<Measurement> {
    found
        .into_iter()
        .zip(request.names())
        .filter_map(|(measurement, name)| {
            measurement.map(|m| Measurement {
                name: name.to_owned(),
                ..m
            })
        })
        .collect()
}
