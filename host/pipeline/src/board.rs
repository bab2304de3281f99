//! Networks on bare-metal boards: what they need of one, and whether that is within the budget.

use std::collections::BTreeMap;

use latency::{BoardSpec, DeviceInfo, FirmwarePlace, Model, Profile};
use onnx_graph::quantize::{Quantize, Scheme, quantize};
use onnx_graph::{Graph, ValueId, fold_batch_norm};
use serde::{Deserialize, Serialize};

use crate::config::{BudgetConfig, Bytes, ConfigError, DeviceSpec};
use crate::error::PipelineError;

/// Memory that a network takes on a board, with the firmware's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoardNeeds {
    /// RAM: tensors, plan, counts, and the firmware's variables and stack. Bytes.
    pub ram_bytes: u64,
    /// Flash: weights and firmware. Bytes; 0 where all of it is in RAM.
    pub flash_bytes: u64,
    /// The greatest of the tensors that are needed when the most bytes are, by the node that makes
    /// it.
    pub peak: String,
}

/// Memory that a network may take on a board.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryLimits {
    /// RAM, bytes.
    pub ram: Option<u64>,
    /// Flash, bytes.
    pub flash: Option<u64>,
}

/// A board that a network is made for.
#[derive(Debug, Clone)]
pub(crate) struct Board {
    pub spec: BoardSpec,
    /// What the board has.
    pub own: MemoryLimits,
    /// What a result may take of it: the budget, too.
    pub limits: MemoryLimits,
}

impl Board {
    /// The board that a run measures on; `None` where its device is none. Its memory is the chip's,
    /// as the agent says, where the profile sets no limit.
    ///
    /// # Errors
    /// [`ConfigError::Value`] for a budget of memory on a device that is no board.
    pub fn of(
        profile: &Profile,
        device: &DeviceInfo,
        budget: &BudgetConfig,
    ) -> Result<Option<Self>, ConfigError> {
        let budget = MemoryLimits {
            ram: budget.ram.map(|bytes| bytes.0),
            flash: budget.flash.map(|bytes| bytes.0),
        };
        let Some(spec) = profile.board.clone() else {
            return match budget == MemoryLimits::default() {
                true => Ok(None),
                false => Err(ConfigError::value(
                    "budget",
                    "RAM and flash are limits of bare-metal boards, and the device is none",
                )),
            };
        };
        let chip = MemoryLimits::of([device.memory_bytes, device.flash_bytes]);
        let own = MemoryLimits::of_profile(&spec).and(chip);
        Ok(Some(Self {
            limits: own.and(budget),
            own,
            spec,
        }))
    }

    /// Whether the board has the memory that a network needs.
    ///
    /// # Errors
    /// As [`BoardNeeds::of`].
    pub fn can_run(&self, graph: &Graph, model: &str) -> Result<bool, PipelineError> {
        Ok(BoardNeeds::of(graph, &self.spec, model)?.load(&self.own) <= 1.0)
    }
}

impl MemoryLimits {
    /// What a profile says of its board: nothing where all of a chip's memory may be used.
    #[must_use]
    pub fn of_profile(spec: &BoardSpec) -> Self {
        Self::of([spec.ram_bytes, spec.flash_bytes])
    }

    /// RAM and flash in bytes, 0 where they are unknown.
    fn of(bytes: [u64; 2]) -> Self {
        let [ram, flash] = bytes.map(|bytes| (bytes > 0).then_some(bytes));
        Self { ram, flash }
    }

    /// The tighter of two limits each.
    fn and(self, other: Self) -> Self {
        let tighter = |a: Option<u64>, b: Option<u64>| a.into_iter().chain(b).min();
        Self {
            ram: tighter(self.ram, other.ram),
            flash: tighter(self.flash, other.flash),
        }
    }
}

impl BoardNeeds {
    /// What a network needs of a board. One in floats is taken as it is once quantised: memory
    /// does not depend on the scales.
    ///
    /// # Errors
    /// [`PipelineError::Board`] naming the node that boards cannot run.
    pub fn of(graph: &Graph, board: &BoardSpec, model: &str) -> Result<Self, PipelineError> {
        let in_integers = with_any_scales(graph).map_err(|source| PipelineError::Model {
            model: model.to_owned(),
            source,
        })?;
        let graph = in_integers.as_ref().unwrap_or(graph);
        let lowered = board_plan::lower(graph).map_err(|source| PipelineError::Board {
            model: model.to_owned(),
            source,
        })?;
        let footprint = lowered.footprint;
        let needs = footprint.needs(board.firmware == FirmwarePlace::Ram);
        Ok(Self {
            ram_bytes: needs.ram,
            flash_bytes: needs.flash,
            peak: footprint.peak,
        })
    }

    /// The larger of RAM and flash as shares of their limits; up to 1 is within them.
    #[must_use]
    pub fn load(&self, limits: &MemoryLimits) -> f64 {
        let share = |bytes: u64, limit: Option<u64>| {
            limit.map_or(0.0, |limit| bytes as f64 / limit.max(1) as f64)
        };
        share(self.ram_bytes, limits.ram).max(share(self.flash_bytes, limits.flash))
    }

    /// Says what cannot be compared without the board, because no limit is known; `None` if all
    /// can.
    #[must_use]
    pub fn unknown(&self, limits: &MemoryLimits) -> Option<String> {
        let flash = self.flash_bytes > 0 && limits.flash.is_none();
        let what = match (limits.ram.is_none(), flash) {
            (false, false) => return None,
            (true, false) => "RAM (`ram_bytes`)",
            (false, true) => "flash (`flash_bytes`)",
            (true, true) => "RAM and flash (`ram_bytes`, `flash_bytes`)",
        };
        Some(format!(
            "the profile does not limit {what}: the agent compares with the chip's before anything is written"
        ))
    }

