SELECT name, host, count(*) AS runs,
    count(*) FILTER (state = 'completed') AS completed,
    count(*) FILTER (state = 'failed') AS failed,
    count(*) FILTER (state IN ('running', 'lost')) AS running_or_lost,
    count(*) FILTER (state IN ('open', 'unknown')) AS open,
    100 * failed // nullif(completed + failed, 0) AS failure_percent,
    max(list_max([job.max_rss_bytes FOR job IN jobs])) AS max_rss_bytes
FROM (
    SELECT DISTINCT ON (run_id, opened_ts) *
    FROM read_json('runs.jsonl', format = 'newline_delimited', columns = {
        run_id: 'VARCHAR', opened_ts: 'VARCHAR', name: 'VARCHAR', host: 'VARCHAR',
        state: 'VARCHAR', jobs: 'STRUCT(max_rss_bytes BIGINT)[]'})
    WHERE opened_ts IS NOT NULL
)
GROUP BY name, host
ORDER BY name, host;
