//! A simulated object store.
