//! Random publishers, sockets, clocks and delays around shards, against a plain
//! oracle: whatever comes when, the bytes that each socket took are what its
//! reader should have got, in order, without a hole or a duplicate.
//!
//! `steps.rs` makes up what happens, `world.rs` does it, and `oracle.rs` judges
//! the bytes by what was in the log.

mod oracle;
mod steps;
mod world;

use proptest::prelude::*;

use self::steps::{Setting, Step, setting, step};
use self::world::World;
use super::fake;

fn run(setting: &Setting, steps: &[Step]) {
    fake::run(async {
        let mut world = World::new(setting).await;
        for step in steps {
            world.step(step).await;
        }
        world.end(setting.closes_early).await;
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_200))]

    #[test]
    fn nothing_is_missed_repeated_or_garbled(
        setting in setting(),
        steps in prop::collection::vec(step(), 1..80),
    ) {
        run(&setting, &steps);
    }
}
