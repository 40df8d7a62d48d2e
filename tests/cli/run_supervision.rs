//! Runs that survive the death of their supervisor, and the effects of a killed front.

use std::collections::HashSet;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Signal, kill_process};

use crate::support::env::{Background, TestEnv, pid_of, wait_until};
use crate::support::process::{supervisors, wait_until_dead};

/// A job that prints numbered lines to both streams, and records that it was started.
const NUMBERED: &str = r"
    echo started >>starts
    i=0; while [ $i -lt 40 ]; do echo out $i; echo err $i >&2; i=$((i+1)); sleep 0.001; done
    until test -e go; do sleep 0.01; done
    exit 7
";

/// Kills the supervisor of a front, if it currently has one.
fn kill_supervisor(front: u32) -> bool {
    let found = supervisors(front);
    for pid in &found {
        kill_process(pid_of(i64::from(*pid)), Signal::KILL).ok();
    }
    !found.is_empty()
}

fn numbered(stream: &str) -> String {
    let lines: Vec<_> = (0..40).map(|n| format!("{stream} {n}")).collect();
    lines.join("\n")
}

/// Returns the length of the stored output, in bytes.
fn stored_bytes(env: &TestEnv) -> u64 {
    fs::metadata(env.run_dir("it").join("jobs/sh.out")).map_or(0, |meta| meta.len())
}

/// Returns the stored lines of one stream.
fn stored(env: &TestEnv, job: &str, stream: &str) -> String {
    let bytes = env.captured("it", job);
    let text = String::from_utf8(bytes).unwrap();
    let lines: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with(stream))
        .collect();
    lines.join("\n")
}

#[test]
fn job_survives_killed_supervisor() {
    let env = TestEnv::new();
    // Each line is a check of a process that is not the supervisor's child.
    let script = "echo 1; touch ready; until test -e go; do sleep 0.01; done; \
                  for i in 2 3 4 5 6 7 8 9; do sleep 0.02; echo $i; done; exit 3";
    env.ok(&[
        "run", "--detach", "--run", "it", "--close", "--", "sh", "-c", script,
    ]);
    env.wait_for_file("ready");
    let submitted = env.event("job_submitted");
    let front = u32::try_from(submitted["front"]["pid"].as_u64().unwrap()).unwrap();
    assert_eq!(submitted["supervisor"]["pid"], supervisors(front)[0]);
    assert!(kill_supervisor(front));
    let replaced = env.wait_for("supervisor_replaced");
    assert_eq!(env.status("it")["state"], "running");
    env.write("go", "");
    assert_eq!(env.run(&["status", "--wait", "it"]).code, 1);
    assert_eq!(replaced["signal"], "SIGKILL");
    assert_eq!(replaced["attempt"], 1);
    let failed = env.event("job_failed");
    assert_eq!(failed["exit_code"], 3);
    assert!(failed["cost"]["max_rss_bytes"].as_u64().unwrap() > 0);
    assert_eq!(env.captured("it", "sh"), b"1\n2\n3\n4\n5\n6\n7\n8\n9\n");
    assert_eq!(env.events_of_type("it", "job_started").len(), 1);
    env.ok(&["replay", "--verify", "it"]);
}

#[test]
fn exit_code_survives_killed_supervisor_and_front() {
    let env = TestEnv::new();
    let script = "touch ready; until test -e go; do sleep 0.01; done; exit 3";
    env.ok(&[
        "run", "--detach", "--run", "it", "--close", "--", "sh", "-c", script,
    ]);
    env.wait_for_file("ready");
    let front = env.event("job_submitted")["front"]["pid"].as_i64().unwrap();
    assert!(kill_supervisor(u32::try_from(front).unwrap()));
    env.wait_for("supervisor_replaced");
    // The new supervisor checks the job at least once while the front is alive.
    std::thread::sleep(Duration::from_millis(100));
    kill_process(pid_of(front), Signal::KILL).unwrap();
    env.write("go", "");
    env.run(&["status", "--wait", "it"]);
    let failed = env.event("job_failed");
    // Before Linux 6.15, the kernel does not report how another process's child ended.
    assert!(
        failed["exit_code"] == 3 || failed["error"]["kind"] == "lost",
        "{failed}"
    );
}

#[test]
fn replaced_supervisor_keeps_job_options() {
    let env = TestEnv::new();
    let options = ["--timeout", "700ms", "--retries", "1", "--retry-delay", "0"];
    // The supervisor is killed before it can end, however slow the machine is.
    let undo = "until test -e go; do sleep 0.01; done; echo undone >>undone";
    let rollback = ["--rollback", undo];
    let args = [
        &["run", "--run", "it", "--close"][..],
        &options,
        &rollback,
        &["--", "sleep", "1000"],
    ];
    let job = env.spawn(&args.concat());
    env.wait_for("job_started");
    assert!(kill_supervisor(job.pid()));
    env.write("go", "");
    assert_eq!(job.end().code, 124);
    assert_eq!(env.events_of_type("it", "job_started").len(), 2);
    assert_eq!(fs::read_to_string(env.path("undone")).unwrap(), "undone\n");
    assert_eq!(env.types("it").last().unwrap(), "run_closed");
}

