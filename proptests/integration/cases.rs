//! Every case of layer semantics, built by the real binary as an ordinary user and read back from the filesystem.

use planish_proptests::Mtime;
use planish_proptests::cases::{self, Case, Expect};

use crate::support::{Bench, failed, fixtures, read_clean, succeeded};

#[test]
fn every_case_has_the_expected_tree_or_refusal() {
    let bench = Bench::new();
    let cases = cases::parse(&std::fs::read_to_string(fixtures().join("cases.json")).unwrap()).unwrap();
    assert_eq!(cases.len(), 144);
    let broken: Vec<String> = cases.iter().flat_map(|case| problems(&bench, case)).collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// Builds one case and returns the faults of the result.
fn problems(bench: &Bench, case: &Case) -> Vec<String> {
    let layout = bench.shared(&case.id);
    case.image.write_layout(&layout, "latest").unwrap();
    let output = bench.build(&format!("oci:{}:latest", layout.display()), "case.ext4", &[]);
    let image = bench.at("case.ext4");
    let problems = match &case.expect {
        Expect::Tree(tree) => {
            if output.status.code() != Some(0) {
                return vec![format!("{}: {}", case.id, crate::support::stderr(&output))];
            }
            succeeded(&output);
            let mismatches = tree.check(&read_clean(&image), Mtime { seconds: 0, nanos: 0 });
            std::fs::remove_file(&image).unwrap();
            mismatches.iter().map(ToString::to_string).collect()
        }
        Expect::Error(_) => {
            failed(&output, 5);
            Vec::new()
        }
    };
    assert_eq!(bench.left(), [""; 0], "{}", case.id);
    problems.into_iter().map(|problem: String| format!("{}: {problem}", case.id)).collect()
}
