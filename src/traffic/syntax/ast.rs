//! The syntax tree of a file.
//!
//! Names and values are words as written: the checker decides whether they are valid.

use crate::syntax::Span;

/// A word or a string, and its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word<'s> {
    /// As written; a string's without its quotation marks.
    pub text: &'s str,
    /// The place.
    pub span: Span,
}

/// `names`: one or more.
pub type Names<'s> = Vec<Word<'s>>;

/// A file.
#[derive(Clone, Debug, Default)]
pub struct File<'s> {
    /// In the order of the file.
    pub items: Vec<Item<'s>>,
}

/// An item at the top level of a file.
#[derive(Clone, Debug)]
pub enum Item<'s> {
    /// `region NAME …`.
    Region(Region<'s>),
    /// `group NAME = names`.
    Group(Group<'s>),
    /// `defaults { … }`, `policy NAME { … }`, `window NAME { … }` or `test STRING { … }`.
    Block(Block<'s>),
}

/// `region NAME …`.
#[derive(Clone, Debug)]
pub struct Region<'s> {
    /// `region`.
    pub keyword: Word<'s>,
    /// Its name.
    pub name: Word<'s>,
    /// In the order of the file.
    pub attributes: Vec<Attribute<'s>>,
}

/// An attribute of a region.
#[derive(Clone, Copy, Debug)]
pub struct Attribute<'s> {
    /// `capacity`, `load` or `at`.
    pub keyword: Word<'s>,
    /// Its value.
    pub value: AttributeValue<'s>,
}

/// The value of a region's attribute.
#[derive(Clone, Copy, Debug)]
pub enum AttributeValue<'s> {
    /// `N rps`.
    Rate(Word<'s>),
    /// `LAT, LONG`.
    GeoPoint(Word<'s>, Word<'s>),
}

/// `group NAME = names`.
#[derive(Clone, Debug)]
pub struct Group<'s> {
    /// `group`.
    pub keyword: Word<'s>,
    /// Its name.
    pub name: Word<'s>,
    /// Regions and groups.
    pub names: Names<'s>,
}

/// Which block it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockKind {
    /// `defaults`.
    Defaults,
    /// `policy`.
    Policy,
    /// `window`.
    Window,
    /// `test`.
    Test,
}

impl BlockKind {
    /// Returns the keyword.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Defaults => "defaults",
            Self::Policy => "policy",
            Self::Window => "window",
            Self::Test => "test",
        }
    }
}

/// A keyword, a name and clauses in braces.
#[derive(Clone, Debug)]
pub struct Block<'s> {
    /// Which block it is.
    pub kind: BlockKind,
    /// Its keyword.
    pub keyword: Word<'s>,
    /// The name; for `defaults` the keyword.
    pub name: Word<'s>,
    /// In the order of the file.
    pub clauses: Vec<Clause<'s>>,
    /// Whether a part of it could not be read.
    pub broken: bool,
}

/// One clause of a block.
#[derive(Clone, Debug)]
pub struct Clause<'s> {
    /// Its keyword.
    pub keyword: Word<'s>,
    /// Its content.
    pub body: Body<'s>,
    /// From the keyword to the last token.
    pub span: Span,
}

