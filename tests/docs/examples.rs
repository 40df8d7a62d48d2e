//! The examples in the help of each command, which are run in a volume with a few runs.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

/// Programs that the examples name.
const PROGRAMS: [&str; 3] = ["make", "backup.sh", "server.sh"];

/// Returns the commands of the examples in a help text.
fn commands(help: &str) -> Vec<&str> {
    help.lines().skip(1).map(str::trim).collect()
}

/// Runs a line of shell in `dir`, with `runlog` and the programs of the examples.
fn shell(dir: &Path, line: &str) -> Output {
    let runlog = Path::new(env!("CARGO_BIN_EXE_runlog")).parent().unwrap();
    let path = format!("{}:{}:/usr/bin:/bin", runlog.display(), dir.display());
    Command::new("sh")
        .args(["-c", line])
        .current_dir(dir)
        .env_clear()
        .env("PATH", path)
        .env("HOME", dir)
        .env("DESTDIR", dir)
        .env("RUNLOG_VOLUME", dir)
        .env("RUNLOG_RUN_ID", "release-7")
        .output()
        .unwrap()
}

/// Creates a volume with the runs that the examples name.
fn volume() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for program in PROGRAMS {
        let path = dir.path().join(program);
        fs::write(&path, "#!/bin/sh\necho it works\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::create_dir_all(dir.path().join(".omne/lib/cfg")).unwrap();
    let settings = dir.path().join(".omne/lib/cfg/runlog.toml");
    fs::write(settings, "[gc]\nmax_age = \"30d\"\n").unwrap();
    for line in [
        "runlog run -q -n build make",
        "runlog run -q -n build make",
        "runlog run -q --run collector make",
        "runlog run -q --run release-7 make",
    ] {
        let output = shell(dir.path(), line);
        assert!(output.status.success(), "{line}: {output:?}");
    }
    dir
}

#[test]
fn examples_of_help_run() {
    let cli = runlog::cli::Cli::description();
    let typed = cli.get_subcommands().filter(|c| !c.is_hide_set());
    let has_man = Command::new("man").arg("--version").output().is_ok();
    for command in typed.chain([&cli]) {
        let name = command.get_name();
        let help = command.get_before_long_help().map(ToString::to_string);
        let help = help.unwrap_or_else(|| panic!("the help of {name} has no examples"));
        let examples = commands(&help);
        assert!((3..=6).contains(&examples.len()), "{name}: {examples:?}");
        let volume = volume();
        for example in examples {
            if example.contains("man ./") && !has_man {
                println!("skipped: {example} needs man, which is not installed");
                continue;
            }
            assert!(example.chars().count() <= 78, "{example}");
            let output = shell(volume.path(), example);
            assert!(output.status.success(), "{example}: {output:?}");
        }
    }
}
