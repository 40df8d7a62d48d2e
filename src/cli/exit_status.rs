//! The exit codes of a command, from the paragraph `Exit codes:` of its help.

/// Returns each code and its meaning. The codes in `codes` are separated by `;`; a sentence that
/// ends in `:` says when the codes after it apply.
pub fn rows(codes: &str) -> Vec<(String, String)> {
    let mut rows: Vec<(String, String)> = Vec::new();
    let mut condition = String::new();
    let mut code: Option<&str> = None;
    let mut text = String::new();
    for word in codes.split_whitespace() {
        let starts = text.is_empty() || text.ends_with([';', ':', '.']);
        if !starts || !is_code(word) {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(word);
            continue;
        }
        let next = add(&mut rows, code.replace(word), &text, &condition);
        condition = next.unwrap_or(condition);
        text.clear();
    }
    add(&mut rows, code, &text, &condition);
    rows
}

/// Adds the row of a code, and returns the condition of the codes that follow, if it is another.
fn add(
    rows: &mut Vec<(String, String)>,
    code: Option<&str>,
    text: &str,
    condition: &str,
) -> Option<String> {
    let (meaning, next) = match text.rsplit_once(". ") {
        Some((meaning, next)) if next.ends_with(':') => (meaning, Some(next)),
        _ => (text, None),
    };
    let meaning = meaning.trim_end_matches([';', '.']);
    match code {
        Some(code) => rows.push((code.to_owned(), format!("{condition}{meaning}"))),
        None if meaning.is_empty() => {}
        None => rows.push((meaning.to_owned(), "it exited".to_owned())),
    }
    let mut next = next?.chars();
    let first = next.next()?.to_lowercase();
    Some(format!("{first}{} ", next.as_str()))
}

/// Returns whether a word is an exit code, or `128+N`.
fn is_code(word: &str) -> bool {
    let digits = word.strip_suffix("+N").unwrap_or(word);
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_conditions_are_split() {
        let text = "the command's own; 128+N if signal N ended it; 2 wrong. With --x: 0 done; \
                    1 after 5 s (or 6).";
        let rows = rows(text);
        let rows: Vec<_> = rows.iter().map(|(c, m)| (c.as_str(), m.as_str())).collect();
        assert_eq!(
            rows,
            [
                ("the command's own", "it exited"),
                ("128+N", "if signal N ended it"),
                ("2", "wrong"),
                ("0", "with --x: done"),
                ("1", "with --x: after 5 s (or 6)"),
            ]
        );
    }
}
