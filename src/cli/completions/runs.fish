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
