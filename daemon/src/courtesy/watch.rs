//! A standing answer to whether background work may run.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time};

use super::{Blocked, Machine, Readings, Rules, Why, allowed};

/// How often the machine is looked at.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// How soon again while background work is allowed: a person who comes back waits this long.
    allowed: Duration,
    /// How soon again at the latest: clocks are set and machines sleep.
    longest: Duration,
}

/// Longer than a daemon lives; tokio's timers take it.
const FAR_AWAY: Duration = Duration::from_secs(10 * 365 * 86_400);

const PACE: Pace = Pace {
    allowed: Duration::from_secs(5),
    longest: Duration::from_secs(60),
};

/// A standing answer to whether background work may run.
///
/// A task of its own reads the machine, while somebody wants to know and never else: a daemon without background work
/// wakes nobody. Asking costs nothing.
#[derive(Debug, Clone)]
pub struct Courtesy {
    rules: Rules,
    /// Whether there is background work. Arc: the task ends with the last asker.
    wanted: Arc<watch::Sender<bool>>,
    answer: watch::Receiver<Option<Blocked>>,
}

impl Courtesy {
    /// Starts the task that reads this machine. Needs a tokio runtime.
    pub fn start(rules: Rules) -> Self {
        Self::reading(rules, Machine::default(), PACE)
    }

    fn reading(rules: Rules, readings: impl Readings, pace: Pace) -> Self {
        let (wanted, wants) = watch::channel(false);
        let (answers, answer) = watch::channel(unknown(&rules));
        if !rules.always_allow() {
            tokio::spawn(follow(rules, readings, pace, wants, answers));
        }
        Self {
            rules,
            wanted: Arc::new(wanted),
            answer,
        }
    }

    /// Says whether there is background work: the machine is read only while there is.
    pub fn want(&self, is_wanted: bool) {
        self.wanted.send_if_modified(|wanted| {
            let is_other = *wanted != is_wanted;
            *wanted = is_wanted;
            is_other
        });
    }

    /// Why background work may not run now; `None` where it may.
    pub fn blocked(&self) -> Option<Blocked> {
        *self.answer.borrow()
    }

