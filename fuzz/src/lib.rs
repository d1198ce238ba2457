//! Fuzz targets, as plain functions: libFuzzer drives them through `fuzz_targets/`, and the
//! program `fuzz` does on the stable toolchain.

pub mod corpus;
pub mod repair;
pub mod targets;
