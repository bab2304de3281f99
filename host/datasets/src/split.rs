//! Splits and subsets of a data set.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

use crate::array::hex;
use crate::{ArrayDataset, DataError, DataSpec, Dataset, InputSpec, Notes, Portion};

/// The three disjoint splits of a data set.
#[derive(Clone)]
pub struct Splits {
    /// Training data.
    pub train: Arc<dyn Dataset>,
    /// Data for accuracies during the search, held out of the training data.
    pub search: Arc<dyn Dataset>,
    /// Data for the final accuracy only.
    pub test: Arc<dyn Dataset>,
    /// Files that were left out, and warnings.
    pub notes: Notes,
}

impl std::fmt::Debug for Splits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Splits")
            .field("train", &self.train.identity())
            .field("search", &self.search.identity())
            .field("test", &self.test.identity())
            .finish()
    }
}

/// Splits of a data set as stored.
pub(crate) struct StoredSplits {
    pub train: Arc<dyn Dataset>,
    /// A validation part.
    pub validation: Option<Arc<dyn Dataset>>,
    pub test: Option<Arc<dyn Dataset>>,
}

impl StoredSplits {
    /// Splits of a source with parts. A validation part without a test part is the test part, as in
    /// ImageNet's layout.
    pub fn of_parts(
        train: Arc<dyn Dataset>,
        validation: Option<Arc<dyn Dataset>>,
        test: Option<Arc<dyn Dataset>>,
    ) -> Self {
        let (validation, test) = match test {
            Some(test) => (validation, Some(test)),
            None => (None, validation),
        };
        Self {
            train,
            validation,
            test,
        }
    }

    pub fn with_test(train: ArrayDataset, test: ArrayDataset) -> Self {
        Self {
            train: Arc::new(train),
            validation: None,
            test: Some(Arc::new(test)),
        }
    }
}

/// A selection of images of another data set.
#[derive(Clone)]
pub struct Subset {
    base: Arc<dyn Dataset>,
    indices: Arc<[usize]>,
    name: String,
}

impl Subset {
    /// Selects the images of `base` at `indices`, in that order. `name` appears in the identity.
    pub fn new(base: Arc<dyn Dataset>, indices: Vec<usize>, name: &str) -> Result<Self, DataError> {
        if let Some(&index) = indices.iter().find(|&&index| index >= base.len()) {
            let reason = format!("image {index} does not exist; there are {}", base.len());
            return Err(DataError::Split {
                data: base.identity(),
                reason,
            });
        }
        Ok(Self {
            base,
            indices: indices.into(),
            name: name.to_owned(),
        })
    }

    /// Indices into the underlying data set.
    pub fn indices(&self) -> &[usize] {
        &self.indices
    }

    /// Draws `count` images of `base`, stratified by class, or all if there are fewer.
    pub fn stratified(
        base: Arc<dyn Dataset>,
        count: usize,
        seed: u64,
        name: &str,
    ) -> Result<Self, DataError> {
        let all: Vec<usize> = (0..base.len()).collect();
        let (taken, _) = stratify(&*base, &all, count, seed);
        Self::new(base, taken, name)
    }
}

impl Dataset for Subset {
    fn len(&self) -> usize {
        self.indices.len()
    }

    fn classes(&self) -> &[String] {
        self.base.classes()
    }

    fn image_shape(&self) -> [usize; 3] {
        self.base.image_shape()
    }

    fn label(&self, index: usize) -> usize {
        self.base.label(self.indices[index])
    }

    fn decode(&self, index: usize, out: &mut [f32]) -> Result<(), DataError> {
        self.base.decode(self.indices[index], out)
    }

    fn decode_random_crop(
        &self,
        index: usize,
        rng: &mut ChaCha8Rng,
        out: &mut [f32],
    ) -> Result<(), DataError> {
        self.base.decode_random_crop(self.indices[index], rng, out)
    }

    fn target_len(&self) -> usize {
        self.base.target_len()
    }

    fn target(&self, index: usize, out: &mut [f32]) -> Result<(), DataError> {
        self.base.target(self.indices[index], out)
    }

    fn file(&self, index: usize) -> Option<&Path> {
        self.base.file(self.indices[index])
    }

    fn content_hash(&self, index: usize) -> Option<u64> {
        self.base.content_hash(self.indices[index])
    }

    fn input(&self) -> &InputSpec {
        self.base.input()
    }

    fn identity(&self) -> String {
        let mut hasher = Sha256::new();
        for &index in self.indices.iter() {
            hasher.update((index as u64).to_le_bytes());
        }
        let hash = hex(&hasher.finalize());
        format!(
            "{}: {} images (indices {}) of {}",
            self.name,
            self.len(),
            &hash[..16],
            self.base.identity()
        )
    }
}

