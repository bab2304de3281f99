//! Inputs and outputs of the graph that is read.

use super::build::Reader;
use crate::proto::{GraphProto, ValueInfoProto};
use crate::types::{StatedType, tensor_type, unsupported};
use crate::{DType, GraphError};

impl Reader<'_> {
    pub(super) fn input(&mut self, info: &ValueInfoProto) -> Result<(), GraphError> {
        let fail = |reason: String| GraphError::Unsupported {
            place: format!("graph input '{}'", info.name),
            reason,
        };
        let stated = tensor_type(info.r#type.as_ref(), &info.name);
        let Some(StatedType { code, dtype, shape }) = stated else {
            return Err(fail("it is not a tensor".into()));
        };
        if dtype.is_none() {
            return Err(fail(unsupported(code)));
        }
        let id = self.define(&info.name, dtype, shape)?;
        self.graph.inputs.push(id);
        Ok(())
    }

    pub(super) fn outputs(&mut self, proto: &GraphProto) -> Result<(), GraphError> {
        for output in &proto.output {
            let fail = |reason: String| GraphError::Unsupported {
                place: format!("graph output '{}'", output.name),
                reason,
            };
            let Some(&id) = self.scope.get(output.name.as_str()) else {
                return Err(GraphError::NotReady {
                    node: "graph output".into(),
                    value: output.name.clone(),
                });
            };
            if self.graph.value(id).dtype.is_none() {
                let stated = tensor_type(output.r#type.as_ref(), &output.name);
                return Err(fail(match stated {
                    Some(stated) => unsupported(stated.code),
                    None => "it is not a tensor".to_owned(),
                }));
            }
            self.graph.outputs.push(id);
        }
        // Scores before the class that is chosen by them: a task takes the first output.
        let graph = &self.graph;
        let is_float = |id| graph.value(id).dtype.is_some_and(DType::is_float);
        let mut outputs = graph.outputs.clone();
        outputs.sort_by_key(|&id| graph.is_inner_output(id).then(|| !is_float(id)));
        self.graph.outputs = outputs;
        Ok(())
    }
}
