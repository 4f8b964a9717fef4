//! How a debugfs request is written.

use std::io::Write;

use super::script::ScriptFault;

/// The longest line that debugfs reads as one is 8,191 bytes.
const LINE_MAX: usize = 8000;

/// Writes one request as a line, after asserting that nothing in it can mean anything else.
pub(super) fn line(out: &mut dyn Write, request: &str) -> Result<(), ScriptFault> {
    let harmless = |b: u8| b.is_ascii_alphanumeric() || b" <>_.+[]\\-".contains(&b);
    let starts = request.as_bytes().first().is_some_and(u8::is_ascii_lowercase);
    if !starts || request.len() > LINE_MAX || !request.bytes().all(harmless) {
        return Err(ScriptFault::Unsafe);
    }
    out.write_all(request.as_bytes()).and_then(|()| out.write_all(b"\n")).map_err(ScriptFault::Write)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_could_mean_something_else_is_refused() {
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
