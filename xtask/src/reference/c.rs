//! The page of the C interface: its header's comments as Markdown.
//!
//! | in the header | on the page |
//! |---|---|
//! | the first comment: titles, and lines set in below them | a section for each title |
//! | a comment and the declarations that follow it | the declarations, and the comment below them |
//! | a blank line | a new group |
//!
//! A declaration that no comment stands before is refused.

use anyhow::{Result, bail};
use std::fmt::Write as _;

const OPENING: &str = "# C: `clutch_moqt.h`

Written by `cargo xtask reference` from `sdk/ffi/include/clutch_moqt.h`; do not edit.
How to begin is in [C.md](../C.md).
";

/// A comment, and what it is about.
#[derive(Debug, Default, PartialEq, Eq)]
struct Part {
    comment: String,
    code: String,
}

/// The page of a header.
pub(super) fn page(header: &str) -> Result<String> {
    let parts = parts(header);
    let mut page = OPENING.to_owned();
    let mut rest = parts.iter();
    if let Some(first) = rest.next() {
        page.push_str(&sections(&first.comment));
    }
    page.push_str("\n## Declarations\n");
    let mut count = 0_u32;
    for part in rest {
        if part.code.is_empty() {
            bail!("a comment of the header is about nothing: {}", part.comment);
        }
        if part.comment.is_empty() {
            bail!(
                "no comment stands before this in the header:\n{}",
                part.code
            );
        }
        let _ = write!(page, "\n```c\n{}\n```\n\n{}\n", part.code, part.comment);
        count += 1;
    }
    if count == 0 {
        bail!("the header declares nothing");
    }
    Ok(page)
}

/// The header without what the preprocessor and C++ need, comment by comment.
fn parts(header: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut open = Part::default();
    let mut lines = header.lines();
    while let Some(line) = lines.next() {
        if line.starts_with('#') || line.starts_with("extern \"C\"") || line == "}" {
            continue;
        }
        if let Some(text) = line.strip_prefix("/*") {
            parts.push(std::mem::take(&mut open));
            open.comment = comment(text, &mut lines);
        } else if !line.trim().is_empty() {
            open.code.push_str(line);
            open.code.push('\n');
        } else if !open.code.is_empty() {
            parts.push(std::mem::take(&mut open));
        }
    }
    parts.push(open);
    parts.retain(|part| *part != Part::default());
    for part in &mut parts {
        part.code.truncate(part.code.trim_end().len());
    }
    parts
}

/// A comment's lines without their marks; `text` is what follows its beginning.
fn comment<'a>(text: &'a str, lines: &mut impl Iterator<Item = &'a str>) -> String {
    let mut found = String::new();
    let mut line = text;
    loop {
        let (text, is_last) = match line.split_once("*/") {
            Some((text, _)) => (text, true),
            None => (line, false),
        };
        let text = text.strip_prefix(" *").unwrap_or(text);
        found.push_str(text.strip_prefix(' ').unwrap_or(text).trim_end());
        found.push('\n');
        // What follows the comment stays for the caller.
        match (!is_last).then(|| lines.next()).flatten() {
            Some(next) => line = next,
            None => break,
        }
    }
    found.trim().to_owned()
}

/// The first comment: what stands at the margin before set-in lines is a title.
fn sections(comment: &str) -> String {
    let mut page = String::new();
    let mut lines = comment.lines().peekable();
    while let Some(line) = lines.next() {
        let is_title = lines.peek().is_some_and(|next| next.starts_with("  "));
        if is_title && !line.is_empty() && !line.starts_with(' ') {
            let _ = write!(page, "## {line}\n\n");
            continue;
        }
        let text = line.strip_prefix("  ").unwrap_or(line);
        // Two columns of words.
        match text.split_once("  ") {
            Some((name, about)) => {
                let _ = writeln!(page, "- `{name}`: {}", about.trim_start());
            }
            None => {
                let _ = writeln!(page, "{text}");
            }
        }
    }
    format!("\n{}\n", page.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "/*
 * what.h - what it is.
 *
 * Threads
 *   Any thread.
 *
 * Environment
 *   NAME    what it does
 */
#ifndef WHAT_H
/* Makes one;
 * or none. */
int make(int a,
         int b);
/* Ends it. */
void end(void);

#endif
";

    #[test]
    fn a_comment_becomes_the_text_below_what_it_is_about() {
        let page = page(HEADER).unwrap();
        let expected = "
what.h - what it is.

## Threads

Any thread.

## Environment

- `NAME`: what it does

## Declarations

```c
int make(int a,
         int b);
```

Makes one;
or none.

```c
void end(void);
```

Ends it.
";
        assert_eq!(page, format!("{OPENING}{expected}"));
    }

    #[test]
    fn a_declaration_without_a_comment_is_refused() {
        let bare = HEADER.replace("/* Ends it. */\n", "\n");
        let refusal = page(&bare).unwrap_err().to_string();
        assert!(refusal.ends_with("void end(void);"), "{refusal}");
    }
}
