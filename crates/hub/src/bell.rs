use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

/// Tells one thread that serves many streams which of them there is something
/// for. It is woken once for everything it has not yet heard.
pub struct Bell {
    // A std mutex, held to add or take numbers; never across an await.
    rung: Mutex<Rung>,
    wake: Box<dyn Fn() + Send + Sync>,
}

/// What a bell was rung for, by the numbers that were given with it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Rung {
    /// [Feeds](crate::Feed) that have something new. One may be in here twice.
    pub feeds: Vec<usize>,
    /// [Subscriptions](crate::Subscription) that are to look again.
    pub streams: Vec<usize>,
}

impl Bell {
    /// A bell that calls `wake` when it is rung for the first time since it was
    /// last [heard](Self::heard). `wake` must not wait.
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            rung: Mutex::default(),
            wake: Box::new(wake),
        })
    }

    /// What it was rung for since this was last asked.
    pub fn heard(&self) -> Rung {
        std::mem::take(&mut self.rung())
    }

    /// Rings it for one stream.
    pub(crate) fn ring_for_stream(&self, token: usize) {
        let mut rung = self.rung();
        let is_first = rung.is_empty();
        rung.streams.push(token);
        drop(rung);
        if is_first {
            (self.wake)();
        }
    }

    fn rung(&self) -> MutexGuard<'_, Rung> {
        self.rung.lock().expect("no holder panics")
    }
}

impl fmt::Debug for Bell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bell").finish_non_exhaustive()
    }
}

impl Rung {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.feeds.is_empty() && self.streams.is_empty()
    }
}

/// The bells that are to be rung when everything that they are rung for is there.
#[derive(Debug, Default)]
pub(crate) struct Bells(Vec<Arc<Bell>>);

impl Bells {
    pub(crate) fn note_feed(&mut self, bell: &Arc<Bell>, token: usize) {
        let mut rung = bell.rung();
        let is_first = rung.is_empty();
        rung.feeds.push(token);
        drop(rung);
        if is_first {
            self.0.push(bell.clone());
        }
    }

    pub(crate) fn ring(self) {
        for bell in self.0 {
            (bell.wake)();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn a_bell_wakes_once_for_all_that_was_not_heard() {
        let woken = Arc::new(AtomicUsize::new(0));
        let counted = woken.clone();
        let bell = Bell::new(move || {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        let check = |feeds: &[usize], streams: &[usize], wakes: usize| {
            assert_eq!(woken.load(Ordering::Relaxed), wakes);
            let (feeds, streams) = (feeds.to_vec(), streams.to_vec());
            assert_eq!(bell.heard(), Rung { feeds, streams });
        };
        check(&[], &[], 0);
        let mut bells = Bells::default();
        bells.note_feed(&bell, 7);
        bells.note_feed(&bell, 8);
        bells.ring();
        bell.ring_for_stream(9);
        check(&[7, 8], &[9], 1);
        bell.ring_for_stream(9);
        let mut bells = Bells::default();
        bells.note_feed(&bell, 7);
        bells.ring();
        check(&[7], &[9], 2);
    }

    #[test]
    fn who_takes_it_before_it_was_woken_is_woken_for_nothing() {
        let bell = Bell::new(|| ());
        let mut bells = Bells::default();
        bells.note_feed(&bell, 1);
        assert!(!bell.heard().is_empty());
        bells.ring();
        assert!(bell.heard().is_empty());
    }
}
