//! What is doubtful about inputs and classes.

use datasets::InputSpec;

use super::found::{ClassCheck, ValueCheck};

/// Standard deviations from zero up to which the mean of a normalised channel is usual.
const USUAL_MEAN: f64 = 1.5;
/// The usual standard deviation of a normalised channel, times and divided by this.
const USUAL_STD: f64 = 4.0;
/// The fewest samples of a class that say something about it.
const FEWEST: usize = 3;
/// Share of the classes that have to be given as one other each to count as exchanged.
const MOST: f64 = 0.5;

/// Channels whose mean and deviation are far from those that the normalisation is made for. Those
/// of an input that `fits` the network need not be usual.
pub(super) fn of_inputs(input: &InputSpec, channels: &[ValueCheck], fits: bool) -> Vec<String> {
    let mut found = Vec::new();
    for of in channels {
        if !(of.min.is_finite() && of.max.is_finite()) {
            found.push(format!(
                "'{}' holds values that are no finite numbers.",
                of.name
            ));
        } else if of.min == of.max {
            found.push(format!("All values of '{}' are {}.", of.name, of.min));
        }
    }
    if input.is_row() || fits || !found.is_empty() {
        return found;
    }
    let is_normalised = input.normalise.std.iter().any(|&std| std != 1.0);
    let far = |of: &&ValueCheck| {
        let deviates = of.mean.abs() > USUAL_MEAN;
        deviates || of.std > USUAL_STD || of.std * USUAL_STD < 1.0
    };
    if let Some(of) = channels.iter().find(far).filter(|_| is_normalised) {
        found.push(format!(
            "The input's channel '{}' has the mean {:.2} and the standard deviation {:.2} after the normalisation, which is made \
             for 0 and 1. Either the images differ much from those that it was computed of, or scale, mean and std do not fit \
             each other (scale 255 for means from 0 to 1, scale 1 for means from 0 to 255).",
            of.name, of.mean, of.std
        ));
    }
    if let Some(of) = channels.iter().find(|of| of.max > 100.0) {
        found.push(format!(
            "The input's channel '{}' runs from {:.0} to {:.0}: bytes without a normalisation. Few networks take that; most take \
             imagenet, half or unit.",
            of.name, of.min, of.max
        ));
    }
    found
}

/// Classes that are all wrong, and labels that are exchanged.
pub(super) fn of_classes(classes: &[ClassCheck]) -> Vec<String> {
    let known: Vec<(usize, &ClassCheck)> = classes
        .iter()
        .enumerate()
        .filter(|(_, class)| class.read >= FEWEST)
        .collect();
    let wrong: Vec<&(usize, &ClassCheck)> =
        known.iter().filter(|(_, class)| class.right == 0).collect();
    if wrong.is_empty() {
        return Vec::new();
    }
    let named = wrong.iter().take(3).map(|(_, class)| {
        let mostly = class.mostly.as_ref();
        let given = mostly.map_or(String::new(), |(name, count)| {
            format!(" ({count} of {} given as '{name}')", class.read)
        });
        format!("'{}'{given}", class.name)
    });
    let named: Vec<String> = named.collect();
    let more = if wrong.len() > 3 { ", ..." } else { "" };
    let mut found = vec![format!(
        "{} of {} classes have no sample that is classified as labelled: {}{more}.",
        wrong.len(),
        known.len(),
        named.join(", ")
    )];
    if let Some(shift) = shift(classes, &known) {
        let (data, network) = match usize::try_from(shift) {
            Ok(shift) => (0, shift),
            Err(_) => (shift.unsigned_abs(), 0),
        };
        found.push(format!(
            "The labels are shifted by {shift}: what the data calls class {data}, the network calls class {network}. The classes of \
             a folder are sorted by name; a network with a class for the background has one more in front."
        ));
    } else if wrong.len() as f64 <= MOST * known.len() as f64 {
        return found;
    } else if let Some(name) = same(&wrong) {
        found.push(format!(
            "Most of these are given as '{name}', whatever they are: the values of the input do not fit the network."
        ));
    } else if is_exchanged(&wrong) {
        found.push(
            "Most classes are given as one other each: the network has its classes in another order than the data. Those of a \
             folder are sorted by name."
                .into(),
        );
    }
    found
}

