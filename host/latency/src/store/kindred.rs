//! What other devices of a profile took: a device that is new need not measure again what its kind is known to take.

use std::collections::BTreeMap;

use agent_protocol::{DeviceInfo, Ratio};
use rusqlite::{OptionalExtension, params};

use super::{Key, Origin, Store, failure};
use crate::LatencyError;

/// What one device measured of what another is to measure.
#[derive(Clone, Debug, PartialEq)]
pub struct Kindred {
    /// The device's identity.
    pub device: String,
    /// The name under which the user knows it, or its own.
    pub name: String,
    /// The median of the reference, ns.
    pub reference_ns: f64,
    /// Per key the newest valid ratio to the reference, where there is one.
    pub ratios: Vec<Option<Ratio>>,
}

impl Store {
    /// The device that has measured most of `keys`, the later one of two, with the profile and processor of `own` and with the
    /// same runtime and settings; `None` when there is none, or when the device of `keys`, which is `own`, has measured any of them.
    /// The keys are of one reference.
    ///
    /// # Errors
    /// When the database cannot be read or an entry is damaged.
    pub fn kindred(&self, own: &DeviceInfo, keys: &[Key]) -> Result<Option<Kindred>, LatencyError> {
        let wrong = |error: rusqlite::Error| failure(&self.path, &error);
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
            .map_err(wrong)?;
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
                .map_err(wrong)?;
            for row in rows {
                let (device, id): (String, i64) = row.map_err(wrong)?;
                let known = devices.entry(device).or_default();
                *known = (known.0 + 1, known.1.max(id));
            }
        }
        if devices.contains_key(&own.device) {
            return Ok(None);
        }
        let Some((device, (_, newest))) = devices.into_iter().max_by_key(|(_, known)| *known)
        else {
            return Ok(None);
        };
        let name = self
            .connection
            .query_row(
                "SELECT coalesce(nullif(device_name, ''), hostname) FROM measurement WHERE id = ?1",
                [newest],
                |row| row.get(0),
            )
            .map_err(wrong)?;
        let Some(reference_ns) = self.reference_ns(own, &device)? else {
            return Ok(None);
        };
        let find = |key: &Key| {
            let key = Key {
                device: device.clone(),
                ..key.clone()
            };
            Ok(self.find(&key, false)?.and_then(|m| m.ratio))
        };
        let ratios: Result<_, LatencyError> = keys.iter().map(find).collect();
        Ok(Some(Kindred {
            ratios: ratios?,
            device,
            name,
            reference_ns,
        }))
    }

    /// The newest valid median of the reference of `key` on another device.
    fn reference_ns(&self, key: &Key, device: &str) -> Result<Option<f64>, LatencyError> {
        self.connection
            .query_row(
                "SELECT median_ns FROM measurement WHERE model = ?1 AND reference = x'' AND device = ?2 AND runtime = ?3
                 AND setup = ?4 AND valid = 1 ORDER BY id DESC LIMIT 1",
                params![key.reference_bytes(), device, key.runtime, key.setup],
                |row| row.get(0),
            )
            .optional()
            .map_err(|error| failure(&self.path, &error))
    }
}
