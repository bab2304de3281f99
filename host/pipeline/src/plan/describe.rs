//! What a run keeps of its network, as a plan.

use std::collections::{BTreeMap, BTreeSet};

use channels::{Analysis, Cut, GroupId, PrunePlan};
use onnx_graph::{Graph, NodeId, Tensor, ValueId};

use super::schema::{
    CutPlan, PLAN_VERSION, PlannedAxis, PlannedGroup, PlannedParameter, RemovedBranch,
};
use crate::error::PipelineError;

/// The network of a plan.
#[derive(Clone, Copy)]
pub(crate) struct Planned<'a> {
    /// Its name and the SHA-256 of its file.
    pub file: (&'a str, &'a str),
    /// The network as it is in the file.
    pub given: &'a Graph,
    /// The network that is cut: the given one, possibly with further normalisations.
    pub graph: &'a Graph,
    /// Analysis of `graph`.
    pub analysis: &'a Analysis,
}

impl CutPlan {
    /// Describes what `plan` keeps. Only what the file has is named.
    pub(crate) fn new(of: Planned<'_>, plan: &PrunePlan) -> Result<Self, PipelineError> {
        let cut = channels::cut(of.graph, of.analysis, plan)?;
        let narrow = plan.keep.iter().map(|keep| match keep.as_slice() {
            [] => vec![0],
            _ => keep.clone(),
        });
        let keep = narrow.collect();
        let narrow = channels::cut(of.graph, of.analysis, &PrunePlan { keep })?;
        let groups = of.analysis.groups().iter().zip(&plan.keep);
        let removed = groups.clone().enumerate();
        let removed = removed.filter(|(_, (_, keep))| keep.is_empty());
        let removed: Vec<RemovedBranch> = removed
            .map(|(i, _)| removal(of, &narrow, GroupId(i)))
            .collect();
        let gone = removed.iter().flat_map(|branch| &branch.parameters);
        let gone: BTreeSet<&String> = gone.map(|parameter| &parameter.name).collect();
        let crops = cut.crops.keys();
        let mut parameters: Vec<_> = crops.filter_map(|&id| parameter(of, &cut, id)).collect();
        // A weight that two layers read in two layouts is one initializer.
        parameters.sort_by(|a, b| a.name.cmp(&b.name));
        parameters.dedup();
        parameters.retain(|parameter| !gone.contains(&parameter.name));
        Ok(Self {
            version: PLAN_VERSION,
            model: of.file.0.to_owned(),
            model_sha256: of.file.1.to_owned(),
            groups: groups
                .map(|(group, keep)| PlannedGroup {
                    name: group.name.clone(),
                    channels: group.channels,
                    keep: keep.clone(),
                })
                .collect(),
            parameters,
            removed,
            placed: cut
                .spreads
                .keys()
                .map(|&id| of.graph.node(id).name.clone())
                .collect(),
        })
    }
}

/// A constant of the given file by its name.
fn given<'a>(of: Planned<'a>, name: &str) -> Option<&'a Tensor> {
    of.given.constant(of.given.find_value(name)?)
}

/// What the cut leaves of a constant, if the file has it: under the name and with the axes of the
/// file's initializer, unless these are not those of the constant that is cut.
fn parameter(of: Planned<'_>, cut: &Cut, id: ValueId) -> Option<PlannedParameter> {
    let name = &of.graph.value(id).name;
    let constant = given(of, name)?;
    let crop = cut.crops.get(&id);
    let crops: Vec<_> = crop.map_or(Vec::new(), |crop| crop.axes.iter().collect());
    let origin = of.graph.origin(id).and_then(|origin| {
        let axes = crops.iter().map(|(axis, _)| *origin.axes.get(*axis)?);
        Some((origin, axes.collect::<Option<Vec<usize>>>()?))
    });
    let origin = origin.filter(|(origin, places)| {
        let moved = places.iter().copied().zip(crops.iter().map(|c| &c.1));
        read_as_it_is(of.graph, cut, &origin.name)
            .is_none_or(|own| own == moved.collect::<BTreeMap<_, _>>())
    });
    let (name, shape, places) = match origin {
        Some((origin, places)) => (&origin.name, &origin.dims[..], places),
        None => (name, constant.dims(), crops.iter().map(|c| c.0).collect()),
    };
    let mut pruned_shape = shape.to_vec();
    let axes = places.into_iter().zip(crops).map(|(axis, (_, keep))| {
        *pruned_shape.get_mut(axis)? = keep.len();
        Some(PlannedAxis {
            axis,
            keep: keep.clone(),
        })
    });
    let mut axes = axes.collect::<Option<Vec<_>>>()?;
    axes.sort_unstable_by_key(|axis| axis.axis);
    Some(PlannedParameter {
        name: name.clone(),
        shape: shape.to_vec(),
        pruned_shape,
        axes,
    })
}

