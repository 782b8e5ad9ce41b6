//! Reads `test` blocks.

use std::collections::HashSet;
use std::net::IpAddr;

use http::HeaderValue;
use tidegate_model::normalise;

use super::expected::{Expected, Wanted};
use super::given::{Change, Givens, State};
use crate::check::Checked;
use crate::check::clauses::repeated;
use crate::check::conditions::kept;
use crate::check::fields::{cookie_text, header, header_text};
use crate::check::names::{Declared, read_place};
use crate::check::times::instant;
use crate::check::values::{
    Value, country, duration, meant, method, name, percent, quantity, quantity_value, refused,
};
use crate::decide::RegionReason;
use crate::syntax::ast::{
    Block, BlockKind, Body, Expectation, Fact, GivenClause, Item, Outcome, Word,
};
use crate::syntax::{Diagnostic, Diagnostics, Parsed, Quoted, Span};

/// Most tests of a file; running them takes less than a second.
const TESTS_MAX: usize = 1_000;

/// A test that was understood.
#[derive(Clone, Debug)]
pub(crate) struct Test<'s> {
    pub(crate) name: Word<'s>,
    /// The place of `expect`.
    pub(crate) span: Span,
    pub(crate) givens: Givens,
    pub(crate) expected: Expected,
}

/// The names that tests may use.
struct Known<'a, 's> {
    declared: &'a Declared<'s>,
    /// The policies, by name; `None` if some may be missing.
    policies: Option<Vec<&'s str>>,
}

/// Reads the tests of a file.
pub(crate) fn read_all<'s>(
    parsed: &Parsed<'s>,
    checked: &Checked<'_, 's>,
    found: &mut Diagnostics,
) -> Vec<Test<'s>> {
    let policies = checked.policies.iter().map(|policy| policy.name.text);
    let known = Known {
        declared: &checked.declared,
        policies: parsed.whole.then(|| policies.collect()),
    };
    let blocks = parsed.file.items.iter().filter_map(|item| match item {
        Item::Block(block) if block.kind == BlockKind::Test => Some(block),
        Item::Block(_) | Item::Region(_) | Item::Group(_) => None,
    });
    let mut tests = Vec::new();
    for (index, block) in blocks.take(TESTS_MAX + 1).enumerate() {
        if index == TESTS_MAX {
            let title = format!("a file can have at most {TESTS_MAX} tests");
            found.push(Diagnostic::error(block.keyword.span, title));
            break;
        }
        tests.extend(read(block, &known, found));
    }
    tests
}

/// Reads a test; `None` if a part of it is not understood.
fn read<'s>(block: &Block<'s>, known: &Known<'_, 's>, found: &mut Diagnostics) -> Option<Test<'s>> {
    let before = found.errors();
    let mut givens = None;
    let mut expected = None;
    for clause in &block.clauses {
        match &clause.body {
            Body::GivenClause(facts) if givens.is_none() => {
                givens = Some(read_givens(facts, known.declared, found));
            }
            Body::Expect(expectation) if expected.is_none() => {
                expected = Some((clause.span, read_expected(expectation, known, found)));
            }
            _ => found.push(repeated(clause.keyword)),
        }
    }
    if !block.broken {
        let lacks = [("given", givens.is_none()), ("expect", expected.is_none())];
        for (clause, _) in lacks.iter().filter(|(_, lacks)| *lacks) {
            let title = format!("test {} has no `{clause}`", Quoted(block.name.text));
            let right = "write `given country DE, path /account expect eu-west-1`";
            found.push(Diagnostic::error(block.name.span, title).help(right));
        }
    }
    let (span, expected) = expected?;
    let understood = !block.broken && found.errors() == before;
    understood.then_some(Test {
        name: block.name,
        span,
        givens: givens?,
        expected: expected?,
    })
}

