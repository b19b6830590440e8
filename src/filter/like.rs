//! LIKE: patterns of `%` (any characters) and `_` (one character).
//!
//! CQL2 escapes with a backslash where the text names no other character.

use super::ast::{Case, LikePattern, LikePiece};

pub(super) const DEFAULT_ESCAPE: char = '\\';

impl LikePattern {
    /// `None` where the pattern ends in a lone escape character.
    pub(super) fn parse(text: &str, escape: Option<char>) -> Option<LikePattern> {
        let mut pieces = Vec::new();
        let mut chars = text.chars();
        while let Some(char) = chars.next() {
            let piece = match char {
                _ if Some(char) == escape => LikePiece::Char(chars.next()?),
                '%' => LikePiece::Any,
                '_' => LikePiece::One,
                other => LikePiece::Char(other),
            };
            if piece != LikePiece::Any || pieces.last() != Some(&LikePiece::Any) {
                pieces.push(piece);
            }
        }
        Some(LikePattern { pieces })
    }

    /// The pattern with the default escape character.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                LikePiece::Any => text.push('%'),
                LikePiece::One => text.push('_'),
                LikePiece::Char(char) => {
                    if ['%', '_', DEFAULT_ESCAPE].contains(char) {
                        text.push(DEFAULT_ESCAPE);
                    }
                    text.push(*char);
                }
            }
        }
        text
    }

    /// What values are matched with: as they are, or [`folded`] where case is ignored.
    pub(super) fn prepared(&self, case: Case) -> Vec<LikePiece> {
        let lowered = |piece: &LikePiece| match (piece, case) {
            (LikePiece::Char(char), Case::Ignored) => char.to_lowercase().map(LikePiece::Char).collect(),
            (other, _) => vec![*other],
        };
        self.pieces.iter().flat_map(lowered).collect()
    }
}

/// The text without case: character by character, so that a pattern and a value fold alike.
pub(super) fn folded(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).collect()
}

/// Whether the whole of `text` matches. Linear in practice, text times pattern at worst: after a mismatch only the last `%`
/// is tried one character further.
pub(super) fn matches(pieces: &[LikePiece], text: &str) -> bool {
    let (mut rest, mut at) = (text.chars(), 0);
    let mut retry: Option<(std::str::Chars<'_>, usize)> = None;
    loop {
        let before = rest.clone();
        let stepped = match (pieces.get(at), rest.next()) {
            (Some(LikePiece::Any), _) => {
                rest = before.clone();
                retry = Some((before, at + 1));
                at += 1;
                continue;
            }
            (None, None) => return true,
            (Some(LikePiece::One), Some(_)) => true,
            (Some(LikePiece::Char(wanted)), Some(found)) => *wanted == found,
            _ => false,
        };
        if stepped {
            at += 1;
            continue;
        }
        match &mut retry {
            Some((from, after)) => {
                if from.next().is_none() {
                    return false;
                }
                rest = from.clone();
                at = *after;
            }
            None => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// By definition, exponentially.
    fn matches_slowly(pieces: &[LikePiece], text: &[char]) -> bool {
        match (pieces, text) {
            ([], []) => true,
            ([LikePiece::Any, rest @ ..], _) => {
                matches_slowly(rest, text) || (!text.is_empty() && matches_slowly(pieces, &text[1..]))
            }
            ([LikePiece::One, rest @ ..], [_, more @ ..]) => matches_slowly(rest, more),
            ([LikePiece::Char(wanted), rest @ ..], [found, more @ ..]) => wanted == found && matches_slowly(rest, more),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn matching_is_what_the_definition_says(pattern in "[ab%_\\\\é]{0,8}", text in "[ab%é]{0,10}") {
            let Some(parsed) = LikePattern::parse(&pattern, Some('\\')) else { return Ok(()) };
            let chars: Vec<char> = text.chars().collect();
            prop_assert_eq!(matches(&parsed.pieces, &text), matches_slowly(&parsed.pieces, &chars));
            prop_assert_eq!(LikePattern::parse(&parsed.text(), Some('\\')), Some(parsed));
        }
    }
}
