-- Keys with a second secret while they are rotated, and buckets that must not lie in a private network.

-- Holds beside the other secret until the rotation is finished, or for 24 hours.
alter table tidegate.storage_key
    add column next_secret bytea,
    add column rotated timestamptz,
    add constraint storage_key_rotation check ((next_secret is null) = (rotated is null));

-- Whether its endpoint must have a public address: so were those declared that came over the network.
alter table tidegate.storage_bucket add column public_only boolean not null default false;
