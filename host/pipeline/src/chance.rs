//! A comparison of a network that is given as trained with a guess. If it is no better, labels or
//! preprocessing do not fit it, and an hour of training would be wasted.

use datasets::Dataset;
use serde::{Deserialize, Serialize};
use statrs::function::beta::inv_beta_reg;

/// Confidence of the verdict that a network is no better than a guess.
const CONFIDENCE: f64 = 0.95;

/// Odds up to this multiple of those of a random class count as a guess.
const ODDS: f64 = 1.5;

/// An accuracy up to which any network counts as guessing, whatever the number of classes.
const USELESS: f64 = 0.02;

/// The correct answers of a network on a part of the data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Hits {
    pub correct: usize,
    pub total: usize,
    pub classes: usize,
    /// Share of the most frequent class among these images, 0 to 1.
    pub majority: f64,
}

/// Why an accuracy is no evidence of training.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Doubt {
    /// All images are of one class.
    OneClass,
    /// Even its upper limit is that of a guess.
    Guess { limit: f64 },
    /// It is not above that of a guess, on too few images to be certain.
    PerhapsGuess,
}

impl Hits {
    /// `correct` answers on `images`. Only the labels are read.
    pub fn among(images: &dyn Dataset, correct: usize) -> Self {
        let all: Vec<usize> = (0..images.len()).collect();
        Self::among_drawn(images, &all, correct)
    }

    /// `correct` answers on the images at `indices`.
    pub fn among_drawn(images: &dyn Dataset, indices: &[usize], correct: usize) -> Self {
        let classes = images.classes().len();
        let mut counts = vec![0usize; classes];
        for &index in indices {
            if let Some(count) = counts.get_mut(images.label(index)) {
                *count += 1;
            }
        }
        let most = counts.into_iter().max().unwrap_or(0);
        Self {
            correct,
            total: indices.len(),
            classes,
            majority: most as f64 / indices.len().max(1) as f64,
        }
    }

    /// The share of correct answers, 0 to 1.
    pub fn share(&self) -> f64 {
        self.correct as f64 / self.total.max(1) as f64
    }

    /// The 95 % interval of the share.
    pub fn interval(&self) -> (f64, f64) {
        wilson(self.correct, self.total)
    }

    /// The figures in words.
    pub fn figures(&self) -> String {
        let (low, high) = self.interval();
        format!(
            "{} of {} images right, {:.2} % (95 % interval {:.2} to {:.2})",
            self.correct,
            self.total,
            100.0 * self.share(),
            100.0 * low,
            100.0 * high
        )
    }

    /// The figures of a guess, in words.
    pub fn against(&self) -> String {
        format!(
            "{} classes, the most frequent one has {:.2} %",
            self.classes,
            100.0 * self.majority
        )
    }

    /// The accuracy up to which a network is no better than a guess.
    fn guess(&self) -> f64 {
        let odds = ODDS / (self.classes.max(2) - 1) as f64;
        (odds / (1.0 + odds)).max(self.majority).max(USELESS)
    }

    fn doubt(&self) -> Option<Doubt> {
        if self.total == 0 {
            return None;
        }
        if self.majority >= 1.0 {
            return Some(Doubt::OneClass);
        }
        let limit = upper_limit(self.correct, self.total, CONFIDENCE);
        if limit <= self.guess() {
            return Some(Doubt::Guess { limit });
        }
        let chance = 1.0 / self.classes.max(1) as f64;
        (self.share() <= chance.max(self.majority)).then_some(Doubt::PerhapsGuess)
    }

    /// A warning about a network that is given as trained, tried on the search split.
    pub fn warning(&self) -> Option<String> {
        let (surely, guess) = match self.doubt()? {
            Doubt::OneClass => {
                return Some(format!(
                    "All {} images of the search split are of one class, so no accuracy on it tells a good network from a bad \
                     one. Give a data set whose classes all have images, or a larger search split (search=N).",
                    self.total
                ));
            }
            Doubt::Guess { limit } => (
                format!(", surely no more than {:.2} %", 100.0 * limit),
                "no better than a guess",
            ),
            Doubt::PerhapsGuess => (
                String::new(),
                "not above a guess, on too few images to be sure",
            ),
        };
        Some(format!(
            "The network classifies {}{surely}: {guess} among {}. Unless it is not trained at all, labels or preprocessing \
             probably do not fit it. Check that the values are normalised as in its training (input.preset), that the channels \
             are in its order (RGB or BGR), and that the classes are in its order (those of a folder are sorted by name).",
            self.figures(),
            self.against(),
        ))
    }

    /// A warning about the network `label`, tested at the end.
    pub fn final_warning(&self, label: &str) -> Option<String> {
        let guess = match self.doubt()? {
            Doubt::OneClass => {
                return Some(format!(
                    "All {} test images are of one class: the test accuracy of '{label}' says nothing.",
                    self.total
                ));
            }
            Doubt::Guess { .. } => "no better than a guess",
            Doubt::PerhapsGuess => "not above a guess, on too few images to be sure",
        };
        Some(format!(
            "On the test set '{label}' has {}: {guess} among {}. It is unusable as it is.",
            self.figures(),
            self.against(),
        ))
    }
}

