//! BatchNormalization: <https://onnx.ai/onnx/operators/onnx__BatchNormalization.html>.

use onnx_graph::ValueId;
use onnx_graph::ops::BatchNormalization;
use tch::{TchError, Tensor};

use super::Args;
use crate::NormMode;

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
        (NormMode::Running, _) => {
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
