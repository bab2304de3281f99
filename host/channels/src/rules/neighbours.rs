//! Windows that slide along the channels, such as the convolution of an efficient channel
//! attention (Wang et al., CVPR 2020) and the pooling of a local response normalisation.
//!
//! A kept channel reads its neighbours of the original: zeros are put back in the places of the
//! dropped ones before the window slides, and their results are left out.

use onnx_graph::ops::{AveragePool, Conv, MaxPool, Op};
use onnx_graph::{DType, Dim, Node, NodeId};

use crate::atoms::{Context, Edit, Map};

const STRIDED: &str = "a window along the channels that skips some of them";
const OTHER_TYPE: &str = "a window along the channels of another type than 32-bit floats";

/// The window's attributes along one axis.
#[derive(Clone, Copy)]
struct Slide {
    kernel: usize,
    stride: usize,
    pads: (usize, usize),
}

impl Slide {
    /// Of the spatial axis `at`.
    fn of(op: &Op, at: usize) -> Option<Self> {
        let (kernel, strides, pads) = match op {
            Op::Conv(Conv {
                kernel,
                strides,
                pads,
                ..
            })
            | Op::AveragePool(AveragePool {
                kernel,
                strides,
                pads,
                ..
            })
            | Op::MaxPool(MaxPool {
                kernel,
                strides,
                pads,
                ..
            }) => (kernel, strides, pads),
            _ => return None,
        };
        Some(Self {
            kernel: *kernel.get(at)?,
            stride: *strides.get(at)?,
            pads: (*pads.get(at)?, *pads.get(at + kernel.len())?),
        })
    }
}

/// The channels on the axis that a window slides along, if they are there.
pub(super) fn channels(cx: &Context<'_>, node: &Node) -> Option<Map> {
    cx.map(node, 0).filter(|map| map.axis >= 2)
}

/// Passes the channels `map` of the node's input, which lie on a spatial axis.
pub(super) fn rule(cx: &mut Context<'_>, id: NodeId, node: &Node, map: Map) {
    let Some(slide) = Slide::of(&node.op, map.axis - 2) else {
        return cx.pin_inputs(
            node,
            "the channels lie on an axis that is pooled or resized",
        );
    };
    if (slide.kernel, slide.stride, slide.pads) == (1, 1, (0, 0)) {
        return cx.set(node.output(), map.axis, map.atoms);
    }
    if slide.stride != 1 {
        return cx.pin_inputs(node, STRIDED);
    }
    if let Err(reason) = at_full_width(cx, id, node, map) {
        cx.pin_inputs(node, reason);
    }
}

/// Passes the channels of a node that computes with all places of the channel axis.
pub(super) fn at_full_width(
    cx: &mut Context<'_>,
    id: NodeId,
    node: &Node,
    map: Map,
) -> Result<(), &'static str> {
    let value = |v| cx.graph.value(v);
    if node.input(0).and_then(|v| value(v).dtype) != Some(DType::F32) {
        return Err(OTHER_TYPE);
    }
    let sizes = value(node.output()).shape.as_deref();
    let size = sizes
        .and_then(|sizes| sizes.get(map.axis))
        .and_then(Dim::known)
        .ok_or("a window along the channels of unknown size")?;
    // Results between the places of the channels are tied to them by what reads both.
    let output = match size == map.atoms.len() {
        true => map.atoms.clone(),
        false => cx.fresh(size),
    };
    cx.set(node.output(), map.axis, output.clone());
    cx.edits.push((
        id,
        Edit::Spread {
            axis: map.axis,
            input: map.atoms,
            output,
        },
    ));
    Ok(())
}
