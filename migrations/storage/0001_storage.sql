-- Object storage: buckets, repositories and their keys, and the index of objects.
-- A copy is the bytes of one blob in one bucket. Its row comes before its bytes: it reserves them.

create schema if not exists tidegate;

create table tidegate.storage_bucket (
    id text primary key,
    name text not null unique,
    provider text not null,
    region text not null,
    url text not null,
    credentials bytea,
    soft_cap double precision not null default 1 check (soft_cap between 0 and 1),
    credit bigint check (credit >= 0),
    quota bigint check (quota >= 0),
    price_out double precision,
    -- The month in which the provider has named a quota; null if it takes writes.
    refused_month date,
    -- Bytes of all its copies: stored, reserved and not yet swept.
    held bigint not null default 0 check (held >= 0),
    -- Bytes written in a month.
    written bigint not null default 0,
    written_month date not null default '-infinity'
);

create table tidegate.storage_repository (
    id text primary key,
    name text not null unique,
    policy jsonb not null,
    -- The repository whose admin key has made it.
    parent text references tidegate.storage_repository,
    created timestamptz not null default now()
);

create table tidegate.storage_member (
    repository text not null references tidegate.storage_repository on delete cascade,
    bucket text not null references tidegate.storage_bucket,
    position integer not null,
    primary key (repository, bucket)
);

-- Buckets and repositories share one namespace: clients address both.
create table tidegate.storage_name (
    name text primary key,
    bucket text references tidegate.storage_bucket on delete cascade,
    repository text references tidegate.storage_repository on delete cascade,
    check (num_nonnulls(bucket, repository) = 1)
);

create table tidegate.storage_key (
    id text primary key,
    repository text not null references tidegate.storage_repository on delete cascade,
    key_id text not null unique,
    secret bytea not null,
    mode text not null check (mode in ('read', 'write', 'admin')),
    created timestamptz not null default now()
);

create table tidegate.storage_version (
    id text primary key,
    size bigint not null,
    etag text not null,
    meta jsonb not null,
    modified timestamptz not null default now()
);

create table tidegate.storage_object (
    repository text not null references tidegate.storage_repository,
    key text collate "C" not null,
    version text not null references tidegate.storage_version,
    primary key (repository, key)
);

-- The bytes of a version, or a part of them. Until an upload is complete, its id stands for the version.
create table tidegate.storage_blob (
    id text primary key,
    version text not null,
    number integer not null,
    size bigint not null,
    sha256 text not null,
    etag text not null,
    modified timestamptz not null default now()
);
create index storage_blob_version on tidegate.storage_blob (version);

create table tidegate.storage_copy (
    -- Also the key in the bucket.
    id text primary key,
    blob text,
    bucket text not null references tidegate.storage_bucket,
    bytes bigint not null,
    -- reserved: the bytes may be there; stored: they are; suspect: they are others; doomed: to be deleted.
    state text not null check (state in ('reserved', 'stored', 'suspect', 'doomed')),
    -- When a reservation expires, or when a doomed copy is deleted.
    due timestamptz
);
create index storage_copy_blob on tidegate.storage_copy (blob);
create index storage_copy_due on tidegate.storage_copy (due) where state in ('reserved', 'doomed');
create index storage_copy_bucket on tidegate.storage_copy (bucket);

create table tidegate.storage_upload (
    id text primary key,
    repository text not null references tidegate.storage_repository on delete cascade,
    key text collate "C" not null,
    meta jsonb not null,
    started timestamptz not null default now()
);
create index storage_upload_key on tidegate.storage_upload (repository, key, id);

-- The first day of the month, in UTC.
create function tidegate.storage_month() returns date
language sql stable
as $$ select date_trunc('month', now() at time zone 'UTC')::date $$;

-- Reserves bytes in a bucket; returns no row if its quota or its refusal forbids it.
create function tidegate.storage_reserve(p_copy text, p_bucket text, p_bytes bigint, p_lease interval)
returns table (held bigint, written bigint)
language plpgsql
as $$
begin
    update tidegate.storage_bucket b set held = b.held + p_bytes
    where b.id = p_bucket
        and (b.quota is null or b.held + p_bytes <= b.quota)
        and b.refused_month is distinct from tidegate.storage_month()
    returning b.held,
        case when b.written_month = tidegate.storage_month() then b.written else 0 end
    into held, written;
    if found then
        insert into tidegate.storage_copy (id, bucket, bytes, state, due)
        values (p_copy, p_bucket, p_bytes, 'reserved', now() + p_lease);
        return next;
    end if;
end $$;

-- Makes reserved copies those of a blob. False if a reservation has expired meanwhile.
create function tidegate.storage_keep(
    p_blob text, p_version text, p_number integer, p_size bigint, p_sha256 text, p_etag text, p_copies text[]
) returns boolean
language plpgsql
as $$
declare
    kept integer;
