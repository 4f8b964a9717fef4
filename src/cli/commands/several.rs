//! `planish build A B … --output-dir DIR`: several images in one run.

use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use planish::{Cancel, Digest, Error, Escaped, ImageReference};

use crate::cli::exit::{self, Failure};

/// An image with the path of its filesystem.
#[derive(Debug)]
pub struct NamedSource {
    /// The image.
    pub source: ImageReference,
    /// The path of its filesystem.
    pub output: PathBuf,
}

/// Returns the images with the paths of their filesystems in a directory, whose names have the same ending.
pub fn named<'a>(
    sources: impl IntoIterator<Item = &'a OsString>,
    directory: &Path,
    ending: &str,
) -> Result<Vec<NamedSource>, Failure> {
    let mut named: Vec<NamedSource> = Vec::new();
    for text in sources {
        let source = ImageReference::parse(text).map_err(Error::from)?;
        let name = file_name(&source, ending).ok_or_else(|| {
            let shown = Escaped(text.as_bytes());
            Failure::Usage(format!("--output-dir: {shown} has no name for a file: build it alone, with --output"))
        })?;
        let output = directory.join(name);
        if let Some(other) = named.iter().find(|other| other.output == output) {
            let shown = Escaped(other.output.as_os_str().as_bytes());
            return Err(Failure::Usage(format!("--output-dir: two images would be built at {shown}")));
        }
        named.push(NamedSource { source, output });
    }
    Ok(named)
}

/// The most bytes of a list of images.
const LIST_MAX: u64 = 16 << 20;

/// Reads a list of images, which may be a pipe: a source a line. Empty lines and lines that begin with `#` do not count, nor do spaces around a
/// source.
pub fn read_list(path: &Path, cancel: &Cancel) -> Result<Vec<OsString>, Failure> {
    let bytes = planish::read_all(path, LIST_MAX, cancel)?
        .ok_or_else(|| Failure::Usage(format!("--from-list: the file has more than {LIST_MAX} bytes")))?;
    let lines = bytes.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
    let sources = lines.filter(|line| !line.is_empty() && !line.starts_with(b"#"));
    Ok(sources.map(|source| OsString::from_vec(source.to_vec())).collect())
}

/// A part of a list: every N-th image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    index: usize,
    count: usize,
}

impl FromStr for Shard {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
        match text.split_once('/').map(|(index, count)| (number(index), number(count))) {
            Some((Some(index), Some(count))) if index < count => Ok(Self { index, count }),
            _ => Err("a part is I/N, with I from 0 to N-1"),
        }
    }
}

/// The property of an image that decides its part of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ShardBy {
    /// Its place in the list: nothing is asked for
    Place,
    /// Its build key: equal filesystems are in one part, and each image is looked up for each part
    Key,
}

impl Shard {
    fn has_place(self, place: usize) -> bool {
        place % self.count == self.index
    }

    fn has_key(self, key: &Digest) -> bool {
        let digits = key.hex().get(..16).unwrap_or_default();
        let number = u64::from_str_radix(digits, 16).unwrap_or_default();
        number % self.count as u64 == self.index as u64
    }

    /// Returns its images by their places. Nothing decides that may change between two hosts' runs.
    pub fn by_place<T>(self, list: Vec<T>) -> Vec<T> {
        list.into_iter().skip(self.index).step_by(self.count).collect()
    }

    /// Returns its images by their build keys. An image without a key is in the part of its place, which reports the error
    /// when it builds the image; the other parts call `skipped`.
    pub fn by_key(
        self,
        list: Vec<NamedSource>,
        key: impl Fn(&NamedSource) -> Result<Digest, Failure>,
        is_cancelled: impl Fn() -> bool,
        skipped: impl Fn(&NamedSource, usize),
    ) -> Result<Vec<NamedSource>, Failure> {
        let mut own = Vec::new();
        for (place, named) in list.into_iter().enumerate() {
            let has = match key(&named) {
                Ok(key) => self.has_key(&key),
                Err(failure) if is_cancelled() => return Err(failure),
                Err(_) => {
                    if !self.has_place(place) {
                        skipped(&named, place % self.count);
                    }
                    self.has_place(place)
                }
            };
            if has {
                own.push(named);
            }
        }
        Ok(own)
    }
}

/// Creates the directory for the filesystems, unless there is one.
pub fn make_directory(directory: &Path) -> Result<(), Failure> {
    match std::fs::create_dir(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(Error::io("make", directory)(error).into())
        }
        _ => Ok(()),
    }
}

/// Builds each image; one that fails does not stop the others. Returns the failure of the first.
pub fn each(
    sources: Vec<NamedSource>,
    mut build: impl FnMut(NamedSource) -> Result<(), Failure>,
    is_cancelled: impl Fn() -> bool,
    quiet: bool,
) -> Result<(), Failure> {
    let count = sources.len();
    let (mut done, mut first) = (0, None);
    for named in sources {
        let output = named.output.clone();
        match build(named) {
            Ok(()) => done += 1,
            Err(failure) if is_cancelled() => return Err(failure),
            Err(failure) => {
                let code = exit::print(&failure, Some(&Escaped(output.as_os_str().as_bytes()).to_string()));
                first = first.or(Some(code));
            }
        }
    }
    if !quiet {
        // A closed stderr is not an error.
        let _ = writeln!(std::io::stderr().lock(), "built       {done} of {count} images");
    }
    first.map_or(Ok(()), |code| Err(Failure::Printed(code)))
}

