WITH line AS (
    SELECT DISTINCT ON (volume, id)
        split_part(filename, '/.omne/', 1) AS volume, id, run_id, seq, type, job_id,
        name, host, retry_in_ms, cost.max_rss_bytes AS max_rss_bytes,
        coalesce(summary, state) AS folded
    FROM read_json(
        ['*/.omne/var/runs/*/events*.jsonl', '*/.omne/var/runs/*/events*.jsonl.gz'],
        format = 'newline_delimited', ignore_errors = true, filename = true,
        maximum_object_size = 17000000,
        columns = {
            v: 'INTEGER', seq: 'BIGINT', id: 'VARCHAR', type: 'VARCHAR', run_id: 'VARCHAR',
            job_id: 'VARCHAR', name: 'VARCHAR', host: 'VARCHAR', retry_in_ms: 'BIGINT',
            cost: 'STRUCT(max_rss_bytes BIGINT)',
            summary: 'STRUCT(name VARCHAR, host VARCHAR, first_id VARCHAR, closed_ts VARCHAR,
                jobs_failed BIGINT, jobs STRUCT(job_id VARCHAR, ended_ts VARCHAR,
                max_rss_bytes BIGINT)[])',
            state: 'STRUCT(name VARCHAR, host VARCHAR, first_id VARCHAR, closed_ts VARCHAR,
                jobs_failed BIGINT, jobs STRUCT(job_id VARCHAR, ended_ts VARCHAR,
                max_rss_bytes BIGINT)[])'})
    WHERE v = 1
), run AS (
    SELECT volume, run_id,
        min(coalesce(folded.first_id, id)) AS first_id,
        arg_max(coalesce(folded.name, name), seq) FILTER (naming) AS name,
        arg_max(coalesce(folded.host, host), seq) FILTER (naming) AS host,
        bool_or(folded.closed_ts IS NOT NULL) AS closed,
        max(folded.jobs_failed) > 0 AS failed
    FROM (SELECT *, type = 'run_opened' OR folded IS NOT NULL AS naming FROM line)
    GROUP BY volume, run_id
), job_fact AS (
    -- The information about a job in the events and the checkpoints.
    SELECT volume, run_id, job_id, seq,
        type IN ('job_completed', 'job_failed') AND retry_in_ms IS NULL AS ended,
        CASE WHEN type IN ('job_completed', 'job_failed') THEN max_rss_bytes END AS max_rss_bytes
    FROM line
    WHERE type LIKE 'job_%' AND type <> 'job_sampled'
    UNION ALL
    SELECT volume, run_id, job.job_id, seq, job.ended_ts IS NOT NULL, job.max_rss_bytes
    FROM (SELECT volume, run_id, seq, unnest(folded.jobs) AS job FROM line)
), job AS (
    SELECT volume, run_id, bool_or(ended) AS ended,
        arg_max(max_rss_bytes, seq) FILTER (max_rss_bytes IS NOT NULL) AS max_rss_bytes
    FROM job_fact
    GROUP BY volume, run_id, job_id
), present AS (
    SELECT coalesce(name, '') AS name, host, max_rss_bytes,
        CASE WHEN closed AND failed THEN 'failed' WHEN closed THEN 'completed'
            WHEN at_work THEN 'lost' ELSE 'open' END AS state
    FROM run LEFT JOIN (
        SELECT volume, run_id, bool_or(NOT ended) AS at_work, max(max_rss_bytes) AS max_rss_bytes
        FROM job
        GROUP BY volume, run_id
    ) USING (volume, run_id)
), retired AS (
    SELECT DISTINCT ON (volume, run_id, first_id)
        split_part(filename, '/.omne/', 1) AS volume, run_id, first_id, name, host, state,
        list_max([job.max_rss_bytes FOR job IN jobs]) AS max_rss_bytes
    FROM read_json('*/.omne/var/retired.jsonl',
        format = 'newline_delimited', ignore_errors = true, filename = true,
        columns = {
            v: 'INTEGER', run_id: 'VARCHAR', first_id: 'VARCHAR', name: 'VARCHAR',
            host: 'VARCHAR', state: 'VARCHAR', jobs: 'STRUCT(max_rss_bytes BIGINT)[]'})
    WHERE v = 1
)
SELECT name, host, count(*) AS runs,
    count(*) FILTER (state = 'completed') AS completed,
    count(*) FILTER (state = 'failed') AS failed,
    count(*) FILTER (state IN ('running', 'lost')) AS running_or_lost,
    count(*) FILTER (state IN ('open', 'unknown')) AS open,
    100 * failed // nullif(completed + failed, 0) AS failure_percent,
    max(max_rss_bytes) AS max_rss_bytes
FROM (
    SELECT name, host, state, max_rss_bytes FROM present
    UNION ALL
    SELECT name, host, state, max_rss_bytes
    FROM retired ANTI JOIN run USING (volume, run_id, first_id)
)
GROUP BY name, host
ORDER BY name, host;