/// The content of a clause.
#[derive(Clone, Debug)]
pub enum Body<'s> {
    /// `match cond`.
    Match(Condition<'s>),
    /// `only names`.
    Only(Names<'s>),
    /// `prefer tiers`.
    Prefer(Vec<Tier<'s>>),
    /// `affinity keys`.
    Affinity(Vec<Key<'s>>),
    /// `leave when measures for DURATION`.
    Leave {
        /// The measures that must exceed their bounds.
        measures: Measures<'s>,
        /// For how long.
        hold: Word<'s>,
    },
    /// `return when measures for DURATION ramp DURATION`.
    Return {
        /// The measures that must be below their bounds.
        measures: Measures<'s>,
        /// For how long.
        hold: Word<'s>,
        /// Over how long the keys come back.
        ramp: Option<Word<'s>>,
    },
    /// `retry never` (`None`) or `retry idempotent N budget PERCENT`.
    Retry(Option<(Word<'s>, Word<'s>)>),
    /// `panic below PERCENT`.
    Panic(Word<'s>),
    /// `else STATUS` or `else local`.
    Else(Word<'s>),
    /// `require survive N`.
    Require(Word<'s>),
    /// `every days HH:MM-HH:MM ZONE`.
    Every {
        /// `day`, or names of weekdays.
        days: Names<'s>,
        /// `HH:MM-HH:MM`.
        hours: Word<'s>,
        /// An IANA zone.
        zone: Word<'s>,
    },
    /// `from INSTANT to INSTANT`.
    From(Word<'s>, Word<'s>),
    /// `drain names`.
    Drain(Names<'s>),
    /// `given …`.
    GivenClause(Vec<GivenClause<'s>>),
    /// `expect …`.
    Expect(Expectation<'s>),
}

/// `measure or measure`, `measure and measure`.
#[derive(Clone, Debug)]
pub struct Measures<'s> {
    /// Whether they are joined by `and`.
    pub all: bool,
    /// At least one.
    pub measures: Vec<Measure<'s>>,
}

/// `QUANTITY > VALUE` or `QUANTITY < VALUE`.
#[derive(Clone, Copy, Debug)]
pub struct Measure<'s> {
    /// The quantity.
    pub quantity: Word<'s>,
    /// `>` or `<`.
    pub comparison: Word<'s>,
    /// The bound.
    pub value: Word<'s>,
}

/// One tier of `prefer`.
#[derive(Clone, Debug)]
pub enum Tier<'s> {
    /// A region, or `local`.
    Name(Word<'s>),
    /// `nearest(names)`.
    Nearest(Word<'s>, Names<'s>),
    /// `spread(names)`.
    Spread(Word<'s>, Names<'s>),
    /// `weighted(NAME N, …)`.
    Weighted(Word<'s>, Vec<(Word<'s>, Word<'s>)>),
}

impl Tier<'_> {
    /// Returns the place of its first word.
    pub fn span(&self) -> Span {
        match self {
            Self::Name(word)
            | Self::Nearest(word, _)
            | Self::Spread(word, _)
            | Self::Weighted(word, _) => word.span,
        }
    }
}

/// One key of `affinity`.
#[derive(Clone, Copy, Debug)]
pub struct Key<'s> {
    /// `cookie`, `header`, `path` or `client`.
    pub keyword: Word<'s>,
    /// A name, a number or `/N`.
    pub value: Word<'s>,
}

/// A condition of `match`.
#[derive(Clone, Debug)]
pub enum Condition<'s> {
    /// One of these.
    Any(Vec<Self>),
    /// All of these.
    All(Vec<Self>),
    /// Not this.
    Not(Box<Self>),
    /// One field of the request.
    Field(Field<'s>),
}

/// `keyword …`: what one field of a request must be.
#[derive(Clone, Debug)]
pub struct Field<'s> {
    /// `path`, `method`, `country` and so on.
    pub keyword: Word<'s>,
    /// A list of values, or one name.
    pub names: Names<'s>,
    /// The required value of `header`, `cookie` and `query`, if given.
    pub value: Option<Word<'s>>,
}

/// One part of `given`.
#[derive(Clone, Debug)]
pub struct GivenClause<'s> {
    /// How long after the beginning it holds.
    pub after: Option<Word<'s>>,
    /// The keyword or the region's name.
    pub subject: Word<'s>,
    /// Its value.
    pub fact: Fact<'s>,
}

/// A given fact.
#[derive(Clone, Copy, Debug)]
pub enum Fact<'s> {
    /// `in`, `country`, `client`, `path`, `method`, `host` or `time`, and a word.
    Word(Word<'s>),
    /// `at LAT LONG`.
    GeoPoint(Word<'s>, Word<'s>),
    /// `header`, `cookie` or `query`: `NAME = STRING`.
    Pair(Word<'s>, Word<'s>),
    /// `REGION left`, `drained` or `unreachable`.
    State(Word<'s>),
    /// `REGION ramp PERCENT` or `REGION QUANTITY VALUE`.
    Value(Word<'s>, Word<'s>),
}

/// `expect …`.
#[derive(Clone, Debug)]
pub struct Expectation<'s> {
    /// The expected result.
    pub outcome: Outcome<'s>,
    /// The expected policy.
    pub by: Option<Word<'s>>,
    /// The expected reason.
    pub because: Option<Word<'s>>,
}

/// What a test expects.
#[derive(Clone, Debug)]
pub enum Outcome<'s> {
    /// This region, and these standbys after it.
    Regions(Names<'s>),
    /// No region: the policy's `else`.
    Else(Word<'s>),
    /// The gateway's own region.
    Local(Word<'s>),
    /// None of these, for every request that matches the givens.
    Never(Names<'s>),
}
