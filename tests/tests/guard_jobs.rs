//! The job files in the documentation of the guard run as written: their scripts are extracted
//! from the page and executed against the local agent.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use graphprune_tests::{Sandbox, binary, zoo_bytes};
use yaml_rust2::{Yaml, YamlLoader};

/// Returns the job file below a heading of the page.
fn job_file(heading: &str) -> Yaml {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../host/docs/guard.md");
    let page = fs::read_to_string(page).unwrap();
    let (_, section) = page.split_once(&format!("\n## {heading}\n")).unwrap();
    let (_, rest) = section.split_once("```yaml\n").unwrap();
    let (text, _) = rest.split_once("```").unwrap();
    YamlLoader::load_from_str(text).unwrap().remove(0)
}

/// A repository with one model, and `graphprune` on the path.
struct Repository {
    sandbox: Sandbox,
}

impl Repository {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        fs::create_dir(sandbox.path("models")).unwrap();
        fs::create_dir(sandbox.path("bin")).unwrap();
        symlink(binary("graphprune"), sandbox.path("bin/graphprune")).unwrap();
        Self { sandbox }
    }

    /// Replaces the model by a network of the zoo.
    fn commit(&self, network: &str) {
        let path = self.sandbox.path("models/net.onnx");
        fs::write(path, zoo_bytes(network)).unwrap();
    }

    /// Runs a script as CI services do, and returns its exit code.
    fn run(&self, script: &str, variables: &[(&str, &str)]) -> i32 {
        assert!(
            !script.contains("${{"),
            "an expression of the service: {script}"
        );
        let mut path = self.sandbox.path("bin").into_os_string();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap());
        let mut bash = Command::new("bash");
        bash.args(["-e", "-o", "pipefail", "-c", script])
            .current_dir(self.sandbox.path(""))
            .env("PATH", path)
            .envs(variables.iter().copied());
        for (name, value) in self.sandbox.command(&[]).get_envs() {
            bash.env(name, value.unwrap());
        }
        bash.status().unwrap().code().unwrap()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.sandbox.path(name)).unwrap()
    }
}

#[test]
fn the_github_job_saves_a_baseline_and_reports_a_regression() {
    let job = job_file("GitHub Actions");
    let steps = job["jobs"]["latency"]["steps"].as_vec().unwrap();
    let repository = Repository::new();
    let summary = repository.sandbox.path("step-summary.md");
    let variables = [
        ("GITHUB_STEP_SUMMARY", summary.to_str().unwrap()),
        ("GITHUB_SHA", "0123456789012345678901234567890123456789"),
    ];
    // A step whose condition does not start with `always()` is skipped after a failure.
    let run = |event: &str| {
        let mut code = 0;
        for step in steps.iter().filter(|step| !step["run"].is_badvalue()) {
            let condition = step["if"].as_str().unwrap();
            let is_due = code == 0 || condition.starts_with("always() && ");
            if is_due && condition.ends_with(&format!("github.event_name == '{event}'")) {
                let ended = repository.run(step["run"].as_str().unwrap(), &variables);
                code = if code == 0 { ended } else { code };
            }
        }
        code
    };

    repository.commit("resnet56");
    assert_eq!(run("push"), 0);
    repository.commit("resnet20");
    assert_eq!(run("pull_request"), 0, "a faster network");
    assert!(
        fs::read_to_string(&summary)
            .unwrap()
            .contains("no regression")
    );
    assert_eq!(run("push"), 0);
    repository.commit("resnet56");
    assert_eq!(run("pull_request"), 1, "a slower network");
    assert!(repository.read("bench.xml").contains("failures=\"1\""));
    assert!(fs::read_to_string(&summary).unwrap().contains("1 slower"));
}

#[test]
fn the_gitlab_job_saves_a_baseline_and_reports_a_regression() {
    let job = job_file("GitLab");
    let script = job["latency"]["script"].as_vec().unwrap();
    let script: Vec<&str> = script.iter().map(|line| line.as_str().unwrap()).collect();
    let repository = Repository::new();
    let run = |branch: &str| {
        let variables = [("CI_COMMIT_BRANCH", branch), ("CI_DEFAULT_BRANCH", "main")];
        repository.run(&script.join("\n"), &variables)
    };

    repository.commit("resnet20");
    assert_eq!(run("main"), 0);
    repository.commit("resnet56");
    assert_eq!(run("feature"), 1, "a slower network");
    let results = job["latency"]["artifacts"]["reports"]["junit"].as_str();
    assert!(repository.read(results.unwrap()).contains("failures=\"1\""));
}
