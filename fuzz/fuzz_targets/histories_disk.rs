//! `wal_fuzz::targets::histories_disk`, driven by libFuzzer.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| wal_fuzz::targets::histories_disk::run(data));
