//! A crash trial: SIGKILL at a seeded count, restart in the same directories, run to the
//! end, count at the sink.

use std::path::PathBuf;

use serde::Serialize;

use super::kill_point::kill_point;
use super::power_cut;
use super::run::Bench;
use super::supervise::{End, Heard, supervise};
use super::verify::{Tally, tally};
use crate::arm::read_acknowledged;
use crate::arm::spec::{Arm, Measured, Spec};
use crate::failure::{Failure, Outcome};
use crate::identity::Identity;
use crate::kafka::{Committed, committed, seed};

/// A trial in which nothing could be lost is void; after this many the trial failed.
const MOST_ATTEMPTS: u64 = 8;

/// Until the kill the sink takes this much longer for each batch, as one that does some
/// work does: receivers run ahead of it, and have something to lose.
pub(crate) const SINK_DELAY_MS: u64 = 20;

/// What happens to the arm.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Event {
    /// The process dies; a fresh group takes over the killed group's commits.
    Kill,
    /// The process dies; the same group waits until the dead member's session ends.
    KillAndRejoin,
    /// The machine dies, and with it what was not synced; the source has forgotten what
    /// was acknowledged.
    PowerCut,
}

/// One trial and what it showed.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Trial {
    pub(crate) arm: Arm,
    pub(crate) event: Event,
    pub(crate) number: u32,
    /// Attempts that were needed: void ones, in which the sink held nothing or
    /// everything when the arm died, and the one that counts.
    pub(crate) attempts: u64,
    pub(crate) kill_at: u64,
    pub(crate) received_at_kill: u64,
    pub(crate) sunk_at_kill: u64,
    /// Records that the source had been told are safe; unknown for an existing topic,
    /// whose offsets have holes.
    pub(crate) acknowledged_at_kill: Option<u64>,
    /// Bytes that the power cut took from the log.
    pub(crate) bytes_cut: Option<u64>,
    /// From the restart to the first record.
    pub(crate) restart_seconds: f64,
    pub(crate) lost: u64,
    pub(crate) repeated: u64,
    /// Records received a second time, recognised and dropped before the log.
    pub(crate) repeats_dropped: u64,
}

impl Trial {
    /// Whether the arm did what it must not do.
    pub(crate) fn breaks_promise(&self) -> bool {
        let bound = self.arm.promises() && self.event != Event::PowerCut;
        bound && (self.lost > 0 || self.repeated > 0)
    }
}

/// The events that one kill of `arm` stands for.
pub(super) fn events(arm: Arm, number: u32) -> &'static [Event] {
    match (arm, number) {
        (Arm::Durable, 1) => &[Event::KillAndRejoin],
        (Arm::BeforeSync, _) => &[Event::Kill, Event::PowerCut],
        _ => &[Event::Kill],
    }
}

/// Runs one trial, repeating void attempts.
pub(super) fn trial(bench: &mut Bench<'_>, arm: Arm, event: Event, number: u32) -> Outcome<Trial> {
    for attempt in 1..=MOST_ATTEMPTS {
        let point = kill_point(
            bench.options.seed,
            arm as u64 * 4 + event as u64,
            number.into(),
            attempt,
            bench.data.records,
        );
        let name = format!("kill-{number}-{}-{}-{attempt}", arm.name(), event as u8);
        let mut spec = prepare(bench, arm, event, &name, attempt)?;
        bench.ui.begin(
            format!("kill {number}: {}", arm.label()),
            bench.data.records,
        );
        let killed = kill(bench, &spec, point)?;
        if let Some(killed) = killed {
            let trial = aftermath(bench, &mut spec, event, killed)?;
            if !trial.breaks_promise() {
                bench.remove(&spec)?;
            }
            return Ok(Trial {
                number,
                attempts: attempt,
                kill_at: point,
                ..trial
            });
        }
        bench.remove(&spec)?;
    }
    Err(Failure::run(format!(
        "{}: {MOST_ATTEMPTS} attempts at kill {number} were void: the sink held nothing or \
         everything when the arm died; use more --records",
        arm.label()
    )))
}

