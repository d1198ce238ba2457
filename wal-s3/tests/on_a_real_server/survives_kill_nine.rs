//! G1, G2, G3: a writer is killed with SIGKILL again and again, at any moment; the next one takes
//! over, and what was acknowledged is there, in order, whole, once.
//! `WAL_KILL_ROUNDS` says how often.

use std::collections::BTreeMap;
use std::time::Duration;

use super::child::{Writer, verify};

#[test]
#[ignore = "needs a server: scripts/s3-tests.sh"]
fn survives_kill_nine() {
    let url = super::place("kills");
    let mut acknowledged = BTreeMap::new();
    let (mut end, mut oldest) = (0, 0);
    let rounds = super::rounds("WAL_KILL_ROUNDS", 10);
    for round in 0..rounds {
        let mut writer = Writer::start(&url);
        match round % 4 {
            // While it opens, perhaps; and then between any two requests.
            0 => std::thread::sleep(Duration::from_millis(u64::from(round * 37 % 400))),
            _ => assert_eq!(writer.acknowledges(1 + (round * 13 % 120) as usize), None),
        }
        acknowledged.extend(writer.kill());
        (end, oldest) = verify(&url, &acknowledged);
        acknowledged = acknowledged.split_off(&oldest); // the others were looked at
    }
    println!("{rounds} kills: {end} appends, all that were acknowledged; released up to {oldest}");
    assert!(end > 0, "no writer got to work");
    assert!(rounds < 10 || oldest > 0, "nothing was released");
}
