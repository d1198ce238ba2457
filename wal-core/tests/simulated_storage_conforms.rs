//! The simulated storage keeps the contract, in both shapes: like files, and like a store
//! whose appends overtake each other.

mod like_files {
    use wal_core::sim::SimStorage;
    wal_core::conformance!(|| SimStorage::new(1));
}

mod like_a_store {
    use wal_core::Limits;
    use wal_core::sim::SimStorage;

    fn place() -> SimStorage {
        let limits = Limits {
            align: 1,
            in_flight: 8,
            append_bytes: 1 << 20,
        };
        SimStorage::with_limits(1, limits)
    }

    wal_core::conformance!(place);
}
