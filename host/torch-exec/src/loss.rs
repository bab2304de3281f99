//! Losses and accuracy.

use tch::{Kind, Reduction, Tensor};

use crate::ExecError;

/// Returns the mean cross-entropy of `logits` `[N, classes]` against `labels` `[N]` (64-bit
/// integers), with label smoothing by `smoothing` in `[0, 1)` (Szegedy et al., CVPR 2016).
///
/// # Errors
/// Errors of libtorch: shapes that do not fit, a label out of range.
pub fn cross_entropy(
    logits: &Tensor,
    labels: &Tensor,
    smoothing: f64,
) -> Result<Tensor, ExecError> {
    logits
        .f_cross_entropy_loss(labels, None::<&Tensor>, Reduction::Mean, -100, smoothing)
        .map_err(ExecError::tensor("cross-entropy"))
}

/// Returns the Kullback-Leibler divergence from the teacher's to the student's class
/// distribution, averaged over the batch. Both distributions are softened by `temperature`, and
/// the divergence is multiplied by its square (Hinton et al., arXiv 1503.02531). Shapes
/// `[N, classes]`; no gradient flows to the teacher.
///
/// # Errors
/// Errors of libtorch: shapes that do not fit.
pub fn distillation(
    student: &Tensor,
    teacher: &Tensor,
    temperature: f64,
) -> Result<Tensor, ExecError> {
    let compute = || {
        let student = student
            .f_div_scalar(temperature)?
            .f_log_softmax(-1, Kind::Float)?;
        let teacher = teacher
            .f_detach()?
            .f_div_scalar(temperature)?
            .f_log_softmax(-1, Kind::Float)?;
        let sum = student.f_kl_div(&teacher, Reduction::Sum, true)?;
        let rows = student.size().first().copied().unwrap_or(1).max(1);
        sum.f_mul_scalar(temperature * temperature / rows as f64)
    };
    compute().map_err(ExecError::tensor("distillation loss"))
}

/// Returns the number of rows of `logits` `[N, classes]` whose largest entry is at `labels`
/// `[N]`.
///
/// # Errors
/// Errors of libtorch: shapes that do not fit.
pub fn accuracy(logits: &Tensor, labels: &Tensor) -> Result<usize, ExecError> {
    let compute = || {
        let right = logits
            .f_argmax(-1, false)?
            .f_eq_tensor(labels)?
            .f_sum(Kind::Int64)?;
        right.f_int64_value(&[])
    };
    compute()
        .map(|n| usize::try_from(n).unwrap_or(0))
        .map_err(ExecError::tensor("accuracy"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(t: &Tensor) -> f64 {
        t.double_value(&[])
    }

    #[test]
    fn smoothed_cross_entropy_mixes_the_label_with_the_uniform_distribution() {
        let logits = Tensor::from_slice(&[1f32, 2., 0.5]).reshape([1, 3]);
        let log_sum = (1f64.exp() + 2f64.exp() + 0.5f64.exp()).ln();
        let uniform = log_sum - (1. + 2. + 0.5) / 3.;
        let expected = 0.9 * (log_sum - 2.) + 0.1 * uniform;
        let got = cross_entropy(&logits, &Tensor::from_slice(&[1i64]), 0.1).unwrap();
        assert!((value(&got) - expected).abs() < 1e-6);
    }

    #[test]
    fn distillation_is_the_scaled_divergence_and_zero_for_equal_logits() {
        let student = Tensor::from_slice(&[0f32, 0., 1., 0.]).reshape([2, 2]);
        let teacher = Tensor::from_slice(&[2f32, 0., 1., 0.]).reshape([2, 2]);
        let p = 1f64 / (1. + (-1f64).exp());
        let expected = 4. * (p * (p / 0.5).ln() + (1. - p) * ((1. - p) / 0.5).ln()) / 2.;
        assert!((value(&distillation(&student, &teacher, 2.).unwrap()) - expected).abs() < 1e-6);
        assert!(value(&distillation(&teacher, &teacher, 2.).unwrap()).abs() < 1e-7);
    }

    #[test]
    fn accuracy_counts_the_rows_whose_largest_logit_is_the_label() {
        let logits = Tensor::from_slice(&[0f32, 1., 3., 2., 5., 6.]).reshape([3, 2]);
        assert_eq!(
            accuracy(&logits, &Tensor::from_slice(&[1i64, 1, 1])).unwrap(),
            2
        );
    }
}
