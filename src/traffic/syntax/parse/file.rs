//! Items and blocks, and where parsing continues after an error.

use std::collections::HashSet;

use winnow::stream::Stream;

use super::clause::clause;
use super::item::{group, region};
use super::keywords::{blocks_of, example, is_item};
use super::recover::{ends_clause, ends_item, no_clause, no_item};
use super::wrong::{Wrong, end};
use super::{Input, Read, has_symbol, string, symbol, take, word};
use crate::syntax::ast::{Block, BlockKind, File, Item};
use crate::syntax::diagnostic::Quoted;
use crate::syntax::token::{Kind, Token, Tokens, tokens};
use crate::syntax::{Diagnostic, Diagnostics, Source};

/// A file that has been read.
#[derive(Clone, Debug)]
pub struct Parsed<'s> {
    /// The parts of it that could be read.
    pub file: File<'s>,
    /// Whether all of it could be read.
    pub whole: bool,
    /// The words of the parts that could not be read: some may have been intended as declarations.
    pub lost: HashSet<&'s str>,
    pub(crate) tokens: Tokens<'s>,
}

/// Reads a file.
pub fn parse<'s>(source: &'s Source<'_>, diagnostics: &mut Diagnostics) -> Parsed<'s> {
    let before = diagnostics.errors();
    if let Some(refused) = source.unreadable() {
        diagnostics.push(refused.clone());
        return Parsed {
            file: File::default(),
            whole: false,
            lost: HashSet::new(),
            tokens: Tokens::default(),
        };
    }
    let found = tokens(source, diagnostics);
    let whole = diagnostics.errors() == before;
    let in_one_line: Vec<_> = found.tokens.iter().map(Token::in_line).collect();
    let read = Reader::new(&in_one_line).read();
    // Line breaks are white space, but after an error they show where a clause was intended to
    // begin.
    let read = match whole && read.2.errors() == 0 {
        true => read,
        false => Reader::new(&found.tokens).read(),
    };
    let (file, lost, errors) = read;
    diagnostics.extend(errors);
    Parsed {
        file,
        whole: diagnostics.errors() == before,
        lost,
        tokens: found,
    }
}

struct Reader<'t, 's> {
    tokens: &'t [Token<'s>],
    diagnostics: Diagnostics,
    lost: HashSet<&'s str>,
}

