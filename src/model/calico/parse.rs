//! Reads Calico's selector language.
//!
//! Precedence is `!` before `&&` before `||`. Whether a word is an operator depends on what stands before it: after a
//! label, `in` is the operator; elsewhere it is a label.

use std::collections::BTreeSet;

use super::selector::{CalicoSelector, InvalidCalicoSelector};

/// The longest label key.
const MAX_KEY: usize = 512;
/// Parentheses in parentheses: the parser, matching and printing descend once for each.
const MAX_DEPTH: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Label(String),
    Text(String),
    Has(String),
    All,
    Global,
    Equals,
    Differs,
    In,
    NotIn,
    Contains,
    StartsWith,
    EndsWith,
    Not,
    And,
    Or,
    OpenParen,
    CloseParen,
    OpenBrace,
    CloseBrace,
    Comma,
    End,
}

pub(super) fn selector(text: &str) -> Result<CalicoSelector, InvalidCalicoSelector> {
    let tokens = Lexer { text, at: 0 }.tokens()?;
    let mut parser = Parser { text, tokens: &tokens, at: 0, depth: 0 };
    if parser.peek() == &Token::End {
        return Ok(CalicoSelector::All);
    }
    let selector = parser.any()?;
    match parser.peek() {
        Token::End => Ok(selector),
        _ => Err(parser.fault("expected `&&`, `||` or the end")),
    }
}

fn fault(text: &str, at: usize, message: &str) -> InvalidCalicoSelector {
    let column = text.get(..at).unwrap_or_default().chars().count() + 1;
    InvalidCalicoSelector { column, message: message.to_owned() }
}

struct Lexer<'t> {
    text: &'t str,
    /// In bytes.
    at: usize,
}

impl<'t> Lexer<'t> {
    fn tokens(mut self) -> Result<Vec<(Token, usize)>, InvalidCalicoSelector> {
        let mut tokens: Vec<(Token, usize)> = Vec::new();
        loop {
            self.skip_blanks();
            let start = self.at;
            let after_label = matches!(tokens.last(), Some((Token::Label(_), _)));
            let token = self.token(after_label)?;
            let is_end = token == Token::End;
            tokens.push((token, start));
            if is_end {
                return Ok(tokens);
            }
        }
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn fault(&self, message: &str) -> InvalidCalicoSelector {
        fault(self.text, self.at, message)
    }

    /// A newline is no whitespace to Calico.
    fn skip_blanks(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start_matches([' ', '\t']).len();
    }

    fn take(&mut self, word: &str) -> bool {
        let found = self.rest().starts_with(word);
        if found {
            self.at += word.len();
        }
        found
    }

    fn token(&mut self, after_label: bool) -> Result<Token, InvalidCalicoSelector> {
        const SYMBOLS: [(&str, Token); 10] = [
            ("(", Token::OpenParen),
            (")", Token::CloseParen),
            ("{", Token::OpenBrace),
            ("}", Token::CloseBrace),
            (",", Token::Comma),
            ("==", Token::Equals),
            ("!=", Token::Differs),
            ("!", Token::Not),
            ("&&", Token::And),
            ("||", Token::Or),
        ];
        if self.rest().is_empty() {
            return Ok(Token::End);
        }
        for quote in ['"', '\''] {
            if let Some(after) = self.rest().strip_prefix(quote) {
                return self.literal(after, quote);
            }
        }
        for (symbol, token) in SYMBOLS {
            if self.take(symbol) {
                return Ok(token);
            }
        }
        if after_label { self.operator() } else { self.word() }
    }

    /// There are no escapes: the text ends at the next quote of its kind.
    fn literal(&mut self, after: &str, quote: char) -> Result<Token, InvalidCalicoSelector> {
        let Some((text, _)) = after.split_once(quote) else {
            return Err(self.fault("the text has no closing quote"));
        };
        self.at += text.len() + 2;
        Ok(Token::Text(text.to_owned()))
    }

    fn operator(&mut self) -> Result<Token, InvalidCalicoSelector> {
        let start = self.at;
        let two_words: [(&str, &str, Token); 3] =
            [("starts", "with", Token::StartsWith), ("ends", "with", Token::EndsWith), ("not", "in", Token::NotIn)];
        for (first, second, token) in two_words {
            if self.take(first) {
                self.skip_blanks();
                if self.take(second) {
                    return Ok(token);
                }
                self.at = start;
            }
        }
        if self.take("contains") {
            return Ok(Token::Contains);
        }
        if self.take("in") {
            return Ok(Token::In);
        }
        Err(self.fault("expected an operator after the label (==, !=, in, not in, contains, starts with, ends with)"))
    }

    fn word(&mut self) -> Result<Token, InvalidCalicoSelector> {
        if self.take("has(") {
            self.skip_blanks();
            let key = self.key()?;
            return self.closed(Token::Has(key));
        }
        if self.take("all(") {
            return self.closed(Token::All);
        }
        if self.take("global(") {
            return self.closed(Token::Global);
        }
        self.key().map(Token::Label)
    }

    fn closed(&mut self, token: Token) -> Result<Token, InvalidCalicoSelector> {
        self.skip_blanks();
        if self.take(")") { Ok(token) } else { Err(self.fault("expected `)`")) }
    }

    fn key(&mut self) -> Result<String, InvalidCalicoSelector> {
        let is_key = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | '-');
        let key: String = self.rest().chars().take_while(|c| is_key(*c)).collect();
        if key.is_empty() {
            let found = self.rest().chars().next();
            return Err(match found {
                Some('\n' | '\r') => self.fault("a line break: Calico takes only spaces and tabs between words"),
                Some(other) => self.fault(&format!("`{other}` cannot stand here")),
                None => self.fault("expected a label"),
            });
        }
        if key.len() > MAX_KEY {
            return Err(self.fault(&format!("the label is longer than {MAX_KEY} characters")));
        }
        self.at += key.len();
        Ok(key)
    }
}

