//! `wal_fuzz::targets::bucket`, driven by libFuzzer.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| wal_fuzz::targets::bucket::run(data));
