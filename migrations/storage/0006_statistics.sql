-- Statistics: what each gateway has seen. They are written in batches, and a batch that is written again
-- changes nothing.

-- Gateways that serve object storage; each renews its own row every 10 s.
create table tidegate.storage_gateway (
    id text primary key,
    region text not null,
    version text not null,
    ip text,
    endpoint text not null,
    url text not null,
    status text not null,
    latency_ms double precision,
    renewed timestamptz not null default now()
);

-- A bucket as a gateway has seen it, by minute.
create table tidegate.storage_bucket_minute (
    at timestamptz not null,
    gateway text not null,
    bucket text not null,
    status text not null,
    latency_ms double precision,
    latency_p99_ms double precision,
    requests bigint not null,
    errors bigint not null,
    primary key (at, gateway, bucket)
);
create index storage_bucket_minute_bucket on tidegate.storage_bucket_minute (bucket, at);

-- What a repository's requests did at a bucket, by minute. What was swept is of no repository: ''.
create table tidegate.storage_use_minute (
    at timestamptz not null,
    gateway text not null,
    repository text not null,
    bucket text not null,
    uploaded bigint not null,
    downloaded bigint not null,
    size_change bigint not null,
    requests bigint not null,
    errors bigint not null,
    -- Requests whose latency is known, and the sum of these.
    timed bigint not null,
    latency_ms_sum double precision not null,
    latency_p99_ms double precision,
    primary key (at, gateway, repository, bucket)
);

-- The same by day and region. The p99 of a day is the highest of its minutes.
create table tidegate.storage_use_day (
    day date not null,
    region text not null,
    repository text not null,
    bucket text not null,
    uploaded bigint not null,
    downloaded bigint not null,
    size_change bigint not null,
    requests bigint not null,
    errors bigint not null,
    timed bigint not null,
    latency_ms_sum double precision not null,
    latency_p99_ms double precision,
    primary key (day, region, repository, bucket)
);

-- Adds a batch of a gateway. A row that is there already is not added to its day again.
create function tidegate.storage_record_use(p_at timestamptz, p_gateway text, p_region text, p_rows jsonb)
returns void
language sql
as $$
    with added as (
        insert into tidegate.storage_use_minute (at, gateway, repository, bucket, uploaded, downloaded,
            size_change, requests, errors, timed, latency_ms_sum, latency_p99_ms)
        select p_at, p_gateway, r.* from jsonb_to_recordset(p_rows) as r (
            repository text, bucket text, uploaded bigint, downloaded bigint, size_change bigint,
            requests bigint, errors bigint, timed bigint, latency_ms_sum double precision,
            latency_p99_ms double precision
        )
        on conflict do nothing
        returning *
    )
    insert into tidegate.storage_use_day as d (day, region, repository, bucket, uploaded, downloaded,
        size_change, requests, errors, timed, latency_ms_sum, latency_p99_ms)
    select (p_at at time zone 'UTC')::date, p_region, repository, bucket, uploaded, downloaded,
        size_change, requests, errors, timed, latency_ms_sum, latency_p99_ms
    from added
    order by repository, bucket
    on conflict (day, region, repository, bucket) do update set
        uploaded = d.uploaded + excluded.uploaded,
        downloaded = d.downloaded + excluded.downloaded,
        size_change = d.size_change + excluded.size_change,
        requests = d.requests + excluded.requests,
        errors = d.errors + excluded.errors,
        timed = d.timed + excluded.timed,
        latency_ms_sum = d.latency_ms_sum + excluded.latency_ms_sum,
        latency_p99_ms = greatest(d.latency_p99_ms, excluded.latency_p99_ms)
$$;

create function tidegate.storage_record_buckets(p_at timestamptz, p_gateway text, p_rows jsonb) returns void
language sql
as $$
    insert into tidegate.storage_bucket_minute (at, gateway, bucket, status, latency_ms, latency_p99_ms,
        requests, errors)
    select p_at, p_gateway, r.* from jsonb_to_recordset(p_rows) as r (
        bucket text, status text, latency_ms double precision, latency_p99_ms double precision,
        requests bigint, errors bigint
    )
    on conflict do nothing
$$;

-- Deletes some of the rows that are too old, at most so many of each table; returns how many that were.
create function tidegate.storage_forget_statistics(p_most integer) returns bigint
language sql
as $$
    with buckets as (
        delete from tidegate.storage_bucket_minute where ctid = any (array(
            select ctid from tidegate.storage_bucket_minute
            where at < now() - interval '7 days' order by at limit p_most
        )) returning 1
    ), minutes as (
        delete from tidegate.storage_use_minute where ctid = any (array(
            select ctid from tidegate.storage_use_minute
            where at < now() - interval '7 days' order by at limit p_most
        )) returning 1
    ), days as (
        delete from tidegate.storage_use_day where ctid = any (array(
            select ctid from tidegate.storage_use_day
            where day < (now() at time zone 'UTC')::date - interval '2 years' order by day limit p_most
        )) returning 1
    ), gateways as (
        delete from tidegate.storage_gateway where renewed < now() - interval '1 day' returning 1
    )
    select (select count(*) from buckets) + (select count(*) from minutes) + (select count(*) from days)
$$;
