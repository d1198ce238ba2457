//! `wal_fuzz::targets::directory`, driven by libFuzzer.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| wal_fuzz::targets::directory::run(data));
