//! Whether a network that is given as trained classifies the data better than a guess: where it does not, labels or
//! preprocessing do not fit it, and an hour of training would be for nothing.

use serde::{Deserialize, Serialize};

/// How sure it must be that a network is as bad as that.
const CONFIDENCE: f64 = 0.95;

/// How many times the odds of a guess among the classes count as a guess still.
const ODDS: f64 = 1.5;

/// An accuracy below which no network is worth pruning, however many classes there are.
const USELESS: f64 = 0.02;

/// What a network got right of a part of the data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Hits {
    pub correct: usize,
    pub total: usize,
    pub classes: usize,
    /// Share of the most frequent class among these images, 0 to 1.
    pub majority: f64,
}

impl Hits {
    /// The accuracy up to which a network is no better than a guess.
    fn guess(&self) -> f64 {
        let odds = ODDS / (self.classes.max(2) - 1) as f64;
        (odds / (1.0 + odds)).max(self.majority).max(USELESS)
    }

    /// What the user should know, where the accuracy is surely that of a guess.
    pub fn warning(&self) -> Option<String> {
        let limit = upper_limit(self.correct, self.total, CONFIDENCE);
        (limit <= self.guess()).then(|| {
            format!(
                "The network classifies {} of {} images right, {:.2} % (surely no more than {:.2} %), no better than a guess among {} \
                 classes whose most frequent one has {:.2} %. Unless it is not trained at all, labels or preprocessing probably do not fit it. Check that the values \
                 are normalised as in its training (normalise), that the channels are in its order (RGB or BGR), and that the \
                 classes are in its order (those of a folder are sorted by name).",
                self.correct,
                self.total,
                100.0 * self.correct as f64 / self.total.max(1) as f64,
                100.0 * limit,
                self.classes,
                100.0 * self.majority,
            )
        })
    }
}

/// The one-sided upper limit of a probability of which `correct` of `total` trials are known, exact for the binomial distribution
/// (Clopper and Pearson, Biometrika 26, 1934): the probability at which as few hits or fewer come up with `1 - confidence`. 1 of
/// no trials.
fn upper_limit(correct: usize, total: usize, confidence: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    if correct >= total {
        return high;
    }
    // Halving until the numbers meet: the chance of few hits falls as the probability grows.
    while high - low > 1e-9 {
        let middle = f64::midpoint(low, high);
        if at_most(correct, total, middle) > 1.0 - confidence {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// The chance of at most `hits` in `trials` of probability `p`, strictly between 0 and 1.
fn at_most(hits: usize, trials: usize, p: f64) -> f64 {
    // In logarithms, lest the first terms vanish and all others with them.
    let odds = (p / (1.0 - p)).ln();
    let mut log_mass = trials as f64 * (1.0 - p).ln();
    let mut sum = 0.0;
    for k in 0..=hits.min(trials) {
        sum += log_mass.exp();
        log_mass += ((trials - k) as f64 / (k + 1) as f64).ln() + odds;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::{Hits, at_most, upper_limit};

    #[test]
    fn chances_of_few_hits_are_those_of_the_binomial_distribution() {
        for (hits, trials, p, want) in [
            (0, 10, 0.5, 0.000_976_562_5),
            (5, 10, 0.5, 0.623_046_875),
            (10, 10, 0.3, 1.0),
            (2, 4, 0.25, 0.949_218_75),
            // Terms far below the smallest number there is.
            (1000, 2000, 0.5, 0.508919505572),
        ] {
            let found = at_most(hits, trials, p);
            assert!(
                (found - want).abs() < 1e-9,
                "{hits} of {trials} at {p}: {found}"
            );
        }
    }

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
    fn only_what_is_surely_a_guess_is_warned_of() {
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
            // Too few images to tell.
            (hits(2, 20, 10, 0.1), false),
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
        }
        let text = hits(100, 1000, 10, 0.1).warning().unwrap();
        for word in ["100 of 1000", "10.00 %", "normalise", "RGB or BGR", "order"] {
            assert!(text.contains(word), "'{text}' does not say '{word}'");
        }
    }
}
