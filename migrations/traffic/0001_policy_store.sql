-- The policy store: revisions of the traffic policy, their rollouts, and what every gateway reports.
-- `tidegate policy` writes the first two, gateways the third. Gateways follow rollouts, not revisions:
-- in force is the revision of the finished rollout with the greatest number.
--
-- What the rules below exclude cannot happen, whoever writes: no revision changes or disappears, no
-- rollout that has ended changes, and there is one open rollout at most.

create table tidegate.traffic_revision (
    revision   int         primary key,
    body       text        not null,
    sha256     text        not null,           -- of the body in UTF-8, in hexadecimal
    language   int         not null,           -- the least version of the language that can read it
    floor      int         not null default 0, -- revisions below it are void
    signature  bytea,
    author     text        not null,
    note       text        not null default '',
    created_at timestamptz not null default now(),
    constraint traffic_revision_is_a_number check (revision > 0),
    constraint traffic_body_is_bounded check (octet_length(body) between 1 and 262144),
    constraint traffic_floor_is_a_number check (floor >= 0),
    constraint traffic_language_is_a_number check (language > 0),
    constraint traffic_sha256_is_bounded check (octet_length(sha256) <= 64),
    constraint traffic_signature_is_bounded check (octet_length(signature) <= 64)
);

create table tidegate.traffic_rollout (
    rollout      bigint      generated always as identity primary key,
    kind         text        not null,
    revision     int         not null,           -- 0: the built-in policy
    base         int         not null,           -- what was in force before, 0: the built-in policy
    regions      text[]      not null,           -- in the order of the rollout
    stage        text        not null default 'shadow',
    region       text,                           -- the one at work; those before it have finished
    share        int         not null default 0, -- of its keys, of 10,000
    bake         interval    not null default '60 s',
    blast_radius int         not null default 10000, -- of 10,000 decisions
    judge        text        not null default 'errors,latency',
    leader       text        not null,
    beat         bigint      not null default 0,
    paused       bool        not null default false,
    started_at   timestamptz not null default clock_timestamp(),
    renewed_at   timestamptz not null default clock_timestamp(),
    by           text        not null,
    outcome      text,
    reason       text,
    ended_at     timestamptz,
    constraint traffic_kind_is_known check (kind in ('rollout', 'rollback')),
    constraint traffic_revisions_are_numbers check (revision >= 0 and base >= 0),
    constraint traffic_stage_is_known check (stage in ('shadow', 'share')),
    constraint traffic_share_has_a_region check ((stage = 'share') = (region is not null)),
    constraint traffic_beat_is_a_number check (beat >= 0),
    constraint traffic_regions_are_names check (array_position(regions, null) is null),
    constraint traffic_rollout_is_a_number check (rollout >= 0),
    constraint traffic_share_is_bounded check (share between 0 and 10000),
    constraint traffic_outcome_is_known check (outcome in ('done', 'aborted', 'stopped', 'expired')),
    constraint traffic_end_has_a_time check ((outcome is null) = (ended_at is null))
);

create unique index traffic_rollout_open on tidegate.traffic_rollout ((true)) where outcome is null;
create index traffic_rollout_done on tidegate.traffic_rollout (rollout) where outcome = 'done';

create table tidegate.traffic_gateway (
    gateway     text        primary key,
    region      text        not null,
    version     text        not null,
    language    int         not null,
    rollout     bigint      not null,
    revision    int         not null,
    share       int         not null,
    state       text        not null,
    refused     text,
    report      jsonb       not null default '{}',
    reported_at timestamptz not null default clock_timestamp()
);

create function tidegate.refuse_change() returns trigger
language plpgsql
as $$
begin
    raise exception '% is append-only: % is refused', tg_table_name, lower(tg_op)
        using errcode = 'restrict_violation';
end
$$;

create trigger traffic_revision_is_append_only
    before update or delete on tidegate.traffic_revision
    for each row execute function tidegate.refuse_change();
create trigger traffic_revision_is_not_emptied
    before truncate on tidegate.traffic_revision
    for each statement execute function tidegate.refuse_change();
create trigger traffic_rollout_is_not_deleted
    before delete on tidegate.traffic_rollout
    for each row execute function tidegate.refuse_change();
create trigger traffic_rollout_is_not_emptied
    before truncate on tidegate.traffic_rollout
    for each statement execute function tidegate.refuse_change();

create function tidegate.refuse_change_of_rollout() returns trigger
language plpgsql
as $$
begin
    if old.outcome is not null then
        raise exception 'rollout % has ended: %', old.rollout, old.outcome
            using errcode = 'restrict_violation';
    end if;
    if (new.rollout, new.kind, new.revision, new.base, new.regions)
        is distinct from (old.rollout, old.kind, old.revision, old.base, old.regions)
    then
        raise exception 'rollout %: kind, revision, base and regions do not change', old.rollout
            using errcode = 'restrict_violation';
    end if;
    return new;
end
$$;

create trigger traffic_rollout_keeps_what_it_is
    before update on tidegate.traffic_rollout
    for each row execute function tidegate.refuse_change_of_rollout();