/// Divides `indices` of `data` into (`count` taken, the rest), both ascending. Every class gets
/// the same share, rounded by the largest remainder; `seed` draws the members of a class.
fn stratify(
    data: &dyn Dataset,
    indices: &[usize],
    count: usize,
    seed: u64,
) -> (Vec<usize>, Vec<usize>) {
    let total = indices.len();
    let count = count.min(total);
    let mut members = vec![Vec::new(); data.classes().len()];
    for &index in indices {
        members[data.label(index)].push(index);
    }
    let mut shares: Vec<usize> = members
        .iter()
        .map(|m| m.len() * count / total.max(1))
        .collect();
    let mut by_remainder: Vec<usize> = (0..members.len()).collect();
    by_remainder.sort_by_key(|&class| {
        (
            std::cmp::Reverse(members[class].len() * count % total.max(1)),
            class,
        )
    });
    let missing = count - shares.iter().sum::<usize>();
    for &class in by_remainder.iter().take(missing) {
        shares[class] += 1;
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (mut taken, mut rest) = (Vec::with_capacity(count), Vec::with_capacity(total - count));
    for (indices, share) in members.iter_mut().zip(shares) {
        indices.shuffle(&mut rng);
        taken.extend_from_slice(&indices[..share]);
        rest.extend_from_slice(&indices[share..]);
    }
    taken.sort_unstable();
    rest.sort_unstable();
    (taken, rest)
}

/// Share of the data that becomes the test split if there is no test part.
const TEST_SHARE: f64 = 0.2;
/// Mixed into the seed so that the splits are drawn independently.
const TEST_DRAW: u64 = 0x7e57;
const SEARCH_DRAW: u64 = 0x5ea2c4;

/// Makes the three splits.
pub(crate) fn splits(spec: &DataSpec, stored: StoredSplits) -> Result<Splits, DataError> {
    let whole = stored.train;
    let fail = |reason: String| DataError::Split {
        data: spec.to_string(),
        reason,
    };
    let mut pool: Vec<usize> = (0..whole.len()).collect();
    let test = match stored.test {
        Some(test) => limited(test, spec.test, spec.seed, "test")?,
        None => {
            let count = spec
                .test
                .unwrap_or((whole.len() as f64 * TEST_SHARE).round() as usize);
            let (taken, rest) = stratify(&*whole, &pool, count, spec.seed ^ TEST_DRAW);
            pool = rest;
            Arc::new(Subset::new(whole.clone(), taken, "test")?)
        }
    };
    if let Some(most) = spec.train {
        pool = stratify(&*whole, &pool, most, spec.seed).0;
    }
    let search = match stored.validation {
        Some(validation) => {
            let most = match spec.search {
                Portion::Count(count) => Some(count),
                Portion::Fraction(_) => None,
            };
            limited(validation, most, spec.seed, "search")?
        }
        None => {
            let count = spec.search.of(pool.len());
            if count == 0 || count >= pool.len() {
                let reason = format!(
                    "search={count} of {} training images leaves one of the two empty",
                    pool.len()
                );
                return Err(fail(reason));
            }
            let (taken, rest) = stratify(&*whole, &pool, count, spec.seed ^ SEARCH_DRAW);
            pool = rest;
            Arc::new(Subset::new(whole.clone(), taken, "search")?)
        }
    };
    let splits = Splits {
        train: Arc::new(Subset::new(whole, pool, "train")?),
        search,
        test,
        notes: Notes::default(),
    };
    for (name, part) in [
        ("train", &splits.train),
        ("search", &splits.search),
        ("test", &splits.test),
    ] {
        if part.is_empty() {
            return Err(fail(format!("the {name} split would be empty")));
        }
    }
    Ok(splits)
}

fn limited(
    data: Arc<dyn Dataset>,
    most: Option<usize>,
    seed: u64,
    name: &str,
) -> Result<Arc<dyn Dataset>, DataError> {
    match most {
        Some(most) if most < data.len() => {
            Ok(Arc::new(Subset::stratified(data, most, seed, name)?))
        }
        _ => Ok(data),
    }
}

/// Duplicates below one in this many images cause no warning.
const RARE: usize = 1000;

/// Returns warnings about faults that make accuracies doubtful: classes without images, images in
/// two splits or with two classes.
pub(crate) fn doubts(splits: &Splits) -> Vec<String> {
    let mut warnings = Vec::new();
    for (name, part) in [("training", &splits.train), ("test", &splits.test)] {
        let mut empty = vec![true; part.classes().len()];
        (0..part.len()).for_each(|i| empty[part.label(i)] = false);
        let names = part.classes().iter().zip(&empty);
        let names: Vec<&str> = names
            .filter_map(|(name, empty)| empty.then_some(name.as_str()))
            .collect();
        if !names.is_empty() {
            let first = names[..names.len().min(3)].join("', '");
            warnings.push(format!(
                "{} of {} classes have no {name} image (first: '{first}').",
                names.len(),
                empty.len()
            ));
        }
    }
    let mut labels: HashMap<u64, usize> = HashMap::new();
    let mut contradicted = HashSet::new();
    for i in 0..splits.train.len() {
        let Some(content) = splits.train.content_hash(i) else {
            return warnings;
        };
        let label = splits.train.label(i);
        if *labels.entry(content).or_insert(label) != label {
            contradicted.insert(content);
        }
    }
    let many = |count: usize, of: usize| count > 0 && count * RARE >= of;
    if many(contradicted.len(), splits.train.len()) {
        warnings.push(format!(
            "{} training images occur under more than one class.",
            contradicted.len()
        ));
    }
    for (name, part) in [("search", &splits.search), ("test", &splits.test)] {
        let contents = (0..part.len()).filter_map(|i| part.content_hash(i));
        let twice = contents.filter(|c| labels.contains_key(c)).count();
        if many(twice, part.len()) {
            warnings.push(format!(
                "{twice} of {} images of the {name} split are training images too, so accuracies on it \
                 are too high. Remove the duplicates.",
                part.len()
            ));
        }
    }
    warnings
}
