//! A source that never measures the same thing twice.

use agent_protocol::{DeviceInfo, Evidence, Measurement};

use crate::{Key, LatencyError, LatencySource, MeasureRequest, Model, Store};

/// A source with a store before it. What is stored and valid is answered from there; the rest is measured and stored.
pub struct Remembering<S> {
    source: S,
    store: Store,
}

impl<S: LatencySource> Remembering<S> {
    /// Puts `store` before `source`.
    pub fn new(source: S, store: Store) -> Self {
        Self { source, store }
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The source behind it.
    pub fn source_mut(&mut self) -> &mut S {
        &mut self.source
    }

    /// The two parts.
    pub fn into_parts(self) -> (S, Store) {
        (self.source, self.store)
    }
}

impl<S: LatencySource> LatencySource for Remembering<S> {
    fn measure(&mut self, request: &MeasureRequest) -> Result<Vec<Measurement>, LatencyError> {
        let device = self.source.describe();
        let full = request.evidence == Evidence::Full;
        let reference = request.reference.as_ref().map(Model::sha256);
        let key = |model: &Model, reference| {
            Key::new(
                model.sha256(),
                reference,
                &device,
                &request.sampling,
                &request.runtime,
            )
        };

        let mut keys: Vec<Key> = request
            .models
            .iter()
            .map(|model| key(model, reference))
            .collect();
        keys.extend(request.reference.as_ref().map(|model| key(model, None)));
        let mut found = keys
            .iter()
            .map(|key| self.store.find(key, full))
            .collect::<Result<Vec<_>, _>>()?;

        // The reference is measured along with whatever is missing, and once when only it is.
        let count = request.models.len();
        let missing: Vec<usize> = (0..count).filter(|&i| found[i].is_none()).collect();
        if !missing.is_empty() || found[count..].iter().any(Option::is_none) {
            let models = missing.iter().map(|&i| request.models[i].clone()).collect();
            let fresh = self.source.measure(&MeasureRequest {
                models,
                ..request.clone()
            })?;
            let slots = missing.iter().copied().chain(count..keys.len());
            let entries: Vec<(Key, &Measurement)> = slots
                .clone()
                .zip(&fresh)
                .map(|(i, measurement)| (keys[i].clone(), measurement))
                .collect();
            self.store.insert(&entries)?;
            for (i, measurement) in slots.zip(fresh) {
                found[i] = Some(measurement);
            }
        }
        // A model asked for under another name comes back under the name asked for.
        let names = request
            .models
            .iter()
            .chain(&request.reference)
            .map(Model::name);
        Ok(found
            .into_iter()
            .zip(names)
            .filter_map(|(measurement, name)| {
                measurement.map(|m| Measurement {
                    name: name.to_owned(),
                    ..m
                })
            })
            .collect())
    }

    fn describe(&self) -> DeviceInfo {
        self.source.describe()
    }
}
