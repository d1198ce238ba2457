//! Which segments there are, and where each of their objects lies.
//!
//! An object that begins a segment carries the *catalogue* of those before it. So the newest
//! segment's first object tells of all, and nothing needs a listing. A catalogue names the
//! newest few thousand; the rest stand in the catalogue of the oldest that it names.

use std::collections::{BTreeMap, HashMap};

use wal_core::{Lsn, SegmentId};

use crate::key::Place;
use crate::object::{Fields, Header, Kind, put_varint};

/// The most segments that one catalogue names.
pub(crate) const CATALOGUE: usize = 4096;
/// So many segments' objects are kept in mind.
const KNOWN: usize = 64;

/// A segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    pub(crate) first: Lsn,
    /// Its first object.
    pub(crate) place: Place,
    /// Bytes of its frames, the footer apart.
    pub(crate) bytes: u64,
}

/// An object of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Known {
    pub(crate) place: Place,
    /// Where its frames begin and end in the segment.
    pub(crate) start: u64,
    pub(crate) end: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Directory {
    segments: BTreeMap<SegmentId, Entry>,
    /// For some segments, the objects that are known, by their offsets.
    objects: HashMap<SegmentId, BTreeMap<u64, Known>>,
    /// There are older ones, which the oldest one's catalogue names.
    older: bool,
    pub(crate) trim: Place,
    pub(crate) gone: Place,
}

impl Directory {
    pub(crate) fn get(&self, id: SegmentId) -> Option<&Entry> {
        self.segments.get(&id)
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (&SegmentId, &Entry)> {
        self.segments.iter()
    }

    pub(crate) fn newest(&self) -> Option<(SegmentId, &Entry)> {
        self.segments
            .last_key_value()
            .map(|(id, entry)| (*id, entry))
    }

    /// The segment after `id`.
    pub(crate) fn after(&self, id: SegmentId) -> Option<&Entry> {
        self.segments
            .range(id.next()..)
            .next()
            .map(|(_, entry)| entry)
    }

    /// The oldest segment, if there are older ones that are not known yet.
    pub(crate) fn unknown_before(&self) -> Option<Place> {
        let oldest = self.segments.values().next()?;
        (self.older && oldest.place > self.trim).then_some(oldest.place)
    }

    /// Takes up the next object of the sequence. Whatever it says is bounded by its length.
    pub(crate) fn absorb(&mut self, header: &Header, extra: &[u8]) -> Result<(), &'static str> {
        self.trim = self.trim.max(header.trim);
        self.gone = self.gone.max(header.gone);
        match header.kind {
            Kind::Frames if header.offset == 0 => self.begin(header, extra)?,
            Kind::Trim if !extra.is_empty() => self.replace(extra)?,
            _ => {}
        }
        match header.kind {
            Kind::Frames => self.grow(header),
            // Objects without frames say where those before them end.
            _ => {
                if let Some(entry) = self.segments.get_mut(&header.segment) {
                    entry.bytes = entry.bytes.max(header.offset);
                }
            }
        }
        self.forget_trimmed();
        Ok(())
    }

    fn begin(&mut self, header: &Header, extra: &[u8]) -> Result<(), &'static str> {
        self.replace(extra)?;
        let entry = Entry {
            first: header.first,
            place: header.place,
            bytes: 0,
        };
        self.segments.insert(header.segment, entry);
        Ok(())
    }

    /// What a catalogue says, instead of what was known.
    fn replace(&mut self, extra: &[u8]) -> Result<(), &'static str> {
        let catalogue = decode(extra).ok_or("its catalogue cannot be read")?;
        self.older = catalogue.len() >= CATALOGUE;
        self.segments = catalogue.into_iter().collect();
        Ok(())
    }

    /// Adds what the catalogue of the oldest segment names.
    pub(crate) fn extend_back(&mut self, extra: &[u8]) -> Result<(), &'static str> {
        let catalogue = decode(extra).ok_or("its catalogue cannot be read")?;
        self.older = catalogue.len() >= CATALOGUE;
        for (id, entry) in catalogue {
            self.segments.entry(id).or_insert(entry);
        }
        self.forget_trimmed();
        Ok(())
    }

    /// Notes an object of a log that is damaged: what began its segment may be missing.
    pub(crate) fn rescue(&mut self, header: &Header) {
        let known = self.get(header.segment).map(|entry| entry.place);
        if known.is_some_and(|begun| begun > header.head) {
            return; // the number was used again
        }
        if known.is_none_or(|begun| begun < header.head) {
            self.remove(header.segment);
            let entry = Entry {
                first: header.first,
                place: header.head,
                bytes: 0,
            };
            self.segments.insert(header.segment, entry);
        }
        self.grow(header);
    }

    /// Notes an object of a segment, wherever it was met.
    pub(crate) fn grow(&mut self, header: &Header) {
        let Some(entry) = self.segments.get_mut(&header.segment) else {
            return;
        };
        entry.bytes = entry.bytes.max(header.end_offset());
        if self.objects.len() >= KNOWN && !self.objects.contains_key(&header.segment) {
            self.objects.clear();
        }
        let objects = self.objects.entry(header.segment).or_default();
        let known = Known {
            place: header.place,
            start: header.offset,
            end: header.end_offset(),
        };
        objects.insert(header.offset, known);
    }

    /// The last known object of a segment that begins at or before `offset`.
    pub(crate) fn floor(&self, id: SegmentId, offset: u64) -> Option<Known> {
        let known = self.objects.get(&id)?;
        known.range(..=offset).next_back().map(|(_, known)| *known)
    }

    /// What is given up if the log goes on from this segment: the new trim point.
    pub(crate) fn trim_before(&self, id: SegmentId) -> Option<Place> {
        let first = self.segments.range(id..).next();
        first.map(|(_, entry)| entry.place)
    }

    pub(crate) fn forget_trimmed(&mut self) {
        let trim = self.trim;
        let objects = &mut self.objects;
        self.segments.retain(|id, entry| {
            let kept = entry.place >= trim;
            if !kept {
                objects.remove(id);
            }
            kept
        });
    }

    pub(crate) fn remove(&mut self, id: SegmentId) {
        self.segments.remove(&id);
        self.objects.remove(&id);
    }

    /// The catalogue of all segments there are, or of the newest.
    pub(crate) fn catalogue(&self) -> Vec<u8> {
        let skip = self.segments.len().saturating_sub(CATALOGUE);
        let mut out = Vec::new();
        put_varint(&mut out, (self.segments.len() - skip) as u64);
        let (mut last_id, mut last) = (0, Entry::START);
        for (id, entry) in self.segments.iter().skip(skip) {
            put_varint(&mut out, id.get() - last_id);
            put_varint(&mut out, entry.first.get().wrapping_sub(last.first.get()));
            put_varint(&mut out, entry.place.epoch.wrapping_sub(last.place.epoch));
            put_varint(&mut out, entry.place.seq);
            put_varint(&mut out, entry.bytes);
            (last_id, last) = (id.get(), *entry);
        }
        out
    }
}

