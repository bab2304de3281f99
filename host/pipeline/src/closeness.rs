//! How close outputs of a network in integers are to others.

/// Least ratio of the outputs on the device to their distance from those on the host, decibels.
/// Values that fall between two integers are rounded either way; a layer that the runtime computes
/// in another precision than the file says is farther off.
pub(crate) const HOST_SQNR_DB: f64 = 25.0;

/// The closeness of outputs `[images, classes]` to others.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Closeness {
    /// Share of images with the same greatest output.
    pub agreement: f64,
    /// Ratio of the outputs to their error, decibels; infinite without an error.
    pub sqnr_db: f64,
}

/// Compares `got` with `expected`, `classes` values an image. Outputs of another length or that
/// are not finite agree nowhere.
pub(crate) fn closeness(got: &[f32], expected: &[f32], classes: usize) -> Closeness {
    let finite = got.iter().all(|v| v.is_finite());
    if got.len() != expected.len() || got.is_empty() || classes == 0 || !finite {
        return Closeness {
            agreement: 0.0,
            sqnr_db: f64::NEG_INFINITY,
        };
    }
    let images = got.chunks(classes).zip(expected.chunks(classes));
    let same = images.filter(|(a, b)| greatest(a) == greatest(b)).count();
    let squares = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>();
    let signal = squares(&mut expected.iter().map(|&v| f64::from(v)));
    let differences = got.iter().zip(expected);
    let noise = squares(&mut differences.map(|(a, b)| f64::from(a - b)));
    Closeness {
        agreement: same as f64 / (got.len() / classes) as f64,
        sqnr_db: 10.0 * (signal / noise).log10(),
    }
}

/// The index of the greatest value, the first of several.
pub(crate) fn greatest(values: &[f32]) -> usize {
    let all = values.iter().enumerate();
    let best = all.reduce(|best, this| if this.1 > best.1 { this } else { best });
    best.map_or(0, |(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::closeness;

    #[test]
    fn closeness_has_known_values() {
        let expected = [3.0, 4.0, 0.0, 1.0];
        let exact = closeness(&expected, &expected, 2);
        assert_eq!((exact.agreement, exact.sqnr_db), (1.0, f64::INFINITY));
        // The error is a tenth of the signal, one of two images changes its class.
        let off = closeness(&[3.0, 4.0, 1.2, 1.0], &[3.0, 4.0, 0.0, 1.0], 2);
        assert_eq!(off.agreement, 0.5);
        assert!((off.sqnr_db - 10.0 * (26.0f64 / 1.44).log10()).abs() < 1e-6);
    }

    #[test]
    fn what_cannot_be_compared_agrees_nowhere() {
        for got in [&[1.0][..], &[f32::NAN, 1.0], &[]] {
            let of = closeness(got, &[1.0, 2.0], 2);
            assert_eq!((of.agreement, of.sqnr_db), (0.0, f64::NEG_INFINITY));
        }
    }
}
