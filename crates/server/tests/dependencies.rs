//! What the server is built from: only what may be shipped under its licence,
//! from the public registry, and within the stated Rust version.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

/// Licences under which a dependency may be shipped with this project.
const LICENCES: [&str; 11] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

fn packages() -> Vec<Value> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked"])
        .output()
        .expect("cargo can be run");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

/// Whether an SPDX expression, of the plain kind that crates use, can be met.
fn is_allowed(expression: &str) -> bool {
    let flat = expression.replace(['(', ')'], "").replace('/', " OR ");
    let and = |part: &str| {
        part.split(" AND ")
            .all(|one| LICENCES.contains(&one.trim()))
    };
    flat.split(" OR ").any(and)
}

#[test]
fn every_dependency_may_be_shipped() {
    for package in packages() {
        let licence = package["license"].as_str().unwrap_or("none");
        // (A OR B) AND C, flattened, asks for "B AND C", which is stricter.
        assert!(is_allowed(licence), "{}: {licence}", package["name"]);
    }
}

#[test]
fn every_dependency_comes_from_the_public_registry() {
    for package in packages() {
        let ours = package["name"]
            .as_str()
            .unwrap()
            .starts_with("notification-");
        let registry = "registry+https://github.com/rust-lang/crates.io-index";
        let source = package["source"].as_str();
        assert!(
            ours && source.is_none() || source == Some(registry),
            "{}: {source:?}",
            package["name"]
        );
    }
}

#[test]
fn the_stated_rust_version_is_enough_for_every_dependency() {
    let version = |text: &str| -> (u32, u32) {
        let mut parts = text.split('.').map(|part| part.parse().unwrap());
        (parts.next().unwrap(), parts.next().unwrap_or(0))
    };
    let stated = version(env!("CARGO_PKG_RUST_VERSION"));
    for package in packages() {
        if let Some(needed) = package["rust_version"].as_str() {
            assert!(
                version(needed) <= stated,
                "{} needs Rust {needed}",
                package["name"]
            );
        }
    }
}

/// The packages of a lock file, as "name version".
fn locked(path: &str) -> BTreeSet<String> {
    let path = format!("{}/../../{path}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let quoted = |line: &str, key: &str| Some(line.strip_prefix(key)?.trim_matches('"').to_owned());
    let names = text.lines().filter_map(|line| quoted(line, "name = "));
    // The file's own comes first, without quotes.
    let versions = text
        .lines()
        .filter_map(|line| quoted(line, "version = "))
        .skip(1);
    names
        .zip(versions)
        .map(|(name, version)| format!("{name} {version}"))
        .collect()
}

#[test]
fn what_is_fuzzed_is_built_from_the_dependencies_that_are_shipped() {
    let shipped = locked("Cargo.lock");
    let fuzzed = locked("fuzz/Cargo.lock");
    let own = [
        "arbitrary",
        "jobserver",
        "libfuzzer-sys",
        "notification-fuzz",
    ];
    let different: Vec<_> = fuzzed
        .difference(&shipped)
        .filter(|package| !own.contains(&package.split(' ').next().unwrap()))
        .collect();
    assert!(
        different.is_empty(),
        "copy Cargo.lock to fuzz/Cargo.lock and run `cargo metadata` in fuzz: {different:?}"
    );
}
