//! `runlog tail --output` of several runs, and with times.

use crate::gc::ended;
use crate::support::crash::{has_strace, run_with_fault};
use crate::support::env::{Background, TestEnv};

/// Creates the finished runs `one` and `two`.
fn two_runs() -> TestEnv {
    let env = TestEnv::new();
    // Both streams are pipes. Each line is stored before the next one is printed.
    let stored = "until grep -q $1 \"$RUNLOG_JOB_VOLUME/.omne/var/runs/one/jobs/sh.out\"; do sleep 0.01; done";
    let script = format!(
        "stored() {{ {stored}; }}; stored out; echo err >&2; stored err; printf unfinished"
    );
    ended(&env, "one", &script);
    ended(&env, "two", "true");
    env
}

fn printed(env: &TestEnv, args: &[&str]) -> String {
    let args: Vec<_> = ["tail", "--output"].iter().chain(args).copied().collect();
    env.ok(&args).stdout()
}

#[test]
fn lines_of_several_runs_start_with_run_and_job() {
    let env = two_runs();
    let all = "one/sh | out\none/sh | err\none/sh | unfinished\ntwo/sh | out\n";
    assert_eq!(printed(&env, &["one", "two"]), all);
    assert_eq!(printed(&env, &["--all"]), all);
    // All runs have ended, so there is nothing to wait for.
    assert_eq!(printed(&env, &["-f", "one", "two", "one"]), all);
    assert_eq!(
        printed(&env, &["--all", "-n", "1", "--stream", "stdout"]),
        "one/sh | unfinished\ntwo/sh | out\n"
    );
    assert_eq!(
        env.run(&["tail", "--output", "--all", "--job", "x"]).code,
        3
    );
    assert_eq!(env.run(&["tail", "--output", "one", "other"]).code, 3);
    let colored = printed(&env, &["--all", "--color", "always"]);
    assert!(
        colored.contains("\x1b[36mone/sh |\x1b[0m out\n"),
        "{colored}"
    );
    assert!(colored.contains("\x1b[31merr\x1b[0m\n"), "{colored}");
    assert!(
        colored.contains("\x1b[33mtwo/sh |\x1b[0m out\n"),
        "{colored}"
    );
}

#[test]
fn output_is_selected_by_time() {
    let env = two_runs();
    let index = env.run_dir("one").join("jobs/sh.out.idx");
    let index = std::fs::read_to_string(index).unwrap();
    let first: serde_json::Value = serde_json::from_str(index.lines().next().unwrap()).unwrap();
    let first = first["ts"].as_str().unwrap();
    let stamped = printed(&env, &["-t", "one"]);
    assert!(stamped.starts_with(&format!("{first} out\n")), "{stamped}");
    assert_eq!(stamped.lines().count(), 3);
    assert!(
        stamped
            .lines()
            .all(|line| line.split(' ').next().unwrap().ends_with('Z'))
    );
    assert_eq!(
        printed(&env, &["one", "--until", first]).lines().next(),
        Some("out")
    );
    assert_eq!(printed(&env, &["one", "--until", "2001-01-01"]), "");
    assert_eq!(
        printed(&env, &["one", "--since", "2001-01-01"]),
        "out\nerr\nunfinished"
    );
    assert_eq!(printed(&env, &["--all", "--since", "2101-01-01"]), "");
}

#[test]
fn following_until_past_time_ends() {
    let env = TestEnv::new();
    let job = env.spawn(&["run", "--run", "live", "--", "cat"]);
    env.wait_for("job_started");
    assert_eq!(printed(&env, &["-f", "live", "--until", "2001-01-01"]), "");
    job.end();
}

#[test]
fn incomplete_output_is_named_everywhere() {
    let env = TestEnv::new();
    let job = ["run", "-q", "--capture-limit", "10", "--streams", "merged"];
    env.ok(&[&job[..], &["--run", "it", "--", "seq", "100"]].concat());
    env.ok(&["run", "--run", "it", "--close"]);
    let truncated = "job seq: the output is stored only up to the capture limit\n";
    let hint = "hint: stdout and stderr went to the same place and are stored as one stream; add \
                `--stream both`\n";
    for command in [
        &["tail", "it", "--output"][..],
        &["tail", "it", "--output", "-f"],
        &["tail", "it", "--output", "-t"],
        &["tail", "it", "--output", "-t", "-f"],
        &["tail", "it", "--output", "--grep", "50"],
        &["replay", "it", "--output"],
    ] {
        let stderr = |more: &[&str]| env.run(&[command, more].concat()).stderr();
        assert_eq!(stderr(&[]), truncated, "{command:?}");
        let both = format!("{truncated}{hint}");
        assert_eq!(stderr(&["--stream", "stderr"]), both, "{command:?}");
        if !command.contains(&"--grep") {
            let output = env.run(&[command, &["--job", "other"]].concat());
            assert_eq!(output.code, 3, "{command:?}");
            assert!(output.stderr().contains("no job other"), "{command:?}");
        }
    }
}

#[test]
fn following_all_includes_new_runs() {
    let env = two_runs();
    let mut tail = env.spawn(&["tail", "-f", "--all", "--output", "-n", "0"]);
    let mut job = env.spawn(&["run", "--run", "new", "--", "cat"]);
    job.write(b"hello\n");
    let read = |tail: &mut Background| String::from_utf8(tail.read_line()).unwrap();
    assert_eq!(read(&mut tail).trim_end(), "new/cat | hello");
    job.write(b"again\n");
    assert_eq!(read(&mut tail).trim_end(), "new/cat | again");
    job.end();
    tail.signal(rustix::process::Signal::TERM);
    tail.end();
}

#[test]
fn unreadable_output_is_named_and_others_are_shown() {
    let env = two_runs();
    if !has_strace(&env) {
        return;
    }
    let out = env.run_dir("one").join("jobs/sh.out");
    let options = ["-P", out.to_str().unwrap()];
    let read = |args: &[&str]| run_with_fault(&env, &options, "pread64:error=EIO", args);
    let path = format!("cannot read `{}`: Input/output error", out.display());

    let one = read(&["tail", "--output", "one"]);
    assert_eq!(one.code, 7);
    assert!(one.stderr().contains(&path), "{}", one.stderr());
    let all = read(&["tail", "--output", "--all"]);
    assert_eq!(all.code, 7);
    assert_eq!(all.stdout(), "two/sh | out\n");
    assert!(all.stderr().contains(&path), "{}", all.stderr());
    let found = read(&["tail", "--output", "--all", "--grep", "out"]);
    assert_eq!(found.code, 7);
    assert!(found.stdout().contains("two"), "{}", found.stdout());
    assert!(found.stderr().contains(&path), "{}", found.stderr());
}
