//! Ridge regression for all groups of a layer at once.

use tch::{Kind, TchError, Tensor};

/// A layer's constants before the repair.
pub(crate) struct Constants {
    /// `[groups, features, outputs]`, with the factors of a batch normalisation.
    pub weight: Tensor,
    /// Whether the layer, or the batch normalisation behind it, adds a bias.
    pub has_bias: bool,
}

/// A solution.
pub(crate) struct Fit {
    /// `[groups, features, outputs]`.
    pub weight: Tensor,
    /// `[groups, outputs]`; zeros for a layer without a bias.
    pub bias: Tensor,
    /// Mean of the sums without the bias, `[groups, outputs]`.
    pub mean: Tensor,
    /// Their variance, `[groups, outputs]`.
    pub variance: Tensor,
}

/// Rows that are needed for each feature: fewer would be fitted rather than averaged.
const ROWS_PER_FEATURE: i64 = 4;

/// Returns the weights that minimise the squared distance of `inputs` `[rows, groups, features]`
/// times them, plus a bias, from `sums` `[rows, groups * outputs]`, and `ridge` times the mean
/// square of the inputs times their squared distance from the present ones. `None` where there are
/// too few rows, or no finite solution.
pub(super) fn refit(
    inputs: &Tensor,
    sums: &Tensor,
    constants: &Constants,
    ridge: f64,
) -> Result<Option<Fit>, TchError> {
    let (rows, groups, features) = inputs.size3()?;
    let outputs = constants.weight.size()[2];
    if rows < ROWS_PER_FEATURE * features || sums.size()[1] != groups * outputs {
        return Ok(None);
    }
    let (x, x_mean) = centred(&inputs.f_transpose(0, 1)?, constants.has_bias)?;
    let sums = sums.f_reshape([rows, groups, outputs])?.f_transpose(0, 1)?;
    let (y, y_mean) = centred(&sums, constants.has_bias)?;
    let count = rows as f64;
    let left = x.f_transpose(1, 2)?;
    let double = |t: Tensor| t.f_div_scalar(count)?.f_to_kind(Kind::Double);
    let gram = mean_products(&x)?;
    let before = constants.weight.f_to_kind(Kind::Double)?;
    let towards = double(left.f_bmm(&y)?)?.f_sub(&gram.f_bmm(&before)?)?;
    let mean_square = gram
        .f_diagonal(0, 1, 2)?
        .f_mean_dim(1i64, false, Kind::Double)?;
    // Inputs that are always zero leave the weights as they are.
    let pull = mean_square
        .f_mul_scalar(ridge)?
        .f_clamp_min(f64::MIN_POSITIVE.sqrt())?;
    let unit = Tensor::f_eye(features, (Kind::Double, inputs.device()))?;
    let matrix = gram.f_add(&unit.f_mul(&pull.f_reshape([groups, 1, 1])?)?)?;
    let Ok(factor) = matrix.f_linalg_cholesky(false) else {
        return Ok(None);
    };
    let weight = before.f_add(&towards.f_cholesky_solve(&factor, false)?)?;
    let product = |mean: &Tensor| -> Result<Tensor, TchError> {
        let mean = mean.f_to_kind(Kind::Double)?.f_unsqueeze(1)?;
        mean.f_bmm(&weight)?.f_squeeze_dim(1)
    };
    // Without a bias the moments are about zero: the mean is that of the inputs all the same.
    let bias = y_mean.f_to_kind(Kind::Double)?.f_sub(&product(&x_mean)?)?;
    let mean = product(&x_mean)?;
    let variance =
        weight
            .f_mul(&gram.f_bmm(&weight)?)?
            .f_sum_dim_intlist(1i64, false, Kind::Double)?;
    let single = |t: Tensor| t.f_to_kind(Kind::Float);
    let fit = Fit {
        weight: single(weight)?,
        bias: single(bias)?,
        mean: single(mean)?,
        variance: single(variance)?,
    };
    let finite = |t: &Tensor| -> Result<bool, TchError> {
        Ok(t.f_isfinite()?.f_all()?.f_int64_value(&[])? == 1)
    };
    Ok((finite(&fit.weight)? && finite(&fit.bias)?).then_some(fit))
}

/// Returns the mean over the rows of `[groups, rows, n]` of the products of each two of a row's
/// values: `[groups, n, n]`, in double precision.
pub(crate) fn mean_products(x: &Tensor) -> Result<Tensor, TchError> {
    let rows = x.size()[1] as f64;
    let products = x.f_transpose(1, 2)?.f_bmm(x)?;
    products.f_div_scalar(rows)?.f_to_kind(Kind::Double)
}

/// Returns `[groups, rows, n]` less its mean over the rows, and that mean `[groups, n]`. Where the
/// layer has no bias, nothing is subtracted and the mean is zero.
fn centred(t: &Tensor, has_bias: bool) -> Result<(Tensor, Tensor), TchError> {
    if !has_bias {
        let (groups, _, n) = t.size3()?;
        return Ok((
            t.f_contiguous()?,
            Tensor::f_zeros([groups, n], (t.kind(), t.device()))?,
        ));
    }
    let mean = t.f_mean_dim(1i64, true, t.kind())?;
    Ok((t.f_sub(&mean)?, mean.f_squeeze_dim(1)?))
}
