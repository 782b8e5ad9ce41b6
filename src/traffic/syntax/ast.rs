//! The tree that the grammar makes of a file.
//!
//! Names and values are words as they were written: whether they make sense is for the checker.

use crate::syntax::Span;

/// A word or a string, and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word<'s> {
    /// As written; a string's without its quotation marks.
    pub text: &'s str,
    /// Where.
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

/// What stands at the top of a file.
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
    /// What it is called.
    pub name: Word<'s>,
    /// In the order of the file.
    pub attributes: Vec<Attribute<'s>>,
}

/// What is said of a region.
#[derive(Clone, Copy, Debug)]
pub struct Attribute<'s> {
    /// `capacity`, `load` or `at`.
    pub keyword: Word<'s>,
    /// What follows it.
    pub value: AttributeValue<'s>,
}

/// The value of a region's attribute.
#[derive(Clone, Copy, Debug)]
pub enum AttributeValue<'s> {
    /// `N rps`.
    Rate(Word<'s>),
    /// `LAT, LONG`.
    Place(Word<'s>, Word<'s>),
}

/// `group NAME = names`.
#[derive(Clone, Debug)]
pub struct Group<'s> {
    /// `group`.
    pub keyword: Word<'s>,
    /// What it is called.
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
    /// What it begins with.
    pub keyword: Word<'s>,
    /// The name; of `defaults` the keyword.
    pub name: Word<'s>,
    /// In the order of the file.
    pub clauses: Vec<Clause<'s>>,
    /// Whether a part of it could not be read.
    pub broken: bool,
}

/// One clause of a block.
#[derive(Clone, Debug)]
pub struct Clause<'s> {
    /// What it begins with.
    pub keyword: Word<'s>,
    /// What it says.
    pub body: Body<'s>,
    /// From the keyword to the last token.
    pub span: Span,
}

/// What a clause says.
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
        /// What must be exceeded.
        measures: Measures<'s>,
        /// For how long.
        hold: Word<'s>,
    },
    /// `return when measures for DURATION ramp DURATION`.
    Return {
        /// What must be undercut.
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
    Given(Vec<Given<'s>>),
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
    /// What is compared.
    pub quantity: Word<'s>,
    /// `>` or `<`.
    pub comparison: Word<'s>,
    /// What it is compared with.
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
    /// Returns where its first word stands.
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
    /// What `header`, `cookie` and `query` must be, if it matters.
    pub value: Option<Word<'s>>,
}

/// One part of `given`.
#[derive(Clone, Debug)]
pub struct Given<'s> {
    /// How long after the beginning it holds.
    pub after: Option<Word<'s>>,
    /// The keyword or the region's name.
    pub subject: Word<'s>,
    /// What it is.
    pub fact: Fact<'s>,
}

/// What is given.
#[derive(Clone, Copy, Debug)]
pub enum Fact<'s> {
    /// `in`, `country`, `client`, `path`, `method`, `host` or `time`, and a word.
    Word(Word<'s>),
    /// `at LAT LONG`.
    Place(Word<'s>, Word<'s>),
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
    /// What must come.
    pub outcome: Outcome<'s>,
    /// The policy that must have decided.
    pub by: Option<Word<'s>>,
    /// The reason that must have been given.
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
    /// None of these, for every request that the givens leave open.
    Never(Names<'s>),
}
