//! The contract and the guarantees, on a simulated disk that loses power, finds no space, and
//! fails to write, under both models of metadata.

mod journalled {
    use wal_fs::sim::{Metadata, SimDisk};
    wal_core::conformance!(|| SimDisk::new(1, Metadata::Journalled));
}

mod strict {
    use wal_fs::sim::{Metadata, SimDisk};
    wal_core::conformance!(|| SimDisk::new(2, Metadata::Strict));
}
