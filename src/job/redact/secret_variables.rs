//! Environment variables whose names suggest a secret.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::redactor::trim_line_ends;

/// The suffixes of the names of secret variables.
const NAME_SUFFIXES: [&str; 7] = [
    "_PASSWORD",
    "_SECRET",
    "_TOKEN",
    "_PRIVATE_KEY",
    "_ACCESS_KEY",
    "_SECRET_KEY",
    "_CONNECTION_STRING",
];

/// The minimum length of a value. Shorter values are too common in ordinary text.
pub(crate) const MIN_VALUE_BYTES: usize = 8;

/// A variable with a secret value.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SecretVariable {
    pub(crate) name: String,
    pub(crate) value: Vec<u8>,
}

/// Selects the secret variables, sorted by name. Of several variables with the same name, the
/// last one counts. `known_names` are the names of the user and of the host.
pub(crate) fn secret_variables(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
    known_names: &[OsString],
) -> Vec<SecretVariable> {
    let mut secrets: Vec<SecretVariable> = Vec::new();
    for (name, value) in variables {
        let Some(name) = name.to_str().filter(|name| is_secret_name(name)) else {
            continue;
        };
        secrets.retain(|secret| secret.name != name);
        let value = OsStr::from_bytes(trim_line_ends(value.as_bytes()));
        if is_secret_value(value, known_names) {
            secrets.push(SecretVariable {
                name: name.to_owned(),
                value: value.as_bytes().to_vec(),
            });
        }
    }
    secrets.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    secrets
}

/// Returns whether the name suggests a secret. It must be a name that a shell can refer to.
fn is_secret_name(name: &str) -> bool {
    let is_shell_name = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !name.starts_with(|c: char| c.is_ascii_digit());
    is_shell_name && NAME_SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
}

/// Returns whether the value is distinctive enough to mask it everywhere. Words, numbers, paths
/// and the names of the user and the host are not: masking them would make the output
/// unreadable, and they are unlikely to be secrets.
fn is_secret_value(value: &OsStr, known_names: &[OsString]) -> bool {
    let bytes = value.as_bytes();
    bytes.len() >= MIN_VALUE_BYTES
        && !bytes.iter().all(u8::is_ascii_lowercase)
        && !bytes.iter().all(u8::is_ascii_digit)
        && !known_names.iter().any(|name| name == value)
        && !Path::new(value).exists()
}

/// Replaces each value in an argument with `${NAME}`.
pub(crate) fn reference_in_argument(argument: &[u8], secrets: &[SecretVariable]) -> Vec<u8> {
    let mut out = Vec::with_capacity(argument.len());
    let mut rest = argument;
    while let Some(byte) = rest.first() {
        if let Some(secret) = longest_prefix(rest, secrets) {
            out.extend_from_slice(variable_reference(&secret.name).as_bytes());
            rest = rest.get(secret.value.len()..).unwrap_or_default();
        } else {
            out.push(*byte);
            rest = rest.get(1..).unwrap_or_default();
        }
    }
    out
}

/// Returns the text that replaces the value of a variable in an argument.
pub fn variable_reference(name: &str) -> String {
    format!("${{{name}}}")
}

/// A shell command in which the values of secret variables are references.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ReferencedCommand {
    pub(crate) text: String,
    /// Whether a shell runs it like the original command, if the variables have the same values.
    pub(crate) is_exact: bool,
}

