//! The state a device must be in.

use serde::{Deserialize, Serialize};

use crate::check::{name, within};
use crate::mirror::mirror_struct;
use crate::{ProtocolError, bounds};

/// What must hold on the device before a measurement.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Conditions {
    /// Maximum temperature of every thermal zone before and after, thousandths of a degree
    /// Celsius.
    pub max_millicelsius: Option<i64>,
    /// How long the agent waits for the device to cool down before it gives up, ns.
    pub cool_down_ns: u64,
    /// The frequency governor every core should have. Another one is noted and does not prevent
    /// the measurement.
    pub governor: Option<String>,
}

impl Conditions {
    /// Checks that every field is within its bounds; the error names the first that is not.
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
        let day = (0, bounds::MAX_DURATION_NS);
        within(M, "cool_down_ns", self.cool_down_ns, day, "at most a day")?;
        if let Some(governor) = &self.governor {
            name(M, "governor", governor.clone())?;
        }
        Ok(())
    }
}

mirror_struct!(Conditions {
    max_millicelsius,
    cool_down_ns,
    governor,
});

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{assert_refused, assert_survives};
    use crate::wire;

    #[test]
    fn conditions_survive_the_wire_and_are_checked() {
        let conditions = Conditions {
            max_millicelsius: Some(70_000),
            cool_down_ns: 5,
            governor: Some("performance".into()),
        };
        assert_survives::<wire::Conditions, _>(&conditions);
        assert_refused::<_, Conditions>(
            &wire::Conditions::from(conditions),
            |c| c.max_millicelsius = Some(-1),
            "max_millicelsius is -1",
        );
    }
}
