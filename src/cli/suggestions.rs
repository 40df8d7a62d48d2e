//! clap's suggestions for words that it does not know.

use clap::error::{ContextKind, ContextValue};

/// The kinds of clap's suggestions, each with the kind of what was typed.
const SUGGESTIONS: [(ContextKind, ContextKind); 3] = [
    (ContextKind::SuggestedArg, ContextKind::InvalidArg),
    (
        ContextKind::SuggestedSubcommand,
        ContextKind::InvalidSubcommand,
    ),
    (ContextKind::SuggestedValue, ContextKind::InvalidValue),
];

/// Removes clap's suggestions. The usage that clap shows contains them, so it goes too.
pub(super) fn remove_suggestions(error: &mut clap::Error) {
    for (suggested, _) in SUGGESTIONS {
        if error.remove(suggested).is_some() {
            error.remove(ContextKind::Usage);
        }
    }
}

/// Removes those of clap's suggestions that are too far from what was typed.
pub(super) fn remove_distant_suggestions(error: &mut clap::Error) {
    for (suggested, invalid) in SUGGESTIONS {
        if error.get(suggested).is_none() {
            continue;
        }
        let close = close_suggestions(error, suggested, invalid);
        if close.is_empty() {
            error.remove(suggested);
            error.remove(ContextKind::Usage);
        } else if let Some(ContextValue::Strings(_)) = error.get(suggested) {
            error.insert(suggested, ContextValue::Strings(close));
        }
    }
}

/// Returns those of clap's suggestions that are close to what was typed.
pub(super) fn close_suggestions(
    error: &clap::Error,
    suggested: ContextKind,
    invalid: ContextKind,
) -> Vec<String> {
    let Some(ContextValue::String(typed)) = error.get(invalid) else {
        return Vec::new();
    };
    // An option may include its value.
    let typed = typed.split(['=', ' ']).next().unwrap_or_default();
    let is_close = |word: &&String| {
        let is_start = typed.trim_start_matches('-').len() >= 4 && word.starts_with(typed);
        // This command is hidden.
        *word != "complete-runs"
            && (is_start || strsim::osa_distance(typed, word) <= max_typos(typed))
    };
    match error.get(suggested) {
        Some(ContextValue::String(word)) => {
            Some(word).into_iter().filter(is_close).cloned().collect()
        }
        Some(ContextValue::Strings(words)) => words.iter().filter(is_close).cloned().collect(),
        _ => Vec::new(),
    }
}

/// Returns the maximum number of mistyped characters for a word.
fn max_typos(word: &str) -> usize {
    match word.trim_start_matches('-').len() {
        0..=2 => 0,
        3..=5 => 1,
        _ => 2,
    }
}
