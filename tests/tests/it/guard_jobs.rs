//! The job files in the documentation of the guard run as written: their scripts are executed
//! against the local agent.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use graphprune_tests::{Sandbox, binary, zoo_bytes};
use yaml_rust2::{Yaml, YamlLoader};

/// Returns a job file of the documentation.
fn job_file(name: &str) -> Yaml {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../host/docs/ci");
    let text = fs::read_to_string(path.join(name)).unwrap();
    YamlLoader::load_from_str(&text).unwrap().remove(0)
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
fn the_github_action_saves_a_baseline_and_reports_a_regression() {
    let action = job_file("github-action.yml");
    let step = &action["runs"]["steps"][0];
    let repository = Repository::new();
    let summary = repository.sandbox.path("step-summary.md");
    let inputs = &action["inputs"];
    let default = |name: &str| inputs[name]["default"].as_str().unwrap().to_owned();
    let run = |event: &str| {
        let mut variables = vec![
            ("GITHUB_STEP_SUMMARY", summary.display().to_string()),
            ("GITHUB_SHA", "0123456789".repeat(4)),
            ("GITHUB_EVENT_NAME", event.to_owned()),
        ];
        // The service replaces `${{ inputs.NAME }}`.
        for (variable, value) in step["env"].as_hash().unwrap() {
            let value = value.as_str().unwrap();
            let name = value.strip_prefix("${{ inputs.").unwrap();
            let name = name.strip_suffix(" }}").unwrap();
            variables.push((variable.as_str().unwrap(), default(name)));
        }
        let variables: Vec<(&str, &str)> = variables.iter().map(|(n, v)| (*n, &v[..])).collect();
        repository.run(step["run"].as_str().unwrap(), &variables)
    };

    repository.commit("resnet56");
    assert_eq!(run("pull_request"), 0, "the first time it saves");
    assert!(repository.read("bench.xml").contains("<skipped"));
    repository.commit("resnet20");
    assert_eq!(run("pull_request"), 0, "a faster network");
    let written = || fs::read_to_string(&summary).unwrap();
    assert!(written().contains("no regression"));
    assert_eq!(run("push"), 0);
    repository.commit("resnet56");
    assert_eq!(run("pull_request"), 3, "a slower network");
    assert!(repository.read("bench.xml").contains("failures=\"1\""));
    assert!(written().contains("1 slower"));
}

#[test]
fn the_gitlab_job_saves_a_baseline_and_reports_a_regression() {
    let job = job_file("gitlab.yml");
    let job = &job["latency"];
    let script = job["script"].as_vec().unwrap();
    let script: Vec<&str> = script.iter().map(|line| line.as_str().unwrap()).collect();
    let repository = Repository::new();
    let run = |branch: &str| {
        let mut variables = vec![("CI_COMMIT_BRANCH", branch), ("CI_DEFAULT_BRANCH", "main")];
        let own = job["variables"].as_hash().unwrap().iter();
        variables
            .extend(own.map(|(name, value)| (name.as_str().unwrap(), value.as_str().unwrap())));
        repository.run(&script.join("\n"), &variables)
    };

    repository.commit("resnet20");
    assert_eq!(run("main"), 0);
    repository.commit("resnet56");
    assert_eq!(run("feature"), 3, "a slower network");
    let results = job["artifacts"]["reports"]["junit"].as_str();
    assert!(repository.read(results.unwrap()).contains("failures=\"1\""));
}
