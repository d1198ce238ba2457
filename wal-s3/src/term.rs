//! A writer's term: which number each object gets, and how far they are confirmed.
//!
//! No I/O happens here. Invariants:
//! - A number is given out once, and its bytes never change.
//! - `confirmed` moves over the contiguous prefix only, and never once the term has failed.
//! - A header says what was known when it was built; the trim point in it never lies beyond the
//!   confirmed prefix.

use std::collections::VecDeque;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use object_store::PutPayload;
use tokio::sync::watch;
use wal_core::planted::planted;
use wal_core::{Lsn, Position, SegmentId, StorageError};

use crate::directory::Directory;
use crate::key::Place;
use crate::object::{HEADER_BYTES, Header, Kind, Object};

/// How far a term has come: what is confirmed, or why it can go no further.
pub(crate) type Progress = Result<u64, StorageError>;

#[derive(Debug)]
pub(crate) struct Term {
    pub(crate) epoch: u64,
    pub(crate) writer: u128,
    next: u64,
    flights: VecDeque<Flight>,
    /// The newest segment, where it goes on, and its first object.
    segment: SegmentId,
    offset: u64,
    head: Place,
    /// Whether this term began that segment.
    open: bool,
    /// The LSN that the last append began with.
    lsn: Lsn,
    /// The checksum of the last header.
    previous: u32,
    /// The header of the last object that is confirmed.
    last_confirmed: Option<[u8; HEADER_BYTES]>,
    pub(crate) progress: watch::Sender<Progress>,
}

#[derive(Debug)]
struct Flight {
    header: [u8; HEADER_BYTES],
    first: Lsn,
    stored: bool,
}

/// An object on its way.
#[derive(Debug)]
pub(crate) struct Upload {
    pub(crate) place: Place,
    pub(crate) header: [u8; HEADER_BYTES],
    pub(crate) payload: PutPayload,
    /// The same, as a reader would get it.
    pub(crate) object: Object,
}

impl Term {
    /// The epoch after the one that this writer has sealed.
    pub(crate) fn new(seal: &Header) -> Self {
        Term {
            epoch: seal.place.next_epoch().epoch,
            writer: seal.writer,
            next: 0,
            flights: VecDeque::new(),
            segment: seal.segment,
            offset: seal.offset,
            head: seal.head,
            open: false,
            lsn: seal.first,
            previous: Header::checksum(&seal.encode()),
            last_confirmed: None,
            progress: watch::Sender::new(Ok(0)),
        }
    }

    /// Whether `segment` was left for a newer one.
    pub(crate) fn has_left(&self, segment: SegmentId) -> bool {
        segment < self.segment
    }

    /// The next object with frames.
    pub(crate) fn frames(
        &mut self,
        directory: &mut Directory,
        at: Position,
        frames: Vec<Bytes>,
    ) -> Result<Upload, StorageError> {
        self.check()?;
        let begins = at.offset == 0;
        let taken = match begins {
            true => directory
                .newest()
                .is_some_and(|(newest, _)| newest >= at.segment),
            false => !self.open || (self.segment, self.offset) != (at.segment, at.offset),
        };
        if taken {
            return Err(StorageError::Conflict(format!(
                "{at} is taken, or is not where segment {} goes on",
                self.segment
            )));
        }
        let mut extra = Vec::new();
        if begins {
            extra = directory.catalogue();
            (self.segment, self.offset, self.open) = (at.segment, 0, true);
            self.head = Place::new(self.epoch, self.next);
        }
        self.lsn = at.lsn;
        let upload = self.begin(directory, Kind::Frames, extra, frames);
        self.offset = upload.object.header.end_offset();
        let absorbed = directory.absorb(&upload.object.header, &upload.object.extra);
        debug_assert_eq!(absorbed, Ok(()));
        Ok(upload)
    }

    /// The next object, without frames.
    pub(crate) fn note(
        &mut self,
        directory: &Directory,
        kind: Kind,
        extra: Vec<u8>,
    ) -> Result<Upload, StorageError> {
        self.check()?;
        Ok(self.begin(directory, kind, extra, Vec::new()))
    }

    fn begin(
        &mut self,
        directory: &Directory,
        kind: Kind,
        extra: Vec<u8>,
        frames: Vec<Bytes>,
    ) -> Upload {
        let place = Place::new(self.epoch, self.next);
        let first_open = self.flights.front();
        let header = Header {
            kind,
            extra_bytes: extra.len() as u32, // a catalogue is bounded, and so is a name
            extra_crc: crc32c::crc32c(&extra),
            writer: self.writer,
            place,
            segment: self.segment,
            offset: self.offset,
            frame_bytes: frames.iter().map(|frame| frame.len() as u64).sum(),
            first: self.lsn,
            confirmed: self.confirmed(),
            head: self.head,
            trim: directory.trim,
            gone: directory.gone,
            durable: first_open.map_or(self.lsn, |flight| flight.first),
            time: now_micros(),
            previous: self.previous,
        };
        let upload = Upload::new(header, extra, frames);
        self.previous = Header::checksum(&upload.header);
        self.flights.push_back(Flight {
            header: upload.header,
            first: self.lsn,
            stored: false,
        });
        self.next += 1;
        upload
    }

