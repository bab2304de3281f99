//! The size of each package: lines of code and of tests, modules, and module circles.

use std::path::Path;

use anyhow::Result;

use super::modules::Modules;
use crate::output::say;
use crate::shell::Package;

/// Names of folders and files that only serve tests and benchmarks.
const FOR_TESTS: [&str; 5] = ["tests", "tests.rs", "benches", "examples", "fuzz"];

/// The size of a package.
#[derive(Default, Debug, PartialEq)]
struct Size {
    /// Lines of its library and programs, outside of test modules.
    code: usize,
    /// Lines of its tests, benchmarks and examples.
    tests: usize,
}

/// Prints the sizes of all packages, and returns their forbidden module circles.
pub fn violations(root: &Path, packages: &[Package], files: &[String]) -> Result<Vec<String>> {
    let mut violations = Vec::new();
    let mut rows = Vec::new();
    let (mut total, mut all_modules, mut all_circles) = (Size::default(), 0, 0);
    for package in packages {
        let modules = Modules::of(package)?;
        violations.extend(modules.violations(&package.name));
        let size = size(root, package, packages, files);
        let counts = [size.code, size.tests, modules.count, modules.circles.len()];
        rows.push((package.name.as_str(), counts));
        total.code += size.code;
        total.tests += size.tests;
        all_modules += modules.count;
        all_circles += modules.circles.len();
    }
    let sums = [total.code, total.tests, all_modules, all_circles];
    rows.push(("total", sums));
    say!(
        "{:<18} {:>7} {:>7} {:>7} {:>7}",
        "package",
        "code",
        "tests",
        "modules",
        "circles"
    );
    for (name, [code, tests, modules, circles]) in rows {
        say!("{name:<18} {code:>7} {tests:>7} {modules:>7} {circles:>7}");
    }
    Ok(violations)
}

fn size(root: &Path, package: &Package, packages: &[Package], files: &[String]) -> Size {
    let folder = package.folder(root);
    let mut size = Size::default();
    for file in files.iter().filter(|file| file.ends_with(".rs")) {
        let path = root.join(file);
        if !package.contains(&path, root, packages) {
            continue;
        }
        // A listed file may be about to be removed.
        let Ok(text) = std::fs::read_to_string(&path) else {
            continue;
        };
        let inside = path.strip_prefix(folder).unwrap_or(&path);
        let mut names = inside.iter().filter_map(|name| name.to_str());
        let is_test = names.any(|name| FOR_TESTS.contains(&name));
        let lines = lines(&text);
        if is_test {
            size.tests += lines.code + lines.tests;
        } else {
            size.code += lines.code;
            size.tests += lines.tests;
        }
    }
    size
}

/// The lines of a file; its test module, which comes last, counts as tests.
fn lines(text: &str) -> Size {
    let lines: Vec<&str> = text.lines().collect();
    let starts_tests = |pair: &[&str]| pair[0] == "#[cfg(test)]" && pair[1].ends_with('{');
    let code = lines.windows(2).position(starts_tests);
    let code = code.unwrap_or(lines.len());
    Size {
        code,
        tests: lines.len() - code,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_test_module_count_as_tests() {
        let check = |text: &str, code, tests| assert_eq!(lines(text), Size { code, tests });
        check("fn f() {}\n\nfn g() {}\n", 3, 0);
        check("fn f() {}\n\n#[cfg(test)]\nmod tests {\n}\n", 2, 3);
        check("#[cfg(test)]\nmod tests;\n\nfn f() {}\n", 4, 0);
        check("", 0, 0);
    }
}
