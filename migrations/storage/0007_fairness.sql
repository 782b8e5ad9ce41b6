-- Moves of which every repository has its turn, attempts that count once, samples in batches, and changes of a
-- repository that do not undo one another.

-- Grows with every change: one that was made from what another one has replaced is made anew.
alter table tidegate.storage_repository add column revision bigint not null default 0;

-- Whose blob it is.
alter table tidegate.storage_task add column repository text not null default '';

create function tidegate.storage_blob_repository(p_blob text) returns text
language sql stable
as $$
    select coalesce(o.repository, u.repository, '')
    from tidegate.storage_blob b
    left join tidegate.storage_object o on o.version = b.version
    left join tidegate.storage_upload u on u.id = b.version
    where b.id = p_blob
$$;
update tidegate.storage_task set repository = coalesce(tidegate.storage_blob_repository(blob), '');

create function tidegate.storage_task_repository() returns trigger
language plpgsql
as $$
begin
    new.repository := coalesce(tidegate.storage_blob_repository(new.blob), '');
    return new;
end $$;
create trigger storage_task_repository before insert on tidegate.storage_task
    for each row execute function tidegate.storage_task_repository();

drop index tidegate.storage_task_due;
create index storage_task_due on tidegate.storage_task (bucket, repository, due);

-- Some of the repositories of which something is due at a bucket, in any order. One step of the index for each,
-- however many tasks there are.
create function tidegate.storage_due(p_bucket text, p_most integer) returns setof text
language sql
as $$
    with recursive those (repository) as (
        (
            select t.repository from tidegate.storage_task t
            where t.bucket = p_bucket order by t.repository limit 1
        )
        union all
        select (
            select t.repository from tidegate.storage_task t
            where t.bucket = p_bucket and t.repository > those.repository order by t.repository limit 1
        )
        from those where those.repository is not null
    )
    select those.repository from those
    where exists (
        select from tidegate.storage_task t
        where t.bucket = p_bucket and t.repository = those.repository and t.due <= now()
    )
    order by random() limit p_most
$$;

drop function tidegate.storage_claim_task(text, text, interval);
-- Claims what is due at a bucket of a repository, the oldest first, for a while. It is stale if the bucket is not
-- the mirror any more.
create function tidegate.storage_claim_task(p_bucket text, p_repository text, p_claim text, p_for interval)
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
            where s.bucket = p_bucket and s.repository = p_repository and s.due <= now()
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

-- Whether a task is still that of a claim, and stays so in this transaction: else another gateway is at it, or it
-- is not wanted any more.
create function tidegate.storage_task_held(p_bucket text, p_kind text, p_blob text, p_claim text) returns boolean
language plpgsql
as $$
begin
    perform 1 from tidegate.storage_task
    where bucket = p_bucket and kind = p_kind and blob = p_blob and claim = p_claim for update;
    return found;
end $$;

-- Has a task done anew that was overtaken: its copy is not what it was when the task was claimed. That is no
-- failure.
create function tidegate.storage_task_again(p_bucket text, p_kind text, p_blob text, p_claim text) returns void
language sql
as $$
    update tidegate.storage_task set claim = null, due = now() + interval '1 s'
    where bucket = p_bucket and kind = p_kind and blob = p_blob and claim = p_claim
$$;

drop function tidegate.storage_task_failed(text, text, text, text, text);
-- Puts a task off that has failed: for longer each time, up to ten minutes. False if it is not that of the claim
-- any more: whoever is at it counts.
create function tidegate.storage_task_failed(
    p_bucket text, p_kind text, p_blob text, p_claim text, p_error text
) returns boolean
language plpgsql
as $$
begin
    update tidegate.storage_task
    set failures = least(failures + 1, 30), error = p_error, claim = null,
        due = now() + interval '1 s' * least(2 ^ failures, 600)
    where bucket = p_bucket and kind = p_kind and blob = p_blob and claim = p_claim;
    return found;
end $$;