    /// The end of the contiguous prefix that is confirmed.
    pub(crate) fn confirmed(&self) -> u64 {
        self.next - self.flights.len() as u64
    }

    /// The header of the last object that is confirmed.
    pub(crate) fn last_confirmed(&self) -> Option<[u8; HEADER_BYTES]> {
        self.last_confirmed
    }

    /// An object is stored for certain.
    pub(crate) fn stored(&mut self, seq: u64) {
        if self.check().is_err() {
            return;
        }
        let index = seq.checked_sub(self.confirmed());
        let index = index.and_then(|index| usize::try_from(index).ok());
        if let Some(flight) = index.and_then(|index| self.flights.get_mut(index)) {
            flight.stored = true;
        }
        let before = self.flights.len();
        let stored = |flight: &Flight| flight.stored || planted("object-behind-a-hole-confirmed");
        while self.flights.front().is_some_and(stored) {
            let flight = self.flights.pop_front();
            self.last_confirmed = flight.map(|flight| flight.header).or(self.last_confirmed);
        }
        if self.flights.len() < before {
            drop(self.progress.send_replace(Ok(self.confirmed())));
        }
    }

    /// Nothing is confirmed any more.
    pub(crate) fn fail(&mut self, cause: &StorageError) {
        if self.check().is_ok() {
            drop(self.progress.send_replace(Err(cause.clone())));
        }
    }

    /// Why the term can go no further, if so.
    pub(crate) fn check(&self) -> Result<(), StorageError> {
        self.progress
            .borrow()
            .as_ref()
            .map(|_| ())
            .map_err(Clone::clone)
    }
}

impl Upload {
    pub(crate) fn new(header: Header, extra: Vec<u8>, frames: Vec<Bytes>) -> Self {
        let bytes = header.encode();
        let extra = Bytes::from(extra);
        let parts = [Bytes::copy_from_slice(&bytes), extra.clone()];
        let parts = parts.into_iter().chain(frames.iter().cloned());
        Upload {
            place: header.place,
            header: bytes,
            payload: parts.filter(|part| !part.is_empty()).collect(),
            object: Object {
                header,
                extra,
                frames,
            },
        }
    }
}

/// Microseconds since 1970; 0 if the clock stands before that.
pub(crate) fn now_micros() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(since.unwrap_or_default().as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(segment: u64, offset: u64) -> Position {
        Position {
            segment: SegmentId::new(segment),
            offset,
            lsn: Lsn::new(offset),
        }
    }

    fn term() -> (Term, Directory) {
        let seal = Header {
            place: Place::new(4, 7),
            segment: SegmentId::default(),
            ..crate::object::tests::header()
        };
        (Term::new(&seal), Directory::default())
    }

    #[test]
    fn only_the_contiguous_prefix_is_confirmed_and_headers_say_so() {
        let (mut term, mut directory) = term();
        let frame = || vec![Bytes::from_static(b"frame")];
        for n in 0..4 {
            let upload = term.frames(&mut directory, at(1, n * 5), frame()).unwrap();
            assert_eq!(upload.place, Place::new(5, n));
            assert_eq!(upload.object.header.confirmed, 0);
        }
        term.stored(1);
        term.stored(3);
        assert_eq!(term.confirmed(), 0);
        term.stored(0);
        assert_eq!(
            (term.confirmed(), term.progress.borrow().clone().ok()),
            (2, Some(2))
        );
        let header = term
            .frames(&mut directory, at(1, 20), frame())
            .unwrap()
            .object
            .header;
        assert_eq!((header.confirmed, header.durable), (2, Lsn::new(10)));
        term.fail(&StorageError::Fenced("by another".into()));
        term.stored(2);
        assert_eq!(term.confirmed(), 2, "nothing is confirmed after a failure");
        assert!(term.frames(&mut directory, at(1, 25), frame()).is_err());
    }

    #[test]
    fn a_position_is_given_out_once() {
        let (mut term, mut directory) = term();
        let frame = || vec![Bytes::from_static(b"frame")];
        assert!(
            term.frames(&mut directory, at(1, 5), frame()).is_err(),
            "no such segment"
        );
        term.frames(&mut directory, at(1, 0), frame()).unwrap();
        for taken in [at(1, 0), at(1, 4), at(1, 10), at(2, 5)] {
            let refused = term.frames(&mut directory, taken, frame());
            assert!(matches!(refused, Err(StorageError::Conflict(_))), "{taken}");
        }
        term.frames(&mut directory, at(3, 0), frame()).unwrap();
        assert!(
            term.frames(&mut directory, at(2, 0), frame()).is_err(),
            "an older segment"
        );
        assert!(
            term.frames(&mut directory, at(1, 5), frame()).is_err(),
            "it was left"
        );
    }

    #[test]
    fn each_header_repeats_the_checksum_of_the_one_before() {
        let (mut term, mut directory) = term();
        let one = term.frames(&mut directory, at(1, 0), vec![]).unwrap();
        let two = term.note(&directory, Kind::Close, Vec::new()).unwrap();
        assert_eq!(two.object.header.previous, Header::checksum(&one.header));
    }
}
