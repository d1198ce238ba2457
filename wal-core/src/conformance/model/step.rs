//! Each step, done to the log and to the model.

use std::time::Duration;

use super::{End, Model, Op, durability, flooded, index, options};
use crate::conformance::Place;
use crate::storage::Storage as _;
use crate::{Append, Error, Lsn, Options, Wal};

/// Longer than anything takes that is not lost.
const PATIENCE: Duration = Duration::from_secs(20);

impl<P: Place> Model<P> {
    /// Does one step, and checks what can be seen of it.
    pub fn run(&mut self, op: Op) {
        self.history.push(format!("{op:?}"));
        let goes_on = matches!(
            op,
            Op::Begin { .. } | Op::Crash | Op::Kill | Op::Fail(_) | Op::Read
        );
        if !goes_on && !self.settle() {
            self.reopen(End::Kill);
        }
        match op {
            Op::Append { lengths, durable } => self.append(&lengths, durable, true),
            // A refusal would give the LSNs of what was begun to others.
            Op::Begin { lengths, durable } => self.append(&lengths, durable, self.full),
            Op::Commit(length) => self.commit(length),
            Op::Flood(length) => self.flood(length),
            Op::Sync => self.sync(),
            Op::Crash => self.reopen(End::Crash),
            Op::Kill => self.reopen(End::Kill),
            Op::Close => self.close(options(self.setup)),
            Op::Fail(operations) => self.failing = self.place.fail(operations),
            Op::Full(full) => self.limit(full),
            Op::Release(share) => self.release(share),
            Op::Read => self.read(),
            Op::Get(share) => self.get(share),
            Op::Tail(length) => self.tail(length),
            Op::View => self.view(),
            Op::Hold(share) => {
                self.hold = None;
                let oldest = self.wal().oldest().get();
                let from = Self::between(share, oldest, self.records.len() as u64);
                self.hold = Some(self.wal().hold(from).expect("it is there"));
            }
            Op::SetHold(name, share) => {
                let (oldest, end) = (self.wal().oldest().get(), self.wal().durable().get());
                self.change_holds(name, Some(Self::between(share, oldest, end)));
            }
            Op::RemoveHold(name) => self.change_holds(name, None),
            Op::Truncate(share) => self.truncate(share),
            Op::Rewind(lengths, share) => self.rewind(&lengths, share),
        }
    }