/// The distance from labels to what the network gives, if it is the same for most classes.
fn shift(classes: &[ClassCheck], known: &[(usize, &ClassCheck)]) -> Option<isize> {
    let distances: Vec<isize> = known
        .iter()
        .filter_map(|(index, class)| {
            let (name, count) = class.mostly.as_ref()?;
            let given = classes.iter().position(|of| of.name == *name)?;
            (2 * count > class.read).then_some(given as isize - *index as isize)
        })
        .collect();
    let count = |distance: isize| distances.iter().filter(|&&of| of == distance).count();
    let usual = distances.iter().copied().filter(|&distance| distance != 0);
    let usual = usual.max_by_key(|&distance| count(distance))?;
    (count(usual) as f64 > MOST * known.len() as f64 && known.len() > 2).then_some(usual)
}

/// The class that most of these are given as.
fn same<'a>(wrong: &[&(usize, &'a ClassCheck)]) -> Option<&'a str> {
    let names = wrong.iter().filter_map(|(_, class)| class.mostly.as_ref());
    let names: Vec<&str> = names.map(|(name, _)| name.as_str()).collect();
    let count = |name: &str| names.iter().filter(|of| **of == name).count();
    let most = names.iter().copied().max_by_key(|name| count(name))?;
    (count(most) > 1 && count(most) as f64 > MOST * wrong.len() as f64).then_some(most)
}

/// Whether most samples of each class are given as one other class.
fn is_exchanged(wrong: &[&(usize, &ClassCheck)]) -> bool {
    wrong.iter().all(|(_, class)| {
        let mostly = class.mostly.as_ref();
        mostly.is_some_and(|(_, count)| 2 * count > class.read)
    })
}

#[cfg(test)]
mod tests {
    use datasets::InputSpec;

    use super::*;

    /// Classes 0, 1, ... that are given as `given`, nine of ten times.
    fn classes(given: &[usize]) -> Vec<ClassCheck> {
        let each = given.iter().enumerate();
        each.map(|(class, &given)| ClassCheck {
            name: format!("c{class}"),
            samples: [10; 3],
            read: 10,
            right: if given == class { 9 } else { 0 },
            mostly: Some((format!("c{given}"), 9)),
        })
        .collect()
    }

    #[test]
    fn shifted_and_exchanged_labels_are_found() {
        let check = |given: &[usize], words: &[&str]| {
            let found = of_classes(&classes(given)).join(" ");
            for word in words {
                assert!(found.contains(word), "{given:?}: no '{word}' in: {found}");
            }
            assert_eq!(found.is_empty(), words.is_empty(), "{given:?}: {found}");
        };
        check(&[0, 1, 2, 3], &[]);
        check(
            &[1, 2, 3, 3],
            &[
                "3 of 4 classes",
                "shifted by 1",
                "'c0' (9 of 10 given as 'c1')",
            ],
        );
        check(&[0, 0, 1, 2], &["3 of 4 classes", "shifted by -1"]);
        check(&[3, 2, 1, 0], &["4 of 4 classes", "another order"]);
        check(&[0, 1, 2, 0], &["1 of 4 classes", "'c3'"]);
        check(
            &[1, 1, 1, 1, 1],
            &["4 of 5 classes", "given as 'c1', whatever"],
        );
    }

    #[test]
    fn inputs_far_from_what_the_normalisation_is_made_for_are_found() {
        let check = |preset: &str, (mean, std, max): (f64, f64, f32), word: &str| {
            let channel = ValueCheck {
                name: "red".into(),
                dims: vec![4, 4],
                min: 0.0,
                max,
                mean,
                std,
            };
            let input = InputSpec::preset(preset, [3, 4, 4]).unwrap();
            let found = of_inputs(&input, std::slice::from_ref(&channel), false);
            let found = found.join(" ");
            assert!(found.contains(word), "{preset}: {found}");
            assert_eq!(found.is_empty(), word.is_empty(), "{preset}: {found}");
        };
        check("imagenet", (-0.3, 1.1, 2.6), "");
        check("imagenet", (-2.1, 0.02, 2.6), "made for 0 and 1");
        check(
            "none255",
            (110.0, 60.0, 255.0),
            "bytes without a normalisation",
        );
        check("unit", (0.4, 0.2, 1.0), "");
        let input = InputSpec::preset("none255", [3, 4, 4]).unwrap();
        let bytes = ValueCheck {
            name: "red".into(),
            dims: vec![4, 4],
            min: 0.0,
            max: 255.0,
            mean: 110.0,
            std: 60.0,
        };
        assert!(of_inputs(&input, &[bytes], true).is_empty());
        check("half", (f64::NAN, 1.0, f32::NAN), "no finite numbers");
        check("half", (0.0, 0.0, 0.0), "All values of 'red' are 0");
    }
}
