use super::*;

fn agents(folder: &Path, files: &[(&str, &str)]) -> Agents {
    let mut listed = Vec::new();
    for (path, text) in files {
        let to = folder.join(path);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::write(to, text).unwrap();
        let sha256 = Sha256::of(text.as_bytes());
        listed.push(serde_json::json!({"path": path, "bytes": text.len(), "sha256": sha256}));
    }
    let triple = files.first().unwrap().0.split('/').next().unwrap();
    let agent = serde_json::json!({"triple": triple, "version": "1", "git": "", "compiler": "", "glibc": "2.28", "files": listed});
    let manifest = serde_json::json!({ "agents": [agent] });
    std::fs::write(folder.join(MANIFEST), manifest.to_string()).unwrap();
    Agents::find(Some(folder)).unwrap()
}

fn target() -> Target {
    Target {
        machine: "aarch64".into(),
        glibc: Some((2, 31)),
        loaders: vec!["/lib/ld-linux-aarch64.so.1".into()],
        sh: "/system/bin/sh".into(),
        ..Target::default()
    }
}

const FILES: [(&str, &str); 4] = [
    ("aarch64-unknown-linux-gnu/graphprune-agent", "agent"),
    ("aarch64-unknown-linux-gnu/libonnxruntime.so", "runtime"),
    (
        "aarch64-unknown-linux-gnu/libc/ld-linux-aarch64.so.1",
        "loader",
    ),
    ("aarch64-unknown-linux-gnu/libc/libc.so.6", "libc"),
];

fn names(bundle: &Bundle) -> Vec<&str> {
    bundle.files.iter().map(|file| file.name.as_str()).collect()
}

#[test]
fn a_device_with_a_c_library_gets_two_files_under_a_stable_name() {
    let folder = tempfile::tempdir().unwrap();
    let agents = agents(folder.path(), &FILES);
    let deployment = Deployment::default();
    let bundle = agents.bundle(&target(), &deployment).unwrap();
    assert_eq!(names(&bundle), [AGENT, LIBRARY]);
    assert_eq!(
        bundle.hash(),
        agents.bundle(&target(), &deployment).unwrap().hash()
    );
    assert_eq!(bundle.hash().len(), 16);
}

#[test]
fn a_device_without_a_c_library_gets_one_with_a_start_script_for_its_shell() {
    let folder = tempfile::tempdir().unwrap();
    let agents = agents(folder.path(), &FILES);
    let phone = Target {
        loaders: Vec::new(),
        ..target()
    };
    let bundle = agents.bundle(&phone, &Deployment::default()).unwrap();
    let expected = [
        AGENT,
        PROGRAM,
        "libc/ld-linux-aarch64.so.1",
        "libc/libc.so.6",
        LIBRARY,
    ];
    assert_eq!(names(&bundle), expected);
    let script = std::fs::read_to_string(&bundle.files[0].source).unwrap();
    assert!(script.starts_with("#!/system/bin/sh\n"), "{script}");
}

#[test]
fn an_impossible_deployment_is_refused_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let check = |files: &[(&str, &str)], target: &Target, wish: &Deployment, needle: &str| {
        let error = agents(folder.path(), files)
            .bundle(target, wish)
            .err()
            .unwrap();
        assert!(error.to_string().contains(needle), "{error}");
    };
    let plain = Deployment::default();
    let old = Target {
        glibc: Some((2, 17)),
        ..target()
    };
    check(&FILES[..2], &old, &plain, "--bundle-libc");
    let pc = Target {
        machine: "x86_64".into(),
        ..target()
    };
    check(&FILES, &pc, &plain, "cargo xtask agents --target x86_64");
    let of = |triple: &str| Deployment {
        triple: triple.into(),
        ..Deployment::default()
    };
    let x86 = of("x86_64-unknown-linux-gnu");
    check(&FILES, &target(), &x86, "choose another profile");
    check(&FILES, &pc, &of(ARMV7), "choose another profile");
    // A profile may choose 32-bit programs for a 64-bit Arm processor.
    let needle = "cargo xtask agents --target armv7";
    check(&FILES, &target(), &of(ARMV7), needle);
    check(&[("x/../../etc/passwd", "")], &target(), &plain, "no agent");
    let outside = [("aarch64-unknown-linux-gnu/../secret", "")];
    check(&outside, &target(), &plain, "not in the agent's folder");
}

#[test]
fn the_users_library_replaces_the_agents() {
    let folder = tempfile::tempdir().unwrap();
    let agents = agents(folder.path(), &FILES);
    let own = folder.path().join("mine.so");
    std::fs::write(&own, "my runtime").unwrap();
    let deployment = Deployment {
        runtime: Some(own.clone()),
        with: vec![own.clone()],
        ..Deployment::default()
    };
    let bundle = agents.bundle(&target(), &deployment).unwrap();
    assert_eq!(names(&bundle), [AGENT, LIBRARY, "mine.so"]);
    assert_eq!(bundle.files[1].source, own);
}
