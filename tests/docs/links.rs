//! The links of the pages lead somewhere.

use std::collections::BTreeSet;
use std::fs;

use super::{pages, split};

#[test]
fn links_resolve() {
    for path in pages() {
        let page = fs::read_to_string(&path).unwrap();
        let (_, prose) = split(&page);
        for target in links(&prose) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let file = match file {
                "" => path.clone(),
                file => path.parent().unwrap().join(file),
            };
            assert!(
                file.exists(),
                "{}: the link to {target} leads nowhere",
                path.display()
            );
            if !anchor.is_empty() {
                let page = fs::read_to_string(&file).unwrap();
                assert!(
                    anchors(&page).contains(anchor),
                    "{}: the link to {target} leads to no heading",
                    path.display()
                );
            }
        }
    }
}

/// Returns the targets of the links in a text, except for those in code.
fn links(prose: &str) -> Vec<String> {
    let text: String = prose.split('`').step_by(2).collect();
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target.to_owned())
        .collect()
}

/// Returns the anchors of a page's headings.
fn anchors(page: &str) -> BTreeSet<String> {
    let (_, prose) = split(page);
    let headings = prose.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|heading| anchor(heading.trim_start_matches(['#', ' '])))
        .collect()
}

/// Returns the anchor of a heading.
pub(crate) fn anchor(heading: &str) -> String {
    let text = heading.to_lowercase();
    let kept = text
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}
