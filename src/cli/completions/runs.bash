# The IDs and names of runs, where one is expected, and the words of a wrapped command.
_runlog_with_runs() {
    _runlog "$@"
    local cur="$2" prev="$3" command="" which="" word i wrapped=""
    # What bash leaves in a quoted word.
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
            --)
                if [[ $command == run ]]; then
                    wrapped=$((i + 1))
                    break
                fi
                ;;
            -C|--volume|--color)
                [[ ${COMP_WORDS[i+1]} == "=" ]] && ((++i))
                ((++i))
                [[ $word == --color ]] && continue
                word="${COMP_WORDS[i]/#\~/$HOME}"
                # Bash splits a name at its colons.
                while [[ ${COMP_WORDS[i+1]} == : ]]; do
                    word+=":${COMP_WORDS[i+2]}"
                    ((i += 2))
                done
                volume=(-C "${word//$quotes/}")
                ;;
            @RUN_VALUES@)
                if [[ $command == run ]]; then
                    [[ ${COMP_WORDS[i+1]} == "=" ]] && ((++i))
                    ((++i))
                fi
                ;;
            -*) ;;
            *)
                if [[ $command == run ]]; then
                    wrapped=$i
                    break
                fi
                command="${command:-$word}"
                ;;
        esac
    done
    # The words of a wrapped command are completed as without runlog.
    if [[ $command == run && -z $wrapped && $cur != -* ]]; then
        case "$prev" in
            @RUN_VALUES@) ;;
            *) wrapped=$COMP_CWORD ;;
        esac
    fi
    if [[ -n $wrapped ]] && ((wrapped <= COMP_CWORD)); then
        COMPREPLY=()
        if declare -F _comp_command_offset >/dev/null; then
            _comp_command_offset "$wrapped"
        elif declare -F _command_offset >/dev/null; then
            _command_offset "$wrapped"
        elif ((wrapped == COMP_CWORD)); then
            COMPREPLY=($(compgen -c -- "$cur"))
        fi
        return 0
    fi
    case "$command $prev" in
        @WRITABLE@) which=--writable ;;
        @NAMES@) which=--names ;;
        @JOBS@) which=--jobs ;;
        @ANY@) ;;
        @VALUES@) return 0 ;;
        @COMMANDS@) [[ $cur == -* ]] && return 0 ;;
        *) return 0 ;;
    esac
    COMPREPLY=()
    # A name may hold anything, and bash inserts these words as they are.
    while IFS=$'\t' read -r word _; do
        case "${COMP_WORDS[COMP_CWORD]}" in
            # In quotes, a character that ends or escapes them cannot be inserted.
            [\"\']*) [[ $word == *[\"\'\$\`\\!]* ]] && continue ;;
            *) printf -v word %q "$word" ;;
        esac
        COMPREPLY+=("$word")
    done < <("${1/#\~/$HOME}" ${volume[@]+"${volume[@]}"} complete-runs $which "${cur//$quotes/}" 2>/dev/null)
    return 0
}

if [[ "${BASH_VERSINFO[0]}" -eq 4 && "${BASH_VERSINFO[1]}" -ge 4 || "${BASH_VERSINFO[0]}" -gt 4 ]]; then
    complete -F _runlog_with_runs -o nosort -o bashdefault -o default runlog
else
    complete -F _runlog_with_runs -o bashdefault -o default runlog
fi
