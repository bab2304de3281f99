//! The operator reference of the documentation follows the tables of operators, channel rules and
//! execution, and lists every operator that ONNX's own package does.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use channels::operator_rules;
use graphprune_tests::{peer_script, python};
use onnx_graph::composed_operators;
use onnx_graph::ops::{Form, OperatorInfo, operators};
use torch_exec::untyped_operators;

const PAGE: &str = "../host/docs/operators.md";

/// The newest operator set of the list.
const NEWEST: i64 = 25;

const HEAD: &str = "\
# Operators

This page is generated from the tables of operators, channel rules and execution, and from ONNX's own list:
`UPDATE_DOCS=1 cargo test -p graphprune-tests --test it operators_page` writes it.

- *Opsets* are the operator sets that introduced or changed an operator, up to opset 25.
- *Form*: a *typed* operator is resolved on reading and may be written in another form; a node of another operator is
  written back as it was read. *shapes* means that its shapes and element types are inferred; without it the file
  states them. *made of others* means that its usual forms are read as the operators that it is made of, and narrowed
  and run as these are.
- *Channels* at an operator are *narrowed*, or they stay, with the reason. A rule may not cover some form of its
  operator: `graphprune inspect` then lists the channels with the reason.
- *Runs*: libtorch executes it with a gradient where there is one. A network with another operator is inspected,
  narrowed, exported and measured, not trained.
- *Folded*: over constants or sizes it is computed while the model is read.

";

const TABLE: &str = "\
| operator | opsets | form | channels | runs | folded |
|---|---|---|---|---|---|
";

/// Why channels stay at an operator without an entry in the table of rules.
const NO_RULE: &str = "there is no rule";

/// The operators of ONNX's package with their operator sets.
fn listed() -> BTreeMap<String, Vec<i64>> {
    let run = Command::new(python())
        .arg(peer_script("list_operators.py"))
        .arg(NEWEST.to_string())
        .output();
    let run = run.unwrap_or_else(|e| panic!("{}: {e}", python().display()));
    assert!(run.status.success(), "list_operators.py failed");
    let text = String::from_utf8(run.stdout).unwrap();
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        let name = words.next().unwrap().to_owned();
        (name, words.map(|word| word.parse().unwrap()).collect())
    };
    text.lines().map(line).collect()
}

/// What the tables say about an operator.
#[derive(Default)]
struct Entry {
    typed: bool,
    composed: bool,
    known: bool,
    folded: bool,
    runs: bool,
    /// Whether channels are narrowed in some form; else the reason.
    channels: Option<Result<(), &'static str>>,
}

impl Entry {
    fn cells(&self) -> String {
        let yes = |flag: bool| if flag { "yes" } else { "" };
        let form = match (self.typed, self.composed, self.known) {
            (true, _, _) => "typed",
            (false, true, _) => "made of others",
            (false, false, true) => "shapes",
            (false, false, false) => "",
        };
        let channels = match self.channels {
            Some(Ok(())) => "narrowed".to_owned(),
            Some(Err(reason)) => format!("stay: {reason}"),
            None => format!("stay: {NO_RULE}"),
        };
        format!(
            "{form} | {channels} | {} | {} |",
            yes(self.runs),
            yes(self.folded)
        )
    }
}

/// The operators of all tables, by domain and name.
fn entries() -> BTreeMap<(&'static str, &'static str), Entry> {
    let mut entries: BTreeMap<_, Entry> = BTreeMap::new();
    for OperatorInfo {
        name,
        domain,
        form,
        folded,
    } in operators()
    {
        let entry = entries.entry((domain, name)).or_default();
        entry.known = true;
        entry.typed |= matches!(form, Form::Typed { .. });
        entry.runs |= entry.typed;
        entry.folded |= folded;
    }
    for rule in operator_rules() {
        let entry = entries.entry((rule.domain, rule.name)).or_default();
        let ours = rule.pinned.map_or(Ok(()), Err);
        entry.channels = match entry.channels {
            Some(Ok(())) => Some(Ok(())),
            _ => Some(ours),
        };
    }
    for name in untyped_operators() {
        entries.entry(("", name)).or_default().runs = true;
    }
    for operator in composed_operators() {
        let entry = entries.entry(operator).or_default();
        (entry.composed, entry.runs, entry.channels) = (true, true, Some(Ok(())));
    }
    entries
}

/// The page for the current tables.
fn page() -> String {
    let (listed, entries) = (listed(), entries());
    let mut page = HEAD.to_owned();
    page += "## Operators of ONNX\n\n";
    page += TABLE;
    let nothing = Entry::default();
    for (name, sets) in &listed {
        let entry = entries.get(&("", name.as_str())).unwrap_or(&nothing);
        let sets: Vec<String> = sets.iter().map(i64::to_string).collect();
        let link = format!("[{name}](https://onnx.ai/onnx/operators/onnx__{name}.html)");
        writeln!(page, "| {link} | {} | {}", sets.join(", "), entry.cells()).unwrap();
    }
    page += "\n## Operators of ONNX Runtime\n\n";
    page += "These are of the domain `com.microsoft`, or have no domain and are in none of ONNX's operator sets. The runtime \
             fuses again what is made of others.\n\n";
    page += TABLE;
    let contributed = entries
        .iter()
        .filter(|((domain, name), _)| !domain.is_empty() || !listed.contains_key(*name));
    for ((_, name), entry) in contributed {
        writeln!(page, "| {name} | | {}", entry.cells()).unwrap();
    }
    page
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
        "{} is out of date; UPDATE_DOCS=1 cargo test -p graphprune-tests --test it operators_page writes it",
        path.display()
    );
}

#[test]
fn every_operator_of_onnx_is_narrowed_or_has_a_reason() {
    let entries = entries();
    let without = |name: &&String| {
        entries
            .get(&("", name.as_str()))
            .is_none_or(|entry| entry.channels.is_none())
    };
    let listed = listed();
    let missing: BTreeSet<&String> = listed.keys().filter(without).collect();
    assert!(missing.is_empty(), "no rule and no reason: {missing:?}");
}

#[test]
fn typed_operators_are_of_the_sets_that_onnx_lists() {
    let listed = listed();
    for operator in operators() {
        let Form::Typed { versions, .. } = operator.form else {
            continue;
        };
        let ours: Vec<i64> = versions.iter().copied().filter(|&v| v <= NEWEST).collect();
        assert_eq!(Some(&ours), listed.get(operator.name), "{}", operator.name);
    }
}
