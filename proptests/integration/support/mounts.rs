//! Mount namespaces, for full disks and missing tools.

use std::process::{Command, Output};

use super::{Bench, is_root};

/// Runs a command in a mount namespace of its own, after `mounts` (a shell script), as the ordinary user.
pub fn run(bench: &Bench, mounts: &str, command: &Command) -> Output {
    // Root drops to the user after mounting; the user maps itself to root to be allowed to mount.
    let (unshare, drop) = match is_root() {
        true => ("-m", "exec setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all -- \"$@\""),
        false => ("-rm", "exec \"$@\""),
    };
    let environment = command.get_envs().filter_map(|(name, value)| {
        let mut variable = name.to_owned();
        variable.push("=");
        variable.push(value?);
        Some(variable)
    });
    Command::new("unshare")
        .args([unshare, "/bin/sh", "-ec", &format!("{mounts}\n{drop}"), "sh", "env", "-i"])
        .args(environment)
        .arg(command.get_program())
        .args(command.get_args())
        .current_dir(bench.home())
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .output()
        .unwrap()
}

/// The options of a tmpfs that only the ordinary user may access.
pub fn private_tmpfs(size: &str) -> String {
    let owner = if is_root() { ",uid=65534,gid=65534" } else { "" };
    format!("mount -t tmpfs -o size={size},mode=700{owner} none")
}
