//! The body of one call, with the names of the caller.

use std::collections::HashMap;

use prost::Message;

use super::{Function, Inliner, failed};
use crate::GraphError;
use crate::proto::{AttributeProto, NodeProto, attribute_type as kind};

/// The caller's names by those of the body; empty for an omitted input.
type Bindings<'f> = HashMap<&'f str, String>;

impl Inliner<'_> {
    /// The nodes of the body of `function` for `call`. Inner values and nodes are named after the
    /// call.
    pub(super) fn body(
        &mut self,
        call: &NodeProto,
        function: &Function,
    ) -> Result<Vec<NodeProto>, GraphError> {
        let proto = &function.proto;
        let fail = |reason: String| Err(failed(function, call, &reason));
        for (what, given, known) in [
            ("inputs", call.input.len(), proto.input.len()),
            ("outputs", call.output.len(), proto.output.len()),
        ] {
            if given > known {
                return fail(format!("it has {known} {what}, and {given} are given"));
            }
        }
        let place = call.label();
        let bindings = self.bind(call, function, &place)?;
        let mut out = Vec::new();
        for node in &proto.node {
            let inner = node.label();
            let mut input = Vec::with_capacity(node.input.len());
            for name in &node.input {
                input.push(match bindings.get(name.as_str()) {
                    _ if name.is_empty() => String::new(),
                    Some(name) => name.clone(),
                    None => {
                        return fail(format!(
                            "its node '{inner}' reads '{name}', which nothing in it produces"
                        ));
                    }
                });
            }
            let output = node.output.iter();
            let renamed = NodeProto {
                input,
                output: output
                    .map(|name| bindings.get(name.as_str()).cloned().unwrap_or_default())
                    .collect(),
                name: format!("{place}/{inner}"),
                op_type: node.op_type.clone(),
                attribute: attributes(node, call, function)?,
                domain: node.domain.clone(),
                overload: node.overload.clone(),
            };
            self.charge(renamed.encoded_len(), call, function)?;
            out.push(renamed);
        }
        // An output may equal an input or another output.
        for (formal, actual) in proto.output.iter().zip(&call.output) {
            let Some(made) = bindings.get(formal.as_str()) else {
                return fail(format!("nothing in it produces its output '{formal}'"));
            };
            if actual.is_empty() || made == actual {
                continue;
            }
            if made.is_empty() {
                return fail(format!(
                    "its output '{formal}' is an input that is left out"
                ));
            }
            out.push(NodeProto {
                input: vec![made.clone()],
                output: vec![actual.clone()],
                name: format!("{place}/{formal}"),
                op_type: "Identity".into(),
                ..NodeProto::default()
            });
        }
        Ok(out)
    }

    fn bind<'f>(
        &mut self,
        call: &NodeProto,
        function: &'f Function,
        place: &str,
    ) -> Result<Bindings<'f>, GraphError> {
        let proto = &function.proto;
        let twice = |name: &str| {
            let reason = format!("'{name}' is produced twice in it");
            Err(failed(function, call, &reason))
        };
        let mut bindings = Bindings::new();
        for (i, formal) in proto.input.iter().enumerate() {
            let actual = call.input.get(i).cloned().unwrap_or_default();
            self.charge(actual.len(), call, function)?;
            if bindings.insert(formal, actual).is_some() {
                return twice(formal);
            }
        }
        let mut outputs: HashMap<&str, &String> = HashMap::new();
        for (formal, actual) in proto.output.iter().zip(&call.output) {
            if !actual.is_empty() {
                outputs.entry(formal).or_insert(actual);
            }
        }
        let made = proto.node.iter().flat_map(|n| &n.output);
        for name in made.filter(|n| !n.is_empty()) {
            let actual = match outputs.get(name.as_str()) {
                Some(&actual) => actual.clone(),
                None => {
                    let fresh = self.names.unused(&format!("{place}/{name}"));
                    self.names.take(&fresh, 0);
                    fresh
                }
            };
            self.charge(actual.len(), call, function)?;
            if bindings.insert(name, actual).is_some() {
                return twice(name);
            }
        }
        Ok(bindings)
    }
}

/// The attributes of a node of a body. One that refers to an attribute of the function takes the
/// caller's value or the function's default; without either it is omitted.
fn attributes(
    node: &NodeProto,
    call: &NodeProto,
    function: &Function,
) -> Result<Vec<AttributeProto>, GraphError> {
    let mut out = Vec::with_capacity(node.attribute.len());
    for attribute in &node.attribute {
        if attribute.ref_attr_name.is_empty() {
            out.push(attribute.clone());
            continue;
        }
        let named = |a: &&AttributeProto| a.name == attribute.ref_attr_name;
        let given = call.attribute.iter().find(named);
        let defaults = &function.proto.attribute_proto;
        let Some(value) = given.or_else(|| defaults.iter().find(named)) else {
            continue;
        };
        let types = (attribute.r#type, value.r#type);
        if types.0 != types.1 && types.0 != kind::UNDEFINED && types.1 != kind::UNDEFINED {
            let reason = format!(
                "its attribute '{}' is of another type than its node '{}' needs",
                value.name,
                node.label()
            );
            return Err(failed(function, call, &reason));
        }
        out.push(AttributeProto {
            name: attribute.name.clone(),
            ..value.clone()
        });
    }
    Ok(out)
}
