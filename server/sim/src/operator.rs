//! Whoever runs the cluster: joins, removes, hands leadership over.

use std::time::Duration;

use conure_client::api::Role;
use conure_io::Random;
use tokio::time::sleep;

use crate::api::{Answer, Ask, ask};
use crate::client::pick;
use crate::host::Slot;
use crate::world::{Phase, note, phase, with};

const PATIENCE: Duration = Duration::from_secs(20);

/// Works as long as there is trouble.
pub(crate) async fn run(slots: Vec<Slot>, seed: u64) -> turmoil::Result {
    let mut random = Random::new(seed);
    // The first members are there from the start.
    while phase() != Phase::End {
        sleep(Duration::from_millis(50 + random.below(400))).await;
        let serving: Vec<String> = with(|world| world.serving.iter().cloned().collect());
        let Some(member) = pick(&mut random, &serving) else { continue };
        let Answer::Leader(Some(leader)) = ask(&member, &Ask::Leader, PATIENCE).await else { continue };
        let missing: Vec<String> =
            slots.iter().map(|slot| slot.name.clone()).filter(|name| !serving.contains(name)).collect();
        let joins = pick(&mut random, &missing);
        let question = match joins {
            Some(name) if random.chance(80) => Ask::Join { name },
            // A member whose disk was put back is noticed by the leader that counted on it.
            _ if phase() != Phase::Trouble || with(|world| world.put_back.is_some()) => continue,
            _ => {
                let data: Vec<String> = slots
                    .iter()
                    .filter(|slot| slot.role == Role::Data && serving.contains(&slot.name))
                    .map(|slot| slot.name.clone())
                    .collect();
                match random.below(100) {
                    0..=29 => match pick(&mut random, &data) {
                        Some(name) => Ask::Transfer { name },
                        None => continue,
                    },
                    // A removal just after another member lost its disk, of which the leader does not know yet, may need that member's vote.
                    30..=39 if serving.len() > 2 && with(|world| world.wiped.is_empty()) => {
                        match pick(&mut random, &serving) {
                            Some(name) => Ask::Remove { name },
                            None => continue,
                        }
                    }
                    _ => continue,
                }
            }
        };
        if let Ask::Remove { name } = &question {
            // Whatever comes of it: it is joined again, and clients leave it alone meanwhile.
            with(|world| world.serving.remove(name));
        }
        with(|world| world.changing = true);
        let answer = ask(&leader, &question, PATIENCE).await;
        note!("operator: {question:?} of {leader}: {answer:?}");
        with(|world| {
            world.changing = false;
            if let (Ask::Join { name }, Answer::Done) = (&question, &answer) {
                world.serving.insert(name.clone());
                world.wiped.remove(name);
            }
        });
    }
    Ok(())
}
