-- How a user sees transactions. The functions here stay free of `set` clauses so that PostgreSQL
-- can inline them into the gateway's prepared statements; they run with the caller's rights.

-- `from` and `to` are account names; null is the world outside the ledger.
create view transaction_details as
select
    t.id,
    t.kind,
    t.status,
    t.currency,
    round(t.amount, c.scale)::text as amount,
    case when t.kind in ('offramp', 'redemption', 'transfer') then owner.name end as "from",
    case when t.kind in ('onramp', 'mint') then owner.name else recipient.name end as "to",
    t.created_at
from transactions t
join currencies c on c.code = t.currency
join accounts owner on owner.id = t.account_id
left join accounts recipient on recipient.id = t.recipient_id;

create function page_size(requested int) returns int
language plpgsql immutable
as $$
begin
    if requested not between 1 and 100 then
        raise exception 'limit must be between 1 and 100' using errcode = 'PT400';
    end if;
    return coalesce(requested, 20);
end
$$;

-- The transactions an account asked for or received, newest first, older than `before`. Each side
-- is read along its own index and never further than one page.
create function account_transactions(account text, before bigint, page int)
returns setof transaction_details
language sql stable
as $$
    select details.*
    from (
        (select id from transactions
            where account_id = (select id from accounts where name = account and not system)
                and id < coalesce(before, 9223372036854775807)
            order by id desc limit page_size(page))
        union all
        (select id from transactions
            where recipient_id = (select id from accounts where name = account and not system)
                and id < coalesce(before, 9223372036854775807)
            order by id desc limit page_size(page))
    ) as mine
    join transaction_details details using (id)
    order by id desc limit page_size(page)
$$;

-- One transaction that the account asked for or received.
create function account_transaction(account text, transaction bigint)
returns setof transaction_details
language sql stable
as $$
    select * from transaction_details
    where id = transaction and account in ("from", "to")
$$;

-- One object of a kind, for the account that created it.
create function created_transaction(account text, created_kind text, transaction bigint)
returns setof transaction_details
language sql stable
as $$
    select details.*
    from transactions
    join accounts on accounts.id = transactions.account_id
    join transaction_details details on details.id = transactions.id
    where transactions.id = transaction
        and transactions.kind = created_kind
        and accounts.name = account
$$;
