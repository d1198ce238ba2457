//! G6: a writer that another takes over, while it writes or while it is stopped (SIGSTOP) with
//! requests under way, learns it, and has acknowledged nothing that the other's log lacks.
//! `WAL_RACE_ROUNDS` says how often.

use super::child::{FENCED, Writer, verify};

#[test]
#[ignore = "needs a server: scripts/s3-tests.sh"]
fn one_writer_acknowledges() {
    let rounds = super::rounds("WAL_RACE_ROUNDS", 6);
    let mut together = 0;
    for round in 0..rounds {
        let url = super::place(&format!("race-{round}"));
        let mut first = Writer::start(&url);
        assert_eq!(first.acknowledges(1 + (round * 29 % 90) as usize), None);
        let stopped = round % 3 != 0;
        if stopped {
            first.signal("-STOP");
        }
        let mut second = Writer::start(&url);
        if round % 3 == 1 {
            first.signal("-CONT"); // while the second opens
        }
        assert_eq!(second.acknowledges(10), None, "the second takes over");
        if round % 3 == 2 {
            first.signal("-CONT"); // long after
        }
        assert_eq!(first.ends(), FENCED, "the first learns it");
        assert_eq!(second.acknowledges(10), None, "the second is not disturbed");
        let mut acknowledged = first.kill();
        let before = acknowledged.len();
        let seconds = second.kill();
        together += before + seconds.len();
        let sum = before + seconds.len();
        acknowledged.extend(seconds);
        assert_eq!(acknowledged.len(), sum, "both acknowledged the same append");
        verify(&url, &acknowledged);
    }
    println!("{rounds} races: {together} appends were acknowledged, each by one, and are there");
}
