//! The runtime configuration of an image: the process that it is for, as a `config.json` of runtime-spec and as variables
//! of a shell.
//!
//! The conversion is that of image-spec `conversion.md`. Users and groups are looked up in the finished tree. The rest of
//! planish reads none of this: only who asks for a runtime configuration meets an image whose config is odd there.

mod process;
mod shell;
mod user;

use oci_spec::runtime::{Process, ProcessBuilder, RootBuilder, Spec, SpecBuilder, UserBuilder};

use self::process::ImageProcess;
use self::user::ResolvedUser;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Place, Result};
use crate::path::Shortened;
use crate::tree::Tree;

/// The version of runtime-spec whose fields are written.
const VERSION: &str = "1.0.2";

/// The runtime configuration of an image.
#[derive(Debug)]
pub(crate) struct RuntimeConfig {
    image: ImageProcess,
    user: ResolvedUser,
    hostname: Option<String>,
}

impl RuntimeConfig {
    /// Reads the configuration in an image's config, and resolves its user in the tree.
    ///
    /// # Errors
    ///
    /// A field of the config has another type than image-spec says; the tree has no such user or group.
    pub fn of(config: &[u8], digest: &Digest, tree: &Tree) -> Result<Self> {
        let refused = |problem| Error::image(Place::Config(digest.clone()), problem);
        let image = process::parse(config).map_err(refused)?;
        let user = user::resolve(&image.user, &tree.text_of(b"etc/passwd"), &tree.text_of(b"etc/group"));
        Ok(Self { user: user.map_err(refused)?, image, hostname: hostname(&tree.text_of(b"etc/hostname")) })
    }

    /// Returns the `config.json`, with a line feed at the end.
    ///
    /// # Errors
    ///
    /// None but a bug.
    pub fn json(&self) -> Result<Vec<u8>> {
        let bug = |_| ErrorKind::Bug("a runtime configuration cannot be written");
        let spec = self.spec().map_err(|_| ErrorKind::Bug("a runtime configuration lacks a field"))?;
        // By way of a value: its keys are sorted, where those of the annotations have the order of a hash table.
        let value = serde_json::to_value(spec).map_err(bug)?;
        let mut text = serde_json::to_vec_pretty(&value).map_err(bug)?;
        text.push(b'\n');
        Ok(text)
    }

    /// Returns the lines that a shell reads.
    #[must_use]
    pub fn shell(&self) -> Vec<u8> {
        shell::lines(&self.image, &self.user)
    }

    /// Returns the value of a variable of the environment, the last one of its name.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&str> {
        let values = self.image.env.iter().filter_map(|line| line.split_once('='));
        values.filter(|(own, _)| *own == name).map(|(_, value)| value).next_back()
    }

    /// Returns the program that is started: a path from the root, or a name that is searched for.
    #[must_use]
    pub fn program(&self) -> Option<Vec<u8>> {
        let first = self.image.args().into_iter().next()?;
        let is_relative = first.contains('/') && !first.starts_with('/');
        Some(if is_relative { format!("{}/{first}", self.image.directory) } else { first }.into_bytes())
    }

    /// Returns the user as a sentence.
    #[must_use]
    pub fn user_text(&self) -> String {
        let ResolvedUser { uid, gid, .. } = &self.user;
        let named = if self.image.user.is_empty() { "root" } else { &self.image.user };
        format!("the image's user {} is {uid}:{gid}", Shortened(named.as_bytes()))
    }

    fn spec(&self) -> std::result::Result<Spec, oci_spec::OciSpecError> {
        let Self { image, user, hostname } = self;
        let mut account = UserBuilder::default().uid(user.uid).gid(user.gid);
        if !user.groups.is_empty() {
            account = account.additional_gids(user.groups.clone());
        }
        let process = ProcessBuilder::default().cwd(image.directory.as_str()).user(account.build()?);
        let mut process = without_defaults(process.build()?);
        process.set_args(Some(image.args()).filter(|args| !args.is_empty())).set_env(Some(image.env.clone()));
        let root = RootBuilder::default().path("rootfs").readonly(false).build()?;
        let mut spec = SpecBuilder::default().version(VERSION).process(process).root(root).build()?;
        spec.set_hostname(hostname.clone())
            .set_annotations(Some(image.annotations.clone().into_iter().collect()))
            .set_mounts(None)
            .set_linux(None);
        Ok(spec)
    }
}

/// Removes what the builder takes for granted: rights, limits and a terminal are a runtime's choice, not the image's.
fn without_defaults(mut process: Process) -> Process {
    process.set_terminal(None).set_capabilities(None).set_rlimits(None).set_no_new_privileges(None);
    process
}

/// Returns the name in the text of `/etc/hostname`, if there is one that Linux takes.
fn hostname(text: &[u8]) -> Option<String> {
    let line = text.split(|byte| *byte == b'\n').find(|line| !line.trim_ascii().is_empty() && line[0] != b'#')?;
    let name = std::str::from_utf8(line.trim_ascii()).ok()?;
    let is_name = name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte));
    is_name.then(|| name.to_owned())
}
