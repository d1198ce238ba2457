//! What an open says when it fails: which log, what the store or the network said, and what can be
//! done about it, in one line.

use std::io;

use wal_core::StorageError;

use crate::inner::Inner;

/// Words that stores and networks use, all in lower case, and what they mean. The first that fits counts.
const ADVICE: [(&[&str], &str); 7] = [
    (
        &["requesttimetooskewed", "requestexpired", "too skewed"],
        "the clocks of this machine and of the store differ too much: set this machine's",
    ),
    (
        &["scheme is not allowed"],
        "an address without TLS has to be allowed (for S3 `AWS_ALLOW_HTTP=true`)",
    ),
    (
        &["no such bucket", "nosuchbucket", "containernotfound"],
        "check the name of the bucket, and the region and address that it is looked for at",
    ),
    (
        &[
            "authorizationheadermalformed",
            "permanentredirect",
            "illegallocation",
            "without location",
            "region",
        ],
        "check the region (for S3 `AWS_REGION`)",
    ),
    (
        &[
            "signature",
            "accesskeyid",
            "no user",
            "accessdenied",
            "authenticationfailed",
            "401",
            "403",
        ],
        "check the credentials (for S3 `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`), and that they \
         may read, list, write and delete below the prefix",
    ),
    (
        &[
            "connection refused",
            "dns",
            "lookup",
            "unreachable",
            "no answer within",
            "timed out",
        ],
        "nothing answers there: check the address (for S3 `AWS_ENDPOINT_URL`) and the network",
    ),
    (
        &["certificate", "invalid peer", "tls"],
        "the address does not speak the protocol that is asked for, or its certificate is not trusted",
    ),
];

fn advice(said: &str) -> Option<&'static str> {
    let said = said.to_lowercase();
    let fits = |(words, _): &&(&[&str], &str)| words.iter().any(|word| said.contains(word));
    ADVICE.iter().find(fits).map(|(_, advice)| *advice)
}

impl Inner {
    /// Why the log could not be opened.
    pub(crate) fn not_opened(&self, why: StorageError) -> StorageError {
        match why {
            StorageError::Io { cause, .. } => {
                let mut said = cause.to_string();
                if let Some(advice) = advice(&said) {
                    said = format!("{said}; {advice}");
                }
                let cause = io::Error::new(cause.kind(), said);
                StorageError::io(format!("opening the log at {}", self.keys), cause)
            }
            StorageError::Conflict(why) => {
                StorageError::Conflict(format!("opening the log at {}: {why}", self.keys))
            }
            // They say which log themselves.
            other => other,
        }
    }
}

/// What an error of `object_store` says, without the address of the object (who asked knows it) and
/// how long it took: the server's address, and what went wrong.
pub(crate) fn without_object(said: &str) -> String {
    let Some((_, rest)) = said.split_once("Error performing ") else {
        return said.to_owned();
    };
    let Some((request, mut why)) = rest.split_once(" - ") else {
        return said.to_owned();
    };
    let server = request.split_whitespace().find(|word| word.contains("://"));
    let server = server.and_then(|url| {
        let (scheme, rest) = url.split_once("://")?;
        Some(format!("{scheme}://{}", rest.split(['/', '?']).next()?))
    });
    let mut out = server.map_or_else(String::new, |server| format!("{server}: "));
    while let Some((before, after)) = why.split_once(" for url (") {
        out.push_str(before);
        why = after.split_once(')').map_or("", |(_, after)| after);
    }
    out.push_str(why);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_is_named_and_the_object_is_not() {
        let said = "Generic S3 error: Error performing PUT http://127.0.0.1:1/b/log/probe/17 in \
                    1.2ms - HTTP error: error sending request for url (http://127.0.0.1:1/b/log): \
                    tcp connect error: Connection refused (os error 111)";
        assert_eq!(
            without_object(said),
            "http://127.0.0.1:1: HTTP error: error sending request: tcp connect error: Connection \
             refused (os error 111)"
        );
        assert_eq!(without_object("something else"), "something else");
        assert_eq!(
            without_object("Error performing PUT"),
            "Error performing PUT"
        );
    }

    #[test]
    fn what_stores_say_has_an_advice() {
        for (said, advised) in [
            ("403 Forbidden: <Code>RequestTimeTooSkewed</Code>", "clocks"),
            (
                "403 Forbidden: <Code>SignatureDoesNotMatch</Code>",
                "credentials",
            ),
            (
                "404 Not Found: <Code>NoSuchBucket</Code>",
                "name of the bucket",
            ),
            ("400 Bad Request: AuthorizationHeaderMalformed", "region"),
            ("301: Received redirect without LOCATION", "region"),
            (
                "tcp connect error: Connection refused (os error 111)",
                "address",
            ),
            ("builder error: URL scheme is not allowed", "TLS"),
            ("dns error: failed to lookup address information", "address"),
        ] {
            let advice = advice(said).unwrap_or("none");
            assert!(advice.contains(advised), "{said}: {advice}");
        }
        assert_eq!(advice("it is full"), None);
    }
}
