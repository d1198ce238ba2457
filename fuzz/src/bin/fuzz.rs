//! Runs fuzz targets on the stable toolchain: mutations of the corpus, from a seed.
//!
//! `fuzz [--seconds N] [--seed N] [TARGET...]` runs targets, all by default, for so long each;
//! `fuzz --corpus` runs each input of the corpus once; `fuzz --seeds` writes it anew;
//! `fuzz TARGET FILE...` runs inputs, such as one that a crash has left.

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use peak_alloc::PeakAlloc;
use wal_core::conformance::model::random;
use wal_fuzz::corpus;
use wal_fuzz::targets::{CONSTANT, TARGETS, Target};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// No input is made longer.
const LONGEST: usize = 16 << 10;

fn main() -> ExitCode {
    let mut seconds = 20;
    let mut seed = None;
    let mut once = false;
    let mut rest = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().and_then(|it| it.parse().ok());
        match argument.as_str() {
            "--seconds" => seconds = number().unwrap_or(seconds),
            "--seed" => seed = number(),
            "--corpus" => once = true,
            "--seeds" => {
                return match corpus::write() {
                    Ok(()) => ExitCode::SUCCESS,
                    Err(error) => fail(&error.to_string()),
                };
            }
            _ => rest.push(argument),
        }
    }
    let files: Vec<_> = rest.iter().filter(|it| Path::new(it).is_file()).collect();
    let chosen =
        |target: &&Target| rest.len() == files.len() || rest.iter().any(|name| name == target.name);
    for target in TARGETS.iter().filter(chosen) {
        for file in &files {
            match fs::read(file) {
                Ok(input) => one(target, &input),
                Err(error) => return fail(&format!("{file}: {error}")),
            }
        }
        let inputs = match corpus::read(target.name) {
            Ok(inputs) => inputs,
            Err(error) => return fail(&format!("the corpus of {}: {error}", target.name)),
        };
        if once {
            inputs.iter().for_each(|input| one(target, input));
        } else if files.is_empty() {
            let seed = seed.unwrap_or_else(|| u64::from(std::process::id()));
            fuzz(target, inputs, Duration::from_secs(seconds), seed);
        }
    }
    ExitCode::SUCCESS
}

fn fail(why: &str) -> ExitCode {
    eprintln!("{why}");
    ExitCode::FAILURE
}

fn fuzz(target: &Target, mut inputs: Vec<Vec<u8>>, limit: Duration, seed: u64) {
    let choose = &mut random(seed);
    let begun = Instant::now();
    let mut executions = inputs.len() as u64;
    inputs.iter().for_each(|input| one(target, input));
    while begun.elapsed() < limit {
        let at = choose(inputs.len() as u64) as usize;
        let input = mutate(&inputs[at], &inputs, choose);
        one(target, &input);
        executions += 1;
        // What was done to one input is done on top of it sometimes.
        if choose(50) == 0 && inputs.len() < 4096 {
            inputs.push(input);
        }
    }
    let rate = executions as f64 / begun.elapsed().as_secs_f64();
    println!(
        "{:18} {executions:8} executions, {rate:7.0} per second, seed {seed}",
        target.name
    );
}

/// Runs one input; if it panics, or takes more memory than it may, it is kept and the program ends.
fn one(target: &Target, input: &[u8]) {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let ended = std::panic::catch_unwind(|| (target.run)(input));
    let used = MEMORY.peak_usage().saturating_sub(before);
    let limit = target
        .bytes_for_each
        .map(|each| CONSTANT + each * input.len());
    let greedy = limit.is_some_and(|limit| used > limit);
    if greedy {
        eprintln!(
            "G9: {used} bytes were in use for an input of {}",
            input.len()
        );
    }
    if ended.is_err() || greedy {
        let name = format!("crash-{}-{:08x}", target.name, crc32c::crc32c(input));
        let kept = fs::write(&name, input);
        eprintln!("{}: input kept in {name}: {kept:?}", target.name);
        std::process::exit(1);
    }
}

fn mutate(input: &[u8], others: &[Vec<u8>], choose: &mut dyn FnMut(u64) -> u64) -> Vec<u8> {
    let mut out = input.to_vec();
    for _ in 0..=choose(6) {
        let at = choose(out.len() as u64 + 1) as usize;
        let length = (choose(16) as usize + 1).min(out.len() - at);
        match choose(9) {
            8 => {
                // A varint, as large as that many bytes can make it.
                let large = [0xff, 0xff, 0xff, 0xff, 0x7f];
                let from = choose(4) as usize;
                out.splice(at..at + length.min(1), large[from..].iter().copied());
            }
            0 => out.insert(at, choose(256) as u8),
            1 => drop(out.drain(at..at + length)),
            2 => {
                let copy = out[at..at + length].to_vec();
                let to = choose(out.len() as u64 + 1) as usize;
                out.splice(to..to, copy);
            }
            3 => {
                let other = &others[choose(others.len() as u64) as usize];
                let from = choose(other.len() as u64 + 1) as usize;
                out.truncate(at);
                out.extend_from_slice(&other[from..]);
            }
            4 => {
                let interesting = [0, 1, 0x7f, 0x80, 0xff, u64::MAX, 1 << 32, 1 << 16, 4096];
                let number = interesting[choose(9) as usize].to_le_bytes();
                let width = 1 << choose(4);
                for (to, byte) in out.iter_mut().skip(at).zip(&number[..width]) {
                    *to = *byte;
                }
            }
            _ => {
                if let Some(byte) = out.get_mut(at) {
                    *byte ^= 1 << choose(8);
                }
            }
        }
    }
    out.truncate(LONGEST);
    out
}
