import json
import sys

from pyspark.sql import SparkSession

FOLDED = """STRUCT<name: STRING, host: STRING, first_id: STRING, closed_ts: STRING,
    jobs_failed: BIGINT,
    jobs: ARRAY<STRUCT<job_id: STRING, ended_ts: STRING, max_rss_bytes: BIGINT>>>"""
SEGMENT = f"""v INT, seq BIGINT, id STRING, type STRING, run_id STRING, job_id STRING,
    name STRING, host STRING, retry_in_ms BIGINT, cost STRUCT<max_rss_bytes: BIGINT>,
    summary {FOLDED}, state {FOLDED}"""
RETIRED = """v INT, run_id STRING, first_id STRING, name STRING, host STRING, state STRING,
    jobs ARRAY<STRUCT<max_rss_bytes: BIGINT>>"""
QUESTION = """
WITH line AS (
    SELECT volume, id, run_id, seq, type, job_id, name, host, retry_in_ms,
        cost.max_rss_bytes AS max_rss_bytes, coalesce(summary, state) AS folded
    FROM segment
    WHERE v = 1
), event AS (
    SELECT *, type = 'run_opened' OR folded IS NOT NULL AS naming
    FROM (SELECT *, row_number() OVER (PARTITION BY volume, id ORDER BY seq) AS copy FROM line)
    WHERE copy = 1
), run AS (
    SELECT volume, run_id,
        min(coalesce(folded.first_id, id)) AS first_id,
        max_by(coalesce(folded.name, name), seq) FILTER (WHERE naming) AS name,
        max_by(coalesce(folded.host, host), seq) FILTER (WHERE naming) AS host,
        bool_or(folded.closed_ts IS NOT NULL) AS closed,
        coalesce(max(folded.jobs_failed) > 0, false) AS failed
    FROM event
    GROUP BY volume, run_id
), job_fact AS (
    -- The information about a job in the events and the checkpoints.
    SELECT volume, run_id, job_id, seq,
        type IN ('job_completed', 'job_failed') AND retry_in_ms IS NULL AS ended,
        CASE WHEN type IN ('job_completed', 'job_failed') THEN max_rss_bytes END AS max_rss_bytes
    FROM event
    WHERE startswith(type, 'job_') AND type <> 'job_sampled'
    UNION ALL
    SELECT volume, run_id, job.job_id, seq, job.ended_ts IS NOT NULL, job.max_rss_bytes
    FROM (SELECT volume, run_id, seq, explode(folded.jobs) AS job FROM event)
), job AS (
    SELECT volume, run_id, bool_or(ended) AS ended,
        max_by(max_rss_bytes, seq) FILTER (WHERE max_rss_bytes IS NOT NULL) AS max_rss_bytes
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
    SELECT DISTINCT volume, run_id, first_id, name, host, state,
        array_max(jobs.max_rss_bytes) AS max_rss_bytes
    FROM removed
    WHERE v = 1
)
SELECT name, host, count(*) AS runs,
    count_if(state = 'completed') AS completed,
    count_if(state = 'failed') AS failed,
    count_if(state IN ('running', 'lost')) AS running_or_lost,
    count_if(state IN ('open', 'unknown')) AS open,
    100 * count_if(state = 'failed') div nullif(count_if(state IN ('completed', 'failed')), 0)
        AS failure_percent,
    max(max_rss_bytes) AS max_rss_bytes
FROM (
    SELECT name, host, state, max_rss_bytes FROM present
    UNION ALL
    SELECT name, host, state, max_rss_bytes
    FROM retired ANTI JOIN run USING (volume, run_id, first_id)
)
GROUP BY name, host
ORDER BY name, host
"""

spark = SparkSession.builder.appName("question").getOrCreate()
# Otherwise each of many small files is listed by a separate task.
spark.conf.set("spark.sql.sources.parallelPartitionDiscovery.threshold", 100000)


def view(name, schema, *paths):
    """Skips what is not JSON and incomplete lines."""
    lines = spark.read.schema(schema).json(list(paths), mode="DROPMALFORMED")
    volume = "split_part(_metadata.file_path, '/.omne/', 1) AS volume"
    # The query uses them more than once.
    lines.selectExpr("*", volume).cache().createTempView(name)


view("segment", SEGMENT, "*/.omne/var/runs/*/events*.jsonl", "*/.omne/var/runs/*/events*.jsonl.gz")
view("removed", RETIRED, "*/.omne/var/retired.jsonl")
with open(sys.argv[1], "w") as answer:
    for row in spark.sql(QUESTION).collect():
        print(json.dumps(row.asDict()), file=answer)