fn read_givens(
    facts: &[GivenClause<'_>],
    declared: &Declared<'_>,
    found: &mut Diagnostics,
) -> Givens {
    let mut givens = Givens::default();
    let mut seen = HashSet::new();
    for given in facts {
        if let Fact::State(_) | Fact::Value(..) = given.fact {
            let change = read_state(given, declared, found);
            if let Some(change) = change {
                let is_repeated = givens.states.iter().any(|other| other.contradicts(&change));
                if is_repeated {
                    found.push(repeated_given(given.subject));
                }
                givens.states.push(change);
            }
            let times = givens.states.iter().rev().map(|change| change.after);
            if let [Some(last), Some(previous)] = times.take(2).collect::<Vec<_>>()[..]
                && last < previous
            {
                let span = given.after.unwrap_or(given.subject).span;
                let title = "this time is before that of the previous fact";
                let right = "times count from the beginning and must be in order";
                found.push(Diagnostic::error(span, title).help(right));
            }
            continue;
        }
        let several = matches!(given.fact, Fact::Pair(..));
        if !several && !seen.insert(given.subject.text) {
            found.push(repeated_given(given.subject));
            continue;
        }
        if let Err(error) = givens.add(given, declared, found) {
            found.push(*error);
        }
    }
    // Facts that have held for long come first.
    givens.states.sort_by_key(|change| change.after);
    givens
}

fn repeated_given(subject: Word<'_>) -> Diagnostic {
    let title = format!("{} is given twice", Quoted(subject.text));
    Diagnostic::error(subject.span, title).help("remove one of them")
}

impl Givens {
    fn add(
        &mut self,
        given: &GivenClause<'_>,
        declared: &Declared<'_>,
        found: &mut Diagnostics,
    ) -> Value<()> {
        match (given.subject.text, given.fact) {
            ("in", Fact::Word(word)) => self.entry = declared.region(word, found),
            ("country", Fact::Word(word)) => self.country = Some(country(word)?),
            ("client", Fact::Word(word)) => self.client = Some(address(word)?),
            ("path", Fact::Word(word)) => self.path = Some(path(word)?),
            ("method", Fact::Word(word)) => self.method = Some(method(word)?),
            ("host", Fact::Word(word)) => self.host = Some(name(word)?.to_ascii_lowercase()),
            ("time", Fact::Word(word)) => self.time_ms = Some(instant(word)?),
            (_, Fact::GeoPoint(north, east)) => self.place = read_place(north, east)?,
            ("header", Fact::Pair(name, value)) => {
                header_text(value)?;
                self.headers.push((header(name)?, header_value(value)?));
            }
            ("cookie", Fact::Pair(key, value)) => {
                cookie_text(value)?;
                header_value(value)?;
                self.cookies
                    .push((name(key)?.to_owned(), value.text.to_owned()));
            }
            (_, Fact::Pair(key, value)) => {
                self.queries
                    .push((name(key)?.to_owned(), value.text.to_owned()));
            }
            (_, Fact::Word(_) | Fact::State(_) | Fact::Value(..)) => {}
        }
        Ok(())
    }
}

/// Reads an address as a gateway sees it: an IPv4 client that connects by IPv6 is an IPv4 client.
fn address(word: Word<'_>) -> Value<IpAddr> {
    match word.text.parse::<IpAddr>() {
        Ok(address) => Ok(address.to_canonical()),
        Err(_invalid) => refused(word, "an address", "write `192.0.2.1` or `2001:db8::1`"),
    }
}

fn path(word: Word<'_>) -> Value<String> {
    match normalise(word.text) {
        Ok(path) => Ok(path.into_owned()),
        Err(error) => refused(word, "a path", &error.to_string()),
    }
}

fn header_value(word: Word<'_>) -> Value<HeaderValue> {
    match HeaderValue::from_str(word.text) {
        Ok(value) => Ok(value),
        Err(_invalid) => refused(word, "a value", "write visible ASCII characters"),
    }
}

fn read_state(
    given: &GivenClause<'_>,
    declared: &Declared<'_>,
    found: &mut Diagnostics,
) -> Option<Change> {
    let after = match given.after {
        None => Some(None),
        Some(after) => kept(duration(after), found).map(Some),
    };
    let region = match is_region(given.subject, declared) {
        true => declared.region(given.subject, found),
        false => {
            found.push(no_given(given.subject, declared));
            None
        }
    };
    let state = match given.fact {
        Fact::State(word) => Some(match word.text {
            "left" => State::Left,
            "drained" => State::Drained,
            _ => State::Unreachable,
        }),
        Fact::Value(what, value) if what.text == "ramp" => {
            let ramp = kept(percent(value), found);
            ramp.map(|millionths| State::Ramp((millionths / 100) as u16))
        }
        Fact::Value(what, value) => {
            let quantity = kept(quantity(what), found)?;
            let value = kept(quantity_value(quantity, value), found);
            value.map(|value| State::Quantity(quantity, value))
        }
        Fact::Word(_) | Fact::GeoPoint(..) | Fact::Pair(..) => None,
    };
    Some(Change {
        after: after?,
        region: region?,
        state: state?,
    })
}

fn is_region(word: Word<'_>, declared: &Declared<'_>) -> bool {
    declared.knows(word)
}

fn no_given(word: Word<'_>, declared: &Declared<'_>) -> Diagnostic {
    let title = format!(
        "{} is neither a declared region nor anything that can be given",
        Quoted(word.text)
    );
    let mut names: Vec<_> = declared
        .regions
        .iter()
        .map(|region| region.id.as_str())
        .collect();
    names.extend([
        "in", "country", "at", "client", "path", "method", "host", "header", "cookie", "query",
        "time", "after",
    ]);
    let right = "write `in`, `country`, `at`, `client`, `path`, `method`, `host`, `header`, `cookie`, \
                 `query`, `time`, `after`, or a region and its state";
    Diagnostic::error(word.span, title).help(meant(word.text, &names, right))
}

fn read_expected(
    expectation: &Expectation<'_>,
    known: &Known<'_, '_>,
    found: &mut Diagnostics,
) -> Option<Expected> {
    let wanted = match &expectation.outcome {
        Outcome::Else(_) => Some(Wanted::Else),
        Outcome::Local(_) => Some(Wanted::Local),
        Outcome::Never(names) => known.declared.list(names, found).map(Wanted::Never),
        Outcome::Regions(names) => {
            let regions: Vec<_> = names
                .iter()
                .map(|word| known.declared.region(*word, found))
                .collect();
            regions
                .into_iter()
                .collect::<Option<Vec<_>>>()
                .map(Wanted::Regions)
        }
    };
    let by = expectation.by.map(|word| {
        if let Some(policies) = &known.policies
            && !policies.contains(&word.text)
        {
            let title = format!("there is no policy named {}", Quoted(word.text));
            let right = meant(
                word.text,
                policies,
                "write the name of a policy of this file",
            );
            found.push(Diagnostic::error(word.span, title).help(right));
        }
        word.text.into()
    });
    let because = match expectation.because {
        None => Some(None),
        Some(word) => kept(reason(word), found).map(Some),
    };
    Some(Expected {
        wanted: wanted?,
        by,
        because: because?,
    })
}

/// Reads a reason that a decision can have.
fn reason(word: Word<'_>) -> Value<RegionReason> {
    let decided =
        |reason: &RegionReason| !matches!(reason, RegionReason::Hop | RegionReason::NoTunnel);
    let mut reasons = RegionReason::ALL.into_iter().filter(decided);
    if let Some(reason) = reasons.find(|reason| reason.as_str() == word.text) {
        return Ok(reason);
    }
    let names: Vec<_> = RegionReason::ALL
        .iter()
        .filter(|reason| decided(reason))
        .collect();
    let names: Vec<_> = names.iter().map(|reason| reason.as_str()).collect();
    let right = format!("reasons are {}", crate::syntax::listed(&names));
    refused(
        word,
        "a reason that a decision has",
        &meant(word.text, &names, &right),
    )
}