/// What is kept of the axes of a constant, if a node reads it under this name: it may be another
/// part than that of a constant that is made of it.
fn read_as_it_is<'a>(
    graph: &Graph,
    cut: &'a Cut,
    name: &str,
) -> Option<BTreeMap<usize, &'a Vec<usize>>> {
    let id = graph.find_value(name)?;
    graph.constant(id)?;
    let mut inputs = graph.nodes().iter().flat_map(|node| &node.inputs);
    let axes = cut.crops.get(&id).into_iter().flat_map(|crop| &crop.axes);
    let axes = axes.map(|(axis, keep)| (*axis, keep));
    inputs
        .any(|input| *input == Some(id))
        .then(|| axes.collect())
}

fn removal(of: Planned<'_>, narrow: &Cut, group: GroupId) -> RemovedBranch {
    let dead: BTreeSet<NodeId> = of
        .analysis
        .removal(group)
        .map(|removal| removal.dead.iter().copied().collect())
        .unwrap_or_default();
    let in_file: BTreeSet<&str> = of.given.nodes().iter().map(|n| n.name.as_str()).collect();
    let names = dead.iter().map(|&id| of.graph.node(id).name.clone());
    let readers = of.graph.consumers();
    let values = dead
        .iter()
        .flat_map(|&id| of.graph.node(id).inputs.iter().flatten())
        .filter(|value| readers[value.index()].iter().all(|id| dead.contains(id)));
    let values: BTreeSet<ValueId> = values.copied().collect();
    // A scalar is a factor of an activation, or another constant of the exporter's.
    let is_scalar = |id: &ValueId| {
        let constant = of.graph.constant(*id);
        constant.is_some_and(|constant| constant.dims().is_empty())
    };
    let mut parameters: Vec<PlannedParameter> = values
        .into_iter()
        .filter(|id| !is_scalar(id))
        .filter_map(|id| parameter(of, narrow, id))
        .collect();
    parameters.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    RemovedBranch {
        group: of.analysis.groups()[group.0].name.clone(),
        operators: names
            .filter(|name| in_file.contains(name.as_str()))
            .collect(),
        parameters,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use onnx_graph::ops::{Add, MatMul, Mul, Transpose};
    use onnx_graph::{DType, Dim, NoExternalData, fold_batch_norm, insert_batch_norm};

    fn resnet() -> Graph {
        let graph = model_zoo::build("resnet20", &model_zoo::ZooConfig::default()).unwrap();
        fold_batch_norm(&graph).unwrap()
    }

    /// Half of every group, and no unit of the first one that can be removed.
    fn halves(analysis: &Analysis) -> (PrunePlan, usize) {
        let groups = 0..analysis.groups().len();
        let gone = groups
            .clone()
            .find(|&i| analysis.removal(GroupId(i)).is_some());
        let gone = gone.unwrap();
        let keep = groups.map(|i| match analysis.groups()[i].channels {
            _ if i == gone => Vec::new(),
            channels => (0..channels).step_by(2).collect(),
        });
        let keep = keep.collect();
        (PrunePlan { keep }, gone)
    }

    #[test]
    fn a_plan_names_what_the_file_has_with_the_shapes_of_the_cut() {
        let file = resnet();
        let (graph, _) = insert_batch_norm(&file).unwrap();
        let analysis = channels::analyse(&graph).unwrap();
        let (plan, gone) = halves(&analysis);
        let planned = Planned {
            file: ("resnet20", "00"),
            given: &file,
            graph: &graph,
            analysis: &analysis,
        };
        let described = CutPlan::new(planned, &plan).unwrap();
        // The file itself, cut by the plan's units, has the shapes that the plan says.
        let of_file = channels::analyse(&file).unwrap();
        let units = described.units(&file, &of_file).unwrap();
        assert_eq!(units, plan);
        let pruned = channels::prune(&file, &of_file, &units).unwrap();
        let mut named = 0;
        let branch = &described.removed[0];
        let names: Vec<&String> = branch.parameters.iter().map(|p| &p.name).collect();
        for (&id, before) in file.constants() {
            let name = &file.value(id).name;
            let parameter = described.parameters.iter().find(|p| p.name == *name);
            let after = pruned.find_value(name).and_then(|id| pruned.constant(id));
            match (parameter, after) {
                (Some(parameter), Some(after)) => {
                    assert_eq!(parameter.shape, before.dims(), "{name}");
                    assert_eq!(parameter.pruned_shape, after.dims(), "{name}");
                    named += 1;
                }
                (None, Some(after)) => assert_eq!(after.dims(), before.dims(), "{name}"),
                (None, None) => assert!(names.contains(&name), "{name}"),
                (Some(_), None) => panic!("{name} is gone, and not said to be"),
            }
        }
        assert_eq!(named, described.parameters.len());
        assert_eq!(described.removed.len(), 1);
        assert_eq!(described.removed[0].group, analysis.groups()[gone].name);
        assert!(described.removed[0].operators.len() >= 2);
        // The branch's last weight shows the channels that its addition keeps.
        let kept = |p: &PlannedParameter| (p.pruned_shape[0] * 2, p.pruned_shape.get(1).copied());
        let mut parameters = branch.parameters.iter();
        assert!(parameters.any(|p| kept(p) == (p.shape[0], Some(1))));
    }

    #[test]
    fn a_scalar_of_a_removed_branch_is_no_parameter() {
        let mut file = Graph::new("residual", 17);
        let shape = vec![Dim::Symbol("N".into()), Dim::Known(4)];
        let x = file.add_input("x", DType::F32, shape);
        let product = |file: &mut Graph, name: &str, x, dims: [usize; 2]| {
            let data = (0..dims[0] * dims[1]).map(|i| i as f32 + 1.0).collect();
            let w = file.add_constant(&format!("{name}.weight"), Tensor::f32(dims, data).unwrap());
            file.push(name, MatMul.into(), &[x, w]).unwrap()
        };
        let hidden = product(&mut file, "hidden", x, [4, 6]);
        let half = file.add_constant("half", Tensor::f32([], vec![0.5]).unwrap());
        let scaled = file.push("scaled", Mul.into(), &[hidden, half]).unwrap();
        let back = product(&mut file, "back", scaled, [6, 4]);
        let sum = file.push("sum", Add.into(), &[back, x]).unwrap();
        let out = product(&mut file, "out", sum, [4, 2]);
        file.add_output(out);
        let analysis = channels::analyse(&file).unwrap();
        assert!(analysis.removal(GroupId(0)).is_some());
        let planned = Planned {
            file: ("residual", "00"),
            given: &file,
            graph: &file,
            analysis: &analysis,
        };
        let keep = vec![Vec::new()];
        let plan = CutPlan::new(planned, &PrunePlan { keep }).unwrap();
        let parameters = plan.removed[0].parameters.iter();
        let names: Vec<&str> = parameters.map(|p| p.name.as_str()).collect();
        assert_eq!(names, ["back.weight", "hidden.weight"]);
    }

    #[test]
    fn a_weight_that_the_reader_transposes_has_the_name_and_the_axes_of_the_file() {
        let mut file = Graph::new("linear", 17);
        let shape = vec![Dim::Symbol("N".into()), Dim::Known(3)];
        let x = file.add_input("x", DType::F32, shape);
        let weight = |dims: [usize; 2]| {
            let data = (0..dims[0] * dims[1]).map(|i| i as f32 + 1.0).collect();
            Tensor::f32(dims, data).unwrap()
        };
        let w = file.add_constant("hidden.weight", weight([4, 3]));
        let turn = Transpose { perm: vec![1, 0] };
        let turned = file.push("turn", turn.into(), &[w]).unwrap();
        let hidden = file.push("hidden", MatMul.into(), &[x, turned]).unwrap();
        let w = file.add_constant("out.weight", weight([4, 2]));
        let out = file.push("out", MatMul.into(), &[hidden, w]).unwrap();
        file.add_output(out);
        let bytes = onnx_graph::write(&file).unwrap();
        let graph = onnx_graph::read(&bytes, &NoExternalData).unwrap();
        let analysis = channels::analyse(&graph).unwrap();
        let planned = Planned {
            file: ("linear", "00"),
            given: &graph,
            graph: &graph,
            analysis: &analysis,
        };
        let keep = vec![vec![0, 2]];
        let plan = CutPlan::new(planned, &PrunePlan { keep }).unwrap();
        let parameter =
            |name: &str, shape: [usize; 2], pruned_shape: [usize; 2]| PlannedParameter {
                name: name.into(),
                shape: shape.to_vec(),
                pruned_shape: pruned_shape.to_vec(),
                axes: vec![PlannedAxis {
                    axis: 0,
                    keep: vec![0, 2],
                }],
            };
        let expected = [
            parameter("hidden.weight", [4, 3], [2, 3]),
            parameter("out.weight", [4, 2], [2, 2]),
        ];
        assert_eq!(plan.parameters, expected);
    }
}
