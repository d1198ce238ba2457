//! A store that cannot be reached or used is an error of the open: one line, in seconds, that says
//! what is wrong.

#[cfg(feature = "aws")]
use std::io::{BufRead, BufReader, Read, Write};
#[cfg(feature = "aws")]
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use wal_core::Wal;
use wal_s3::{ObjectStorage, Options};

use super::child::open_with;

/// As long as an open may take where nothing answers, and some time for the process.
const SOON: Duration = Duration::from_secs(25);

fn refused(url: &str, environment: &[(&str, &str)], said: &[&str]) -> Duration {
    let begun = Instant::now();
    let refused = open_with(url, environment);
    let took = begun.elapsed();
    println!("{:.1} s: {refused}", took.as_secs_f32());
    assert_eq!(refused.lines().count(), 1, "one line: {refused}");
    let named = refused.contains(&format!("opening the log at {url}: "));
    assert!(named && !refused.contains("probe"), "{refused}");
    let lower = refused.to_lowercase();
    let fits = said.iter().any(|said| lower.contains(said));
    assert!(fits, "none of {said:?} is in: {refused}");
    assert!(took < SOON, "that took {took:?}");
    took
}

fn missing_bucket() -> String {
    let url = super::place("log");
    let (scheme, _) = url.split_once("://").unwrap();
    format!("{scheme}://no-such-bucket-of-mine/log")
}

#[test]
#[ignore = "needs a server: scripts/s3-tests.sh"]
fn an_open_works() {
    assert_eq!(open_with(&super::place("good"), &[]), "opened");
}

/// Only on servers that are known not to be fit.
#[test]
#[ignore = "needs a server: scripts/s3-tests.sh"]
fn an_unfit_server_is_refused() {
    if std::env::var_os("WAL_S3_UNFIT").is_none() {
        println!("left out: this server is fit");
        return;
    }
    refused(&super::place("log"), &[], &["create-if-absent"]);
}

#[test]
#[cfg(feature = "aws")]
#[ignore = "is about real servers: scripts/s3-tests.sh"]
fn a_wrong_endpoint_is_named() {
    for (endpoint, said) in [
        ("http://127.0.0.1:1", "refused"),
        ("http://no-such-machine.invalid", "dns"),
    ] {
        let environment = [
            ("AWS_ENDPOINT_URL", endpoint),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
        ];
        refused("s3://bucket/log", &environment, &[said]);
    }
}

/// Stands in for a store whose clock is another: moto and versitygw do not look at it.
#[test]
#[cfg(feature = "aws")]
#[ignore = "is about clients of real servers: scripts/s3-tests.sh"]
fn a_clock_that_is_wrong_is_named() {
    const BODY: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error>\n\
        <Code>RequestTimeTooSkewed</Code>\n<Message>The difference between the request time and the \
        current time is too large.</Message></Error>";
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", server.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in server.incoming().flatten() {
            std::thread::spawn(move || refuse_all(stream, BODY));
        }
    });
    let environment = [
        ("AWS_ENDPOINT_URL", endpoint.as_str()),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
    ];
    let took = refused("s3://bucket/log", &environment, &["clocks of this machine"]);
    assert!(took < Duration::from_secs(5), "that took {took:?}");
}

/// Answers one request of a connection, with 403, and closes it.
#[cfg(feature = "aws")]
fn refuse_all(mut stream: TcpStream, body: &str) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut line, mut length) = (String::new(), 0);
    while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
        if let Some(said) = line.to_lowercase().strip_prefix("content-length:") {
            length = said.trim().parse().unwrap_or(0);
        }
        line.clear();
    }
    let _ = std::io::copy(&mut reader.take(length), &mut std::io::sink());
    let head = format!(
        "HTTP/1.1 403 Forbidden\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all(format!("{head}{body}").as_bytes());
}

#[test]
#[ignore = "needs a server: scripts/s3-tests.sh"]
fn a_bucket_that_is_not_there_is_named() {
    let missing = missing_bucket();
    let took = refused(&missing, &[], &["no such bucket"]);
    assert!(took < Duration::from_secs(5), "that took {took:?}");
}

#[test]
#[ignore = "needs a server: scripts/s3-tests.sh"]
fn a_view_names_it_too() {
    let missing = missing_bucket();
    let begun = Instant::now();
    let storage = ObjectStorage::from_url(&missing, Options::default()).unwrap();
    let view = Wal::open_read_only(storage);
    let refused = view.map(|_| ()).unwrap_err().to_string();
    println!("{refused}");
    assert!(refused.contains("no such bucket"), "{refused}");
    assert!(begun.elapsed() < Duration::from_secs(5));
}

/// Only where the server looks at signatures (`WAL_S3_SIGNED`): some simulations do not.
#[test]
#[cfg(feature = "aws")]
#[ignore = "needs a server: scripts/s3-tests.sh"]
fn wrong_credentials_and_regions_are_named() {
    if std::env::var_os("WAL_S3_SIGNED").is_none() {
        println!("left out: this server takes any credentials");
        return;
    }
    let url = super::place("log");
    for (key, value, said) in [
        ("AWS_SECRET_ACCESS_KEY", "wrong", "signature"),
        ("AWS_ACCESS_KEY_ID", "nobody", "no user"), // versitygw's words
    ] {
        let took = refused(&url, &[(key, value)], &[said, "accesskeyid"]);
        assert!(took < Duration::from_secs(5), "that took {took:?}");
    }
    refused(&url, &[("AWS_REGION", "eu-central-1")], &["region"]);
}

#[test]
#[ignore = "needs no server, but the clients: scripts/s3-tests.sh"]
fn a_url_that_names_no_store_is_refused() {
    for (url, said) in [
        ("file:///var/log", "wal-fs"),
        ("ftp://bucket/log", "expected s3://"),
        ("bucket/log", "expected scheme://"),
    ] {
        let made = ObjectStorage::from_url(url, Options::default());
        let error = made.map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(said) && error.contains(url), "{error}");
    }
}
