//! The package table in the architecture page, generated from the manifests and the table of
//! allowed dependencies.

use std::path::Path;

use anyhow::{Context, Result};

use super::architecture;
use crate::output::say;
use crate::shell::{Checkout, Package};

const MAP: &str = "host/ARCHITECTURE.md";
const BEGIN: &str = "<!-- packages: written by `cargo xtask check --write` -->";
const END: &str = "<!-- end of packages -->";

/// Reports a table that is out of date; updates it instead with `write`.
pub fn violations(checkout: &Checkout, packages: &[Package], write: bool) -> Result<Vec<String>> {
    let path = checkout.root().join(MAP);
    let before = std::fs::read_to_string(&path).with_context(|| format!("cannot read {MAP}"))?;
    let after = with_table(&before, &table(checkout.root(), packages))
        .with_context(|| format!("{MAP} lacks the lines `{BEGIN}` and `{END}`"))?;
    if before == after {
        return Ok(Vec::new());
    }
    if write {
        std::fs::write(&path, after).with_context(|| format!("cannot write {MAP}"))?;
        say!("{MAP}: updated the package table");
        return Ok(Vec::new());
    }
    Ok(vec![format!(
        "{MAP}: the package table is out of date; `cargo xtask check --write` updates it"
    )])
}

fn with_table(text: &str, table: &str) -> Option<String> {
    let begin = text.find(BEGIN)? + BEGIN.len();
    let end = begin + text[begin..].find(END)?;
    Some(format!("{}\n{table}{}", &text[..begin], &text[end..]))
}

fn table(root: &Path, packages: &[Package]) -> String {
    let mut text =
        "| place | package | what it is for | may depend on |\n|---|---|---|---|\n".to_owned();
    for package in packages {
        let folder = package.folder(root);
        let path = folder.strip_prefix(root).unwrap_or(folder);
        let may = match architecture::permissions(&package.name) {
            [] => "-".to_owned(),
            names => names.join(", "),
        };
        text += &format!(
            "| `{}` | {} | {} | {may} |\n",
            path.display(),
            package.name,
            package.description
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(path: &str, name: &str, description: &str) -> Package {
        Package {
            name: name.into(),
            description: description.into(),
            manifest_path: Path::new("top").join(path).join("Cargo.toml"),
            dependencies: Vec::new(),
            targets: Vec::new(),
        }
    }

    #[test]
    fn the_table_has_a_row_per_package_with_its_permissions() {
        let packages = [
            package("host/onnx-graph", "onnx-graph", "Graphs"),
            package("host/channels", "channels", "Groups"),
        ];
        assert_eq!(
            table(Path::new("top"), &packages),
            "| place | package | what it is for | may depend on |\n|---|---|---|---|\n\
             | `host/onnx-graph` | onnx-graph | Graphs | - |\n\
             | `host/channels` | channels | Groups | onnx-graph |\n"
        );
    }

    #[test]
    fn only_the_text_between_the_markers_is_replaced() {
        let text = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        let expected = format!("before\n{BEGIN}\nnew\n{END}\nafter\n");
        assert_eq!(with_table(&text, "new\n"), Some(expected));
        assert_eq!(with_table("no markers", "new\n"), None);
    }
}
