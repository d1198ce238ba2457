//! A checkpoint belongs to one pipeline; another one must say that it means it.

use std::path::Path;

use tempfile::tempdir;
use wal_streaming::{
    CountingSink, Driver, DriverOptions, Error, FileSource, Result, Resumed, Stop,
};

use crate::support::{lines, open_log};

fn run(dir: &Path, options: DriverOptions) -> Result<Resumed> {
    let source = FileSource::open(vec![dir.join("in.txt")]).unwrap();
    let checkpoint = open_log(&dir.join("checkpoint"));
    let sink = CountingSink::new();
    let (mut driver, resumed) =
        Driver::open(Box::new(source), Box::new(sink), checkpoint, options)?;
    driver.run(&Stop::new())?;
    Ok(resumed)
}

#[test]
fn another_name_needs_consent() {
    let dir = tempdir().unwrap();
    std::fs::write(dir.path().join("in.txt"), lines(0, 5)).unwrap();
    run(dir.path(), DriverOptions::new("orders")).unwrap();

    let refused = run(dir.path(), DriverOptions::new("invoices")).unwrap_err();
    let Error::Identity { stored, found } = &refused else {
        panic!("{refused}")
    };
    assert!(
        stored.starts_with("orders: ") && found.starts_with("invoices: "),
        "{refused}"
    );

    let adopt = DriverOptions {
        adopt: true,
        ..DriverOptions::new("invoices")
    };
    assert_eq!(run(dir.path(), adopt).unwrap().batches_done, 1);
    // From now on it is theirs.
    assert_eq!(
        run(dir.path(), DriverOptions::new("invoices"))
            .unwrap()
            .batches_done,
        1
    );
    assert!(run(dir.path(), DriverOptions::new("orders")).is_err());
}

#[test]
fn other_settings_are_noted_and_go_on() {
    let dir = tempdir().unwrap();
    std::fs::write(dir.path().join("in.txt"), lines(0, 5)).unwrap();
    run(dir.path(), DriverOptions::new("orders")).unwrap();
    let config = vec![("batch".to_owned(), "10".to_owned())];
    let options = DriverOptions {
        config,
        ..DriverOptions::new("orders")
    };
    assert_eq!(run(dir.path(), options).unwrap().batches_done, 1);
}
