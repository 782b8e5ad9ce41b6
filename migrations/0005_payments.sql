-- Moving money. Each write is one function call in one database transaction:
--
--   kind         when asked for             status      when completed           when failed
--   transfer     owner    -> recipient      completed
--   mint         issuance -> owner          completed
--   onramp       (nothing yet)              pending     settlement -> owner      (nothing)
--   offramp      owner    -> settlement     pending     (nothing)                settlement -> owner
--   redemption   owner    -> settlement     pending     settlement -> issuance   settlement -> owner
--
-- An on-ramp is an intent: the money counts once it has arrived from outside. Off-ramps and
-- redemptions take the money at once, so that it cannot be spent twice while the payout is on its
-- way. Pending ones are settled by the operator (settle_transaction below).
--
-- What a client did wrong is raised as PT400 (malformed), PT409 (key reused) or P0001 (refused);
-- these messages are shown to the client. Nothing of a refused request stays, its key included.

create table posting_rules (
    kind  text not null,
    event text not null,
    payer text not null,
    payee text not null,
    primary key (kind, event),
    constraint posting_event_is_known check (event in ('created', 'completed', 'failed'))
);

insert into posting_rules (kind, event, payer, payee) values
    ('transfer',   'created',   'owner',      'recipient'),
    ('mint',       'created',   'issuance',   'owner'),
    ('onramp',     'completed', 'settlement', 'owner'),
    ('offramp',    'created',   'owner',      'settlement'),
    ('offramp',    'failed',    'settlement', 'owner'),
    ('redemption', 'created',   'owner',      'settlement'),
    ('redemption', 'completed', 'settlement', 'issuance'),
    ('redemption', 'failed',    'settlement', 'owner');

-- A key belongs to its account and names one request, of whatever kind.
create table idempotency_keys (
    account_id     bigint      not null references accounts,
    key            text        not null,
    request        jsonb       not null, -- what was asked, to tell a repetition from a reuse
    transaction_id bigint      not null references transactions deferrable initially deferred,
    created_at     timestamptz not null default now(),
    primary key (account_id, key),
    constraint idempotency_key_is_bounded check (length(key) between 1 and 255)
);

create index idempotency_keys_by_age on idempotency_keys (created_at);

create function initial_status(kind text) returns text
language sql immutable
return case when kind in ('transfer', 'mint') then 'completed' else 'pending' end;

-- The steps of a write follow. They are called under the search_path of the entry points at the end
-- of this file, and are PL/pgSQL because it keeps their plans for the life of a connection.

-- Refuses what is malformed whatever the database holds.
create function check_request(kind text, recipient text, amount text, currency text, key text)
returns void
language plpgsql immutable
as $$
begin
    if coalesce(key, '') = '' then
        raise exception 'the Idempotency-Key header is required' using errcode = 'PT400';
    elsif length(key) > 255 then
        raise exception 'the Idempotency-Key header is longer than 255 characters' using errcode = 'PT400';
    elsif kind = 'transfer' and coalesce(recipient, '') = '' then
        raise exception '"to" is required: the name of the receiving account' using errcode = 'PT400';
    elsif coalesce(currency, '') = '' then
        raise exception '"currency" is required' using errcode = 'PT400';
    elsif amount is null or amount !~ '^[0-9]{1,15}(\.[0-9]{1,8})?$' then
        raise exception '"amount" must be a positive decimal string such as "25.00"' using errcode = 'PT400';
    end if;
end
$$;

-- The amount as a number, at most as fine as its currency.
create function parse_amount(amount text, currency text) returns numeric
language plpgsql stable
as $$
declare
    decimals constant int := (select scale from currencies where code = parse_amount.currency);
    parsed   constant numeric := amount::numeric;
begin
    if decimals is null then
        raise exception 'unknown currency';
    elsif parsed = 0 then
        raise exception '"amount" must be greater than zero';
    elsif scale(parsed) > decimals then
        raise exception '"amount" has more than the % decimals of %', decimals, currency;
    end if;
    return parsed;
end
$$;

create function user_account(account text) returns bigint
language plpgsql stable
as $$ begin return (select id from accounts where name = account and not system); end $$;

create function kyc_status(account bigint) returns text
language plpgsql stable
as $$ begin return coalesce((select status from kyc where account_id = account), 'pending'); end $$;

create function check_kyc(kind text, owner bigint, recipient bigint) returns void
language plpgsql stable
as $$
declare
    status constant text := kyc_status(owner);
begin
    if status = 'rejected' or status = 'pending' and kind <> 'onramp' then
        raise exception 'the account''s KYC is %, which does not allow this', status;
    elsif kyc_status(recipient) = 'rejected' then
        raise exception 'the recipient cannot receive transfers';
    end if;
end
$$;

-- Claims a key for a request: a fresh transaction id, or the id of the transaction that the same
-- request made before. When two arrive at once the second waits here until the first has ended.
create function claim_key(owner bigint, key text, request jsonb, out id bigint, out repeated boolean)
language plpgsql
as $$
declare
    earlier idempotency_keys;
