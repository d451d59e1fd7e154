//! How long clients had to wait, phase by phase.

use std::collections::HashMap;
use std::time::Duration;

use super::{Op, Outcome, Record};

/// A named stretch of a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phase {
    /// What happened in it.
    pub name: String,
    /// When it began, in the history's nanoseconds.
    pub begin_ns: u64,
    /// When it ended.
    pub end_ns: u64,
}

/// What clients did in one phase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figures {
    /// The phase's name.
    pub phase: String,
    /// Writes acknowledged in it.
    pub acknowledged: u64,
    /// Writes that ended in it with an unknown outcome.
    pub unknown: u64,
    /// Reads answered in it.
    pub reads: u64,
    /// The longest time that any one writer went without an acknowledgement, if that time touched the phase.
    pub write_pause: Duration,
    /// The longest time that any one reader went without an answer, if that time touched the phase.
    pub read_pause: Duration,
}

/// Figures of each phase. A pause lasts from one success of a client to its next, and counts in every phase it touches; a
/// client that never succeeded again paused until the last phase ended.
#[must_use]
pub fn figures(records: &[Record], phases: &[Phase]) -> Vec<Figures> {
    let mut all: Vec<Figures> = phases
        .iter()
        .map(|phase| Figures {
            phase: phase.name.clone(),
            acknowledged: 0,
            unknown: 0,
            reads: 0,
            write_pause: Duration::ZERO,
            read_pause: Duration::ZERO,
        })
        .collect();
    let begin = phases.first().map_or(0, |phase| phase.begin_ns);
    let end = phases.last().map_or(0, |phase| phase.end_ns);
    let mut successes: HashMap<(u32, bool), Vec<u64>> = HashMap::new();
    // Whoever reads back afterwards has no part in this.
    for record in records.iter().filter(|record| record.call_ns < end) {
        let times = successes.entry((record.client, record.op == Op::Put)).or_default();
        if record.outcome == Outcome::Ok {
            times.push(record.return_ns);
        }
        let phase = phases.iter().position(|p| (p.begin_ns..p.end_ns).contains(&record.return_ns));
        let Some(figures) = phase.and_then(|index| all.get_mut(index)) else { continue };
        match (record.op, record.outcome) {
            (Op::Put, Outcome::Ok) => figures.acknowledged += 1,
            (Op::Put, Outcome::Unknown) => figures.unknown += 1,
            (Op::Get, Outcome::Ok) => figures.reads += 1,
            _ => {}
        }
    }
    for ((_, writes), mut times) in successes {
        times.extend([begin, end]);
        times.retain(|time| (begin..=end).contains(time));
        times.sort_unstable();
        for (from, to) in times.iter().zip(times.iter().skip(1)) {
            let pause = Duration::from_nanos(to - from);
            for (figures, phase) in all.iter_mut().zip(phases) {
                if *from < phase.end_ns && *to > phase.begin_ns {
                    let longest = if writes { &mut figures.write_pause } else { &mut figures.read_pause };
                    *longest = pause.max(*longest);
                }
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(client: u32, op: Op, outcome: Outcome, return_ns: u64) -> Record {
        Record {
            client,
            op,
            key: "k".into(),
            value: None,
            revision: None,
            deleted: None,
            call_ns: return_ns,
            return_ns,
            outcome,
            served_by: String::new(),
        }
    }

    fn phase(name: &str, begin_ns: u64, end_ns: u64) -> Phase {
        Phase { name: name.into(), begin_ns, end_ns }
    }

    #[test]
    fn a_pause_counts_in_every_phase_it_touches_and_for_one_client_alone() {
        let records = [
            at(1, Op::Put, Outcome::Ok, 5),
            at(1, Op::Put, Outcome::Unknown, 9),
            at(1, Op::Put, Outcome::Ok, 25),
            at(2, Op::Put, Outcome::Ok, 12),
            at(2, Op::Put, Outcome::Ok, 15),
            at(1, Op::Get, Outcome::Ok, 29),
        ];
        let all = figures(&records, &[phase("one", 0, 10), phase("two", 10, 20), phase("three", 20, 30)]);
        let pauses: Vec<_> =
            all.iter().map(|f| (f.write_pause.as_nanos(), f.read_pause.as_nanos())).collect();
        assert_eq!(pauses, [(20, 29), (20, 29), (20, 29)]);
        let counts: Vec<_> = all.iter().map(|f| (f.acknowledged, f.unknown, f.reads)).collect();
        assert_eq!(counts, [(1, 1, 0), (2, 0, 0), (1, 0, 1)]);
    }

    #[test]
    fn who_comes_after_the_last_phase_has_not_paused_before() {
        let records = [at(1, Op::Get, Outcome::Ok, 50), at(201, Op::Get, Outcome::Ok, 150)];
        let all = figures(&records, &[phase("all", 0, 100)]);
        assert_eq!((all[0].reads, all[0].read_pause), (1, Duration::from_nanos(50)));
    }

    #[test]
    fn a_client_that_never_succeeds_again_pauses_to_the_end() {
        let records = [at(1, Op::Put, Outcome::Ok, 1), at(1, Op::Put, Outcome::Fail, 90)];
        let all = figures(&records, &[phase("all", 0, 100)]);
        assert_eq!(all[0].write_pause, Duration::from_nanos(99));
    }
}
