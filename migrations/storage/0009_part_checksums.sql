-- Checksums of parts, with which those that a client names when it completes its upload are compared.

-- In base64, by the name of their algorithm. Null if they were not kept, since a gateway of an older version has
-- stored the part.
alter table tidegate.storage_blob add column checksums jsonb;

-- Stores a part with the checksums that it came with. Answers what the function without them does, which gateways of
-- an older version call.
create function tidegate.storage_put_part(
    p_upload text, p_number integer, p_blob text, p_size bigint, p_sha256 text, p_etag text, p_checksums jsonb,
    p_copies text[], p_after interval
) returns text
language plpgsql
as $$
declare
    outcome text := tidegate.storage_put_part(
        p_upload, p_number, p_blob, p_size, p_sha256, p_etag, p_copies, p_after
    );
begin
    if outcome = 'stored' then
        update tidegate.storage_blob set checksums = p_checksums where id = p_blob;
    end if;
    return outcome;
end $$;
