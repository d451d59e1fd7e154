//! What a seed makes of a simulation: who takes part, how they are tuned, how bad the network and the disks are.

use std::time::Duration;

use conure_client::api::Role;
use conure_io::Random;
use conure_member::Tuning;

use crate::host::Slot;

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) slots: Vec<Slot>,
    pub(crate) clients: u64,
    /// How long there is trouble, in milliseconds.
    pub(crate) trouble_ms: u64,
    /// The longest that a message is on its way, in milliseconds.
    pub(crate) latency_ms_max: u64,
    /// The longest that a disk takes, in milliseconds.
    pub(crate) disk_ms_max: u64,
    /// The longest time between two faults, in milliseconds.
    pub(crate) calm_ms_max: u64,
}

impl Plan {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0x0070_6c61_6e00);
        let mut pick = |of: &[u64]| {
            let at = usize::try_from(random.below(of.len() as u64)).unwrap_or(0);
            of[at]
        };
        let tuning = Tuning {
            heartbeat: Duration::from_millis(100),
            election_timeout_min: Duration::from_millis(300),
            election_timeout_max: Duration::from_millis(600),
            write_timeout: Duration::from_secs(3),
            join_patience: Duration::from_secs(5),
            checkpoint_entries: pick(&[10, 30, 100, 1_000]),
            // Fewer, and entries might be gone before the watch has seen them.
            keep_entries: pick(&[5, 10, 20, 100]),
            keep_bytes: pick(&[2_000, 20_000, 1 << 20]),
            checkpoint_bytes: pick(&[1_000, 1 << 20]),
            arbiter_keep_bytes: 1 << 20,
            ..Tuning::default()
        };
        let data = pick(&[2, 3, 3, 3, 4, 5]);
        let arbiter = data % 2 == 0 && pick(&[0, 1, 1]) == 1;
        let mut slots: Vec<Slot> = (1..=data)
            .map(|number| Slot {
                name: format!("m{number}"),
                host: format!("m{number}"),
                role: Role::Data,
                bootstrap: number == 1 || pick(&[0, 1]) == 1,
                tuning: tuning.clone(),
            })
            .collect();
        if arbiter {
            slots.push(Slot {
                name: "a1".to_owned(),
                host: "a1".to_owned(),
                role: Role::Arbiter,
                bootstrap: false,
                tuning,
            });
        }
        Self {
            slots,
            clients: pick(&[2, 3, 4]),
            trouble_ms: pick(&[10_000, 20_000, 30_000]),
            latency_ms_max: pick(&[3, 10, 50]),
            disk_ms_max: pick(&[0, 2, 5, 20, 100]),
            calm_ms_max: pick(&[500, 1_500, 4_000]),
        }
    }
}
