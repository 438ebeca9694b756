use serde_json::Value;

use super::plain;

/// Rows of text under heads, each column as wide as it has to be.
#[derive(Debug)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(heads: &[&str]) -> Self {
        let heads = heads.iter().map(|head| head.to_uppercase());
        Self {
            rows: vec![heads.collect()],
        }
    }

    /// Adds a row. What is in it cannot move the cursor.
    pub(super) fn row(&mut self, cells: &[&Value]) {
        let cells = cells.iter().map(|cell| match cell {
            Value::Null => "-".to_owned(),
            Value::String(text) => plain(text),
            Value::Array(all) if all.is_empty() => "-".to_owned(),
            Value::Array(all) => {
                let all = all.iter().filter_map(Value::as_str);
                plain(&all.collect::<Vec<_>>().join(", "))
            }
            other => other.to_string(),
        });
        self.rows.push(cells.collect());
    }

    /// The lines; or `otherwise`, if there is no row.
    pub(super) fn or(self, otherwise: &str) -> String {
        if self.rows.len() == 1 {
            return format!("{otherwise}\n");
        }
        let columns = self.rows[0].len();
        let width = |column: usize| {
            let widths = self.rows.iter().map(|row| row[column].chars().count());
            widths.max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut lines = String::new();
        for row in &self.rows {
            let cells = row.iter().zip(&widths);
            let line: Vec<_> = cells
                .map(|(cell, width)| format!("{cell:<width$}"))
                .collect();
            lines += line.join("  ").trim_end();
            lines.push('\n');
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_have_to_be() {
        let mut table = Table::new(&["client", "groups", "n"]);
        table.row(&[&json!("alice"), &json!(["a", "b"]), &json!(3)]);
        table.row(&[&json!("b\u{1b}[2J"), &json!([]), &Value::Null]);
        let lines = "CLIENT  GROUPS  N\nalice   a, b    3\nb\u{fffd}[2J   -       -\n";
        assert_eq!(table.or("none"), lines);
        assert_eq!(Table::new(&["a"]).or("There is none."), "There is none.\n");
    }
}
