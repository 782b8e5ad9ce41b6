-- The double-entry ledger. The database itself holds its rules, whoever writes:
--
--   * the entries of a transaction sum to zero in each currency  (deferred constraint trigger)
--   * a balance is the sum of its entries                        (kept by the trigger on entries)
--   * no user's balance is below zero                            (check constraint)
--   * nothing posted is changed or removed                       (triggers)
--
-- A transaction is what a user asked for; its entries are the money that moved for it, some at once
-- and some when it settles. Currency conversion is absent: each transaction is in one currency.

create sequence transaction_ids;

create table transactions (
    id           bigint      primary key default nextval('transaction_ids'),
    kind         text        not null,
    status       text        not null,
    account_id   bigint      not null references accounts, -- who asked for it
    recipient_id bigint      references accounts,          -- the other side of a transfer
    currency     text        not null references currencies,
    amount       numeric     not null,
    created_at   timestamptz not null default now(),
    settled_at   timestamptz,
    constraint transaction_kind_is_known
        check (kind in ('onramp', 'offramp', 'mint', 'redemption', 'transfer')),
    constraint transaction_status_is_known check (status in ('pending', 'completed', 'failed')),
    constraint transaction_amount_is_positive check (amount > 0 and amount < 1e15),
    constraint transfer_has_a_recipient check ((kind = 'transfer') = (recipient_id is not null)),
    constraint transfer_has_two_parties check (recipient_id <> account_id)
);

create index transactions_by_account on transactions (account_id, id);
create index transactions_by_recipient on transactions (recipient_id, id)
    where recipient_id is not null;

-- `system` repeats the account's own, held to it by the foreign key, so that a check can read it.
create table balances (
    account_id bigint  not null,
    currency   text    not null references currencies,
    system     boolean not null,
    amount     numeric not null default 0,
    primary key (account_id, currency),
    foreign key (account_id, system) references accounts (id, system),
    constraint user_balance_is_not_negative check (system or amount >= 0)
);

create table entries (
    id             bigint      generated always as identity primary key,
    transaction_id bigint      not null references transactions,
    account_id     bigint      not null,
    currency       text        not null,
    amount         numeric     not null, -- what the account gains; negative is what it pays
    created_at     timestamptz not null default now(),
    foreign key (account_id, currency) references balances,
    constraint entry_amount_is_finite check (amount <> 0 and abs(amount) < 1e15)
);

create index entries_by_transaction on entries (transaction_id);

-- Applies an entry to its balance. Whoever posts several entries inserts them in the order of
-- (account_id, currency): the row locks taken here are then taken in one order by everybody, and no
-- two postings can wait for each other.
create function apply_entry() returns trigger
language plpgsql
set search_path = public, pg_temp
as $$
begin
    insert into balances (account_id, currency, system)
        select id, new.currency, system from accounts where id = new.account_id
        on conflict do nothing;
    -- The condition is tested again on the row as it is once the lock is held.
    update balances set amount = balances.amount + new.amount
        where account_id = new.account_id and currency = new.currency
            and (system or balances.amount + new.amount >= 0);
    if not found then
        raise exception 'insufficient funds';
    end if;
    return new;
end
$$;

create trigger apply before insert on entries
    for each row execute function apply_entry();

-- Runs at commit, when no function's rights are in force any more: hence its owner's.
create function check_transaction_sums_to_zero() returns trigger
language plpgsql security definer
set search_path = public, pg_temp
as $$
begin
    if (select sum(amount) from entries
        where transaction_id = new.transaction_id and currency = new.currency) <> 0
    then
        raise exception 'the entries of transaction % do not sum to zero in %',
            new.transaction_id, new.currency
            using errcode = 'check_violation', constraint = 'transaction_sums_to_zero';
    end if;
    return null;
end
$$;

create constraint trigger transaction_sums_to_zero after insert on entries
    deferrable initially deferred
    for each row execute function check_transaction_sums_to_zero();

create function refuse_change() returns trigger
language plpgsql
as $$
begin
    raise exception '% on % is refused: the ledger only grows', tg_op, tg_table_name
        using errcode = 'restrict_violation';
end
$$;

create trigger entries_only_grow before update or delete or truncate on entries
    for each statement execute function refuse_change();
create trigger transactions_only_grow before delete or truncate on transactions
    for each statement execute function refuse_change();
create trigger transactions_only_settle before update on transactions
    for each row
    when (old.status <> 'pending'
        or (old.id, old.kind, old.account_id, old.recipient_id, old.currency, old.amount, old.created_at)
            is distinct from
           (new.id, new.kind, new.account_id, new.recipient_id, new.currency, new.amount, new.created_at))
    execute function refuse_change();

-- Only entries move a balance: a trigger on entries is one level deeper than a plain statement.
create trigger balances_follow_entries before insert or update or delete on balances
    for each row when (pg_trigger_depth() < 1) execute function refuse_change();
create trigger balances_are_kept before truncate on balances
    for each statement execute function refuse_change();