-- Ends the mirroring of a blob whose cold copy was read back in full; deletes the others if the repository does
-- not keep them now. False if the copy is not needed any more. The task stays if the copy cannot be kept, such
-- as one whose reservation has expired: nothing else would mirror the blob.
create or replace function tidegate.storage_mirrored(
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
    if not found or not tidegate.storage_task_held(p_bucket, 'mirror', p_blob, p_claim) then
        return false;
    end if;
    if not exists (select from tidegate.storage_bucket where id = p_bucket and name = mirror ->> 'to') then
        perform tidegate.storage_task_done(p_bucket, 'mirror', p_blob, p_claim);
        return false;
    end if;
    if not tidegate.storage_keep_verified(p_blob, p_copy, p_sha256) then
        perform tidegate.storage_task_again(p_bucket, 'mirror', p_blob, p_claim);
        return false;
    end if;
    perform tidegate.storage_task_done(p_bucket, 'mirror', p_blob, p_claim);
    if not (mirror ->> 'keepHot')::boolean then
        update tidegate.storage_copy set state = 'doomed', due = now() + p_after
        where blob = p_blob and id <> p_copy and state in ('stored', 'suspect');
    end if;
    return true;
end $$;

-- Deletes the copies of a blob in a bucket, of which another copy was read back in full. False if that one
-- is not needed any more.
create or replace function tidegate.storage_drained(
    p_blob text, p_bucket text, p_claim text, p_copy text, p_sha256 text, p_after interval
) returns boolean
language plpgsql
as $$
begin
    perform 1 from tidegate.storage_blob where id = p_blob for update;
    if not found or not tidegate.storage_task_held(p_bucket, 'drain', p_blob, p_claim) then
        return false;
    end if;
    if not tidegate.storage_keep_verified(p_blob, p_copy, p_sha256) then
        perform tidegate.storage_task_again(p_bucket, 'drain', p_blob, p_claim);
        return false;
    end if;
    perform tidegate.storage_task_done(p_bucket, 'drain', p_blob, p_claim);
    update tidegate.storage_copy set state = 'doomed', due = now() + p_after
    where blob = p_blob and bucket = p_bucket and id <> p_copy and state in ('stored', 'suspect');
    return true;
end $$;

drop function tidegate.storage_restore_failed(text, text, text, text, text, text);
-- Records that a copy could not be restored; it is repaired, unless it is the last one. False, and nothing is
-- recorded, if its version was replaced while it was read, or the copy was moved, or another gateway has the
-- task: then it was deleted rather than damaged.
create function tidegate.storage_restore_failed(
    p_blob text, p_task_bucket text, p_kind text, p_claim text, p_bucket text, p_copy text, p_repository text,
    p_key text, p_error text
) returns boolean
language plpgsql
as $$
begin
    perform 1 from tidegate.storage_blob where id = p_blob for update;
    if not found
        or not tidegate.storage_task_held(p_task_bucket, p_kind, p_blob, p_claim)
        or not exists (
            select from tidegate.storage_copy c where c.id = p_copy
                and (c.state = 'reserved' or c.blob = p_blob and c.state in ('stored', 'suspect'))
        )
    then
        return false;
    end if;
    insert into tidegate.storage_failed_restore (repository, key, bucket, copy, error)
    select r.name, p_key, b.name, p_copy, p_error
    from tidegate.storage_repository r, tidegate.storage_bucket b
    where r.id = p_repository and b.id = p_bucket;
    delete from tidegate.storage_failed_restore where at < now() - interval '90 days';
    if p_kind = 'restore' then
        perform tidegate.storage_task_done(p_task_bucket, p_kind, p_blob, p_claim);
    end if;
    perform tidegate.storage_suspect(p_copy);
    return true;
end $$;

-- While a sample of the mirror is chosen, the last key that was looked at, and whether it has one already.
alter table tidegate.storage_repository
    add column restores_after text collate "C",
    add column restores_chosen boolean not null default false;

drop function tidegate.storage_sample(text, text, interval, double precision);
-- Has a share of a mirror's copies read back, one at least, once in a period: those of some more objects, in the
-- order of their keys. In a transaction of its own for each batch, however many there are, so that one that is
-- killed goes on.
create function tidegate.storage_sample(
    p_repository text, p_bucket text, p_every interval, p_share double precision, p_most integer
) returns void
language plpgsql
as $$
declare
    its record;
    keys text[];
    versions text[];
    queued bigint;
begin
    select restores_due, coalesce(restores_after, '') as reached, restores_chosen and restores_after is not null as chosen,
        restores_after is null as begins
    into its from tidegate.storage_repository
    where id = p_repository and (restores_due is null or restores_due <= now() or restores_after is not null)
    for no key update skip locked;
    if not found then
        return;
    end if;
    if its.begins then
        update tidegate.storage_repository set restores_due = now() + p_every where id = p_repository;
    end if;
    if its.restores_due is null then
        return;
    end if;
    select array_agg(next.key order by next.key), array_agg(next.version) into keys, versions
    from (
        select o.key, o.version from tidegate.storage_object o
        where o.repository = p_repository and o.key > its.reached collate "C" order by o.key limit p_most
    ) next;
    with there as (
        select c.blob from tidegate.storage_blob b
        join tidegate.storage_copy c on c.blob = b.id and c.bucket = p_bucket and c.state = 'stored'
        where b.version = any (versions)
    ), queued as (
        insert into tidegate.storage_task (bucket, kind, blob)
        select p_bucket, 'restore', there.blob from there order by random()
        limit greatest(
            case when its.chosen then 0 else 1 end,
            floor((select count(*) from there) * p_share + random())
        )::bigint
        on conflict do nothing
        returning 1
    )
    select count(*) into queued from queued;
    update tidegate.storage_repository
    set restores_after = case when cardinality(keys) = p_most then keys[p_most] end,
        restores_chosen = its.chosen or queued > 0
    where id = p_repository;
end $$;
