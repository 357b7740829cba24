//! Variable expansion as Flux's postBuild has it (github.com/fluxcd/pkg/envsubst, a fork of drone/envsubst).
//!
//! It resembles bash's, but is its own language: `${x:+y}` and `${x:?y}` are defaults like `${x:-y}`, `$x` is text, and
//! `$$` is `$`. Patterns (`${x#a*}`) and cases in which the original panics are refused by name.

use std::collections::BTreeMap;

/// Expansions inside expansions: beyond what anybody writes, and harmless for the stack.
const DEPTH_LIMIT: usize = 32;

/// Why a text could not be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ExpandFault {
    /// No value and no default: Flux fails too (strict since 2.8).
    #[error("variable `{0}` is not set")]
    Unset(String),
    /// Not an expansion; Flux fails too.
    #[error("`{0}` is not a well-formed variable expansion")]
    Syntax(String),
    /// Well-formed, but not supported here.
    #[error("the expansion `{0}` is not supported")]
    Unsupported(String),
}

/// Expands every `${…}` of `text`.
pub(super) fn expand(text: &str, variables: &BTreeMap<String, String>) -> Result<String, ExpandFault> {
    let mut expander = Expander { rest: text, variables, depth: 0 };
    let mut output = String::with_capacity(text.len());
    while let Some((before, after)) = expander.rest.split_once('$') {
        output.push_str(before);
        expander.rest = after;
        if let Some(after) = after.strip_prefix('{') {
            expander.rest = after;
            output.push_str(&expander.variable()?);
        } else {
            // `$$` is one `$`, and what follows it is text.
            output.push('$');
            expander.rest = after.strip_prefix('$').unwrap_or(after);
        }
    }
    output.push_str(expander.rest);
    Ok(output)
}

struct Expander<'a> {
    rest: &'a str,
    variables: &'a BTreeMap<String, String>,
    depth: usize,
}

impl<'a> Expander<'a> {
    /// What follows `${`, up to and including its `}`.
    fn variable(&mut self) -> Result<String, ExpandFault> {
        let whole = self.rest;
        self.depth += 1;
        if self.depth > DEPTH_LIMIT {
            return Err(ExpandFault::Unsupported(show(whole)));
        }
        let value = self.operation(whole)?;
        self.depth -= 1;
        if !self.eat("}") {
            return Err(ExpandFault::Syntax(show(whole)));
        }
        Ok(value)
    }

    fn operation(&mut self, whole: &str) -> Result<String, ExpandFault> {
        let syntax = || ExpandFault::Syntax(show(whole));
        if self.eat("#") {
            let name = self.name().ok_or_else(syntax)?;
            return self.value(name).map(|value| value.len().to_string());
        }
        let name = self.name().ok_or_else(syntax)?;
        for operator in [":=", ":-", ":?", ":+", "="] {
            if self.eat(operator) {
                let default = self.default().ok_or_else(syntax)??;
                let value = self.variables.get(name).filter(|value| !value.is_empty());
                return Ok(value.cloned().unwrap_or(default));
            }
        }
        match self.rest.chars().next() {
            Some('}') => self.value(name),
            Some(',' | '^') => self.casing(name),
            Some(':') => self.substring(name, whole),
            Some('/') => self.replace(name, whole),
            Some('#' | '%') => self.trim(name, whole),
            _ => Err(syntax()),
        }
    }

    /// Text and expansions up to `}`; `None` where there is no `}`.
    fn default(&mut self) -> Option<Result<String, ExpandFault>> {
        let mut default = String::new();
        while !self.rest.starts_with('}') {
            match self.argument(&['}'])? {
                Ok(part) => default.push_str(&part),
                Err(fault) => return Some(Err(fault)),
            }
        }
        Some(Ok(default))
    }