    /// Waits until the answer has changed since it was last waited for. For ever, where nothing can change it.
    pub async fn changed(&mut self) {
        if self.answer.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// How long background work pauses after `worked` of it.
    pub fn rest_after(&self, worked: Duration) -> Duration {
        self.rules.rest_after(worked)
    }
}

/// The answer as long as nobody has looked.
fn unknown(rules: &Rules) -> Option<Blocked> {
    let blocked = Blocked {
        why: Why::NotLooked,
        look_again: PACE.allowed,
    };
    (!rules.always_allow()).then_some(blocked)
}

async fn follow(
    rules: Rules,
    mut readings: impl Readings,
    pace: Pace,
    mut wants: watch::Receiver<bool>,
    answers: watch::Sender<Option<Blocked>>,
) {
    loop {
        let wait = if *wants.borrow_and_update() {
            let conditions = readings.read(&rules).await;
            let blocked = allowed(&conditions, &rules, &readings.now()).err();
            tell(&answers, blocked);
            blocked
                .map_or(pace.allowed, |blocked| blocked.look_again)
                .min(pace.longest)
        } else {
            // What was read will be old by the time that somebody wants it.
            tell(&answers, unknown(&rules));
            FAR_AWAY
        };
        tokio::select! {
            () = time::sleep(wait) => {}
            changed = wants.changed() => if changed.is_err() {
                return;
            }
        }
    }
}

/// Tells it if the reason is another one; that the moment of the next look moves is no news.
fn tell(answers: &watch::Sender<Option<Blocked>>, blocked: Option<Blocked>) {
    answers.send_if_modified(|known| {
        let is_news = known.map(|known| known.why) != blocked.map(|blocked| blocked.why);
        *known = blocked;
        is_news
    });
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc, Mutex,
            atomic::{AtomicUsize, Ordering},
        },
        time::Duration,
    };

    use super::{Courtesy, Pace};
    use crate::courtesy::{Conditions, Power, Readings, Rules, Why};

    /// A machine that can be plugged in and out.
    #[derive(Clone)]
    struct Fake {
        power: Arc<Mutex<Power>>,
        looks: Arc<AtomicUsize>,
    }

    impl Fake {
        fn on(power: Power) -> Self {
            Self {
                power: Arc::new(Mutex::new(power)),
                looks: Arc::default(),
            }
        }

        fn looks(&self) -> usize {
            self.looks.load(Ordering::Relaxed)
        }
    }

    impl Readings for Fake {
        async fn read(&mut self, _: &Rules) -> Conditions {
            self.looks.fetch_add(1, Ordering::Relaxed);
            Conditions {
                power: *self.power.lock().unwrap(),
                idle: None,
            }
        }
    }

    fn why(courtesy: &Courtesy) -> Option<Why> {
        courtesy.blocked().map(|blocked| blocked.why)
    }

    /// Looks every few milliseconds.
    const FAST: Pace = Pace {
        allowed: Duration::from_millis(5),
        longest: Duration::from_millis(5),
    };

    /// Long beside [`FAST`].
    const A_WHILE: Duration = Duration::from_millis(100);

    async fn change(courtesy: &mut Courtesy) {
        let changed = tokio::time::timeout(Duration::from_secs(30), courtesy.changed());
        changed.await.expect("the answer changes");
    }

    #[tokio::test]
    async fn a_machine_is_read_only_while_there_is_background_work() {
        let machine = Fake::on(Power::Mains);
        let mut courtesy = Courtesy::reading(Rules::default(), machine.clone(), FAST);
        tokio::time::sleep(A_WHILE).await;
        assert_eq!(machine.looks(), 0);
        assert_eq!(why(&courtesy), Some(Why::NotLooked));
        courtesy.want(true);
        change(&mut courtesy).await;
        assert_eq!(why(&courtesy), None);
        courtesy.want(false);
        change(&mut courtesy).await;
        assert_eq!(why(&courtesy), Some(Why::NotLooked));
        let looks = machine.looks();
        tokio::time::sleep(A_WHILE).await;
        assert_eq!(machine.looks(), looks);
    }

    #[tokio::test]
    async fn a_pulled_plug_is_noticed_and_told_once() {
        let machine = Fake::on(Power::Mains);
        let mut courtesy = Courtesy::reading(Rules::default(), machine.clone(), FAST);
        courtesy.want(true);
        change(&mut courtesy).await;
        for (power, expected) in [(Power::Battery, Some(Why::Battery)), (Power::Mains, None)] {
            *machine.power.lock().unwrap() = power;
            change(&mut courtesy).await;
            assert_eq!(why(&courtesy), expected);
            let looks = machine.looks();
            let again = tokio::time::timeout(A_WHILE, courtesy.changed());
            assert!(again.await.is_err(), "told the same twice");
            assert!(machine.looks() > looks, "looked no more");
        }
    }

    #[tokio::test]
    async fn rules_that_forbid_nothing_need_no_look() {
        let rules = Rules {
            on_battery: true,
            ..Rules::default()
        };
        let machine = Fake::on(Power::Battery);
        let courtesy = Courtesy::reading(rules, machine.clone(), FAST);
        courtesy.want(true);
        tokio::time::sleep(A_WHILE).await;
        assert_eq!((why(&courtesy), machine.looks()), (None, 0));
    }

    #[tokio::test]
    async fn the_task_ends_with_the_last_who_asks() {
        let machine = Fake::on(Power::Mains);
        let courtesy = Courtesy::reading(Rules::default(), machine.clone(), FAST);
        courtesy.want(true);
        let power = Arc::downgrade(&machine.power);
        drop(machine);
        drop(courtesy);
        for _ in 0..1000 {
            if power.upgrade().is_none() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the task is still there");
    }

    #[tokio::test]
    async fn this_machine_can_be_read() {
        let rules = Rules {
            idle: Duration::from_secs(1),
            ..Rules::default()
        };
        let mut courtesy = Courtesy::start(rules);
        courtesy.want(true);
        // Whatever it is doing, somebody has looked.
        change(&mut courtesy).await;
        assert_ne!(why(&courtesy), Some(Why::NotLooked));
    }
}
