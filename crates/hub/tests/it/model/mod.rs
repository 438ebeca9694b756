//! Random publishers, readers and servers that vanish, against a plain oracle:
//! whatever happens in between, each reader gets what it should, in order,
//! without a hole or a duplicate; all that it was not given is accounted for,
//! and every gap that it is told of is a real one.
//!
//! `steps.rs` makes up what happens, `world.rs` does it and writes down what is
//! seen (`seen.rs`), `oracle.rs` judges that by what was in the log.

mod oracle;
mod seen;
mod steps;
mod world;

use proptest::prelude::*;

use self::steps::{Setting, Step, setting, step};
use self::world::World;

fn run(setting: Setting, steps: Vec<Step>) {
    let mut world = World::new(setting);
    // The server vanishes between one life and the next.
    let mut lives = steps.split(|step| matches!(step, Step::Vanish)).peekable();
    while let Some(steps) = lives.next() {
        let is_last = lives.peek().is_none();
        world.live(steps, is_last);
    }
    oracle::judge(&world);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn nothing_is_missed_repeated_or_misdirected(
        setting in setting(),
        steps in prop::collection::vec(step(), 1..70),
    ) {
        run(setting, steps);
    }
}
