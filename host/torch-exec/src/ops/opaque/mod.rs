//! Operators without typed attributes, by a table.

mod axes;
mod elements;
mod moves;
mod norms;
mod pools;
mod reading;
mod sizes;

use onnx_graph::ops::Opaque;
use tch::{TchError, Tensor};

use super::Args;
use reading::kind;

/// Runs an operator on its arguments.
type Run = fn(&Opaque, &Args) -> Result<Tensor, TchError>;

/// The operators of ONNX's own domain that run without typed attributes.
static TABLE: &[(&str, Run)] = &[
    ("And", elements::and),
    ("ArgMax", axes::arg_max),
    ("ArgMin", axes::arg_min),
    ("Cast", elements::cast),
    ("ConstantOfShape", sizes::constant),
    ("CumSum", axes::cumulative_sum),
    ("Equal", elements::equal),
    ("Expand", sizes::expand),
    ("Gather", moves::gather),
    ("GatherElements", moves::gather_elements),
    ("GlobalLpPool", pools::global_norm),
    ("Greater", elements::greater),
    ("GreaterOrEqual", elements::greater_or_equal),
    ("GridSample", moves::grid_sample),
    ("Hardmax", axes::hardmax),
    ("IsInf", elements::is_infinite),
    ("IsNaN", elements::is_nan),
    ("LRN", norms::local_response),
    ("Less", elements::less),
    ("LessOrEqual", elements::less_or_equal),
    ("LpNormalization", norms::lp),
    ("LpPool", pools::norm),
    ("MeanVarianceNormalization", norms::mean_variance),
    ("Mod", elements::modulo),
    ("Not", elements::not),
    ("Or", elements::or),
    ("Pow", elements::power),
    ("RMSNormalization", norms::root_mean_square),
    ("ReduceLogSum", axes::log_sum),
    ("ReduceProd", axes::product),
    ("Reshape", sizes::reshape),
    ("Shrink", elements::shrink),
    ("SimplifiedLayerNormalization", norms::root_mean_square),
    ("Tile", moves::tile),
    ("Trilu", moves::triangle),
    ("Xor", elements::xor),
];

fn find(op: &Opaque) -> Option<Run> {
    let plain = op.domain.is_empty();
    let row = TABLE.iter().find(|(name, _)| plain && *name == op.op_type);
    row.map(|(_, run)| *run)
}

/// The names of the operators that run without typed attributes.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|(name, _)| *name)
}

/// Whether an operator runs. A cast runs to types that libtorch computes exactly as ONNX does.
pub(super) fn runs(op: &Opaque) -> bool {
    let casts = || op.cast_to().and_then(kind).is_some();
    find(op).is_some() && (op.op_type != "Cast" || casts())
}

pub(super) fn run(op: &Opaque, args: &Args) -> Result<Tensor, TchError> {
    match find(op) {
        Some(run) => run(op, args),
        None => Err(TchError::Torch(format!("{} is not run", op.op_type))),
    }
}
