//! KQL to the query DSL by Kibana's rules, for what docs/DATA.md uses: fields, words, phrases, `*`, ranges, `and`, `or`,
//! `not`, lists in parentheses. Kibana itself is not at hand in a test.

use serde_json::{Value, json};

/// The query that Kibana would send.
pub(super) fn to_query(line: &str) -> Value {
    let tokens = tokens(line);
    let mut parser = Parser { tokens: &tokens };
    let query = parser.any();
    assert!(
        parser.tokens.is_empty(),
        "not understood: {line} at {:?}",
        parser.tokens
    );
    query
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    Quoted(String),
    /// `(`, `)`, `:`, `>=`, `<=`, `>`, `<`.
    Sign(&'static str),
}

const SIGNS: [&str; 7] = ["(", ")", ":", ">=", "<=", ">", "<"];

fn tokens(line: &str) -> Vec<Token> {
    let (mut rest, mut tokens) = (line.trim(), Vec::new());
    while !rest.is_empty() {
        let (token, length) = if let Some(sign) = SIGNS.into_iter().find(|sign| rest.starts_with(sign)) {
            (Token::Sign(sign), sign.len())
        } else if let Some(quoted) = rest.strip_prefix('"') {
            let end = quoted.find('"').expect("quotes come in pairs");
            (Token::Quoted(quoted[..end].to_owned()), end + 2)
        } else {
            let end = rest
                .find(|c: char| c.is_whitespace() || "():<>\"".contains(c))
                .unwrap_or(rest.len());
            (Token::Word(rest[..end].to_owned()), end)
        };
        tokens.push(token);
        rest = rest[length..].trim_start();
    }
    tokens
}

struct Parser<'a> {
    tokens: &'a [Token],
}

impl Parser<'_> {
    fn next(&mut self) -> Token {
        let (first, rest) = self.tokens.split_first().expect("the line goes on");
        self.tokens = rest;
        first.clone()
    }

    fn takes(&mut self, token: &Token) -> bool {
        let is_next = self.tokens.first() == Some(token);
        if is_next {
            self.next();
        }
        is_next
    }

    fn takes_word(&mut self, word: &str) -> bool {
        self.takes(&Token::Word(word.to_owned()))
    }

    fn any(&mut self) -> Value {
        let mut parts = vec![self.all()];
        while self.takes_word("or") {
            parts.push(self.all());
        }
        one_of(parts)
    }

    fn all(&mut self) -> Value {
        let mut parts = vec![self.one()];
        while self.takes_word("and") {
            parts.push(self.one());
        }
        json!({"bool": {"filter": parts}})
    }

    fn one(&mut self) -> Value {
        if self.takes_word("not") {
            return json!({"bool": {"must_not": self.one()}});
        }
        if self.takes(&Token::Sign("(")) {
            let inner = self.any();
            assert!(self.takes(&Token::Sign(")")));
            return inner;
        }
        let Token::Word(field) = self.next() else {
            panic!("a field or a word belongs here")
        };
        match self.tokens.first() {
            Some(Token::Sign(":")) => {
                self.next();
                self.value(&field)
            }
            Some(Token::Sign(sign @ (">=" | "<=" | ">" | "<"))) => {
                self.next();
                self.range(&field, sign)
            }
            _ => json!({"multi_match": {"type": "best_fields", "query": field, "lenient": true}}),
        }
    }

    fn range(&mut self, field: &str, sign: &str) -> Value {
        let (Token::Word(bound) | Token::Quoted(bound)) = self.next() else {
            panic!("a bound belongs here")
        };
        let name = match sign {
            ">=" => "gte",
            "<=" => "lte",
            ">" => "gt",
            _ => "lt",
        };
        json!({"range": {field: {name: bound}}})
    }

    fn value(&mut self, field: &str) -> Value {
        match self.next() {
            Token::Quoted(phrase) => json!({"match_phrase": {field: phrase}}),
            Token::Word(word) if word == "*" => json!({"exists": {"field": field}}),
            Token::Word(word) if word.contains('*') => json!({"wildcard": {field: word}}),
            Token::Word(word) => json!({"match": {field: word}}),
            Token::Sign("(") => {
                let mut values = vec![self.value(field)];
                while self.takes_word("or") {
                    values.push(self.value(field));
                }
                assert!(self.takes(&Token::Sign(")")));
                one_of(values)
            }
            Token::Sign(sign) => panic!("a value belongs here, not {sign}"),
        }
    }
}

fn one_of(parts: Vec<Value>) -> Value {
    json!({"bool": {"should": parts, "minimum_should_match": 1}})
}
