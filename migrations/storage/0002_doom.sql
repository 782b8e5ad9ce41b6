-- Parts of a repository's uploads are deleted with it, and a copy that is being added is not left behind.

-- No cascade: the parts of an upload would stay at their buckets.
alter table tidegate.storage_upload drop constraint storage_upload_repository_fkey;
alter table tidegate.storage_upload
    add constraint storage_upload_repository_fkey foreign key (repository) references tidegate.storage_repository;

-- Forgets the blobs of a version; their bytes are deleted later. The blobs are locked first, as by
-- storage_add_copy: a copy is added before, and doomed here, or not at all.
create or replace function tidegate.storage_doom(p_version text, p_after interval) returns void
language plpgsql
as $$
begin
    perform 1 from tidegate.storage_blob where version = p_version order by id for update;
    update tidegate.storage_copy set state = 'doomed', due = now() + p_after
    where blob in (select id from tidegate.storage_blob where version = p_version);
    delete from tidegate.storage_blob where version = p_version;
    delete from tidegate.storage_version where id = p_version;
end $$;

-- Removes a repository and its uploads. Fails if it has objects. Answers whether there was one.
create function tidegate.storage_remove_repository(p_repository text) returns boolean
language plpgsql
as $$
declare
    upload text;
begin
    -- No upload or object is begun meanwhile.
    perform 1 from tidegate.storage_repository where id = p_repository for update;
    for upload in delete from tidegate.storage_upload where repository = p_repository returning id loop
        perform tidegate.storage_doom(upload, interval '0 s');
    end loop;
    delete from tidegate.storage_repository where id = p_repository;
    return found;
end $$;
