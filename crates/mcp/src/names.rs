use notification_event::{Invalid, JsonObject};
use notification_hub::PublishError;
use serde_json::json;

use crate::tool::ToolError;

/// What a tool calls its arguments, and where in the event's JSON they belong:
/// `("clients", "audience.clients")`. Arguments that are not here have the name
/// of their field.
pub(crate) struct Names(pub(crate) &'static [(&'static str, &'static str)]);

impl Names {
    /// The arguments, as the event crate reads them.
    pub(crate) fn to_fields(&self, mut arguments: JsonObject) -> JsonObject {
        for (argument, field) in self.0 {
            let Some(value) = arguments.shift_remove(*argument) else {
                continue;
            };
            match field.split_once('.') {
                Some((outer, inner)) => {
                    let outer = arguments.entry(outer).or_insert_with(|| json!({}));
                    outer[inner] = value;
                }
                None => drop(arguments.insert((*field).to_owned(), value)),
            }
        }
        arguments
    }

    /// What the event crate refused, told of the arguments.
    pub(crate) fn refused(&self, invalid: Invalid) -> ToolError {
        ToolError::Arguments(self.of_arguments(invalid))
    }

    /// What the hub refused, told of the arguments.
    pub(crate) fn unpublished(&self, error: PublishError) -> ToolError {
        ToolError::Publish(match error {
            PublishError::Invalid { index, invalid } => PublishError::Invalid {
                index,
                invalid: self.of_arguments(invalid),
            },
            PublishError::Conflict { index, invalid } => PublishError::Conflict {
                index,
                invalid: self.of_arguments(invalid),
            },
            error => error,
        })
    }

    fn of_arguments(&self, mut invalid: Invalid) -> Invalid {
        for error in &mut invalid.errors {
            error.field = self.argument(&error.field);
        }
        invalid
    }

    /// The argument that makes a field, or the arguments that make it together.
    fn argument(&self, field: &str) -> String {
        let is_within = |inner: &str| {
            let rest = inner.strip_prefix(field);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let arguments = self.0.iter().filter(|(_, made)| is_within(made));
        let arguments: Vec<_> = arguments.map(|(argument, _)| *argument).collect();
        match arguments.is_empty() {
            true => field.to_owned(),
            false => arguments.join(", "),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const NAMES: Names = Names(&[
        ("type", "notification_type"),
        ("clients", "audience.clients"),
        ("groups", "audience.groups"),
    ]);

    #[test]
    fn arguments_go_where_they_belong() {
        let check = |arguments: Value, fields: Value| {
            let arguments = arguments.as_object().unwrap().clone();
            assert_eq!(Value::Object(NAMES.to_fields(arguments)), fields);
        };
        check(json!({"message": "m"}), json!({"message": "m"}));
        check(
            json!({"type": "info", "clients": ["a"], "groups": ["g"]}),
            json!({"notification_type": "info", "audience": {"clients": ["a"], "groups": ["g"]}}),
        );
    }

    #[test]
    fn refusals_name_arguments() {
        let check = |field: &str, argument: &str| {
            let refused = NAMES.refused(Invalid::field(field, "less"));
            let expected = Invalid::field(argument, "less");
            assert_eq!(refused, ToolError::Arguments(expected.clone()));
            let [error, expected] = [Invalid::field(field, "less"), expected]
                .map(|invalid| PublishError::Conflict { index: 0, invalid });
            assert_eq!(NAMES.unpublished(error), ToolError::Publish(expected));
        };
        check("message", "message");
        check("notification_type", "type");
        check("audience.groups", "groups");
        check("audience", "clients, groups");
    }
}