/// The 95 % interval of a probability after `correct` successes in `total` trials (Wilson,
/// Journal of the American Statistical Association 22, 1927); 0 to 1 without trials.
pub(crate) fn wilson(correct: usize, total: usize) -> (f64, f64) {
    /// The quantile of the normal distribution at 97.5 %.
    const Z: f64 = 1.959_963_984_540_054;
    if total == 0 {
        return (0.0, 1.0);
    }
    let n = total as f64;
    let p = correct as f64 / n;
    let middle = p + Z * Z / (2.0 * n);
    let half = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + Z * Z / n;
    (
        ((middle - half) / scale).max(0.0),
        ((middle + half) / scale).min(1.0),
    )
}

/// The one-sided upper limit of a probability after `correct` successes in `total` trials, exact
/// for the binomial distribution (Clopper and Pearson, Biometrika 26, 1934): the probability at
/// which so few successes have the chance `1 - confidence`. 1 without trials.
fn upper_limit(correct: usize, total: usize, confidence: f64) -> f64 {
    if correct >= total {
        return 1.0;
    }
    // The limit is a quantile of a beta distribution.
    inv_beta_reg((correct + 1) as f64, (total - correct) as f64, confidence)
}

#[cfg(test)]
mod tests {
    use super::{Hits, upper_limit, wilson};

    #[test]
    fn upper_limits_have_their_known_answers() {
        for (correct, total, want) in [
            (0, 0, 1.0),
            (5, 5, 1.0),
            (0, 10, 0.258_865_5),
            (0, 1000, 0.002_991_2),
            (10, 100, 0.163_717_6),
            (100, 1000, 0.116_991_5),
        ] {
            let found = upper_limit(correct, total, 0.95);
            assert!((found - want).abs() < 1e-6, "{correct} of {total}: {found}");
        }
    }

    #[test]
    fn intervals_have_their_known_answers() {
        for (correct, total, low, high) in [
            (0, 0, 0.0, 1.0),
            (0, 10, 0.0, 0.277_533),
            (5, 10, 0.236_593, 0.763_407),
            (10, 100, 0.055_229, 0.174_366),
            (917, 1000, 0.898_264, 0.932_545),
            (3, 3, 0.438_503, 1.0),
        ] {
            let (found_low, found_high) = wilson(correct, total);
            assert!(
                (found_low - low).abs() < 1e-6 && (found_high - high).abs() < 1e-6,
                "{correct} of {total}: {found_low} to {found_high}"
            );
        }
    }

    #[test]
    fn a_split_of_one_class_is_called_that_and_no_guess() {
        let hits = Hits {
            correct: 3,
            total: 3,
            classes: 10,
            majority: 1.0,
        };
        for text in [
            hits.warning().unwrap(),
            hits.final_warning("pruned").unwrap(),
        ] {
            assert!(
                text.contains("All 3") && text.contains("one class"),
                "{text}"
            );
            assert!(!text.contains("guess"), "{text}");
        }
    }

    #[test]
    fn what_is_a_guess_or_not_above_one_is_warned_of() {
        let hits = |correct, total, classes, majority| Hits {
            correct,
            total,
            classes,
            majority,
        };
        for (case, warned) in [
            (hits(100, 1000, 10, 0.1), true),
            (hits(124, 1000, 10, 0.1), true),
            (hits(200, 1000, 10, 0.1), false),
            // Exactly chance, on too few images to be sure.
            (hits(2, 20, 10, 0.1), true),
            (hits(6, 20, 10, 0.1), false),
            // No better than always answering the same.
            (hits(12, 20, 10, 0.6), true),
            (hits(0, 0, 10, 0.0), false),
            // Always the most frequent class.
            (hits(720, 1000, 10, 0.75), true),
            (hits(800, 1000, 10, 0.75), false),
            // Two classes, swapped or guessed, and a modest network.
            (hits(80, 1000, 2, 0.5), true),
            (hits(500, 1000, 2, 0.5), true),
            (hits(650, 1000, 2, 0.5), false),
            // Many classes.
            (hits(1, 1000, 1000, 0.001), true),
            (hits(300, 1000, 1000, 0.001), false),
        ] {
            assert_eq!(case.warning().is_some(), warned, "{case:?}");
            assert_eq!(case.final_warning("pruned").is_some(), warned, "{case:?}");
        }
        let text = hits(100, 1000, 10, 0.1).warning().unwrap();
        for word in ["100 of 1000", "10.00 %", "normalise", "RGB or BGR", "order"] {
            assert!(text.contains(word), "'{text}' does not say '{word}'");
        }
    }
}
