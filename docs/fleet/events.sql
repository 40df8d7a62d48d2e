create table if not exists events (
    id text primary key,
    host text not null,
    line json not null
);
create index if not exists events_type on events ((line ->> 'type'));
