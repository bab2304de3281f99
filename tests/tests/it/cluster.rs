//! The example of a SLURM job is a script that a shell runs: with SLURM's variables set, each task
//! finds its place.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use collective::Place;

/// A program of that name in `folder`, which is a shell script.
fn program(folder: &Path, name: &str, script: &str) {
    let path = folder.join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn the_job_for_slurm_starts_or_resumes_and_each_task_finds_its_place() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../host/docs/cluster/prune.sbatch");
    let folder = tempfile::tempdir().unwrap();
    program(folder.path(), "scontrol", "echo node7; echo node8");
    // It starts the tasks of a job: here it says what they are started with.
    program(
        folder.path(),
        "srun",
        "echo \"$MASTER_ADDR $MASTER_PORT $*\"",
    );
    let path = std::env::var("PATH").unwrap();
    let said = || {
        let mut command = Command::new("bash");
        command.arg(&script).current_dir(folder.path());
        command.env("PATH", format!("{}:{path}", folder.path().display()));
        command.envs([
            ("SLURM_JOB_ID", "123456"),
            ("SLURM_JOB_NODELIST", "node[7-8]"),
        ]);
        let output = command.env_remove("RUN").output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let first = said();
    let start =
        "node7 23456 --kill-on-bad-exit=1 graphprune prune --out runs/resnet50 resnet50.onnx";
    assert!(first.starts_with(start), "{first}");
    let run = folder.path().join("runs/resnet50");
    std::fs::create_dir_all(&run).unwrap();
    std::fs::write(run.join("config.toml"), "").unwrap();
    let again = said();
    assert!(
        again.trim_end().ends_with("--out runs/resnet50 --resume"),
        "{again}"
    );

    let task = |name: &str| match name {
        "MASTER_ADDR" => Some("node7".to_owned()),
        "MASTER_PORT" => Some("23456".to_owned()),
        "SLURM_PROCID" => Some("5".to_owned()),
        "SLURM_NTASKS" => Some("8".to_owned()),
        "SLURM_LOCALID" => Some("1".to_owned()),
        _ => None,
    };
    let place = Place::from_variables(&task).unwrap().unwrap();
    assert_eq!((place.rank, place.size, place.local_rank), (5, 8, 1));
    assert_eq!((place.host.as_str(), place.port), ("node7", 23456));
}
