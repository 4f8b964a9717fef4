//! The options of injections, for the commands that make or compare a tree.

use std::ffi::OsString;
use std::net::IpAddr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use clap::builder::{OsStringValueParser, TypedValueParser as _};
use planish::{Builder, Error, Injection};

/// The options of injections.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Put into the image")]
pub struct InjectArguments {
    /// Put a file or directory at a path of the image; :MODE[:UID:GID] may follow; PATH/ keeps the file's name
    #[arg(long, value_name = "FILE:PATH", value_parser = OsStringValueParser::new().try_map(file))]
    inject: Vec<Injection>,
    /// Apply a tar archive, plain or compressed, as one more layer
    #[arg(long, value_name = "FILE")]
    inject_tar: Vec<PathBuf>,
    /// Make a directory unless there is one; :MODE[:UID:GID] may follow
    #[arg(long, value_name = "PATH", value_parser = OsStringValueParser::new().try_map(directory))]
    mkdir: Vec<Injection>,
    /// Put a program at /sbin/init, and make the mount points
    #[arg(long, value_name = "FILE")]
    init: Option<PathBuf>,
    /// Make /dev, /proc, /run, /sys and /tmp where the image has nothing
    #[arg(long)]
    mount_points: bool,
    /// Write /etc/hostname
    #[arg(long, value_name = "NAME", value_parser = hostname)]
    hostname: Option<Injection>,
    /// Write /etc/resolv.conf: addresses with commas between, or a file
    #[arg(long, value_name = "LIST|FILE", value_parser = OsStringValueParser::new().try_map(resolv_conf))]
    resolv_conf: Option<Injection>,
    /// Put a file at /etc/hosts
    #[arg(long, value_name = "FILE")]
    hosts: Option<PathBuf>,
    /// Write the image's runtime configuration to config.json and config.env in a directory of it
    #[arg(
        long,
        value_name = "DIR",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "/etc/planish",
        value_parser = OsStringValueParser::new().try_map(from_root)
    )]
    config_inside: Option<OsString>,
}

impl InjectArguments {
    /// Returns true if something is put into the image.
    pub fn are_some(&self) -> bool {
        let Self { inject, inject_tar, mkdir, init, mount_points, hostname, resolv_conf, hosts, config_inside } = self;
        let lists = !inject.is_empty() || !inject_tar.is_empty() || !mkdir.is_empty();
        let files = init.is_some() || hosts.is_some() || config_inside.is_some();
        lists || files || *mount_points || hostname.is_some() || resolv_conf.is_some()
    }

    /// Adds the injections to a builder: archives, directories, files, then what single options write.
    pub fn apply(&self, builder: Builder) -> Result<Builder, Error> {
        let mut all: Vec<Injection> = self.inject_tar.iter().map(Injection::tar).collect();
        all.extend(self.mkdir.iter().chain(&self.inject).cloned());
        all.extend(self.hostname.clone());
        all.extend(self.hosts.as_ref().map(Injection::hosts).transpose()?);
        all.extend(self.resolv_conf.clone());
        all.extend(self.init.as_ref().map(Injection::init).transpose()?);
        if self.mount_points || self.init.is_some() {
            all.push(Injection::mount_points());
        }
        let builder = all.into_iter().fold(builder, Builder::inject);
        match &self.config_inside {
            Some(directory) => builder.config_inside(directory.as_bytes()),
            None => Ok(builder),
        }
    }
}

fn file(text: OsString) -> Result<Injection, String> {
    let bytes = text.as_bytes();
    let colon = bytes.windows(2).position(|pair| pair == b":/").filter(|at| *at > 0);
    let colon = colon.ok_or("not FILE:PATH[:MODE[:UID:GID]], with a PATH that begins with /")?;
    let source = PathBuf::from(OsString::from_vec(bytes[..colon].to_vec()));
    placed(&bytes[colon + 1..], |path| Injection::path(source, path))
}

fn directory(text: OsString) -> Result<Injection, String> {
    placed(text.as_bytes(), |path| Injection::directory(path))
}

/// Reads `PATH[:MODE[:UID:GID]]`.
fn placed(text: &[u8], make: impl FnOnce(&[u8]) -> Result<Injection, Error>) -> Result<Injection, String> {
    let parts: Vec<&[u8]> = text.split(|byte| *byte == b':').collect();
    let (path, numbers) = parts.split_first().ok_or("names no path")?;
    if path.first() != Some(&b'/') {
        return Err("PATH does not begin with /".into());
    }
    let mut injection = make(path).map_err(|error| error.to_string())?;
    let number = |bytes: &[u8], radix| {
        let text = std::str::from_utf8(bytes).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
        u32::from_str_radix(text, radix).ok()
    };
    if let Some(mode) = numbers.first() {
        let mode = number(mode, 8).and_then(|mode| u16::try_from(mode).ok()).filter(|mode| *mode <= 0o7777);
        injection = injection.mode(mode.ok_or("MODE is not an octal number up to 7777")?);
    }
    match numbers {
        [] | [_] => Ok(injection),
        [_, uid, gid] => {
            let owner = number(uid, 10).zip(number(gid, 10));
            let (uid, gid) = owner.ok_or("UID and GID are not numbers below 4294967295")?;
            injection.owner(uid, gid).map_err(|error| error.to_string())
        }
        _ => Err("PATH is not followed by :MODE, or by :MODE:UID:GID".into()),
    }
}

fn hostname(text: &str) -> Result<Injection, String> {
    Injection::hostname(text).map_err(|error| error.to_string())
}

fn resolv_conf(value: OsString) -> Result<Injection, String> {
    let addresses = value.to_str().map(|text| text.split(',').map(str::parse).collect::<Result<Vec<IpAddr>, _>>());
    let injection = match addresses {
        Some(Ok(addresses)) => Injection::name_servers(&addresses),
        // What cannot be examined is an error of reading it.
        _ if Path::new(&value).try_exists().unwrap_or(true) => Injection::resolv_conf(value),
        _ => return Err("neither IP addresses with commas between nor a file that exists".into()),
    };
    injection.map_err(|error| error.to_string())
}

fn from_root(directory: OsString) -> Result<OsString, &'static str> {
    if directory.as_bytes().first() == Some(&b'/') { Ok(directory) } else { Err("DIR does not begin with /") }
}
