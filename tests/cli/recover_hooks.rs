//! `replay --recover --with-hooks`: hooks of lost jobs.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};

use crate::support::env::{TestEnv, pid_of, wait_until};

/// Runs a job in a run with this name and these options, and kills the job and both runlog
/// processes.
fn lose(env: &TestEnv, name: &str, options: &[&str]) -> String {
    let id = job_id(env);
    let run = [&["run", "-q", "--run", name, "--job", &id], options].concat();
    let job = env.spawn(&[&run[..], &["--", "sh", "-c", ": >up; exec sleep 1000"]].concat());
    env.wait_for_file("up");
    wait_until("the start of the job", || {
        env.types(name).contains(&"job_started".to_owned())
    });
    let pid = env.events_of_type(name, "job_started")[0]["pid"]
        .as_i64()
        .unwrap();
    job.kill_both();
    kill_process(pid_of(pid), Signal::KILL).unwrap();
    job.wait();
    wait_until_dead(env, name);
    fs::remove_file(env.path("up")).unwrap();
    name.to_owned()
}

/// Returns an ID that no other test uses: processes of a job are found by run and job.
fn job_id(env: &TestEnv) -> String {
    let dir = env.root().parent().unwrap().file_name().unwrap();
    dir.to_str().unwrap().replace('.', "j")
}

/// Waits until all processes of the job are gone, which takes the kernel a moment.
fn wait_until_dead(env: &TestEnv, run: &str) {
    wait_until("all processes of the job are dead", || {
        let plan = env.run(&["replay", "--recover", "--dry-run", run]);
        plan.stdout().contains("would end job")
    });
}

fn recover(env: &TestEnv, options: &[&str]) -> Vec<Value> {
    let args = ["replay", "--recover", "--with-hooks", "--json"];
    env.json_lines(&[&args[..], options].concat())
}

#[test]
fn hooks_of_lost_job_run_once_after_the_close() {
    let env = TestEnv::new();
    let failure =
        "cat >status; echo $RUNLOG_STATE $RUNLOG_EXIT_CODE $RUNLOG_JOB_ID >>hooks; exit 3";
    let options = ["--on-success", "touch wrong", "--on-failure", failure];
    lose(
        &env,
        "it",
        &[&options[..], &["--on-end", "echo end >>hooks"]].concat(),
    );
    let plan = env.ok(&["replay", "--recover", "--with-hooks", "--dry-run", "it"]);
    assert!(
        plan.stdout().contains(", and run its hooks\n"),
        "{}",
        plan.stdout()
    );
    assert!(!env.exists("hooks"));
    let reports = recover(&env, &["it"]);
    assert_eq!(
        reports[0]["hooks"],
        json!([
            {"job_id": job_id(&env), "hook": "on_failure", "error": "it exited with code 3"},
            {"job_id": job_id(&env), "hook": "on_end", "error": null},
        ])
    );
    let ran = format!("failed 125 {}\nend\n", job_id(&env));
    assert_eq!(fs::read_to_string(env.path("hooks")).unwrap(), ran);
    let status: Value = serde_json::from_slice(&fs::read(env.path("status")).unwrap()).unwrap();
    assert_eq!(
        (&status["run_id"], &status["state"]),
        (&json!("it"), &json!("failed"))
    );
    let types = env.types("it");
    assert_eq!(
        types[types.len() - 3..],
        ["run_closed", "hook_ended", "hook_ended"]
    );
    assert_eq!(recover(&env, &["it"])[0]["hooks"], json!([]));
    assert_eq!(recover(&env, &["--all"]), [] as [Value; 0]);
    assert_eq!(fs::read_to_string(env.path("hooks")).unwrap(), ran);
    assert!(!env.exists("wrong"));
    env.ok(&["replay", "--verify", "it"]);
}

#[test]
fn hooks_run_only_if_requested() {
    let env = TestEnv::new();
    lose(&env, "it", &["--on-end", "touch hooked"]);
    env.ok(&["replay", "--recover", "it"]);
    assert!(!env.exists("hooked"));
    let output = env.run(&["replay", "--with-hooks", "it"]);
    assert_eq!(output.code, 2);
}

#[test]
fn hooks_run_after_earlier_recovery_without_them() {
    let env = TestEnv::new();
    let end = ["--on-failure", "exit 3", "--on-end", "echo end >>hooks"];
    lose(&env, "it", &end);
    lose(&env, "plain", &["--on-success", "echo wrong >>hooks"]);
    env.ok(&["replay", "--recover", "--all"]);
    // Hooks of the settings are for jobs that recorded none when they are recovered.
    fs::create_dir_all(env.path(".omne/lib/cfg")).unwrap();
    env.write(
        ".omne/lib/cfg/runlog.toml",
        "[hooks]\non_end = \"echo wrong >>hooks\"\n",
    );
    let plan = ["replay", "--recover", "--with-hooks", "--dry-run", "--all"];
    let plan = env.ok(&plan).stdout();
    let due = format!(
        "it  would run the hooks of job {}, which was lost\n",
        job_id(&env)
    );
    assert_eq!(plan, due);
    assert!(!env.exists("hooks"));
    let reports = recover(&env, &["--all"]);
    assert_eq!(reports.len(), 1);
    assert_eq!(reports[0]["action"], "none");
    assert_eq!(reports[0]["hooks"][0]["error"], "it exited with code 3");
    assert_eq!(reports[0]["hooks"][1]["error"], Value::Null);
    assert_eq!(recover(&env, &["--all"]), [] as [Value; 0]);
    let told = env
        .ok(&["replay", "--recover", "--with-hooks", "it"])
        .stdout();
    assert!(told.contains("nothing to recover"), "{told}");
    assert_eq!(fs::read_to_string(env.path("hooks")).unwrap(), "end\n");
    env.ok(&["replay", "--verify", "it"]);
}

