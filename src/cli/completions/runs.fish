# The IDs of runs, newest first, where a run is expected.
function __fish_runlog_runs
    set -l typed (commandline -opc)
    set -l volume
    if set -l at (contains -i -- -C $typed; or contains -i -- --volume $typed)
        set volume -C (string replace -r '^~' $HOME -- $typed[(math $at + 1)])
    end
    if set -l joined (string replace -rf '^(--volume=|-C)(?=.)' '' -- $typed)
        set volume -C (string replace -r '^~' $HOME -- $joined[1])
    end
    runlog $volume complete-runs $argv 2>/dev/null
end

# The words of a wrapped command, after `--` or without options of `run` before it.
function __fish_runlog_wrapped
    set -l typed (commandline -opc)
    set -l at (contains -i -- -- $typed; or contains -i -- run $typed)
    set -l words (string escape -- $typed[(math $at + 1)..]) (commandline -ct)
    if not string match -q -- '-*' $words[1]
        complete -C "$words"
    end
end
