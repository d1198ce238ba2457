//! Damage to what lies there, and what must come of it (G4).

use super::{Choose, Model, index, options};
use crate::block::block_on;
use crate::conformance::Place;
use crate::{Lsn, Options, Salvaged, SegmentMeta, Storage, Wal};

/// One thing that happens to stored bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Harm {
    /// A bit of a segment flips. Numbers beyond what is there wrap around.
    Flip {
        /// Which segment, counted from the oldest.
        segment: u64,
        /// Which byte of it.
        place: u64,
    },
    /// A segment is gone.
    Lose {
        /// Which one, counted from the oldest.
        segment: u64,
    },
}

impl Harm {
    /// Some harm, as `choose` has it.
    pub fn choose(choose: &mut Choose<'_>) -> Harm {
        let segment = choose(64);
        match choose(4) {
            0 => Harm::Lose { segment },
            // Headers, of segments and frames, are where little damage does much.
            1 => Harm::Flip {
                segment,
                place: choose(32) * 4096 + choose(160),
            },
            _ => Harm::Flip {
                segment,
                place: choose(1 << 16),
            },
        }
    }
}

impl<P: Place> Model<P> {
    /// Does harm to the log, which its writer leaves, and checks that it is noticed.
    pub(super) fn suffer(&mut self, harm: Harm) {
        self.history.push(format!("{harm:?}"));
        let (Harm::Flip { segment, .. } | Harm::Lose { segment }) = harm;
        if segment % 2 == 1 {
            self.roll();
        }
        self.place.kill();
        drop(self.wal.take());
        let before = Wal::inspect(self.place.open()).expect("the log is sound");
        let segments = self.segments();
        let Some(meta) = pick(&segments, harm) else {
            return;
        };
        let Some(promised) = self.inflict(harm, &segments, meta, before.durable) else {
            return;
        };
        self.salvage();
        let receipt = None;
        let opened = Wal::open(
            self.place.open(),
            Options {
                receipt,
                ..options(self.setup)
            },
        );
        let Ok((wal, recovery)) = opened else {
            return; // loud
        };
        wal.verify().expect("verify");
        let mut next = wal.oldest();
        for record in wal.reader(next).expect("reader") {
            let Ok(record) = record else {
                return; // loud
            };
            assert_eq!(
                record.lsn, next,
                "G4: a hole without an error, after {harm:?}"
            );
            self.was_appended(next, &record.payload);
            next = next.plus(1);
        }
        assert_eq!(next, recovery.end, "G4: the reader stopped early");
        assert!(
            wal.oldest().get() <= self.released,
            "G4: the log's head is gone without an error, after {harm:?}"
        );
        assert!(
            self.truncated || recovery.end >= promised,
            "G4: {} of {promised} records are there, and no error, after {harm:?}",
            recovery.end
        );
    }

    /// Appends until the writer has left some segments behind.
    fn roll(&mut self) {
        for _ in 0..18 {
            self.append(&[5000, 3000, 1], true, true);
        }
    }

    /// Does it; how far the log must reach all the same, unless there is an error. `None` if
    /// the place cannot be harmed.
    fn inflict(
        &self,
        harm: Harm,
        segments: &[SegmentMeta],
        meta: SegmentMeta,
        attested: Lsn,
    ) -> Option<Lsn> {
        match harm {
            Harm::Flip { place, .. } => {
                let length = block_on(self.place.open().length(meta.id)).expect("length");
                let offset = place % length.max(1);
                self.place.damage(meta.id, offset).then_some(attested)
            }
            Harm::Lose { .. } => {
                let newest = segments.last().map(|last| last.id) == Some(meta.id);
                // Of a log that is gone altogether nothing is left to tell (U3).
                if segments.len() == 1 || !self.place.lose(meta.id) {
                    return None;
                }
                let first = meta.first?;
                // A seal attests what a writer rolled to; the first segment of a writer has
                // none before it (U4).
                let sealed = meta.id.get() > self.opened_at + 1
                    && self.place.open().limits().in_flight == 1
                    && self.durable > index(first);
                Some(match newest && !sealed {
                    true => attested.min(first),
                    false if newest => first.plus(1),
                    false => attested,
                })
            }
        }
    }

    /// Whatever the harm: what is salvaged is what was appended, each LSN once.
    fn salvage(&self) {
        let mut next = Lsn::ZERO;
        let found = match Wal::salvage(self.place.open()) {
            // A storage that keeps its own order of segments may not get over a hole in it.
            Err(crate::Error::Storage(crate::StorageError::NotFound(_))) => return,
            found => found.expect("salvage"),
        };
        for found in found {
            if let Salvaged::Record(record) = found {
                assert!(
                    record.lsn >= next,
                    "G4: LSN {} is salvaged twice",
                    record.lsn
                );
                next = record.lsn.plus(1);
                self.was_appended(record.lsn, &record.payload);
            }
        }
    }

    fn was_appended(&self, lsn: Lsn, payload: &[u8]) {
        let ever = self.ever.get(&lsn.get());
        let known = ever.is_some_and(|ever| ever.iter().any(|it| it == payload));
        assert!(known, "G2: LSN {lsn} holds what was never appended there");
    }
}

fn pick(segments: &[SegmentMeta], harm: Harm) -> Option<SegmentMeta> {
    let (Harm::Flip { segment, .. } | Harm::Lose { segment }) = harm;
    let at = usize::try_from(segment).ok()? % segments.len().max(1);
    segments.get(at).copied()
}