#[test]
fn only_hooks_without_recorded_end_run_later() {
    let env = TestEnv::new();
    let mark = |name: &str| format!("echo {name} >>hooks; test ! -e stop || kill -9 $PPID");
    let (failure, end) = (mark("failure"), mark("end"));
    lose(&env, "it", &["--on-failure", &failure, "--on-end", &end]);
    env.write("stop", "");
    let killed = env.run(&["replay", "--recover", "--with-hooks", "it"]);
    assert_eq!(killed.code, 1009);
    fs::remove_file(env.path("stop")).unwrap();
    let reports = recover(&env, &["it"]);
    assert_eq!(reports[0]["hooks"].as_array().unwrap().len(), 2);
    let ran = fs::read_to_string(env.path("hooks")).unwrap();
    assert_eq!(ran, "failure\nfailure\nend\n");
}

#[test]
fn job_without_recorded_hooks_uses_settings() {
    let env = TestEnv::new();
    lose(&env, "plain", &[]);
    lose(&env, "own", &["--on-end", "echo own >>hooks"]);
    fs::create_dir_all(env.path(".omne/lib/cfg")).unwrap();
    env.write(
        ".omne/lib/cfg/runlog.toml",
        "[hooks]\non_end = \"echo $RUNLOG_RUN_ID >>hooks\"\n",
    );
    assert_eq!(recover(&env, &["--all"]).len(), 2);
    let ran = fs::read_to_string(env.path("hooks")).unwrap();
    let mut ran: Vec<_> = ran.lines().collect();
    ran.sort_unstable();
    assert_eq!(ran, ["own", "plain"]);
}

#[test]
fn masked_hook_is_recorded_and_not_run() {
    let env = TestEnv::new();
    lose(
        &env,
        "it",
        &["--redact", "hunter2", "--on-end", "touch hunter2"],
    );
    let reports = recover(&env, &["it"]);
    let why = "it was not run: its recorded command contains masked secrets";
    assert_eq!(reports[0]["hooks"][0]["error"], why);
    let event = env.events_of_type("it", "hook_ended").remove(0);
    assert_eq!(
        event["error"],
        json!({"kind": "not_executable", "message": why})
    );
    assert!(!env.exists("***") && !env.exists("hunter2"));
}

#[test]
fn hooks_from_log_others_can_write_do_not_run() {
    let env = TestEnv::new();
    lose(&env, "it", &["--on-end", "touch hooked"]);
    env.ok(&["run", "-q", "--run", "done", "--close", "true"]);
    for run in ["it", "done"] {
        fs::set_permissions(env.run_dir(run), PermissionsExt::from_mode(0o777)).unwrap();
    }
    let output = env.run(&["replay", "--recover", "--with-hooks", "--all"]);
    assert_eq!(output.code, 1);
    let said = output.stderr();
    assert!(
        said.contains("error: run it: refusing to run recorded commands"),
        "{said}"
    );
    assert!(!said.contains("run done"), "{said}");
    assert_eq!(env.status("it")["state"], "lost");
    assert!(!env.exists("hooked"));
}

#[test]
fn hook_runs_in_the_directory_of_its_job() {
    let env = TestEnv::new();
    fs::create_dir(env.path("dir")).unwrap();
    // The job itself also runs in `dir`.
    let script = ": >../up; exec sleep 1000";
    let run = [
        "run",
        "-q",
        "--run",
        "it",
        "--cwd",
        "dir",
        "--on-end",
        "pwd >../hooked",
    ];
    let job = env.spawn(&[&run[..], &["--", "sh", "-c", script]].concat());
    let pid = env.wait_for("job_started")["pid"].as_i64().unwrap();
    env.wait_for_file("up");
    job.kill_both();
    kill_process(pid_of(pid), Signal::KILL).unwrap();
    job.wait();
    wait_until_dead(&env, "it");
    recover(&env, &["it"]);
    let hooked = fs::read_to_string(env.path("hooked")).unwrap();
    assert_eq!(hooked, format!("{}\n", env.path("dir").display()));
}

#[test]
fn hooks_do_not_run_again_over_damage() {
    let env = TestEnv::new();
    lose(&env, "it", &["--on-end", "echo end >>hooks"]);
    recover(&env, &["it"]);
    let log = fs::read_to_string(env.log_path("it")).unwrap();
    fs::write(env.log_path("it"), log.replace("hook_ended", "hook_endeD")).unwrap();
    let args = ["replay", "--recover", "--with-hooks", "it"];
    let output = env.run(&args);
    assert_eq!(output.code, 5, "{}", output.stdout());
    assert!(output.stderr().contains("events may be missing"));
    let ran = || fs::read_to_string(env.path("hooks")).unwrap();
    assert_eq!(ran(), "end\n");
    assert_eq!(env.run(&[&args[..], &["--force"]].concat()).code, 5);
    assert_eq!(ran(), "end\nend\n");
}
