//! The directories in which a loader looks for libraries: those of glibc and of musl.

use super::elf::Machine;
use super::root::{Node, Root, Text, follow, text};
use crate::error::Result;

/// The largest configuration file of a loader that is read.
const CONF_MAX: usize = 64 << 10;
/// The most configuration files, and the most directories in them.
const FILES_MAX: usize = 200;
pub(super) const DIRECTORIES_MAX: usize = 200;

/// The directories of a list, in its order.
#[derive(Debug, Default)]
pub(super) struct Directories {
    pub paths: Vec<Vec<u8>>,
    /// True if the list has more, or is too large to be read whole.
    pub is_cut: bool,
}

impl Directories {
    fn of(paths: impl Iterator<Item = Vec<u8>>, is_cut: bool) -> Self {
        let mut paths: Vec<_> = paths.take(DIRECTORIES_MAX + 1).collect();
        let is_cut = is_cut || paths.len() > DIRECTORIES_MAX;
        paths.truncate(DIRECTORIES_MAX);
        Self { paths, is_cut }
    }
}

/// Returns the directories that a loader searches for every program.
pub(super) fn system<R: Root>(root: &R, loader: &[u8], machine: Machine) -> Result<Directories> {
    let name = loader.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    match name.strip_prefix(b"ld-musl-") {
        Some(rest) => musl(root, rest.split(|byte| *byte == b'.').next().unwrap_or_default()),
        None => glibc(root, machine),
    }
}

/// musl reads `/etc/ld-musl-ARCH.path`, and without it has three directories.
fn musl<R: Root>(root: &R, architecture: &[u8]) -> Result<Directories> {
    let path = [b"/etc/ld-musl-", architecture, b".path"].concat();
    let usual = || Text { bytes: b"/lib:/usr/local/lib:/usr/lib".to_vec(), is_cut: false };
    let text = text(root, &path, CONF_MAX)?.unwrap_or_else(usual);
    let directories = text.bytes.split(|byte| matches!(byte, b':' | b'\n')).filter(|directory| !directory.is_empty());
    Ok(Directories::of(directories.map(<[u8]>::to_vec), text.is_cut))
}

/// glibc looks where `ld.so.conf` says, by way of a cache that `ldconfig` makes of it, and in directories of its own, which
/// distributions choose.
fn glibc<R: Root>(root: &R, machine: Machine) -> Result<Directories> {
    let (mut directories, mut is_cut) = (Vec::new(), false);
    let mut files = vec![b"/etc/ld.so.conf".to_vec()];
    let mut read = 0;
    while let Some(path) = files.pop() {
        read += 1;
        if read > FILES_MAX || directories.len() > DIRECTORIES_MAX {
            is_cut = true;
            break;
        }
        let Some(text) = text(root, &path, CONF_MAX)? else { continue };
        is_cut |= text.is_cut;
        for line in text.bytes.split(|byte| *byte == b'\n') {
            let line = line.split(|byte| *byte == b'#').next().unwrap_or_default().trim_ascii();
            match line.strip_prefix(b"include").filter(|rest| rest.first().is_some_and(u8::is_ascii_whitespace)) {
                Some(patterns) => {
                    for pattern in patterns.split(u8::is_ascii_whitespace).filter(|pattern| !pattern.is_empty()) {
                        if read + files.len() > FILES_MAX {
                            is_cut = true;
                            break;
                        }
                        files.extend(matching(root, pattern)?);
                    }
                }
                None => {
                    let words = line.split(|byte| matches!(byte, b':' | b',' | b' ' | b'\t'));
                    directories.extend(words.filter(|word| word.first() == Some(&b'/')).map(<[u8]>::to_vec));
                }
            }
        }
    }
    let triple = match machine.name().as_str() {
        "amd64" => "x86_64-linux-gnu",
        "386" => "i386-linux-gnu",
        "arm64" => "aarch64-linux-gnu",
        "arm" => "arm-linux-gnueabihf",
        "riscv64" => "riscv64-linux-gnu",
        "ppc64le" => "powerpc64le-linux-gnu",
        "s390x" => "s390x-linux-gnu",
        "loong64" => "loongarch64-linux-gnu",
        "mips64le" => "mips64el-linux-gnuabi64",
        _ => "unknown",
    };
    let own = ["/lib64", "/usr/lib64", "/lib", "/usr/lib"].map(str::to_owned);
    let multiarch = [format!("/lib/{triple}"), format!("/usr/lib/{triple}")];
    let mut directories = Directories::of(directories.into_iter(), is_cut);
    directories.paths.extend(own.into_iter().chain(multiarch).map(String::into_bytes));
    Ok(directories)
}

/// Returns the files of a pattern whose last name may have one `*`.
fn matching<R: Root>(root: &R, pattern: &[u8]) -> Result<Vec<Vec<u8>>> {
    let pattern = if pattern.first() == Some(&b'/') { pattern.to_vec() } else { [b"/etc/", pattern].concat() };
    let slash = pattern.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
    let (directory, name) = (&pattern[..slash], &pattern[slash + 1..]);
    let Some(star) = name.iter().position(|byte| *byte == b'*') else { return Ok(vec![pattern.clone()]) };
    let (prefix, suffix) = (&name[..star], &name[star + 1..]);
    let Some(end) = follow(root, directory)?.filter(|end| end.node == Node::Directory) else { return Ok(Vec::new()) };
    let mut names = root.names(end.id, FILES_MAX)?;
    names.retain(|name| name.len() >= star + suffix.len() && name.starts_with(prefix) && name.ends_with(suffix));
    names.sort();
    Ok(names.iter().map(|name| [directory, b"/", name].concat()).collect())
}

/// Returns the directories of an `RPATH` or `RUNPATH` of a file in `origin`.
pub(super) fn of_path(path: &[u8], origin: &[u8]) -> Directories {
    let directories = path.split(|byte| *byte == b':').filter(|directory| !directory.is_empty());
    Directories::of(directories.map(|directory| expand(directory, origin)), false)
}

/// Puts the directory of the file in place of `$ORIGIN`, and `lib` in place of `$LIB`.
fn expand(directory: &[u8], origin: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = directory;
    while let Some(at) = rest.iter().position(|byte| *byte == b'$') {
        out.extend(&rest[..at]);
        let words: [(&[u8], &[u8]); 4] =
            [(b"${ORIGIN}", origin), (b"$ORIGIN", origin), (b"${LIB}", b"lib"), (b"$LIB", b"lib")];
        match words.iter().find(|(word, _)| rest[at..].starts_with(word)) {
            Some((word, value)) => {
                out.extend(*value);
                rest = &rest[at + word.len()..];
            }
            None => {
                out.push(b'$');
                rest = &rest[at + 1..];
            }
        }
    }
    out.extend(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_the_directory_of_the_file() {
        let found = of_path(b"$ORIGIN/../lib:${ORIGIN}::/opt/$LIB:$X", b"/usr/bin");
        assert_eq!(found.paths, [&b"/usr/bin/../lib"[..], b"/usr/bin", b"/opt/lib", b"$X"]);
    }
}
