//! The commands in the README and the files of the guides. They are run, or validated by the
//! program that reads them.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use super::shell_commands::shell;
use super::{commands, read, root, split};

/// The programs that the pages name, with their scripts.
const PROGRAMS: [(&str, &str); 5] = [
    ("cargo", "echo compiled"),
    ("make", "echo \"made $1\"; test \"$1\" != test || exit 3"),
    ("backup.sh", "echo saved"),
    ("undo.sh", "echo undone"),
    ("e2e.sh", "echo passed"),
];

/// Creates a directory with a volume and the programs.
pub(super) fn project() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join(".omne")).unwrap();
    for (name, script) in PROGRAMS {
        write_program(&dir.path().join(name), script);
    }
    dir
}

pub(super) fn write_program(path: &Path, script: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::write(path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Runs lines of shell in `dir`, whose programs are found first. Returns the exit code and all
/// output.
pub(super) fn run(dir: &Path, lines: &str) -> (i32, String) {
    let done = shell(
        dir,
        &format!("exec 2>&1\nPATH=$PWD:$PATH HOME=$PWD\n{lines}"),
    );
    let code = done.status.code().unwrap_or(-1);
    (code, String::from_utf8_lossy(&done.stdout).into_owned())
}

#[test]
fn readme_commands_run() {
    let dir = project();
    let blocks = split(&read("README.md")).0;
    let shown = blocks.iter().filter(|block| {
        block.language == "sh" && ["Install", "Quick start"].contains(&block.heading.as_str())
    });
    let mut ran = 0;
    for command in shown.flat_map(commands) {
        // `.ci/run` builds the program. The live view needs a terminal, see the tests of
        // `status`.
        if command.starts_with("cargo") || command.contains("--watch") {
            continue;
        }
        let (code, printed) = run(dir.path(), &command);
        assert_eq!(code, 0, "{command}\n{printed}");
        ran += 1;
    }
    assert!(ran >= 12, "only {ran} commands");
}

/// Joins lines that a terminal of 80 columns has wrapped. A page has no space at the end of a
/// line.
fn unwrapped(text: &str) -> String {
    let mut joined = String::new();
    for line in text.lines() {
        let columns = line.chars().count();
        assert!(columns <= 80, "{line}");
        joined.push_str(line);
        match columns {
            80 => {}
            79 => joined.push(' '),
            _ => joined.push('\n'),
        }
    }
    joined
}

/// Puts fixed text in place of ids and process ids.
fn normalized(text: &str) -> String {
    let id = regex::Regex::new("backup-[0-9a-z]{26}").unwrap();
    let number = regex::Regex::new("(process|kill) [0-9]+").unwrap();
    let text = id.replace_all(text, "backup-ID");
    number.replace_all(&text, "$1 N").into_owned()
}

#[test]
fn readme_recovery_looks_as_shown() {
    let dir = project();
    let blocks = split(&read("README.md")).0;
    let block = blocks
        .iter()
        .find(|block| block.heading == "When a job dies")
        .unwrap();
    fs::write(dir.path().join("b.part"), "").unwrap();
    let start = "runlog run --quiet --detach --name backup --rollback 'rm -v b.part' -- sleep 1000";
    let (code, printed) = run(dir.path(), start);
    assert_eq!(code, 0, "{printed}");
    let submitted = "runlog tail backup --json -n all | grep '\"job_started\"'";
    let (_, line) = run(dir.path(), submitted);
    let started: serde_json::Value = serde_json::from_str(&line).unwrap();
    let pid = started["pid"].as_u64().unwrap();
    // The parent of the job and its parent are the two processes of runlog. Neither sees the
    // other one die.
    let kill_both = format!(
        "s=$(ps -o ppid= -p {pid}); f=$(ps -o ppid= -p $s); kill -STOP $f; kill -9 $s $f; \
         while kill -0 $f || kill -0 $s; do sleep 0.01; done"
    );
    run(dir.path(), &kill_both);
    let mut shown = String::new();
    for command in commands(block) {
        let typed = match command.strip_prefix("kill ") {
            Some(_) => format!("kill {pid}; while kill -0 {pid} 2>/dev/null; do sleep 0.01; done"),
            None => command.clone(),
        };
        let (_, printed) = run(dir.path(), &typed);
        writeln!(shown, "$ {command}").unwrap();
        shown.push_str(&printed);
    }
    assert_eq!(normalized(&shown), normalized(&unwrapped(&block.text)));
}

/// Commands that fail for the reasons in the table of the operations guide. `None` for what
/// `readme_recovery_looks_as_shown` and the tests of `run` cover.
const FAILURES: [(&str, Option<&str>); 21] = [
    ("exited with code", Some("runlog run -n it false")),
    (
        "ran longer than",
        Some("runlog run -n it --timeout 10ms sleep 60"),
    ),
    ("memory ran out", None),
    (
        "it was killed by SIGKILL",
        Some("runlog run -n it sh -c 'kill -KILL $$'"),
    ),
    (
        "was sent SIGTERM by process",
        Some("runlog run --detach -n it sleep 60; runlog stop it"),
    ),
    ("arrived before attempt", None),
    (
        "it was killed by SIGHUP",
        Some("runlog run -n it sh -c 'kill -HUP $$'"),
    ),
    (
        "it was killed by SIGPIPE",
        Some("runlog run -n it yes | head -n 1"),
    ),
    (
        "Exec format error",
        Some("printf '\\177ELF' >it; chmod +x it; runlog run -n it ./it"),
    ),
    // A test of `spawn_error` covers it.
    ("loader not found", None),
    (
        "command not found",
        Some("runlog run -n it no-such-command"),
    ),
    ("is not executable", Some("runlog run -n it /etc/passwd")),
    (
        "required probe",
        Some("runlog run -n it --probe db=file:no-such-file --require db true"),
    ),
    ("runlog was killed", None),
    (
        "(--fail-if-shorter)",
        Some("runlog run -n it --fail-if-shorter 1h true"),
    ),
    (
        "(--fail-if-longer)",
        Some("runlog run -n it --fail-if-longer 1ms sleep 0.1"),
    ),
    (
        "cannot enter working directory",
        Some("runlog run -n it --cwd no-such-directory true"),
    ),
    // An idle machine has a load of 0.
    ("the load average is", None),
    (
        "bytes are free",
        Some("runlog run -n it --require-free-disk 1000T true"),
    ),
    (
        "bytes of memory are available",
        Some("runlog run -n it --require-free-mem 1000T true"),
    ),
    ("its supervisor died", None),
];

#[test]
fn operations_reasons_are_reported() {
    let guide = read("docs/guides/operations.md");
    let (_, section) = guide.split_once("## Why did it fail?\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let cells = section.lines().filter_map(|line| line.split('|').nth(1));
    let reasons = cells
        .skip(2)
        .flat_map(|cell| cell.split('`').skip(1).step_by(2));
    let expected = FAILURES.iter().map(|(reason, _)| *reason);
    assert!(reasons.eq(expected), "the table has other reasons");
    for (reason, command) in FAILURES {
        let Some(command) = command else { continue };
        let dir = project();
        run(dir.path(), command);
        let (_, because) = run(dir.path(), "runlog status it | grep ^because");
        assert!(because.contains(reason), "{command}\n{because}");
    }
}

/// Returns the shell of a step: what follows `key: ` on a line, or the block below it.
fn steps(page: &str, key: &str) -> Vec<String> {
    let lines: Vec<&str> = page.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(step) = line.trim_start_matches([' ', '-']).strip_prefix(key) else {
            continue;
        };
        if step != "|" {
            found.push(step.to_owned());
            continue;
        }
        let indent = |line: &str| line.len() - line.trim_start().len();
        let below = lines.iter().skip(at + 1).copied();
        let block: Vec<&str> = below.take_while(|l| indent(l) > indent(line)).collect();
        found.push(block.join("\n"));
    }
    found
}

#[test]
fn github_workflow_closes_failed_run() {
    let dir = project();
    let page = read("docs/guides/files/github-actions.yml");
    let steps = steps(&page, "run: ");
    let [install, build, test, close] = steps.as_slice() else {
        panic!("{steps:?}")
    };
    let set = "set -e\nRUN=build-7-1\n";
    assert_eq!(run(dir.path(), &format!("{set}{install}")).0, 0);
    assert_eq!(run(dir.path(), &format!("{set}{build}")).0, 0);
    assert_eq!(run(dir.path(), &format!("{set}{test}")).0, 3);
    let (code, printed) = run(dir.path(), &format!("{set}{close}"));
    assert_eq!(code, 0, "{printed}");
    assert!(
        printed.contains("::error title=build-7-1 job test failed::"),
        "{printed}"
    );
    let (code, _) = run(dir.path(), "runlog status build-7-1 --wait");
    assert_eq!(code, 1);
}

/// The runner sends SIGINT only to the shell of a step.
#[test]
fn github_cancellation_ends_job() {
    let dir = project();
    // flock creates the file.
    write_program(&dir.path().join("make"), "exec flock started sleep 60");
    let page = read("docs/guides/files/github-actions.yml");
    let steps = steps(&page, "run: ");
    let [_, build, _, close] = steps.as_slice() else {
        panic!("{steps:?}")
    };
    fs::write(dir.path().join("step.sh"), build).unwrap();
    let set = "export RUN=build-7-1\n";
    let cancel = "env --default-signal bash -e step.sh & step=$!
        while ! test -e started; do sleep 0.01; done
        kill -INT $step; wait $step";
    let (code, printed) = run(dir.path(), &format!("{set}{cancel}"));
    assert_eq!(code, 130, "{printed}");
    let (code, printed) = run(dir.path(), &format!("{set}set -e\n{close}"));
    assert_eq!(code, 0, "{printed}");
    assert!(
        printed.contains("::error title=build-7-1 job build failed::it was killed by SIGINT"),
        "{printed}"
    );
}

/// Returns the items of a list of GitLab below `key`.
fn items(page: &str, key: &str) -> String {
    let below = page.lines().skip_while(|line| line.trim() != key).skip(1);
    let block = below.take_while(|line| line.starts_with("    "));
    let items = block.filter_map(|line| line.trim().strip_prefix("- "));
    items.collect::<Vec<_>>().join("\n")
}

#[test]
fn gitlab_job_closes_failed_run() {
    let dir = project();
    let page = read("docs/guides/files/gitlab-ci.yml");
    let set = "set -e\nCI_PIPELINE_ID=7 CI_JOB_ID=1\n";
    let (code, printed) = run(dir.path(), &format!("{set}{}", items(&page, "script:")));
    assert_eq!(code, 3, "{printed}");
    let (code, printed) = run(
        dir.path(),
        &format!("{set}{}", items(&page, "after_script:")),
    );
    assert_eq!(code, 0, "{printed}");
    let report = fs::read_to_string(dir.path().join("junit.xml")).unwrap();
    assert!(report.contains("failures=\"1\""), "{report}");
    let (code, _) = run(dir.path(), "runlog status build-7-1 --wait");
    assert_eq!(code, 1);
}

#[test]
fn crontab_of_guide_runs() {
    let dir = project();
    let table = read("docs/guides/files/crontab");
    let guide = read("docs/guides/cron-and-systemd.md");
    assert!(guide.contains(&table));
    let blocks = split(&guide).0;
    let settings = blocks
        .iter()
        .find(|block| block.language == "toml")
        .unwrap();
    fs::create_dir_all(dir.path().join(".omne/lib/cfg")).unwrap();
    fs::write(dir.path().join(".omne/lib/cfg/runlog.toml"), &settings.text).unwrap();
    let entries = table.lines().filter(|line| line.contains("  runlog "));
    let mut ran = 0;
    for entry in entries {
        let (_, command) = entry.split_once("  runlog ").unwrap();
        let here = dir.path().to_str().unwrap();
        let command = command
            .replace("/srv/app", here)
            .replace("/var/lib/node_exporter", here);
        let (code, printed) = run(dir.path(), &format!("runlog {command}"));
        assert_eq!(code, 0, "{command}\n{printed}");
        ran += 1;
    }
    assert_eq!(ran, 4);
}

#[test]
fn systemd_units_are_valid() {
    if Command::new("systemd-analyze")
        .arg("--version")
        .output()
        .is_err()
    {
        println!("skipped: the units need systemd-analyze, which is not installed");
        return;
    }
    let dir = project();
    write_program(&dir.path().join("runlog"), "exit 0");
    let here = dir.path().to_str().unwrap();
    let mut units = Vec::new();
    for name in ["backup.service", "backup.timer"] {
        let unit = read(&format!("docs/guides/files/{name}"));
        let unit = unit.replace("/usr/bin", here).replace("/srv/app", here);
        units.push(dir.path().join(name));
        fs::write(dir.path().join(name), unit).unwrap();
    }
    let checked = Command::new("systemd-analyze")
        .arg("verify")
        .args(&units)
        .output()
        .unwrap();
    assert!(
        checked.status.success() && checked.stderr.is_empty(),
        "{checked:?}"
    );
}

#[test]
fn workflows_are_yaml() {
    let python = std::env::var("RUNLOG_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let check = |script: &str| {
        Command::new(&python)
            .args(["-c", script])
            .current_dir(root())
            .output()
    };
    if !check("import yaml").is_ok_and(|done| done.status.success()) {
        println!("skipped: the workflows need PyYAML, which is not installed");
        return;
    }
    for name in ["github-actions.yml", "gitlab-ci.yml"] {
        let script = format!("import yaml; yaml.safe_load(open('docs/guides/files/{name}'))");
        let checked = check(&script).unwrap();
        assert!(checked.status.success(), "{checked:?}");
    }
}
