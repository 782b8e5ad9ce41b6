-- Copies that are damaged or missing are repaired, each bucket is swept by itself, and what a provider
-- still has of an upload that was not finished can be aborted.

-- The provider's id of an upload in parts, until it is completed.
alter table tidegate.storage_copy add column upload text;
-- How many times its bucket has not deleted it.
alter table tidegate.storage_copy add column refusals integer not null default 0;

drop index tidegate.storage_copy_due;
create index storage_copy_due on tidegate.storage_copy (bucket, due) where state in ('reserved', 'doomed');
-- Of a suspect copy, `due` is when the next repair may begin.
create index storage_copy_suspect on tidegate.storage_copy (bucket, due) where state = 'suspect';

create function tidegate.storage_copy_state() returns trigger
language plpgsql
as $$
begin
    if new.state = 'stored' then
        new.upload := null;
    end if;
    if new.state = 'suspect' then
        new.due := coalesce(new.due, now());
    end if;
    -- A copy that is being repaired is not deleted before its bytes have arrived: none would be left behind.
    if old.state = 'suspect' and new.state = 'doomed' then
        new.due := greatest(new.due, old.due);
    end if;
    return new;
end $$;
create trigger storage_copy_state before update of state on tidegate.storage_copy
    for each row execute function tidegate.storage_copy_state();

-- Claims copies of a bucket that are to be deleted, for a while. What a crash has reserved counts once its
-- lease is over.
create function tidegate.storage_claim(p_bucket text, p_most integer, p_for interval)
returns table (id text, upload text, reserved boolean)
language sql
as $$
    update tidegate.storage_copy c set due = now() + p_for, state = 'doomed'
    from (
        select s.id, s.state = 'reserved' as reserved from tidegate.storage_copy s
        where s.bucket = p_bucket and s.state in ('reserved', 'doomed') and s.due <= now()
        order by s.due limit p_most for update skip locked
    ) claimed
    where c.id = claimed.id
    returning c.id, c.upload, claimed.reserved
$$;

-- Has a copy deleted whose bytes are there and that no blob refers to; adds it, and counts it, if its
-- reservation has expired and is gone.
create function tidegate.storage_doom_copy(p_copy text, p_bucket text, p_bytes bigint) returns void
language plpgsql
as $$
begin
    update tidegate.storage_copy set state = 'doomed', due = now()
    where id = p_copy and state in ('reserved', 'doomed');
    if not found then
        insert into tidegate.storage_copy (id, bucket, bytes, state, due)
        values (p_copy, p_bucket, p_bytes, 'doomed', now());
        update tidegate.storage_bucket set held = held + p_bytes where id = p_bucket;
    end if;
end $$;

-- Puts copies off that their bucket does not delete: for longer each time, so that the others have their turn.
create function tidegate.storage_put_off(p_copies text[]) returns void
language sql
as $$
    update tidegate.storage_copy
    set refusals = least(refusals + 1, 9), due = now() + interval '1 min' * 2 ^ refusals
    where id = any (p_copies) and state = 'doomed'
$$;

-- Takes a copy out of reads; never the last one of its blob, which may have been damaged only on the way.
create function tidegate.storage_suspect(p_copy text) returns void
language plpgsql
as $$
declare
    of_blob text;
begin
    -- One at a time of each blob, so that two do not take each other for the one that stays.
    select b.id into of_blob
    from tidegate.storage_copy c join tidegate.storage_blob b on b.id = c.blob
    where c.id = p_copy for update of b;
    update tidegate.storage_copy set state = 'suspect', due = now()
    where id = p_copy and state = 'stored' and exists (
        select from tidegate.storage_copy o
        where o.blob = of_blob and o.id <> p_copy and o.state = 'stored'
    );
end $$;

-- Claims a suspect copy of a bucket, for a while; returns what it should be, and the copies that are good.
create function tidegate.storage_claim_suspect(p_bucket text, p_for interval)
returns table (id text, upload text, size bigint, sha256 text, good json)
language sql
as $$
    update tidegate.storage_copy c set due = now() + p_for
    from (
        select s.id from tidegate.storage_copy s
        where s.bucket = p_bucket and s.state = 'suspect' and s.due <= now()
        order by s.due limit 1 for update skip locked
    ) claimed, tidegate.storage_blob b
    where c.id = claimed.id and b.id = c.blob
    returning c.id, c.upload, b.size, b.sha256, (
        select coalesce(json_agg(json_build_object('id', o.id, 'bucket', o.bucket)), '[]')
        from tidegate.storage_copy o where o.blob = b.id and o.state = 'stored'
    )
$$;

-- Lets a copy be read again that was suspect; bytes that were written for it count. False if its blob is
-- gone: its bytes are to be deleted.
create function tidegate.storage_trust(p_copy text, p_written bigint) returns boolean
language plpgsql
as $$
declare
    target text;
begin
    update tidegate.storage_copy set state = 'stored', due = null
    where id = p_copy and state = 'suspect' returning bucket into target;
    if not found then
        return exists (select from tidegate.storage_copy where id = p_copy and state = 'stored');
    end if;
    update tidegate.storage_bucket
    set written = case when written_month = tidegate.storage_month() then written else 0 end + p_written,
        written_month = tidegate.storage_month()
    where id = target;
    return true;
end $$;

-- Copies that were found damaged before.
update tidegate.storage_copy set due = now() where state = 'suspect' and due is null;
