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

/// The text in one line that any medium can show: what controls a terminal, or has no place in XML, is spelt out.
pub(crate) fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '\0' => printable.push_str("\\0"),
            '\x01'..='\x1f' | '\x7f'..='\u{9f}' => printable.extend(char.escape_default()),
            // The marks that turn the direction of what follows would turn the words around a label too.
            '\u{202a}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
            | '\u{2028}'
            | '\u{2029}'
            | '\u{fffe}'
            | '\u{ffff}' => printable.push('\u{fffd}'),
            char => printable.push(char),
        }
    }
    printable
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
    fn what_controls_a_terminal_is_spelt_out() {
        assert_eq!(printable("a\0b\nc\x1b[1m\u{7f}é"), r"a\0b\nc\u{1b}[1m\u{7f}é");
        assert_eq!(printable("\u{202e}\u{ffff}"), "\u{fffd}\u{fffd}");
    }
}
