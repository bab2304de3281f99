//! Messages to checked types and back: how the runtime runs a model, and what must hold on the device.

use std::collections::BTreeMap;

use crate::check::{count, name, text, within};
use crate::types::{Conditions, Optimisation, Provider, RuntimeOptions, Sentinel};
use crate::{ProtocolError, bounds, wire};

impl RuntimeOptions {
    /// Whether every provider is a known one and nothing is too long; the error names what is wrong.
    pub fn check(&self) -> Result<(), ProtocolError> {
        count(
            "RuntimeOptions",
            "providers",
            &self.providers,
            bounds::MAX_LIST,
        )?;
        self.providers.iter().try_for_each(Provider::check)
    }
}

impl Provider {
    fn check(&self) -> Result<(), ProtocolError> {
        const M: &str = "Provider";
        if !Self::NAMES.contains(&self.name.as_str()) {
            return Err(ProtocolError::field(
                M,
                "name",
                self.name.escape_debug(),
                "cpu, xnnpack, nnapi, qnn, coreml, acl, cuda, tensorrt or openvino is needed",
            ));
        }
        within(
            M,
            "options",
            self.options.len(),
            (0, bounds::MAX_LIST),
            "at most 64 options",
        )?;
        for (key, value) in &self.options {
            name(M, "options", key.clone())?;
            text(M, "options", value.clone(), bounds::MAX_TEXT_BYTES)?;
            // Several providers take files to load or write. A request must not reach beyond the agent's own folder.
            if value
                .chars()
                .any(|c| c.is_control() || matches!(c, '/' | '\\'))
            {
                return Err(ProtocolError::field(
                    M,
                    "options",
                    format!("{key} = {}", value.escape_debug()),
                    "a value without control characters and path separators is needed: libraries are named without a folder",
                ));
            }
        }
        Ok(())
    }
}

impl TryFrom<wire::RuntimeOptions> for RuntimeOptions {
    type Error = ProtocolError;

    fn try_from(m: wire::RuntimeOptions) -> Result<Self, ProtocolError> {
        let optimisation = match m.optimisation() {
            wire::Optimisation::None => Optimisation::None,
            wire::Optimisation::Basic => Optimisation::Basic,
            wire::Optimisation::Extended => Optimisation::Extended,
            wire::Optimisation::All | wire::Optimisation::Unspecified => Optimisation::All,
        };
        let options = Self {
            providers: m
                .providers
                .into_iter()
                .map(|provider| Provider {
                    name: provider.name,
                    options: provider.options.into_iter().collect::<BTreeMap<_, _>>(),
                })
                .collect(),
            strict: m.strict,
            optimisation,
        };
        options.check()?;
        Ok(options)
    }
}

impl From<RuntimeOptions> for wire::RuntimeOptions {
    fn from(options: RuntimeOptions) -> Self {
        let optimisation = match options.optimisation {
            Optimisation::None => wire::Optimisation::None,
            Optimisation::Basic => wire::Optimisation::Basic,
            Optimisation::Extended => wire::Optimisation::Extended,
            Optimisation::All => wire::Optimisation::All,
        };
        Self {
            providers: options
                .providers
                .into_iter()
                .map(|provider| wire::Provider {
                    name: provider.name,
                    options: provider.options.into_iter().collect(),
                })
                .collect(),
            strict: options.strict,
            optimisation: optimisation.into(),
        }
    }
}

impl Conditions {
    /// Whether every field has a sensible value; the error names the first that has not.
    pub fn check(&self) -> Result<(), ProtocolError> {
        const M: &str = "Conditions";
        if let Some(most) = self.max_millicelsius {
            within(
                M,
                "max_millicelsius",
                most,
                (1_000, 150_000),
                "1 to 150 degrees, in thousandths",
            )?;
        }
        within(
            M,
            "cool_down_ns",
            self.cool_down_ns,
            (0, bounds::MAX_DURATION_NS),
            "at most a day",
        )?;
        if let Some(governor) = &self.governor {
            name(M, "governor", governor.clone())?;
        }
        Ok(())
    }
}

impl TryFrom<wire::Conditions> for Conditions {
    type Error = ProtocolError;

    fn try_from(m: wire::Conditions) -> Result<Self, ProtocolError> {
        let conditions = Self {
            max_millicelsius: m.max_millicelsius,
            cool_down_ns: m.cool_down_ns,
            governor: m.governor,
        };
        conditions.check()?;
        Ok(conditions)
    }
}

impl From<Conditions> for wire::Conditions {
    fn from(conditions: Conditions) -> Self {
        Self {
            max_millicelsius: conditions.max_millicelsius,
            cool_down_ns: conditions.cool_down_ns,
            governor: conditions.governor,
        }
    }
}

impl From<wire::Sentinel> for Sentinel {
    fn from(m: wire::Sentinel) -> Self {
        Self {
            before_ns: m.before_ns,
            after_ns: m.after_ns,
        }
    }
}

impl From<Sentinel> for wire::Sentinel {
    fn from(sentinel: Sentinel) -> Self {
        Self {
            before_ns: sentinel.before_ns,
            after_ns: sentinel.after_ns,
        }
    }
}
