//! Functions of every element alone: limits become part of the operator before them, others a
//! table.

use onnx_graph::ops::Op;

use super::context::Context;
use crate::state::{Pending, State, Work, identity};

/// A function of one number.
type Function = Box<dyn Fn(f32) -> f32>;

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

fn softplus(x: f32) -> f32 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// The interval that an operator limits its input to.
fn limits(op: &Op) -> Option<(f32, f32)> {
    match op {
        Op::Relu(_) => Some((0.0, f32::INFINITY)),
        Op::Clip(op) => Some((
            op.min.unwrap_or(f32::NEG_INFINITY),
            op.max.unwrap_or(f32::INFINITY),
        )),
        _ => None,
    }
}

fn function(op: &Op) -> Option<Function> {
    if let Some((low, high)) = limits(op) {
        return Some(Box::new(move |x| x.max(low).min(high)));
    }
    Some(match op {
        Op::Abs(_) => Box::new(f32::abs),
        Op::Elu(op) => {
            let alpha = op.alpha;
            Box::new(move |x| if x > 0.0 { x } else { alpha * x.exp_m1() })
        }
        Op::HardSigmoid(op) => {
            let (alpha, beta) = (op.alpha, op.beta);
            Box::new(move |x| (alpha * x + beta).clamp(0.0, 1.0))
        }
        Op::HardSwish(_) => Box::new(|x| x * (x / 6.0 + 0.5).clamp(0.0, 1.0)),
        Op::LeakyRelu(op) => {
            let alpha = op.alpha;
            Box::new(move |x| if x > 0.0 { x } else { alpha * x })
        }
        Op::Mish(_) => Box::new(|x| x * softplus(x).tanh()),
        Op::Neg(_) => Box::new(|x| -x),
        Op::Sigmoid(_) => Box::new(sigmoid),
        Op::Softplus(_) => Box::new(softplus),
        Op::Swish(op) => {
            let alpha = op.alpha;
            Box::new(move |x| x * sigmoid(alpha * x))
        }
        Op::Tanh(_) => Box::new(f32::tanh),
        _ => return None,
    })
}

pub(super) fn lower(context: Context<'_>, op: &Op) -> Result<State, String> {
    let function = function(op).ok_or("boards have no such operator")?;
    let pending = match context.state(0)? {
        State::Integers(from) => {
            let values = identity(from).into_iter().map(function).collect();
            Pending::new(&context.node.name, Work::Function(*from, values))
        }
        State::Pending(pending) => match (limits(op), &pending.work) {
            (_, Work::Function(from, values)) => {
                let limited = values
                    .iter()
                    .map(|v| v.max(pending.limits.0).min(pending.limits.1));
                let values = limited.map(function).collect();
                Pending::new(&context.node.name, Work::Function(*from, values))
            }
            (Some((low, high)), _) => Pending {
                limits: (
                    pending.limits.0.max(low).min(high),
                    pending.limits.1.min(high).max(low),
                ),
                ..pending.clone()
            },
            _ => return Err("its input is not quantised".into()),
        },
        _ => return Err("its input is not quantised".into()),
    };
    Ok(State::Pending(pending))
}
