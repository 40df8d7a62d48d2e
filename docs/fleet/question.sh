#!/bin/sh
for omne in */.omne; do
    # 5: damage was skipped; stderr says where
    runlog -C "${omne%/.omne}" status --json || test $? = 5
    runlog -C "${omne%/.omne}" status --retired --json || test $? = 5
done >runs.jsonl
# a run that gc removed in between is there twice; one without events has not started
jq -cs 'map(select(.opened_ts)) | unique_by([.run_id, .opened_ts]) | group_by([.name, .host])[]
    | map(.state) as $states
    | def n(f): $states | map(select(f)) | length;
    {name: .[0].name, host: .[0].host, runs: length,
     completed: n(. == "completed"), failed: n(. == "failed"),
     running_or_lost: n(. == "running" or . == "lost"),
     open: n(. == "open" or . == "unknown"),
     max_rss_bytes: map(.jobs[].max_rss_bytes) | max}
    | (.completed + .failed) as $closed
    | .failure_percent = if $closed == 0 then null
        else 100 * .failed / $closed | floor end' runs.jsonl
