//! A source that measures every time, and leaves a record.

use agent_protocol::{DeviceInfo, Measurement};

use crate::{Key, LatencyError, LatencySource, MeasureRequest, Origin, Store, measure_near_best};

/// A source whose measurements are added to a store. Unlike [`Remembering`](crate::Remembering) it
/// measures what the store holds, too. Its reference is judged by the best time there.
///
/// A store that fails costs the record and the judgement, not the measurement.
pub struct Recording<S> {
    source: S,
    store: Option<Store>,
}

impl<S: LatencySource> Recording<S> {
    /// Adds to `store`, if there is one.
    pub fn new(source: S, store: Option<Store>) -> Self {
        Self { source, store }
    }

    /// The best known time of the request's reference, ns.
    fn best_ns(&self, keys: &[Key], request: &MeasureRequest) -> Option<f64> {
        let reference = keys.get(request.models.len())?;
        let found = self.store.as_ref()?.fastest_ns(reference);
        found.unwrap_or_else(|error| {
            tracing::warn!(%error, "the reference is not compared with its best known time");
            None
        })
    }
}

impl<S: LatencySource> LatencySource for Recording<S> {
    fn measure(&mut self, request: &MeasureRequest) -> Result<Vec<Measurement>, LatencyError> {
        let keys = Key::all_of(request, &self.source.describe());
        let best_ns = self.best_ns(&keys, request);
        let measured = measure_near_best(&mut self.source, request, best_ns)?;
        if let Some(store) = &mut self.store {
            let entries: Vec<_> = keys.into_iter().zip(&measured).collect();
            let origin = Origin::here(&self.source.describe());
            if let Err(error) = store.insert(&origin, &entries) {
                tracing::warn!(%error, "the measurements are not recorded");
            }
        }
        Ok(measured)
    }

    fn describe(&self) -> DeviceInfo {
        self.source.describe()
    }
}
