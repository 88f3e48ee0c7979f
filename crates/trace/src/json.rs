//! JSON for a script element: what ends one, or begins a comment, is written as an escape.

use std::fmt::Write;

/// A JSON text in the making: values, one after the other, with the commas between them.
#[derive(Default)]
pub(crate) struct Json {
    text: String,
}

impl Json {
    pub(crate) fn into_text(self) -> String {
        self.text
    }

    /// An array or an object: `open`, whatever `fill` writes, `close`.
    pub(crate) fn group(&mut self, open: char, close: char, fill: impl FnOnce(&mut Json)) {
        self.comma();
        self.text.push(open);
        fill(self);
        self.text.push(close);
    }

    pub(crate) fn array(&mut self, fill: impl FnOnce(&mut Json)) {
        self.group('[', ']', fill);
    }

    /// The name of a field, for a value to follow.
    pub(crate) fn field(&mut self, name: &str) {
        self.string(name);
        self.text.push(':');
    }

    pub(crate) fn number(&mut self, number: impl Into<i128>) {
        self.comma();
        write!(self.text, "{}", number.into()).expect("a string takes all");
    }

    pub(crate) fn flag(&mut self, is_set: bool) {
        self.number(u8::from(is_set));
    }

    pub(crate) fn string(&mut self, string: &str) {
        self.comma();
        self.text.push('"');
        for char in string.chars() {
            match char {
                '"' => self.text.push_str("\\\""),
                '\\' => self.text.push_str("\\\\"),
                '<' | '>' | '&' | '\0'..='\x1f' | '\u{2028}' | '\u{2029}' => {
                    write!(self.text, "\\u{:04x}", u32::from(char)).expect("a string takes all");
                }
                char => self.text.push(char),
            }
        }
        self.text.push('"');
    }

    fn comma(&mut self) {
        if !(self.text.is_empty() || self.text.ends_with(['[', '{', ':'])) {
            self.text.push(',');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_commas_between_them_and_nowhere_else() {
        let mut json = Json::default();
        json.group('{', '}', |json| {
            json.field("a");
            json.array(|json| {
                json.number(1);
                json.string("[");
                json.flag(true);
                json.array(|_| {});
            });
            json.field("b:");
            json.number(-2);
        });
        assert_eq!(json.into_text(), r#"{"a":[1,"[",1,[]],"b:":-2}"#);
    }

    #[test]
    fn no_string_ends_the_script_it_stands_in() {
        let mut json = Json::default();
        json.string("</script><!-- \" \\ \n");
        let text = json.into_text();
        assert_eq!(text, r#""\u003c/script\u003e\u003c!-- \" \\ \u000a""#);
    }
}
