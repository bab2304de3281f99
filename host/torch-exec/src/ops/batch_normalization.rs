//! BatchNormalization: <https://onnx.ai/onnx/operators/onnx__BatchNormalization.html>.

use onnx_graph::ValueId;
use onnx_graph::ops::BatchNormalization;
use tch::{TchError, Tensor};

use super::Args;
use crate::NormMode;

/// Folds a normalisation by its stored statistics into the arguments of the convolution before.
/// `norm` are the normalisation's own arguments.
pub(crate) fn fold(op: &BatchNormalization, norm: &Args, conv: &mut Args) -> Result<(), TchError> {
    let deviation = (norm.need(4)?.f_add_scalar(f64::from(op.epsilon))?).f_sqrt()?;
    let factor = norm.need(1)?.f_div(&deviation)?;
    let weight = conv.need(1)?;
    let mut each = vec![1; weight.dim()];
    each[0] = -1;
    let weight = weight.f_mul(&factor.f_reshape(&each)?)?;
    let centred = match conv.get(2) {
        Some(bias) => bias.f_sub(norm.need(3)?)?,
        None => norm.need(3)?.f_neg()?,
    };
    let bias = centred.f_mul(&factor)?.f_add(norm.need(2)?)?;
    conv.inputs.truncate(1);
    conv.inputs.extend([Some(weight), Some(bias)]);
    Ok(())
}

/// Normalises by the statistics of `mode`. `statistics` are the mean and variance values if they
/// are constants.
pub(crate) fn normalise(
    op: &BatchNormalization,
    args: &Args,
    mode: NormMode,
    statistics: Option<(ValueId, ValueId)>,
) -> Result<Tensor, TchError> {
    let x = args.need(0)?;
    let (scale, bias) = (args.get(1), args.get(2));
    let epsilon = f64::from(op.epsilon);
    let cudnn = x.device().is_cuda();
    let batch = |mean: Option<&Tensor>, var: Option<&Tensor>, momentum: f64| {
        x.f_batch_norm(scale, bias, mean, var, true, momentum, epsilon, cudnn)
    };
    match (mode, statistics) {
        (NormMode::Running | NormMode::Folded, _) => {
            let (mean, var) = (args.need(3)?, args.need(4)?);
            x.f_batch_norm(
                scale,
                bias,
                Some(mean),
                Some(var),
                false,
                0.0,
                epsilon,
                cudnn,
            )
        }
        (NormMode::Update { momentum }, Some(_)) => {
            batch(Some(args.need(3)?), Some(args.need(4)?), momentum)
        }
        (NormMode::Collect(stats), Some(key)) => {
            let channels = x.size().get(1).copied().unwrap_or(0);
            let (mean, var, momentum) = stats.next(key, channels, x.device());
            batch(Some(&mean), Some(&var), momentum)
        }
        (NormMode::Batch, _) | (_, None) => batch(None, None, 0.0),
    }
}
