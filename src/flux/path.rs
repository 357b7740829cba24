//! Paths inside an artifact: relative, with `/`, without `.` and `..`; empty is the root.

/// Joins `path` to the folder `base`, never leaving the root: `..` at the root stays there, as Flux's SecureJoin does.
pub(super) fn join(base: &str, path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in base.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The folder of a file.
pub(super) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// `path` below the folder `base`, or `None` where it is not below it.
pub(super) fn below<'a>(base: &str, path: &'a str) -> Option<&'a str> {
    if base.is_empty() { Some(path) } else { path.strip_prefix(base)?.strip_prefix('/') }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_never_leaves_the_root() {
        for (base, path, joined) in [
            ("", "./infra/k8s", "infra/k8s"),
            ("", "../../etc/passwd", "etc/passwd"),
            ("infra/k8s/policies", "../a/p.yaml", "infra/k8s/a/p.yaml"),
            ("", "/", ""),
        ] {
            assert_eq!(join(base, path), joined, "{base} + {path}");
        }
    }

    #[test]
    fn below_is_by_whole_names() {
        assert_eq!(below("a", "a/b"), Some("b"));
        assert_eq!(below("a", "ab/c"), None);
        assert_eq!(below("", "ab/c"), Some("ab/c"));
    }
}
