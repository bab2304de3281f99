//! Circles between the modules of a crate: modules that use each other can only be understood
//! together.
//!
//! A module is a file. It depends on another if it names an item that the other defines. A `pub
//! use` that only re-exports a name is not a dependency, and a name that is used through it
//! depends on the defining module. Code for tests is ignored. Names that macros compose are not
//! found.

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

/// Remaining circles by package. The numbers may only decrease.
const REMAINING: &[(&str, usize)] = &[];

/// The most re-exports that are followed for one name.
const MOST_REEXPORTS: usize = 16;

/// The modules and circles of a package's library and programs.
#[derive(Default)]
pub struct Modules {
    /// Number of modules.
    pub count: usize,
    /// The circles, each with its modules and the names they use of each other.
    pub circles: Vec<Vec<String>>,
}

impl Modules {
    /// Reads the sources of a package.
    pub fn of(package: &Package) -> Result<Self> {
        let mut modules = Self::default();
        let targets = package.targets.iter();
        for target in targets.filter(|target| target.is_lib_or_bin()) {
            let read = of_crate(&target.src_path)?;
            modules.count += read.count;
            modules.circles.extend(read.circles);
        }
        Ok(modules)
    }

    /// Reports the circles of a package with more than the remaining ones, and a package with
    /// fewer.
    pub fn violations(&self, package: &str) -> Vec<String> {
        let remaining = REMAINING.iter().find(|(name, _)| *name == package);
        judge(
            package,
            &self.circles,
            remaining.map_or(0, |(_, count)| *count),
        )
    }
}

fn judge(package: &str, found: &[Vec<String>], remaining: usize) -> Vec<String> {
    match found.len().cmp(&remaining) {
        Ordering::Equal => Vec::new(),
        Ordering::Less => vec![format!(
            "{package}: {} module circles instead of {remaining}; update the table REMAINING of the check",
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

/// Reads a crate from its root file (`lib.rs` or `main.rs`).
fn of_crate(root: &Path) -> Result<Modules> {
    let mut tree = Tree::default();
    let folder = root.parent().context("a root file without a folder")?;
    tree.read(root, folder, None, "crate")?;
    let dependencies = tree.dependencies();
    let graph: DiGraphMap<usize, ()> = DiGraphMap::from_edges(dependencies.keys().copied());
    let circles = tarjan_scc(&graph)
        .into_iter()
        .filter(|members| members.len() > 1)
        .map(|mut members| {
            members.sort_unstable();
            members
                .iter()
                .map(|module| tree.describe(*module, &members, &dependencies))
                .collect()
        })
        .collect();
    Ok(Modules {
        count: tree.modules.len(),
        circles,
    })
}

/// The modules of a crate, starting with the root.
#[derive(Default)]
struct Tree {
    modules: Vec<Module>,
}

struct Module {
    /// `crate::a::b`.
    path: String,
    parent: Option<usize>,
    children: BTreeMap<String, usize>,
    /// Names of the defined items.
    items: BTreeSet<String>,
    /// Imported names with their paths.
    imports: BTreeMap<String, Import>,
    globs: Vec<Import>,
    /// The segments of the paths in the code.
    paths: BTreeSet<Vec<String>>,
    /// All identifiers outside of imports.
    words: BTreeSet<String>,
}

struct Import {
    path: Vec<String>,
    /// Whether it is re-exported.
    reexported: bool,
}

/// Dependencies from one module to another, with a used name.
type Dependencies = BTreeMap<(usize, usize), String>;

impl Tree {
    /// Reads a file and the modules it declares, whose files are in `folder`.
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

    fn dependencies(&self) -> Dependencies {
        let mut dependencies = Dependencies::new();
        for (from, module) in self.modules.iter().enumerate() {
            let imports = module
                .imports
                .iter()
                .filter(|(name, import)| !import.reexported || module.words.contains(*name));
            let paths = imports
                .map(|(_, import)| &import.path)
                .chain(
                    module
                        .globs
                        .iter()
                        .filter(|glob| !glob.reexported)
                        .map(|glob| &glob.path),
                )
                .chain(&module.paths);
            for path in paths {
                let to = self.resolve(from, path, MOST_REEXPORTS);
                if let Some(to) = to.filter(|to| *to != from) {
                    dependencies
                        .entry((from, to))
                        .or_insert_with(|| path.join("::"));
                }
            }
        }
        dependencies
    }

    /// The module that defines the item of a path, seen from a module; `None` for items outside
    /// of the crate.
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
            // Items defined by a macro are attributed to the module that exports them.
            None => Some(at),
        }
    }

    fn describe(&self, module: usize, members: &[usize], dependencies: &Dependencies) -> String {
        let uses: Vec<_> = dependencies
            .iter()
            .filter(|((from, to), _)| *from == module && members.contains(to))
            .map(|(_, name)| name.as_str())
            .collect();
        format!("{} uses {}", self.modules[module].path, uses.join(", "))
    }
}

/// Collects the definitions and names of a file.
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

    fn import(&mut self, tree: &syn::UseTree, mut path: Vec<String>, reexported: bool) {
        match tree {
            syn::UseTree::Path(part) => {
                path.push(part.ident.to_string());
                self.import(&part.tree, path, reexported);
            }
            syn::UseTree::Name(name) => {
                let name = name.ident.to_string();
                if name != "self" {
                    path.push(name);
                }
                let bound = path.last().cloned().unwrap_or_default();
                self.imports.insert(bound, Import { path, reexported });
            }
            syn::UseTree::Rename(rename) => {
                path.push(rename.ident.to_string());
                self.imports
                    .insert(rename.rename.to_string(), Import { path, reexported });
            }
            syn::UseTree::Glob(_) => self.globs.push(Import { path, reexported }),
            syn::UseTree::Group(group) => {
                for tree in &group.items {
                    self.import(tree, path.clone(), reexported);
                }
            }
        }
    }

    /// Finds paths in tokens, including the arguments of macros.
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
                let reexported = !matches!(part.vis, syn::Visibility::Inherited);
                self.import(&part.tree, Vec::new(), reexported);
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

/// Whether an attribute excludes its item from builds without tests.
fn for_tests(attribute: &syn::Attribute) -> bool {
    let text = attribute.to_token_stream().to_string();
    attribute.path().is_ident("cfg") && text.contains("test")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks the circles of a crate with these files.
    fn check(files: &[(&str, &str)], expected: &[&[&str]]) {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let read = of_crate(&folder.path().join("lib.rs")).unwrap();
        assert_eq!(read.circles, expected);
    }

    #[test]
    fn dependencies_in_one_direction_are_not_a_circle() {
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
    fn a_circle_is_reported_with_the_used_names() {
        check(
            &[
                ("lib.rs", "mod a; mod b; pub use a::A;"),
                ("a.rs", "use crate::b::B; pub struct A(B);"),
                (
                    "b.rs",
                    "pub struct B; fn f() { say!(\"{}\", crate::A::NAME); }",
                ),
            ],
            &[&["crate::a uses crate::b::B", "crate::b uses crate::A::NAME"]],
        );
    }

    #[test]
    fn a_module_and_its_child_can_form_a_circle() {
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
    fn a_reexport_is_not_a_dependency() {
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
    fn uses_in_tests_are_not_dependencies() {
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
    fn a_package_must_have_exactly_the_remaining_circles() {
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
            ["p: 0 module circles instead of 1; update the table REMAINING of the check"]
        );
    }
}
