//! The parts of a Markdown page that are checked.

use std::collections::{BTreeMap, BTreeSet};

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

/// The parts of a page that the code or another page can contradict.
#[derive(Debug, Default)]
pub(super) struct Page {
    /// Destinations of its links, as written.
    pub(super) links: Vec<String>,
    /// What a link to one of its headings ends with, after `#`.
    pub(super) anchors: BTreeSet<String>,
    /// Its fenced blocks of TOML.
    pub(super) toml: Vec<String>,
    /// Inline code.
    pub(super) code: BTreeSet<String>,
    /// Problem types: inline code after the status of an error, as in 503 `overloaded`.
    pub(super) problems: BTreeSet<String>,
    /// Configuration keys with the header of their section: `[pool] connections_max` in inline code,
    /// and the first column of tables that begin with "key of `[[upstream]]`".
    pub(super) keys: BTreeSet<(String, String)>,
}

impl Page {
    pub(super) fn parse(markdown: &str) -> Self {
        let mut reader = Reader::default();
        for event in Parser::new_ext(markdown, Options::ENABLE_TABLES) {
            reader.read(event);
        }
        reader.page
    }
}

/// Reads one event after another.
#[derive(Default)]
struct Reader {
    page: Page,
    /// The text of the heading that is being read.
    heading: Option<String>,
    /// How many headings have the same anchor so far.
    repeated: BTreeMap<String, usize>,
    /// Whether a fenced block of TOML is being read.
    in_toml: bool,
    /// The text before the current event, in the same paragraph or row.
    before: String,
    /// The section whose keys the current table lists, and the column.
    section: Option<String>,
    column: usize,
}

impl Reader {
    fn read(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) => self.text(&text),
            Event::Code(code) => self.code(&code),
            _ => {}
        }
    }

    fn start(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Heading { .. } => self.heading = Some(String::new()),
            Tag::Link { dest_url, .. } => self.page.links.push(dest_url.into_string()),
            Tag::CodeBlock(CodeBlockKind::Fenced(language)) if language.starts_with("toml") => {
                self.in_toml = true;
                self.page.toml.push(String::new());
            }
            Tag::Paragraph | Tag::Item => self.before.clear(),
            Tag::TableHead | Tag::TableRow => {
                self.before.clear();
                self.column = 0;
            }
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Heading(_) => {
                let anchor = anchor(&self.heading.take().unwrap_or_default());
                let before = self.repeated.entry(anchor.clone()).or_default();
                self.page.anchors.insert(match *before {
                    0 => anchor,
                    number => format!("{anchor}-{number}"),
                });
                *before += 1;
            }
            TagEnd::CodeBlock => self.in_toml = false,
            TagEnd::TableCell => self.column += 1,
            TagEnd::Table => self.section = None,
            _ => {}
        }
    }

    fn text(&mut self, text: &str) {
        if let Some(heading) = &mut self.heading {
            heading.push_str(text);
        }
        if let Some(toml) = self.page.toml.last_mut().filter(|_| self.in_toml) {
            toml.push_str(text);
        }
        text.clone_into(&mut self.before);
    }

    fn code(&mut self, code: &str) {
        if let Some(heading) = &mut self.heading {
            heading.push_str(code);
        }
        self.page.code.insert(code.to_owned());
        let before = std::mem::take(&mut self.before);
        if is_error_status(before.rsplit(' ').find(|word| !word.is_empty())) {
            self.page.problems.insert(code.to_owned());
        }
        if before == "key of " {
            self.section = Some(code.to_owned());
        } else if let Some(section) = self.section.as_ref().filter(|_| self.column == 0) {
            self.page.keys.insert((section.clone(), code.to_owned()));
        }
        if let Some((section, key)) = code.split_once("] ")
            && section.starts_with('[')
        {
            let key = key.split(' ').next().unwrap_or_default();
            self.page
                .keys
                .insert((format!("{section}]"), key.to_owned()));
        }
    }
}

/// The anchor that GitHub gives a heading.
fn anchor(heading: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || " -_".contains(*c);
    let kept = heading.chars().filter(kept).flat_map(char::to_lowercase);
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn is_error_status(word: Option<&str>) -> bool {
    word.is_some_and(|word| {
        word.len() == 3 && word.starts_with(['4', '5']) && word.parse::<u16>().is_ok()
    })
}

#[test]
fn a_page_is_read_in_all_its_parts() {
    let page = Page::parse(
        "# The `[pool]`, in short\n\
         # Twice\n# Twice\n\
         [a link](other.md#there) with 503 `overloaded`, not `this`,\nnor 200 `that`; `[pool] x = 1`\n\
         ```toml\n[server]\n```\n```sh\n[a](b)\n```\n\
         | status | type |\n|---|---|\n| 404 | `not-found` |\n\n\
         | key of `[[policy]]` | default |\n|---|---|\n| `path` | `none` |\n",
    );
    let set = |words: &[&str]| {
        words
            .iter()
            .map(ToString::to_string)
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(page.links, ["other.md#there"]);
    assert_eq!(
        page.anchors,
        set(&["the-pool-in-short", "twice", "twice-1"])
    );
    assert_eq!(page.toml, ["[server]\n"]);
    assert_eq!(page.problems, set(&["overloaded", "not-found"]));
    let keys = [("[pool]", "x"), ("[[policy]]", "path")];
    let keys = keys.map(|(section, key)| (section.to_owned(), key.to_owned()));
    assert_eq!(page.keys, BTreeSet::from(keys));
    assert!(page.code.contains("this"));
}
