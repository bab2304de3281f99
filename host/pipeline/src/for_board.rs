//! The network of a run as its board runs it, and the one that candidates are measured beside.

use datasets::Splits;
use onnx_graph::Graph;
use search::Space;

use crate::board::{Board, BoardNeeds};
use crate::config::{LatencyBudget, RunConfig};
use crate::error::PipelineError;
use crate::model::LoadedModel;
use crate::progress::Reporter;
use crate::quantize::in_integers;

/// The network in integers, quantised on training images if it is in floats.
///
/// # Errors
/// [`PipelineError::NoShareOfBoard`] where the network does not fit the board, and the budget is a
/// share of its latency there.
pub(crate) fn for_board(
    model: LoadedModel,
    board: &Board,
    splits: &Splits,
    config: &RunConfig,
    reporter: &mut dyn Reporter,
) -> Result<LoadedModel, PipelineError> {
    let model = if board_plan::has_integers(&model.graph) {
        model
    } else if !model.trained {
        return Err(PipelineError::UnfitModel {
            model: model.name,
            reason: "is not trained, and a board computes in integers, whose ranges are those of a trained network: train it \
                     first, or give a file"
                .into(),
        });
    } else {
        let quantised = in_integers(&model, splits.train.as_ref(), config.seed)?;
        reporter.note(&format!(
            "{}: quantised to 8-bit integers for the board, on training images",
            model.name
        ));
        LoadedModel {
            analysis: channels::analyse_with(&quantised.graph, config.groups.analysis())?,
            graph: quantised.graph,
            ..model
        }
    };
    let needs = BoardNeeds::of(&model.graph, &board.spec, &model.name)?;
    reporter.note(&format!(
        "{}: {}, most RAM for '{}'",
        model.name,
        needs.words(&board.limits),
        needs.peak
    ));
    let is_share = matches!(config.budget.latency, Some(LatencyBudget::Ratio(_)));
    if is_share && needs.load(&board.own) > 1.0 {
        return Err(PipelineError::NoShareOfBoard {
            needs: needs.words(&board.own),
            model: model.name,
        });
    }
    Ok(model)
}

/// The network that candidates are measured beside where the board cannot run the original: the
/// original with one share of each group's channels.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StandIn {
    /// Share of the channels.
    pub keep: f64,
    /// Width of each group.
    pub widths: Vec<usize>,
}

/// The shares that are tried differ by this.
const STEP: f64 = 0.05;

impl StandIn {
    /// Finds the widest configuration of one share that fits; the smallest network where none
    /// does.
    ///
    /// # Errors
    /// That of `fits`.
    pub fn widest<E>(
        space: &Space,
        mut fits: impl FnMut(&[usize]) -> Result<bool, E>,
    ) -> Result<Self, E> {
        let most = (1.0 / STEP).round() as u32;
        for step in (1..most).rev() {
            let keep = f64::from(step) * STEP;
            let widths = space.uniform(keep).0;
            if fits(&widths)? {
                return Ok(Self { keep, widths });
            }
        }
        Ok(Self {
            keep: 0.0,
            widths: space.smallest().0,
        })
    }

    /// In words: `the original at 0.75 of its widths`.
    pub fn words(&self) -> String {
        match self.keep {
            0.0 => "the smallest network".to_owned(),
            keep => format!("the original at {keep:.2} of its widths"),
        }
    }
}

/// The stand-in for a network that does not fit `board`; `None` where it fits. `deployed` makes
/// the network of a configuration.
pub(crate) fn stand_in(
    (board, original): (&Board, &Graph),
    model: &str,
    space: &Space,
    deployed: impl Fn(&[usize]) -> Result<Graph, PipelineError>,
) -> Result<Option<StandIn>, PipelineError> {
    if board.can_run(original, model)? {
        return Ok(None);
    }
    StandIn::widest(space, |widths| board.can_run(&deployed(widths)?, model)).map(Some)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use search::WidthGrid;

    use super::*;

    #[test]
    fn a_stand_in_is_the_widest_of_one_share_that_fits() {
        let grid = WidthGrid::default();
        let space = Space::new(vec![grid.group("a", 16), grid.group("b", 64)]).unwrap();
        let find = |most: usize| {
            let fits = |widths: &[usize]| Ok::<bool, Infallible>(widths[1] <= most);
            StandIn::widest(&space, fits).unwrap()
        };
        let half = find(32);
        assert_eq!(half.widths[1], 32);
        assert!((0.4..0.6).contains(&half.keep), "{}", half.keep);
        assert_eq!(
            half.words(),
            format!("the original at {:.2} of its widths", half.keep)
        );
        let none = find(0);
        assert_eq!(none.widths, space.smallest().0);
        assert_eq!(none.words(), "the smallest network");
    }
}
