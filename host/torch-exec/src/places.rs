//! Nodes that compute with all places of the channels, in a network without some of them.

use channels::Spread;
use onnx_graph::ops::Op;
use tch::{TchError, Tensor};

use crate::ops::{self, Args};

/// Runs a node that needs the channel axis at its full length. Zeros replace the dropped channels,
/// and their results are cut off.
pub(crate) fn at_all_places(
    spread: &Spread,
    op: &Op,
    mut args: Args,
) -> Result<Vec<Tensor>, TchError> {
    let axis = spread.axis as i64;
    let numbers = |places: Vec<usize>, like: &Tensor| {
        let places: Vec<i64> = places.into_iter().map(|place| place as i64).collect();
        Tensor::from_slice(&places).to_device(like.device())
    };
    if let Some(Some(input)) = args.inputs.first_mut() {
        let present = (0..spread.places.len()).filter(|&i| spread.places[i].is_some());
        let at = numbers(present.collect(), input);
        let mut size = input.size();
        if let Some(size) = size.get_mut(spread.axis) {
            *size = spread.places.len() as i64;
        }
        let zeros = Tensor::f_zeros(size, (input.kind(), input.device()))?;
        *input = zeros.f_index_copy(axis, &at, input)?;
        args.overwrite = None;
    }
    let results = ops::run(op, &mut args)?.into_iter();
    let kept = |result: Tensor| {
        let at = numbers(spread.kept.clone(), &result);
        result.f_index_select(axis, &at)
    };
    results.map(kept).collect()
}
