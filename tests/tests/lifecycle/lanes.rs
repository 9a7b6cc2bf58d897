//! Which job is next.

use haul_common::job::Lane;
use haul_tests::{
    fleet::{Fleet, until},
    scripted::{self, Act},
};

haul_tests::on_both! {
    a_critical_job_overtakes_a_hundred_thousand_low_ones,
    every_lane_gets_its_turn_by_weight,
    strict_lanes_take_the_higher_one_first,
}

/// Submits `count` jobs of this name, which wait to be let go, to a lane.
async fn fill(fleet: &Fleet, lane: Lane, name: &str, count: usize) {
    let jobs = (0..count).map(|_| fleet.named(name, [Act::Hold]).lane(lane));
    for answer in fleet.producer.submit_many(jobs).await {
        answer.unwrap();
    }
}

async fn started(fleet: &Fleet, count: usize) {
    until("the next start", || async {
        fleet.desk.all().len() >= count
    })
    .await;
}

/// Jobs in each lane that is filled, but for the normal one, which has two more.
const EACH: usize = 30;
const SLOTS: usize = 2;

/// Fills lanes while a worker is busy, then lets go one job after the other, each only once the
/// worker has the next ones of every lane at hand; gives the names in the order of their starts.
async fn one_by_one(fleet: &Fleet, strict: bool, lanes: &[(Lane, &str)], count: usize) -> String {
    let _worker = fleet
        .worker(|w| {
            let slots = u32::try_from(SLOTS).unwrap();
            let worker = w.queue("default", slots).handle(scripted::run);
            if strict {
                worker.strict_lanes()
            } else {
                worker
            }
        })
        .await;
    fill(fleet, Lane::Normal, "plug", SLOTS).await;
    started(fleet, SLOTS).await;
    for (lane, name) in lanes {
        fill(fleet, *lane, name, EACH).await;
    }
    for gone in 0..count {
        let all = fleet.desk.all();
        for (lane, name) in lanes {
            let done = all[..gone].iter().filter(|n| n == name).count();
            let busy = if *lane == Lane::Normal {
                SLOTS.saturating_sub(gone)
            } else {
                0
            };
            let taken = (done + 2 * SLOTS - busy).min(EACH);
            fleet.ready(*lane, (EACH - taken) as u64).await;
        }
        fleet.desk.let_go(1);
        started(fleet, SLOTS + gone + 1).await;
    }
    fleet.desk.all()[SLOTS..].concat()
}

async fn a_critical_job_overtakes_a_hundred_thousand_low_ones(fleet: Fleet) {
    fill(&fleet, Lane::Low, "low", 100_000).await;
    let _worker = fleet.scripted_with(2).await;
    started(&fleet, 2).await;
    let critical = fleet
        .named("critical", [Act::Hold])
        .lane(Lane::Critical)
        .await
        .unwrap();
    fleet.ready(Lane::Critical, 0).await;
    for n in 1.. {
        fleet.desk.let_go(1);
        started(&fleet, 2 + n).await;
        if fleet.desk.starts(critical.id()) == 1 {
            break;
        }
        assert!(n < 5, "{n} low jobs came first");
    }
}

async fn every_lane_gets_its_turn_by_weight(fleet: Fleet) {
    let lanes = [
        (Lane::Critical, "c"),
        (Lane::High, "h"),
        (Lane::Normal, "n"),
        (Lane::Low, "l"),
    ];
    let turns = one_by_one(&fleet, false, &lanes, 30).await;
    let counts = lanes.map(|(_, name)| turns.matches(name).count());
    assert!(counts.is_sorted_by(|a, b| a > b), "{counts:?} {turns}");
    assert!(counts[0] >= 14 && counts[3] >= 1, "{counts:?} {turns}");
}

async fn strict_lanes_take_the_higher_one_first(fleet: Fleet) {
    let lanes = [(Lane::Low, "l"), (Lane::Critical, "c")];
    let turns = one_by_one(&fleet, true, &lanes, EACH + 4).await;
    assert!(turns.starts_with(&"c".repeat(EACH)), "{turns}");
    assert!(turns.ends_with("l"), "{turns}");
}
