\set ON_ERROR_STOP on
begin;
create temporary table batch (line text not null) on commit drop;
-- JSON has no control characters: each line is one column, unchanged.
\copy batch from pstdin with (format csv, quote e'\x01', delimiter e'\x02')
insert into events (id, host, line)
select coalesce(line::json ->> 'id', md5(:'host' || line)), :'host', line::json
from batch
on conflict (id) do nothing;
commit;