begin
    id := nextval('transaction_ids');
    insert into idempotency_keys (account_id, key, request, transaction_id)
        values (owner, claim_key.key, claim_key.request, id)
        on conflict do nothing;
    repeated := not found;
    if repeated then
        select * into strict earlier from idempotency_keys k
            where k.account_id = owner and k.key = claim_key.key;
        if earlier.request <> claim_key.request then
            raise exception 'the Idempotency-Key was used for another request' using errcode = 'PT409';
        end if;
        id := earlier.transaction_id;
    end if;
end
$$;

create function posting_account(posted transactions, party text) returns bigint
language plpgsql stable
as $$
begin
    return case party
        when 'owner' then posted.account_id
        when 'recipient' then posted.recipient_id
        else (select id from accounts where name = 'system:' || party)
    end;
end
$$;

-- Inserts the entries of a transaction's event, in the order that apply_entry asks for.
create function post_entries(posted transactions, happened text) returns void
language plpgsql
as $$
begin
    insert into entries (transaction_id, account_id, currency, amount)
        select posted.id, leg.account_id, posted.currency, leg.amount
        from posting_rules rule
        cross join lateral (values
            (posting_account(posted, rule.payer), -posted.amount),
            (posting_account(posted, rule.payee), posted.amount)
        ) as leg (account_id, amount)
        where rule.kind = posted.kind and rule.event = happened
        order by leg.account_id;
end
$$;

-- The common path of the five functions below.
create function create_transaction(
    kind text, caller text, recipient text, amount text, currency text, key text
) returns transaction_details
language plpgsql
as $$
declare
    owner        constant bigint := user_account(caller);
    recipient_id constant bigint := user_account(recipient);
    claim        record;
    created      transactions;
    answer       transaction_details;
begin
    perform check_request(kind, recipient, amount, currency, key);
    if owner is null then
        raise exception 'the token''s subject has no account';
    end if;
    claim := claim_key(owner, key, jsonb_build_array(kind, recipient, amount, currency));
    if not claim.repeated then
        if kind = 'transfer' and recipient_id is null then
            raise exception 'unknown recipient';
        elsif recipient_id = owner then
            raise exception 'a transfer needs another account to go to';
        end if;
        perform check_kyc(kind, owner, recipient_id);
        insert into transactions (id, kind, status, account_id, recipient_id, currency, amount)
            values (claim.id, kind, initial_status(kind), owner, recipient_id, currency,
                parse_amount(amount, currency))
            returning * into created;
        perform post_entries(created, 'created');
    end if;
    select * into strict answer from transaction_details where id = claim.id;
    -- A repetition gets the first answer even if the transaction has settled since.
    answer.status := initial_status(kind);
    return answer;
end
$$;

-- The gateway's entry points. They run with their owner's rights, so that the gateway's role needs
-- no right to write a table. It is enough to
--
--   grant select on currencies, rates, fees, documents, accounts, kyc, balances, transactions,
--       transaction_details to <role>;
--   grant execute on function create_transfer, create_onramp, create_offramp, create_mint,
--       create_redemption to <role>;

create function create_transfer(caller text, recipient text, amount text, currency text, key text)
returns transaction_details
language plpgsql security definer
set search_path = public, pg_temp
as $$ begin return create_transaction('transfer', caller, recipient, amount, currency, key); end $$;

create function create_onramp(caller text, amount text, currency text, key text)
returns transaction_details
language plpgsql security definer
set search_path = public, pg_temp
as $$ begin return create_transaction('onramp', caller, null, amount, currency, key); end $$;

create function create_offramp(caller text, amount text, currency text, key text)
returns transaction_details
language plpgsql security definer
set search_path = public, pg_temp
as $$ begin return create_transaction('offramp', caller, null, amount, currency, key); end $$;

create function create_mint(caller text, amount text, currency text, key text)
returns transaction_details
language plpgsql security definer
set search_path = public, pg_temp
as $$ begin return create_transaction('mint', caller, null, amount, currency, key); end $$;

create function create_redemption(caller text, amount text, currency text, key text)
returns transaction_details
language plpgsql security definer
set search_path = public, pg_temp
as $$ begin return create_transaction('redemption', caller, null, amount, currency, key); end $$;

revoke execute on function
    create_transfer(text, text, text, text, text),
    create_onramp(text, text, text, text),
    create_offramp(text, text, text, text),
    create_mint(text, text, text, text),
    create_redemption(text, text, text, text)
from public;

-- For operators: ends a pending transaction as 'completed' or 'failed' and posts what follows.
create function settle_transaction(transaction bigint, outcome text) returns void
language plpgsql
set search_path = public, pg_temp
as $$
declare
    settled transactions;
begin
    if outcome not in ('completed', 'failed') then
        raise exception 'a transaction ends as completed or failed';
    end if;
    update transactions set status = outcome, settled_at = now()
        where id = transaction and status = 'pending'
        returning * into settled;
    if not found then
        raise exception 'transaction % is not pending', transaction;
    end if;
    perform post_entries(settled, outcome);
end
$$;

-- For operators, to be run now and then: a key forgotten here may be used again, and a very late
-- repetition of its request would count as a new one. Returns how many were forgotten.
create function forget_idempotency_keys(older_than interval) returns bigint
language sql
set search_path = public, pg_temp
as $$
    with forgotten as (
        delete from idempotency_keys where created_at < now() - older_than returning 1
    )
    select count(*) from forgotten
$$;
