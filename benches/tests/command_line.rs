//! Bad input gives one clear line that names the thing, and an exit code of its own.

use std::error::Error;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn run(arguments: &[&str]) -> Result<Output, Box<dyn Error>> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wal-benches"));
    Ok(command.args(arguments).stdin(Stdio::null()).output()?)
}

/// The last line of standard error, if the exit code is this one.
fn refused(arguments: &[&str], code: i32) -> Result<String, Box<dyn Error>> {
    let output = run(arguments)?;
    let told = String::from_utf8(output.stderr)?;
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {told}");
    assert!(!told.contains("panicked"), "{told}");
    Ok(told
        .trim_end()
        .lines()
        .last()
        .unwrap_or_default()
        .to_owned())
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}

#[test]
fn help_shows_examples_and_exit_codes() {
    let output = run(&["compare", "--help"]).unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    for part in [
        "Examples:",
        "Exit codes:",
        "--kills",
        "--topic",
        "promise broken",
    ] {
        assert!(help.contains(part), "{part} is missing in {help}");
    }
}

#[test]
fn wrong_usage_is_2() {
    for arguments in [
        &["compare", "--records", "many"][..],
        &["compare", "--records", "0"],
        &["compare", "--kafka", "nowhere"],
        &["compare", "--topic", "orders"],
        &[
            "compare",
            "--kafka",
            "127.0.0.1:1",
            "--topic",
            "orders",
            "--records",
            "5000",
        ],
        &["compare", "--arms", "spark"],
        &["compare", "--json", "/no/such/directory/report.json"],
        &["arm"],
        &[],
    ] {
        refused(arguments, 2).unwrap();
    }
}

#[test]
fn an_unusable_input_file_is_3() {
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().join("empty.jsonl");
    std::fs::write(&empty, "").unwrap();
    let broken = dir.path().join("broken.zst");
    std::fs::write(&broken, [0x28, 0xb5, 0x2f, 0xfd, 1, 2, 3]).unwrap();
    let absent = dir.path().join("absent.jsonl");
    for path in [dir.path(), &empty, &broken, &absent] {
        let told = refused(&["compare", "--input", text(path)], 3).unwrap();
        assert!(told.starts_with("error: input file"), "{told}");
        assert!(told.contains(text(path)), "{told}");
    }
}

#[test]
fn a_broker_that_does_not_answer_is_4() {
    // Nothing listens on the port of a socket that was just closed.
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap().to_string();
    drop(socket);
    let dir = tempfile::tempdir().unwrap();
    let told = refused(
        &["compare", "--kafka", &address, "--dir", text(dir.path())],
        4,
    )
    .unwrap();
    assert!(
        told.contains(&format!("no Kafka broker answers at {address}")),
        "{told}"
    );
}

#[test]
fn an_unusable_log_directory_is_5() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let told = refused(&["compare", "--dir", text(&file)], 5).unwrap();
    assert!(
        told.contains(text(&file)) && told.contains("--dir"),
        "{told}"
    );

    std::fs::write(dir.path().join("000000000001-00000000000000000000.wal"), "").unwrap();
    let told = refused(&["compare", "--dir", text(dir.path())], 5).unwrap();
    assert!(told.contains("holds a log"), "{told}");
}

/// The whole thing, short. Takes about half a minute, and its figures mean nothing.
#[test]
#[ignore = "slow; CI runs it as the main job in its short form"]
fn a_short_comparison_keeps_its_promises() {
    let dir = tempfile::tempdir().unwrap();
    let json = dir.path().join("report.json");
    let output = run(&[
        "compare",
        "--records",
        "20000",
        "--kills",
        "1",
        "--rounds",
        "1",
        "--min-seconds",
        "0",
        "--dir",
        text(dir.path()),
        "--json",
        text(&json),
    ])
    .unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}");
    let report = std::fs::read_to_string(json).unwrap();
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    let arms = report["arms"].as_array().unwrap();
    assert_eq!(arms.len(), 5);
    for arm in arms {
        assert!(arm["not_run"].is_null(), "{arm}");
        assert_eq!(arm["crash"]["kills"], 1);
        if arm["name"] != "no-log" {
            assert_eq!(
                (&arm["crash"]["lost"], &arm["crash"]["repeated"]),
                (&0.into(), &0.into())
            );
        }
    }
    assert_eq!(report["trials"].as_array().unwrap().len(), 6);
}
