# The ids of runs, where a run is wanted.
_runlog_with_runs() {
    _runlog "$@"
    local cur="$2" prev="$3" command="" which="" word i
    # What bash leaves in a word that stands in quotes.
    local quotes=$'["\'\\\\]'
    local -a volume=()
    if [[ ${COMP_WORDS[COMP_CWORD]} == "=" ]]; then
        cur=""
        prev="${COMP_WORDS[COMP_CWORD-1]}"
    elif [[ $prev == "=" ]]; then
        prev="${COMP_WORDS[COMP_CWORD-2]}"
    fi
    for ((i = 1; i < COMP_CWORD; i++)); do
        word="${COMP_WORDS[i]}"
        case "$word" in
            --) [[ $command == run ]] && return 0 ;;
            -C|--volume|--color)
                [[ ${COMP_WORDS[i+1]} == "=" ]] && ((++i))
                ((++i))
                [[ $word == --color ]] && continue
                word="${COMP_WORDS[i]/#\~/$HOME}"
                # Bash takes a name apart at its colons.
                while [[ ${COMP_WORDS[i+1]} == : ]]; do
                    word+=":${COMP_WORDS[i+2]}"
                    ((i += 2))
                done
                volume=(-C "${word//$quotes/}")
                ;;
            -*) ;;
            *) command="${command:-$word}" ;;
        esac
    done
    case "$command $prev" in
        @WRITABLE@) which=--writable ;;
        @ANY@) ;;
        @VALUES@) return 0 ;;
        @COMMANDS@) [[ $cur == -* ]] && return 0 ;;
        *) return 0 ;;
    esac
    local IFS=$'\n'
    COMPREPLY=($("${1/#\~/$HOME}" ${volume[@]+"${volume[@]}"} complete-runs $which "$cur" 2>/dev/null | cut -f1))
    return 0
}

if [[ "${BASH_VERSINFO[0]}" -eq 4 && "${BASH_VERSINFO[1]}" -ge 4 || "${BASH_VERSINFO[0]}" -gt 4 ]]; then
    complete -F _runlog_with_runs -o nosort -o bashdefault -o default runlog
else
    complete -F _runlog_with_runs -o bashdefault -o default runlog
fi
