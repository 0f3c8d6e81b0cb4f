//! Every rule of `docs/runtime-semantics.md` names a test that exists.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

#[test]
fn each_rule_names_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let rules = fs::read_to_string(root.join("../docs/runtime-semantics.md")).unwrap();
    let references: Vec<&str> = rules
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|code| {
            code.split_once("::")
                .is_some_and(|(file, _)| file.starts_with(|c: char| c.is_ascii_lowercase()))
        })
        .filter(|code| *code != "file::test")
        .collect();
    assert!(references.len() > 30, "{references:?}");
    for reference in references {
        let (file, test) = reference.split_once("::").unwrap();
        let path = root.join(format!("tests/{file}.rs"));
        let source = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            source.contains(&format!("\nfn {test}(")),
            "there is no {reference}"
        );
    }
    let rules = rules.split("\n- ").skip(1);
    for rule in rules {
        assert!(rule.contains("[`"), "a rule without a test: {rule}");
    }
}
