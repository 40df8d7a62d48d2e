//! The examples that lead the help of each command. `tests/docs` runs all of them.

pub(super) const RUNLOG: &str = "\
Examples:
  runlog run make -j8                     # run a command and log it
  runlog status                           # list the runs
  runlog tail -f --output build           # follow the output of a run
  runlog replay build                     # show what happened, and when
  runlog gc --max-age 30d                 # remove old runs";

pub(super) const RUN: &str = "\
Examples:
  runlog run make -j8
  runlog run --name nightly --timeout 2h --retries 2 ./backup.sh
  runlog run --detach --name server ./server.sh
  runlog run --quiet-on-success ./backup.sh  # in cron
  runlog run --run release-7 make test    # one of several jobs of a run
  runlog run --again build                # what a run recorded, once more";

pub(super) const STATUS: &str = "\
Examples:
  runlog status                           # list all runs
  runlog status build                     # show the newest run named build
  runlog status --state failed,lost --since yesterday
  runlog status --wait build              # wait, and exit with its outcome
  runlog status --stats --since 30d       # failures and durations by name
  runlog status --json -n 20              # for programs";

pub(super) const TAIL: &str = "\
Examples:
  runlog tail -f build                    # follow the events of a run
  runlog tail -f --output build           # follow what it prints
  runlog tail --output --all --grep works # search what all runs printed
  runlog tail --all --type job_failed --since today
  runlog tail --until type=job_completed build
  runlog tail --all --json --cursor-file shipped";

pub(super) const ROTATE: &str = "\
Examples:
  runlog rotate collector                 # start a new segment now
  runlog rotate --all --max-size 64M      # only in large logs
  runlog rotate collector --keep 10       # and drop old events
  runlog rotate --all --force --dry-run";

pub(super) const GC: &str = "\
Examples:
  runlog gc --max-age 30d --keep-failed 90d
  runlog gc --max-size 20G --dry-run      # show what would be removed
  runlog gc --name 'test-*' --max-runs 5
  runlog gc build~1                       # remove one run
  runlog gc                               # as the volume's settings say";

pub(super) const REPLAY: &str = "\
Examples:
  runlog replay build                     # show the timeline of a run
  runlog replay --output --speed 10 build # print its output again
  runlog replay --verify build            # check every byte of the log
  runlog replay --diff build~1 build
  runlog replay --export html -o build.html build
  runlog replay --recover --all           # after a crash of the machine";

pub(super) const STOP: &str = "\
Examples:
  runlog stop build                       # SIGTERM, then SIGKILL after 10 s
  runlog stop build --reason 'new release'
  runlog stop build --signal INT --kill-after 1m --timeout 2m";

pub(super) const EMIT: &str = "\
Examples:
  runlog emit progress percent=50         # inside a job
  runlog emit --run release-7 deployed version=1.2
  runlog emit --run release-8 --open started
  ls | runlog emit --lines file           # one note per line";

pub(super) const COMPLETIONS: &str = "\
Examples:
  mkdir -p ~/.local/share/bash-completion/completions
  runlog completions bash > ~/.local/share/bash-completion/completions/runlog
  mkdir -p ~/.zfunc && runlog completions zsh > ~/.zfunc/_runlog
  mkdir -p ~/.config/fish/completions
  runlog completions fish > ~/.config/fish/completions/runlog.fish";

pub(super) const MAN: &str = "\
Examples:
  runlog man ~/.local/share/man/man1      # for yourself
  runlog man \"$DESTDIR/usr/share/man/man1\"
  runlog man . && man ./runlog-tail.1";
