//! Circles between the modules of a crate: two modules that use each other can only be read and changed together.
//!
//! A module is a file. An arrow runs from the file that names an item to the file that defines it; a `pub use`
//! that only passes a name on is no arrow, and a name that reaches a module through it leads to where it is defined.
//! Code for tests is left out. Names that a macro puts together are not seen.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result};
use petgraph::algo::tarjan_scc;
use petgraph::graphmap::DiGraphMap;
use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::visit::Visit;

use crate::shell::Package;

/// Circles that are still there, by package. A circle that goes is taken out of this table; none is added.
const REMAINING: &[(&str, usize)] = &[];

/// How many re-exports are followed before a name is given up.
const MOST_REEXPORTS: usize = 16;

/// Prints how many modules and circles there are; a package with more circles than remain, or with fewer, is a
/// violation.
pub fn violations(packages: &[Package]) -> Result<Vec<String>> {
    let mut violations = Vec::new();
    let (mut modules, mut circles) = (0, 0);
    for package in packages {
        let mut found = Vec::new();
        for target in package
            .targets
            .iter()
            .filter(|target| target.is_lib_or_bin())
        {
            let target = of_crate(&target.src_path)?;
            modules += target.modules;
            found.extend(target.circles);
        }
        circles += found.len();
        let remaining = REMAINING.iter().find(|(name, _)| *name == package.name);
        violations.extend(judge(
            &package.name,
            &found,
            remaining.map_or(0, |(_, count)| *count),
        ));
    }
    println!("{modules} modules, {circles} circles of modules that use each other");
    Ok(violations)
}

fn judge(package: &str, found: &[Vec<String>], remaining: usize) -> Vec<String> {
    match found.len().cmp(&remaining) {
        Ordering::Equal => Vec::new(),
        Ordering::Less => vec![format!(
            "{package}: {} circles of modules instead of {remaining}; write that into the table of the check",
            found.len()
        )],
        Ordering::Greater => found
            .iter()
            .map(|circle| {
                format!(
                    "{package}: modules use each other:\n    {}",
                    circle.join("\n    ")
                )
            })
            .collect(),
    }
}

/// The circles of one crate.
struct Circles {
    /// How many files the crate's library or program has.
    modules: usize,
    /// The modules of each circle by their paths in the crate, with what each uses of the others.
    circles: Vec<Vec<String>>,
}

/// Reads a crate from its root file (`lib.rs` or `main.rs`).
fn of_crate(root: &Path) -> Result<Circles> {
    let mut tree = Tree::default();
    let folder = root.parent().context("a root file without a folder")?;
    tree.read(root, folder, None, "crate")?;
    let arrows = tree.arrows();
    let graph: DiGraphMap<usize, ()> = DiGraphMap::from_edges(arrows.keys().copied());
    let circles = tarjan_scc(&graph)
        .into_iter()
        .filter(|members| members.len() > 1)
        .map(|mut members| {
            members.sort_unstable();
            members
                .iter()
                .map(|module| tree.describe(*module, &members, &arrows))
                .collect()
        })
        .collect();
    Ok(Circles {
        modules: tree.modules.len(),
        circles,
    })
}

/// The modules of a crate; the root comes first.
#[derive(Default)]
struct Tree {
    modules: Vec<Module>,
}

struct Module {
    /// `crate::a::b`.
    path: String,
    parent: Option<usize>,
    children: BTreeMap<String, usize>,
    /// Names of the items that the file defines.
    items: BTreeSet<String>,
    /// What each name that the file imports stands for, with whether it is passed on.
    imports: BTreeMap<String, Import>,
    globs: Vec<Import>,
    /// Paths in the code, by their segments.
    paths: BTreeSet<Vec<String>>,
    /// How often each identifier occurs in the code outside of imports.
    words: BTreeSet<String>,
}

struct Import {
    path: Vec<String>,
    passed_on: bool,
}

/// From one module to another, with the name that is used.
type Arrows = BTreeMap<(usize, usize), String>;

