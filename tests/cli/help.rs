//! The help of each command, at a width of 100.

use insta::assert_snapshot;

use crate::env::TestEnv;

/// The long help of a command.
fn help(args: &[&str]) -> String {
    let args: Vec<_> = args.iter().copied().chain(["--help"]).collect();
    TestEnv::new().ok(&args).stdout()
}

#[test]
fn of_runlog() {
    assert_snapshot!(help(&[]), @"
    Wrap a command, keep a crash-safe log of what happened to it, and answer questions about it

    Usage: runlog [OPTIONS] <COMMAND>

    Commands:
      run          Run a command and log what happens to it
      status       Show the runs of the volume, or one run in detail
      tail         Show the last events of a run, or what its jobs printed
      emit         Add a note to a run, from inside a job or from outside
      completions  Print a completion script for a shell
      help         Print this message or the help of the given subcommand(s)

    Options:
      -h, --help     Print help
      -V, --version  Print version

    Global:
      -C, --volume <DIR>  The folder that has `.omne` [default: RUNLOG_VOLUME, or the nearest one
                          upwards]
          --color <WHEN>  When to use colours [default: auto] [possible values: auto, always, never]
    ");
}

#[test]
fn of_run() {
    assert_snapshot!(help(&["run"]), @"
    Run a command and log what happens to it

    The command's stdin, output, signals and exit code are passed through. Without --run the command
    gets a run of its own, which is closed with it.

    Exit codes: the command's own; 128+N if signal N ended it; 124 time-out; 125 runlog failed before
    the start; 126 the command may not be executed; 127 no such command; 2 wrong arguments.

    Usage: runlog run [OPTIONS] -- COMMAND [ARGS]…
           runlog run --run ID --close

    Arguments:
      [COMMAND]...
              The command and its arguments

    Options:
      -h, --help
              Print help (see a summary with '-h')

    Run:
      -n, --name <NAME>
              Name of the run [default: that of the program]

          --run <ID>
              Join or open the run ID, which stays open for more jobs until it is closed

          --close
              Close the run (after the command, if one is given)

          --job <ID>
              Id of the job in its run [default: the name of the run, or with --run of the program]

          --id-file <FILE>
              Write the id of the run to a file

          --detach
              Start in the background, in a session of its own, and print the id of the run

          --force
              Also append to a run that another program began

    Job:
          --input <KEY=VALUE>
              Record a value that the job works on

          --label <KEY=VALUE>
              Record a label

          --cwd <DIR>
              Run in this folder

          --env <KEY=VALUE>
              Set a variable for the job; only its name is recorded

          --record-env
              Record the values of --env too

          --redact <PATTERN|ENV:NAME>
              Mask in events and captured output: a regular expression, or the value of a variable

    Supervision:
          --timeout <DURATION>
              Stop an attempt after this time (SIGTERM, then SIGKILL)

          --kill-after <DURATION>
              Time from SIGTERM to SIGKILL
              
              [default: 10s]

          --retries <N>
              Try a failed command again, so many times
              
              [default: 0]

          --retry-delay <DURATION>
              Pause before it is tried again
              
              [default: 1s]

          --rollback <CMD>
              Run this with `sh -c` if the job fails or is interrupted

          --sample <DURATION>
              Record what the job's processes use, at this interval

          --require-free-disk <SIZE>
              Start only if so much disk is free where the log is

          --require-free-mem <SIZE>
              Start only if so much memory is available

          --max-load <N>
              Start only if the load of the last minute is not higher

    Output:
      -q, --quiet
              Store the output without passing it on, and do not print the id of the run

          --no-capture
              Do not store the output

          --capture-limit <SIZE>
              Store no more than so much output

    Global:
      -C, --volume <DIR>
              The folder that has `.omne` [default: RUNLOG_VOLUME, or the nearest one upwards]

          --color <WHEN>
              When to use colours
              
              [default: auto]
              [possible values: auto, always, never]
    ");
}

#[test]
fn of_status() {
    assert_snapshot!(help(&["status"]), @"
    Show the runs of the volume, or one run in detail

    RUN is an id, the beginning of one, or `latest`.

    Exit codes: 0 fine; 2 wrong arguments; 3 no such volume or run; 5 damage in the log; 7 I/O. With
    --wait: 0 the run completed; 1 it failed, is lost or unknown; 4 the wait is over.

    Usage: runlog status [OPTIONS] [RUN]

    Arguments:
      [RUN]
              The run to show in detail

    Options:
          --state <STATE>
              Only runs in this state

          --name <NAME>
              Only runs of this name

          --since <WHEN>
              Only runs opened since then: a time, or how long ago

      -n, --number <N>
              Only the newest N runs

          --wait
              Wait until the run has ended; its outcome is the exit code

          --timeout <DURATION>
              Wait no longer than this

          --json
              One line of JSON for each run

      -h, --help
              Print help (see a summary with '-h')

    Global:
      -C, --volume <DIR>
              The folder that has `.omne` [default: RUNLOG_VOLUME, or the nearest one upwards]

          --color <WHEN>
              When to use colours
              
              [default: auto]
              [possible values: auto, always, never]
    ");
}

#[test]
fn of_tail() {
    assert_snapshot!(help(&["tail"]), @"
    Show the last events of a run, or what its jobs printed

    RUN is an id, the beginning of one, or `latest`. With -f it goes on until the run has ended:
    completed, failed, lost or unknown.

    Exit codes: 0 fine; 2 wrong arguments; 3 no such volume or run; 5 damage in the log, which was
    passed over; 7 I/O.

    Usage: runlog tail [OPTIONS] [RUN]

    Arguments:
      [RUN]
              The run
              
              [default: latest]

    Options:
      -n, --lines <N>
              How many of the last ones: a number, or `all` [default: 10; all with --output]

          --type <TYPE>
              Only events of this type

          --job <ID>
              Only what concerns this job

          --since <WHEN>
              Only events since then: a time, or how long ago

          --until <WHEN>
              Only events until then: a time, or how long ago

          --json
              The events as they are stored, byte for byte

          --output
              What the jobs printed, instead of events

          --stream <STREAM>
              Only what they printed there

      -f, --follow
              Go on as the run goes on, until it has ended

      -h, --help
              Print help (see a summary with '-h')

    Global:
      -C, --volume <DIR>
              The folder that has `.omne` [default: RUNLOG_VOLUME, or the nearest one upwards]

          --color <WHEN>
              When to use colours
              
              [default: auto]
              [possible values: auto, always, never]
    ");
}

#[test]
fn of_emit() {
    assert_snapshot!(help(&["emit"]), @r#"
    Add a note to a run, from inside a job or from outside

    Inside a job the run and the job are known from the environment. A note is durable when the command
    ends with 0: it survives a loss of power.

    Exit codes: 0 stored; 1 the run is closed, or a line was refused; 2 wrong arguments; 3 no such
    volume or run; 6 the lock was not to be had; 7 not stored, or not durable.

    Usage: runlog emit [OPTIONS] [NAME] [KEY=VALUE]...

    Arguments:
      [NAME]
              What the note is about

      [KEY=VALUE]...
              The note's data

    Options:
          --data <JSON>
              The note's data as JSON; an object takes the pairs in too

          --lines
              One note for each line of stdin: JSON as it is, other text as {"text": …}

          --ack
              Print each stored event once it is durable

          --run <ID>
              The run [default: that of the job around, RUNLOG_RUN_ID]

          --job <ID>
              The job that the note belongs to [default: the job around, RUNLOG_JOB_ID]

          --open
              Make the run if there is none; it stays open until `run --run ID --close`

          --no-sync
              Do not wait for the disk: the note survives the end of every process, but not a loss of
              power

          --force
              Also append to a run that another program began

      -h, --help
              Print help (see a summary with '-h')

    Global:
      -C, --volume <DIR>
              The folder that has `.omne` [default: RUNLOG_VOLUME, or the nearest one upwards]

          --color <WHEN>
              When to use colours
              
              [default: auto]
              [possible values: auto, always, never]
    "#);
}

#[test]
fn of_completions() {
    assert_snapshot!(help(&["completions"]), @"
    Print a completion script for a shell

    Usage: runlog completions [OPTIONS] <SHELL>

    Arguments:
      <SHELL>  The shell [possible values: bash, elvish, fish, powershell, zsh]

    Options:
      -h, --help  Print help

    Global:
      -C, --volume <DIR>  The folder that has `.omne` [default: RUNLOG_VOLUME, or the nearest one
                          upwards]
          --color <WHEN>  When to use colours [default: auto] [possible values: auto, always, never]
    ");
}

#[test]
fn of_a_command_by_the_help_command() {
    let output = TestEnv::new().ok(&["help", "run"]);
    assert_eq!(output.stdout(), help(&["run"]));
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    for command in [
        &[][..],
        &["run"],
        &["status"],
        &["tail"],
        &["emit"],
        &["completions"],
    ] {
        for line in help(command).lines() {
            assert!(line.chars().count() <= 100, "{line}");
        }
    }
}

#[test]
fn values_from_the_environment_are_not_shown() {
    let env = TestEnv::new();
    let mut command = env.command(&["emit", "--help"]);
    let output = crate::env::finish(
        command
            .env("RUNLOG_RUN_ID", "SECRET")
            .env("RUNLOG_VOLUME", "SECRET"),
    );
    assert!(!output.stdout().contains("SECRET"));
}

#[test]
fn completions_are_printed_for_each_shell() {
    let env = TestEnv::new();
    for shell in ["bash", "zsh", "fish"] {
        let output = env.ok(&["completions", shell]);
        assert!(output.stdout().contains("runlog"), "{shell}");
        assert_eq!(output.stderr(), "");
    }
    assert_eq!(env.run(&["completions", "nosuchshell"]).code, 2);
    assert!(!env.exists(".omne"));
}
