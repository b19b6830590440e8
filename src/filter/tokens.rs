//! The tokens of a CQL2 text as sqlparser shall see them, and where they stand.
//!
//! Words that CQL2 does not reserve lose their meaning as SQL keywords, so that columns may be called `range`, `time` or
//! `case`; shapes, whose `1 2, 3 4` is no SQL, become text literals; signs that no filter has are refused.

use super::error::{FILTER_TERMS_MAX, FilterError};
use sqlparser::dialect::Dialect;
use sqlparser::keywords::Keyword;
use sqlparser::parser::ParserError;
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Whitespace};

/// Signs and reserved words in a text: each is a level of sqlparser's tree, which is dropped recursively.
const OPERATORS_MAX: usize = 4 * FILTER_TERMS_MAX;

const RESERVED: [Keyword; 12] = [
    Keyword::AND, Keyword::OR, Keyword::NOT, Keyword::BETWEEN, Keyword::IN, Keyword::LIKE, Keyword::ILIKE, Keyword::ESCAPE,
    Keyword::IS, Keyword::NULL, Keyword::TRUE, Keyword::FALSE,
];

#[derive(Debug)]
pub(super) struct Cql2;

impl Dialect for Cql2 {
    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        ch == '"'
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        ch.is_alphabetic() || ch == '_'
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        ch.is_alphanumeric() || ch == '_' || ch == '.'
    }
}

/// Where lines begin, to say positions in characters.
pub(super) struct Places<'a> {
    text: &'a str,
    /// Byte at which each line begins.
    lines: Vec<usize>,
}

impl<'a> Places<'a> {
    pub(super) fn new(text: &'a str) -> Places<'a> {
        let after_breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(i, _)| i + 1);
        Places { text, lines: std::iter::once(0).chain(after_breaks).collect() }
    }

    fn byte(&self, location: Location) -> usize {
        let Some(line) = (location.line as usize).checked_sub(1).and_then(|line| self.lines.get(line)) else {
            return self.text.len();
        };
        let before = (location.column as usize).saturating_sub(1);
        self.text[*line..].char_indices().nth(before).map_or(self.text.len(), |(i, _)| line + i)
    }

    pub(super) fn character(&self, location: Location) -> usize {
        self.text[..self.byte(location)].chars().count() + 1
    }

    pub(super) fn syntax(&self, error: ParserError) -> FilterError {
        match error {
            ParserError::RecursionLimitExceeded => FilterError::TooDeep,
            ParserError::TokenizerError(message) | ParserError::ParserError(message) => {
                // sqlparser gives the place of a syntax error only in words.
                let (what, at) = match message.rsplit_once(" at Line: ") {
                    Some((what, place)) => (what, place_from_words(place)),
                    None => (message.as_str(), None),
                };
                let end = self.text.chars().count() + 1;
                FilterError::syntax(lower(&what.replace("Expected: ", "expected ").replace("found: EOF", "found the end")), at.map_or(end, |at| self.character(at)))
            }
        }
    }
}

fn place_from_words(words: &str) -> Option<Location> {
    let (line, column) = words.split_once(", Column: ")?;
    Some(Location { line: line.parse().ok()?, column: column.trim().parse().ok()? })
}

pub(super) fn lower(message: &str) -> String {
    let mut chars = message.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

/// The tokens as sqlparser shall see them.
pub(super) fn prepared(tokens: Vec<TokenWithSpan>, places: &Places<'_>) -> Result<Vec<TokenWithSpan>, FilterError> {
    let mut prepared: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut operators = 0;
    let mut tokens = tokens.into_iter().peekable();
    while let Some(mut token) = tokens.next() {
        match &mut token.token {
            Token::Whitespace(Whitespace::Space | Whitespace::Newline | Whitespace::Tab) => continue,
            Token::Word(word) if word.quote_style.is_none() && is_shape(&word.value) => {
                let start = places.byte(token.span.start);
                let end = end_of_shape(&mut tokens, places);
                token.token = Token::SingleQuotedString(places.text[start..end].to_owned());
            }
            Token::Word(word) if RESERVED.contains(&word.keyword) => operators += 1,
            Token::Word(word) => word.keyword = Keyword::NoKeyword,
            Token::Eq | Token::Neq | Token::Lt | Token::Gt | Token::LtEq | Token::GtEq | Token::Plus | Token::Minus => {
                operators += 1;
            }
            Token::Number(..) | Token::SingleQuotedString(_) | Token::Comma | Token::LParen | Token::RParen | Token::EOF => {}
            other => return Err(refused(other, places.character(token.span.start))),
        }
        if operators > OPERATORS_MAX {
            return Err(FilterError::TooMany { what: "operators", limit: OPERATORS_MAX });
        }
        prepared.push(token);
    }
    Ok(prepared)
}

fn refused(token: &Token, at: usize) -> FilterError {
    match token {
        Token::Mul | Token::Div | Token::Mod | Token::Caret | Token::StringConcat => arithmetic(at),
        other => FilterError::syntax(format!("'{other}' is not expected"), at),
    }
}

pub(super) fn arithmetic(at: usize) -> FilterError {
    FilterError::Unsupported { what: "arithmetic".into(), instead: "compare a column with a value", at }
}

fn is_shape(word: &str) -> bool {
    ["POLYGON", "MULTIPOLYGON", "POINT", "LINESTRING", "MULTIPOINT", "MULTILINESTRING", "GEOMETRYCOLLECTION"]
        .iter()
        .any(|shape| word.eq_ignore_ascii_case(shape))
}

/// Takes the tokens of a shape's parentheses; gives the byte after them.
fn end_of_shape(tokens: &mut std::iter::Peekable<impl Iterator<Item = TokenWithSpan>>, places: &Places<'_>) -> usize {
    let mut depth = 0u32;
    while let Some(token) = tokens.peek() {
        match token.token {
            Token::Whitespace(_) | Token::Comma | Token::Number(..) | Token::Minus | Token::Plus => {}
            Token::LParen => depth += 1,
            Token::RParen if depth > 0 => depth -= 1,
            _ => return places.byte(token.span.start),
        }
        let closes = token.token == Token::RParen && depth == 0;
        let end = places.byte(token.span.end);
        tokens.next();
        if closes {
            return end;
        }
    }
    places.text.len()
}