begin
    perform 1 from tidegate.storage_copy
    where id = any (p_copies) and state = 'reserved' order by id for update;
    get diagnostics kept = row_count;
    if kept <> cardinality(p_copies) then
        return false;
    end if;
    update tidegate.storage_copy set blob = p_blob, state = 'stored', due = null where id = any (p_copies);
    update tidegate.storage_bucket b
    set written = case when written_month = tidegate.storage_month() then written else 0 end
            + p_size * (select count(*) from tidegate.storage_copy c where c.id = any (p_copies) and c.bucket = b.id),
        written_month = tidegate.storage_month()
    where id in (select bucket from tidegate.storage_copy where id = any (p_copies));
    insert into tidegate.storage_blob (id, version, number, size, sha256, etag)
    values (p_blob, p_version, p_number, p_size, p_sha256, p_etag);
    return true;
end $$;

-- Forgets the blobs of a version; their bytes are deleted later.
create function tidegate.storage_doom(p_version text, p_after interval) returns void
language plpgsql
as $$
begin
    update tidegate.storage_copy set state = 'doomed', due = now() + p_after
    where blob in (select id from tidegate.storage_blob where version = p_version);
    delete from tidegate.storage_blob where version = p_version;
    delete from tidegate.storage_version where id = p_version;
end $$;

-- Takes the lock of a key until the transaction ends, and returns the ETag of its object.
create function tidegate.storage_lock(p_repository text, p_key text) returns text
language plpgsql
as $$
declare
    current_etag text;
begin
    perform pg_advisory_xact_lock(hashtextextended(p_repository || '/' || p_key, 7));
    select v.etag into current_etag
    from tidegate.storage_object o join tidegate.storage_version v on v.id = o.version
    where o.repository = p_repository and o.key = p_key;
    return current_etag;
end $$;

-- Whether an object, null if there is none, satisfies If-Match and If-None-Match.
create function tidegate.storage_permits(p_etag text, p_match text, p_none_match text) returns boolean
language sql immutable
as $$
    select (p_match is null or (p_etag is not null and p_match in ('*', p_etag)))
        and (p_none_match is null or p_etag is null or p_none_match not in ('*', p_etag))
$$;

-- Makes a version the newest of its key.
create function tidegate.storage_publish(
    p_repository text, p_key text, p_version text, p_size bigint, p_etag text, p_meta jsonb, p_after interval
) returns void
language plpgsql
as $$
declare
    replaced text;
begin
    insert into tidegate.storage_version (id, size, etag, meta) values (p_version, p_size, p_etag, p_meta);
    select version into replaced from tidegate.storage_object
    where repository = p_repository and key = p_key;
    insert into tidegate.storage_object (repository, key, version) values (p_repository, p_key, p_version)
    on conflict (repository, key) do update set version = excluded.version;
    if replaced is not null then
        perform tidegate.storage_doom(replaced, p_after);
    end if;
end $$;

-- The whole commit of a PUT. Answers `stored`, `expired`, `condition`, or `absent` if nothing can match.
create function tidegate.storage_put(
    p_repository text, p_key text, p_version text, p_size bigint, p_etag text, p_sha256 text, p_meta jsonb,
    p_copies text[], p_match text, p_none_match text, p_after interval
) returns text
language plpgsql
as $$
declare
    current_etag text := tidegate.storage_lock(p_repository, p_key);
begin
    if not tidegate.storage_permits(current_etag, p_match, p_none_match) then
        return case when current_etag is null then 'absent' else 'condition' end;
    end if;
    if not tidegate.storage_keep(p_version, p_version, 1, p_size, p_sha256, p_etag, p_copies) then
        return 'expired';
    end if;
    perform tidegate.storage_publish(p_repository, p_key, p_version, p_size, p_etag, p_meta, p_after);
    return 'stored';
end $$;

-- Deletes a key's object, if it has one that is the client's: of this ETag, size and second, as far as they
-- are given. Answers `deleted` or `condition`.
create function tidegate.storage_delete(
    p_repository text, p_key text, p_match text, p_size bigint, p_modified bigint, p_after interval
) returns text
language plpgsql
as $$
declare
    present tidegate.storage_version;
begin
    perform tidegate.storage_lock(p_repository, p_key);
    select v.* into present
    from tidegate.storage_object o join tidegate.storage_version v on v.id = o.version
    where o.repository = p_repository and o.key = p_key;
    if not found then
        return 'deleted';
    end if;
    if not tidegate.storage_permits(present.etag, p_match, null)
        or present.size <> p_size
        or floor(extract(epoch from present.modified))::bigint <> p_modified
    then
        return 'condition';
    end if;
    delete from tidegate.storage_object where repository = p_repository and key = p_key;
    perform tidegate.storage_doom(present.id, p_after);
    return 'deleted';
end $$;

-- Stores a part of an upload in place of an earlier one of its number. Answers `stored`, `expired` or
-- `upload` if there is no such upload.
create function tidegate.storage_put_part(
    p_upload text, p_number integer, p_blob text, p_size bigint, p_sha256 text, p_etag text, p_copies text[],
    p_after interval
) returns text
language plpgsql
as $$
declare
    replaced text[];
