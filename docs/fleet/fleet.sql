with runs as (
    select host, line ->> 'run_id' as run_id, line -> 'summary' ->> 'name' as name,
        (line -> 'summary' ->> 'jobs_failed')::int > 0 as failed
    from events
    where line ->> 'type' = 'run_closed'
), peaks as (
    select host, line ->> 'run_id' as run_id,
        max((line -> 'cost' ->> 'max_rss_bytes')::bigint) as max_rss_bytes
    from events
    -- An attempt that is retried is not the end of its job.
    where line ->> 'type' in ('job_completed', 'job_failed') and line ->> 'retry_in_ms' is null
    group by 1, 2
)
select name, host, count(*) as runs, count(*) filter (where failed) as failed,
    round(100.0 * count(*) filter (where failed) / count(*), 1) as failed_percent,
    max(max_rss_bytes) as max_rss_bytes
from runs left join peaks using (host, run_id)
group by name, host
order by name, host;
