//! The parts of an ELF file that a kernel and a loader need: its machine, its loader, and the libraries that it names.
//!
//! Only headers and named strings are read, each with a bound, so that a hostile file costs little.

use object::Endianness;
use object::elf::{
    self, DT_NEEDED, DT_RPATH, DT_RUNPATH, DT_STRTAB, FileHeader32, FileHeader64, PT_DYNAMIC, PT_INTERP, PT_LOAD,
};
use object::pod::slice_from_bytes;
use object::read::elf::{Dyn, FileHeader, ProgramHeader};

use crate::error::Result;

/// The bytes of program headers that the kernel reads.
const HEADERS_MAX: usize = 65_536;
/// The bytes of a dynamic section that are read.
const DYNAMIC_MAX: u64 = 1 << 20;
/// The longest loader path or library name.
const STRING_MAX: usize = 4096;
/// The most libraries that one file may name.
pub(super) const NEEDED_MAX: usize = 1000;
/// The bytes that most names fit in.
const STRING_USUAL: usize = 128;

/// The kind of machine that a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Machine {
    pub number: u16,
    pub is_64_bit: bool,
    pub is_little_endian: bool,
}

/// An executable or a library.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Elf {
    pub machine: Option<Machine>,
    /// The reason for which Linux loads it neither as a program nor as a loader (`load_elf_binary` in `fs/binfmt_elf.c`).
    pub fault: Option<&'static str>,
    /// The loader of an executable, or the reason for which Linux does not take it; static ones have none.
    pub loader: Option<std::result::Result<Vec<u8>, &'static str>>,
    pub needed: Vec<Vec<u8>>,
    /// True if it names more libraries than are read.
    pub is_cut: bool,
    /// The directories in which its libraries are looked for, as it spells them.
    pub rpath: Vec<u8>,
    pub runpath: Vec<u8>,
}

/// A reader of bytes at an offset; at most the given number.
pub(super) type ReadBytes<'a> = &'a dyn Fn(u64, usize) -> Result<Vec<u8>>;

/// Reads an ELF file; `None` if it is none, is damaged where it matters, or is for another machine than the wanted one.
pub(super) fn parse(read: ReadBytes<'_>, wanted: Option<Machine>) -> Result<Option<Elf>> {
    let head = read(0, 64)?;
    Ok(match head.get(..5) {
        Some([0x7f, b'E', b'L', b'F', 1]) => file::<FileHeader32<Endianness>>(&head, read, wanted)?,
        Some([0x7f, b'E', b'L', b'F', 2]) => file::<FileHeader64<Endianness>>(&head, read, wanted)?,
        _ => None,
    })
}

fn file<H: FileHeader<Endian = Endianness>>(
    head: &[u8],
    read: ReadBytes<'_>,
    wanted: Option<Machine>,
) -> Result<Option<Elf>> {
    let Ok(header) = H::parse(head) else { return Ok(None) };
    let Ok(endian) = header.endian() else { return Ok(None) };
    let machine = Machine {
        number: header.e_machine(endian).0,
        is_64_bit: header.is_type_64(),
        is_little_endian: endian == Endianness::Little,
    };
    if wanted.is_some_and(|wanted| wanted != machine) {
        return Ok(None);
    }
    let mut found = Elf { machine: Some(machine), ..Elf::default() };
    found.fault = header_fault(header, endian);
    if found.fault.is_some() {
        return Ok(Some(found));
    }
    let count = usize::from(header.e_phnum(endian));
    let table = read(header.e_phoff(endian).into(), count * size_of::<H::ProgramHeader>())?;
    let Ok((headers, _)) = slice_from_bytes::<H::ProgramHeader>(&table, count) else {
        found.fault = Some("its program headers lie beyond its end");
        return Ok(Some(found));
    };
    let segment = |kind| headers.iter().find(|header| header.p_type(endian) == kind);
    if let Some(interpreter) = segment(PT_INTERP) {
        found.loader = Some(match usize::try_from(interpreter.p_filesz(endian).into()) {
            Ok(len @ 2..=STRING_MAX) => {
                let bytes = read(interpreter.p_offset(endian).into(), len)?;
                let is_whole = bytes.len() == len && bytes.ends_with(b"\0");
                is_whole.then(|| until_nul(bytes)).ok_or("the path of its loader does not end with NUL")
            }
            Ok(0 | 1) => Err("the path of its loader is empty"),
            _ => Err("the path of its loader has more than 4096 bytes"),
        });
    }
    if let Some(dynamic) = segment(PT_DYNAMIC) {
        let len = dynamic.p_filesz(endian).into().min(DYNAMIC_MAX);
        found.is_cut = len == DYNAMIC_MAX;
        let bytes = read(dynamic.p_offset(endian).into(), usize::try_from(len).unwrap_or(0))?;
        let count = bytes.len() / size_of::<H::Dyn>();
        if let Ok((entries, _)) = slice_from_bytes::<H::Dyn>(&bytes, count) {
            fill::<H>(&mut found, entries, headers, endian, read)?;
        }
    }
    Ok(Some(found))
}

fn header_fault<H: FileHeader<Endian = Endianness>>(header: &H, endian: Endianness) -> Option<&'static str> {
    let (count, size) = (usize::from(header.e_phnum(endian)), size_of::<H::ProgramHeader>());
    match header.e_type(endian) {
        elf::ET_EXEC | elf::ET_DYN => {}
        elf::ET_REL => return Some("it is an object file, which is not linked"),
        elf::ET_CORE => return Some("it is a core dump"),
        _ => return Some("its type is unknown"),
    }
    if usize::from(header.e_phentsize(endian)) != size {
        return Some("its program headers have another size than those of its class");
    }
    match count {
        0 => Some("it has no program headers"),
        _ if count * size > HEADERS_MAX => Some("it has more than 64 KiB of program headers"),
        _ => None,
    }
}

