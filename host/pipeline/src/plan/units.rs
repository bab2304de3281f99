//! The units that a plan keeps, for the groups of a network.

use std::collections::BTreeMap;

use channels::{Analysis, AxisUnit, PrunePlan};
use onnx_graph::{Graph, ValueId};

use super::schema::{CutPlan, PlannedAxis, PlannedParameter};

impl CutPlan {
    /// The plan's units for the groups of a network: those that its groups list, or in a plan of
    /// another tool those whose channels its parameters keep.
    pub(crate) fn units(&self, graph: &Graph, analysis: &Analysis) -> Result<PrunePlan, String> {
        let plan = match (&self.groups[..], &self.parameters[..]) {
            ([], []) => return Err("it names neither groups nor parameters".into()),
            ([], parameters) => by_parameters(parameters, graph, analysis)?,
            _ => self.by_groups(analysis)?,
        };
        plan.check(analysis).map_err(|e| e.to_string())?;
        Ok(plan)
    }

    fn by_groups(&self, analysis: &Analysis) -> Result<PrunePlan, String> {
        let groups = analysis.groups();
        if groups.len() != self.groups.len() {
            return Err(format!(
                "it has {} groups, the network {}",
                self.groups.len(),
                groups.len()
            ));
        }
        for (own, group) in self.groups.iter().zip(groups) {
            if (&own.name, own.channels) != (&group.name, group.channels) {
                return Err(format!(
                    "its group '{}' of {} is '{}' of {} in the network",
                    own.name, own.channels, group.name, group.channels
                ));
            }
        }
        Ok(PrunePlan {
            keep: self.groups.iter().map(|group| group.keep.clone()).collect(),
        })
    }
}

/// Whether a unit is kept, and the parameter that says so.
type Verdict<'a> = (bool, &'a str);

/// The units whose channels every parameter keeps. Parameters that disagree are an error: such a
/// plan belongs to channels that are coupled differently.
fn by_parameters(
    parameters: &[PlannedParameter],
    graph: &Graph,
    analysis: &Analysis,
) -> Result<PrunePlan, String> {
    let mut units: BTreeMap<AxisUnit, Verdict<'_>> = BTreeMap::new();
    for parameter in parameters {
        let constants = constants_of(graph, parameter);
        if constants.is_empty() {
            let name = &parameter.name;
            return Err(format!(
                "its parameter '{name}' is no initializer of the network"
            ));
        }
        for planned in &parameter.axes {
            let kept = kept(parameter, planned)?;
            let mut is_cut = false;
            for &(id, ref axes) in &constants {
                let Some(axis) = axes.iter().position(|&of| of == Some(planned.axis)) else {
                    continue;
                };
                let Some(owners) = analysis.constant_owners(id, axis) else {
                    continue;
                };
                is_cut = true;
                for ((index, owner), &keep) in owners.into_iter().enumerate().zip(&kept) {
                    decide(&mut units, (parameter, index), owner, keep)
                        .map_err(|reason| reason.words(parameter, planned.axis, analysis))?;
                }
            }
            if !is_cut && kept.contains(&false) {
                return Err(format!(
                    "its parameter '{}' loses indices of axis {}, which no group of the network owns",
                    parameter.name, planned.axis
                ));
            }
        }
    }
    let mut plan = PrunePlan::full(analysis);
    for (unit, (keep, _)) in units {
        if !keep {
            plan.keep[unit.group.0].retain(|&of| of != unit.unit);
        }
    }
    Ok(plan)
}

/// A reason why a plan's parameters do not fit the groups.
enum Misfit<'a> {
    Pinned { index: usize },
    Coupled { unit: AxisUnit, other: &'a str },
}

impl Misfit<'_> {
    fn words(&self, parameter: &PlannedParameter, axis: usize, analysis: &Analysis) -> String {
        let name = &parameter.name;
        match self {
            Self::Pinned { index } => format!(
                "its parameter '{name}' loses index {index} of axis {axis}, which the network cannot lose; \
                 `graphprune inspect` lists the pinned channels with their reasons"
            ),
            Self::Coupled { unit, other } => format!(
                "its parameters '{name}' and '{other}' disagree about unit {} of group '{}', whose channels go together",
                unit.unit,
                analysis.groups()[unit.group.0].name
            ),
        }
    }
}

fn decide<'a>(
    units: &mut BTreeMap<AxisUnit, Verdict<'a>>,
    (parameter, index): (&'a PlannedParameter, usize),
    owner: Option<AxisUnit>,
    keep: bool,
) -> Result<(), Misfit<'a>> {
    match owner {
        None if keep => Ok(()),
        None => Err(Misfit::Pinned { index }),
        Some(unit) => {
            let (earlier, other) = *units.entry(unit).or_insert((keep, &parameter.name));
            if earlier == keep {
                Ok(())
            } else {
                Err(Misfit::Coupled { unit, other })
            }
        }
    }
}

/// Per index of an axis whether it is kept.
fn kept(parameter: &PlannedParameter, planned: &PlannedAxis) -> Result<Vec<bool>, String> {
    let (name, axis) = (&parameter.name, planned.axis);
    let Some(&size) = parameter.shape.get(axis) else {
        return Err(format!("its parameter '{name}' has no axis {axis}"));
    };
    let mut kept = vec![false; size];
    for &index in &planned.keep {
        match kept.get_mut(index) {
            Some(keep) if !*keep => *keep = true,
            Some(_) => {
                return Err(format!(
                    "its parameter '{name}' keeps index {index} of axis {axis} twice"
                ));
            }
            None => {
                return Err(format!(
                    "its parameter '{name}' keeps index {index} of axis {axis}, which has {size}"
                ));
            }
        }
    }
    Ok(kept)
}