    /// What an operation came to: `Ok(true)`: done, `Ok(false)`: refused for want of space.
    /// A poisoned handle is replaced.
    fn outcome<T>(&mut self, result: Result<T, Error>) -> Option<T> {
        match result {
            Ok(done) => Some(done),
            Err(Error::Full(_)) if self.full => None,
            Err(Error::Poisoned { .. }) => {
                self.reopen(End::Kill);
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    pub(super) fn append(&mut self, lengths: &[usize], durable: bool, wait: bool) {
        let payloads: Vec<_> = lengths.iter().map(|length| self.payload(*length)).collect();
        let append: Append = payloads.iter().collect();
        let taken = self.wal().append_with(append, durability(durable));
        let Some(commit) = self.outcome(taken) else {
            return;
        };
        let first = self.records.len();
        assert_eq!(index(commit.lsns().start), first, "LSNs are dense");
        self.appended(payloads);
        if !wait {
            return self.begun.push((commit, durable));
        }
        match commit.wait() {
            Ok(lsns) => self.acknowledge(lsns.end, durable),
            Err(Error::Full(_)) if self.full => self.cut(first),
            Err(Error::Poisoned { .. }) => self.reopen(End::Kill),
            Err(error) => panic!("{error}"),
        }
    }

    fn commit(&mut self, length: usize) {
        let payload = self.payload(length);
        let first = self.records.len();
        let result = self.wal().commit(payload.as_slice());
        self.appended(vec![payload]); // it may have been taken before a failure
        match result {
            Ok(lsns) => self.acknowledge(lsns.end, true),
            Err(Error::Full(_)) if self.full => self.cut(first),
            Err(Error::Poisoned { .. }) => self.reopen(End::Kill),
            Err(error) => panic!("{error}"),
        }
    }

    /// G8: what is queued stays within its limit, and all that was taken comes through.
    fn flood(&mut self, length: usize) {
        let options = flooded(self.setup);
        let limit = options.queue_bytes;
        self.close(options);
        let mut queued = 0;
        loop {
            let payload = self.payload(length.max(500));
            match self.wal().append(payload.as_slice()) {
                Ok(commit) => {
                    queued += payload.len() as u64;
                    assert!(queued <= limit, "G8: {queued} bytes are queued");
                    self.appended(vec![payload]);
                    self.begun.push((commit, true));
                }
                Err(Error::Busy { .. }) => break,
                // With several appends in flight there is no going back from a full place.
                Err(Error::Poisoned { .. }) if self.full => break,
                Err(error) => panic!("{error}"),
            }
        }
        let full = self.full;
        self.limit(false);
        self.sync();
        if !self.settle() {
            self.reopen(End::Kill);
        }
        self.limit(full);
        self.close(super::options(self.setup));
    }

    fn sync(&mut self) {
        let synced = self.wal().sync();
        if let Some(durable) = self.outcome(synced) {
            assert_eq!(index(durable), self.records.len(), "a barrier");
            self.acknowledge(durable, true);
            let receipt = self.wal().receipt();
            assert_eq!(receipt.lsn(), durable);
            self.receipt = Some(receipt);
        }
    }

    fn close(&mut self, options: Options) {
        self.hold = None;
        let wal = self.wal.take().expect("the log is open");
        if wal.close().is_ok() {
            (self.durable, self.accepted) = (self.records.len(), self.records.len());
        }
        self.place.kill(); // a failed close keeps the role until its process ends
        let accepted = if self.failing { 0 } else { self.accepted };
        self.open(options, self.durable.max(accepted));
    }

    fn release(&mut self, share: u8) {
        let before = self.wal().durable().get() * u64::from(share) / 255;
        let released = match self.wal().release(Lsn::new(before)) {
            Err(Error::Storage(_)) if self.failing => Ok(()), // of an earlier deletion
            released => released,
        };
        if self.outcome(released).is_none() {
            return;
        }
        self.released = self.released.max(before);
        let oldest = self.wal().oldest();
        if let Some(before) = oldest.get().checked_sub(1) {
            let gone = self.wal().reader(Lsn::new(before)).map(drop);
            assert!(matches!(gone, Err(Error::Released { .. })), "G10: {gone:?}");
        }
    }

    fn get(&self, share: u8) {
        let (wal, oldest) = (self.wal(), self.wal().oldest());
        let Some(newest) = wal.durable().get().checked_sub(1) else {
            return;
        };
        if newest < oldest.get() {
            return;
        }
        let lsn = Self::between(share, oldest.get(), newest);
        let expected = &self.records[index(lsn)];
        assert_eq!(wal.get(lsn).unwrap().payload, expected);
        let location = wal.locate(lsn).unwrap();
        assert_eq!(wal.read_at(&location).unwrap(), expected);
    }

    /// G10: who waits at the end is woken by the next record.
    fn tail(&mut self, length: usize) {
        if self.full {
            return; // then nothing may come
        }
        let durable = self.wal().durable();
        let mut tail = self.wal().tail(durable).expect("the end can be followed");
        self.append(&[length], true, false);
        let Some((_, _)) = self.begun.last() else {
            return;
        };
        let expected = self.records.get(index(durable)).cloned();
        match tail.next_timeout(PATIENCE) {
            Some(Ok(record)) => {
                assert_eq!(record.lsn, durable);
                assert_eq!(Some(record.payload.to_vec()), expected, "G2: the tail");
            }
            Some(Err(Error::Poisoned { .. })) => self.reopen(End::Kill),
            Some(Err(error)) => panic!("{error}"),
            None => panic!("G10: the tail waits in vain"),
        }
    }

    /// G10: a view shows what is durable, and only that.
    fn view(&self) {
        let view = match Wal::open_read_only(self.place.open()) {
            Ok(view) => view,
            Err(error) => panic!("a view does not open: {error}"),
        };
        let (mut next, end) = (view.oldest(), view.durable());
        // Storage that keeps the order shows what is durable, perhaps before the writer knows.
        let most = match self.place.open().limits().in_order {
            true => Lsn::new(self.records.len() as u64),
            false => self.wal().durable(),
        };
        assert!(end <= most, "G10: a view shows {end}");
        for record in view.reader(next).expect("the oldest record can be read") {
            let record = match record {
                // What was released is deleted in the background: a view protects nothing.
                Err(Error::Released { .. }) => return,
                record => record.unwrap_or_else(|error| panic!("G10: {error}")),
            };
            assert_eq!(record.lsn, next);
            assert_eq!(
                record.payload,
                self.records[index(next)],
                "G2: in a view, LSN {next}"
            );
            next = next.plus(1);
        }
        assert!(
            self.released > 0 || next == end,
            "G10: the view's reader stopped early"
        );
    }

    fn change_holds(&mut self, name: u8, from: Option<Lsn>) {
        let name = format!("hold {name}");
        let mut after = self.holds.clone();
        let changed = match from {
            Some(from) => {
                after.insert(name.clone(), from);
                self.wal().set_hold(&name, from)
            }
            None => {
                after.remove(&name);
                self.wal().remove_hold(&name)
            }
        };
        match changed {
            Ok(()) => (self.holds, self.maybe_holds) = (after, Vec::new()),
            Err(Error::Full(_)) if self.full => {}
            Err(Error::Poisoned { .. }) => {
                self.maybe_holds.push(after);
                self.reopen(End::Kill);
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn truncate(&mut self, share: u8) {
        self.hold = None;
        let to = Self::between(share, self.wal().oldest().get(), self.records.len() as u64);
        let mut reader = self.wal().reader(self.wal().oldest()).expect("reader");
        let _ = reader.next();
        self.receipt = None;
        self.truncated = true;
        let truncated = self.wal().truncate(to);
        let at = index(to);
        self.boundaries.insert(at);
        match truncated {
            Ok(()) => {
                if reader.position() > to {
                    let next = reader.next().expect("an error");
                    assert!(matches!(next, Err(Error::Truncated { .. })), "{next:?}");
                } else {
                    assert_eq!(reader.position().plus(reader.count() as u64), to);
                }
                self.cut(at);
                (self.durable, self.accepted) = (at, at);
                assert_eq!((self.wal().end(), self.wal().durable()), (to, to));
                self.opened_at = self.segments().last().map_or(0, |meta| meta.id.get());
            }
            Err(Error::Full(_)) if self.full => {}
            Err(Error::Poisoned { .. }) => {
                // It may or may not have come so far.
                self.durable = self.durable.min(at);
                self.accepted = self.accepted.min(at);
                drop(reader);
                self.reopen(End::Kill);
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Takes back only what is queued, newest first, and whole appends.
    fn rewind(&mut self, lengths: &[usize], share: u8) {
        let full = self.full;
        self.limit(false);
        let first = self.records.len() as u64;
        for length in lengths {
            self.append(&[*length, 1], false, false);
        }
        if self.begun.len() == lengths.len() {
            let to = Self::between(share, first, self.records.len() as u64);
            let below = self.boundaries.range(..=index(to)).next_back().copied();
            let rewound = self.wal().rewind(to);
            if let Some(end) = self.outcome(rewound) {
                let kept = index(end);
                assert!(
                    self.boundaries.contains(&kept),
                    "G3: {kept} is inside an append"
                );
                assert!(Some(kept) >= below, "an append below {to} was cancelled");
                self.rewound(end);
                self.cut(kept);
            }
        }
        if !self.settle() {
            self.reopen(End::Kill);
        }
        self.limit(full);
    }

    fn rewound(&mut self, end: Lsn) {
        let begun = std::mem::take(&mut self.begun);
        for (commit, _) in begun {
            let ends = commit.lsns().end;
            match commit.wait() {
                Ok(_) => {
                    assert!(ends <= end, "what was rewound was acknowledged");
                    self.acknowledge(ends, false);
                }
                Err(Error::Rewound { .. }) => assert!(ends > end),
                Err(Error::Poisoned { .. }) => {} // the next step finds out
                Err(error) => panic!("{error}"),
            }
        }
    }
}