#[test]
fn supervisor_killed_in_rollback_is_logged() {
    let env = TestEnv::new();
    let rollback = "touch ready; until test -e go; do sleep 0.01; done; echo undone";
    let job = env.spawn(&[
        "run",
        "-q",
        "--run",
        "it",
        "--close",
        "--rollback",
        rollback,
        "false",
    ]);
    env.wait_for_file("ready");
    assert!(kill_supervisor(job.pid()));
    let replaced = env.wait_for("supervisor_replaced");
    env.write("go", "");
    assert_eq!(job.end().code, 1);
    assert_eq!(replaced.get("attempt"), None, "it is the rollback");
    let types = env.types("it");
    let end = [
        "job_rollback_started",
        "supervisor_replaced",
        "job_rolled_back",
        "run_closed",
    ];
    assert!(types.ends_with(&end.map(str::to_owned)), "{types:?}");
    assert_eq!(env.captured("it", "false"), b"undone\n");
    env.ok(&["replay", "--verify", "it"]);
}

#[test]
fn job_survives_storm_of_supervisor_kills() {
    let mut replaced = 0;
    for round in 0..12_u64 {
        let env = TestEnv::new();
        let args = [
            "run", "-q", "--run", "it", "--close", "--", "sh", "-c", NUMBERED,
        ];
        let mut job = env.spawn(&args);
        // Kill it at another place of its output in each round, and again right after that.
        for place in [round * 40, round * 40 + 60] {
            wait_until("the place", || {
                stored_bytes(&env) >= place || job.has_ended()
            });
            kill_supervisor(job.pid());
        }
        env.write("go", "");
        assert_eq!(job.wait().code, 7, "round {round}");
        assert_eq!(fs::read_to_string(env.path("starts")).unwrap(), "started\n");
        assert_eq!(env.event("job_failed")["exit_code"], 7);
        assert_eq!(env.types("it").last().unwrap(), "run_closed");
        // Nothing is passed on, so nothing is lost or duplicated.
        assert_eq!(stored(&env, "sh", "out"), numbered("out"), "round {round}");
        assert_eq!(stored(&env, "sh", "err"), numbered("err"), "round {round}");
        env.ok(&["replay", "--verify", "it"]);
        replaced += env.events_of_type("it", "supervisor_replaced").len();
    }
    assert!(replaced > 0);
}

#[test]
fn front_without_supervisor_forwards_signals_while_job_prints() {
    let env = TestEnv::new();
    let mut run = env.command(&["run", "-q", "--run", "it", "--", "yes"]);
    // Nothing reads it.
    let mut front = run.stdout(Stdio::piped()).spawn().unwrap();
    env.wait_for("job_started");
    let mut killed = HashSet::new();
    wait_until("the last supervisor", || {
        let found = supervisors(front.id()).into_iter();
        for pid in found.filter(|pid| killed.insert(*pid)) {
            kill_process(pid_of(i64::from(pid)), Signal::KILL).ok();
        }
        killed.len() == 4
    });
    kill_process(pid_of(i64::from(front.id())), Signal::TERM).unwrap();
    wait_until_dead(front.id());
    assert_eq!(front.wait().unwrap().signal(), Some(Signal::TERM.as_raw()));
}

/// Starts a job that waits, and kills its front.
fn front_killed(env: &TestEnv, options: &[&str]) {
    let script = "touch ready; until test -e go; do sleep 0.01; done";
    let job = ["--", "sh", "-c", script];
    let args = [&["run", "--run", "it", "--close"][..], options, &job].concat();
    let job: Background = env.spawn(&args);
    env.wait_for_file("ready");
    env.wait_for("job_started");
    job.signal(Signal::KILL);
}

#[test]
fn killed_front_cancels_job_and_rolls_it_back() {
    let env = TestEnv::new();
    front_killed(&env, &["--rollback", "touch undone"]);
    env.wait_for("run_closed");
    let failed = env.event("job_failed");
    assert_eq!(failed["error"]["kind"], "canceled", "{failed}");
    assert_eq!(failed["signal"], "SIGTERM");
    assert!(env.exists("undone"));
}