    /// In words, beside the limits: `52.3 kB of 98.3 kB of RAM and 113 kB of flash`.
    #[must_use]
    pub fn words(&self, limits: &MemoryLimits) -> String {
        let part = |what: &str, bytes: u64, limit: Option<u64>| {
            let of = limit.map_or(String::new(), |limit| format!(" of {}", Bytes(limit)));
            format!("{}{of} of {what}", Bytes(bytes))
        };
        format!(
            "{} and {}",
            part("RAM", self.ram_bytes, limits.ram),
            part("flash", self.flash_bytes, limits.flash)
        )
    }
}

/// The outputs of a network in integers on the host, image after image: those of every board, bit
/// for bit.
///
/// # Errors
/// [`PipelineError::Board`] naming the node that boards cannot run.
pub(crate) fn outputs_of_reference(
    (model, graph): (&Model, &Graph),
    images: &[f32],
) -> Result<Vec<f32>, PipelineError> {
    let of_board = |source| PipelineError::Board {
        model: model.name().into(),
        source,
    };
    let lowered = board_plan::lower(graph).map_err(of_board)?;
    let mut reference = lowered.reference().map_err(|e| of_board(e.into()))?;
    let size = lowered.input.dims.iter().product::<usize>().max(1);
    let mut outputs = Vec::new();
    for image in images.chunks_exact(size) {
        let bytes = reference.run(image).map_err(of_board)?;
        outputs.extend(lowered.result(&bytes).unwrap_or_default());
    }
    Ok(outputs)
}

/// Refuses a network in floats where the device is a board.
///
/// # Errors
/// [`PipelineError::Board`] with what to do.
pub(crate) fn refuse_floats(
    profile: &Profile,
    model: &str,
    graph: &Graph,
) -> Result<(), PipelineError> {
    if board_plan::has_integers(graph) || profile.board.is_none() {
        return Ok(());
    }
    Err(PipelineError::Board {
        model: model.to_owned(),
        source: board_plan::LowerError::Floats,
    })
}

/// The board of a device's profile; `None` if it is none.
pub(crate) fn board_of(device: &DeviceSpec) -> Result<Option<BoardSpec>, PipelineError> {
    let resolved = device.resolve()?;
    Ok(resolved
        .into_iter()
        .next()
        .and_then(|first| first.profile.board))
}

/// The network in integers with a scale that does not fit its values; `None` if it has integers.
fn with_any_scales(graph: &Graph) -> Result<Option<Graph>, onnx_graph::GraphError> {
    if board_plan::has_integers(graph) {
        return Ok(None);
    }
    let graph = fold_batch_norm(graph)?;
    let values = graph.inputs().iter().copied();
    let values = values.chain(graph.nodes().iter().map(onnx_graph::Node::output));
    let ranges: BTreeMap<ValueId, (f32, f32)> = values.map(|value| (value, (-1.0, 1.0))).collect();
    let options = Quantize {
        scheme: Scheme::default(),
        ranges,
        ..Quantize::default()
    };
    quantize(&graph, &options).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network() -> Graph {
        model_zoo::build("shapes_net", &model_zoo::ZooConfig::default()).unwrap()
    }

    #[test]
    fn a_network_in_floats_needs_what_it_needs_once_quantised() {
        let graph = network();
        let quantised = with_any_scales(&graph).unwrap().unwrap();
        let board = BoardSpec::default();
        let needs = |graph: &Graph| BoardNeeds::of(graph, &board, "net").unwrap();
        assert_eq!(needs(&graph), needs(&quantised));
        assert!(with_any_scales(&quantised).unwrap().is_none());
        let firmware = u64::from(board_plan::FIRMWARE_FLASH_BYTES);
        assert!(needs(&graph).flash_bytes > firmware);
        let in_ram = BoardSpec {
            firmware: FirmwarePlace::Ram,
            ..BoardSpec::default()
        };
        let all = BoardNeeds::of(&graph, &in_ram, "net").unwrap();
        assert_eq!(all.flash_bytes, 0);
        assert!(all.ram_bytes > needs(&graph).ram_bytes + needs(&graph).flash_bytes - firmware);
    }

    #[test]
    fn the_tighter_limit_holds_and_the_larger_share_counts() {
        let limits = |ram, flash| MemoryLimits { ram, flash };
        let both = limits(Some(100), None).and(limits(Some(80), Some(200)));
        assert_eq!(both, limits(Some(80), Some(200)));
        let needs = BoardNeeds {
            ram_bytes: 60,
            flash_bytes: 180,
            peak: String::new(),
        };
        assert_eq!(needs.load(&both), 0.9);
        assert_eq!(needs.load(&limits(Some(30), None)), 2.0);
        assert_eq!(needs.load(&MemoryLimits::default()), 0.0);
        assert_eq!(needs.unknown(&both), None);
        let unknown = |of: &MemoryLimits| needs.unknown(of).unwrap();
        assert!(unknown(&limits(Some(1), None)).contains("not limit flash"));
        assert!(unknown(&MemoryLimits::default()).contains("not limit RAM and flash"));
        let in_ram = BoardNeeds {
            flash_bytes: 0,
            ..needs
        };
        assert_eq!(in_ram.unknown(&limits(Some(1), None)), None);
    }
}
