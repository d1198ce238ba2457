//! Lines of files: the simplest source that is real and can be replayed.
//!
//! Each file is a partition, named by its path as given; a line's offset is the
//! byte at which it starts. A file may grow while it is read, but what counts is
//! its length when it was opened: files are a bounded source. A last line without
//! a line end is a record; what is appended to it later is a record of its own.

mod feed;
mod lines;
mod source;

pub use self::feed::FileFeed;
pub use self::source::FileSource;
