//! The operator reference of the documentation follows the operator tables.

use std::fmt::Write;
use std::path::Path;

use channels::operators_with_rule;
use onnx_graph::ops::{Form, OperatorInfo, operators};

const PAGE: &str = "../docs/operators.md";

const HEAD: &str = "\
# Operators

This page is generated from the operator tables:
`UPDATE_DOCS=1 cargo test -p channels --test reference` writes it.

## Operators with typed attributes

Reading a model resolves these operators into typed forms, which are shaped, trained, pruned and
written back. *Versions* are the operator sets that introduced or changed an operator. *Written
since* is the first operator set with a form that is written; some attributes need a later one.
Channels at an operator are *followed* by a rule or *pinned*. A *folded* operator over constants or
sizes is computed while the model is read.

| operator | versions | written since | channels | folded |
|---|---|---|---|---|
";

const OTHERS: &str = "
## Other operators

Nodes of these operators are written back unchanged, and so are nodes of the operators above in forms
without typed attributes. Their shapes and element types are inferred, their channels pinned. The
multiply-accumulates of an operator that *multiplies* are counted, or listed as not counted if they
are unknown. All operators that are in neither table are written back unchanged as well; the shapes
of their outputs are those stated in the file.

| operator | domain | multiplies | folded |
|---|---|---|---|
";

fn yes(flag: bool) -> &'static str {
    if flag { "yes" } else { "" }
}

/// The page for the current tables.
fn page() -> String {
    let mut all: Vec<OperatorInfo> = operators().collect();
    all.sort_by_key(|operator| (operator.name, operator.domain));
    let (mut typed, mut others) = (HEAD.to_owned(), OTHERS.to_owned());
    let is_typed = |name: &str| {
        all.iter()
            .any(|o| o.name == name && matches!(o.form, Form::Typed { .. }))
    };
    for operator in &all {
        let (name, folded) = (operator.name, yes(operator.folded));
        match operator.form {
            Form::Typed { versions, since } => {
                let versions: Vec<String> = versions.iter().map(i64::to_string).collect();
                let channels = if operators_with_rule().contains(&name) {
                    "followed"
                } else {
                    "pinned"
                };
                writeln!(
                    typed,
                    "| [{name}](https://onnx.ai/onnx/operators/onnx__{name}.html) | {} | {since} | {channels} | {folded} |",
                    versions.join(", ")
                )
                .unwrap();
            }
            Form::Opaque { .. } if operator.domain.is_empty() && is_typed(name) => {}
            Form::Opaque { multiplies } => {
                let domain = match operator.domain {
                    "" => "ai.onnx",
                    domain => domain,
                };
                let multiplies = yes(multiplies);
                writeln!(others, "| {name} | {domain} | {multiplies} | {folded} |").unwrap();
            }
        }
    }
    typed + &others
}

#[test]
fn the_operator_reference_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let page = page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let held = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        held == page,
        "{} is out of date; UPDATE_DOCS=1 cargo test -p channels --test reference writes it",
        path.display()
    );
}

#[test]
fn every_rule_is_for_an_operator_with_typed_attributes() {
    let typed: Vec<&str> = operators()
        .filter(|operator| matches!(operator.form, Form::Typed { .. }))
        .map(|operator| operator.name)
        .collect();
    for name in operators_with_rule() {
        assert!(typed.contains(name), "{name}");
    }
}
