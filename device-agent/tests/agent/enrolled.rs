//! The start-up commands that `graphprune device enroll` prints, run as printed.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use graphprune_boards::free_port;
use latency::{AgentDevice, Enrolled, Enrolment, LatencySource, Patience, Tcp, enroll};

use crate::fixture::{Convolution, agent, impatient, quick, request, runtime_library};

/// Makes certificates for a device at a free port of this machine.
fn enrolled(folder: &Path) -> Enrolled {
    let port = free_port().unwrap();
    enroll(&Enrolment {
        device: "attic".into(),
        address: format!("127.0.0.1:{port}"),
        days: 2,
        folder: Some(folder.to_owned()),
        new_ca: false,
    })
    .unwrap()
}

/// Copies the files to a device's home folder, under the printed names.
fn copy_to(home: &Path, made: &Enrolled) {
    let targets = made.copying().map(|line| {
        let target = line.rsplit("USER@HOST:").next().unwrap();
        home.join(target)
    });
    let [certificates, programs] = targets;
    for folder in [&certificates, &programs] {
        std::fs::create_dir(folder).unwrap();
    }
    for entry in std::fs::read_dir(&made.device_folder).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), certificates.join(entry.file_name())).unwrap();
    }
    std::fs::copy(agent(), programs.join("graphprune-agent")).unwrap();
    let library = programs.join("libonnxruntime.so");
    std::fs::copy(runtime_library(), library).unwrap();
}

struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        // The shell and its descendants.
        let group = nix::unistd::Pid::from_raw(self.0.id() as i32);
        let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
        self.0.wait().unwrap();
    }
}

/// Runs a script in a home folder, without graphprune's variables.
fn started(mut command: Command, script: &str, home: &Path) -> Started {
    use std::os::unix::process::CommandExt;
    command
        .args(["sh", "-euc", script])
        .current_dir(home)
        .env("HOME", home)
        .env_remove("ORT_DYLIB_PATH")
        .env_remove("LD_LIBRARY_PATH")
        .env_remove("XDG_CACHE_HOME")
        .process_group(0)
        .stdin(Stdio::null());
    Started(command.spawn().unwrap())
}

/// Expects the agent to accept the host's certificates and to measure.
fn measures(made: &Enrolled) {
    let tcp = Tcp {
        device: "attic".into(),
        address: made.address.clone(),
        certificates: made.host_folder.clone(),
    };
    let patience = Patience {
        restarts: 60,
        ..impatient()
    };
    // The agent needs a moment until it listens.
    let begun = std::time::Instant::now();
    let mut device = loop {
        match AgentDevice::start(tcp.clone(), "tcp", patience.clone()) {
            Ok(device) => break device,
            Err(error) if begun.elapsed().as_secs() > 60 => panic!("{error}"),
            Err(_) => std::thread::yield_now(),
        }
    };
    let all = device.measure(&request(Convolution::default().model("m"), quick()));
    assert!(all.unwrap()[0].is_valid());
}

#[test]
fn the_agent_starts_by_hand_as_enroll_prints_it() {
    let folder = tempfile::tempdir().unwrap();
    let home = tempfile::tempdir().unwrap();
    let made = enrolled(folder.path());
    copy_to(home.path(), &made);
    let _agent = started(Command::new("env"), &made.by_hand(), home.path());
    measures(&made);
}

#[test]
fn the_agent_starts_as_a_service_as_enroll_prints_it() {
    let folder = tempfile::tempdir().unwrap();
    let home = tempfile::tempdir().unwrap();
    let made = enrolled(folder.path());
    copy_to(home.path(), &made);
    let unit = made.unit();
    let setting = |name: &str| {
        let mut lines = unit.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        value.unwrap().to_owned()
    };
    // The printed commands run in namespaces with system folders of their own, where every
    // process is root and `useradd` only writes a line.
    let mut script = String::from(
        "for d in /opt /etc /var/cache; do mount -t tmpfs own $d; done\nsudo() { \"$@\"; }\n\
         useradd() { echo \"$2:x:0:0::/:/bin/sh\" >/etc/passwd; }\n",
    );
    for line in made.installing() {
        script += &format!("{line}\n");
    }
    let (cache, mode) = (setting("CacheDirectory"), setting("CacheDirectoryMode"));
    script += &format!(
        "install -d -m {mode} -o {} /var/cache/{cache}\n",
        setting("User")
    );
    script += &format!("exec {}\n", setting("ExecStart"));
    let mut place = Command::new("unshare");
    place.args(["--user", "--map-root-user", "--mount", "--pid", "--fork"]);
    place.arg("--mount-proc");
    let _agent = started(place, &script, home.path());
    measures(&made);
}
