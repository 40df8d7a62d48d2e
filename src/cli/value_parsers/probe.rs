//! Probes: what a job depends on, as `NAME=SPEC`.

use super::parse_size;
use crate::telemetry::{Dependency, Target};
use crate::volume::JobId;

/// Parses a probe.
///
/// # Errors
///
/// Returns a message if there is no `=`, the name is not an ID, or there is no such target.
pub(crate) fn parse_probe(text: &str) -> Result<Dependency, String> {
    let (name, spec) = text
        .split_once('=')
        .ok_or_else(|| format!("`{text}` has no `=`; write NAME=SPEC, such as db=tcp:5432"))?;
    // A name follows the rules for IDs.
    name.parse::<JobId>().map_err(|e| e.to_string())?;
    Ok(Dependency {
        name: name.to_owned(),
        spec: spec.to_owned(),
        target: parse_target(spec)?,
    })
}

fn parse_target(spec: &str) -> Result<Target, String> {
    let (kind, value) = spec.split_once(':').unwrap_or((spec, ""));
    let path = || match value {
        "" => Err(format!("`{spec}` has no path; write {kind}:PATH")),
        path if path.contains('\0') => Err(format!("the path of `{kind}` contains a zero byte")),
        path => Ok(path.into()),
    };
    match kind {
        "tcp" => match value.parse() {
            Ok(port) if port > 0 => Ok(Target::Tcp(port)),
            _ => Err(format!(
                "`{spec}` has no port; write tcp:PORT with a PORT from 1 to 65535, such as tcp:5432"
            )),
        },
        "unix" => path().map(Target::Unix),
        "file" => path().map(Target::File),
        "process" if value.is_empty() || value.contains(['/', '\0']) => Err(format!(
            "`{spec}` has no program; write process:NAME with a NAME as in `ps -o comm`, such as \
             process:postgres"
        )),
        "process" => Ok(Target::Process(value.to_owned())),
        "free" => match value.rsplit_once(':') {
            Some((path, size)) if !path.is_empty() && !path.contains('\0') => Ok(Target::Free {
                path: path.into(),
                bytes: parse_size(size)?,
            }),
            _ => Err(format!(
                "`{spec}` has no path or no size; write free:PATH:SIZE, such as free:/var/lib:10G"
            )),
        },
        _ => Err(format!(
            "`{spec}` is not a probe; write tcp:PORT, unix:PATH, process:NAME, file:PATH or \
             free:PATH:SIZE"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_are_read() {
        let target = |text: &str| parse_probe(text).unwrap().target;
        assert_eq!(target("db=tcp:5432"), Target::Tcp(5432));
        assert_eq!(target("a=unix:/run/a"), Target::Unix("/run/a".into()));
        assert_eq!(target("a=unix:@name"), Target::Unix("@name".into()));
        assert_eq!(target("a=process:x y"), Target::Process("x y".to_owned()));
        assert_eq!(target("a=file:b=c:d"), Target::File("b=c:d".into()));
        let free = |path: &str, bytes| {
            let path = path.into();
            Target::Free { path, bytes }
        };
        assert_eq!(target("a=free:/a:b:1K"), free("/a:b", 1024));
        assert_eq!(target("a=free:.:0"), free(".", 0));
        let probe = parse_probe("db.1-x_=tcp:1").unwrap();
        assert_eq!((&*probe.name, &*probe.spec), ("db.1-x_", "tcp:1"));
    }

    #[test]
    fn invalid_probes_are_explained() {
        let mut errors = String::new();
        let names = ["", "db", "=tcp:1", "a b=tcp:1", "latest=tcp:1"];
        let ports = ["a=tcp", "a=tcp:0", "a=tcp:65536", "a=tcp:localhost:80"];
        let paths = ["a=unix:", "a=file", "a=file:a\0b", "a=process:/bin/x"];
        let sizes = ["a=free:/a", "a=free::1G", "a=free:/a:much"];
        let kinds = ["a=", "a=http://x", "a=TCP:1"];
        let all = [&names[..], &ports, &paths, &sizes, &kinds].concat();
        for text in all {
            errors.push_str(&parse_probe(text).unwrap_err());
            errors.push('\n');
        }
        insta::assert_snapshot!(errors, @r#"
        `` has no `=`; write NAME=SPEC, such as db=tcp:5432
        `db` has no `=`; write NAME=SPEC, such as db=tcp:5432
        invalid id "": it is empty
        invalid id "a b": only letters, digits, `.`, `_` and `-` are allowed
        invalid id "latest": `latest` means the newest run
        `tcp` has no port; write tcp:PORT with a PORT from 1 to 65535, such as tcp:5432
        `tcp:0` has no port; write tcp:PORT with a PORT from 1 to 65535, such as tcp:5432
        `tcp:65536` has no port; write tcp:PORT with a PORT from 1 to 65535, such as tcp:5432
        `tcp:localhost:80` has no port; write tcp:PORT with a PORT from 1 to 65535, such as tcp:5432
        `unix:` has no path; write unix:PATH
        `file` has no path; write file:PATH
        the path of `file` contains a zero byte
        `process:/bin/x` has no program; write process:NAME with a NAME as in `ps -o comm`, such as process:postgres
        `free:/a` has no path or no size; write free:PATH:SIZE, such as free:/var/lib:10G
        `free::1G` has no path or no size; write free:PATH:SIZE, such as free:/var/lib:10G
        `much` is not a size; write bytes or a number with K, M, G, T, P (1024-based), such as 512M
        `` is not a probe; write tcp:PORT, unix:PATH, process:NAME, file:PATH or free:PATH:SIZE
        `http://x` is not a probe; write tcp:PORT, unix:PATH, process:NAME, file:PATH or free:PATH:SIZE
        `TCP:1` is not a probe; write tcp:PORT, unix:PATH, process:NAME, file:PATH or free:PATH:SIZE
        "#);
    }
}
