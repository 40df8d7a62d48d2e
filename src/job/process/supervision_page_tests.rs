//! Tests of the page that a front and its supervisors share.

use std::time::Duration;

use super::supervision_page::*;
use super::wait_status::WaitStatus;
use crate::log::format::payload::Cost;

#[test]
fn step_is_claimed_once() {
    let page = SupervisionPage::map().unwrap();
    assert_eq!(page.claimed(), None);
    assert!(page.claim(1, 7));
    assert!(!page.claim(1, 8));
    assert_eq!(page.live(), Some(Claim { step: 1, pid: 7 }));
    page.record_exit(1);
    assert_eq!(page.live(), None);
    assert!(page.claim(2, 9));
    assert!(!page.claim(1, 10));
    assert_eq!(page.live(), Some(Claim { step: 2, pid: 9 }));
}

#[test]
fn run_time_ends_with_first_record_of_exit() {
    let page = SupervisionPage::map().unwrap();
    page.claim(1, 7);
    page.record_exit(1);
    let ran = page.run_time();
    assert!(ran <= page.since_claim());
    while page.since_claim() == ran {}
    page.record_exit(1);
    assert_eq!(page.run_time(), ran);
}

#[test]
fn late_request_to_end_does_not_reach_next_step() {
    let page = SupervisionPage::map().unwrap();
    page.claim(1, 7);
    page.claim(2, 8);
    page.request_end(1);
    assert_eq!(page.since_end_request(2), None);
    page.request_end(2);
    page.request_end(1);
    assert!(page.since_end_request(2).is_some());
}

#[test]
fn retry_is_due_only_after_its_attempt() {
    let page = SupervisionPage::map().unwrap();
    assert_eq!(page.until_retry(1), None);
    let delay = Duration::from_mins(1);
    page.record_retry(1, delay);
    let first = page.until_retry(1).unwrap();
    assert!(first <= delay && first > delay / 2);
    assert!(
        page.until_retry(1).unwrap() < first,
        "it does not start over"
    );
    assert_eq!(page.until_retry(2), None);
    page.record_retry(2, Duration::ZERO);
    assert_eq!(page.until_retry(2), None);
}

#[test]
fn records_are_read_as_written() {
    let page = SupervisionPage::map().unwrap();
    page.record_run("build-1");
    assert_eq!((page.run().as_deref(), page.job()), (Some("build-1"), None));
    let cost = Cost {
        cpu_ms: 3,
        context_switches: 4,
        ..Cost::default()
    };
    page.record_end(2, WaitStatus::Signaled(9), &cost);
    assert_eq!(page.end(1), None);
    assert_eq!(page.end(2), Some((WaitStatus::Signaled(9), cost)));
    assert_eq!(page.result(), None);
    page.record_result(RunResult::Signal(15));
    assert_eq!(page.result(), Some(RunResult::Signal(15)));
}
