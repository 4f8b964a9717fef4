//! The allocations of blocks in the order of the engines, in a byte or two each, because an image may have millions.

/// An allocation of blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The first block of a new directory, by inode number.
    Directory(u32),
    /// A further block of a directory: 0 is the root, 1 `lost+found`, the others follow in the order of creation.
    Grow(u32),
    /// The block of a symlink, by inode number.
    Symlink(u32),
    /// Consecutive blocks of a file; `first` is true for the first run of the file.
    Run { first: bool, blocks: u64 },
}

/// The steps in order. Inode numbers ascend and are encoded as differences.
#[derive(Debug, Default)]
pub(super) struct Steps {
    bytes: Vec<u8>,
    last: u32,
}

const DIRECTORY: u64 = 0;
const GROW: u64 = 1;
const SYMLINK: u64 = 2;
const RUN: u64 = 3;

impl Steps {
    pub fn push(&mut self, step: Step) {
        match step {
            Step::Directory(number) => self.number(DIRECTORY, number),
            Step::Symlink(number) => self.number(SYMLINK, number),
            Step::Grow(directory) => self.write(GROW, directory.into()),
            Step::Run { first, blocks } => self.write(RUN, blocks << 1 | u64::from(first)),
        }
    }

    fn number(&mut self, kind: u64, number: u32) {
        let distance = number.wrapping_sub(self.last);
        self.last = number;
        self.write(kind, distance.into());
    }

    /// Encodes a number with a kind of two bits in bytes of seven bits, the lowest first.
    fn write(&mut self, kind: u64, number: u64) {
        let mut rest = number << 2 | kind;
        while rest >= 0x80 {
            self.bytes.push(0x80 | (rest & 0x7f) as u8);
            rest >>= 7;
        }
        self.bytes.push((rest & 0x7f) as u8);
    }

    /// Returns the memory of the steps in bytes.
    pub fn memory(&self) -> u64 {
        self.bytes.capacity() as u64
    }

    pub fn iter(&self) -> impl Iterator<Item = Step> {
        let (mut bytes, mut last) = (self.bytes.iter(), 0_u32);
        std::iter::from_fn(move || {
            let (mut value, mut shift) = (0_u64, 0);
            loop {
                let byte = *bytes.next()?;
                value |= u64::from(byte & 0x7f) << shift;
                if byte < 0x80 {
                    break;
                }
                shift += 7;
            }
            let number = value >> 2;
            let word = u32::try_from(number).unwrap_or(u32::MAX);
            let mut next = || {
                last = last.wrapping_add(word);
                last
            };
            Some(match value & 3 {
                DIRECTORY => Step::Directory(next()),
                GROW => Step::Grow(word),
                SYMLINK => Step::Symlink(next()),
                _ => Step::Run { first: number & 1 == 1, blocks: number >> 1 },
            })
        })
    }
}

impl Extend<Step> for Steps {
    fn extend<I: IntoIterator<Item = Step>>(&mut self, steps: I) {
        steps.into_iter().for_each(|step| self.push(step));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_read_back() {
        let expected = [
            Step::Directory(12),
            Step::Run { first: true, blocks: 1 },
            Step::Run { first: false, blocks: (1 << 32) - 1 },
            Step::Symlink(13),
            Step::Grow(0),
            Step::Grow(u32::MAX),
            Step::Directory(11),
            Step::Symlink(u32::MAX),
        ];
        let mut steps = Steps::default();
        steps.extend(expected);
        assert_eq!(steps.iter().collect::<Vec<_>>(), expected);
        let mut runs = Steps::default();
        runs.extend((0..1000).map(|_| Step::Run { first: true, blocks: 1 }));
        assert_eq!(runs.bytes.len(), 1000);
    }
}