/// Replaces each value in a shell command with a reference to its variable that the shell
/// expands to exactly that value, inside any quotes. A shell in which the variable is not set
/// refuses to run the command.
///
/// The result is not exact if the shell does not expand the reference, as in a here-document,
/// or if it interprets characters of the value itself.
pub(crate) fn reference_in_shell_command(
    command: &str,
    secrets: &[SecretVariable],
) -> ReferencedCommand {
    let mut text = String::with_capacity(command.len());
    let mut quotes = Quotes::None;
    let mut is_replaced = false;
    let mut is_understood = true;
    let mut rest = command;
    while let Some(c) = rest.chars().next() {
        if let Some(secret) = longest_prefix(rest.as_bytes(), secrets)
            && let Some(after) = rest.get(secret.value.len()..)
        {
            let reference = format!("${{{}:?}}", secret.name);
            // Single quotes prevent expansion, so end them before the reference and start them
            // again after it.
            let (before, after_it) = match quotes {
                Quotes::None => ("\"", "\""),
                Quotes::Double => ("", ""),
                Quotes::Single => ("'\"", "\"'"),
            };
            text.extend([before, &reference, after_it]);
            is_replaced = true;
            is_understood &= secret.value.iter().all(|byte| quotes.keep(*byte));
            rest = after;
            continue;
        }
        let mut len = c.len_utf8();
        match (quotes, c) {
            (Quotes::None | Quotes::Double, '\\') => {
                let escaped = rest.get(1..).unwrap_or_default();
                if longest_prefix(escaped.as_bytes(), secrets).is_some() {
                    is_understood = false;
                } else {
                    // The next character does not start or end quotes.
                    len += escaped.chars().next().map_or(0, char::len_utf8);
                }
            }
            (Quotes::None, '\'') => quotes = Quotes::Single,
            (Quotes::None, '"') => quotes = Quotes::Double,
            (Quotes::Single, '\'') | (Quotes::Double, '"') => quotes = Quotes::None,
            // Quotes have another meaning in a command substitution, a here-document or a
            // comment.
            (Quotes::None | Quotes::Double, '`') => is_understood = false,
            (Quotes::Double, '$') => is_understood &= !rest.starts_with("$("),
            (Quotes::None, '<') => is_understood &= !rest.starts_with("<<"),
            (Quotes::None, '#') => is_understood &= !ends_word(&text),
            _ => {}
        }
        let (done, after) = rest.split_at(len);
        text.push_str(done);
        rest = after;
    }
    ReferencedCommand {
        text,
        is_exact: is_understood || !is_replaced,
    }
}

/// Returns whether a word of a shell command can start after `text`.
fn ends_word(text: &str) -> bool {
    text.chars()
        .next_back()
        .is_none_or(|c| c.is_whitespace() || ";&|()".contains(c))
}

/// The quotes of a shell command at some position.
#[derive(Clone, Copy)]
enum Quotes {
    None,
    Single,
    Double,
}

impl Quotes {
    /// Returns whether a byte has no special meaning to the shell in these quotes.
    fn keep(self, byte: u8) -> bool {
        match self {
            Self::None => {
                byte.is_ascii_alphanumeric() || !byte.is_ascii() || b"_%+,-./:=@^".contains(&byte)
            }
            Self::Single => byte != b'\'',
            Self::Double => !b"\"$`\\".contains(&byte),
        }
    }
}

