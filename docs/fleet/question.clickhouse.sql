WITH line AS (
    SELECT splitByString('/.omne/', _path)[1] AS volume,
        JSONExtractString(line, 'id') AS id,
        JSONExtractString(line, 'run_id') AS run_id,
        JSONExtractUInt(line, 'seq') AS seq,
        JSONExtractString(line, 'type') AS type,
        JSONExtractString(line, 'job_id') AS job_id,
        JSONExtract(line, 'name', 'Nullable(String)') AS name,
        JSONExtract(line, 'host', 'Nullable(String)') AS host,
        JSONHas(line, 'retry_in_ms') AS retried,
        JSONExtract(line, 'cost', 'max_rss_bytes', 'Nullable(UInt64)') AS max_rss_bytes,
        if(JSONHas(line, 'summary'), 'summary', 'state') AS checkpoint,
        JSONHas(line, checkpoint) AS has_state,
        JSONExtract(line, checkpoint, 'Tuple(name Nullable(String), host Nullable(String),
            first_id Nullable(String), closed_ts Nullable(String), jobs_failed UInt64,
            jobs Array(Tuple(job_id String, ended_ts Nullable(String),
                max_rss_bytes Nullable(UInt64))))') AS folded
    FROM file('*/.omne/var/runs/*/events*.{jsonl,jsonl.gz}', LineAsString)
    WHERE isValidJSON(line) AND JSONExtractUInt(line, 'v') = 1
    LIMIT 1 BY volume, id
), run AS (
    SELECT volume, run_id,
        min(coalesce(folded.first_id, id)) AS first_id,
        argMaxIf(coalesce(folded.name, name), seq, type = 'run_opened' OR has_state) AS name,
        argMaxIf(coalesce(folded.host, host), seq, type = 'run_opened' OR has_state) AS host,
        max(folded.closed_ts IS NOT NULL) AS closed,
        max(folded.jobs_failed) > 0 AS failed
    FROM line
    GROUP BY volume, run_id
), job_fact AS (
    -- The information about a job in the events and the checkpoints.
    SELECT volume, run_id, job_id, seq,
        type IN ('job_completed', 'job_failed') AND NOT retried AS ended,
        if(type IN ('job_completed', 'job_failed'), max_rss_bytes, NULL) AS rss
    FROM line
    WHERE type LIKE 'job\_%' AND type <> 'job_sampled'
    UNION ALL
    SELECT volume, run_id, job.job_id, seq, job.ended_ts IS NOT NULL, job.max_rss_bytes
    FROM line ARRAY JOIN folded.jobs AS job
), job AS (
    SELECT volume, run_id, max(ended) AS ended, argMaxIf(rss, seq, rss IS NOT NULL) AS rss
    FROM job_fact
    GROUP BY volume, run_id, job_id
), present AS (
    SELECT coalesce(name, '') AS name, host, rss,
        multiIf(closed AND failed, 'failed', closed, 'completed', at_work, 'lost', 'open') AS state
    FROM run LEFT JOIN (
        SELECT volume, run_id, max(NOT ended) AS at_work, max(rss) AS rss
        FROM job
        GROUP BY volume, run_id
    ) AS jobs USING (volume, run_id)
), retired AS (
    SELECT splitByString('/.omne/', _path)[1] AS volume,
        JSONExtractString(line, 'run_id') AS run_id,
        JSONExtractString(line, 'first_id') AS first_id,
        JSONExtractString(line, 'name') AS name,
        JSONExtract(line, 'host', 'Nullable(String)') AS host,
        JSONExtractString(line, 'state') AS state,
        arrayMax(JSONExtract(line, 'jobs', 'Array(Tuple(max_rss_bytes UInt64))').1) AS rss
    FROM file('*/.omne/var/retired.jsonl', LineAsString)
    WHERE isValidJSON(line) AND JSONExtractUInt(line, 'v') = 1
    LIMIT 1 BY volume, run_id, first_id
)
SELECT name, host, count() AS runs,
    countIf(state = 'completed') AS completed,
    countIf(state = 'failed') AS failed,
    countIf(state IN ('running', 'lost')) AS running_or_lost,
    countIf(state IN ('open', 'unknown')) AS open,
    intDiv(100 * failed, nullIf(completed + failed, 0)) AS failure_percent,
    max(rss) AS max_rss_bytes
FROM (
    SELECT name, host, state, rss FROM present
    UNION ALL
    SELECT name, host, state, nullIf(rss, 0)
    FROM retired LEFT ANTI JOIN run USING (volume, run_id, first_id)
)
GROUP BY name, host
ORDER BY name, host
SETTINGS join_use_nulls = 1
FORMAT JSONEachRow
