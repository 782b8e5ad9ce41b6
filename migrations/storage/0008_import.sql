-- Bytes that an import has found are those of one copy. An object at `tidegate/ID` may be imported, as a copy whose
-- id is another one: it is not lost, and its bytes are not those of a second copy, which would be deleted with it.

-- Forgets second copies of imported bytes that were made nevertheless, if their blobs have others. One that is the
-- last of its blob stays: the sweeper does not delete its bytes.
with second as materialized (
    select o.id, o.blob, o.bucket, o.bytes
    from tidegate.storage_copy o
    join tidegate.storage_copy v on v.bucket = o.bucket and v.vendor_key = 'tidegate/' || o.id
    where o.vendor_key is null and o.state in ('stored', 'suspect') and v.state <> 'doomed'
), forgotten as (
    delete from tidegate.storage_copy c using second s
    where c.id = s.id and exists (
        select from tidegate.storage_copy other
        where other.blob = s.blob and other.state = 'stored' and other.id not in (select id from second)
    )
    returning c.bucket, c.bytes
)
update tidegate.storage_bucket b set held = held - f.bytes
from (select bucket, sum(bytes)::bigint as bytes from forgotten group by bucket) f
where b.id = f.bucket;

-- Whether an object of a bucket that was written by a gateway is an imported copy, or one that was adopted and is
-- about to be deleted. Two questions, of which each has an index.
create function tidegate.storage_is_imported(p_bucket text, p_id text) returns boolean
language sql stable
as $$
    select exists (
        select from tidegate.storage_copy
        where bucket = p_bucket and vendor_key = 'tidegate/' || p_id and state <> 'doomed'
    ) or exists (
        select from tidegate.storage_copy
        where bucket = p_bucket and vendor_key = 'tidegate/' || p_id and state = 'doomed' and adopted
    )
$$;

drop function tidegate.storage_import_lost(text[], bigint[]);
-- Of objects in a bucket that were written by a gateway, by id, those that the index does not know, as its own or
-- as imported, and that may be copies of blobs that it knows.
create function tidegate.storage_import_lost(p_bucket text, p_ids text[], p_sizes bigint[])
returns table (id text, size bigint)
language sql
as $$
    select it.id, it.size from unnest(p_ids, p_sizes) as it (id, size)
    where not exists (select from tidegate.storage_copy c where c.id = it.id)
        and not tidegate.storage_is_imported(p_bucket, it.id)
        and exists (select from tidegate.storage_blob b where b.size = it.size and b.sha256 <> '')
$$;

-- Makes such an object a copy of a blob with the same bytes, one that has none in this bucket. False if there
-- is none, or the object was imported meanwhile.
create or replace function tidegate.storage_import_found(p_bucket text, p_copy text, p_size bigint, p_sha256 text)
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
    if not found or tidegate.storage_is_imported(p_bucket, p_copy) then
        return false;
    end if;
    insert into tidegate.storage_copy (id, blob, bucket, bytes, state, verified)
    values (p_copy, of_blob, p_bucket, p_size, 'stored', now()) on conflict do nothing;
    if found then
        update tidegate.storage_bucket set held = held + p_size where id = p_bucket;
    end if;
    return true;
end $$;

-- Claims copies of a bucket that are to be deleted, for a while. What a crash has reserved counts once its
-- lease is over. Of an imported copy there is nothing to delete unless it was adopted, and of one whose bytes are
-- also those of another copy there is nothing either: as an imported one, it is only forgotten.
create or replace function tidegate.storage_claim(p_bucket text, p_most integer, p_for interval)
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
    returning c.id, c.upload, claimed.reserved,
        case when c.vendor_key is not null then tidegate.storage_copy_json(c) -> 'vendor' else coalesce((
            select tidegate.storage_copy_json(v) -> 'vendor' from tidegate.storage_copy v
            where v.bucket = p_bucket and v.vendor_key = 'tidegate/' || c.id and v.state <> 'doomed'
        ), 'null') end,
        c.adopted and not exists (
            select from tidegate.storage_copy o
            where o.id = substr(c.vendor_key, length('tidegate/') + 1) and starts_with(c.vendor_key, 'tidegate/')
                and o.bucket = p_bucket and o.vendor_key is null and o.state in ('stored', 'suspect')
        )
$$;