/// Reads the strings that a dynamic section names.
fn fill<H: FileHeader<Endian = Endianness>>(
    found: &mut Elf,
    entries: &[H::Dyn],
    headers: &[H::ProgramHeader],
    endian: Endianness,
    read: ReadBytes<'_>,
) -> Result<()> {
    let used = || entries.iter().map(|entry| (entry.d_tag(endian), entry.d_val(endian).into()));
    let used = || used().take_while(|(tag, _)| *tag != elf::DT_NULL);
    let Some((_, address)) = used().find(|(tag, _)| *tag == DT_STRTAB) else { return Ok(()) };
    // The file's own position of an address, by the segment that is loaded there.
    let strings = headers.iter().filter(|header| header.p_type(endian) == PT_LOAD).find_map(|header| {
        let (start, len): (u64, u64) = (header.p_vaddr(endian).into(), header.p_filesz(endian).into());
        let within = address.checked_sub(start).filter(|within| *within < len)?;
        header.p_offset(endian).into().checked_add(within)
    });
    let Some(strings) = strings else { return Ok(()) };
    for (tag, offset) in used() {
        let text = || -> Result<Vec<u8>> { strings.checked_add(offset).map_or(Ok(Vec::new()), |at| string(read, at)) };
        match tag {
            DT_NEEDED if found.needed.len() < NEEDED_MAX => found.needed.push(text()?),
            DT_NEEDED => found.is_cut = true,
            DT_RPATH => found.rpath = text()?,
            DT_RUNPATH => found.runpath = text()?,
            _ => {}
        }
    }
    Ok(())
}

/// Returns the string at a position, in no more memory than it needs.
fn string(read: ReadBytes<'_>, at: u64) -> Result<Vec<u8>> {
    let start = read(at, STRING_USUAL)?;
    let is_whole = start.len() < STRING_USUAL || start.contains(&0);
    let mut string = until_nul(if is_whole { start } else { read(at, STRING_MAX)? });
    string.shrink_to_fit();
    Ok(string)
}

fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    let len = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    bytes.truncate(len);
    bytes
}

impl Machine {
    /// Returns the machine of an architecture in the words of OCI (Go's), if it is known.
    pub fn of(architecture: &str) -> Option<Self> {
        let (number, is_64_bit, is_little_endian) = match architecture {
            "amd64" => (elf::EM_X86_64, true, true),
            "386" => (elf::EM_386, false, true),
            "arm64" => (elf::EM_AARCH64, true, true),
            "arm" => (elf::EM_ARM, false, true),
            "riscv64" => (elf::EM_RISCV, true, true),
            "ppc64le" => (elf::EM_PPC64, true, true),
            "s390x" => (elf::EM_S390, true, false),
            "loong64" => (elf::EM_LOONGARCH, true, true),
            "mips64le" => (elf::EM_MIPS, true, true),
            _ => return None,
        };
        Some(Self { number: number.0, is_64_bit, is_little_endian })
    }

    /// Returns its name in the words of OCI, or a description with its number.
    pub fn name(self) -> String {
        let known = ["amd64", "386", "arm64", "arm", "riscv64", "ppc64le", "s390x", "loong64", "mips64le"];
        let found = known.into_iter().find(|name| Self::of(name) == Some(self));
        let bits = if self.is_64_bit { 64 } else { 32 };
        let order = if self.is_little_endian { "little" } else { "big" };
        found.map_or_else(|| format!("a {bits}-bit {order}-endian machine (number {})", self.number), str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(bytes: &[u8]) -> Option<Elf> {
        let read = |offset: u64, len: usize| {
            let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
            Ok(bytes[start..start.saturating_add(len).min(bytes.len())].to_vec())
        };
        parse(&read, None).unwrap()
    }

    #[test]
    fn this_program_needs_a_c_library() {
        let own = std::fs::read("/proc/self/exe").unwrap();
        let elf = parsed(&own).unwrap();
        assert_eq!(elf.machine.unwrap().is_64_bit, cfg!(target_pointer_width = "64"));
        if cfg!(target_env = "gnu") {
            assert!(elf.loader.is_some_and(|loader| loader.unwrap().starts_with(b"/lib")));
            assert!(elf.needed.iter().any(|name| name.starts_with(b"libc.so")), "{:?}", elf.needed);
            assert!(elf.needed.iter().all(|name| name.capacity() == name.len()), "names take no more memory");
        }
    }

    /// Each byte of the headers with other values, and each length: never a panic, never much memory.
    #[test]
    fn a_damaged_file_is_read_as_far_as_it_goes() {
        let own = std::fs::read("/proc/self/exe").unwrap();
        let head = &own[..4096.min(own.len())];
        for len in 0..head.len().min(1000) {
            parsed(&head[..len]);
        }
        for at in 0..1000 {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut damaged = head.to_vec();
                damaged[at] = value;
                parsed(&damaged);
            }
        }
        assert_eq!(parsed(b"#!/bin/sh\n"), None);
        assert_eq!(parsed(&[&b"\x7fELF\x02\x01\x01"[..], &[0xff; 200]].concat()).map(|elf| elf.needed), Some(vec![]));
    }
}
