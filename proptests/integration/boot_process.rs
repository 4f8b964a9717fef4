//! An image without an init boots with an injected one, which runs the image's own process as the image says.

use std::path::PathBuf;

use planish_proptests::writer::{Entry, Image, Layer};
use serde_json::json;

use crate::boot::{answer, boot, kernel};
use crate::check::shell;
use crate::support::process::{command, run};
use crate::support::{Bench, set_mode, succeeded};

/// An init of a few calls: mounts, the host's name, and the image's process in a shell that reads `config.env`.
const INIT: &str = r#"
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void) {
    char name[65] = "";
    FILE *file = fopen("/etc/hostname", "r");
    if (file && fgets(name, sizeof name, file)) sethostname(name, strcspn(name, "\n"));
    mount("proc", "/proc", "proc", 0, "");
    mount("sysfs", "/sys", "sysfs", 0, "");
    mount("tmpfs", "/run", "tmpfs", 0, "");
    puts("");
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        execl("/bin/sh", "sh", "-c", "set -a; . /etc/planish/config.env; set +a; cd \"$PLANISH_CWD\"; "
              "eval \"set -- $PLANISH_ARGS\"; exec /sbin/as \"$@\"", (char *)0);
        _exit(127);
    }
    int status = 0;
    waitpid(child, &status, 0);
    printf("\nstatus: %d\n", WEXITSTATUS(status));
    fflush(stdout);
    mount(0, "/", 0, MS_REMOUNT | MS_RDONLY, 0);
    sync();
    reboot(RB_POWER_OFF);
    return 0;
}
"#;

/// Becomes the user of the variables, and then the program of the arguments.
const AS: &str = r#"
#define _GNU_SOURCE
#include <grp.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv) {
    gid_t groups[32];
    int count = 0;
    char *rest = getenv("PLANISH_GROUPS");
    while (rest && *rest && count < 32) groups[count++] = strtoul(rest, &rest, 10);
    if (argc < 2 || setgroups(count, groups) || setgid(atoi(getenv("PLANISH_GID"))) || setuid(atoi(getenv("PLANISH_UID")))) return 126;
    execvp(argv[1], argv + 1);
    return 127;
}
"#;

/// The image's process: each line of its output begins with a word and a colon.
const ENTRY: &str = r#"#!/bin/sh
printf 'args:'; for arg; do printf ' <%s>' "$arg"; done; echo
read name < /proc/sys/kernel/hostname; echo "hostname: $name"
while read key value rest; do case $key in Uid:) echo "uid: $value";; Gid:) echo "gid: $value";; Groups:) echo "groups: $value $rest";; esac; done < /proc/self/status
echo "cwd: $PWD"
echo "env: $GREETING"
read server < /etc/resolv.conf; echo "resolver: $server"
while read device place type rest; do [ "$place" = / ] && [ "$type" = ext4 ] && echo "root: $type"; done < /proc/mounts
exit 7
"#;

/// Compiles a static program.
fn compiled(bench: &Bench, name: &str, source: &str) -> PathBuf {
    let text = bench.readable(&format!("{name}.c"), source.as_bytes());
    let program = bench.shared(name);
    run(command("gcc -static -O1 -o").arg(&program).arg(text));
    set_mode(&program, 0o755);
    program
}

fn image(bench: &Bench) -> String {
    let mut entries: Vec<Entry> =
        shell().iter().map(|(path, bytes)| Entry::file(&path[1..], bytes.clone()).mode(0o755)).collect();
    entries.extend([
        Entry::file("opt/entry", ENTRY).mode(0o755),
        Entry::dir("srv/a b/"),
        Entry::file("etc/passwd", "root:x:0:0::/:/bin/sh\nweb:x:33:34::/srv:/bin/sh\n"),
        Entry::file("etc/group", "www:x:34:\nadm:x:4:web\n"),
    ]);
    let config = json!({
        "Entrypoint": ["/opt/entry", "it's"], "Cmd": ["$(id)", "a  b"], "User": "web", "WorkingDir": "/srv/a b",
        "Env": ["GREETING=hello 'world' $HOME"],
    });
    let layout = bench.shared("process");
    Image::new([Layer::new(entries)]).config_field("config", config).write_layout(&layout, "latest").unwrap();
    format!("oci:{}", layout.display())
}

#[test]
#[ignore = "needs qemu-system-x86, gcc with a static C library, and the Debian archive"]
fn an_injected_init_runs_the_process_of_the_image() {
    let bench = Bench::new();
    let source = image(&bench);
    let init = compiled(&bench, "init", INIT);
    let user = format!("{}:/sbin/as:755", compiled(&bench, "as", AS).display());
    let mut more = vec!["--init", init.to_str().unwrap(), "--inject", &user];
    more.extend(["--hostname", "box-1", "--resolv-conf", "192.0.2.53", "--config-inside"]);
    succeeded(&bench.build(&source, "out.ext4", &more));
    let checked = bench.planish().args(["check", "out.ext4", "--kernel", "6.1"]).output().unwrap();
    succeeded(&checked);
    let text = String::from_utf8(checked.stdout).unwrap();
    assert!(text.contains("ok       init          /sbin/init (static, amd64)\n"), "{text}");

    let said = boot(&bench, &kernel(&bench), &bench.at("out.ext4"), "");
    for (question, expected) in [
        ("args", "<it's> <$(id)> <a  b>"),
        ("hostname", "box-1"),
        ("uid", "33"),
        ("gid", "34"),
        ("groups", "4 "),
        ("cwd", "/srv/a b"),
        ("env", "hello 'world' $HOME"),
        ("resolver", "nameserver 192.0.2.53"),
        ("root", "ext4"),
        ("status", "7"),
    ] {
        assert_eq!(answer(&said, question).trim_end(), expected.trim_end(), "{question}\n{said}");
    }
}
