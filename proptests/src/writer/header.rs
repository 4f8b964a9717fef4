//! The headers of tar: fields, checksum, and the records of PAX.

pub(super) const POSIX: &[u8; 8] = b"ustar\x0000";
pub(super) const GNU: &[u8; 8] = b"ustar  \0";
/// The size of the `name` and `linkname` fields in bytes.
pub(super) const SHORT: usize = 100;

/// Encodes a number field: octal digits if they fit, else base-256 (GNU), with the sign in the first byte.
///
/// A number that fits neither is truncated to its low bytes.
pub(super) fn number<const WIDTH: usize>(value: i128) -> [u8; WIDTH] {
    let mut field = [0; WIDTH];
    let digits = WIDTH - 1;
    if value >= 0 && value < 1_i128 << (3 * digits) {
        field[..digits].copy_from_slice(format!("{value:0digits$o}").as_bytes());
    } else {
        let bytes = value.to_be_bytes();
        field.copy_from_slice(&bytes[bytes.len() - WIDTH..]);
        field[0] = if value < 0 { 0xff } else { 0x80 };
    }
    field
}

/// One 512-byte header.
pub(super) struct Header([u8; 512]);

impl Header {
    pub(super) fn new(typeflag: u8, name: &[u8], mode: u32, size: u64) -> Self {
        let mut header = Self([0; 512]);
        header.put(0, &name[..name.len().min(SHORT)]);
        header.put(100, &number::<8>((mode & 0o7_777_777).into()));
        header.put(108, &number::<8>(0));
        header.put(116, &number::<8>(0));
        header.put(124, &number::<12>(size.into()));
        header.put(136, &number::<12>(0));
        header.put(156, &[typeflag]);
        header.put(257, POSIX);
        header.put(329, &number::<8>(0));
        header.put(337, &number::<8>(0));
        header
    }

    pub(super) fn put(&mut self, offset: usize, bytes: &[u8]) {
        self.0[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    pub(super) fn finish(mut self, bad_checksum: bool) -> [u8; 512] {
        self.put(148, b"        ");
        let sum = self.0.iter().copied().map(u32::from).sum::<u32>() + u32::from(bad_checksum);
        self.put(148, format!("{sum:06o}\0 ").as_bytes());
        self.0
    }
}

/// The body of a PAX header.
#[derive(Default)]
pub(super) struct PaxRecords(Vec<u8>);

impl PaxRecords {
    /// Appends one record, whose length counts its own digits.
    pub(super) fn add(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        let body = [b" ", key.as_ref(), b"=", value.as_ref(), b"\n"].concat();
        let mut length = body.len();
        while length.to_string().len() + body.len() != length {
            length = length.to_string().len() + body.len();
        }
        self.0.extend_from_slice(length.to_string().as_bytes());
        self.0.extend_from_slice(&body);
    }

    pub(super) fn add_all(&mut self, records: &[(Vec<u8>, Vec<u8>)]) {
        for (key, value) in records {
            self.add(key, value);
        }
    }
    /// Returns the bytes of some records.
    #[cfg(test)]
    pub(super) fn of(records: &[(&str, &str)]) -> Vec<u8> {
        let mut all = Self::default();
        records.iter().for_each(|(key, value)| all.add(key, value));
        all.0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_numbers_are_base_256() {
        assert_eq!(&number::<8>(0o644), b"0000644\0");
        assert_eq!(&number::<8>(0o7_777_777), b"7777777\0");
        assert_eq!(number::<8>(1 << 21), [0x80, 0, 0, 0, 0, 0x20, 0, 0]);
        assert_eq!(number::<8>(-1), [0xff; 8]);
        assert_eq!(number::<12>(-2)[10..], [0xff, 0xfe]);
        assert_eq!(&number::<12>((1 << 33) - 1), b"77777777777\0");
    }

    #[test]
    fn the_length_of_a_record_includes_its_digits() {
        assert_eq!(PaxRecords::of(&[("path", "a")]), b"9 path=a\n");
        assert_eq!(PaxRecords::of(&[("path", "")]), b"8 path=\n");
        assert_eq!(PaxRecords::of(&[("a", &"x".repeat(93))])[..5], *b"99 a=");
        assert_eq!(PaxRecords::of(&[("a", &"x".repeat(94))])[..6], *b"101 a=");
    }
}
