-- What everybody may read: currencies, exchange rates, the fee schedule, public documents.

create table currencies (
    code  text     primary key,
    name  text     not null,
    scale smallint not null, -- decimals an amount may have and is shown with
    constraint currency_code_is_upper_case check (code ~ '^[A-Z]{3,8}$'),
    constraint currency_scale_is_small check (scale between 0 and 8)
);

insert into currencies (code, name, scale) values
    ('USD',  'US dollar',          2),
    ('EUR',  'Euro',               2),
    ('GBP',  'Pound sterling',     2),
    ('NGN',  'Nigerian naira',     2),
    ('KES',  'Kenyan shilling',    2),
    ('GHS',  'Ghanaian cedi',      2),
    ('ZAR',  'South African rand', 2),
    ('XOF',  'CFA franc BCEAO',    0),
    ('CNGN', 'cNGN stablecoin',    6),
    ('USDC', 'USD Coin',           6);

-- One unit of base costs `rate` units of quote.
create table rates (
    base  text        not null references currencies,
    quote text        not null references currencies,
    rate  numeric     not null,
    as_of timestamptz not null default now(),
    primary key (base, quote),
    constraint rate_is_between_two_currencies check (base <> quote),
    constraint rate_is_positive check (rate > 0 and rate < 1e12) -- NaN and Infinity are not below 1e12
);

-- The published schedule. It informs: the ledger moves exactly the amount a request names.
create table fees (
    product  text    not null,
    currency text    not null references currencies,
    percent  numeric not null,
    fixed    numeric not null,
    primary key (product, currency),
    constraint fee_product_is_known
        check (product in ('onramp', 'offramp', 'mint', 'redemption', 'transfer')),
    constraint fee_percent_is_a_percentage check (percent between 0 and 100),
    constraint fee_fixed_is_not_negative check (fixed >= 0 and fixed < 1e12)
);

create table documents (
    slug       text        primary key,
    title      text        not null,
    body       text        not null,
    updated_at timestamptz not null default now(),
    constraint document_slug_is_a_path_segment check (slug ~ '^[a-z0-9][a-z0-9-]{0,63}$')
);