/// Returns the name of an archive up to its first dot.
fn stem(file: &Path) -> Option<Vec<u8>> {
    let name = file.file_name()?.as_bytes();
    let stem = name.iter().position(|&byte| byte == b'.').filter(|&at| at > 0).map_or(name, |at| &name[..at]);
    Some(stem.to_vec())
}

/// Returns the name of an image's filesystem: the last part of its name, its tag, and an ending.
fn file_name(source: &ImageReference, ending: &str) -> Option<OsString> {
    let (place, image) = match source {
        ImageReference::Docker(reference) => {
            let name = reference.repository().rsplit('/').next()?.as_bytes().to_vec();
            let digest = reference.digest().map(|digest| digest.chars().take(19).collect());
            (name, reference.tag().map(str::to_owned).or(digest))
        }
        ImageReference::Oci { directory, image } => (directory.file_name()?.as_bytes().to_vec(), image.clone()),
        ImageReference::OciArchive { file, image }
        | ImageReference::DockerArchive { file, image }
        | ImageReference::Archive { file, image } => (stem(file)?, image.clone()),
        ImageReference::Tar(file) => (stem(file)?, None),
        _ => return None,
    };
    let mut name = place;
    if let Some(image) = image {
        name.push(b'-');
        // A tag has no slash, but a reference has, and a digest has a colon.
        name.extend(image.bytes().map(|byte| if byte == b'/' || byte == b':' || byte == b'@' { b'-' } else { byte }));
    }
    name.extend(ending.as_bytes());
    Some(OsString::from_vec(name))
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use planish::Algorithm;

    use super::*;

    #[test]
    fn a_filesystem_is_named_by_its_image() {
        let digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let table = [
            ("docker://debian:bookworm", Some("debian-bookworm.ext4")),
            ("docker://debian", Some("debian-latest.ext4")),
            ("docker://example.org:5000/team/app:1.2", Some("app-1.2.ext4")),
            (&format!("docker://example.org/app@{digest}"), Some("app-sha256-e3b0c44298fc.ext4")),
            ("oci:images/layout:latest", Some("layout-latest.ext4")),
            ("oci:images/layout", Some("layout.ext4")),
            ("docker-archive:save.tar.gz:a/b:1", Some("save-a-b-1.ext4")),
            ("oci-archive:.hidden", Some(".hidden.ext4")),
            ("-", None),
            ("oci:..", None),
        ];
        for (text, want) in table {
            let source = ImageReference::parse(text.as_ref()).unwrap();
            assert_eq!(file_name(&source, ".ext4"), want.map(OsString::from), "{text}");
        }
    }

    #[test]
    fn the_parts_of_a_list_are_the_list() {
        let list: Vec<u32> = (0..10).collect();
        for count in [1, 2, 3, 7, 10, 11] {
            let part = |index| format!("{index}/{count}").parse::<Shard>().unwrap().by_place(list.clone());
            let mut all: Vec<u32> = (0..count).flat_map(part).collect();
            all.sort_unstable();
            assert_eq!(all, list, "{count}");
            let digests = list.iter().map(|number| Digest::of(Algorithm::Sha256, &number.to_be_bytes()));
            for (place, key) in digests.enumerate() {
                let shards = (0..count).map(|index| format!("{index}/{count}").parse::<Shard>().unwrap());
                let (keys, places): (Vec<bool>, Vec<bool>) =
                    shards.map(|shard| (shard.has_key(&key), shard.has_place(place))).unzip();
                for one in [keys, places] {
                    assert_eq!(one.into_iter().filter(|has| *has).count(), 1, "{place} {count}");
                }
            }
        }
        assert_eq!("1/4".parse::<Shard>().unwrap().by_place(list), [1, 5, 9]);
        for wrong in ["", "1", "1/", "/2", "2/2", "1/0", "-1/2", "+1/2", "1/2/3", "99999999999999999999/2", "a/b"] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_list_has_a_source_a_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("list");
        std::fs::write(&path, b"# images\n\ndebian\r\n  oci:a b:c\t\n#x\noci:\xff").unwrap();
        let sources = [&b"debian"[..], b"oci:a b:c", b"oci:\xff"].map(|text| OsString::from_vec(text.to_vec()));
        assert_eq!(read_list(&path, &Cancel::default()).unwrap(), sources);
        File::options().write(true).open(&path).unwrap().set_len(LIST_MAX + 1).unwrap();
        assert!(
            matches!(read_list(&path, &Cancel::default()), Err(Failure::Usage(text)) if text.contains("more than 16777216 bytes"))
        );
    }

    #[test]
    fn two_images_of_one_name_are_refused() {
        let sources = ["oci:a/x:1", "oci:b/x:1"].map(OsString::from);
        let Err(Failure::Usage(text)) = named(&sources, Path::new("out"), ".ext4") else { panic!("no error") };
        assert_eq!(text, "--output-dir: two images would be built at out/x-1.ext4");
    }
}
