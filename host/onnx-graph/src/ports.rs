//! Inputs and outputs as the file declares them, carried from reading to writing.

use std::collections::BTreeMap;

use crate::proto::{Dimension, GraphProto, ValueInfoProto};

/// Inputs and outputs as the file declares them, by name. A network may return an input, so each
/// name can have a declaration of either kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Ports {
    inputs: BTreeMap<String, ValueInfoProto>,
    outputs: BTreeMap<String, ValueInfoProto>,
}

/// Which declaration of a value is meant.
#[derive(Clone, Copy)]
pub(crate) enum Port {
    Input,
    Output,
}

impl Port {
    /// The word for messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Output => "output",
        }
    }
}

impl Ports {
    pub fn of(proto: &GraphProto) -> Self {
        let named = |ports: &[ValueInfoProto]| {
            let ports = ports.iter();
            ports
                .map(|port| (port.name.clone(), port.clone()))
                .collect()
        };
        Self {
            inputs: named(&proto.input),
            outputs: named(&proto.output),
        }
    }

    pub fn of_kind(&self, kind: Port) -> &BTreeMap<String, ValueInfoProto> {
        match kind {
            Port::Input => &self.inputs,
            Port::Output => &self.outputs,
        }
    }

    /// The sizes that are declared for a value, as an input and as an output.
    pub fn sizes(&mut self, name: &str) -> impl Iterator<Item = &mut Vec<Dimension>> {
        let ports = [self.inputs.get_mut(name), self.outputs.get_mut(name)];
        ports.into_iter().flatten().filter_map(|port| {
            let tensor = port.r#type.as_mut()?.tensor_type.as_mut()?;
            Some(&mut tensor.shape.as_mut()?.dim)
        })
    }
}