impl Tree {
    /// Reads a file and those that it declares. `folder` is where its children lie.
    fn read(
        &mut self,
        file: &Path,
        folder: &Path,
        parent: Option<usize>,
        path: &str,
    ) -> Result<usize> {
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("cannot read {}", file.display()))?;
        let parsed =
            syn::parse_file(&text).with_context(|| format!("cannot parse {}", file.display()))?;
        let mut reader = Reader::default();
        reader.visit_file(&parsed);
        let index = self.modules.len();
        self.modules.push(Module {
            path: path.to_owned(),
            parent,
            children: BTreeMap::new(),
            items: reader.items,
            imports: reader.imports,
            globs: reader.globs,
            paths: reader.paths,
            words: reader.words,
        });
        for name in reader.declared {
            let plain = folder.join(format!("{name}.rs"));
            let nested = folder.join(&name).join("mod.rs");
            let file = if plain.is_file() { plain } else { nested };
            if !file.is_file() {
                continue;
            }
            let child = self.read(
                &file,
                &folder.join(&name),
                Some(index),
                &format!("{path}::{name}"),
            )?;
            self.modules[index].children.insert(name, child);
        }
        Ok(index)
    }

    fn arrows(&self) -> Arrows {
        let mut arrows = Arrows::new();
        for (from, module) in self.modules.iter().enumerate() {
            let imports = module
                .imports
                .iter()
                .filter(|(name, import)| !import.passed_on || module.words.contains(*name));
            let paths = imports
                .map(|(_, import)| &import.path)
                .chain(
                    module
                        .globs
                        .iter()
                        .filter(|glob| !glob.passed_on)
                        .map(|glob| &glob.path),
                )
                .chain(&module.paths);
            for path in paths {
                let to = self.resolve(from, path, MOST_REEXPORTS);
                if let Some(to) = to.filter(|to| *to != from) {
                    arrows.entry((from, to)).or_insert_with(|| path.join("::"));
                }
            }
        }
        arrows
    }

    /// The module that defines what a path names, seen from a module; `None` for what is outside of the crate.
    fn resolve(&self, from: usize, path: &[String], left: usize) -> Option<usize> {
        let left = left.checked_sub(1)?;
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => self.walk(0, rest, left),
            "self" => self.walk(from, rest, left),
            "super" => self.walk(self.modules[from].parent?, rest, left),
            name => {
                let child = self.modules[from].children.get(name)?;
                self.walk(*child, rest, left)
            }
        }
    }

    fn walk(&self, at: usize, path: &[String], left: usize) -> Option<usize> {
        let module = &self.modules[at];
        let Some((name, rest)) = path.split_first() else {
            return Some(at);
        };
        if name == "super" {
            return self.walk(module.parent?, rest, left);
        }
        if let Some(child) = module.children.get(name) {
            return self.walk(*child, rest, left);
        }
        if module.items.contains(name) {
            return Some(at);
        }
        if let Some(import) = module.imports.get(name) {
            return self.resolve(at, &import.path, left);
        }
        let defines = |to: &usize| {
            self.modules[*to].items.contains(name) || self.modules[*to].imports.contains_key(name)
        };
        let by_glob = module
            .globs
            .iter()
            .filter_map(|glob| self.resolve(at, &glob.path, left))
            .find(|to| *to != at && defines(to));
        match by_glob {
            Some(to) => self.walk(to, path, left.checked_sub(1)?),
            // What a macro defines: it belongs to the module that it is reached by.
            None => Some(at),
        }
    }

    fn describe(&self, module: usize, members: &[usize], arrows: &Arrows) -> String {
        let uses: Vec<_> = arrows
            .iter()
            .filter(|((from, to), _)| *from == module && members.contains(to))
            .map(|(_, name)| name.as_str())
            .collect();
        format!("{} uses {}", self.modules[module].path, uses.join(", "))
    }
}

/// Collects what one file defines and names.
#[derive(Default)]
struct Reader {
    declared: Vec<String>,
    items: BTreeSet<String>,
    imports: BTreeMap<String, Import>,
    globs: Vec<Import>,
    paths: BTreeSet<Vec<String>>,
    words: BTreeSet<String>,
}

impl Reader {
    fn item(&mut self, name: &syn::Ident) {
        self.items.insert(name.to_string());
    }

    fn import(&mut self, tree: &syn::UseTree, mut path: Vec<String>, passed_on: bool) {
        match tree {
            syn::UseTree::Path(part) => {
                path.push(part.ident.to_string());
                self.import(&part.tree, path, passed_on);
            }
            syn::UseTree::Name(name) => {
                let name = name.ident.to_string();
                if name != "self" {
                    path.push(name);
                }
                let bound = path.last().cloned().unwrap_or_default();
                self.imports.insert(bound, Import { path, passed_on });
            }
            syn::UseTree::Rename(rename) => {
                path.push(rename.ident.to_string());
                self.imports
                    .insert(rename.rename.to_string(), Import { path, passed_on });
            }
            syn::UseTree::Glob(_) => self.globs.push(Import { path, passed_on }),
            syn::UseTree::Group(group) => {
                for tree in &group.items {
                    self.import(tree, path.clone(), passed_on);
                }
            }
        }
    }

