//! Nothing that was accepted is lost, doubled, halved or different, whatever is killed: the short form of the crash
//! run. `imgd-crash` is the long one.

use std::time::Duration;

use imgd_e2e::crash::{self, Plan};

#[test]
fn thirty_kills_lose_nothing() {
    let plan = Plan {
        seed: 20,
        jobs: 12,
        images: 8,
        full_jobs: 1,
        kills: 30,
        clean_percent: 10,
        apart: Duration::from_millis(20)..Duration::from_millis(500),
        patience: Duration::from_secs(240),
    };
    let report = crash::run(&plan, &|line| println!("{line}")).unwrap();
    assert!(report.violations.is_empty(), "\n{report}");
    assert_eq!(report.kills.total(), plan.kills, "\n{report}");
    assert_eq!(report.pictures, 96, "\n{report}");
    assert!(report.seen.restored() > 0, "\n{report}");
    println!("{report}");
}
