//! The shell commands in the guides and in the page of exports, which are run one after the other
//! in a volume with the runs that they name.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use super::guides::{project, run, write_program};
use super::{Block, commands, read, split};

/// The pages with commands, except those that other tests run: the README, `recipes.md` and
/// `fleet.md`.
const PAGES: [&str; 6] = [
    "docs/exports.md",
    "docs/guides/ci.md",
    "docs/guides/coding-agents.md",
    "docs/guides/cron-and-systemd.md",
    "docs/guides/operations.md",
    "docs/guides/shipping-logs.md",
];

/// The programs that the commands name, in addition to those of every project.
const PROGRAMS: [(&str, &str); 8] = [
    ("backup.sh", "echo 'disk quota exceeded' >&2"),
    ("collect.sh", "echo collected"),
    // The collector of OpenTelemetry; `export_readers` tests that command against a server.
    ("curl", "cat >/dev/null"),
    ("deploy.sh", "echo deployed"),
    ("e2e.sh", "runlog emit ready"),
    ("make", "echo made"),
    ("migrate.sh", "echo migrated"),
    ("serve.sh", "runlog emit ready"),
];

/// The runs that the commands name. The last one is `latest`.
const RUNS: [&str; 3] = [
    "runlog run -q --run backup-01m80st4a6h3yhpxnr28e06amp --close -- ./backup.sh",
    "runlog run -q --run test-01m80st4a6h3yhpxnr28e06amq --close -- ./backup.sh",
    "runlog run -q --name backup -- ./backup.sh",
];

/// Exit codes other than 0, by a part of the command: nothing was found, and nothing new came.
const EXIT_CODES: [(&str, i32); 2] = [("oom_kills", 1), ("--all -f", 4)];

/// Returns the commands of a block. Lines that the shell parses only together are one command.
fn complete_commands(block: &Block) -> Vec<String> {
    let mut complete = Vec::new();
    let mut command = String::new();
    for line in commands(block) {
        command.push_str(&line);
        let parsed = Command::new("sh").args(["-n", "-c", &command]).output();
        if parsed.unwrap().status.success() {
            complete.push(std::mem::take(&mut command));
        } else {
            command.push('\n');
        }
    }
    assert!(command.is_empty(), "{command}");
    complete
}

/// Returns a command that ends, and writes only below `dir`.
fn adapted(command: &str, dir: &Path) -> String {
    command
        .replace("/var/lib/node_exporter", dir.to_str().unwrap())
        .replace("--all -f", "--all -f --timeout 1ms")
}

fn run_page(page: &str) -> usize {
    let dir = project();
    for (name, script) in PROGRAMS {
        write_program(&dir.path().join(name), script);
    }
    for start in RUNS {
        let (code, printed) = run(dir.path(), start);
        assert_eq!(code, 0, "{start}\n{printed}");
    }
    let blocks = split(&read(page)).0;
    let mut ran = 0;
    for block in blocks.iter().filter(|block| block.language == "sh") {
        if block.heading == "Stopping it" {
            run(dir.path(), "runlog run -q --detach -n build sleep 1000");
        }
        for command in complete_commands(block) {
            // The live view needs a terminal, see the tests of `status`.
            if command.contains("--watch") {
                continue;
            }
            let expected = EXIT_CODES.iter().find(|(part, _)| command.contains(part));
            let (code, printed) = run(dir.path(), &adapted(&command, dir.path()));
            assert_eq!(
                code,
                expected.map_or(0, |(_, code)| *code),
                "{page}: {command}\n{printed}"
            );
            if command.contains("--detach") {
                // Later commands compare the newest run with one that has ended.
                run(dir.path(), "runlog status --wait latest");
            }
            ran += 1;
        }
    }
    ran
}

#[test]
fn guide_commands_run() {
    if Command::new("jq").arg("--version").output().is_err() {
        println!("skipped: the commands need jq, which is not installed");
        return;
    }
    // The probe of a database needs a port that is open, by whichever program.
    let _database = TcpListener::bind("127.0.0.1:5432");
    let ran: usize = PAGES.iter().map(|page| run_page(page)).sum();
    assert!(ran >= 50, "only {ran} commands");
}

#[test]
fn every_page_with_commands_is_run() {
    let elsewhere = ["README.md", "docs/recipes.md", "docs/fleet.md"];
    for path in super::pages() {
        let name = path.strip_prefix(super::root()).unwrap().to_str().unwrap();
        let (blocks, _) = split(&fs::read_to_string(&path).unwrap());
        let has_commands = blocks.iter().any(|block| block.language == "sh");
        assert!(
            !has_commands || PAGES.contains(&name) || elsewhere.contains(&name),
            "the commands of {name} are not run"
        );
    }
}
