//! Operators, one file each.

mod args;
mod average_pool;
mod batch_normalization;
mod binary;
mod clip;
mod concat;
mod conv;
mod conv_transpose;
mod depth_to_space;
mod dequantize_linear;
mod einsum;
mod elementwise;
mod expand;
mod flatten;
mod gather;
mod gemm;
mod global_pool;
mod group_normalization;
mod instance_normalization;
mod layer_normalization;
mod layout;
mod matmul;
mod max_pool;
mod opaque;
mod pad;
mod prelu;
mod quantize_linear;
mod reduce_l2;
mod reduce_mean;
mod reduce_others;
mod reduce_sum;
mod reshape;
mod resize;
mod shape;
mod slice;
mod softmax;
mod split;
mod squeeze;
mod transpose;
mod unary;
mod where_;
mod window;

use onnx_graph::ops::Op;
use onnx_graph::{DType, Graph, Node};
use tch::{TchError, Tensor};

use crate::ExecError;

pub(crate) use args::Args;
use args::i64s;
pub(crate) use batch_normalization::normalise;
pub(crate) use reshape::batch_leads;

/// Rejects nodes that can't be run, at compile time.
pub(crate) fn check(graph: &Graph, node: &Node) -> Result<(), ExecError> {
    let form = |reason: &str| {
        Err(ExecError::Form {
            node: node.name.clone(),
            op: node.op.name().to_owned(),
            reason: reason.to_owned(),
        })
    };
    match &node.op {
        Op::Opaque(op) if opaque::runs(op) => {
            let outputs = node.outputs.iter().skip(1).any(Option::is_some);
            match outputs {
                true => form("its further outputs are not supported"),
                false => check_inputs(graph, node),
            }
        }
        Op::Opaque(_) => Err(ExecError::Unsupported {
            node: node.name.clone(),
            op: node.op.name().to_owned(),
        }),
        Op::BatchNormalization(_) if node.outputs.iter().skip(1).any(Option::is_some) => form(
            "outputs of the training form (running mean and variance) can't be used; export in evaluation mode",
        ),
        Op::MaxPool(_) if node.outputs.get(1).is_some_and(Option::is_some) => {
            form("the indices output is not supported")
        }
        Op::Dropout(_) if node.outputs.get(1).is_some_and(Option::is_some) => {
            form("the mask output is not supported")
        }
        Op::Pad(p) => pad::check(p).or_else(|reason| form(&reason)),
        Op::Resize(r) => resize::check(r).or_else(|reason| form(&reason)),
        _ => check_inputs(graph, node),
    }
}

fn check_inputs(graph: &Graph, node: &Node) -> Result<(), ExecError> {
    let least = match node.op {
        Op::BatchNormalization(_) => 5,
        Op::InstanceNormalization(_) | Op::GroupNormalization(_) | Op::Where(_) => 3,
        Op::Conv(_)
        | Op::ConvTranspose(_)
        | Op::Gemm(_)
        | Op::MatMul(_)
        | Op::PRelu(_)
        | Op::LayerNormalization(_) => 2,
        Op::Add(_) | Op::Sub(_) | Op::Mul(_) | Op::Div(_) | Op::Max(_) | Op::Min(_) => 2,
        _ => 1,
    };
    let present = (0..least).all(|i| node.input(i).is_some());
    let lists: &[DType] = match node.op {
        Op::Concat(_) => &[DType::I64],
        Op::Where(_) => &[DType::Bool],
        Op::Opaque(_) => &[DType::I32, DType::I64, DType::Bool],
        _ => &[],
    };
    let float = node
        .inputs
        .iter()
        .flatten()
        .filter_map(|&v| graph.constant(v))
        .all(|c| match c.dtype() {
            DType::F32 | DType::F64 => true,
            dtype => lists.contains(&dtype),
        });
    let reason = match (present, float) {
        (true, true) => return Ok(()),
        (false, _) => format!("at least {least} inputs are needed"),
        (true, false) => "a constant input is not of floating point".to_owned(),
    };
    Err(ExecError::Form {
        node: node.name.clone(),
        op: node.op.name().to_owned(),
        reason,
    })
}

/// Returns whether an operator allocates its output and does not need it in its backward pass, so
/// that a later step may overwrite it.
pub(crate) fn output_is_free(op: &Op) -> bool {
    matches!(
        op,
        Op::Conv(_)
            | Op::ConvTranspose(_)
            | Op::Gemm(_)
            | Op::MatMul(_)
            | Op::BatchNormalization(_)
            | Op::Add(_)
            | Op::Sub(_)
            | Op::Mul(_)
            | Op::Concat(_)
            | Op::AveragePool(_)
    )
}

/// The names of the operators that run in forms without typed attributes. Operators with typed
/// attributes run in these.
pub fn untyped_operators() -> impl Iterator<Item = &'static str> {
    opaque::names()
}