    /// One argument: an expansion, or text up to an expansion or one of `ends`; `None` where it is empty.
    fn argument(&mut self, ends: &[char]) -> Option<Result<String, ExpandFault>> {
        if self.eat("${") {
            return Some(self.variable());
        }
        let end = self.rest.find("${").unwrap_or(self.rest.len());
        let end = self.rest.find(ends).map_or(end, |at| at.min(end));
        let (text, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest;
        (!text.is_empty()).then(|| Ok(text.to_owned()))
    }

    fn casing(&mut self, name: &str) -> Result<String, ExpandFault> {
        let value = self.value(name)?;
        // A mixed pair is read, and does nothing.
        for operator in [",,", "^^", ",^", "^,", ",", "^"] {
            if self.eat(operator) {
                return Ok(match operator {
                    ",," => value.to_lowercase(),
                    "^^" => value.to_uppercase(),
                    ",^" | "^," => value,
                    "," => first(&value, |c| c.to_lowercase().collect()),
                    _ => first(&value, |c| c.to_uppercase().collect()),
                });
            }
        }
        Ok(value)
    }

    fn substring(&mut self, name: &str, whole: &str) -> Result<String, ExpandFault> {
        let syntax = || ExpandFault::Syntax(show(whole));
        self.eat(":");
        let start = self.argument(&[':', '}']).ok_or_else(syntax)??;
        let mut length = None;
        if self.eat(":") {
            while self.eat(":") {}
            length = Some(self.argument(&['}']).ok_or_else(syntax)??);
        }
        let value = self.value(name)?;
        let Ok(start) = start.parse::<isize>() else { return Ok(value) };
        // The original counts bytes from the end for a negative start.
        let start = if start < 0 { value.len().saturating_sub(start.unsigned_abs()) } else { start.unsigned_abs() };
        let start = start.min(value.len());
        let end = match length.as_deref().map(str::parse::<isize>) {
            None => value.len(),
            Some(Err(_)) => return Ok(value),
            // A negative length makes the original panic or read from the end; nobody can rely on it.
            Some(Ok(length)) if length < 0 => return Err(ExpandFault::Unsupported(show(whole))),
            Some(Ok(length)) => start.saturating_add(length.unsigned_abs()).min(value.len()),
        };
        value.get(start..end).map(str::to_owned).ok_or_else(|| ExpandFault::Unsupported(show(whole)))
    }

    fn replace(&mut self, name: &str, whole: &str) -> Result<String, ExpandFault> {
        let syntax = || ExpandFault::Syntax(show(whole));
        let operator = ["//", "/#", "/%", "/"].into_iter().find(|operator| self.eat(operator)).ok_or_else(syntax)?;
        let old = self.argument(&['/']).ok_or_else(syntax)??;
        if !self.eat("/") {
            return Err(syntax());
        }
        while self.eat("/") {}
        let new = if self.rest.starts_with('}') { None } else { Some(self.argument(&['}']).ok_or_else(syntax)??) };
        if [Some(&old), new.as_ref()].into_iter().flatten().any(|text| text.contains(['\\', '$'])) {
            return Err(ExpandFault::Unsupported(show(whole)));
        }
        let value = self.value(name)?;
        let by = new.as_deref().unwrap_or_default();
        Ok(match operator {
            "//" => value.replace(&old, by),
            "/" => value.replacen(&old, by, 1),
            // Without a replacement the original leaves these two alone.
            _ if new.is_none() => value,
            "/#" => value.strip_prefix(&old).map(|rest| format!("{by}{rest}")).unwrap_or(value),
            _ => value.strip_suffix(&old).map(|rest| format!("{rest}{by}")).unwrap_or(value),
        })
    }

    fn trim(&mut self, name: &str, whole: &str) -> Result<String, ExpandFault> {
        let syntax = || ExpandFault::Syntax(show(whole));
        let operator = ["##", "%%", "#", "%"].into_iter().find(|operator| self.eat(operator)).ok_or_else(syntax)?;
        let part = self.argument(&['}']).ok_or_else(syntax)??;
        if part.contains(['*', '?', '[', '\\']) {
            return Err(ExpandFault::Unsupported(show(whole)));
        }
        let value = self.value(name)?;
        let trimmed = if operator.starts_with('#') { value.strip_prefix(&part) } else { value.strip_suffix(&part) };
        Ok(trimmed.map(str::to_owned).unwrap_or(value))
    }

    fn value(&self, name: &str) -> Result<String, ExpandFault> {
        self.variables.get(name).cloned().ok_or_else(|| ExpandFault::Unset(name.to_owned()))
    }

    fn name(&mut self) -> Option<&'a str> {
        let end = self.rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest;
        Some(name).filter(|name| !name.is_empty())
    }

