//! What the tasks share whose targets are numbers: one for each value of the outputs.

use datasets::Dataset;
use onnx_graph::Graph;

use super::form::float_outputs;
use super::{Task, values_of_a_sample};
use crate::TrainError;

/// The most samples whose targets are read when a task is settled.
const MOST: usize = 10_000;

/// Calls `each` with the index and the targets of the first samples of `train`.
///
/// # Errors
/// [`TrainError::Output`] without targets; [`TrainError::Data`]; those of `each`.
pub(crate) fn each_target(
    train: &dyn Dataset,
    task: &'static str,
    mut each: impl FnMut(usize, &[f32]) -> Result<(), TrainError>,
) -> Result<(), TrainError> {
    let size = train.target_len();
    if size == 0 {
        return Err(TrainError::Output {
            task,
            reason: "the data has no values to compare the outputs with".into(),
        });
    }
    let mut row = vec![0f32; size];
    for index in 0..train.len().min(MOST) {
        train.target(index, &mut row)?;
        each(index, &row)?;
    }
    Ok(())
}

/// Refuses data with another number of targets than the outputs have values.
pub(crate) fn check_values(
    task: &dyn Task,
    graph: &Graph,
    data: &dyn Dataset,
) -> Result<(), TrainError> {
    let sizes = float_outputs(graph).into_iter();
    let sizes = sizes.map(|id| values_of_a_sample(graph, id));
    match sizes.sum::<Option<usize>>() {
        Some(values) if values != data.target_len() => Err(TrainError::Output {
            task: task.name(),
            reason: format!(
                "the network's outputs have {values} values, the data has {} for a sample",
                data.target_len()
            ),
        }),
        _ => Ok(()),
    }
}