/// The constants of the graph that an initializer became, with the initializer's axis for each of
/// theirs.
fn constants_of(graph: &Graph, parameter: &PlannedParameter) -> Vec<(ValueId, Vec<Option<usize>>)> {
    let constants = graph.constants().iter();
    let of = constants.filter_map(|(&id, tensor)| match graph.origin(id) {
        Some(origin) if origin.name == parameter.name && origin.dims == parameter.shape => {
            Some((id, origin.axes.clone()))
        }
        None if graph.value(id).name == parameter.name && tensor.dims() == parameter.shape => {
            Some((id, (0..tensor.dims().len()).map(Some).collect()))
        }
        _ => None,
    });
    of.collect()
}

#[cfg(test)]
mod tests {
    use super::super::describe::Planned;
    use super::super::schema::PLAN_VERSION;
    use super::*;
    use crate::error::PipelineError;

    fn resnet() -> (Graph, Analysis) {
        let graph = model_zoo::build("resnet20", &model_zoo::ZooConfig::default()).unwrap();
        let analysis = channels::analyse(&graph).unwrap();
        (graph, analysis)
    }

    /// Every second unit.
    fn halves(analysis: &Analysis) -> PrunePlan {
        let half = |of: &channels::Group| (0..of.channels).step_by(2).collect();
        PrunePlan {
            keep: analysis.groups().iter().map(half).collect(),
        }
    }

    fn described(graph: &Graph, analysis: &Analysis, plan: &PrunePlan) -> CutPlan {
        let planned = Planned {
            file: ("resnet20", "00"),
            given: graph,
            graph,
            analysis,
        };
        CutPlan::new(planned, plan).unwrap()
    }

    #[test]
    fn the_parameters_of_a_plan_alone_say_which_units_are_kept() {
        let (graph, analysis) = resnet();
        let plan = halves(&analysis);
        let mut file = described(&graph, &analysis, &plan);
        file.groups.clear();
        assert_eq!(file.units(&graph, &analysis).unwrap(), plan);
        // Convolutions suffice.
        file.parameters.retain(|of| of.shape.len() == 4);
        assert_eq!(file.units(&graph, &analysis).unwrap(), plan);
        // What no parameter drops stays.
        file.parameters.truncate(1);
        let own = file.units(&graph, &analysis).unwrap().widths();
        let full = PrunePlan::full(&analysis).widths();
        assert!(own != full && own.iter().zip(&full).any(|(a, b)| a == b));
    }

    #[test]
    fn parameters_that_do_not_fit_the_groups_are_refused_with_their_names() {
        let (graph, analysis) = resnet();
        let mut file = described(&graph, &analysis, &halves(&analysis));
        file.groups.clear();
        let check = |change: &dyn Fn(&mut CutPlan), words: &[&str]| {
            let mut changed = file.clone();
            change(&mut changed);
            let error = changed.units(&graph, &analysis).unwrap_err();
            assert!(words.iter().all(|word| error.contains(word)), "{error}");
        };
        check(
            &|plan| plan.parameters.clear(),
            &["neither groups nor parameters"],
        );
        check(
            &|plan| plan.parameters[0].name = "another".into(),
            &["'another' is no initializer"],
        );
        check(
            &|plan| plan.parameters[0].axes[0].axis = 9,
            &["has no axis 9"],
        );
        check(
            &|plan| plan.parameters[0].axes[0].keep.push(0),
            &["keeps index 0", "twice"],
        );
        check(
            &|plan| plan.parameters[0].axes[0].keep.push(1000),
            &["keeps index 1000"],
        );
        check(
            &|plan| {
                let keep = &mut plan.parameters[0].axes[0].keep;
                keep[0] += 1;
            },
            &["disagree about unit", "group '"],
        );
        check(
            &|plan| {
                let classifier = plan.parameters.iter_mut();
                let mut classifier = classifier.filter(|of| of.shape.contains(&10));
                let classifier = classifier.next().unwrap();
                let axis = classifier.shape.iter().position(|&size| size == 10);
                classifier.axes = vec![PlannedAxis {
                    axis: axis.unwrap(),
                    keep: vec![0, 1],
                }];
            },
            &["loses ind"],
        );
    }

    #[test]
    fn a_plan_is_read_back_and_one_of_another_version_or_network_is_refused() {
        let (graph, analysis) = resnet();
        let plan = described(&graph, &analysis, &halves(&analysis));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("plan.json");
        let write = |plan: &CutPlan| std::fs::write(&path, serde_json::to_vec(plan).unwrap());
        write(&plan).unwrap();
        assert_eq!(CutPlan::read(&path).unwrap(), plan);
        let other = CutPlan {
            version: PLAN_VERSION + 1,
            ..plan.clone()
        };
        write(&other).unwrap();
        let error = CutPlan::read(&path).unwrap_err().to_string();
        assert!(
            error.contains("version") && error.contains("plan.json"),
            "{error}"
        );
        std::fs::write(&path, "{").unwrap();
        assert!(matches!(
            CutPlan::read(&path),
            Err(PipelineError::BadPlan { .. })
        ));
        let mut renamed = plan.clone();
        renamed.groups[0].name = "another".into();
        assert!(
            renamed
                .units(&graph, &analysis)
                .unwrap_err()
                .contains("another")
        );
        let mut unit = plan.clone();
        unit.groups[0].keep.push(1 << 20);
        assert!(unit.units(&graph, &analysis).is_err());
    }
}
