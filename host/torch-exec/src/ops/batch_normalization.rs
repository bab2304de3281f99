//! BatchNormalization: <https://onnx.ai/onnx/operators/onnx__BatchNormalization.html>.

use onnx_graph::ValueId;
use onnx_graph::ops::BatchNormalization;
use tch::{Kind, TchError, Tensor};

use super::Args;
use crate::{NormMode, Sums};

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
        (NormMode::Synced { sums, momentum }, _) => {
            let stored = momentum.zip(args.get(3).zip(args.get(4)));
            synced(x, (scale, bias, epsilon), sums, stored)
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

/// Normalises `x` `[N, C, ...]` by the statistics of all processes, as
/// `torch.nn.SyncBatchNorm`. `stored` are a momentum, and the mean and variance that move by it.
fn synced(
    x: &Tensor,
    (scale, bias, epsilon): (Option<&Tensor>, Option<&Tensor>, f64),
    sums: &dyn Sums,
    stored: Option<(f64, (&Tensor, &Tensor))>,
) -> Result<Tensor, TchError> {
    let kind = x.kind();
    let x = x.f_to_kind(Kind::Float)?;
    let channels = x.size().get(1).copied().unwrap_or(1);
    let others: Vec<i64> = (0..x.dim() as i64).filter(|&axis| axis != 1).collect();
    let mut shape = vec![1; x.dim()];
    shape[1] = channels;
    let own = (x.numel() as i64 / channels.max(1)) as f64;
    let sum = x.f_sum_dim_intlist(&others[..], false, Kind::Float)?;
    let counted = Tensor::f_cat(
        &[
            &sum,
            &sum.f_new_full([1], own, (Kind::Float, sum.device()))?,
        ],
        0,
    )?;
    let counted = sums.sum(&counted)?;
    let count = counted.f_narrow(0, channels, 1)?.f_detach()?;
    let mean = counted.f_narrow(0, 0, channels)?.f_div(&count)?;
    // In a second sum, since a difference of squares would lose what a large mean leaves.
    let centred = x.f_sub(&mean.f_reshape(&shape)?)?;
    let squares = centred.f_square()?;
    let squares = sums.sum(&squares.f_sum_dim_intlist(&others[..], false, Kind::Float)?)?;
    let variance = squares.f_div(&count)?;
    if let Some((momentum, (stored_mean, stored_variance))) = stored {
        let _guard = tch::no_grad_guard();
        let unbiased = squares.f_div(&count.f_sub_scalar(1.0)?.f_clamp_min(1.0)?)?;
        for (stored, new) in [(stored_mean, &mean), (stored_variance, &unbiased)] {
            let _ = stored.shallow_clone().f_lerp_(new, momentum)?;
        }
    }
    let gain = variance.f_add_scalar(epsilon)?.f_rsqrt()?;
    let gain = match scale {
        Some(scale) => gain.f_mul(scale)?,
        None => gain,
    };
    let out = centred.f_mul(&gain.f_reshape(&shape)?)?;
    let out = match bias {
        Some(bias) => out.f_add(&bias.f_reshape(&shape)?)?,
        None => out,
    };
    out.f_to_kind(kind)
}
