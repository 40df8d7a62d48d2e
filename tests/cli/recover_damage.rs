//! `replay --recover` does not act on a run whose log may lack events.

use std::fs;

use serde_json::Value;

use crate::support::env::TestEnv;

#[test]
fn recover_refuses_to_act_over_missing_events() {
    let env = TestEnv::new();
    let run = ["run", "-q", "--run", "it", "--job", "a"];
    let rollback = ["--rollback", "echo UNDOING >&2", "--", "true"];
    env.ok(&[&run[..], &rollback].concat());
    let log = env.log_path("it");
    let text = fs::read_to_string(&log).unwrap();
    let damaged = text.replace(r#""exit_code":0"#, r#""exit_code":1"#);
    assert_ne!(damaged, text);
    fs::write(&log, &damaged).unwrap();
    for args in [
        &["replay", "it", "--recover"][..],
        &["replay", "it", "--recover", "--with-rollback"],
        &["replay", "it", "--rollback"],
        &["replay", "it", "--rollback", "--dry-run"],
        &["run", "--run", "it", "--close"],
    ] {
        let output = env.run(args);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.code, 5, "{args:?}: {told}");
        assert!(told.contains("events may be missing"), "{args:?}: {told}");
        assert!(told.contains("damaged line"), "{args:?}: {told}");
        assert!(!told.contains("UNDOING"), "{args:?}: {told}");
    }
    assert_eq!(fs::read_to_string(&log).unwrap(), damaged);
    let output = env.run(&["replay", "it", "--recover", "--force", "--json"]);
    assert_eq!(output.code, 5);
    let outcome: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(outcome["action"], "recovered");
}

#[test]
fn rotation_does_not_hide_missing_events() {
    let env = TestEnv::new();
    let job = ["run", "-q", "--run", "it", "--job"];
    let rollback = ["--rollback", "touch undone", "--", "true"];
    env.ok(&[&job[..], &["a"], &rollback].concat());
    let log = env.log_path("it");
    let text = fs::read_to_string(&log).unwrap();
    fs::write(&log, text.replace(r#""exit_code":0"#, r#""exit_code":1"#)).unwrap();
    for keep in [&[][..], &["--keep", "0"]] {
        env.ok(&[&["rotate", "it", "--force"], keep].concat());
        for args in [
            &["replay", "it", "--recover", "--with-rollback"][..],
            &["run", "--run", "it", "--close"],
            &["status", "it"],
        ] {
            let output = env.run(args);
            assert_eq!(output.code, 5, "{args:?}: {}", output.stderr());
        }
        env.ok(&["emit", "--run", "it", "more"]);
    }
    assert!(!env.exists("undone"));
    let verified = env.run(&["replay", "it", "--verify"]);
    assert_eq!(verified.code, 5);
    let faults = verified.stdout();
    assert!(
        faults.contains("events may be missing before it"),
        "{faults}"
    );
}

#[test]
fn last_job_does_not_close_over_missing_events() {
    let env = TestEnv::new();
    let job = ["run", "-q", "--run", "it", "--job"];
    env.run(&[&job[..], &["a", "--rollback", "true", "--", "false"]].concat());
    let log = env.log_path("it");
    let text = fs::read_to_string(&log).unwrap();
    fs::write(&log, text.replace("job_rolled_back", "job_rolled_bacK")).unwrap();
    let output = env.run(&[&job[..], &["b", "--close", "--", "true"]].concat());
    assert_eq!(output.code, 0);
    let told = output.stderr();
    assert!(told.contains("the run stays open"), "{told}");
    let status = env.run(&["status", "it", "--json"]);
    assert_eq!(status.code, 5);
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["state"], "open");
}

#[test]
fn recover_acts_where_damage_hides_no_event() {
    let env = TestEnv::new();
    env.ok(&["run", "-q", "--run", "it", "--job", "a", "--", "true"]);
    let log = env.log_path("it");
    let text = fs::read_to_string(&log).unwrap();
    let (first, rest) = text.split_once('\n').unwrap();
    fs::write(&log, format!("{first}\ngarbage\n{rest}")).unwrap();
    let output = env.run(&["replay", "it", "--rollback"]);
    assert_eq!(output.code, 5);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("damaged line"), "{told}");
    assert!(!told.contains("may be missing"), "{told}");
}

#[test]
fn shorter_sealed_segment_does_not_make_jobs_lost() {
    let env = TestEnv::new();
    let rollback = ["--rollback", "echo UNDOING >&2"];
    let job = ["run", "-q", "--run", "it", "--job"];
    env.ok(&[&job[..], &["migrate"], &rollback, &["--", "true"]].concat());
    env.run(&[&job[..], &["other", "--", "sh", "-c", "exit 3"]].concat());
    env.ok(&["rotate", "it", "--force"]);
    env.ok(&[&job[..], &["next", "--", "true"]].concat());
    let sealed = env.run_dir("it").join("events-00000000000000000000.jsonl");
    let packed = env
        .run_dir("it")
        .join("events-00000000000000000000.jsonl.gz");
    fs::write(
        &sealed,
        &env.sh(&format!("gunzip -c {}", packed.display())).stdout[..3000],
    )
    .unwrap();
    let stages = |status: &Value| {
        let jobs = status["jobs"].as_array().unwrap().iter();
        let stages = jobs.map(|job| job["stage"].as_str().unwrap().to_owned());
        stages.collect::<Vec<_>>()
    };
    let status = env.status("it");
    assert_eq!(status["state"], "open");
    assert_eq!(stages(&status), ["completed", "failed", "completed"]);
    let output = env.run(&["replay", "it", "--recover", "--with-rollback"]);
    assert!(!String::from_utf8_lossy(&output.stderr).contains("UNDOING"));
    assert_eq!(
        stages(&env.status("it")),
        ["completed", "failed", "completed"]
    );
}

#[test]
fn recovery_of_all_reports_damage_in_recovered_runs() {
    let env = TestEnv::new();
    let run = ["run", "-q", "--run", "it", "--close"];
    env.ok(&[&run[..], &["--", "true"]].concat());
    env.damage_event_3("it");
    let recover = ["replay", "--recover", "--all"];
    // Nothing needs recovery.
    env.ok(&recover);
    let log = env.log_path("it");
    let torn = [&fs::read(&log).unwrap()[..], b"{"].concat();
    fs::write(&log, torn).unwrap();
    let output = env.run(&recover);
    assert_eq!(output.code, 5, "{}", output.stdout());
    let told = output.stderr();
    assert!(told.contains("damaged line"), "{told}");
}
