//! `given` and `expect`.

use super::{Input, Read, comma, has_keyword, list, string, symbol, word, words};
use crate::syntax::ast::{Body, Expectation, Fact, GivenClause, Outcome};

/// What follows `given`.
pub(super) fn given<'s>(input: &mut Input<'_, 's>) -> Read<Body<'s>> {
    list(input, fact, comma).map(Body::GivenClause)
}

fn fact<'s>(input: &mut Input<'_, 's>) -> Read<GivenClause<'s>> {
    if has_keyword(input, "after") {
        let after = Some(word(input, "a duration such as `30s`")?);
        let subject = word(input, "a region")?;
        let fact = state(input)?;
        return Ok(GivenClause {
            after,
            subject,
            fact,
        });
    }
    let subject = word(
        input,
        "what is given: `in`, `country`, `path`, a region and its state, …",
    )?;
    let fact = match subject.text {
        "in" => Fact::Word(word(input, "a region")?),
        "country" => Fact::Word(word(input, "a country's code such as `DE`")?),
        "client" => Fact::Word(word(input, "an address such as `192.0.2.1`")?),
        "path" => Fact::Word(word(input, "a path such as `/account`")?),
        "method" => Fact::Word(word(input, "a method such as `POST`")?),
        "host" => Fact::Word(word(input, "a host's name")?),
        "time" => Fact::Word(word(input, "an instant such as `2026-12-31T22:00Z`")?),
        "at" => {
            let latitude = word(input, "a latitude such as `52.5`")?;
            Fact::GeoPoint(latitude, word(input, "a longitude such as `13.4`")?)
        }
        "header" | "cookie" | "query" => {
            let name = word(input, "a name")?;
            symbol(input, "=", "`=`")?;
            Fact::Pair(name, string(input, "a string such as `\"1\"`")?)
        }
        _ => state(input)?,
    };
    Ok(GivenClause {
        after: None,
        subject,
        fact,
    })
}

/// What follows a region's name.
fn state<'s>(input: &mut Input<'_, 's>) -> Read<Fact<'s>> {
    const EXPECTED: &str = "`left`, `drained`, `unreachable`, `ramp`, `errors`, `p99`, `saturation` or \
                            `lag` of this region";
    let what = word(input, EXPECTED)?;
    Ok(match what.text {
        "left" | "drained" | "unreachable" => Fact::State(what),
        _ => Fact::Value(what, word(input, EXPECTED)?),
    })
}

/// What follows `expect`.
pub(super) fn expect<'s>(input: &mut Input<'_, 's>) -> Read<Body<'s>> {
    const REGION: &str = "a region";
    let first = word(input, "a region, `else`, `local` or `never`")?;
    let outcome = match first.text {
        "never" => Outcome::Never(words(input, REGION)?),
        "else" => Outcome::Else(first),
        "local" => Outcome::Local(first),
        _ => {
            let mut regions = vec![first];
            while has_keyword(input, "then") {
                regions.push(word(input, REGION)?);
            }
            Outcome::Regions(regions)
        }
    };
    let never = matches!(outcome, Outcome::Never(_));
    let by = match !never && has_keyword(input, "by") {
        true => Some(word(input, "a policy")?),
        false => None,
    };
    let because = match !never && has_keyword(input, "because") {
        true => Some(word(input, "a reason")?),
        false => None,
    };
    Ok(Body::Expect(Expectation {
        outcome,
        by,
        because,
    }))
}
