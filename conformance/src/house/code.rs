//! Rust text without its comments and literals, so that a search finds code and nothing else.
//!
//! This is a scanner, not a parser: it knows line and nested block comments, plain, byte, C and raw
//! strings, and tells character literals from lifetimes. Every blanked character becomes a space
//! and line ends stay, so line numbers and columns of the result are those of the source.

/// `text` with the inside of comments and literals replaced by spaces.
pub fn blank_comments_and_strings(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = literal_or_comment_end(&chars, at);
        if end > at {
            let blank = |c: &char| if *c == '\n' { '\n' } else { ' ' };
            out.extend(chars.iter().take(end).skip(at).map(blank));
            at = end;
        } else {
            out.extend(chars.get(at));
            at += 1;
        }
    }
    out
}

/// The identifiers and keywords of a line of code.
pub fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty())
}

/// Where the comment or literal that begins at `at` ends; `at` when none begins there.
fn literal_or_comment_end(chars: &[char], at: usize) -> usize {
    let peek = |offset: usize| chars.get(at + offset).copied();
    match (peek(0), peek(1)) {
        (Some('/'), Some('/')) => find(chars, at, '\n'),
        (Some('/'), Some('*')) => block_comment_end(chars, at),
        (Some('"'), _) => string_end(chars, at + 1),
        (Some('\''), Some('\\')) => find(chars, at + 3, '\'') + 1,
        (Some('\''), Some(_)) if peek(2) == Some('\'') => at + 3,
        (Some('r'), Some('"' | '#')) if !continues_a_word(chars, at) => raw_string_end(chars, at),
        _ => at,
    }
}

/// `br"..."` and `cr"..."` are raw strings; `for"` is not.
fn continues_a_word(chars: &[char], at: usize) -> bool {
    let before = at.checked_sub(1).and_then(|index| chars.get(index));
    before.is_some_and(|c| (c.is_alphanumeric() || *c == '_') && !matches!(c, 'b' | 'c'))
}

fn find(chars: &[char], from: usize, wanted: char) -> usize {
    let offset = chars.iter().skip(from).position(|c| *c == wanted);
    offset.map_or(chars.len(), |offset| from + offset)
}

fn block_comment_end(chars: &[char], from: usize) -> usize {
    let mut depth = 0_usize;
    let mut at = from;
    while let Some(pair) = chars.get(at..at + 2) {
        match pair {
            ['/', '*'] => depth += 1,
            ['*', '/'] => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    chars.len()
}

fn string_end(chars: &[char], from: usize) -> usize {
    let mut at = from;
    while let Some(c) = chars.get(at) {
        match c {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

/// From the `r`; `at` itself when this is a raw identifier such as `r#type`.
fn raw_string_end(chars: &[char], at: usize) -> usize {
    let hashes = chars.iter().skip(at + 1).take_while(|c| **c == '#').count();
    if chars.get(at + 1 + hashes) != Some(&'"') {
        return at;
    }
    let mut end = at + 2 + hashes;
    loop {
        end = find(chars, end, '"');
        if end >= chars.len() {
            return chars.len();
        }
        let closing = chars.iter().skip(end + 1).take(hashes);
        if closing.filter(|c| **c == '#').count() == hashes {
            return end + 1 + hashes;
        }
        end += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked_and_code_stays_in_place() {
        let source = concat!(
            "let a = \"todo!\"; // todo!\n",
            "/* one /* two */ todo! */ let b = 'x'; let c: &'a str = r#\"a \"todo!\" b\"#;\n",
            "let d = '\\''; let e = b\"\\\"todo!\"; todo!()\n",
        );
        let code = blank_comments_and_strings(source);
        assert_eq!(code.matches("todo!").count(), 1);
        assert_eq!(code.lines().count(), source.lines().count());
        let last = code.lines().last().unwrap();
        assert_eq!(
            last.find("todo!"),
            source.lines().last().unwrap().rfind("todo!")
        );
        assert!(code.contains("&'a str"));
    }

    #[test]
    fn raw_identifiers_and_unfinished_literals_do_not_derail_the_scanner() {
        assert_eq!(
            blank_comments_and_strings("r#type + for_r"),
            "r#type + for_r"
        );
        for unfinished in ["\"abc", "/* abc", "r##\"abc\"#", "'\\", "b'\\''"] {
            assert_eq!(
                blank_comments_and_strings(unfinished).len(),
                unfinished.len()
            );
        }
    }
}
