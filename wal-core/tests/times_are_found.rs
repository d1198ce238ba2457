//! Seeking by time gives the first record written at or after that time, across segments and
//! restarts.

use std::time::{Duration, SystemTime};

use wal_core::sim::SimStorage;
use wal_core::{Lsn, Options, Wal};

#[test]
fn in_every_segment_before_and_after_a_restart() {
    let disk = SimStorage::new(1);
    let options = Options {
        segment_bytes: 64 << 10,
        append_bytes: 32 << 10,
        ..Options::default()
    };
    let (wal, _) = Wal::open(disk.clone(), options.clone()).unwrap();
    let before = SystemTime::now() - Duration::from_secs(60);
    let mut written = Vec::new();
    for index in 0..60u64 {
        std::thread::sleep(Duration::from_millis(2));
        let time = SystemTime::now();
        wal.commit(vec![index as u8; 4000]).unwrap();
        written.push(time);
    }
    assert!(disk.segments().len() > 3);
    let check = |wal: &Wal| {
        assert_eq!(wal.seek_time(before).unwrap(), wal.oldest());
        assert_eq!(wal.seek_time(SystemTime::UNIX_EPOCH).unwrap(), wal.oldest());
        let far = SystemTime::now() + Duration::from_secs(3600);
        assert_eq!(wal.seek_time(far).unwrap(), wal.durable());
        for (index, time) in written.iter().enumerate() {
            let lsn = Lsn::new(index as u64).max(wal.oldest());
            assert_eq!(wal.seek_time(*time).unwrap(), lsn);
        }
    };
    check(&wal);
    wal.close().unwrap();
    let (wal, _) = Wal::open(disk, options).unwrap();
    check(&wal);
    wal.release(Lsn::new(40)).unwrap();
    check(&wal);
}
