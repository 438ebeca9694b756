use notification_access::Refused;
use notification_hub::Caller;
use rmcp::model::{CompleteRequestParams, CompletionInfo, ErrorData, Reference};

use crate::prompt::Prompt;
use crate::resource::{self, EVENT_TEMPLATE, TASK_TEMPLATE, TOPIC_TEMPLATE, unreadable};
use crate::shorten::shorten;

/// What an argument is one of, as far as that is known.
enum Known {
    Topics,
    Tasks,
    /// Too many to be listed.
    Anything,
}

/// Values that begin with what was typed, of those that whoever asks may see.
pub(crate) fn complete(
    caller: &Caller,
    asked: &CompleteRequestParams,
) -> Result<CompletionInfo, ErrorData> {
    #[cfg(feature = "conformance-fixtures")]
    if let Some(completion) = crate::fixtures::completion(&asked.r#ref) {
        return Ok(completion);
    }
    let typed = asked.argument.value.as_str();
    let max = CompletionInfo::MAX_VALUES;
    let refused = |refused: Refused| unreadable(refused.into());
    let (values, has_more) = match known(asked)? {
        Known::Topics => {
            let (topics, has_more) = caller.topics(typed, None, max).map_err(refused)?;
            let topics = topics.iter().map(|topic| topic.as_str().to_owned());
            (topics.collect(), has_more)
        }
        Known::Tasks => {
            let (tasks, has_more) = caller.task_ids(typed, max).map_err(refused)?;
            let tasks = tasks.iter().map(|task| task.as_str().to_owned());
            (tasks.collect(), has_more)
        }
        Known::Anything => (Vec::new(), false),
    };
    let completion = CompletionInfo::with_pagination(values, None, has_more);
    Ok(completion.expect("no more values were asked for"))
}

fn known(asked: &CompleteRequestParams) -> Result<Known, ErrorData> {
    let argument = asked.argument.name.as_str();
    let (arguments, of): (&[&str], _) = match &asked.r#ref {
        Reference::Prompt(prompt) => {
            let prompt = Prompt::named(&prompt.name)?;
            (&["topic", "since"], format!("the prompt {}", prompt.name))
        }
        Reference::Resource(template) => {
            let arguments: &[&str] = match template.uri.as_str() {
                TOPIC_TEMPLATE => &["topic"],
                EVENT_TEMPLATE => &["event_id"],
                TASK_TEMPLATE => &["task_id"],
                unknown => {
                    let templates = resource::templates();
                    let known: Vec<_> = templates.iter().map(|t| &*t.uri_template).collect();
                    let (unknown, known) = (shorten(unknown), known.join(", "));
                    let message = format!("ref.uri: expected one of {known}, got {unknown}");
                    return Err(ErrorData::invalid_params(message, None));
                }
            };
            (arguments, template.uri.clone())
        }
        _ => {
            let message = "ref.type: expected ref/prompt or ref/resource";
            return Err(ErrorData::invalid_params(message, None));
        }
    };
    if !arguments.contains(&argument) {
        let (argument, known) = (shorten(argument), arguments.join(", "));
        let message = format!("argument.name: expected {known} of {of}, got {argument}");
        return Err(ErrorData::invalid_params(message, None));
    }
    Ok(match argument {
        "topic" => Known::Topics,
        "task_id" => Known::Tasks,
        _ => Known::Anything,
    })
}
