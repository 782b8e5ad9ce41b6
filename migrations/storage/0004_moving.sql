-- Bytes that are moved: cold mirrors, the reads that prove that copies can be restored, buckets that are
-- drained, and objects that were in a bucket before.

-- A bucket that is drained takes no writes, and its copies are moved to others.
alter table tidegate.storage_bucket add column draining boolean not null default false;
-- When the next sample of the mirror is read back.
alter table tidegate.storage_repository
    add column restores_due timestamptz,
    -- The last key whose object is known to the mirror, while existing objects become tasks; null when all are.
    add column mirror_after text collate "C";
-- Of an imported version, the bucket that it was imported from and the provider's ETag: they outlive the copy there.
alter table tidegate.storage_version
    add column vendor_bucket text,
    add column vendor_etag text;
-- By which copies are found again that a restored index does not know.
create index storage_blob_size on tidegate.storage_blob (size);
-- Adopted objects that were deleted at their provider: an import that had listed them before does not add them.
create table tidegate.storage_import_deleted (
    bucket text not null references tidegate.storage_bucket on delete cascade,
    key text collate "C" not null,
    at timestamptz not null default now(),
    primary key (bucket, key)
);
create index storage_import_deleted_at on tidegate.storage_import_deleted (at);

alter table tidegate.storage_copy
    -- Of an imported copy, the provider's object and its ETag when it was seen; its own id is not a key.
    add column vendor_key text,
    add column vendor_etag text,
    -- Whether that object is deleted with the copy.
    add column adopted boolean not null default false,
    add column seen timestamptz,
    -- When it was last read back in full, and was right.
    add column verified timestamptz;
create unique index storage_copy_vendor on tidegate.storage_copy (bucket, vendor_key)
    where vendor_key is not null and state <> 'doomed';
drop index tidegate.storage_copy_bucket;
create index storage_copy_bucket on tidegate.storage_copy (bucket, state);
-- Also what a replaced version is deleted by.
create index storage_object_version on tidegate.storage_object (version);

-- What is to be done with a blob at a bucket: mirror: copy it there; restore: read it back there; drain:
-- move it away from there.
create table tidegate.storage_task (
    bucket text not null references tidegate.storage_bucket on delete cascade,
    kind text not null check (kind in ('mirror', 'restore', 'drain')),
    blob text not null references tidegate.storage_blob on delete cascade,
    -- When it was to be done; `due` is when it is tried next.
    wanted timestamptz not null default now(),
    due timestamptz not null default now(),
    -- Of the gateway that is at work; `due` is when its lease ends.
    claim text,
    failures integer not null default 0,
    error text,
    primary key (bucket, kind, blob)
);
create index storage_task_due on tidegate.storage_task (bucket, due);
create index storage_task_wanted on tidegate.storage_task (bucket, wanted) where kind = 'mirror';
create index storage_task_blob on tidegate.storage_task (blob);
create index storage_task_claim on tidegate.storage_task (claim) where claim is not null;

-- Copies that could not be restored when they were read back.
create table tidegate.storage_failed_restore (
    at timestamptz not null default now(),
    repository text not null,
    key text collate "C" not null,
    bucket text not null,
    copy text not null,
    error text not null
);
create index storage_failed_restore_at on tidegate.storage_failed_restore (at);

-- A copy as the gateways read it.
create function tidegate.storage_copy_json(c tidegate.storage_copy) returns json
language sql stable
as $$
    select json_build_object('id', c.id, 'bucket', c.bucket, 'isSuspect', c.state = 'suspect',
        'vendor', case when c.vendor_key is not null
            then json_build_object('key', c.vendor_key, 'etag', c.vendor_etag) end)
$$;

create or replace function tidegate.storage_reserve(
    p_copy text, p_bucket text, p_bytes bigint, p_lease interval
) returns table (held bigint, written bigint)
language plpgsql
as $$
begin
    update tidegate.storage_bucket b set held = b.held + p_bytes
    where b.id = p_bucket
        and (b.quota is null or b.held + p_bytes <= b.quota)
        and b.refused_month is distinct from tidegate.storage_month()
        and not b.draining
    returning b.held,
        case when b.written_month = tidegate.storage_month() then b.written else 0 end
    into held, written;
    if found then
        insert into tidegate.storage_copy (id, bucket, bytes, state, due)
        values (p_copy, p_bucket, p_bytes, 'reserved', now() + p_lease);
        return next;
    end if;
