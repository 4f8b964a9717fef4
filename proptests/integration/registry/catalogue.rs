//! Each row of `.github/FAULTS.md` names an existing test, in a file that names the row.

use std::path::Path;

#[test]
fn every_row_has_its_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let catalogue = std::fs::read_to_string(root.join(".github/FAULTS.md")).unwrap();
    let sources: Vec<String> = root
        .join("proptests/integration/registry")
        .read_dir()
        .unwrap()
        .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect();
    let ids =
        [("R", 57), ("C", 23), ("P", 6)].map(|(letter, count)| (1..=count).map(move |n| format!("{letter}{n:02}")));
    let mut missing = Vec::new();
    for id in ids.into_iter().flatten() {
        let line = catalogue.lines().find(|line| line.starts_with(&format!("| {id} |"))).unwrap_or_default();
        let test = line.split('`').rev().nth(1).unwrap_or_default();
        let function = format!("fn {test}()");
        let shown = sources.iter().any(|source| source.contains(&function) && source.contains(&format!("\"{id}\"")));
        if !shown {
            missing.push(format!("{id}: {test}"));
        }
    }
    assert_eq!(missing, [""; 0]);
}
