//! How the threads of a training wait for one another.

/// Names of the settings of the libraries that the threads of libtorch may come from.
const SETTINGS: [&str; 3] = ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"];

/// Makes OpenMP's threads sleep where they wait, unless the user has said how they wait. By default they spin: on a machine that
/// has other work too, the thread that shares its core is waited for by others that burn theirs, and a training takes ten times
/// as long.
///
/// The library reads its settings when it is loaded, before `main`, and has no call to change this one. So the program starts
/// itself anew in this process, with the setting; where that fails, it goes on as it is.
pub fn asleep() {
    if SETTINGS.iter().any(|name| std::env::var_os(name).is_some()) {
        return;
    }
    #[cfg(unix)]
    if let Ok(program) = std::env::current_exe() {
        use std::os::unix::process::CommandExt as _;

        let mut arguments = std::env::args_os();
        let mut again = std::process::Command::new(program);
        if let Some(name) = arguments.next() {
            again.arg0(name);
        }
        let failed = again.args(arguments).env(SETTINGS[0], "passive").exec();
        tracing::warn!("OpenMP's threads spin where they wait: {failed}");
    }
}
