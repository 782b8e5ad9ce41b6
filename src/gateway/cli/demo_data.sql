-- Demo data for `tidegate migrate --demo-data`: may be applied any number of times.

-- Units of each currency for one US dollar; every pair's rate follows.
with units (code, per_dollar) as (
    values ('USD', 1), ('EUR', 0.92), ('GBP', 0.79), ('NGN', 1540), ('KES', 129), ('GHS', 15.6),
           ('ZAR', 18.2), ('XOF', 604), ('CNGN', 1540), ('USDC', 1)
)
insert into rates (base, quote, rate)
select base.code, quote.code, trim_scale(round(quote.per_dollar / base.per_dollar, 8))
from units base join units quote on base.code <> quote.code
on conflict do nothing;

insert into fees (product, currency, percent, fixed)
select product, currency, percent, round(fixed_dollars * rate, scale)
from (values ('onramp', 1.0, 0.30), ('offramp', 1.5, 0.50), ('mint', 0, 0.10),
             ('redemption', 0.25, 0.10), ('transfer', 0, 0)) as product (product, percent, fixed_dollars)
cross join (
    select code as currency, scale, coalesce(rate, 1) as rate
    from currencies left join rates on base = 'USD' and quote = code
) as currency
on conflict do nothing;

insert into documents (slug, title, body) values
    ('terms', 'Terms of service',
     'Demo data. Balances here are not money and nothing is owed to anybody.'),
    ('privacy', 'Privacy notice',
     'Demo data. The people named here do not exist.'),
    ('fees', 'How fees work',
     'The schedule under /public/fees lists a percentage and a fixed part per product and currency.'),
    ('kyc', 'Verifying an account',
     'Verified accounts move money, pending ones may on-ramp and receive, rejected ones do neither.')
on conflict do nothing;

-- Each new account is verified and minted its opening balances through the ledger. Two then lose
-- their verification, to show what an unverified account may not do.
do $$
declare
    person record;
begin
    for person in
        select initcap(name) || ' ' || family as full_name, name, country, status
        from (values
            ('alice', 'Adeyemi', 'NG', 'verified'), ('bob',   'Banda',   'KE', 'verified'),
            ('carol', 'Cissé',   'CI', 'verified'), ('dave',  'Dlamini', 'ZA', 'verified'),
            ('erin',  'Eze',     'NG', 'verified'), ('frank', 'Fofana',  'CI', 'verified'),
            ('grace', 'Gitau',   'KE', 'verified'), ('heidi', 'Hassan',  'NG', 'verified'),
            ('ivan',  'Ibrahim', 'NG', 'verified'), ('judy',  'Juma',    'KE', 'verified'),
            ('ken',   'Kone',    'CI', 'verified'), ('liam',  'Langa',   'ZA', 'verified'),
            ('mia',   'Mensah',  'GH', 'verified'), ('nora',  'Nkosi',   'ZA', 'verified'),
            ('oscar', 'Osei',    'GH', 'verified'), ('peggy', 'Phiri',   'KE', 'verified'),
            ('quinn', 'Quaye',   'GH', 'pending'),  ('rupert', 'Roux',   'ZA', 'rejected')
        ) as people (name, family, country, status)
        order by name
    loop
        continue when open_account(person.name, person.full_name,
            person.name || '@example.com', person.country) is null;
        update kyc set status = 'verified' from accounts a
            where a.id = account_id and a.name = person.name;
        perform create_mint(person.name, '1000.00', 'USD', 'demo-usd');
        perform create_mint(person.name, '500.00', 'EUR', 'demo-eur');
        perform create_mint(person.name, '250000.00', 'NGN', 'demo-ngn');
        perform create_mint(person.name, '1000.000000', 'CNGN', 'demo-cngn');
        update kyc set status = person.status from accounts a
            where a.id = account_id and a.name = person.name;
    end loop;
end
$$;
