//! Full disks: each command reports correctly what it did, and gc makes room.

use serde_json::Value;

use crate::support::crash::on_small_disk;
use crate::support::env::TestEnv;

/// Fills the disk.
const FILL: &str = "cat /dev/zero >fill 2>/dev/null";

#[test]
fn gc_frees_full_disk_without_job_output() {
    let env = TestEnv::new();
    let script = format!(
        r#"
        for n in 0 1 2 3 4 5 6 7; do
            "$RUNLOG" run -q --run r$n --close -- true
            [ $n != 0 ] || "$RUNLOG" gc --max-age 0
        done >/dev/null
        {FILL}
        "$RUNLOG" emit --run r9 --open x 2>../refused; echo "code $?"
        "$RUNLOG" gc --max-runs 2 >/dev/null; echo "code $?"
        "$RUNLOG" status --retired --json >../retired; "$RUNLOG" status --json >../there
    "#
    );
    let Some(output) = on_small_disk(&env, &script) else {
        return;
    };
    assert_eq!(output.stdout(), "code 7\ncode 0\n");
    let ids = |name: &str| -> Vec<String> {
        let text = std::fs::read_to_string(env.path(name)).unwrap();
        let id = |line| serde_json::from_str::<Value>(line).unwrap()["run_id"].clone();
        text.lines()
            .map(|line| id(line).as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(ids("retired"), ["r0", "r1", "r2", "r3", "r4", "r5"]);
    // The refused start left its directory.
    assert_eq!(ids("there"), ["r9", "r6", "r7"]);
}

#[test]
fn refused_start_leaves_no_directory() {
    let env = TestEnv::new();
    let script = format!(
        r#"
        "$RUNLOG" run -q --name first -- true
        {FILL}
        "$RUNLOG" run -q --name refused -- true 2>../refused; echo "code $?"
        "$RUNLOG" run -q --name optional --log-optional -- echo ran 2>../refused
        ls .omne/var/runs
    "#
    );
    let Some(output) = on_small_disk(&env, &script) else {
        return;
    };
    let stdout = output.stdout();
    let runs: Vec<&str> = stdout
        .strip_prefix("code 125\nran\n")
        .unwrap()
        .lines()
        .collect();
    assert_eq!(runs.len(), 1, "{runs:?}");
    assert!(runs[0].starts_with("first-"), "{runs:?}");
}

#[test]
fn recover_works_on_full_disk() {
    let env = TestEnv::new();
    let script = format!(
        r#"
        log=.omne/var/runs/it/events.jsonl
        "$RUNLOG" run -q --run it --job full -- sh -c '
            echo $$ >../pid
            until grep -q "type\":\"job_started" "$0"; do :; done
            front=$(cut -d" " -f4 /proc/$PPID/stat); kill -STOP $front; kill -9 $PPID $front' $log 2>/dev/null
        while readlink /proc/$(cat ../pid)/exe >/dev/null; do sleep 0.01; done
        {FILL}
        for round in 1 2; do
            "$RUNLOG" replay it --recover --json | tail -n 1; echo "code $?"
        done
        "$RUNLOG" replay it --verify; echo "code $?"
    "#
    );
    let Some(output) = on_small_disk(&env, &script) else {
        return;
    };
    let told = output.stdout();
    assert_eq!(told.matches("code 0").count(), 3, "{told}");
    assert_eq!(told.matches("\"state\":\"failed\"").count(), 2, "{told}");
    assert!(told.contains("it: 6 events, no gaps"), "{told}");
}

#[test]
fn failed_rotation_on_full_disk_keeps_log_valid() {
    let env = TestEnv::new();
    let script = format!(
        r#"
        "$RUNLOG" emit --open --run it one; "$RUNLOG" run -q --run it --close -- true
        {FILL}
        "$RUNLOG" rotate it 2>../told; echo "code $?"
        "$RUNLOG" replay it --verify; echo "code $?"
        "$RUNLOG" tail it --cursor-file cursor -n 1 >/dev/null 2>&1; echo "code $?"
        rm fill
        "$RUNLOG" rotate it >/dev/null; echo "code $?"
        "$RUNLOG" replay it --verify; echo "code $?"
        "$RUNLOG" tail it --cursor-file cursor -n all --json | wc -l
    "#
    );
    let Some(output) = on_small_disk(&env, &script) else {
        return;
    };
    assert_eq!(
        output.stdout(),
        "code 7\nit: 7 events, no gaps (1 segment, 1 job)\ncode 0\ncode 7\n\
         code 0\nit: 8 events, no gaps (2 segments, 1 job)\ncode 0\n8\n"
    );
    let told = std::fs::read_to_string(env.path("told")).unwrap();
    assert!(told.contains("No space left on device"), "{told}");
    assert!(told.contains("hint: free disk space"), "{told}");
}

#[test]
fn many_failed_attempts_leave_space_for_end() {
    let env = TestEnv::new();
    let script = r#"
        "$RUNLOG" run -q --run it --close --no-capture --retries 60 --retry-delay 0 --rollback true \
            -- sh -c 'cat /dev/zero 2>/dev/null >>fill; exit 3' 2>../told
        echo "code $?"
        "$RUNLOG" status it --json
    "#;
    let Some(output) = on_small_disk(&env, script) else {
        return;
    };
    let shown = output.stdout();
    assert!(shown.starts_with("code 3\n"), "{shown}");
    assert!(shown.contains("\"stage\":\"rolled_back\""), "{shown}");
    let told = std::fs::read_to_string(env.path("told")).unwrap();
    let warnings: Vec<_> = told
        .lines()
        .filter(|line| line.contains("warning: "))
        .collect();
    assert_eq!(warnings.len(), 2, "{told}");
    assert!(
        warnings[1].ends_with("more events of the job are not in the log"),
        "{told}"
    );
}

#[test]
fn detached_run_reports_that_its_id_is_lost() {
    let env = TestEnv::new();
    let output = env.sh(r#""$RUNLOG" run --detach -- touch done >/dev/full"#);
    assert_eq!(output.code, 74);
    let stderr = output.stderr();
    let run = env.only_run();
    assert!(
        stderr.contains(&format!("error: run {run} has started")),
        "{stderr}"
    );
    assert!(
        stderr.contains("hint: write it to a file with --id-file FILE"),
        "{stderr}"
    );
    env.wait_for_file("done");
    let closed = env.sh(r#""$RUNLOG" run --detach -- true >&-"#);
    assert_eq!((closed.code, closed.stderr()), (0, String::new()));
}

#[test]
fn lines_before_full_disk_are_not_repeated() {
    let env = TestEnv::new();
    let script = r#"
        seq 200 | "$RUNLOG" -C .. emit --run r --open --lines
        tail() { "$RUNLOG" -C .. tail r --json --cursor-file ../cursors; }
        head -c 1036288 /dev/zero >fill
        tail >>shipped 2>../full; echo "code $?"
        rm fill
        tail >>shipped; echo "code $?"
        cp shipped ..
    "#;
    std::fs::create_dir(env.path(".omne")).unwrap();
    let Some(output) = on_small_disk(&env, script) else {
        return;
    };
    assert_eq!(output.stdout(), "code 7\ncode 0\n");
    let shipped = std::fs::read_to_string(env.path("shipped")).unwrap();
    // One line was torn by the full disk.
    let seqs = shipped.lines().filter_map(|line| {
        let event = serde_json::from_str::<Value>(line).ok()?;
        event["seq"].as_u64()
    });
    assert_eq!(seqs.collect::<Vec<_>>(), (0..201).collect::<Vec<_>>());
}

#[test]
fn error_of_full_stdout_names_stdout() {
    let env = TestEnv::new();
    env.ok(&["run", "-q", "--run", "it", "--", "echo", "x"]);
    for command in [
        "tail it",
        "tail it --json",
        "tail it --output",
        "tail it --grep x --output",
        "status",
        "status --json",
        "replay it",
        "replay it --state",
        "replay it --export csv",
        "--version",
        "status --help",
    ] {
        let output = env.sh(&format!("\"$RUNLOG\" {command} >/dev/full"));
        assert_ne!(output.code, 0, "{command}");
        let expected = "error: cannot write to stdout: No space left on device";
        let stderr = output.stderr();
        assert!(stderr.starts_with(expected), "{command}: {stderr}");
    }
}
