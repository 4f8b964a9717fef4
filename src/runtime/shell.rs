//! The process as assignments that a POSIX shell reads, whatever bytes its values hold.

use super::process::ImageProcess;
use super::user::ResolvedUser;

/// Variables that a shell does not let a script set, or whose value it reads itself.
const OF_SHELLS: [&str; 17] = [
    "BASHOPTS",
    "BASH_VERSINFO",
    "BASH_ENV",
    "ENV",
    "EUID",
    "FUNCNAME",
    "GROUPS",
    "IFS",
    "LINENO",
    "OPTIND",
    "PPID",
    "PS1",
    "PS2",
    "PS4",
    "SHELLOPTS",
    "UID",
    "_",
];

/// Returns the variables of the image, and then those of planish, a line each unless a value has line feeds itself.
pub(super) fn lines(image: &ImageProcess, user: &ResolvedUser) -> Vec<u8> {
    let mut out = String::from("# The environment of the image, and its process:\n");
    out.push_str("# set -a; . THIS; set +a; cd \"$PLANISH_CWD\"; eval \"set -- $PLANISH_ARGS\"; exec \"$@\"\n");
    let mut left_out = 0;
    for variable in &image.env {
        match variable.split_once('=') {
            Some((name, value)) if is_name(name) && !name.starts_with("PLANISH_") => assign(&mut out, name, value),
            _ => left_out += 1,
        }
    }
    if left_out > 0 {
        out.push_str(&format!("# left out, because no shell can set them: {left_out}\n"));
    }
    let quoted: Vec<String> = image.args().iter().map(|arg| quote(arg)).collect();
    let groups: Vec<String> = user.groups.iter().map(u32::to_string).collect();
    assign(&mut out, "PLANISH_ARGS", &quoted.join(" "));
    assign(&mut out, "PLANISH_CWD", &image.directory);
    assign(&mut out, "PLANISH_UID", &user.uid.to_string());
    assign(&mut out, "PLANISH_GID", &user.gid.to_string());
    assign(&mut out, "PLANISH_GROUPS", &groups.join(" "));
    let mut bytes = out.into_bytes();
    if let Some(home) = &user.home {
        // The bytes of /etc/passwd need not be text.
        bytes.extend(b"PLANISH_HOME='");
        for byte in home.iter().filter(|byte| **byte != 0) {
            if *byte == b'\'' { bytes.extend(b"'\\''") } else { bytes.push(*byte) }
        }
        bytes.extend(b"'\n");
    }
    bytes
}

fn assign(out: &mut String, name: &str, value: &str) {
    out.push_str(&format!("{name}={}\n", quote(value)));
}

/// Quotes a text for a POSIX shell: between single quotes nothing has a meaning, and a quote ends them.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Returns true for the name of a variable that a script may set.
fn is_name(name: &str) -> bool {
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    first && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') && !OF_SHELLS.contains(&name)
}
