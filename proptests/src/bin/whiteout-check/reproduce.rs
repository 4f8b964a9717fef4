//! Images on disk, with the command lines that reproduce a finding.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use planish_proptests::Stack;
use planish_proptests::command::{CommandSubject, TAG};

/// The stacks in the directory of a law.
pub(crate) struct Written {
    /// The directory.
    pub(crate) directory: PathBuf,
    /// The command lines, one for each stack.
    pub(crate) commands: Vec<String>,
}

/// Writes each stack as a layout, and a text about all of them.
///
/// Files of an earlier run are removed.
pub(crate) fn write(directory: &Path, stacks: &[Stack], text: &[u8], command: &CommandSubject) -> io::Result<Written> {
    fs::create_dir_all(directory)?;
    for name in ["layout", "layout-1", "layout-2"] {
        let former = directory.join(name);
        if former.join("oci-layout").is_file() {
            fs::remove_dir_all(former)?;
        }
    }
    let mut commands = Vec::new();
    for (index, stack) in stacks.iter().enumerate() {
        let number = if stacks.len() == 1 { String::new() } else { format!("-{}", index + 1) };
        let layout = directory.join(format!("layout{number}"));
        stack.image().write_layout(&layout, TAG)?;
        let out = directory.join(format!("out{number}"));
        commands.push(shell_line(&command.command_line(&layout, &out)));
    }
    fs::write(directory.join("stack.txt"), text)?;
    Ok(Written { directory: directory.to_owned(), commands })
}

/// Returns words quoted for a shell, in printable ASCII.
pub(crate) fn shell_line(words: &[OsString]) -> String {
    words.iter().map(|word| shell_word(word.as_bytes())).collect::<Vec<_>>().join(" ")
}

fn shell_word(word: &[u8]) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"%+,-./:=@_".contains(byte);
    if !word.is_empty() && word.iter().all(plain) {
        return word.iter().copied().map(char::from).collect();
    }
    if word.iter().all(|byte| *byte == b' ' || byte.is_ascii_graphic()) {
        let text: String = word.iter().copied().map(char::from).collect();
        return format!("'{}'", text.replace('\'', r"'\''"));
    }
    let escaped = word.iter().map(|&byte| match byte {
        b'\'' | b'\\' => format!("\\{}", char::from(byte)),
        b' ' | b'!'..=b'~' => char::from(byte).to_string(),
        _ => format!("\\x{byte:02x}"),
    });
    format!("$'{}'", escaped.collect::<String>())
}

#[cfg(test)]
mod tests {
    use planish_proptests::writer::Entry;

    use super::*;

    #[test]
    fn words_are_quoted_for_a_shell() {
        for (word, expected) in [
            (&b"--image"[..], "--image"),
            (b"", "''"),
            (b"a b", "'a b'"),
            (b"it's", r"'it'\''s'"),
            (b"$x", "'$x'"),
            (b"\x1b'\xff", r"$'\x1b\'\xff'"),
        ] {
            assert_eq!(shell_word(word), expected);
        }
    }

    #[test]
    fn written_stacks_replace_earlier_ones() {
        let directory = tempfile::tempdir().unwrap();
        let law = directory.path().join("a law");
        let command = CommandSubject::new("unpack {layout}:{tag} {out}".parse().unwrap());
        let stack = |name: &str| Stack::new([vec![Entry::dir(name)]]);
        write(&law, &[stack("a"), stack("b")], b"two\n", &command).unwrap();
        let written = write(&law, &[stack("c")], b"one\n", &command).unwrap();
        let path = law.display();
        assert_eq!(written.commands, [format!("unpack '{path}/layout:latest' '{path}/out'")]);
        assert_eq!(fs::read_to_string(law.join("stack.txt")).unwrap(), "one\n");
        let mut names: Vec<_> = fs::read_dir(&law).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["layout", "stack.txt"]);
    }
}
