//! Processor time and memory of this process, as the system counts them.

/// Seconds of processor time that all threads of this process have used.
#[cfg(unix)]
pub(super) fn cpu_seconds() -> Option<f64> {
    use rustix::time::{ClockId, clock_gettime};
    let used = clock_gettime(ClockId::ProcessCPUTime);
    // Exact for the first 104 days.
    Some(used.tv_sec as f64 + used.tv_nsec as f64 / 1e9)
}

#[cfg(not(unix))]
pub(super) fn cpu_seconds() -> Option<f64> {
    None
}

/// The most memory that this process ever had resident: `VmHWM` of Linux.
pub(super) fn peak_memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn time_and_memory_are_counted() {
        let before = cpu_seconds().unwrap();
        let started = std::time::Instant::now();
        while started.elapsed().as_millis() < 20 {
            std::hint::spin_loop();
        }
        assert!(cpu_seconds().unwrap() > before);
        assert!(peak_memory_bytes().unwrap() > 100_000);
    }
}
