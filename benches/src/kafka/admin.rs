//! Topics and groups of the harness on a real broker.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaResult, RDKafkaErrorCode};

use crate::failure::{Failure, Outcome};

const LIMIT: Duration = Duration::from_secs(30);
/// The session timeout of the arms, and a little more.
const SESSIONS_END: Duration = Duration::from_secs(10);

pub(super) fn create_topic(brokers: &str, topic: &str, partitions: i32) -> Outcome<()> {
    let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
    let answer = block_on(admin(brokers)?.create_topics([&new], &options()));
    check("create topic", topic, first(answer))
}

pub(super) fn delete_topic(brokers: &str, topic: &str) -> Outcome<()> {
    let answer = block_on(admin(brokers)?.delete_topics(&[topic], &options()));
    check("delete topic", topic, first(answer))
}

/// Deletes those of `groups` that the broker knows. A group whose member was killed
/// moments ago is not empty before that member's session ends; that is waited for.
pub(super) fn delete_groups(brokers: &str, groups: &[String]) -> Outcome<()> {
    let admin = admin(brokers)?;
    let started = Instant::now();
    let mut left: Vec<String> = groups.to_vec();
    while !left.is_empty() {
        left = delete_once(&admin, &left)?;
        if left.is_empty() || started.elapsed() > SESSIONS_END {
            break;
        }
        thread::sleep(Duration::from_millis(500));
    }
    // What is left now expires by itself.
    Ok(())
}

/// Those that are not empty yet.
fn delete_once(
    admin: &AdminClient<DefaultClientContext>,
    groups: &[String],
) -> Outcome<Vec<String>> {
    let names: Vec<&str> = groups.iter().map(String::as_str).collect();
    let answer = block_on(admin.delete_groups(&names, &options()));
    let results =
        answer.map_err(|cause| refused("delete groups", "of this run", &cause.to_string()))?;
    let mut busy = Vec::new();
    for result in results {
        match result {
            // A group that never committed is not there.
            Ok(_) | Err((_, RDKafkaErrorCode::GroupIdNotFound)) => {}
            Err((group, RDKafkaErrorCode::NonEmptyGroup)) => busy.push(group),
            Err((group, cause)) => return Err(refused("delete group", &group, &cause.to_string())),
        }
    }
    Ok(busy)
}

fn admin(brokers: &str) -> Outcome<AdminClient<DefaultClientContext>> {
    ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .create()
        .map_err(|cause| Failure::broker(format!("no Kafka admin client: {cause}")))
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(LIMIT))
        .operation_timeout(Some(LIMIT))
}

type Answer = Result<String, (String, RDKafkaErrorCode)>;

fn first(answer: KafkaResult<Vec<Answer>>) -> Result<(), String> {
    match answer
        .map_err(|cause| cause.to_string())?
        .into_iter()
        .next()
    {
        Some(Err((_, cause))) => Err(cause.to_string()),
        _ => Ok(()),
    }
}

fn check(what: &str, name: &str, answer: Result<(), String>) -> Outcome<()> {
    answer.map_err(|cause| refused(what, name, &cause))
}

fn refused(what: &str, name: &str, cause: &str) -> Failure {
    Failure::broker(format!(
        "cannot {what} {name}: {cause}; check the rights of this client"
    ))
}

/// Waits for one future on this thread. The admin client has a polling thread of its
/// own, so no runtime is needed.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}
