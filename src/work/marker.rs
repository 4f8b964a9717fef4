//! The marker file of a private directory: it names the process that made the directory, and the directory's inode, so
//! that a copy is not mistaken for it.

use std::fmt;

/// The most bytes of a marker.
pub(super) const BYTES_MAX: usize = 512;
const MAGIC: &str = "planish private directory 1";

/// The process that made a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owner {
    /// The kernel's random ID of this boot.
    boot: String,
    host: String,
    pid: u32,
    /// The start of the process in clock ticks since the boot, because process numbers are reused.
    start: u64,
}

impl Owner {
    /// Returns this process; `None` without `/proc`.
    pub(super) fn this() -> Option<Self> {
        let pid = std::process::id();
        Some(Self { boot: kernel("random/boot_id")?, host: kernel("hostname")?, pid, start: start_of(pid)? })
    }

    /// Returns true if the process certainly no longer exists. The lock of the marker is checked elsewhere.
    ///
    /// After a reboot of the same host no earlier process exists. A directory of another host, on a network filesystem
    /// whose locks may be local to the host, is never regarded as abandoned.
    pub(super) fn is_gone(&self) -> bool {
        let Some(this) = Self::this() else { return false };
        match this.boot == self.boot {
            true => start_of(self.pid) != Some(self.start),
            false => this.host == self.host,
        }
    }
}

/// Returns a value from `/proc/sys/kernel`, as one word.
fn kernel(name: &str) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/sys/kernel/{name}")).ok()?;
    text.split_whitespace().next().map(str::to_owned)
}

/// Returns the start time of a process; `None` if there is none, or only its exit status is left.
fn start_of(pid: u32) -> Option<u64> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The program's name is in parentheses and may contain any byte; the start time is the 20th field after it.
    let after = stat.iter().rposition(|&b| b == b')')?;
    let mut fields = std::str::from_utf8(&stat[after + 1..]).ok()?.split_whitespace();
    match fields.next()? {
        "Z" | "X" => None,
        _ => fields.nth(18)?.parse().ok(),
    }
}

/// The content of a marker: the owner, and the inode of its directory.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct OwnerFile {
    pub owner: Option<Owner>,
    pub inode: u64,
}

impl fmt::Display for OwnerFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{MAGIC}")?;
        if let Some(Owner { boot, host, pid, start }) = &self.owner {
            writeln!(f, "boot {boot}\nhost {host}\npid {pid}\nstart {start}")?;
        }
        writeln!(f, "inode {}", self.inode)
    }
}

impl OwnerFile {
    /// Parses a marker; `None` if it is incomplete or planish did not write it.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut lines = std::str::from_utf8(bytes).ok()?.strip_suffix('\n')?.split('\n');
        if lines.next() != Some(MAGIC) {
            return None;
        }
        let mut fields = lines.map(|line| line.split_once(' '));
        let mut field = |name| fields.next().flatten().filter(|(found, _)| *found == name).map(|(_, value)| value);
        let owner = Owner {
            boot: field("boot")?.to_owned(),
            host: field("host")?.to_owned(),
            pid: field("pid")?.parse().ok()?,
            start: field("start")?.parse().ok()?,
        };
        let inode = field("inode")?.parse().ok()?;
        fields.next().is_none().then_some(Self { owner: Some(owner), inode })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_written_markers_are_read_back() {
        let marker = OwnerFile { owner: Owner::this(), inode: 7 };
        let text = marker.to_string();
        assert_eq!(OwnerFile::parse(text.as_bytes()), Some(marker));
        assert!(text.len() < BYTES_MAX);
        for cut in 0..text.len() {
            assert_eq!(OwnerFile::parse(&text.as_bytes()[..cut]), None, "{cut}");
        }
        for other in [text.replace("planish", "plan"), text.replace("pid", "PID"), text.clone() + "more\n"] {
            assert_eq!(OwnerFile::parse(other.as_bytes()), None, "{other}");
        }
        let anonymous = OwnerFile { owner: None, inode: 7 };
        assert_eq!(OwnerFile::parse(anonymous.to_string().as_bytes()), None);
    }

    #[test]
    fn a_process_has_ended_when_its_id_start_or_boot_differs() {
        let this = Owner::this().unwrap();
        assert!(!this.is_gone());
        assert!(Owner { pid: u32::MAX, ..this.clone() }.is_gone());
        assert!(Owner { start: this.start + 1, ..this.clone() }.is_gone());
        assert!(Owner { boot: "other".into(), ..this.clone() }.is_gone());
        assert!(!Owner { boot: "other".into(), host: "other".into(), ..this }.is_gone());
    }

    #[test]
    fn a_killed_process_has_ended_before_its_parent_asks_for_its_status() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        assert!(start_of(child.id()).is_some());
        child.kill().unwrap();
        let patience = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while start_of(child.id()).is_some() && std::time::Instant::now() < patience {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert_eq!(start_of(child.id()), None);
        child.wait().unwrap();
    }
}