#[test]
fn job_of_killed_front_is_not_started() {
    let env = TestEnv::new();
    env.ok(&["emit", "--open", "--run", "it", "begin"]);
    let path = env.log_path("it");
    let locks = [env.run_dir("it").join("lock"), path.clone()].map(|path| {
        let lock = fs::File::open(path).unwrap();
        lock.lock().unwrap();
        lock
    });
    let rollback = ["--rollback", "touch undone"];
    let run = ["run", "--run", "it", "--close"];
    let job = env.spawn(&[&run[..], &rollback, &["--", "touch", "started"]].concat());
    wait_until("the supervisor opens the log", || {
        let holders = holders(&path);
        let mut supervisors = supervisors(job.pid()).into_iter();
        supervisors.any(|pid| holders.contains(&pid))
    });
    job.signal(Signal::KILL);
    wait_until_dead(job.pid());
    drop(locks);
    let failed = env.wait_for("job_failed");
    assert_eq!(failed["error"]["kind"], "canceled", "{failed}");
    env.wait_for("run_closed");
    assert!(!env.exists("started") && !env.exists("undone"));
    assert!(env.events_of_type("it", "job_started").is_empty());
    env.ok(&["replay", "it", "--verify"]);
}

#[test]
fn kept_job_continues_after_front_is_killed() {
    let env = TestEnv::new();
    front_killed(&env, &["--if-killed", "keep"]);
    env.write("go", "");
    env.wait_for("run_closed");
    assert_eq!(env.event("job_completed")["exit_code"], 0);
}

#[test]
fn detached_job_ends_with_killed_front_on_request() {
    let env = TestEnv::new();
    let job = ["--", "sh", "-c", "until test -e go; do sleep 0.01; done"];
    let detached = ["run", "--detach", "--run", "it", "--close"];
    env.ok(&[&detached[..], &["--if-killed", "end"], &job].concat());
    let front = env.event("job_submitted")["front"]["pid"].as_i64().unwrap();
    kill_process(pid_of(front), Signal::KILL).unwrap();
    env.wait_for("run_closed");
    assert_eq!(env.event("job_failed")["error"]["kind"], "canceled");
}

#[test]
fn detached_run_keeps_no_descriptor_of_its_caller() {
    let env = TestEnv::new();
    let output = env.sh(
        r#": >lock; flock lock "$RUNLOG" run --detach -- sh -c 'until test -e go; do sleep 0.01; done' >id; flock -n lock true; echo $?"#,
    );
    env.write("go", "");
    assert_eq!(output.stdout(), "0\n");
}

#[test]
fn detached_run_starts_without_proc() {
    let env = TestEnv::new();
    let output = env.sh(
        r#": >lock; unshare -m sh -c 'umount -l /proc && touch unmounted
            exec flock lock "$RUNLOG" run --detach -- sh -c "until test -e go; do sleep 0.01; done"' >id
            echo $?; flock -n lock true; echo $?"#,
    );
    if !env.exists("unmounted") {
        eprintln!(
            "skipped: /proc cannot be unmounted here: {}",
            output.stderr()
        );
        return;
    }
    env.write("go", "");
    assert_eq!(output.stdout(), "0\n0\n", "{}", output.stderr());
}