    /// Finds paths in tokens, so that those in the arguments of macros are found too.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(name) => {
                    let name = name.to_string();
                    self.words.insert(name.clone());
                    if colons != 2 {
                        self.end(&mut path);
                    }
                    colons = 0;
                    path.push(name);
                    continue;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' && !path.is_empty() => {
                    colons += 1;
                    continue;
                }
                TokenTree::Group(group) => self.tokens(group.stream()),
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
            colons = 0;
            self.end(&mut path);
        }
        self.end(&mut path);
    }

    fn end(&mut self, path: &mut Vec<String>) {
        if path.len() > 1 {
            self.paths.insert(std::mem::take(path));
        } else {
            path.clear();
        }
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if attributes(item).iter().any(for_tests) {
            return;
        }
        match item {
            syn::Item::Use(part) => {
                let passed_on = !matches!(part.vis, syn::Visibility::Inherited);
                self.import(&part.tree, Vec::new(), passed_on);
                return;
            }
            syn::Item::Mod(module) => {
                match &module.content {
                    None => self.declared.push(module.ident.to_string()),
                    Some((_, items)) => items.iter().for_each(|item| self.visit_item(item)),
                }
                return;
            }
            syn::Item::Const(part) => self.item(&part.ident),
            syn::Item::Enum(part) => self.item(&part.ident),
            syn::Item::Fn(part) => self.item(&part.sig.ident),
            syn::Item::Static(part) => self.item(&part.ident),
            syn::Item::Struct(part) => self.item(&part.ident),
            syn::Item::Trait(part) => self.item(&part.ident),
            syn::Item::Type(part) => self.item(&part.ident),
            syn::Item::Union(part) => self.item(&part.ident),
            syn::Item::Macro(part) => {
                if let Some(name) = &part.ident {
                    self.item(name);
                }
            }
            _ => {}
        }
        self.tokens(item.to_token_stream());
    }
}

fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Const(part) => &part.attrs,
        syn::Item::Enum(part) => &part.attrs,
        syn::Item::Fn(part) => &part.attrs,
        syn::Item::Impl(part) => &part.attrs,
        syn::Item::Macro(part) => &part.attrs,
        syn::Item::Mod(part) => &part.attrs,
        syn::Item::Static(part) => &part.attrs,
        syn::Item::Struct(part) => &part.attrs,
        syn::Item::Trait(part) => &part.attrs,
        syn::Item::Type(part) => &part.attrs,
        syn::Item::Use(part) => &part.attrs,
        _ => &[],
    }
}

/// Whether an attribute leaves its item out of an ordinary build.
fn for_tests(attribute: &syn::Attribute) -> bool {
    let text = attribute.to_token_stream().to_string();
    attribute.path().is_ident("cfg") && text.contains("test")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each circle of a crate of these files, as its lines.
    fn check(files: &[(&str, &str)], expected: &[&[&str]]) {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let found = of_crate(&folder.path().join("lib.rs")).unwrap();
        assert_eq!(found.circles, expected);
    }

    #[test]
    fn arrows_that_run_one_way_are_no_circle() {
        check(
            &[
                ("lib.rs", "mod a; mod b; pub use a::A; pub use b::B;"),
                ("a.rs", "pub struct A;"),
                (
                    "b.rs",
                    "use crate::A; pub struct B(A); use std::fmt::Debug;",
                ),
            ],
            &[],
        );
    }

    #[test]
    fn two_modules_that_use_each_other_are_named_with_what_they_use() {
        check(
            &[
                ("lib.rs", "mod a; mod b; pub use a::A;"),
                ("a.rs", "use crate::b::B; pub struct A(B);"),
                (
                    "b.rs",
                    "pub struct B; fn f() { println!(\"{}\", crate::A::NAME); }",
                ),
            ],
            &[&["crate::a uses crate::b::B", "crate::b uses crate::A::NAME"]],
        );
    }

    #[test]
    fn a_module_and_its_child_that_use_each_other_are_a_circle() {
        check(
            &[
                ("lib.rs", "mod a;"),
                ("a/mod.rs", "mod deep; pub struct A; fn f() { deep::g() }"),
                ("a/deep.rs", "use super::A; pub fn g() -> A { A }"),
            ],
            &[&["crate::a uses deep::g", "crate::a::deep uses super::A"]],
        );
    }

    #[test]
    fn a_name_that_is_only_passed_on_is_no_arrow() {
        let deep = ("a/deep.rs", "use super::A; pub fn g(_: A) {}");
        check(
            &[
                ("lib.rs", "mod a;"),
                ("a.rs", "mod deep; pub use deep::g; pub struct A;"),
                deep,
            ],
            &[],
        );
        check(
            &[
                ("lib.rs", "mod a;"),
                (
                    "a.rs",
                    "mod deep; pub use deep::g; pub struct A; fn f() { g(A) }",
                ),
                deep,
            ],
            &[&["crate::a uses deep::g", "crate::a::deep uses super::A"]],
        );
    }

    #[test]
    fn what_only_tests_use_is_no_arrow() {
        check(
            &[
                ("lib.rs", "mod a; mod b;"),
                (
                    "a.rs",
                    "pub struct A; #[cfg(test)] mod tests { use crate::b::B; }",
                ),
                ("b.rs", "use crate::a::A; pub struct B(A);"),
            ],
            &[],
        );
    }

    #[test]
    fn a_package_must_have_the_circles_that_remain() {
        let circle = vec![vec![
            "crate::a uses b".to_owned(),
            "crate::b uses a".to_owned(),
        ]];
        assert_eq!(judge("p", &circle, 1), Vec::<String>::new());
        assert_eq!(
            judge("p", &circle, 0),
            ["p: modules use each other:\n    crate::a uses b\n    crate::b uses a"]
        );
        assert_eq!(
            judge("p", &[], 1),
            ["p: 0 circles of modules instead of 1; write that into the table of the check"]
        );
    }
}
