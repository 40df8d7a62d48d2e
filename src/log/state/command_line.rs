//! Command lines for people.

/// The maximum length of a command line in a state, in characters.
const MAX_COMMAND_CHARS: usize = 200;

/// Returns a command line for people, quoted as a shell would need it and truncated.
pub fn command_line(argv: &[String]) -> String {
    let mut line = String::new();
    for arg in argv {
        if !line.is_empty() {
            line.push(' ');
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
        if !arg.is_empty() && arg.chars().all(plain) {
            line.push_str(arg);
        } else {
            line.push('\'');
            line.push_str(&arg.replace('\'', "'\\''"));
            line.push('\'');
        }
    }
    match line.char_indices().nth(MAX_COMMAND_CHARS) {
        Some((at, _)) => {
            line.truncate(at);
            line.push('…');
            line
        }
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_line_is_quoted_and_truncated() {
        let line =
            |argv: &[&str]| command_line(&argv.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>());
        assert_eq!(line(&["make", "-j4", "CC=gcc"]), "make -j4 CC=gcc");
        assert_eq!(line(&["sh", "-c", "it's", ""]), r"sh -c 'it'\''s' ''");
        assert_eq!(
            line(&[&"é".repeat(300)]).chars().count(),
            MAX_COMMAND_CHARS + 1
        );
    }
}
