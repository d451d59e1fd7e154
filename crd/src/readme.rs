//! The charts' README pages, made from their values and the comments above them. Pure.

use serde_yaml::Value;

const HEADER: &str = "<!-- Made from values.yaml by `cargo run -p conure-crd --features charts --bin crdgen`; changes belong there. -->\n";

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    path: String,
    default: String,
    comment: String,
}

/// The page of a chart, from its `Chart.yaml` and `values.yaml`.
pub fn page(chart: &str, values: &str) -> Result<String, serde_yaml::Error> {
    let chart: Value = serde_yaml::from_str(chart)?;
    let text = |key: &str| chart.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (name, description) = (text("name"), text("description"));
    let mut page = format!(
        "{HEADER}# {name}\n\n{description}. See `docs/kubernetes.md` for how it is used.\n\n\
         Values that are not in this table are refused.\n\n| value | default | meaning |\n|---|---|---|\n"
    );
    for row in rows(values)? {
        let comment = row.comment.replace('|', "\\|");
        page.push_str(format!("| `{}` | {} | {comment}", row.path, row.default).trim_end());
        page.push_str(" |\n");
    }
    Ok(page)
}

fn rows(values: &str) -> Result<Vec<Row>, serde_yaml::Error> {
    let defaults: Value = serde_yaml::from_str(values)?;
    let mut rows = Vec::new();
    let mut above: Vec<&str> = Vec::new();
    let mut path: Vec<(usize, &str)> = Vec::new();
    for line in values.lines() {
        let trimmed = line.trim_start();
        let indent = line.len() - trimmed.len();
        if let Some(comment) = trimmed.strip_prefix('#') {
            above.push(comment.trim());
            continue;
        }
        let comment = std::mem::take(&mut above).join(" ");
        // Items of a list, and what is in them, belong to their key's default.
        let Some((key, _)) = trimmed.split_once(':').filter(|(key, _)| is_key(key)) else { continue };
        path.retain(|(outer, _)| *outer < indent);
        path.push((indent, key));
        let names: Vec<&str> = path.iter().map(|(_, key)| *key).collect();
        let Some(default) = names.iter().try_fold(&defaults, |value, key| value.get(*key)) else { continue };
        let shown = match default {
            Value::Mapping(fields) if !fields.is_empty() => String::new(),
            other => format!("`{}`", serde_json::to_string(other).unwrap_or_default()),
        };
        // A section without a comment says nothing that its fields do not.
        if !shown.is_empty() || !comment.is_empty() {
            rows.push(Row { path: names.join("."), default: shown, comment });
        }
    }
    Ok(rows)
}

fn is_key(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUES: &str = "\
# The image; an empty tag is the appVersion.
image:
  repository: r/i
  tag: \"\"

plain: {}
list:
  - key: a/b
    operator: Exists
# on | off
switch:
  # Deep.
  enabled: true
";

    #[test]
    fn every_value_is_a_row_with_its_default_and_its_comment() {
        let found: Vec<(String, String, String)> =
            rows(VALUES).unwrap().into_iter().map(|row| (row.path, row.default, row.comment)).collect();
        let row = |path: &str, default: &str, comment: &str| (path.into(), default.into(), comment.into());
        assert_eq!(
            found,
            [
                row("image", "", "The image; an empty tag is the appVersion."),
                row("image.repository", "`\"r/i\"`", ""),
                row("image.tag", "`\"\"`", ""),
                row("plain", "`{}`", ""),
                row("list", "`[{\"key\":\"a/b\",\"operator\":\"Exists\"}]`", ""),
                row("switch", "", "on | off"),
                row("switch.enabled", "`true`", "Deep."),
            ]
        );
    }

    #[test]
    fn a_page_has_the_charts_name_and_no_broken_cell() {
        let page = page("name: c\ndescription: A chart\n", VALUES).unwrap();
        assert!(page.contains("# c\n\nA chart."), "{page}");
        assert!(page.contains("| `switch` |  | on \\| off |\n"), "{page}");
    }
}