impl<'t, 's> Reader<'t, 's> {
    fn new(tokens: &'t [Token<'s>]) -> Self {
        Self {
            tokens,
            diagnostics: Diagnostics::default(),
            lost: HashSet::new(),
        }
    }

    fn read(mut self) -> (File<'s>, HashSet<&'s str>, Diagnostics) {
        let file = self.file();
        (file, self.lost, self.diagnostics)
    }

    fn file(&mut self) -> File<'s> {
        let mut file = File::default();
        let mut input = Input::new(self.tokens);
        while let Some(token) = input.first().copied() {
            let start = self.index(&input);
            let item = match token.text {
                _ if token.kind != Kind::Word => None,
                "region" => Some(region(&mut input).map(Item::Region)),
                "group" => Some(group(&mut input).map(Item::Group)),
                "defaults" => Some(self.block(&mut input, BlockKind::Defaults)),
                "policy" => Some(self.block(&mut input, BlockKind::Policy)),
                "window" => Some(self.block(&mut input, BlockKind::Window)),
                "test" => Some(self.block(&mut input, BlockKind::Test)),
                _ => None,
            };
            match item {
                Some(Ok(item)) => file.items.push(item),
                Some(Err(wrong)) => {
                    self.report(wrong, token.text);
                    let at = wrong.index(self.tokens.len());
                    self.skip(&mut input, start, at, ends_item);
                }
                None => {
                    self.diagnostics.push(no_item(&token));
                    let opens = token.is_symbol("{");
                    let at = start + usize::from(!opens);
                    self.skip(&mut input, start, at, ends_item);
                }
            }
        }
        file
    }

    fn block(&mut self, input: &mut Input<'t, 's>, kind: BlockKind) -> Read<Item<'s>> {
        let keyword = take(input, |_| true, "")?;
        let name = match kind {
            BlockKind::Defaults => keyword,
            BlockKind::Test => string(input, "a string that describes the test")?,
            BlockKind::Policy | BlockKind::Window => word(input, "a name")?,
        };
        symbol(input, "{", "`{`")?;
        let mut block = Block {
            kind,
            keyword,
            name,
            clauses: Vec::new(),
            broken: false,
        };
        let ends = |token: &Token<'s>, depth: usize, after: &[Token<'s>]| {
            ends_clause(token, depth, after, kind)
        };
        while !has_symbol(input, "}") {
            let Some(token) = input.first().copied() else {
                self.unclosed(&block, None);
                block.broken = true;
                break;
            };
            if is_item(token.text) && token.first {
                self.unclosed(&block, Some(&token));
                block.broken = true;
                break;
            }
            let here = self.index(input);
            let belongs = blocks_of(token.text).is_some_and(|blocks| blocks.contains(&kind));
            if token.kind != Kind::Word || !belongs {
                self.diagnostics.push(no_clause(&token, kind));
                block.broken = true;
                let opens = token.is_symbol("{");
                self.skip(input, here, here + usize::from(!opens), ends);
                continue;
            }
            input.next_token();
            match clause(input, token) {
                Ok(clause) => block.clauses.push(clause),
                Err(wrong) => {
                    self.report(wrong, token.text);
                    block.broken = true;
                    self.skip(input, here, wrong.index(self.tokens.len()), ends);
                }
            }
        }
        Ok(Item::Block(block))
    }

    fn index(&self, input: &Input<'t, 's>) -> usize {
        self.tokens.len() - input.len()
    }

    fn report(&mut self, wrong: Wrong, keyword: &str) {
        // The text inside an unclosed string is missing after it: one error is enough.
        let before = wrong.index(self.tokens.len()).checked_sub(1);
        let before = before.and_then(|before| self.tokens.get(before));
        if before.is_none_or(|token| token.kind != Kind::Unclosed) {
            self.diagnostics
                .push(wrong.diagnostic(self.tokens, example(keyword)));
        }
    }

    fn unclosed(&mut self, block: &Block<'s>, before: Option<&Token<'s>>) {
        let span = before.map_or_else(|| end(self.tokens), |token| token.span);
        let (kind, name) = (block.kind.as_str(), Quoted(block.name.text));
        let what = match block.kind {
            BlockKind::Defaults => Quoted(kind).to_string(),
            BlockKind::Policy | BlockKind::Window | BlockKind::Test => format!("{kind} {name}"),
        };
        let title = format!("{what} is not closed");
        self.diagnostics
            .push(Diagnostic::error(span, title).label("expected `}` before this"));
    }

    /// Continues at the first token from `at` on for which `ends` is true; what began at `start` is
    /// dropped.
    fn skip(
        &mut self,
        input: &mut Input<'t, 's>,
        start: usize,
        at: usize,
        ends: impl Fn(&Token<'s>, usize, &[Token<'s>]) -> bool,
    ) {
        let mut depth = 0_usize;
        let mut next = at;
        while let Some(token) = self.tokens.get(next) {
            let after = self.tokens.get(next + 1..).unwrap_or_default();
            if ends(token, depth, after) {
                break;
            }
            depth = match token.text {
                _ if token.kind != Kind::Symbol => depth,
                "{" => depth + 1,
                "}" => depth.saturating_sub(1),
                _ => depth,
            };
            next += 1;
        }
        let skipped = self.tokens.get(start..next).unwrap_or_default();
        self.lost.extend(skipped.iter().map(|token| token.text));
        *input = Input::new(self.tokens);
        input.next_slice(next);
    }
}
