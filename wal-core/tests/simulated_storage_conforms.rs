//! The simulated storage keeps the contract, in its three shapes: like files, like a store
//! whose appends overtake each other, and like one that keeps their order.

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
            ..Limits::default()
        };
        SimStorage::with_limits(1, limits)
    }

    wal_core::conformance!(place);
}

mod like_a_fenced_store {
    use wal_core::Limits;
    use wal_core::sim::SimStorage;

    fn place() -> SimStorage {
        let limits = Limits {
            align: 1,
            in_flight: 8,
            append_bytes: 1 << 20,
            segment_appends: 64,
            in_order: true,
            reopens: false,
        };
        SimStorage::with_limits(1, limits)
    }

    wal_core::conformance!(place);
}
