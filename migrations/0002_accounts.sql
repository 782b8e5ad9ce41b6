-- Accounts and who they belong to. A user's account is named by the `sub` claim of the user's JWT.
-- System accounts are the ledger's other side (0003); no token speaks for them.

create table accounts (
    id         bigint      generated always as identity primary key,
    name       text        not null,
    system     boolean     not null default false,
    full_name  text,
    email      text,
    country    text,
    created_at timestamptz not null default now(),
    constraint account_name_is_unique unique (name),
    constraint account_name_is_bounded check (length(name) between 1 and 255),
    constraint account_name_tells_system_from_user check (system = starts_with(name, 'system:')),
    constraint account_country_is_iso_3166 check (country ~ '^[A-Z]{2}$'),
    unique (id, system) -- lets a balance carry `system` and be held to it
);

-- verified: moves money; pending: may on-ramp and receive; rejected: neither.
create table kyc (
    account_id bigint      primary key references accounts,
    status     text        not null default 'pending',
    updated_at timestamptz not null default now(),
    constraint kyc_status_is_known check (status in ('pending', 'verified', 'rejected'))
);

-- settlement: money on its way from or to the world outside (banks, cards, mobile money).
-- issuance: minus what has been minted and not yet redeemed.
insert into accounts (name, system) values ('system:settlement', true), ('system:issuance', true);

-- For operators: opens a user's account with its KYC record; null when the name is taken.
create function open_account(account text, full_name text, email text, country text)
returns bigint
language sql
set search_path = public, pg_temp
as $$
    with opened as (
        insert into accounts (name, full_name, email, country)
        values (open_account.account, open_account.full_name, open_account.email, open_account.country)
        on conflict (name) do nothing
        returning id
    )
    insert into kyc (account_id) select id from opened returning account_id
$$;