struct Parser<'t> {
    text: &'t str,
    /// Each with its first byte.
    tokens: &'t [(Token, usize)],
    at: usize,
    depth: usize,
}

impl<'t> Parser<'t> {
    fn peek(&self) -> &'t Token {
        self.tokens.get(self.at).map_or(&Token::End, |(token, _)| token)
    }

    /// The end stays: it is asked for again.
    fn next(&mut self) -> &'t Token {
        let token = self.peek();
        if token != &Token::End {
            self.at += 1;
        }
        token
    }

    fn take(&mut self, token: &Token) -> bool {
        let found = self.peek() == token;
        if found {
            self.next();
        }
        found
    }

    fn fault(&self, message: &str) -> InvalidCalicoSelector {
        fault(self.text, self.tokens.get(self.at).map_or(self.text.len(), |(_, start)| *start), message)
    }

    fn any(&mut self) -> Result<CalicoSelector, InvalidCalicoSelector> {
        let mut list = vec![self.all()?];
        while self.take(&Token::Or) {
            list.push(self.all()?);
        }
        Ok(single(list, CalicoSelector::Or))
    }

    fn all(&mut self) -> Result<CalicoSelector, InvalidCalicoSelector> {
        let mut list = vec![self.one()?];
        while self.take(&Token::And) {
            list.push(self.one()?);
        }
        Ok(single(list, CalicoSelector::And))
    }

    fn one(&mut self) -> Result<CalicoSelector, InvalidCalicoSelector> {
        let mut negated = false;
        while self.take(&Token::Not) {
            negated = !negated;
        }
        let selector = match self.peek() {
            Token::OpenParen => self.nested()?,
            Token::Label(key) => {
                self.next();
                self.comparison(key)?
            }
            Token::Has(key) => self.done(CalicoSelector::Has(key.clone())),
            Token::All => self.done(CalicoSelector::All),
            Token::Global => self.done(CalicoSelector::Global),
            Token::End => return Err(self.fault("the selector ends where a condition is expected")),
            _ => return Err(self.fault("expected a label, has(), all(), `!` or `(`")),
        };
        Ok(if negated { CalicoSelector::Not(Box::new(selector)) } else { selector })
    }

    fn done(&mut self, selector: CalicoSelector) -> CalicoSelector {
        self.next();
        selector
    }

    fn nested(&mut self) -> Result<CalicoSelector, InvalidCalicoSelector> {
        if self.depth == MAX_DEPTH {
            return Err(self.fault(&format!("parentheses are nested deeper than {MAX_DEPTH}")));
        }
        self.next();
        self.depth += 1;
        let inner = self.any()?;
        self.depth -= 1;
        if self.take(&Token::CloseParen) { Ok(inner) } else { Err(self.fault("expected `)`")) }
    }

    fn comparison(&mut self, key: &str) -> Result<CalicoSelector, InvalidCalicoSelector> {
        let key = key.to_owned();
        let operator = self.peek();
        let make: fn(String, String) -> CalicoSelector = match operator {
            Token::Equals => CalicoSelector::Equals,
            Token::Differs => CalicoSelector::Differs,
            Token::Contains => CalicoSelector::Contains,
            Token::StartsWith => CalicoSelector::StartsWith,
            Token::EndsWith => CalicoSelector::EndsWith,
            Token::In => {
                self.next();
                return Ok(CalicoSelector::In(key, self.set()?));
            }
            Token::NotIn => {
                self.next();
                return Ok(CalicoSelector::NotIn(key, self.set()?));
            }
            _ => return Err(self.fault(&format!("expected an operator after the label `{key}`"))),
        };
        self.next();
        match self.peek() {
            Token::Text(text) => {
                self.next();
                Ok(make(key, text.clone()))
            }
            _ => Err(self.fault("expected a text in quotes")),
        }
    }

    /// An empty set and a comma at its end are allowed.
    fn set(&mut self) -> Result<BTreeSet<String>, InvalidCalicoSelector> {
        if !self.take(&Token::OpenBrace) {
            return Err(self.fault("expected a set, such as {'a', 'b'}"));
        }
        let mut values = BTreeSet::new();
        while let Token::Text(text) = self.peek() {
            self.next();
            values.insert(text.clone());
            if !self.take(&Token::Comma) {
                break;
            }
        }
        if self.take(&Token::CloseBrace) { Ok(values) } else { Err(self.fault("expected a text in quotes or `}`")) }
    }
}

/// The only one, or the combination of several.
fn single(mut list: Vec<CalicoSelector>, many: fn(Vec<CalicoSelector>) -> CalicoSelector) -> CalicoSelector {
    match list.pop() {
        Some(only) if list.is_empty() => only,
        Some(last) => {
            list.push(last);
            many(list)
        }
        None => CalicoSelector::All,
    }
}