end $$;

-- Makes reserved copies those of a blob. False if a reservation has expired meanwhile. Buckets are locked in the
-- order of their ids: two writes that have chosen the same ones in another order must not wait for each other.
create or replace function tidegate.storage_keep(
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
    perform 1 from tidegate.storage_bucket
    where id in (select bucket from tidegate.storage_copy where id = any (p_copies))
    order by id for no key update;
    update tidegate.storage_bucket b
    set written = case when written_month = tidegate.storage_month() then written else 0 end
            + p_size * (select count(*) from tidegate.storage_copy c where c.id = any (p_copies) and c.bucket = b.id),
        written_month = tidegate.storage_month()
    where id in (select bucket from tidegate.storage_copy where id = any (p_copies));
    insert into tidegate.storage_blob (id, version, number, size, sha256, etag)
    values (p_blob, p_version, p_number, p_size, p_sha256, p_etag);
    return true;
end $$;

-- Has the blobs of some objects of a repository mirrored, the oldest first: of those that have no copy at the
-- mirror that was read back, or others that are not to be kept. Of a time that is over nothing is late.
create function tidegate.storage_mirror(p_policy jsonb, p_versions text[]) returns void
language plpgsql
as $$
declare
    target text;
begin
    select id into target from tidegate.storage_bucket where name = p_policy #>> '{mirror,to}';
    -- In the order in which they are deleted; the foreign key takes the same locks.
    perform 1 from tidegate.storage_blob where version = any (p_versions) order by id for key share;
    insert into tidegate.storage_task as t (bucket, kind, blob, wanted, due)
    select target, 'mirror', b.id, greatest(age.over, now()), age.over
    from tidegate.storage_blob b
    join tidegate.storage_version v on v.id = b.version
    cross join lateral (select v.modified + (p_policy #>> '{mirror,after}')::interval as over) age
    where target is not null and b.version = any (p_versions) and (
        not exists (
            select from tidegate.storage_copy c
            where c.blob = b.id and c.bucket = target and c.state = 'stored' and c.verified is not null
        ) or not (p_policy #>> '{mirror,keepHot}')::boolean and exists (
            select from tidegate.storage_copy c
            where c.blob = b.id and c.bucket <> target and c.state in ('stored', 'suspect')
        )
    )
    on conflict (bucket, kind, blob) do update set wanted = excluded.wanted, due = excluded.due
    where t.claim is null and t.failures = 0;
end $$;

-- Makes tasks of some more objects of a repository whose mirror was changed, in the order of their keys. In a
-- transaction of its own for each batch: all at once, writes would wait for it. False when there are none left.
create function tidegate.storage_mirror_more(p_repository text, p_most integer) returns boolean
language plpgsql
as $$
declare
    its_policy jsonb;
    reached text;
    keys text[];
    versions text[];
begin
    select policy, mirror_after into its_policy, reached from tidegate.storage_repository
    where id = p_repository and mirror_after is not null for no key update skip locked;
    if not found then
        return false;
    end if;
    select array_agg(next.key order by next.key), array_agg(next.version) into keys, versions
    from (
        select o.key, o.version from tidegate.storage_object o
        where o.repository = p_repository and o.key > reached collate "C" order by o.key limit p_most
    ) next;
    if keys is not null and its_policy ? 'mirror' then
        perform tidegate.storage_mirror(its_policy, versions);
    else
        keys := null;
    end if;
    update tidegate.storage_repository set mirror_after = keys[cardinality(keys)] where id = p_repository;
    return keys is not null;
end $$;

create or replace function tidegate.storage_publish(
    p_repository text, p_key text, p_version text, p_size bigint, p_etag text, p_meta jsonb, p_after interval
) returns void
language plpgsql
as $$
declare
    replaced text;
    its_policy jsonb;
begin
    insert into tidegate.storage_version (id, size, etag, meta) values (p_version, p_size, p_etag, p_meta);
    select version into replaced from tidegate.storage_object
    where repository = p_repository and key = p_key;
    insert into tidegate.storage_object (repository, key, version) values (p_repository, p_key, p_version)
    on conflict (repository, key) do update set version = excluded.version;
    if replaced is not null then
        perform tidegate.storage_doom(replaced, p_after);
    end if;
    -- Locked: a policy that changes meanwhile is waited for, or waits and finds this object.
    select policy into its_policy from tidegate.storage_repository where id = p_repository for key share;
    if its_policy ? 'mirror' then
        perform tidegate.storage_mirror(its_policy, array[p_version]);
    end if;
end $$;

-- A mirror that is added or changed also applies to existing objects: the gateways make tasks of them. Tasks
-- of the mirror before are dropped when they are due.
create function tidegate.storage_mirror_changed() returns trigger
language plpgsql
as $$
declare
    mirror jsonb := new.policy -> 'mirror';
    before jsonb := old.policy -> 'mirror';
begin
    if mirror is null then
        new.mirror_after := null;
        return new;
    end if;
    if mirror - 'verify' - 'share' is distinct from before - 'verify' - 'share' then
        new.mirror_after := '';
    end if;
    if (mirror ->> 'to', mirror ->> 'verify') is distinct from (before ->> 'to', before ->> 'verify') then
        new.restores_due := least(new.restores_due, now() + (mirror ->> 'verify')::interval);
    end if;
    return new;
end $$;
create trigger storage_mirror_changed before update of policy on tidegate.storage_repository
    for each row execute function tidegate.storage_mirror_changed();

-- A bucket that a repository is mirrored to stays.
create function tidegate.storage_mirror_used() returns trigger
language plpgsql
as $$
begin
    if exists (select from tidegate.storage_repository where policy #>> '{mirror,to}' = old.name) then
        raise foreign_key_violation;
    end if;
    return old;
end $$;
create trigger storage_mirror_used before delete on tidegate.storage_bucket
    for each row execute function tidegate.storage_mirror_used();

-- Claims what is due at a bucket, the oldest first, for a while. It is stale if the bucket is not the mirror any
-- more.
create function tidegate.storage_claim_task(p_bucket text, p_claim text, p_for interval)
returns table (
    kind text, blob text, size bigint, sha256 text, copies json, repository text, key text, failures integer,
    is_stale boolean
)
language sql
as $$
    with claimed as (
        update tidegate.storage_task t set due = now() + p_for, claim = p_claim
        from (
            select s.kind, s.blob from tidegate.storage_task s
            where s.bucket = p_bucket and s.due <= now()
            order by s.due limit 1 for update skip locked
        ) next
        where t.bucket = p_bucket and t.kind = next.kind and t.blob = next.blob
        returning t.kind, t.blob, t.failures
    )
    select c.kind, c.blob, b.size, b.sha256, (
            select coalesce(json_agg(tidegate.storage_copy_json(o)), '[]')
            from tidegate.storage_copy o where o.blob = b.id and o.state in ('stored', 'suspect')
        ), coalesce(o.repository, u.repository), coalesce(o.key, u.key), c.failures,
        c.kind <> 'drain' and not exists (
            select from tidegate.storage_repository r join tidegate.storage_bucket t
                on t.name = r.policy #>> '{mirror,to}'
            where r.id = o.repository and t.id = p_bucket
        )
    from claimed c
    join tidegate.storage_blob b on b.id = c.blob
    left join tidegate.storage_object o on o.version = b.version
    left join tidegate.storage_upload u on u.id = b.version
$$;

-- Puts a task off that has failed: for longer each time, up to ten minutes.
create function tidegate.storage_task_failed(
    p_bucket text, p_kind text, p_blob text, p_claim text, p_error text
) returns void
language sql
as $$
    update tidegate.storage_task
    set failures = least(failures + 1, 30), error = p_error, claim = null,
        due = now() + interval '1 s' * least(2 ^ failures, 600)
    where bucket = p_bucket and kind = p_kind and blob = p_blob and claim = p_claim
$$;

-- Ends a task, if it is still that of a claim: else another gateway is at it, or it is not wanted any more.
create function tidegate.storage_task_done(p_bucket text, p_kind text, p_blob text, p_claim text) returns boolean
language plpgsql
as $$
begin
    delete from tidegate.storage_task
    where bucket = p_bucket and kind = p_kind and blob = p_blob and claim = p_claim;
    return found;
end $$;

-- Keeps a copy that was read back in full and has this SHA-256: a new one, or one that was there. False if
-- its blob is gone, or its reservation, or has other bytes, or if its bucket has another copy that can be used or
-- repaired. The blob must be locked.
create function tidegate.storage_keep_verified(p_blob text, p_copy text, p_sha256 text) returns boolean
language plpgsql
as $$
begin
    if exists (select from tidegate.storage_blob where id = p_blob and sha256 not in ('', p_sha256))
        or exists (
            select from tidegate.storage_copy c join tidegate.storage_copy o on o.bucket = c.bucket
            where c.id = p_copy and c.state = 'reserved' and o.blob = p_blob
                and (o.state = 'stored' or (o.state = 'suspect' and o.vendor_key is null))
        )
    then
        return false;
    end if;
    perform tidegate.storage_add_copy(p_blob, p_copy);
    update tidegate.storage_copy set verified = now() where id = p_copy and blob = p_blob and state = 'stored';
    if not found then
        return false;
    end if;
    -- Of what was imported it was not known.
    update tidegate.storage_blob set sha256 = p_sha256 where id = p_blob and sha256 = '';
    return true;
end $$;

-- Ends the mirroring of a blob whose cold copy was read back in full; deletes the others if the repository does
-- not keep them now. False if the copy is not needed any more.
create function tidegate.storage_mirrored(
    p_blob text, p_bucket text, p_claim text, p_copy text, p_sha256 text, p_after interval
) returns boolean
language plpgsql
as $$
declare
    mirror jsonb;
begin
    -- Locked before the blob, as by whatever changes it.
    select r.policy -> 'mirror' into mirror
    from tidegate.storage_blob b
    join tidegate.storage_object o on o.version = b.version
    join tidegate.storage_repository r on r.id = o.repository
    where b.id = p_blob for share of r;
    perform 1 from tidegate.storage_blob where id = p_blob for update;
    if not found
        or not tidegate.storage_task_done(p_bucket, 'mirror', p_blob, p_claim)
        or not exists (select from tidegate.storage_bucket where id = p_bucket and name = mirror ->> 'to')
        or not tidegate.storage_keep_verified(p_blob, p_copy, p_sha256)
    then
        return false;
    end if;
    if not (mirror ->> 'keepHot')::boolean then
        update tidegate.storage_copy set state = 'doomed', due = now() + p_after
        where blob = p_blob and id <> p_copy and state in ('stored', 'suspect');
    end if;
    return true;
end $$;

-- Deletes the copies of a blob in a bucket, of which another copy was read back in full. False if that one
-- is not needed any more.
create function tidegate.storage_drained(
    p_blob text, p_bucket text, p_claim text, p_copy text, p_sha256 text, p_after interval
) returns boolean
language plpgsql
as $$
begin
    perform 1 from tidegate.storage_blob where id = p_blob for update;
    if not found
        or not tidegate.storage_task_done(p_bucket, 'drain', p_blob, p_claim)
        or not tidegate.storage_keep_verified(p_blob, p_copy, p_sha256)
    then
        return false;
    end if;
    update tidegate.storage_copy set state = 'doomed', due = now() + p_after
    where blob = p_blob and bucket = p_bucket and id <> p_copy and state in ('stored', 'suspect');
    return true;
end $$;

-- Ends a restore that has succeeded.
create function tidegate.storage_restored(
    p_blob text, p_bucket text, p_claim text, p_copy text, p_sha256 text
) returns boolean
language plpgsql
as $$
begin
    perform 1 from tidegate.storage_blob where id = p_blob for update;
    return tidegate.storage_task_done(p_bucket, 'restore', p_blob, p_claim)
        and tidegate.storage_keep_verified(p_blob, p_copy, p_sha256);
end $$;

-- Records that a copy could not be restored. It is repaired, unless it is the last one.
create function tidegate.storage_restore_failed(
    p_blob text, p_bucket text, p_copy text, p_repository text, p_key text, p_error text
) returns void
language plpgsql
as $$
begin
    insert into tidegate.storage_failed_restore (repository, key, bucket, copy, error)
    select r.name, p_key, b.name, p_copy, p_error
    from tidegate.storage_repository r, tidegate.storage_bucket b
    where r.id = p_repository and b.id = p_bucket;
    delete from tidegate.storage_failed_restore where at < now() - interval '90 days';
    delete from tidegate.storage_task where bucket = p_bucket and kind = 'restore' and blob = p_blob;
    perform tidegate.storage_suspect(p_copy);
end $$;

-- Has a share of a mirror's copies read back, one at least, once in a period.
create function tidegate.storage_sample(p_repository text, p_bucket text, p_every interval, p_share double precision)
returns void
language plpgsql
as $$
declare
    before timestamptz;
begin
    select restores_due into before from tidegate.storage_repository
    where id = p_repository and (restores_due is null or restores_due <= now()) for update skip locked;
    if not found then
        return;
    end if;
    update tidegate.storage_repository set restores_due = now() + p_every where id = p_repository;
    if before is null then
        return;
    end if;
    insert into tidegate.storage_task (bucket, kind, blob)
    select p_bucket, 'restore', chosen.blob from (
        select c.blob, random() as place
        from tidegate.storage_copy c
        join tidegate.storage_blob b on b.id = c.blob
        join tidegate.storage_object o on o.version = b.version and o.repository = p_repository
        where c.bucket = p_bucket and c.state = 'stored'
        order by place
    ) chosen
    limit greatest(1, (
        select ceil(count(*) * p_share)
        from tidegate.storage_copy c
        join tidegate.storage_blob b on b.id = c.blob
        join tidegate.storage_object o on o.version = b.version and o.repository = p_repository
        where c.bucket = p_bucket and c.state = 'stored'
    ))
    on conflict do nothing;
end $$;

-- Has more copies moved away from a bucket that is drained; returns how many.
create function tidegate.storage_drain(p_bucket text, p_most integer) returns bigint
language sql
as $$
    with queued as (
        insert into tidegate.storage_task (bucket, kind, blob)
        select distinct p_bucket, 'drain', b.id
        from (
            select c.blob from tidegate.storage_copy c
            where c.bucket = p_bucket and c.state in ('stored', 'suspect') and not exists (
                select from tidegate.storage_task t
                where t.bucket = p_bucket and t.kind = 'drain' and t.blob = c.blob
            )
            limit p_most
        ) c join tidegate.storage_blob b on b.id = c.blob
        on conflict do nothing
        returning 1
    )
    select count(*) from queued
$$;

drop function tidegate.storage_claim(text, integer, interval);
-- Claims copies of a bucket that are to be deleted, for a while. What a crash has reserved counts once its
-- lease is over. Of an imported copy there is nothing to delete unless it was adopted.
create function tidegate.storage_claim(p_bucket text, p_most integer, p_for interval)
returns table (id text, upload text, reserved boolean, vendor json, adopted boolean)
language sql
as $$
    update tidegate.storage_copy c set due = now() + p_for, state = 'doomed'
    from (
        select s.id, s.state = 'reserved' as reserved from tidegate.storage_copy s
        where s.bucket = p_bucket and s.state in ('reserved', 'doomed') and s.due <= now()
        order by s.due limit p_most for update skip locked
    ) claimed
    where c.id = claimed.id
    returning c.id, c.upload, claimed.reserved, tidegate.storage_copy_json(c) -> 'vendor', c.adopted
$$;

-- An imported copy is not repaired: what lies at its key is not ours. The next import finds what it is.
create or replace function tidegate.storage_claim_suspect(p_bucket text, p_for interval)
returns table (id text, upload text, size bigint, sha256 text, good json)
language sql
as $$
    update tidegate.storage_copy c set due = now() + p_for
    from (
        select s.id from tidegate.storage_copy s
        where s.bucket = p_bucket and s.state = 'suspect' and s.due <= now() and s.vendor_key is null
        order by s.due limit 1 for update skip locked
    ) claimed, tidegate.storage_blob b
    where c.id = claimed.id and b.id = c.blob
    returning c.id, c.upload, b.size, b.sha256, (
        select coalesce(json_agg(tidegate.storage_copy_json(o)), '[]')
        from tidegate.storage_copy o where o.blob = b.id and o.state = 'stored'
    )
$$;

-- Forgets copies whose bytes are gone, and notes the adopted ones of them.
create or replace function tidegate.storage_forget(p_copies text[]) returns bigint
language sql
as $$
    delete from tidegate.storage_import_deleted where at < now() - interval '30 days';
    with gone as (
        delete from tidegate.storage_copy where id = any (p_copies) and state = 'doomed'
        returning bucket, bytes, vendor_key, adopted
    ), freed as (
        update tidegate.storage_bucket b set held = held - g.bytes
        from (select bucket, sum(bytes)::bigint as bytes from gone group by bucket) g
        where b.id = g.bucket
    ), noted as (
        insert into tidegate.storage_import_deleted (bucket, key)
        select distinct bucket, vendor_key from gone where adopted and vendor_key is not null
        on conflict (bucket, key) do update set at = excluded.at
    )
    select count(*) from gone
$$;

-- Of objects in a bucket that were written by a gateway, by id, those that the index does not know and that may
-- be copies of blobs that it knows.
create function tidegate.storage_import_lost(p_ids text[], p_sizes bigint[])
returns table (id text, size bigint)
language sql
as $$
    select it.id, it.size from unnest(p_ids, p_sizes) as it (id, size)
    where not exists (select from tidegate.storage_copy c where c.id = it.id)
        and exists (select from tidegate.storage_blob b where b.size = it.size and b.sha256 <> '')
$$;

-- Makes such an object a copy of a blob with the same bytes, one that has none in this bucket. False if there
-- is none.
create function tidegate.storage_import_found(p_bucket text, p_copy text, p_size bigint, p_sha256 text)
returns boolean
language plpgsql
as $$
declare
    of_blob text;
begin
    select b.id into of_blob from tidegate.storage_blob b
    where b.size = p_size and b.sha256 = p_sha256 and not exists (
        select from tidegate.storage_copy c
        where c.blob = b.id and c.bucket = p_bucket and c.state in ('stored', 'suspect')
    ) order by b.id limit 1 for update of b;
    if not found then
        return false;
    end if;
    insert into tidegate.storage_copy (id, blob, bucket, bytes, state, verified)
    values (p_copy, of_blob, p_bucket, p_size, 'stored', now()) on conflict do nothing;
    if found then
        update tidegate.storage_bucket set held = held + p_size where id = p_bucket;
    end if;
    return true;
end $$;

-- Makes objects of a bucket those of a repository: new ones, and those that have changed. What clients have
-- stored under the same key stays (`kept`). The bucket is locked after all keys, as by a write, and a blob before
-- its copies.
create function tidegate.storage_import(
    p_repository text, p_bucket text, p_ids text[], p_keys text[], p_sizes bigint[], p_etags text[],
    p_modified double precision[], p_adopt boolean, p_begun timestamptz, p_after interval
) returns table (added bigint, changed bigint, unchanged bigint, kept bigint)
language plpgsql
as $$
declare
    item record;
    present record;
    is_copy boolean;
    earlier record;
    bytes_added bigint := 0;
begin
    added := 0; changed := 0; unchanged := 0; kept := 0;
    for item in
        select * from unnest(p_ids, p_keys, p_sizes, p_etags, p_modified) as it (id, key, size, etag, modified)
        order by key collate "C"
    loop
        perform tidegate.storage_lock(p_repository, item.key);
        select c.id, c.vendor_etag, c.bytes, o.repository, b.id as blob, b.sha256 into present
        from tidegate.storage_copy c
        join tidegate.storage_blob b on b.id = c.blob
        left join tidegate.storage_object o on o.version = b.version
        where c.bucket = p_bucket and c.vendor_key = item.key and c.state <> 'doomed' for update of b;
        is_copy := found;
        if is_copy and present.repository is distinct from p_repository then
            kept := kept + 1;
            continue;
        elsif is_copy and present.vendor_etag = item.etag and present.bytes = item.size then
            -- Bytes that were found damaged are not trusted because of their ETag.
            update tidegate.storage_copy
            set seen = now(), adopted = adopted or p_adopt,
                state = case when present.sha256 = '' then 'stored' else state end,
                due = case when present.sha256 = '' then null else due end
            where id = present.id;
            unchanged := unchanged + 1;
            continue;
        elsif is_copy then
            delete from tidegate.storage_copy where id = present.id;
            bytes_added := bytes_added - present.bytes;
            changed := changed + 1;
        else
            select v.size, v.vendor_bucket, v.vendor_etag into earlier
            from tidegate.storage_object o join tidegate.storage_version v on v.id = o.version
            where o.repository = p_repository and o.key = item.key;
            -- A mirror or a drain has moved it away.
            if found and earlier.vendor_bucket = p_bucket then
                if earlier.vendor_etag = item.etag and earlier.size = item.size then
                    unchanged := unchanged + 1;
                    continue;
                end if;
                changed := changed + 1;
            elsif found
                -- It was written here, and is known.
                or (item.key like 'tidegate/%' and exists (
                    select from tidegate.storage_copy where id = substr(item.key, length('tidegate/') + 1)
                ))
                -- A client has deleted it, and it is about to be swept, or was after it was listed.
                or exists (
                    select from tidegate.storage_copy
                    where bucket = p_bucket and state = 'doomed' and adopted and vendor_key = item.key
                )
                or exists (
                    select from tidegate.storage_import_deleted
                    where bucket = p_bucket and key = item.key and at >= p_begun
                )
            then
                kept := kept + 1;
                continue;
            else
                added := added + 1;
            end if;
        end if;
        insert into tidegate.storage_copy
            (id, blob, bucket, bytes, state, vendor_key, vendor_etag, adopted, seen)
        values (item.id, item.id, p_bucket, item.size, 'stored', item.key, item.etag, p_adopt, now());
        insert into tidegate.storage_blob (id, version, number, size, sha256, etag)
        values (item.id, item.id, 1, item.size, '', item.etag);
        perform tidegate.storage_publish(
            p_repository, item.key, item.id, item.size, btrim(item.etag, '"'), '{}'::jsonb, p_after
        );
        update tidegate.storage_version
        set modified = to_timestamp(item.modified), vendor_bucket = p_bucket, vendor_etag = item.etag
        where id = item.id;
        bytes_added := bytes_added + item.size;
    end loop;
    update tidegate.storage_bucket set held = held + bytes_added where id = p_bucket;
    return next;
end $$;
create index storage_copy_adopted on tidegate.storage_copy (bucket, vendor_key) where state = 'doomed' and adopted;

-- Imported copies below a prefix that were not seen since a time, and all of them. What gateways have written
-- is among them only if it was asked for.
create function tidegate.storage_import_unseen(
    p_repository text, p_bucket text, p_prefix text, p_own boolean, p_before timestamptz
) returns table (unseen bigint, known bigint)
language sql
as $$
    select count(*) filter (where c.seen < p_before), count(*)
    from tidegate.storage_copy c
    join tidegate.storage_blob b on b.id = c.blob
    join tidegate.storage_object o on o.version = b.version and o.repository = p_repository
    where c.bucket = p_bucket and c.vendor_key is not null and c.state <> 'doomed'
        and starts_with(c.vendor_key, p_prefix) and (p_own or not starts_with(c.vendor_key, 'tidegate/'))
$$;

-- Forgets some imported copies that were not seen since a time: their objects are gone. An object goes with
-- its last copy. Returns how many copies that were.
create function tidegate.storage_import_gone(
    p_repository text, p_bucket text, p_prefix text, p_own boolean, p_before timestamptz, p_most integer,
    p_after interval
) returns bigint
language plpgsql
as $$
declare
    item record;
    gone bigint := 0;
    bytes_gone bigint := 0;
begin
    for item in
        select c.id, c.bytes, c.blob, o.key, o.version
        from tidegate.storage_copy c
        join tidegate.storage_blob b on b.id = c.blob
        join tidegate.storage_object o on o.version = b.version and o.repository = p_repository
        where c.bucket = p_bucket and c.vendor_key is not null and c.state <> 'doomed'
            and c.seen < p_before and starts_with(c.vendor_key, p_prefix)
            and (p_own or not starts_with(c.vendor_key, 'tidegate/'))
        order by o.key limit p_most
    loop
        perform tidegate.storage_lock(p_repository, item.key);
        perform 1 from tidegate.storage_blob where id = item.blob for update;
        delete from tidegate.storage_copy where id = item.id and state <> 'doomed' and seen < p_before;
        if not found then
            continue;
        end if;
        bytes_gone := bytes_gone + item.bytes;
        if not exists (
            select from tidegate.storage_copy where blob = item.blob and state in ('stored', 'suspect')
        ) then
            delete from tidegate.storage_object
            where repository = p_repository and key = item.key and version = item.version;
            perform tidegate.storage_doom(item.version, p_after);
        end if;
        gone := gone + 1;
    end loop;
    update tidegate.storage_bucket set held = held - bytes_gone where id = p_bucket;
    return gone;
end $$;
