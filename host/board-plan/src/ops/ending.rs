//! Operators whose output's scale has become known.

use int8_engine::{Add, AveragePool, Place, Table};

use super::context::new_tensor;
use crate::fixed;
use crate::layer::Ending;
use crate::program::Program;
use crate::state::{Pending, Work};
use crate::value::{Integers, Quantity};

/// Appends the operator with an output of this scale.
pub(crate) fn finish(
    program: &mut Program,
    pending: &Pending,
    quantity: Quantity,
) -> Result<Integers, String> {
    let clamp = pending.clamp(quantity);
    if let Work::Layer(layer) = &pending.work {
        return layer.lower(program, (&pending.node, Ending::Bytes(quantity, clamp)));
    }
    let output = new_tensor(
        program,
        &pending.node,
        (pending.work.shape(), quantity.zero_point),
    )?;
    match &pending.work {
        Work::Layer(_) => {}
        Work::Add([a, b]) => {
            let ratios = [a.scale / quantity.scale, b.scale / quantity.scale];
            let (multipliers, shift) = fixed::sum(ratios).ok_or(FAR)?;
            let op = Add {
                inputs: [a.tensor, b.tensor],
                output,
                multipliers,
                shift,
                clamp,
            };
            program.push(&pending.node, op);
        }
        Work::Average(average) => {
            let whole = average.padding_counts || average.is_full();
            let positions = if whole { average.window.positions() } else { 1 };
            let ratio = average.input.scale / quantity.scale / positions as f32;
            let (multiplier, shift) = fixed::mean(ratio).ok_or(FAR)?;
            let op = AveragePool {
                input: average.input.tensor,
                output,
                window: average.window,
                whole,
                multiplier,
                shift,
                clamp,
            };
            program.push(&pending.node, op);
        }
        Work::Concat(parts, axis) => {
            let mut at = [0; 3];
            for part in parts {
                let mut place = Place {
                    at,
                    ..Place::all(part.tensor, output)
                };
                place.translate = part.quantity() != quantity || !is_whole(clamp);
                if place.translate {
                    let values = crate::state::identity(part);
                    place.table = program.table(entries(&values, pending, quantity));
                }
                at[*axis] += place.count[*axis];
                program.push(&pending.node, place);
            }
        }
        Work::Function(from, values) => {
            let op = Table {
                input: from.tensor,
                output,
                table: program.table(entries(values, pending, quantity)),
            };
            program.push(&pending.node, op);
        }
    }
    Ok(Integers {
        tensor: output,
        scale: quantity.scale,
    })
}

const FAR: &str = "its scale is far from that of its output";

fn is_whole(clamp: int8_engine::Clamp) -> bool {
    clamp == int8_engine::Clamp::NONE
}

/// The integers of a function's values.
fn entries(values: &[f32], pending: &Pending, quantity: Quantity) -> Vec<u8> {
    let clamp = pending.clamp(quantity);
    let entry = |&value: &f32| clamp.apply(quantity.round(value).into()) as u8;
    values.iter().map(entry).collect()
}
