//! A source behind a store. The store answers what it holds and is shared with other processes,
//! so that nothing is measured twice.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use agent_protocol::{DeviceInfo, Evidence, Measurement, ProtocolError, Token};

use crate::moment::now_unix_ns;
use crate::store::{Claim, ClaimState};
use crate::{Key, LatencyError, LatencySource, MeasureRequest, Origin, Store, measure_near_best};

/// Timing of claims on measurements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Time without a heartbeat after which a claim has expired, ns. The holder beats five times
    /// as often.
    pub ns: u64,
    /// Interval of polling for the result of another process, ns.
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

/// A source behind a store. Valid stored measurements are returned from there; others are
/// measured and stored. If another process with the same store is measuring a model, its result
/// is awaited.
pub struct Remembering<S> {
    source: S,
    store: Store,
    lease: Lease,
    holder: String,
    /// The claims of other processes, with the time since which their heartbeat has not changed.
    /// This process's clock decides, since the holder's may jump.
    observed: HashMap<Key, (Claim, Instant)>,
}

impl<S: LatencySource> Remembering<S> {
    /// Puts `store` in front of `source`.
    ///
    /// # Errors
    /// Fails if the system provides no random number to identify this process's claims.
    pub fn new(source: S, store: Store) -> Result<Self, LatencyError> {
        let random = Token::generate().map_err(|source| LatencyError::Io {
            doing: "generating an identity for claims in the measurement store".into(),
            source,
        })?;
        Ok(Self {
            source,
            store,
            lease: Lease::default(),
            holder: format!("{}-{}", std::process::id(), random.secret()),
            observed: HashMap::new(),
        })
    }

    /// Sets the timing of claims.
    #[must_use]
    pub fn with_lease(mut self, lease: Lease) -> Self {
        self.lease = lease;
        self
    }

    /// Returns the store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Returns the source behind the store.
    pub fn source_mut(&mut self) -> &mut S {
        &mut self.source
    }

    /// Fills or claims the missing slots. The first `models` of the `keys` are those of the
    /// models.
    fn claim(
        &mut self,
        keys: &[Key],
        models: usize,
        full: bool,
        slots: &mut [Option<Measurement>],
    ) -> Result<Claimed, LatencyError> {
        // A model that occurs twice in one request is measured once.
        for i in 0..keys.len() {
            if slots[i].is_none()
                && let Some(twin) = keys[..i].iter().position(|key| *key == keys[i])
            {
                slots[i] = slots[twin].clone();
            }
        }
        let missing = |range: Range<usize>, slots: &[Option<Measurement>]| {
            range
                .filter(|&i| slots[i].is_none() && !keys[..i].contains(&keys[i]))
                .collect::<Vec<_>>()
        };
        let mut open = missing(0..models, slots);
        // The reference is measured along with missing models; it needs a claim of its own only
        // without any.
        if open.is_empty() {
            open = missing(models..keys.len(), slots);
        }
        let mut claimed = Claimed::default();
        if open.is_empty() {
            return Ok(claimed);
        }
        let open_keys: Vec<&Key> = open.iter().map(|&i| &keys[i]).collect();
        let (observed, lease) = (&self.observed, self.lease);
        let states = self
            .store
            .claim(&open_keys, full, &self.holder, |key, claim| {
                has_expired(observed.get(key), claim, lease)
            })?;
        let now = Instant::now();
        let mut observed = HashMap::new();
        for (i, state) in open.into_iter().zip(states) {
            match state {
                ClaimState::Measured(measurement) => slots[i] = Some(*measurement),
                ClaimState::Claimed => claimed.own.push(i),
                ClaimState::HeldByOther(claim) => {
                    claimed.others = true;
                    let since = match self.observed.get(&keys[i]) {
                        Some((before, since)) if *before == claim => *since,
                        _ => now,
                    };
                    observed.insert(keys[i].clone(), (claim, since));
                }
            }
        }
        self.observed = observed;
        Ok(claimed)
    }

