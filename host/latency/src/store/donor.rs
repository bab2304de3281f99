//! Donors: a new device starts with the measurements of another device of its kind.

use std::collections::BTreeMap;

use agent_protocol::{DeviceInfo, Ratio};
use rusqlite::{OptionalExtension, params};

use super::{Key, Origin, Store, failure};
use crate::LatencyError;

/// A device whose measurements are used in place of another's.
#[derive(Clone, Debug, PartialEq)]
pub struct Donor {
    /// The device's identity.
    pub device: String,
    /// The user's name for it, else its host name.
    pub name: String,
    /// The median of the reference, ns.
    pub reference_ns: f64,
    /// The newest valid ratio to the reference for each key, if there is one.
    pub ratios: Vec<Option<Ratio>>,
}

impl Store {
    /// Returns the donor for the device `own`: the one that measured the most of `keys` with the
    /// same profile, processor, runtime and setup, and the later one of several. The keys are
    /// those of `own`, with one reference. `None` if there is no donor, or if `own` has measured
    /// any of the keys.
    ///
    /// # Errors
    /// Fails if the database cannot be read or an entry is damaged.
    pub fn donor(&self, own: &DeviceInfo, keys: &[Key]) -> Result<Option<Donor>, LatencyError> {
        let failed = |error: rusqlite::Error| failure(&self.path, &error);
        let Origin {
            profile, processor, ..
        } = Origin::here(own);
        let Some(own) = keys.first() else {
            return Ok(None);
        };
        let mut devices: BTreeMap<String, (usize, i64)> = BTreeMap::new();
        let mut statement = self
            .connection
            .prepare(
                "SELECT device, max(id) FROM measurement WHERE model = ?1 AND reference = ?2 AND profile = ?3
                 AND processor = ?4 AND runtime = ?5 AND setup = ?6 AND valid = 1 AND ratio IS NOT NULL GROUP BY device",
            )
            .map_err(failed)?;
        for key in keys {
            let rows = statement
                .query_map(
                    params![
                        key.model.0,
                        key.reference_bytes(),
                        profile,
                        processor,
                        key.runtime,
                        key.setup
                    ],
                    |row| Ok((row.get(0)?, row.get(1)?)),
                )
                .map_err(failed)?;
            for row in rows {
                let (device, id): (String, i64) = row.map_err(failed)?;
                let (count, newest) = devices.entry(device).or_default();
                *count += 1;
                *newest = id.max(*newest);
            }
        }
        if devices.contains_key(&own.device) {
            return Ok(None);
        }
        let Some((device, (_, newest))) = devices.into_iter().max_by_key(|(_, rank)| *rank) else {
            return Ok(None);
        };
        let name = self
            .connection
            .query_row(
                "SELECT coalesce(nullif(device_name, ''), hostname) FROM measurement WHERE id = ?1",
                [newest],
                |row| row.get(0),
            )
            .map_err(failed)?;
        let Some(reference_ns) = self.reference_ns(own, &device)? else {
            return Ok(None);
        };
        let ratio = |key: &Key| {
            let key = Key {
                device: device.clone(),
                ..key.clone()
            };
            Ok(self.find(&key, false)?.and_then(|m| m.ratio))
        };
        let ratios: Result<_, LatencyError> = keys.iter().map(ratio).collect();
        Ok(Some(Donor {
            ratios: ratios?,
            device,
            name,
            reference_ns,
        }))
    }

    /// The newest median of the reference of `key` on `device`, a valid one if there is one. It is
    /// only the unit of the kernels' times and cancels in ratios of networks, so that a reference
    /// measured on a busy device serves as well.
    fn reference_ns(&self, key: &Key, device: &str) -> Result<Option<f64>, LatencyError> {
        self.connection
            .query_row(
                "SELECT median_ns FROM measurement WHERE model = ?1 AND reference = x'' AND device = ?2 AND runtime = ?3
                 AND setup = ?4 ORDER BY valid DESC, id DESC LIMIT 1",
                params![key.reference_bytes(), device, key.runtime, key.setup],
                |row| row.get(0),
            )
            .optional()
            .map_err(|error| failure(&self.path, &error))
    }
}
