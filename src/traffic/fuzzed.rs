//! The seeds of the fuzz target, mutated: nothing panics, and the normal form has the same meaning.

use std::path::Path;

use proptest::prelude::*;
use proptest::sample::Index;

use crate::show::show;
use crate::syntax::{Diagnostics, Source, format, parse};
use crate::{Compiled, compile};

/// One change to a text.
#[derive(Clone, Debug)]
enum Change {
    Cut(Index, Index),
    Repeat(Index, Index),
    Move(Index, Index, Index),
    Insert(Index, Vec<u8>),
    Word(Index, &'static str),
}

fn seeds() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/seeds");
    let files = std::fs::read_dir(folder).unwrap();
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    files
        .iter()
        .map(|file| std::fs::read(file).unwrap())
        .collect()
}

fn change() -> impl Strategy<Value = Change> {
    let words = vec![
        "{",
        "}",
        "(",
        ")",
        ",",
        "|",
        "=",
        "\"",
        "#",
        "\n",
        " policy ",
        " region ",
        " not ",
        " else ",
        " local ",
        " a ",
        " 0% ",
        " 2147483648 ",
        " -1 ",
        " 99999999999h ",
        " 2026-03-29T02:30Z ",
        " never ",
        " after 9999999h a left ",
        " /0 ",
        " 0.0.0.0/0 ",
        " é ",
        "\u{feff}",
    ];
    let index = any::<Index>;
    prop_oneof![
        (index(), index()).prop_map(|(from, to)| Change::Cut(from, to)),
        (index(), index()).prop_map(|(from, to)| Change::Repeat(from, to)),
        (index(), index(), index()).prop_map(|(from, to, at)| Change::Move(from, to, at)),
        (index(), prop::collection::vec(any::<u8>(), 1..4))
            .prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        (index(), prop::sample::select(words)).prop_map(|(at, word)| Change::Word(at, word)),
    ]
}

/// Words, symbols and white space: most changes keep these whole, to get beyond the grammar.
fn pieces(bytes: &[u8]) -> Vec<Vec<u8>> {
    let same = |one: &u8, next: &u8| {
        let word = |byte: u8| !byte.is_ascii_whitespace() && !b"{}(),|=<>\"#".contains(&byte);
        word(*one) && word(*next)
    };
    bytes.chunk_by(same).map(<[u8]>::to_vec).collect()
}

fn mutated(seed: &[u8], changes: Vec<Change>) -> Vec<u8> {
    let mut pieces = pieces(seed);
    for change in changes {
        let at = |index: Index, pieces: &Vec<Vec<u8>>| index.index(pieces.len() + 1);
        match change {
            Change::Cut(from, length) => {
                let from = at(from, &pieces);
                let to = (from + length.index(12)).min(pieces.len());
                pieces.drain(from..to);
            }
            Change::Repeat(from, length) => {
                let from = at(from, &pieces);
                let to = (from + length.index(40)).min(pieces.len());
                let again = pieces[from..to].to_vec();
                pieces.splice(to..to, again);
            }
            Change::Move(from, length, to) => {
                let from = at(from, &pieces);
                let end = (from + length.index(20)).min(pieces.len());
                let moved: Vec<_> = pieces.drain(from..end).collect();
                let to = at(to, &pieces);
                pieces.splice(to..to, moved);
            }
            Change::Insert(index, bytes) => pieces.insert(at(index, &pieces), bytes),
            Change::Word(index, word) => pieces.insert(at(index, &pieces), word.into()),
        }
    }
    pieces.concat()
}

fn compiled(bytes: &[u8]) -> Compiled {
    let source = Source::new("x.policy", bytes);
    let compiled = compile(&source);
    let rendered = compiled.diagnostics.render(&source, false);
    assert_eq!(
        compiled.diagnostics.shown().len(),
        rendered.matches(" --> x.policy:").count()
    );
    assert!(compiled.plan.is_some() || compiled.diagnostics.errors() > 0);
    compiled
}

#[test]
fn the_seeds_are_what_they_are_meant_to_be() {
    let good = [false, true, false, true];
    for (seed, good) in seeds().iter().zip(good) {
        let compiled = compiled(seed);
        let source = Source::new("x.policy", seed);
        let rendered = compiled.diagnostics.render(&source, false);
        assert_eq!(compiled.diagnostics.errors() == 0, good, "{rendered}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mutated_seeds_are_compiled_or_refused(
        seed in prop::sample::select(seeds()),
        changes in prop::collection::vec(change(), 1..6),
    ) {
        let bytes = mutated(&seed, changes);
        let first = compiled(&bytes);
        let source = Source::new("x.policy", &bytes);
        let mut diagnostics = Diagnostics::default();
        let parsed = parse(&source, &mut diagnostics);
        if diagnostics.errors() == 0 {
            let second = compiled(format(&parsed, &source).as_bytes());
            prop_assert_eq!(first.diagnostics.errors(), second.diagnostics.errors());
            let [first, second] = [first, second].map(|one| one.plan.as_ref().map(show));
            prop_assert_eq!(first, second);
        }
    }
}
