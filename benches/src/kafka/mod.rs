//! The broker and the records in it: in this process, or a real one.
//!
//! * `mock`: librdkafka's broker in this process;
//! * `load`: writes the records and checks that the broker keeps all of them;
//! * `survey`: looks at an existing topic;
//! * `groups`: what a consumer group has committed, handed on to a fresh one;
//! * `admin`: topics and groups of the harness on a real broker.

mod admin;
mod cluster;
mod groups;
mod load;
mod mock;
mod survey;

pub(crate) use cluster::{Cluster, Dataset, Origin};
pub(crate) use groups::{Committed, committed, seed};