begin
    perform 1 from tidegate.storage_upload where id = p_upload for update;
    if not found then
        return 'upload';
    end if;
    select array_agg(id) into replaced from tidegate.storage_blob
    where version = p_upload and number = p_number;
    if not tidegate.storage_keep(p_blob, p_upload, p_number, p_size, p_sha256, p_etag, p_copies) then
        return 'expired';
    end if;
    update tidegate.storage_copy set state = 'doomed', due = now() + p_after where blob = any (replaced);
    delete from tidegate.storage_blob where id = any (replaced);
    return 'stored';
end $$;

-- Puts the parts of an upload together; those that are not named are deleted. Answers `stored`,
-- `condition`, `absent` or `upload`; raises `part` if one is missing, and `small` if one is too small.
create function tidegate.storage_complete(
    p_repository text, p_key text, p_upload text, p_numbers integer[], p_etags text[], p_etag text,
    p_match text, p_none_match text, p_after interval
) returns text
language plpgsql
as $$
declare
    current_etag text := tidegate.storage_lock(p_repository, p_key);
    upload_meta jsonb;
    found_parts integer;
    small_parts integer;
    total bigint;
begin
    if not tidegate.storage_permits(current_etag, p_match, p_none_match) then
        return case when current_etag is null then 'absent' else 'condition' end;
    end if;
    delete from tidegate.storage_upload
    where id = p_upload and repository = p_repository and key = p_key
    returning meta into upload_meta;
    if not found then
        return 'upload';
    end if;
    select count(*), coalesce(sum(b.size), 0),
        count(*) filter (where b.size < 5 * 1024 * 1024 and b.number <> p_numbers[cardinality(p_numbers)])
    into found_parts, total, small_parts
    from unnest(p_numbers, p_etags) as wanted (number, etag)
    join tidegate.storage_blob b
        on b.version = p_upload and b.number = wanted.number and b.etag = wanted.etag;
    if found_parts <> cardinality(p_numbers) or small_parts > 0 then
        raise exception using errcode = 'TS001',
            message = case when found_parts <> cardinality(p_numbers) then 'part' else 'small' end;
    end if;
    update tidegate.storage_copy set state = 'doomed', due = now() + p_after
    where blob in (select id from tidegate.storage_blob where version = p_upload and number <> all (p_numbers));
    delete from tidegate.storage_blob where version = p_upload and number <> all (p_numbers);
    perform tidegate.storage_publish(p_repository, p_key, p_upload, total, p_etag, upload_meta, p_after);
    return 'stored';
end $$;

-- Gives an upload up. Answers `deleted` or `upload`.
create function tidegate.storage_abort(
    p_repository text, p_key text, p_upload text, p_after interval
) returns text
language plpgsql
as $$
begin
    delete from tidegate.storage_upload where id = p_upload and repository = p_repository and key = p_key;
    if not found then
        return 'upload';
    end if;
    perform tidegate.storage_doom(p_upload, p_after);
    return 'deleted';
end $$;

-- Adds a copy of a blob that already has others. Answers whether it was taken.
create function tidegate.storage_add_copy(p_blob text, p_copy text) returns boolean
language plpgsql
as $$
declare
    copied bigint;
    target text;
begin
    perform 1 from tidegate.storage_blob where id = p_blob for update;
    if not found then
        return false;
    end if;
    update tidegate.storage_copy set blob = p_blob, state = 'stored', due = null
    where id = p_copy and state = 'reserved'
    returning bytes, bucket into copied, target;
    if not found then
        return false;
    end if;
    update tidegate.storage_bucket
    set written = case when written_month = tidegate.storage_month() then written else 0 end + copied,
        written_month = tidegate.storage_month()
    where id = target;
    return true;
end $$;

-- Claims copies that are to be deleted, for a while. What a crash has reserved counts once its lease is over.
create function tidegate.storage_claim(p_most integer, p_for interval)
returns table (id text, bucket text, reserved boolean)
language sql
as $$
    update tidegate.storage_copy c set due = now() + p_for, state = 'doomed'
    from (
        select s.id, s.state = 'reserved' as reserved from tidegate.storage_copy s
        where s.state in ('reserved', 'doomed') and s.due <= now()
        order by s.due limit p_most for update skip locked
    ) claimed
    where c.id = claimed.id
    returning c.id, c.bucket, claimed.reserved
$$;

-- Forgets copies whose bytes are gone.
create function tidegate.storage_forget(p_copies text[]) returns bigint
language sql
as $$
    with gone as (
        delete from tidegate.storage_copy where id = any (p_copies) and state = 'doomed'
        returning bucket, bytes
    ), freed as (
        update tidegate.storage_bucket b set held = held - g.bytes
        from (select bucket, sum(bytes)::bigint as bytes from gone group by bucket) g
        where b.id = g.bucket
    )
    select count(*) from gone
$$;
