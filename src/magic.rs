//! File formats by their magic numbers, for error messages about files of the wrong format. Ground floor.

use crate::error::NotExt4;
use crate::read_at::ReadAt;

/// The bytes read from a file: up to the superblocks with the largest offset.
const HEAD: usize = 70 << 10;

/// Offsets, magic numbers, and the formats that they identify.
const MAGIC: [(usize, &[u8], NotExt4); 37] = [
    (0, b"\x1f\x8b", NotExt4::Compressed("gzip")),
    (0, b"\x28\xb5\x2f\xfd", NotExt4::Compressed("zstd")),
    (0, b"\xfd7zXZ\0", NotExt4::Compressed("xz")),
    (0, b"BZh", NotExt4::Compressed("bzip2")),
    (0, b"\x04\x22\x4d\x18", NotExt4::Compressed("lz4")),
    (0, b"LZIP\x01", NotExt4::Compressed("lzip")),
    (0, b"PK\x03\x04", NotExt4::Compressed("zip")),
    (0, b"7z\xbc\xaf\x27\x1c", NotExt4::Compressed("7z")),
    (0, b"QFI\xfb", NotExt4::Disk("qcow2")),
    (0, b"KDMV", NotExt4::Disk("vmdk")),
    (0, b"# Disk DescriptorFile", NotExt4::Disk("vmdk")),
    (0, b"vhdxfile", NotExt4::Disk("vhdx")),
    (0, b"conectix", NotExt4::Disk("vpc")),
    (64, b"\x7f\x10\xda\xbe", NotExt4::Disk("vdi")),
    (0, b"\x3a\xff\x26\xed", NotExt4::Other("a sparse image of Android")),
    (0, b"hsqs", NotExt4::Filesystem("squashfs")),
    (0, b"sqsh", NotExt4::Filesystem("squashfs")),
    (0, b"XFSB", NotExt4::Filesystem("XFS")),
    (0, b"\x45\x3d\xcd\x28", NotExt4::Filesystem("cramfs")),
    (0, b"-rom1fs-", NotExt4::Filesystem("romfs")),
    (1024, b"\xe2\xe1\xf5\xe0", NotExt4::Filesystem("EROFS")),
    (1024, b"\x10\x20\xf5\xf2", NotExt4::Filesystem("F2FS")),
    (65_600, b"_BHRfS_M", NotExt4::Filesystem("btrfs")),
    (32_769, b"CD001", NotExt4::Filesystem("ISO 9660")),
    (3, b"NTFS    ", NotExt4::Filesystem("NTFS")),
    (54, b"FAT1", NotExt4::Filesystem("FAT")),
    (82, b"FAT32", NotExt4::Filesystem("FAT")),
    (0, b"LUKS\xba\xbe", NotExt4::Other("an encrypted disk of LUKS")),
    (4086, b"SWAPSPACE2", NotExt4::Other("swap space")),
    (536, b"LVM2 001", NotExt4::Other("a physical volume of LVM")),
    (257, b"ustar", NotExt4::Other("a tar archive")),
    (0, b"070701", NotExt4::Other("a cpio archive")),
    (0, b"\x7fELF", NotExt4::Other("an ELF program")),
    (0, b"MZ", NotExt4::Other("a program of Windows")),
    (512, b"EFI PART", NotExt4::Partitions),
    (4096, b"EFI PART", NotExt4::Partitions),
    (510, b"\x55\xaa", NotExt4::Partitions),
];

/// Returns the format of a file, if its magic number is known.
pub(crate) fn kind(file: &(impl ReadAt + ?Sized)) -> Option<NotExt4> {
    let mut head = vec![0; HEAD];
    let count = file.read_at(0, &mut head).ok()?;
    let head = &head[..count];
    if head.is_empty() {
        return Some(NotExt4::Empty);
    }
    let found = MAGIC.iter().find(|(offset, magic, _)| head.get(*offset..).is_some_and(|rest| rest.starts_with(magic)));
    if let Some((_, _, kind)) = found {
        return Some(kind.clone());
    }
    if head.iter().all(|&byte| byte == 0) {
        return Some(NotExt4::Zeros);
    }
    let text = std::str::from_utf8(&head[..head.len().min(4096)]);
    // The last character may be truncated.
    let is_text = match text {
        Ok(_) => true,
        Err(error) => error.error_len().is_none() && error.valid_up_to() > 0,
    };
    let printable = |byte: &u8| *byte >= 0x20 && *byte != 0x7f || matches!(byte, b'\t' | b'\n' | b'\r' | 0x0c | 0x1b);
    (is_text && head.iter().take(4096).all(printable)).then_some(NotExt4::Other("text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_detected_by_their_first_bytes() {
        let at = |offset: usize, magic: &[u8]| [&vec![0; offset], magic, &[0; 5000]].concat();
        let table = [
            (Vec::new(), "it is empty"),
            (vec![0; 5000], "its beginning is zeros"),
            (b"hello\n".repeat(1000), "it is text"),
            ("ä".repeat(5000).into_bytes(), "it is text"),
            (at(0, b"\x1f\x8b\x08"), "it is compressed with gzip"),
            (at(0, b"QFI\xfb"), "it is a disk image of the format qcow2"),
            (at(0, b"hsqs"), "it is squashfs"),
            (at(65_600, b"_BHRfS_M"), "it is btrfs"),
            (at(257, b"ustar\x0000"), "it is a tar archive"),
            (at(510, b"\x55\xaa"), "it is a disk with partitions"),
        ];
        for (bytes, expected) in table {
            assert_eq!(kind(&bytes[..]).unwrap().to_string(), expected);
        }
        assert_eq!(kind(&b"\x01\x02\x03"[..]), None);
        assert_eq!(kind(&[b"text".as_slice(), b"\0"].concat()[..]), None);
    }
}
