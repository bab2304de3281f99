//! Nodes without typed attributes, by a table of operators: further operators, and forms of those
//! with a typed counterpart that read elements of other types or inputs that are computed.

mod axes;
mod deform_conv;
mod fused;
mod integers;
mod moves;
mod norms;
mod packed;
mod passage;
mod recurrent;
mod rotary;
mod table;

use onnx_graph::ops::Opaque;
use onnx_graph::{Node, NodeId};

use super::{join, spatial, unary};
use crate::atoms::Context;
use passage::Passage;
use table::find;

/// Applies the rule of an operator without typed attributes; `typed` says whether other forms of it
/// have some.
pub(super) fn rule(cx: &mut Context<'_>, id: NodeId, op: &Opaque, typed: bool) {
    let node = cx.graph.node(id);
    match find(&op.domain, &op.op_type) {
        Some(Passage::Elements) => {
            unary::rule(cx, node);
            pin_others(cx, node);
        }
        Some(Passage::Join) => join::rule(cx, node),
        Some(Passage::Positions) => {
            spatial::rule(cx, node);
            pin_others(cx, node);
        }
        Some(Passage::Rule(rule)) => {
            if let Err(reason) = rule(cx, node, op) {
                cx.pin_inputs(node, reason);
            }
        }
        Some(Passage::Pins(reason)) => cx.pin_inputs(node, reason),
        Some(Passage::KeptLayer(reason)) => fused::kept_layer(cx, node, reason),
        None => {
            let name = &op.op_type;
            let reason = match typed && op.domain.is_empty() {
                true => format!("operator {name} in a form that is not followed"),
                false => format!("operator {name} has no channel rule"),
            };
            cx.pin_inputs(node, &reason);
        }
    }
}

/// Pins the channels of all inputs but the first.
fn pin_others(cx: &mut Context<'_>, node: &Node) {
    for i in 1..node.inputs.len() {
        if let Some(map) = cx.map(node, i) {
            let reason = "channels that are read as a parameter";
            cx.pin(&map.atoms, &node.name, reason);
        }
    }
}

/// The operators in the table: domain, name, and why they pin channels, if they do.
pub(super) fn operators() -> impl Iterator<Item = (&'static str, &'static str, Option<&'static str>)>
{
    table::TABLE.iter().flat_map(|(domain, names, passage)| {
        let reason = match passage {
            Passage::Pins(reason) | Passage::KeptLayer(reason) => Some(*reason),
            _ => None,
        };
        names.iter().map(move |name| (*domain, *name, reason))
    })
}