fn longest_prefix<'a>(text: &[u8], secrets: &'a [SecretVariable]) -> Option<&'a SecretVariable> {
    secrets
        .iter()
        .filter(|secret| text.starts_with(&secret.value))
        .max_by_key(|secret| secret.value.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn select(variables: &[(&str, &str)]) -> Vec<String> {
        let variables = variables.iter().map(|(k, v)| (k.into(), v.into()));
        secret_variables(variables, &["builder-07".into()])
            .into_iter()
            .map(|secret| secret.name)
            .collect()
    }

    #[test]
    fn secret_names_are_recognized() {
        for name in [
            "DB_PASSWORD",
            "APP_SECRET",
            "GH_TOKEN",
            "SSH_PRIVATE_KEY",
            "AWS_SECRET_ACCESS_KEY",
            "DJANGO_SECRET_KEY",
            "AZURE_CONNECTION_STRING",
        ] {
            assert_eq!(select(&[(name, "s3cr3t-value")]), [name]);
        }
        for name in [
            "PASSWORD",
            "TOKENS",
            "MY_TOKEN_FILE",
            "db_password",
            "A-B_TOKEN",
        ] {
            assert!(select(&[(name, "s3cr3t-value")]).is_empty(), "{name}");
        }
    }

    #[test]
    fn common_values_are_exempt() {
        for value in [
            "short12",
            "lowercase",
            "1234567890",
            "/etc/passwd",
            "builder-07",
            "\n\n",
        ] {
            assert!(select(&[("A_TOKEN", value)]).is_empty(), "{value}");
        }
        assert_eq!(select(&[("A_TOKEN", "abcd1234")]), ["A_TOKEN"]);
        // The last value counts.
        assert!(select(&[("A_TOKEN", "abcd1234"), ("A_TOKEN", "x")]).is_empty());
    }

    /// Runs a command in a shell in which the variable has this value.
    fn run(command: &str, value: Option<&str>) -> std::process::Output {
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", command]).env_remove("A_TOKEN");
        if let Some(value) = value {
            shell.env("A_TOKEN", value);
        }
        shell.output().unwrap()
    }

    #[test]
    fn exact_references_expand_to_the_value() {
        for (value, command, expected) in [
            ("s3cr3t-v", "echo V", Some(r#"echo "${A_TOKEN:?}""#)),
            ("s3cr3t v", "echo 'V'", Some(r#"echo ''"${A_TOKEN:?}"''"#)),
            ("s3cr3t#$", r"echo 'a\'V", None),
            (
                "s3cr3t-v",
                r"echo 'a\'Vb",
                Some(r#"echo 'a\'"${A_TOKEN:?}"b"#),
            ),
            (
                "s3cr3t'v",
                r#"echo "x\"V""#,
                Some(r#"echo "x\"${A_TOKEN:?}""#),
            ),
            ("s3cr3t-v", r"echo \'V", Some(r#"echo \'"${A_TOKEN:?}""#)),
            (
                "s3cr3t-v",
                "echo a#b'V'",
                Some(r#"echo a#b''"${A_TOKEN:?}"''"#),
            ),
            (
                "s3cr3t-v",
                "echo $(echo 'V')",
                Some(r#"echo $(echo ''"${A_TOKEN:?}"'')"#),
            ),
            ("s3cr3t-v", "# don't\necho V", None),
            ("s3cr3t-v", "cat <<EOF\nV\nEOF", None),
            ("s3cr3t-v", "echo \"$(echo 'V')\"", None),
            ("s3cr3t-v", "echo \"`echo 'V'`\"", None),
            ("s3cr3t-v", r"echo \V", None),
            ("s3cr3t v", "echo V", None),
            ("s3cr3t$v", "echo \"V\"", None),
            ("s3cr3t'v", "echo 'V'", None),
            (
                "s3cr3t-v",
                "# don't\necho plain",
                Some("# don't\necho plain"),
            ),
        ] {
            let secrets = secret_variables([("A_TOKEN".into(), value.into())], &[]);
            let command = command.replace('V', value);
            let found = reference_in_shell_command(&command, &secrets);
            assert_eq!(found.is_exact, expected.is_some(), "{command}");
            assert!(!found.text.contains(value), "{}", found.text);
            if let Some(expected) = expected {
                assert_eq!(found.text, expected);
                let (original, referenced) = (run(&command, None), run(&found.text, Some(value)));
                assert_eq!(original.stdout, referenced.stdout, "{command}");
                assert_eq!(original.status, referenced.status, "{command}");
            }
        }
    }

    #[test]
    fn command_fails_without_its_variable() {
        let secrets = secret_variables([("A_TOKEN".into(), "s3cr3t-v".into())], &[]);
        let command = reference_in_shell_command("echo s3cr3t-v", &secrets);
        let unset = run(&command.text, None);
        assert!(!unset.status.success() && unset.stdout.is_empty());
    }

    #[test]
    fn argument_value_becomes_a_reference() {
        let secrets = secret_variables(
            [
                ("A_TOKEN".into(), "abcd1234".into()),
                ("B_TOKEN".into(), "abcd12345".into()),
            ],
            &[],
        );
        let referenced = reference_in_argument(b"--t=abcd12345,abcd1234\xff", &secrets);
        assert_eq!(referenced, b"--t=${B_TOKEN},${A_TOKEN}\xff");
    }
}
