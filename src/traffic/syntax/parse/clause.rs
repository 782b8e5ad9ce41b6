//! The clauses of policies, defaults and windows.

use super::condition::condition;
use super::wrong::Wrong;
use super::{Input, Read, comma, has_keyword, has_symbol, keyword, list, parenthesised, symbol};
use super::{refuse_misspelt, test_block, word, words};
use crate::syntax::ast::{Body, Clause, Key, Measure, Measures, Names, Tier, Word};
use crate::syntax::token::Token;

const REGION: &str = "a region or a group";
const DURATION: &str = "a duration such as `2s`";

/// Takes a clause whose keyword has been taken.
pub(super) fn clause<'s>(input: &mut Input<'_, 's>, keyword: Token<'s>) -> Read<Clause<'s>> {
    let body = body(input, keyword.text)?;
    let last = input.previous_tokens().next().unwrap_or(&keyword);
    Ok(Clause {
        keyword: Word::from(&keyword),
        body,
        span: keyword.span.to(last.span),
    })
}

fn body<'s>(input: &mut Input<'_, 's>, clause: &str) -> Read<Body<'s>> {
    Ok(match clause {
        "match" => Body::Match(condition(input)?),
        "only" => Body::Only(words(input, REGION)?),
        "prefer" => Body::Prefer(list(input, tier, |input| has_symbol(input, "|"))?),
        "affinity" => Body::Affinity(list(input, key, |input| has_keyword(input, "else"))?),
        "leave" => leave(input)?,
        "return" => comeback(input)?,
        "retry" => retry(input)?,
        "panic" => {
            keyword(input, "below", "`below`")?;
            Body::Panic(word(input, "a percentage such as `50%`")?)
        }
        "else" => Body::Else(word(input, "a status such as `503`, or `local`")?),
        "require" => {
            keyword(input, "survive", "`survive`")?;
            Body::Require(word(input, "a number from 1 to 3")?)
        }
        "every" => every(input)?,
        "from" => {
            let from = word(input, "an instant such as `2026-12-31T22:00Z`")?;
            keyword(input, "to", "`to`")?;
            Body::From(from, word(input, "an instant such as `2027-01-01T02:00Z`")?)
        }
        "drain" => Body::Drain(words(input, REGION)?),
        "given" => test_block::given(input)?,
        "expect" => test_block::expect(input)?,
        _ => return Err(Wrong::expected(input, "a clause")),
    })
}

fn tier<'s>(input: &mut Input<'_, 's>) -> Read<Tier<'s>> {
    let here = *input;
    let first = word(
        input,
        "a tier: a region, `local`, `nearest(…)`, `spread(…)` or `weighted(…)`",
    )?;
    let regions = |input: &mut Input<'_, 's>| -> Read<Names<'s>> {
        parenthesised(input, |input| word(input, REGION))
    };
    Ok(match first.text {
        "nearest" => Tier::Nearest(first, regions(input)?),
        "spread" => Tier::Spread(first, regions(input)?),
        "weighted" => {
            let weight = |input: &mut Input<'_, 's>| {
                let region = word(input, "a region")?;
                Ok((region, word(input, "a weight such as `90`")?))
            };
            Tier::Weighted(first, parenthesised(input, weight)?)
        }
        _ if input.first().is_some_and(|token| token.is_symbol("(")) => {
            let expected = "`nearest`, `spread` or `weighted` before `(`";
            let wrong = Wrong::expected(&here, expected);
            return Err(wrong.among(&["nearest", "spread", "weighted"]));
        }
        _ => Tier::Name(first),
    })
}

fn key<'s>(input: &mut Input<'_, 's>) -> Read<Key<'s>> {
    const EXPECTED: &str = "a key: `cookie NAME`, `header NAME`, `path N` or `client /N`";
    let here = *input;
    let keyword = word(input, EXPECTED)?;
    let value = match keyword.text {
        "cookie" | "header" => word(input, "a name")?,
        "path" => word(input, "a number of segments")?,
        "client" => word(input, "a prefix length such as `/24`")?,
        _ => {
            let wrong = Wrong::expected(&here, EXPECTED);
            return Err(wrong.among(&["cookie", "header", "path", "client"]));
        }
    };
    Ok(Key { keyword, value })
}

fn leave<'s>(input: &mut Input<'_, 's>) -> Read<Body<'s>> {
    let measures = measures(input, ">")?;
    let hold = word(input, DURATION)?;
    Ok(Body::Leave { measures, hold })
}

fn comeback<'s>(input: &mut Input<'_, 's>) -> Read<Body<'s>> {
    let measures = measures(input, "<")?;
    let hold = word(input, DURATION)?;
    let ramp = match has_keyword(input, "ramp") {
        true => Some(word(input, "a duration such as `5m`")?),
        false => {
            refuse_misspelt(input, &["ramp"], "`ramp`, another clause or `}`")?;
            None
        }
    };
    Ok(Body::Return {
        measures,
        hold,
        ramp,
    })
}

/// `when measures for`.
fn measures<'s>(input: &mut Input<'_, 's>, comparison: &'static str) -> Read<Measures<'s>> {
    keyword(input, "when", "`when`")?;
    let mut found = vec![measure(input, comparison)?];
    let joint = ["or", "and"]
        .into_iter()
        .find(|joint| has_keyword(input, joint));
    if let Some(joint) = joint {
        found.extend(list(
            input,
            |input| measure(input, comparison),
            |input| has_keyword(input, joint),
        )?);
    }
    keyword(
        input,
        "for",
        match joint {
            None => "`or`, `and` or `for`",
            Some("or") => "`or` (all measures must be joined by the same word) or `for`",
            Some(_) => "`and` (all measures must be joined by the same word) or `for`",
        },
    )?;
    Ok(Measures {
        all: joint == Some("and"),
        measures: found,
    })
}

fn measure<'s>(input: &mut Input<'_, 's>, comparison: &'static str) -> Read<Measure<'s>> {
    let quantity = word(input, "`errors`, `p99`, `saturation` or `lag`")?;
    let expected = match comparison {
        ">" => "`>`: a region leaves when a quantity is too high",
        _ => "`<`: a region returns when a quantity is low enough",
    };
    let comparison = symbol(input, comparison, expected)?;
    let value = word(input, "a value such as `2%` or `400ms`")?;
    Ok(Measure {
        quantity,
        comparison,
        value,
    })
}

fn retry<'s>(input: &mut Input<'_, 's>) -> Read<Body<'s>> {
    if has_keyword(input, "never") {
        return Ok(Body::Retry(None));
    }
    keyword(input, "idempotent", "`never` or `idempotent`")?;
    let regions = word(input, "a number of regions")?;
    keyword(input, "budget", "`budget`")?;
    let budget = word(input, "a percentage such as `20%`")?;
    Ok(Body::Retry(Some((regions, budget))))
}

fn every<'s>(input: &mut Input<'_, 's>) -> Read<Body<'s>> {
    let days = list(
        input,
        |input| word(input, "`day` or a day of the week"),
        comma,
    )?;
    let hours = word(input, "hours such as `02:00-03:00`")?;
    let zone = word(input, "a time zone such as `Europe/Berlin`")?;
    Ok(Body::Every { days, hours, zone })
}
