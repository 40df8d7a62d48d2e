//! The environment variables that runlog reads or sets, for the manual page and docs/cli.md.

/// Each variable, or several that belong together, with its meaning.
pub const VARIABLES: [(&str, &str); 19] = [
    (
        "RUNLOG_VOLUME",
        "The directory that has .omne; --volume takes precedence.",
    ),
    (
        "RUNLOG_RUN_ID, RUNLOG_JOB_ID",
        "Set for a job, its rollback and its hooks: the IDs of its run and of the job, used by \
         runlog emit.",
    ),
    (
        "RUNLOG_JOB_VOLUME",
        "Set with them: the volume. Used by runlog emit before RUNLOG_VOLUME, and by the other \
         commands if RUNLOG_VOLUME is not set and no directory above has .omne.",
    ),
    (
        "RUNLOG_JOBS",
        "Set with them: the jobs that a process is part of, each as RUN/JOB, separated by colons.",
    ),
    (
        "RUNLOG_REDACT",
        "Set for a job with --redact: its patterns, one per line, which runlog emit and stop mask too.",
    ),
    (
        "RUNLOG_DEFAULT_REDACT",
        "Set for a job with --no-default-redact (off) or --default-redact (on): whether runlog emit \
         and runlog run mask the values of variables such as *_PASSWORD.",
    ),
    (
        "RUNLOG_ROTATE_SIZE",
        "Set for a job with --rotate-size: the size, also for runlog emit and runlog run inside it.",
    ),
    (
        "RUNLOG_STATE, RUNLOG_EXIT_CODE",
        "Set for a hook: the state of the run, and the exit code of runlog.",
    ),
    (
        "TRACEPARENT, TRACESTATE",
        "The span of the caller (W3C Trace Context). If it is valid, or with --trace, a job gets a \
         TRACEPARENT that names its own span.",
    ),
    (
        "GITHUB_STEP_SUMMARY",
        "The file to which replay --export github appends its summary.",
    ),
    (
        "RUNLOG_PAGER, PAGER",
        "The pager of runlog status, tail and replay on a terminal [default: less]; if empty, or \
         cat: none.",
    ),
    ("LESS", "Options of less [default: FRX]."),
    ("NO_COLOR", "If set and not empty: no color."),
    (
        "CLICOLOR_FORCE, FORCE_COLOR",
        "If set, and not empty, 0 or false: color, even if the output is not a terminal, unless \
         NO_COLOR disables it.",
    ),
    ("CLICOLOR", "If 0: no color, unless it is forced."),
    (
        "TERM",
        "If dumb or not set: no color, unless it is forced, no pager, and no status --watch.",
    ),
    (
        "LC_ALL, LC_CTYPE, LANG",
        "If the first one that is set does not name UTF-8: symbols in ASCII.",
    ),
    (
        "TZ",
        "The time zone of times that are shown or have no offset [default: that of the system].",
    ),
    (
        "XDG_CONFIG_HOME, HOME",
        "Where the settings of the user are: runlog/config.toml in XDG_CONFIG_HOME, or else in \
         .config of HOME.",
    ),
];
