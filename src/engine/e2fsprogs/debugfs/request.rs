//! The syntax of debugfs requests.

use std::io::Write;

use crate::error::Error;

/// The longest line that debugfs reads as one is 8,191 bytes.
const LINE_MAX: usize = 8000;

/// Writes one request as a line, after asserting that every part has its intended meaning.
pub(super) fn line(out: &mut dyn Write, request: &str) -> Result<(), ScriptFault> {
    let harmless = |b: u8| b.is_ascii_alphanumeric() || b" <>_.+[]\\-".contains(&b);
    let starts = request.as_bytes().first().is_some_and(u8::is_ascii_lowercase);
    if !starts || request.len() > LINE_MAX || !request.bytes().all(harmless) {
        return Err(ScriptFault::Unsafe);
    }
    out.write_all(request.as_bytes()).and_then(|()| out.write_all(b"\n")).map_err(ScriptFault::Write)
}

/// The reason why a script could not be written.
pub(super) enum ScriptFault {
    Write(std::io::Error),
    Unsafe,
    Stop(Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ambiguous_request_is_refused() {
        let taken = |request: &str| line(&mut Vec::new(), request).is_ok();
        assert!(taken("sif <12> mode 0100644"));
        assert!(taken("ea_set <12> user.a \\x00\\x21"));
        for bad in ["", "!touch x", " !touch x", "sif\n!touch x", "sif \"x", "sif #", "sif\r", "<2>", "sif\t", "sif é"]
        {
            assert!(!taken(bad), "{bad:?}");
        }
        assert!(!taken(&"s".repeat(LINE_MAX + 1)));
    }
}
