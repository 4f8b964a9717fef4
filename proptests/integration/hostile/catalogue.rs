//! Each row of `.github/FAULTS.md` about layers names its tests, and each of them names the row.

use std::path::Path;

#[test]
fn every_row_has_its_tests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let catalogue = std::fs::read_to_string(root.join(".github/FAULTS.md")).unwrap();
    let files = root.join("proptests/integration/hostile").read_dir().unwrap();
    let sources: Vec<String> = files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    let mut missing = Vec::new();
    for id in (1..=27).map(|n| format!("L{n:02}")) {
        let line = catalogue.lines().find(|line| line.starts_with(&format!("| {id} |"))).unwrap_or_default();
        let tests: Vec<&str> = line.rsplit('|').nth(1).unwrap_or_default().split('`').skip(1).step_by(2).collect();
        if tests.is_empty() {
            missing.push(format!("{id} has no test"));
        }
        missing
            .extend(tests.iter().filter(|test| !is_test_of(&sources, test, &id)).map(|test| format!("{id}: {test}")));
    }
    assert_eq!(missing, [""; 0]);
}

/// Returns true if a test of this name exists and its doc comment names the row.
fn is_test_of(sources: &[String], test: &str, id: &str) -> bool {
    let function = format!("#[test]\nfn {test}()");
    sources.iter().any(|source| {
        source.split_once(&function).is_some_and(|(before, _)| {
            let remark = before.rsplit_once("\n\n").map_or(before, |(_, remark)| remark);
            remark.lines().any(|line| line.starts_with("/// Rows: ") && line.contains(id))
        })
    })
}