/// Runs one operator other than BatchNormalization; see [`normalise`].
pub(crate) fn run(op: &Op, args: &mut Args) -> Result<Vec<Tensor>, TchError> {
    let one = match op {
        Op::Conv(op) => conv::run(op, args),
        Op::ConvTranspose(op) => conv_transpose::run(op, args),
        Op::Gemm(op) => gemm::run(op, args),
        Op::MatMul(_) => matmul::run(args),
        Op::Einsum(op) => einsum::run(op, args),
        Op::Relu(_) => unary::relu(args),
        Op::LeakyRelu(op) => unary::leaky_relu(op, args),
        Op::Sigmoid(_) => args.need(0)?.f_sigmoid(),
        Op::HardSigmoid(op) => unary::hard_sigmoid(op, args),
        Op::HardSwish(_) => args.need(0)?.f_hardswish(),
        Op::Tanh(_) => args.need(0)?.f_tanh(),
        Op::Erf(_) => args.need(0)?.f_erf(),
        Op::Gelu(op) => args.need(0)?.f_gelu(if op.tanh { "tanh" } else { "none" }),
        Op::Pow(op) => args.need(0)?.f_pow_tensor_scalar(f64::from(op.exponent)),
        Op::Exp(_) => args.need(0)?.f_exp(),
        Op::Abs(_) => args.need(0)?.f_abs(),
        Op::Acos(_) => args.need(0)?.f_acos(),
        Op::Acosh(_) => args.need(0)?.f_acosh(),
        Op::Asin(_) => args.need(0)?.f_asin(),
        Op::Asinh(_) => args.need(0)?.f_asinh(),
        Op::Atan(_) => args.need(0)?.f_atan(),
        Op::Atanh(_) => args.need(0)?.f_atanh(),
        Op::Ceil(_) => args.need(0)?.f_ceil(),
        Op::Celu(op) => elementwise::celu(op, args),
        Op::Cos(_) => args.need(0)?.f_cos(),
        Op::Cosh(_) => args.need(0)?.f_cosh(),
        Op::Elu(op) => elementwise::elu(op, args),
        Op::Floor(_) => args.need(0)?.f_floor(),
        Op::Log(_) => args.need(0)?.f_log(),
        Op::Mish(_) => args.need(0)?.f_mish(),
        Op::Neg(_) => args.need(0)?.f_neg(),
        Op::Reciprocal(_) => args.need(0)?.f_reciprocal(),
        Op::Round(_) => args.need(0)?.f_round(),
        Op::Selu(op) => elementwise::selu(op, args),
        Op::Sign(_) => args.need(0)?.f_sign(),
        Op::Sin(_) => args.need(0)?.f_sin(),
        Op::Sinh(_) => args.need(0)?.f_sinh(),
        Op::Softplus(_) => args.need(0)?.f_softplus(),
        Op::Softsign(_) => elementwise::softsign(args),
        Op::Swish(op) => elementwise::swish(op, args),
        Op::Tan(_) => args.need(0)?.f_tan(),
        Op::ThresholdedRelu(op) => elementwise::thresholded_relu(op, args),
        Op::Sqrt(_) => args.need(0)?.f_sqrt(),
        // Pruned networks are trained without dropout.
        Op::Identity(_) | Op::Dropout(_) => Ok(args.need(0)?.shallow_clone()),
        Op::Clip(op) => clip::run(op, args),
        Op::QuantizeLinear(op) => quantize_linear::run(op, args),
        Op::DequantizeLinear(op) => dequantize_linear::run(op, args),
        Op::Softmax(op) => softmax::softmax(op, args),
        Op::LogSoftmax(op) => softmax::log_softmax(op, args),
        Op::Add(_) => binary::add(args),
        Op::Sub(_) => args.need(0)?.f_sub(args.need(1)?),
        Op::Mul(_) => args.need(0)?.f_mul(args.need(1)?),
        Op::Div(_) => args.need(0)?.f_div(args.need(1)?),
        Op::Max(_) => args.need(0)?.f_maximum(args.need(1)?),
        Op::Min(_) => args.need(0)?.f_minimum(args.need(1)?),
        Op::GroupNormalization(op) => group_normalization::run(op, args),
        Op::InstanceNormalization(op) => instance_normalization::run(op, args),
        Op::LayerNormalization(op) => layer_normalization::run(op, args),
        Op::PRelu(_) => prelu::run(args),
        Op::MaxPool(op) => max_pool::run(op, args),
        Op::AveragePool(op) => average_pool::run(op, args),
        Op::GlobalAveragePool(_) => global_pool::average(args),
        Op::GlobalMaxPool(_) => global_pool::max(args),
        Op::ReduceMean(op) => reduce_mean::run(op, args),
        Op::ReduceL1(op) => reduce_others::l1(op, args),
        Op::ReduceL2(op) => reduce_l2::run(op, args),
        Op::ReduceLogSumExp(op) => reduce_others::log_sum_exp(op, args),
        Op::ReduceMax(op) => reduce_others::max(op, args),
        Op::ReduceMin(op) => reduce_others::min(op, args),
        Op::ReduceSumSquare(op) => reduce_others::sum_square(op, args),
        Op::ReduceSum(op) => reduce_sum::run(op, args),
        Op::DepthToSpace(op) => depth_to_space::depth_to_space(op, args),
        Op::SpaceToDepth(op) => depth_to_space::space_to_depth(op, args),
        Op::Flatten(op) => flatten::run(op, args),
        Op::Reshape(op) => reshape::run(op, args),
        Op::Resize(op) => resize::run(op, args),
        Op::Expand(op) => expand::run(op, args),
        Op::Gather(op) => gather::run(op, args),
        Op::Shape(op) => shape::run(op, args),
        Op::Transpose(op) => transpose::run(op, args),
        Op::Concat(op) => concat::run(op, args),
        Op::Split(op) => return split::run(op, args),
        Op::Slice(op) => slice::run(op, args),
        Op::Pad(op) => pad::run(op, args),
        Op::Squeeze(op) => squeeze::squeeze(op, args),
        Op::Unsqueeze(op) => squeeze::unsqueeze(op, args),
        Op::Where(_) => where_::run(args),
        Op::Opaque(op) => opaque::run(op, args),
        Op::BatchNormalization(_) => Err(TchError::Torch(format!(
            "{} is not run as a plain operator",
            op.name()
        ))),
    };
    Ok(vec![one?])
}
