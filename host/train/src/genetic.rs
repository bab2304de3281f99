//! Genetic selection of the units that a group keeps.

use std::cmp::Ordering;

use channels::Analysis;
use onnx_graph::Graph;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::TchError;

use crate::TrainError;
use crate::obs::{Reader, StructuredObs};

/// Candidates that compete to become a parent.
const TOURNAMENT: usize = 3;

/// Chooses which units a group keeps at given widths by a genetic algorithm (Hu et al., arXiv
/// 1805.11394): the fitness of a selection is the squared error that it leaves in the sums of the
/// layers behind, once these are refitted. That is a quadratic form of the inputs' products, which
/// are computed once, so no network is run.
///
/// The first candidate is the selection by importance, and the best one survives: the result is
/// never worse. Groups do not influence each other here, unlike in the paper, whose products are
/// those of a network that is already pruned.
///
/// # Examples
/// ```
/// use channels::{Importance, analyse};
/// use datasets::{DataSpec, InputSpec};
/// use train::{GeneticSelection, Runtime, StructuredObs, draw_batches};
///
/// let graph = model_zoo::build("shapes_net", &model_zoo::ZooConfig::default())?;
/// let analysis = analyse(&graph)?;
/// let spec: DataSpec = "shapes:train=80,test=20".parse()?;
/// let splits = datasets::open(&spec, &InputSpec::preset("half", [3, 32, 32])?)?;
/// let batches = draw_batches(&*splits.train, &graph, 64, 1, Runtime::default().device)?;
/// let obs = StructuredObs::new(&batches, 1);
/// let order = obs.scores(&graph, &analysis)?.order();
///
/// let half: Vec<usize> = analysis.groups().iter().map(|g| g.channels.div_ceil(2)).collect();
/// let genetic = GeneticSelection {
///     generations: 5,
///     ..GeneticSelection::default()
/// };
/// let selection = genetic.select((&graph, &analysis), &obs, &order, &half)?;
/// for (by_importance, chosen) in selection.errors.iter().flatten() {
///     assert!(chosen <= by_importance);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GeneticSelection {
    /// Selections alive at a time.
    pub population: usize,
    /// Rounds of selection, crossover and mutation.
    pub generations: usize,
    /// Seed of all draws.
    pub seed: u64,
}

impl Default for GeneticSelection {
    fn default() -> Self {
        Self {
            population: 24,
            generations: 40,
            seed: 0,
        }
    }
}

/// The units chosen at certain widths.
#[derive(Debug, Clone, PartialEq)]
pub struct Selection {
    /// Per group the units, those that are kept first.
    pub order: Vec<Vec<usize>>,
    /// Per group the error by importance and that of the selection, as shares of the sums'
    /// energy, added up over the layers behind. `None` where there is nothing to choose.
    pub errors: Vec<Option<(f64, f64)>>,
}

impl GeneticSelection {
    /// Chooses the units of every group that is cut at `widths`. `order` is the one by importance.
    /// A group that is whole or removed keeps its order, and so does one that no layer reads
    /// through weights alone.
    ///
    /// # Errors
    /// [`TrainError::Channels`] if `order` or `widths` do not fit the groups; errors of running the
    /// network.
    pub fn select(
        &self,
        (graph, analysis): (&Graph, &Analysis),
        obs: &StructuredObs<'_>,
        order: &[Vec<usize>],
        widths: &[usize],
    ) -> Result<Selection, TrainError> {
        channels::PrunePlan::from_widths(analysis, order, widths)?;
        let readers = obs.readers(graph, analysis)?;
        let mut selection = Selection {
            order: order.to_vec(),
            errors: vec![None; order.len()],
        };
        for (group, readers) in readers.iter().enumerate() {
            let (order, width) = (&order[group], widths[group]);
            if readers.is_empty() || width == 0 || width >= order.len() {
                continue;
            }
            let seed = self.seed.wrapping_add(group as u64);
            let evolved = tch::no_grad(|| self.evolve(readers, order, width, seed));
            let name = &analysis.groups()[group].name;
            let failed = format!("the selection of group '{name}'");
            let evolved = evolved.map_err(torch_exec::ExecError::tensor(failed))?;
            if let Some((by_importance, best)) = evolved {
                selection.errors[group] = Some((by_importance, best.error));
                let is_dropped = |unit: &usize| best.dropped.contains(unit);
                let (dropped, mut kept): (Vec<usize>, Vec<usize>) =
                    order.iter().copied().partition(is_dropped);
                kept.extend(dropped);
                selection.order[group] = kept;
            }
        }
        Ok(selection)
    }

    /// The error by importance, and the best selection. `None` if rounding errors leave no figure.
    fn evolve(
        &self,
        readers: &[Reader],
        order: &[usize],
        width: usize,
        seed: u64,
    ) -> Result<Option<(f64, Candidate)>, TchError> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let candidate = |mut dropped: Vec<usize>| -> Result<Candidate, TchError> {
            dropped.sort_unstable();
            let mut error = 0.0;
            for reader in readers {
                error += reader.error_of(&dropped)?;
            }
            Ok(Candidate { dropped, error })
        };
        let first = candidate(order[width..].to_vec())?;
        if !first.error.is_finite() {
            return Ok(None);
        }
        let by_importance = first.error;
        let mut population = vec![first.clone()];
        while population.len() < self.population {
            // Half of them near the first, the others anywhere.
            let mut dropped = first.dropped.clone();
            if population.len() % 2 == 0 {
                let mut all = order.to_vec();
                all.shuffle(&mut rng);
                dropped = all.split_off(width);
            } else {
                mutate(&mut dropped, order, &mut rng);
            }
            population.push(candidate(dropped)?);
        }
        for _ in 0..self.generations {
            population.sort_by(Candidate::order);
            let mut next = vec![population[0].clone()];
            while next.len() < self.population {
                let mut child = crossed(&population, &mut rng);
                mutate(&mut child, order, &mut rng);
                next.push(candidate(child)?);
            }
            population = next;
        }
        let best = population.into_iter().min_by(Candidate::order);
        Ok(best.map(|best| (by_importance, best)))
    }
}

/// Units to drop, ascending.
#[derive(Clone)]
struct Candidate {
    dropped: Vec<usize>,
    error: f64,
}

impl Candidate {
    fn order(&self, other: &Self) -> Ordering {
        self.error.total_cmp(&other.error)
    }
}

/// Drops what both parents drop, and some of what one of them drops.
fn crossed(population: &[Candidate], rng: &mut ChaCha8Rng) -> Vec<usize> {
    let mut parent = || {
        let drawn = (0..TOURNAMENT).filter_map(|_| population.choose(rng));
        let best = drawn.min_by(|a, b| a.order(b));
        best.map(|of| of.dropped.clone()).unwrap_or_default()
    };
    let (one, other) = (parent(), parent());
    let (mut child, mut rest): (Vec<usize>, Vec<usize>) =
        one.iter().copied().partition(|unit| other.contains(unit));
    rest.extend(other.iter().filter(|unit| !one.contains(unit)));
    rest.shuffle(rng);
    child.extend(rest.into_iter().take(one.len() - child.len()));
    child
}

/// Exchanges one or two dropped units for kept ones.
fn mutate(dropped: &mut [usize], units: &[usize], rng: &mut ChaCha8Rng) {
    for _ in 0..rng.random_range(1..=2) {
        let kept: Vec<usize> = units
            .iter()
            .copied()
            .filter(|u| !dropped.contains(u))
            .collect();
        let position = rng.random_range(0..dropped.len());
        if let Some(&unit) = kept.choose(rng) {
            dropped[position] = unit;
        }
    }
}