fn prepare(
    bench: &mut Bench<'_>,
    arm: Arm,
    event: Event,
    name: &str,
    attempt: u64,
) -> Outcome<Spec> {
    let dir: PathBuf = bench.workspace.create(name)?;
    let group = bench.cluster.fresh_group();
    let mut spec = bench.spec(arm, group, dir);
    spec.sink = Some(bench.data.identities.identity());
    spec.notes = event == Event::PowerCut;
    spec.sink_delay_ms = SINK_DELAY_MS;
    // A void attempt is repeated with the source slowed down, so that the kill finds
    // the sink in the middle.
    spec.pace = bench.data.records.checked_div(attempt - 1);
    Ok(spec)
}

/// What is known at the moment of death.
struct Killed {
    heard: Heard,
    sunk: u64,
}

/// `None` if the arm was not killed in the middle of its work.
fn kill(bench: &Bench<'_>, spec: &Spec, point: u64) -> Outcome<Option<Killed>> {
    let ended = supervise(spec, Some(point), &mut |heard| bench.ui.at(heard.received))?;
    let End::Killed(heard) = ended else {
        return Ok(None);
    };
    let Tally { sunk, lost, .. } = tally(&spec.sink_dir(), &bench.data.identities)?;
    let in_the_middle = sunk > 0 && lost > 0;
    Ok(in_the_middle.then_some(Killed { heard, sunk }))
}

/// Restarts the arm in the same directories and counts.
fn aftermath(
    bench: &mut Bench<'_>,
    spec: &mut Spec,
    event: Event,
    killed: Killed,
) -> Outcome<Trial> {
    let acknowledged = acknowledged(bench, spec, event)?;
    let bytes_cut = match event {
        Event::PowerCut => Some(power_cut::cut(&spec.log_dir(), &spec.synced_file())?),
        _ => None,
    };
    restart_as(bench, spec, event, &acknowledged)?;
    let measured = restart(bench, spec)?;
    let found = tally(&spec.sink_dir(), &bench.data.identities)?;
    if found.strangers > 0 && spec.sink == Some(Identity::Sequence) {
        return Err(Failure::run(format!(
            "{}: the sink holds {} records that were never loaded",
            spec.arm.label(),
            found.strangers
        )));
    }
    Ok(Trial {
        arm: spec.arm,
        event,
        number: 0,
        attempts: 0,
        kill_at: 0,
        received_at_kill: killed.heard.received,
        sunk_at_kill: killed.sunk,
        acknowledged_at_kill: (spec.sink == Some(Identity::Sequence))
            .then(|| acknowledged.iter().map(|place| place.offset).sum()),
        bytes_cut,
        restart_seconds: measured.join_seconds,
        lost: found.lost,
        repeated: found.repeated,
        repeats_dropped: measured.repeats_dropped,
    })
}

/// What the source had been told is safe: what the group has committed. Commits lag
/// behind; before a power cut the arm therefore noted every acknowledgement itself.
fn acknowledged(bench: &Bench<'_>, spec: &Spec, event: Event) -> Outcome<Vec<Committed>> {
    match event {
        Event::PowerCut => read_acknowledged(&spec.acknowledged_file()).map_err(|cause| {
            Failure::run(format!(
                "notes of what {} acknowledged: {cause}",
                spec.arm.label()
            ))
        }),
        _ => committed(bench.cluster.brokers(), bench.data, &spec.group),
    }
}

/// Who the restarted arm is to the broker, and what the source still has.
fn restart_as(
    bench: &mut Bench<'_>,
    spec: &mut Spec,
    event: Event,
    acknowledged: &[Committed],
) -> Outcome<()> {
    spec.pace = None;
    spec.sink_delay_ms = 0;
    spec.notes = false;
    if event != Event::KillAndRejoin {
        spec.group = bench.cluster.fresh_group();
        seed(
            bench.cluster.brokers(),
            &bench.data.topic,
            &spec.group,
            acknowledged,
        )?;
    }
    if event == Event::PowerCut {
        spec.forgotten = acknowledged.to_vec();
    }
    Ok(())
}

fn restart(bench: &Bench<'_>, spec: &Spec) -> Outcome<Measured> {
    match supervise(spec, None, &mut |heard| bench.ui.at(heard.received))? {
        End::Finished(measured) => Ok(measured),
        End::Killed(_) => Err(Failure::run(format!(
            "{}: killed by somebody",
            spec.arm.label()
        ))),
    }
}