impl Entry {
    const START: Entry = Entry {
        first: Lsn::ZERO,
        place: Place { epoch: 0, seq: 0 },
        bytes: 0,
    };
}

fn decode(bytes: &[u8]) -> Option<Vec<(SegmentId, Entry)>> {
    let mut fields = Fields(bytes);
    let count = usize::try_from(fields.varint()?).ok()?;
    let mut found = Vec::with_capacity(count.min(bytes.len() / 5)); // an entry has five fields
    let (mut last_id, mut last) = (0u64, Entry::START);
    for _ in 0..count {
        last_id = last_id.checked_add(fields.varint()?)?;
        let first = last.first.get().wrapping_add(fields.varint()?);
        let epoch = last.place.epoch.wrapping_add(fields.varint()?);
        last = Entry {
            first: Lsn::new(first),
            place: Place::new(epoch, fields.varint()?),
            bytes: fields.varint()?,
        };
        found.push((SegmentId::new(last_id), last));
    }
    fields.0.is_empty().then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::tests::header;

    fn begins(segment: u64, seq: u64, trim: u64) -> Header {
        Header {
            segment: SegmentId::new(segment),
            place: Place::new(1, seq),
            offset: 0,
            first: Lsn::new(segment * 10),
            trim: Place::new(1, trim),
            gone: Place::default(),
            ..header()
        }
    }

    fn filled(segments: u64) -> Directory {
        let mut directory = Directory::default();
        for segment in 1..=segments {
            let header = begins(segment, segment * 3, 0);
            let entry = Entry {
                first: header.first,
                place: header.place,
                bytes: header.frame_bytes,
            };
            directory.segments.insert(header.segment, entry);
        }
        directory
    }

    #[test]
    fn the_newest_first_object_tells_of_all() {
        let directory = filled(9);
        let mut other = Directory::default();
        let before = filled(8).catalogue();
        other.absorb(&begins(9, 27, 0), &before).unwrap();
        assert!(other.iter().eq(directory.iter()));
        assert_eq!(other.unknown_before(), None);
        other
            .absorb(&begins(10, 30, 15), &other.catalogue())
            .unwrap();
        assert_eq!(other.iter().count(), 6, "what lies before the trim point");
    }

    #[test]
    fn what_one_catalogue_cannot_name_stands_in_an_older_one() {
        let many = CATALOGUE as u64 + 100;
        let mut late = Directory::default();
        late.absorb(&begins(many, many * 3, 3), &filled(many - 1).catalogue())
            .unwrap();
        assert_eq!(late.iter().count(), CATALOGUE + 1);
        assert_eq!(late.unknown_before(), Some(Place::new(1, 100 * 3)));
        late.extend_back(&filled(99).catalogue()).unwrap();
        assert_eq!(late.iter().count() as u64, many);
        assert_eq!(late.unknown_before(), None);
    }

    #[test]
    fn any_bytes_are_a_catalogue_or_refused() {
        let good = filled(5).catalogue();
        for length in 0..good.len() {
            assert_eq!(decode(&good[..length]), None);
        }
        assert_eq!(
            decode(&[0xFF, 0xFF, 0xFF, 0xFF, 0x0F]),
            None,
            "no allocation by a count"
        );
        assert_eq!(decode(&[1, 1, 1, 1, 1, 1, 1]), None, "nothing may follow");
    }
}