#[test]
fn missing_interpreter_and_busy_program_are_named() {
    let env = TestEnv::new();
    env.executable("job", "#!/no/such/interpreter -x\n");
    let output = env.run(&["run", "-q", "--", "./job"]);
    assert_eq!(output.code, 127);
    let stderr = output.stderr();
    assert!(stderr.contains("`/no/such/interpreter`"), "{stderr}");
    assert!(stderr.contains("first line"), "{stderr}");
    env.executable("windows", "#!/bin/sh\r\ntrue\r\n");
    let stderr = env.run(&["run", "-q", "--", "./windows"]).stderr();
    assert!(stderr.contains(r"`/bin/sh\r`"), "{stderr}");
    assert!(stderr.contains("line ends of Windows"), "{stderr}");
    let output = env.sh(r#"cp /bin/true busy; exec 9>>busy; "$RUNLOG" run -q -- ./busy"#);
    assert_eq!(output.code, 126);
    assert!(
        output.stderr().contains("open for writing"),
        "{}",
        output.stderr()
    );
}

#[test]
fn removed_working_directory_is_inherited() {
    let env = TestEnv::new();
    let output = env.sh(
        r#"mkdir gone; root=$PWD; cd gone; rmdir ../gone; "$RUNLOG" -C "$root" run -q --no-capture -- true; echo $?"#,
    );
    assert_eq!(output.stdout(), "0\n", "{}", output.stderr());
}

#[test]
fn status_names_front_and_each_supervisor() {
    let env = TestEnv::new();
    let script = "touch ready; until test -e go; do sleep 0.01; done";
    let job = env.spawn(&[
        "run", "-q", "--run", "it", "--close", "--", "sh", "-c", script,
    ]);
    env.wait_for_file("ready");
    env.wait_for("job_started");
    let mut seen = Vec::new();
    for round in 0..2 {
        let status = env.status("it");
        let supervisor = supervisors(job.pid())[0];
        assert_eq!(status["state"], "running");
        assert_eq!(status["jobs"][0]["front"]["pid"], job.pid());
        assert_eq!(status["jobs"][0]["supervisor"]["pid"], supervisor);
        let watchers = format!(
            "; it is process {supervisor}, and its front is process {}",
            job.pid()
        );
        let because = status["because"].as_str().unwrap();
        assert!(because.ends_with(&watchers), "{because}");
        seen.push(supervisor);
        if round == 0 {
            kill_supervisor(job.pid());
            env.wait_for("supervisor_replaced");
        }
    }
    assert_ne!(seen[0], seen[1]);
    env.write("go", "");
    assert_eq!(job.wait().code, 0);
    assert!(env.status("it")["jobs"][0]["front"].is_null());
}

#[test]
fn status_names_sender_of_stop_signal() {
    for (script, code) in [("exit 9", 9), ("exit 0", 0)] {
        let env = TestEnv::new();
        let script = format!("trap '{script}' TERM; touch ready; while :; do sleep 0.01; done");
        let job = env.spawn(&[
            "run", "-q", "--run", "it", "--close", "--", "sh", "-c", &script,
        ]);
        env.wait_for_file("ready");
        job.signal(Signal::TERM);
        assert_eq!(job.wait().code, code);
        let status = env.status("it");
        let sender = format!("was sent SIGTERM by process {} (uid ", std::process::id());
        let because = status["because"].as_str().unwrap();
        assert!(because.contains(&sender), "{because}");
        assert_eq!(status["jobs"][0]["stop_request"]["signal"], "SIGTERM");
    }
}

#[test]
fn writer_records_loss_of_its_log() {
    for taken in [": >F", "rm F", "mv F F.1; : >F"] {
        let env = TestEnv::new();
        let script = "touch ready; until test -e go; do sleep 0.01; done; exit 4";
        let job = env.spawn(&[
            "run", "-q", "--run", "it", "--close", "--", "sh", "-c", script,
        ]);
        env.wait_for_file("ready");
        env.wait_for("job_started");
        env.sh(&taken.replace('F', ".omne/var/runs/it/events.jsonl"));
        env.write("go", "");
        let output = job.wait();
        assert_eq!(output.code, 4, "{taken}");
        let said = "events 0 to 3 were written and are missing now";
        assert_eq!(
            output.stderr().matches(said).count(),
            1,
            "{}",
            output.stderr()
        );
        let log = fs::read_to_string(env.log_path("it")).unwrap();
        let first: serde_json::Value = serde_json::from_str(log.lines().next().unwrap()).unwrap();
        assert_eq!(first["type"], "log_repaired", "{taken}");
        assert_eq!(first["action"], "continued");
        assert_eq!(first["seq"], 4);
        assert_eq!(
            (&first["lost_first_seq"], &first["lost_last_seq"]),
            (&0.into(), &3.into())
        );
        let status = env.run(&["status", "it"]);
        assert_eq!(status.code, 5, "{taken}");
        assert!(
            status.stderr().contains("events are missing"),
            "{}",
            status.stderr()
        );
    }
}

#[test]
fn only_front_supervisor_and_job_hold_job_pipes() {
    let env = TestEnv::new();
    let script = "touch ready; until test -e go; do read -t 0.01 line; done";
    let job = env.spawn(&["run", "--run", "it", "--close", "--", "bash", "-c", script]);
    env.wait_for_file("ready");
    let pid = u32::try_from(env.wait_for("job_started")["pid"].as_u64().unwrap()).unwrap();
    for replaced in 1..=2 {
        let supervisor = supervisors(job.pid())[0];
        for fd in [1, 2] {
            let pipe = fs::read_link(format!("/proc/{pid}/fd/{fd}")).unwrap();
            let mut expected = [job.pid(), supervisor, pid];
            expected.sort_unstable();
            assert_eq!(holders(&pipe), expected, "descriptor {fd}");
        }
        kill_supervisor(job.pid());
        wait_until("another supervisor", || {
            env.events_of_type("it", "supervisor_replaced").len() == replaced
        });
    }
    env.write("go", "");
    job.end();
}

/// Returns the processes that have a file open.
fn holders(file: &std::path::Path) -> Vec<u32> {
    let name = |entry: fs::DirEntry| entry.file_name().to_str()?.parse::<u32>().ok();
    let mut pids: Vec<u32> = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| name(entry.ok()?))
        .filter(|pid| {
            let open = fs::read_dir(format!("/proc/{pid}/fd"))
                .into_iter()
                .flatten();
            open.flatten()
                .any(|fd| fs::read_link(fd.path()).is_ok_and(|target| target == file))
        })
        .collect();
    pids.sort_unstable();
    pids
}
