//! Calico's selector language, read from left to right and answered on the way.
//!
//! ```text
//! either = both ("||" both)*        both = one ("&&" one)*
//! one    = "!" one | "(" either ")" | "all()" | "global()" | "has(" key ")" | key comparison
//! comparison = ("==" | "!=" | "contains" | "starts with" | "ends with") string | ("in" | "not in") "{" strings "}"
//! ```

use std::collections::BTreeMap;

/// A text that Calico's API server refuses.
#[derive(Debug, thiserror::Error)]
#[error("not a selector of Calico's: stopped before `{0}`")]
pub(crate) struct Malformed(String);

/// What a selector is asked about.
pub(crate) struct Asked<'a> {
    /// The labels that keys stand for.
    pub(crate) labels: &'a BTreeMap<String, String>,
    /// What `all()` says.
    pub(crate) all: bool,
    /// What `global()` says; it is legal in one place only.
    pub(crate) global: Option<bool>,
}

/// Answers whether a selector matches. Both sides of every operator are read, whatever the first one says.
pub(crate) fn holds(text: &str, asked: &Asked<'_>) -> Result<bool, Malformed> {
    let mut reader = Reader { rest: text, asked };
    reader.blanks();
    // "An empty selector matches everything."
    if reader.rest.is_empty() {
        return Ok(asked.all);
    }
    let answer = reader.either()?;
    reader.blanks();
    if reader.rest.is_empty() { Ok(answer) } else { Err(reader.stop()) }
}

struct Reader<'a> {
    rest: &'a str,
    asked: &'a Asked<'a>,
}

impl<'a> Reader<'a> {
    /// `||` binds least.
    fn either(&mut self) -> Result<bool, Malformed> {
        let mut answer = self.both()?;
        while self.eat("||") {
            let next = self.both()?;
            answer = answer || next;
        }
        Ok(answer)
    }

    fn both(&mut self) -> Result<bool, Malformed> {
        let mut answer = self.one()?;
        while self.eat("&&") {
            let next = self.one()?;
            answer = answer && next;
        }
        Ok(answer)
    }

    /// `!` binds most: `!a == "b"` is `!(a == "b")`.
    fn one(&mut self) -> Result<bool, Malformed> {
        if self.eat("!") {
            return Ok(!self.one()?);
        }
        if self.eat("(") {
            let answer = self.either()?;
            return if self.eat(")") { Ok(answer) } else { Err(self.stop()) };
        }
        if self.call("all") {
            return Ok(self.asked.all);
        }
        if self.call("global") {
            return self.asked.global.ok_or_else(|| self.stop());
        }
        // `has (x)` is not has(): the parenthesis follows at once.
        if let Some(rest) = self.rest.strip_prefix("has(") {
            self.rest = rest.trim_start_matches(is_space);
            let key = self.key()?;
            self.rest = self.rest.trim_start_matches(is_space);
            return if self.eat(")") { Ok(self.asked.labels.contains_key(key)) } else { Err(self.stop()) };
        }
        let key = self.key()?;
        self.comparison(self.asked.labels.get(key).map(String::as_str))
    }

    fn comparison(&mut self, value: Option<&str>) -> Result<bool, Malformed> {
        if self.eat("==") {
            let wanted = self.string()?;
            return Ok(value == Some(wanted));
        }
        // `!=` and `not in` match where the label is absent.
        if self.eat("!=") {
            let wanted = self.string()?;
            return Ok(value != Some(wanted));
        }
        if self.eat("contains") {
            let wanted = self.string()?;
            return Ok(value.is_some_and(|value| value.contains(wanted)));
        }
        if self.words("starts", "with") {
            let wanted = self.string()?;
            return Ok(value.is_some_and(|value| value.starts_with(wanted)));
        }
        if self.words("ends", "with") {
            let wanted = self.string()?;
            return Ok(value.is_some_and(|value| value.ends_with(wanted)));
        }
        if self.words("not", "in") {
            let among = self.set()?;
            return Ok(!value.is_some_and(|value| among.contains(&value)));
        }
        if self.words("in", "") {
            let among = self.set()?;
            return Ok(value.is_some_and(|value| among.contains(&value)));
        }
        Err(self.stop())
    }

    /// `{}` and a comma after the last string are legal.
    fn set(&mut self) -> Result<Vec<&'a str>, Malformed> {
        let mut among = Vec::new();
        if !self.eat("{") {
            return Err(self.stop());
        }
        while !self.eat("}") {
            among.push(self.string()?);
            if !self.eat(",") {
                return if self.eat("}") { Ok(among) } else { Err(self.stop()) };
            }
        }
        Ok(among)
    }

    /// In one kind of quotes or the other. Nothing escapes.
    fn string(&mut self) -> Result<&'a str, Malformed> {
        self.blanks();
        for quote in ['\'', '"'] {
            if let Some(rest) = self.rest.strip_prefix(quote) {
                let (content, rest) = rest.split_once(quote).ok_or_else(|| self.stop())?;
                self.rest = rest;
                return Ok(content);
            }
        }
        Err(self.stop())
    }

    fn key(&mut self) -> Result<&'a str, Malformed> {
        self.blanks();
        let in_key = |letter: char| letter.is_ascii_alphanumeric() || "_./-".contains(letter);
        let rest = self.rest.trim_start_matches(in_key);
        let (key, _) = self.rest.split_at(self.rest.len() - rest.len());
        if key.is_empty() || key.len() > 512 {
            return Err(self.stop());
        }
        self.rest = rest;
        Ok(key)
    }

    /// `name()`, with nothing between the name and the parenthesis.
    fn call(&mut self, name: &str) -> bool {
        self.blanks();
        let inside = self.rest.strip_prefix(name).and_then(|rest| rest.strip_prefix('('));
        let Some(rest) = inside.and_then(|rest| rest.trim_start_matches(is_space).strip_prefix(')')) else {
            return false;
        };
        self.rest = rest;
        true
    }

    /// Two words, written together or apart; after `in` a word must end.
    fn words(&mut self, first: &str, second: &str) -> bool {
        self.blanks();
        let Some(rest) = self.rest.strip_prefix(first) else { return false };
        let Some(rest) = rest.trim_start_matches(is_space).strip_prefix(second) else { return false };
        let goes_on = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        if (first == "in" || second == "in") && rest.starts_with(goes_on) {
            return false;
        }
        self.rest = rest;
        true
    }

    fn eat(&mut self, token: &str) -> bool {
        self.blanks();
        let Some(rest) = self.rest.strip_prefix(token) else { return false };
        self.rest = rest;
        true
    }

    /// Between tokens only space and tab are blank: a newline is an error.
    fn blanks(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
    }

    fn stop(&self) -> Malformed {
        Malformed(self.rest.to_owned())
    }
}

/// What separates the parts of one token (`not   in`, `has( a )`).
fn is_space(letter: char) -> bool {
    letter.is_ascii_whitespace()
}
