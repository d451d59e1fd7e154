//! A client that puts, deletes and reads.

use std::time::Duration;

use conure_io::Random;
use tokio::time::sleep;

use crate::api::{Answer, Ask, ask};
use crate::history::Claim;
use crate::world::{Phase, note, phase, with};

const KEYS: u64 = 6;
const PATIENCE: Duration = Duration::from_secs(4);

/// Works until the end.
pub(crate) async fn run(number: u64, seed: u64) -> turmoil::Result {
    let mut random = Random::new(seed);
    let mut member = String::new();
    let mut count = 0_u64;
    while phase() != Phase::End {
        sleep(Duration::from_millis(5 + random.below(60))).await;
        let serving: Vec<String> = with(|world| world.serving.iter().cloned().collect());
        if !serving.contains(&member) || random.chance(15) {
            let Some(next) = pick(&mut random, &serving) else { continue };
            member = next;
        }
        count += 1;
        let key = format!("k{}", random.below(KEYS));
        let question = match random.below(10) {
            0..=3 => Ask::Put { key: key.clone(), value: format!("{number}-{count}") },
            4 => Ask::Delete { key: key.clone() },
            5 => Ask::Get { key: key.clone(), stale: true },
            _ => Ask::Get { key: key.clone(), stale: false },
        };
        // Changes go to the leader, as a redirect would have it; reads to anyone.
        let target = match &question {
            Ask::Get { .. } => member.clone(),
            _ => match ask(&member, &Ask::Leader, PATIENCE).await {
                Answer::Leader(Some(leader)) => leader,
                _ => {
                    member.clear();
                    continue;
                }
            },
        };
        let floor = with(|world| world.history.begin());
        let answer = ask(&target, &question, PATIENCE).await;
        note!("client {number}: {question:?} of {target}: {answer:?}");
        let claim = match (answer, question) {
            (Answer::Put { revision }, Ask::Put { key, value }) => Claim::Put { key, value, revision },
            (Answer::Deleted { deleted: true, revision }, _) => Claim::Deleted { key, revision },
            (Answer::Deleted { deleted: false, revision }, _) => Claim::Absent { key, revision },
            (Answer::Got { found, revision }, Ask::Get { stale, .. }) => {
                Claim::Got { key, found, revision, stale }
            }
            (Answer::Unknown(_), _) => {
                with(|world| world.history.unknown += 1);
                member.clear();
                continue;
            }
            _ => {
                member.clear();
                continue;
            }
        };
        with(|world| world.history.end(floor, claim));
    }
    Ok(())
}

/// Any of them.
pub(crate) fn pick<T: Clone>(random: &mut Random, of: &[T]) -> Option<T> {
    let len = u64::try_from(of.len()).ok().filter(|len| *len > 0)?;
    of.get(usize::try_from(random.below(len)).ok()?).cloned()
}
