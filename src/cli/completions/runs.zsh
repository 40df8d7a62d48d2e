# The IDs of runs, newest first, where a run is expected.
_runlog_runs() {
    local -a typed volume runs
    typed=(${(z)LBUFFER})
    local -i at=${typed[(I)(-C|--volume)]}
    (( at )) && volume=(-C ${~${(Q)typed[at+1]}})
    at=${typed[(I)(--volume=|-C)?*]}
    (( at )) && volume=(-C ${~${(Q)typed[at]##(--volume=|-C)}})
    runs=(${(f)"$(runlog $volume complete-runs ${(M)1:#--*} 2>/dev/null)"})
    # A name may hold a colon, which would end it here.
    runs=(${${runs//:/\\:}//$'\t'/:})
    _describe -V -t runs run runs
}

_runlog_writable_runs() {
    _runlog_runs --writable
}

_runlog_names() {
    _runlog_runs --names
}

_runlog_jobs() {
    _runlog_runs --jobs
}

