//! The logs that take part, one file each.

mod nodedb_wal;
mod okaywal;
mod open_wal;
mod ours;
mod raft_engine;
mod wal_db;
mod writeahead;

use crate::candidate::Peer;
use crate::cases::{By, State, Work};
use crate::floor;

/// Everything that is measured; the floors come first.
pub(crate) const ALL: &[Peer] = &[
    Peer {
        name: "floor-fdatasync",
        open: floor::buffered,
        durable: Ok(()),
        names: Ok(()),
        bulk: "",
    },
    Peer {
        name: "floor-direct",
        open: floor::direct,
        durable: Ok(()),
        names: Ok(()),
        bulk: "",
    },
    Peer {
        name: "wal-core",
        open: ours::open,
        durable: Ok(()),
        names: Ok(()),
        bulk: "",
    },
    Peer {
        name: "okaywal",
        open: okaywal::open,
        durable: Ok(()),
        names: Err(
            "acknowledges in a segment that was renamed before the directory is synced: after a \
             power cut it may have the name of one whose records are done with",
        ),
        bulk: "one entry of many chunks: its commit always syncs",
    },
    Peer {
        name: "raft-engine",
        open: raft_engine::open,
        durable: Ok(()),
        names: Ok(()),
        bulk: "the last batch syncs: `Engine::sync` itself does nothing",
    },
    Peer {
        name: "wal-db",
        open: wal_db::open,
        durable: Ok(()),
        names: Ok(()),
        bulk: "",
    },
    Peer {
        name: "open-wal",
        open: open_wal::open,
        durable: Ok(()),
        names: Ok(()),
        bulk: "keeps everything in memory until the sync",
    },
    Peer {
        name: "writeahead",
        open: writeahead::open,
        durable: Ok(()),
        names: Ok(()),
        bulk: "syncs each batch of 4 MiB: cannot do without",
    },
    Peer {
        name: "nodedb-wal",
        open: nodedb_wal::open,
        durable: Ok(()),
        names: Ok(()),
        bulk: "",
    },
    Peer {
        name: "nodedb-wal-direct",
        open: nodedb_wal::open_direct,
        durable: Err(
            "its default, O_DIRECT: after a sync that does not end on a block, reopening finds \
             none of the records that follow",
        ),
        names: Ok(()),
        bulk: "",
    },
];

/// Whether a log has something to say in a case.
pub(crate) fn takes_part(name: &str, work: Work) -> bool {
    let one_of = |others: &[&str]| name == "wal-core" || others.contains(&name);
    match work {
        Work::Tasks { .. } => one_of(&["writeahead"]),
        Work::Rotation { .. } => is_floor(name) || one_of(&["okaywal", "raft-engine"]),
        Work::Replay { .. } => name != "floor-direct", // what is warm lies in the page cache
        Work::Fetch {
            by: By::Position, ..
        } => one_of(&["floor-fdatasync", "writeahead"]),
        Work::Fetch { .. } => one_of(&["floor-fdatasync"]),
        Work::Reopen {
            state: State::Many, ..
        } => is_floor(name) || one_of(&[]),
        Work::Durable { .. } | Work::Bulk { .. } | Work::Reopen { .. } => true,
    }
}

/// Whether this is a floor.
pub(crate) fn is_floor(name: &str) -> bool {
    name.starts_with("floor-")
}
