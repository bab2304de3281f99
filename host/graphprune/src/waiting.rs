//! The waiting of a training's threads for one another.

/// Environment variables of the OpenMP libraries that libtorch may use.
const SETTINGS: [&str; 3] = ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"];

/// Makes OpenMP's threads sleep while they wait, unless one of the variables is set. By default
/// they spin: on a machine with other work, all of them spin for the one thread that shares its
/// core, and a training takes ten times as long.
///
/// The library reads its variables when it is loaded, before `main`, and has no call to change
/// this one. So the program replaces itself by a new start with the variable set; if that fails,
/// it continues.
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
