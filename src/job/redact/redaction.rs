//! The secrets to mask: those that the user specified, and the values of variables whose names
//! suggest a secret.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::sync::Arc;

use super::redactor::{ENV, RedactError, Redactor, SecretSpecs};
use super::secret_variables::{
    MIN_VALUE_BYTES, ReferencedCommand, SecretVariable, reference_in_argument,
    reference_in_shell_command, secret_variables,
};

/// The redaction of one job. Cloning it is cheap.
///
/// Specified secrets are masked in every string of every event and in captured output. The
/// values of secret variables are masked in captured output, in the data of notes and in
/// messages. In recorded commands, they become references to their variables.
#[derive(Debug, Clone, Default)]
pub struct Redaction {
    specified: Option<Redactor>,
    all: Option<Redactor>,
    variables: Arc<[SecretVariable]>,
    /// The variables whose values were specified.
    specified_names: Arc<[String]>,
    /// The number of specified regular expressions.
    patterns: u32,
}

/// The source of secret variables.
#[derive(Debug, Clone, Default)]
pub struct SecretEnv {
    /// The variables; later ones replace earlier ones with the same name.
    pub variables: Vec<(OsString, OsString)>,
    /// The names of the user and of the host, which are never masked.
    pub known_names: Vec<OsString>,
}

impl Redaction {
    /// Creates the redaction of `specs`, each a regular expression or `ENV:NAME`, and of the
    /// secret variables in `secret_env`. `env` looks up a variable.
    ///
    /// # Errors
    /// A specification is invalid.
    pub fn new(
        specs: &[String],
        env: &dyn Fn(&str) -> Option<OsString>,
        secret_env: SecretEnv,
    ) -> Result<Self, RedactError> {
        let specified = SecretSpecs::parse(specs, env)?.build()?;
        let variables = secret_variables(secret_env.variables, &secret_env.known_names);
        let all = if variables.is_empty() {
            specified.clone()
        } else {
            let mut all = SecretSpecs::parse(specs, env)?;
            for variable in &variables {
                all.add_value(&variable.value, MIN_VALUE_BYTES);
            }
            all.build()?
        };
        let names = specs.iter().filter_map(|spec| spec.strip_prefix(ENV));
        let specified_names: BTreeSet<String> = names.map(str::to_owned).collect();
        let is_pattern = |spec: &&String| !spec.starts_with(ENV);
        let patterns = specs.iter().filter(is_pattern).count();
        Ok(Self {
            specified,
            all,
            variables: variables.into(),
            specified_names: specified_names.into_iter().collect(),
            patterns: u32::try_from(patterns).unwrap_or(u32::MAX),
        })
    }

    /// Turns off the masking of secret variables.
    pub fn without_variables(&mut self) {
        self.all.clone_from(&self.specified);
        self.variables = Arc::default();
    }

    /// Returns the redactor for every string of every event, without secret variables.
    pub fn specified(&self) -> Option<&Redactor> {
        self.specified.as_ref()
    }

    /// Returns the redactor for captured output, the data of notes, and messages.
    pub fn all(&self) -> Option<&Redactor> {
        self.all.as_ref()
    }

    /// Returns the names of the secret variables.
    pub fn variable_names(&self) -> Vec<String> {
        self.variables.iter().map(|v| v.name.clone()).collect()
    }

    /// Returns the names of the variables whose values were specified.
    pub(crate) fn specified_names(&self) -> &[String] {
        &self.specified_names
    }

    /// Returns the number of specified regular expressions, whose texts are secrets themselves.
    pub(crate) fn patterns(&self) -> u32 {
        self.patterns
    }

    /// Masks the specified secrets in a text.
    pub fn mask<'a>(&self, text: &'a str) -> Cow<'a, str> {
        mask(self.specified(), text)
    }

    /// Masks all secrets in a message.
    pub fn mask_message<'a>(&self, text: &'a str) -> Cow<'a, str> {
        mask(self.all(), text)
    }

    /// Masks the specified secrets in bytes.
    pub(crate) fn mask_bytes<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        self.specified().map_or(bytes.into(), |r| r.mask(bytes))
    }

    /// Replaces the values of secret variables in an argument of a command.
    pub(crate) fn reference_argument(&self, argument: &[u8]) -> Vec<u8> {
        reference_in_argument(argument, &self.variables)
    }

    /// Replaces the values of secret variables in a recorded value.
    pub(crate) fn reference_text(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.reference_argument(text.as_bytes())).into_owned()
    }

    /// Replaces the values of secret variables in a shell command.
    pub(crate) fn reference_shell_command(&self, command: &str) -> ReferencedCommand {
        reference_in_shell_command(command, &self.variables)
    }
}

fn mask<'a>(redactor: Option<&Redactor>, text: &'a str) -> Cow<'a, str> {
    redactor.map_or(text.into(), |redactor| redactor.mask_str(text))
}

impl std::fmt::Debug for SecretVariable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SecretVariable").finish_non_exhaustive()
    }
}
