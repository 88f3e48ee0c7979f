//! Labels: how a caller puts a protocol's messages, timers, records and requests into words.

/// Something of a protocol's, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// What it is one of: readers of a diagram show and hide messages and timers by kind.
    pub kind: String,
    /// All of it, in one line.
    pub text: String,
    /// Whether it comes again and again and seldom matters, as heartbeats do.
    pub is_routine: bool,
}

impl Label {
    /// A label whose kind is its first word.
    pub fn new(text: &str) -> Self {
        let kind = text.split([' ', '(', '{', ':']).next().unwrap_or_default();
        Label::of_kind(kind, text)
    }

    /// A label of that kind.
    pub fn of_kind(kind: &str, text: &str) -> Self {
        Label { kind: printable(kind), text: printable(text), is_routine: false }
    }

    /// This label, as one that comes again and again.
    pub fn routine(self) -> Self {
        Label { is_routine: true, ..self }
    }
}

impl From<&str> for Label {
    fn from(text: &str) -> Self {
        Label::new(text)
    }
}

impl From<String> for Label {
    fn from(text: String) -> Self {
        Label::new(&text)
    }
}

/// The text in one line that any medium can show: what controls a terminal, or has no place in XML, becomes a picture
/// of itself.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .map(|char| match char {
            '\0'..='\x1f' => char::from_u32(0x2400 + char as u32).unwrap_or('\u{fffd}'),
            '\x7f' => '\u{2421}',
            // The marks that turn the direction of what follows would turn the words around a label too.
            '\u{80}'..='\u{9f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
            | '\u{2028}'
            | '\u{2029}'
            | '\u{fffe}'
            | '\u{ffff}' => '\u{fffd}',
            char => char,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_is_the_first_word() {
        for text in ["Append term=1", "Append { term: 1 }", "Append(1)", "Append"] {
            assert_eq!(Label::new(text).kind, "Append");
        }
        assert_eq!(Label::new("").kind, "");
    }

    #[test]
    fn what_controls_a_terminal_is_shown_as_a_picture() {
        assert_eq!(printable("a\0b\nc\x1b[1m\u{7f}é"), "a␀b␊c␛[1m␡é");
        assert_eq!(printable("\u{202e}\u{ffff}"), "\u{fffd}\u{fffd}");
    }
}