    /// Measures the claimed models and stores the results.
    fn measure_claimed(
        &mut self,
        request: &MeasureRequest,
        keys: &[Key],
        own: &[usize],
        slots: &mut [Option<Measurement>],
    ) -> Result<(), LatencyError> {
        let count = request.models.len();
        let part = MeasureRequest {
            models: own
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
        let best_ns = match keys.get(count) {
            Some(reference) => self.store.fastest_ns(reference)?,
            None => None,
        };
        let outcome = thread::scope(|scope| {
            let (done, ended) = channel::<()>();
            let path = store.path();
            scope.spawn(move || send_heartbeats(path, holder, every, &ended));
            let outcome = measure_near_best(source, &part, best_ns);
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
        let measured: Vec<usize> = own
            .iter()
            .copied()
            .filter(|&i| i < count)
            .chain(count..keys.len())
            .collect();
        if fresh.len() != measured.len() {
            self.store.finish(&self.holder, &Origin::default(), &[])?;
            return Err(ProtocolError::Missing {
                message: "Results",
                field: "measurements",
            }
            .into());
        }
        let entries: Vec<(Key, &Measurement)> = measured
            .iter()
            .zip(&fresh)
            .map(|(&i, measurement)| (keys[i].clone(), measurement))
            .collect();
        let origin = Origin::here(&self.source.describe());
        self.store.finish(&self.holder, &origin, &entries)?;
        for (i, measurement) in measured.into_iter().zip(fresh) {
            slots[i] = Some(measurement);
        }
        Ok(())
    }
}

/// The result of claiming slots.
#[derive(Default)]
struct Claimed {
    /// The slots claimed by this process.
    own: Vec<usize>,
    /// Whether other processes hold claims.
    others: bool,
}

/// Whether a claim has expired: its heartbeat has not changed for a lease under observation, or
/// is very old.
fn has_expired(observed: Option<&(Claim, Instant)>, claim: &Claim, lease: Lease) -> bool {
    let age = now_unix_ns().saturating_sub(claim.beat_unix_ns);
    age > i64::try_from(lease.ns)
        .unwrap_or(i64::MAX)
        .saturating_mul(4)
        || observed.is_some_and(|(before, since)| {
            before == claim && since.elapsed() > Duration::from_nanos(lease.ns)
        })
}

/// Sends heartbeats for the claims of `holder` until the sender of `ended` is dropped. A missed
/// heartbeat costs at worst a duplicate measurement.
fn send_heartbeats(path: &Path, holder: &str, every: Duration, ended: &Receiver<()>) {
    let mut store = None;
    while matches!(ended.recv_timeout(every), Err(RecvTimeoutError::Timeout)) {
        let sent = match store.take() {
            Some(store) => Ok(store),
            None => Store::open(path),
        }
        .and_then(|opened| store.insert(opened).beat(holder));
        if let Err(error) = sent {
            tracing::warn!(%error, "a heartbeat of this process's claims failed");
        }
    }
}

impl<S: LatencySource> LatencySource for Remembering<S> {
    fn measure(&mut self, request: &MeasureRequest) -> Result<Vec<Measurement>, LatencyError> {
        let full = request.evidence == Evidence::Full;
        let (keys, count) = (
            Key::all_of(request, &self.source.describe()),
            request.models.len(),
        );
        let mut slots = keys
            .iter()
            .map(|key| self.store.find(key, full))
            .collect::<Result<Vec<_>, _>>()?;
        loop {
            let claimed = self.claim(&keys, count, full, &mut slots)?;
            if !claimed.own.is_empty() {
                self.measure_claimed(request, &keys, &claimed.own, &mut slots)?;
            } else if claimed.others {
                // No claim is held while waiting, so there is no deadlock.
                thread::sleep(Duration::from_nanos(self.lease.look_ns));
            } else if slots.iter().all(Option::is_some) {
                break;
            }
        }
        Ok(renamed(slots, request).into_iter().flatten().collect())
    }

    fn recall(
        &mut self,
        request: &MeasureRequest,
    ) -> Result<Vec<Option<Measurement>>, LatencyError> {
        let full = request.evidence == Evidence::Full;
        let keys = Key::all_of(request, &self.source.describe());
        let slots: Result<Vec<_>, _> = keys.iter().map(|key| self.store.find(key, full)).collect();
        Ok(renamed(slots?, request))
    }

    fn describe(&self) -> DeviceInfo {
        self.source.describe()
    }
}

/// Gives stored measurements the names of the request, since a model may be stored under another
/// name.
fn renamed(slots: Vec<Option<Measurement>>, request: &MeasureRequest) -> Vec<Option<Measurement>> {
    let name = |(slot, name): (Option<Measurement>, &str)| {
        slot.map(|m| Measurement {
            name: name.to_owned(),
            ..m
        })
    };
    slots.into_iter().zip(request.names()).map(name).collect()
}