    fn eat(&mut self, text: &str) -> bool {
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }
}

fn first(value: &str, change: impl Fn(char) -> String) -> String {
    let mut chars = value.chars();
    chars.next().map_or_else(String::new, |first| change(first) + chars.as_str())
}

/// The beginning of an expansion, for a message.
fn show(rest: &str) -> String {
    let line = rest.lines().next().unwrap_or_default();
    let end = line.find('}').map_or(line.len(), |at| at + 1);
    format!("${{{}", line.get(..end).unwrap_or_default().chars().take(60).collect::<String>())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn variables() -> BTreeMap<String, String> {
        [("x", "Hello"), ("empty", ""), ("y", "aXbXc"), ("uml", "äöü")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into()
    }

    #[test]
    fn expansions_are_those_of_flux() {
        for (text, expected) in [
            ("a ${x} b", "a Hello b"),
            ("$x {x} $$ $", "$x {x} $ $"),
            ("$${x} $$${x}", "${x} $Hello"),
            ("${x}${x}", "HelloHello"),
            ("${no:=d}${no:-d}${no=d}${no:?d}${no:+d}", "ddddd"),
            ("${empty:-d}|${empty}", "d|"),
            ("${x:-d}${x:+d}", "HelloHello"),
            ("${no:-a${x}b${no:-c}}", "aHellobc"),
            ("${no:-}", ""),
            ("${#x}${#uml}", "56"),
            ("${x,}${x,,}${x^}${x^^}${x,^}", "hellohelloHelloHELLOHello"),
            ("${x:1}|${x:1:2}|${x:-3}|${x:9}|${x:0:99}|${x:q}", "ello|el|Hello||Hello|Hello"),
            ("${y/X/-}${y//X/-}${y/X/}${y//X/}", "a-bXca-b-cabXcabc"),
            ("${y/#a/-}${y/%c/-}${y/#X/-}", "-XbXcaXbX-aXbXc"),
            ("${y#a}${y##aX}${y%c}${y%%q}", "XbXcbXcaXbXaXbXc"),
        ] {
            assert_eq!(expand(text, &variables()).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_flux_refuses_is_refused() {
        for text in ["${", "${}", "${x", "${x y}", "${-x}", "${x:}", "${no:-a", "${x/a}", "${x~}", "${#}"] {
            assert!(matches!(expand(text, &variables()), Err(ExpandFault::Syntax(_))), "{text}");
        }
        assert_eq!(expand("${no}", &variables()), Err(ExpandFault::Unset("no".to_owned())));
        assert_eq!(expand("${no^^}", &variables()), Err(ExpandFault::Unset("no".to_owned())));
    }

    #[test]
    fn what_is_not_supported_is_named() {
        for text in ["${x#H*}", "${x:0:-1}", "${uml:1}", "${x/a\\/b/c}"] {
            let fault = expand(text, &variables()).unwrap_err();
            assert_eq!(fault, ExpandFault::Unsupported(text.to_owned()));
        }
        let deep = "${no:-".repeat(100_000);
        assert!(matches!(expand(&deep, &variables()), Err(ExpandFault::Unsupported(_))));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[$x{}:\\-/#%^,=+?0-9ä\\\\ ]{0,40}") {
            let _ = expand(&text, &variables());
        }

        #[test]
        fn text_without_dollar_stays(text in "[^$]{0,60}") {
            prop_assert_eq!(expand(&text, &variables()), Ok(text));
        }
    }
}
