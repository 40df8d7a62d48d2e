use proptest::prelude::*;

use crate::log::state::run_status::RunStatus::{
    Completed, Failed, Lost, Open, Pending, Running, Unknown,
};
use crate::log::store::retention::*;

const NOW: i64 = 2_000_000_000;

fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap()
}

fn run(id: &str, state: RunStatus, age: i64, bytes: u64) -> RunInfo {
    RunInfo {
        run_id: id.parse().unwrap(),
        name: "r".to_owned(),
        state,
        eligibility: match state {
            Completed | Failed | Lost => Eligibility::Ended,
            Unknown => Eligibility::Unsure,
            Pending => Eligibility::Empty,
            Running | Open => Eligibility::Live,
        },
        first_id: None,
        opened_ts: None,
        closed_ts: None,
        since: Timestamp::from_second(NOW - age).unwrap(),
        events: 1,
        bytes,
        named: false,
    }
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Returns the ids of the runs that are removed.
fn removed(policy: &RetentionPolicy, runs: &[RunInfo]) -> String {
    let decisions = policy.plan(runs, now());
    let goes = |v: &RetentionDecision| matches!(v, RetentionDecision::Remove(_));
    let ids = runs.iter().zip(&decisions).filter(|(_, v)| goes(v));
    ids.map(|(run, _)| run.run_id.as_str()).collect()
}

#[test]
fn each_limit_removes_oldest_ended_runs() {
    let runs = [
        run("a", Completed, 50, 10),
        run("b", Running, 40, 10),
        run("c", Failed, 30, 10),
        run("d", Lost, 20, 10),
        run("e", Open, 10, 10),
        run("f", Completed, 0, 10),
        run("g", Unknown, 99, 10),
    ];
    let of = |policy: RetentionPolicy| removed(&policy, &runs);
    let none = RetentionPolicy::default();
    assert_eq!(of(none), "");
    for (max_age, expected) in [(0, "acdf"), (20, "acd"), (21, "ac"), (51, "")] {
        let max_age = Some(seconds(max_age));
        assert_eq!(
            of(RetentionPolicy { max_age, ..none }),
            expected,
            "{max_age:?}"
        );
    }
    for (max_runs, expected) in [(0, "acdf"), (1, "acd"), (3, "ac"), (5, "a"), (6, "")] {
        let max_runs = Some(max_runs);
        assert_eq!(
            of(RetentionPolicy { max_runs, ..none }),
            expected,
            "{max_runs:?}"
        );
    }
    for (max_size, expected) in [(0, "acdf"), (59, "ac"), (60, "a"), (69, "a"), (70, "")] {
        let max_size = Some(max_size);
        assert_eq!(
            of(RetentionPolicy { max_size, ..none }),
            expected,
            "{max_size:?}"
        );
    }
    let keep_failed = Some(seconds(25));
    let all = RetentionPolicy {
        max_age: Some(seconds(0)),
        max_runs: Some(0),
        max_size: Some(0),
        ..none
    };
    assert_eq!(of(RetentionPolicy { keep_failed, ..all }), "acf");
    let keep_failed = Some(seconds(0));
    assert_eq!(of(RetentionPolicy { keep_failed, ..all }), "acdf");
}

#[test]
fn kept_runs_do_not_push_out_newer_ones() {
    let live = RunInfo {
        opened_ts: Timestamp::from_second(NOW - 60).ok(),
        ..run("d", Running, 0, 10)
    };
    let runs = [
        run("a", Completed, 50, 10),
        run("b", Failed, 30, 10),
        run("c", Failed, 20, 10),
        live,
        run("e", Completed, 10, 10),
    ];
    let policy = |max_runs| RetentionPolicy {
        max_runs: Some(max_runs),
        keep_failed: Some(seconds(1_000)),
        ..RetentionPolicy::default()
    };
    assert_eq!(removed(&policy(1), &runs), "a");
    assert_eq!(removed(&policy(0), &runs), "ae");
}

#[test]
fn limits_combine() {
    let runs = [
        run("a", Completed, 50, 10),
        run("b", Completed, 40, 10),
        run("c", Completed, 30, 10),
    ];
    let policy = RetentionPolicy {
        max_age: Some(seconds(50)),
        max_runs: Some(2),
        max_size: Some(20),
        ..RetentionPolicy::default()
    };
    assert_eq!(removed(&policy, &runs), "a");
}

#[test]
fn unknown_run_needs_name_and_age() {
    let mut it = run("g", Unknown, 100, 10);
    let with = |max_age, max_runs| RetentionPolicy {
        max_age,
        max_runs,
        ..RetentionPolicy::default()
    };
    assert_eq!(
        removed(&with(Some(seconds(0)), None), std::slice::from_ref(&it)),
        ""
    );
    it.named = true;
    assert_eq!(
        removed(&with(Some(seconds(100)), None), std::slice::from_ref(&it)),
        "g"
    );
    assert_eq!(
        removed(&with(Some(seconds(101)), None), std::slice::from_ref(&it)),
        ""
    );
    assert_eq!(removed(&with(None, Some(0)), std::slice::from_ref(&it)), "");
    assert_eq!(removed(&with(Some(seconds(101)), Some(0)), &[it]), "");
}

#[test]
fn empty_directory_is_removed_after_grace() {
    let it = run("g", Pending, 3_600, 10);
    let orphans = RetentionPolicy {
        orphans: true,
        ..RetentionPolicy::default()
    };
    assert_eq!(removed(&orphans, std::slice::from_ref(&it)), "g");
    let young = RunInfo {
        since: Timestamp::from_second(NOW - 3_599).unwrap(),
        ..it.clone()
    };
    assert_eq!(removed(&orphans, &[young]), "");
    let limits = RetentionPolicy {
        max_runs: Some(1),
        max_age: Some(seconds(0)),
        ..RetentionPolicy::default()
    };
    assert_eq!(removed(&limits, &[it, run("h", Running, 1, 1)]), "g");
}

#[test]
fn clock_skew_never_expires_runs() {
    let policy = |limit| RetentionPolicy {
        max_age: Some(seconds(limit)),
        ..RetentionPolicy::default()
    };
    let later = [run("a", Completed, -1_000, 1)];
    assert_eq!(removed(&policy(1), &later), "");
    assert_eq!(removed(&policy(0), &later), "a");
}

#[test]
fn runs_are_ordered_by_first_id_after_clock_was_set_back() {
    let opened = |n, it: RunInfo| RunInfo {
        first_id: Some(Ulid(n)),
        ..it
    };
    let policy = RetentionPolicy {
        max_runs: Some(2),
        ..RetentionPolicy::default()
    };
    let mut runs = [
        opened(1, run("a", Completed, 30, 1)),
        opened(2, run("b", Completed, -1_000, 1)),
        opened(3, run("c", Completed, 40, 1)),
    ];
    assert_eq!(removed(&policy, &runs), "a");
    runs.rotate_left(1);
    assert_eq!(removed(&policy, &runs), "a");
}

#[test]
fn durations_format_as_typed() {
    for (seconds, text) in [
        (0, "0s"),
        (59, "59s"),
        (60, "1m"),
        (3_661, "1h1m"),
        (90_061, "1d1h"),
        (86_459, "1d"),
    ] {
        assert_eq!(span(Duration::from_secs(seconds)), text);
    }
}

fn facts() -> impl Strategy<Value = Vec<RunInfo>> {
    let state = prop::sample::select(RunStatus::ALL.to_vec());
    let one = (state, 0..100_i64, 0..50_u64, any::<bool>());
    prop::collection::vec(one, 0..24).prop_map(|all| {
        let made = all.into_iter().zip(0..);
        made.map(|((state, age, bytes, named), n)| RunInfo {
            named,
            ..run(&format!("r{n:02}"), state, age, bytes)
        })
        .collect()
    })
}

fn policy() -> impl Strategy<Value = RetentionPolicy> {
    let limit = || prop::option::of(0..100_u64);
    (
        limit(),
        limit(),
        prop::option::of(0..1_000_u64),
        limit(),
        any::<bool>(),
    )
        .prop_map(|(age, runs, max_size, failed, orphans)| RetentionPolicy {
            max_age: age.map(Duration::from_secs),
            max_runs: runs.map(|n| n as usize % 24),
            max_size,
            keep_failed: failed.map(Duration::from_secs),
            orphans,
            named: false,
        })
}

proptest! {
    #[test]
    fn plan_obeys_policy(runs in facts(), policy in policy()) {
        let decisions = policy.plan(&runs, now());
        prop_assert_eq!(decisions.len(), runs.len());
        let pairs: Vec<_> = runs.iter().zip(&decisions).collect();
        let goes = |v: &RetentionDecision| matches!(v, RetentionDecision::Remove(_));
        let counts = |run: &RunInfo| run.eligibility != Eligibility::Empty;
        let left: Vec<_> = pairs
            .iter()
            .filter(|(run, verdict)| counts(run) && !goes(verdict))
            .map(|(run, _)| *run)
            .collect();
        let newer = |of: &RunInfo, among: &[&RunInfo]| {
            let of = (of.since, &of.run_id);
            among.iter().filter(|run| (run.since, &run.run_id) > of).count()
        };
        let fits = policy.max_size.is_none_or(|n| left.iter().map(|r| r.bytes).sum::<u64>() <= n);
        for (run, verdict) in &pairs {
            let age = age(run.since, now());
            let failed = matches!(run.state, Failed | Lost | Unknown);
            let kept = failed && policy.keep_failed.is_some_and(|d| age < d);
            if goes(verdict) {
                prop_assert!(run.eligibility != Eligibility::Live && !kept);
                prop_assert!(run.eligibility != Eligibility::Unsure || run.named);
            } else if run.eligibility == Eligibility::Ended && !kept {
                // A kept run is within every limit.
                prop_assert!(fits && policy.max_age.is_none_or(|d| age < d));
                prop_assert!(policy.max_runs.is_none_or(|n| newer(run, &left) < n));
            }
            // None of the newest runs is removed because there are too many.
            if let RetentionDecision::Remove(RemoveReason::Runs(n)) = verdict {
                let counted: Vec<_> = pairs
                    .iter()
                    .filter(|(run, v)| {
                        let is_for_room = matches!(
                            v,
                            RetentionDecision::Remove(RemoveReason::Runs(_) | RemoveReason::Size(_))
                        );
                        counts(run) && (is_for_room || !goes(v))
                    })
                    .map(|(run, _)| *run)
                    .collect();
                prop_assert!(newer(run, &counted) >= *n);
            }
            // A run that ended before a run that was removed for lack of room is removed too.
            if let RetentionDecision::Remove(RemoveReason::Runs(_) | RemoveReason::Size(_)) = verdict {
                let older_stays = pairs.iter().any(|(other, v)| {
                    **v == RetentionDecision::Keep(KeepReason::Fits)
                        && other.eligibility == Eligibility::Ended
                        && other.since < run.since
                });
                prop_assert!(!older_stays);
            }
        }
        // The plan does not change when it is computed again.
        prop_assert_eq!(&policy.plan(&runs, now()), &decisions);
    }
}
