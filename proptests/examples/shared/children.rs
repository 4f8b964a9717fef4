//! CPU time of programs, for the examples that measure.

/// Returns the CPU seconds of all ended children and their children.
pub fn seconds() -> Result<f64, Box<dyn std::error::Error>> {
    // proc_pid_stat(5): the fields after the name, of which `cutime` and `cstime` are the 14th and 15th, in hundredths.
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').ok_or("/proc/self/stat has no name")?;
    let ticks = fields.split_whitespace().skip(13).take(2).map(str::parse::<f64>);
    Ok(ticks.sum::<Result<f64, _>>()? / 100.0)
}
