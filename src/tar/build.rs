//! Writes tar streams for tests, including damaged and unusual ones that ordinary writers do not make.

/// A stream under construction.
#[derive(Default)]
pub(crate) struct Stream(pub Vec<u8>);

/// One header; fields that are not set are zero or empty.
pub(crate) struct Member<'a> {
    block: [u8; 512],
    data: &'a [u8],
}

impl<'a> Member<'a> {
    /// Returns a POSIX header of a member with mode 0644.
    pub(crate) fn new(typeflag: u8, name: &[u8]) -> Self {
        let mut member = Self { block: [0; 512], data: &[] };
        member.block[257..265].copy_from_slice(b"ustar\x0000");
        member.block[156] = typeflag;
        member.at(0, name).at(100, b"0000644\0").at(108, b"0000000\0").at(116, b"0000000\0").at(136, b"00000000000\0")
    }

    /// Overwrites a part of the block.
    pub(crate) fn at(mut self, offset: usize, bytes: &[u8]) -> Self {
        self.block[offset..offset + bytes.len()].copy_from_slice(bytes);
        self
    }

    /// Makes it a GNU header.
    pub(crate) fn gnu(self) -> Self {
        self.at(257, b"ustar  \0")
    }

    /// Appends content to the header and sets its size.
    pub(crate) fn data(self, data: &'a [u8]) -> Self {
        Self { data, ..self.size(data.len() as u64) }
    }

    /// Sets a size without content.
    pub(crate) fn size(self, size: u64) -> Self {
        self.at(124, format!("{size:011o}\0").as_bytes())
    }

    pub(crate) fn link(self, target: &[u8]) -> Self {
        self.at(157, target)
    }

    /// Returns the block with its checksum.
    pub(crate) fn header(mut self) -> [u8; 512] {
        self.block[148..156].fill(b' ');
        let sum: u32 = self.block.iter().map(|&b| u32::from(b)).sum();
        self.at(148, format!("{sum:06o}\0 ").as_bytes()).block
    }
}

impl Stream {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Appends bytes as they are.
    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    /// Appends a header and its padded content.
    pub(crate) fn member(mut self, member: Member<'_>) -> Self {
        let data = member.data;
        self.0.extend(member.header());
        self.0.extend(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    /// Appends a regular file.
    pub(crate) fn file(self, name: &[u8], data: &[u8]) -> Self {
        self.member(Member::new(b'0', name).data(data))
    }

    /// Appends a local extended header with these records.
    pub(crate) fn pax(self, records: &[(&[u8], &[u8])]) -> Self {
        let data: Vec<u8> = records.iter().flat_map(|(key, value)| record(key, value)).collect();
        self.member(Member::new(b'x', b"PaxHeaders/x").data(&data))
    }

    /// Appends the end marker.
    pub(crate) fn end(self) -> Vec<u8> {
        self.raw(&[0; 1024]).0
    }
}

/// Returns one PAX record.
pub(crate) fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let body = [b" ", key, b"=", value, b"\n"].concat();
    let length = (1..).map(|digits| digits + body.len()).zip(1..).find(|(n, digits)| n.to_string().len() == *digits);
    let length = length.unwrap().0.to_string();
    [length.as_bytes(), &body].concat()
}
