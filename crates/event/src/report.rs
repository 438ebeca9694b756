use serde_json::{Value, json};

use crate::fields::{Fields, object, object_of_at_most, text};
use crate::progress::{Parts, percent};
use crate::schema::{self, reference};
use crate::{
    Audience, Body, Draft, Event, Invalid, JsonObject, Progress, TaskId, TaskState, Timestamp,
    Topic,
};

/// What a job says of itself. What it does not say stays as it was in its last report.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    task_name: Option<String>,
    parts: Parts,
    topic: Option<Topic>,
    audience: Option<Audience>,
    data: Option<JsonObject>,
}

/// What is known of a task from its newest report.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// How far it is.
    pub progress: Progress,
    /// Where its reports are published.
    pub topic: Topic,
    /// Who they are for.
    pub audience: Option<Audience>,
}

impl Report {
    /// Reads `{"task_name"?, "progress"?, "step"?, "total_steps"?, "message"?, "state"?,
    /// "topic"?, "audience"?, "data"?}`.
    pub fn parse(value: Value) -> Result<Self, Invalid> {
        let mut fields = Fields::new(object(value)?);
        let report = Self {
            task_name: fields.optional("task_name", text(1..=Progress::MAX_TASK_NAME)),
            parts: Parts::take(&mut fields),
            topic: fields.optional("topic", publishable_topic),
            audience: fields.optional("audience", |value| Audience::parse(object(value)?)),
            data: fields.optional("data", object_of_at_most(Draft::MAX_DATA)),
        };
        fields.finish()?;
        Ok(report)
    }

    /// The JSON Schema of what [`Report::parse`] reads.
    pub fn schema() -> Value {
        let more = json!({
            "task_name": schema::text(1, Progress::MAX_TASK_NAME),
            "topic": reference("PublishableTopic"),
            "audience": reference("Audience"),
            "data": Draft::data_schema(),
        });
        schema::object(schema::and(Parts::properties(), more), &[])
    }

    /// The event that this report makes of the task as it was.
    pub fn draft(self, task_id: TaskId, before: Option<&Task>) -> Result<Draft, Invalid> {
        let known = before.map(|task| &task.progress);
        let name = self.task_name.or(known.map(|p| p.task_name.clone()));
        let Some(name) = name else {
            return Err(Invalid::field(
                "task_name",
                "this field, which is required in a task's first report",
            ));
        };
        let Parts {
            progress,
            step,
            total_steps,
            message,
            state,
        } = self.parts;
        let says_nothing = progress.is_none() && step.is_none();
        let (step_now, total) = (
            step.or(known.and_then(|p| p.step)),
            total_steps.or(known.and_then(|p| p.total_steps)),
        );
        // What follows from the steps does not take back what was said before.
        let follows = step_now.zip(total).filter(|_| !says_nothing);
        let follows = follows.map(|(step, total)| percent(step, total));
        let so_far = known.and_then(|p| p.progress);
        let parts = Parts {
            progress: progress.or(follows.into_iter().chain(so_far).reduce(f64::max)),
            step: step_now,
            total_steps: total,
            message: message
                .or(known.filter(|_| says_nothing).map(|p| p.message.clone()))
                .or(progress
                    .filter(|_| step.is_none())
                    .map(|p| format!("{p} %"))),
            state: state.or((says_nothing && known.is_some()).then_some(TaskState::Running)),
        };
        parts.check().map_err(|invalid| match (step, step_now) {
            (None, Some(known)) => Invalid::field(
                "total_steps",
                format!("at least {known}, where the task is"),
            ),
            _ => invalid,
        })?;
        Ok(Draft {
            topic: self
                .topic
                .or(before.map(|t| t.topic.clone()))
                .unwrap_or_default(),
            audience: self.audience.or(before.and_then(|t| t.audience.clone())),
            data: self.data,
            ..Draft::from(Body::Progress(parts.complete(task_id, name)))
        })
    }
}

impl Task {
    /// The task that an event reports of, if it does.
    pub fn of(draft: &Draft) -> Option<Self> {
        match &draft.body {
            Body::Progress(progress) => Some(Self {
                progress: progress.clone(),
                topic: draft.topic.clone(),
                audience: draft.audience.clone(),
            }),
            _ => None,
        }
    }

    /// Reads the task back from the JSON of one of its events ([`Event`]'s) and
    /// what stands beside it in the log.
    pub fn from_json(json: &[u8], topic: Topic, audience: Option<Audience>) -> Option<Self> {
        let event: Value = serde_json::from_slice(json).ok()?;
        let text = |name: &str| event.get(name).and_then(Value::as_str);
        let number = |name: &str| event.get(name).and_then(Value::as_u64);
        Some(Self {
            progress: Progress {
                task_id: text("task_id")?.parse().ok()?,
                task_name: text("task_name")?.to_owned(),
                progress: event.get("progress").and_then(Value::as_f64),
                step: number("step"),
                total_steps: number("total_steps"),
                message: text("message")?.to_owned(),
                state: text("state")?.parse().ok()?,
                started_at: text("started_at").and_then(|time| time.parse().ok()),
            },
            topic,
            audience,
        })
    }

    /// What is known after `next`, which may not say everything.
    #[must_use]
    pub fn followed_by(&self, mut next: Self) -> Self {
        let (before, after) = (&self.progress, &mut next.progress);
        after.step = after.step.or(before.step);
        after.total_steps = after.total_steps.or(before.total_steps);
        after.progress = after.progress.or(before.progress);
        next
    }

    /// Whether `next` may be reported after this: not after the end, not
    /// backwards, and not elsewhere.
    pub fn check(&self, next: &Self) -> Result<(), Invalid> {
        let (before, after) = (&self.progress, &next.progress);
        if next.audience != self.audience {
            // Whoever does not know the audience is not told of the rest.
            return Err(Invalid::field("audience", "the audience of this task"));
        }
        if before.state.is_end() {
            let state = before.state.as_str();
            return Err(Invalid::field(
                "task_id",
                format!("the id of another task: this one has ended ({state})"),
            ));
        }
        let mut refusals = Vec::new();
        if let (Some(before), Some(after)) = (before.step, after.step)
            && after < before
        {
            refusals.push(Invalid::field(
                "step",
                format!("at least {before}, where the task is"),
            ));
        }
        if let (Some(before), Some(after)) = (before.progress, after.progress)
            && after < before
        {
            refusals.push(Invalid::field(
                "progress",
                format!(
                    "at least {before}, where the task is; say it yourself when total_steps grows"
                ),
            ));
        }
        if next.topic != self.topic {
            let expected = format!("{}, the topic of this task", self.topic);
            refusals.push(Invalid::field("topic", expected));
        }
        Invalid::collect(refusals)
    }

    /// The event that says that the task has not reported for long.
    pub fn stalled(&self) -> Draft {
        let mut progress = self.progress.clone();
        progress.state = TaskState::Stalled;
        Draft {
            topic: self.topic.clone(),
            audience: self.audience.clone(),
            ..Draft::from(Body::Progress(progress))
        }
    }
}

impl Event {
    /// Notes since when the task it reports of has been under way.
    #[must_use]
    pub fn started_at(mut self, time: Timestamp) -> Self {
        if let Body::Progress(progress) = &mut self.draft.body {
            progress.started_at = Some(time);
        }
        self
    }
}

/// A topic on which others than the server may publish.
pub(crate) fn publishable_topic(value: Value) -> Result<Topic, Invalid> {
    let topic: Topic = Fields::parsed(value)?;
    match topic.is_reserved() {
        true => Err(Invalid::value(
            "a topic that does not begin with $, which are the server's own",
        )),
        false => Ok(topic),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn report(json: Value) -> Result<Report, Invalid> {
        Report::parse(json)
    }

    fn task(json: Value) -> Task {
        let draft = report(json).unwrap().draft("t".parse().unwrap(), None);
        Task::of(&draft.unwrap()).unwrap()
    }

    #[test]
    fn what_a_report_does_not_say_stays_as_it_was() {
        let first = task(json!({"task_name": "Import", "step": 2, "total_steps": 8,
                                "topic": "jobs", "audience": {"clients": ["alice"]}}));
        assert_eq!(first.progress.progress, Some(25.0));
        let next = |json: Value| {
            let draft = report(json)
                .unwrap()
                .draft("t".parse().unwrap(), Some(&first));
            let task = Task::of(&draft.unwrap()).unwrap();
            assert_eq!(
                (&task.topic, &task.audience),
                (&first.topic, &first.audience)
            );
            assert_eq!(first.check(&task), Ok(()));
            task.progress
        };
        let step = next(json!({"step": 4}));
        assert_eq!((step.progress, step.total_steps), (Some(50.0), Some(8)));
        assert_eq!(step.message, "Completed step 4 of 8");
        let said = next(json!({"message": "Still at it"}));
        assert_eq!((said.step, said.progress), (Some(2), Some(25.0)));
        assert_eq!(said.message, "Still at it");
        let percent = next(json!({"progress": 30.5}));
        assert_eq!((percent.step, percent.progress), (Some(2), Some(30.5)));
        assert_eq!(percent.message, "30.5 %");
        let refused = |json: Value| {
            let draft = report(json)
                .unwrap()
                .draft("t".parse().unwrap(), Some(&first));
            draft.unwrap_err().errors[0].field.clone()
        };
        assert_eq!(refused(json!({"total_steps": 1})), "total_steps");
        assert_eq!(refused(json!({"step": 9})), "step");
        let end = next(json!({"state": "failed"}));
        assert_eq!((end.state, end.step), (TaskState::Failed, Some(2)));
        assert_eq!(next(json!({"step": 8})).state, TaskState::Completed);
        // More to do than was thought does not take back what was done.
        let grown = next(json!({"step": 3, "total_steps": 100}));
        assert_eq!((grown.step, grown.progress), (Some(3), Some(25.0)));
    }

    #[test]
    fn totals_may_be_unknown() {
        let unknown = task(json!({"task_name": "T"})).progress;
        assert_eq!(
            (unknown.progress, unknown.message.as_str()),
            (None, "Running")
        );
        let step = task(json!({"task_name": "T", "step": 3})).progress;
        assert_eq!(
            (step.progress, step.message.as_str()),
            (None, "Completed step 3")
        );
        let percent = task(json!({"task_name": "T", "progress": 100})).progress;
        assert_eq!(percent.state, TaskState::Completed);
    }

    #[test]
    fn a_task_goes_forward_in_its_place_until_it_ends() {
        let before = task(json!({"task_name": "T", "step": 5, "total_steps": 10, "topic": "jobs"}));
        let check = |json: Value, fields: &[&str]| {
            let result = before.check(&task(json));
            let errors = result.err().map_or(Vec::new(), |invalid| invalid.errors);
            let refused: Vec<_> = errors.iter().map(|e| e.field.as_str()).collect();
            assert_eq!(refused, fields);
        };
        check(
            json!({"task_name": "T", "step": 5, "total_steps": 10, "topic": "jobs"}),
            &[],
        );
        check(
            json!({"task_name": "T", "step": 4, "progress": 50, "topic": "jobs"}),
            &["step"],
        );
        check(
            json!({"task_name": "T", "step": 6, "total_steps": 20, "topic": "jobs"}),
            &["progress"],
        );
        check(
            json!({"task_name": "T", "step": 6, "progress": 50, "total_steps": 20, "topic": "jobs"}),
            &[],
        );
        check(
            json!({"task_name": "T", "step": 6, "audience": {"clients": ["a"]}}),
            &["audience"],
        );
        let ended = task(json!({"task_name": "T", "state": "failed"}));
        let refusal = ended.check(&task(json!({"task_name": "T", "progress": 10})));
        assert_eq!(refusal.unwrap_err().errors[0].field, "task_id");
    }

    #[test]
    fn a_task_is_read_back_from_its_event() {
        let draft = report(json!({"task_name": "T", "step": 1, "total_steps": 3}))
            .unwrap()
            .draft("t".parse().unwrap(), None)
            .unwrap();
        let time = Timestamp::from_millis(5_000);
        let event = Event::new(draft, time).started_at(time);
        let task = Task::of(&event.draft).unwrap();
        let encoded = event.encode();
        let read = Task::from_json(&encoded.json, Topic::default(), None);
        assert_eq!(read, Some(task));
    }

    #[test]
    fn a_wrong_report_is_refused_by_field() {
        let check = |json: Value, field: &str| {
            assert_eq!(report(json).unwrap_err().errors[0].field, field);
        };
        check(json!({"state": "stalled"}), "state");
        check(json!({"step": 3, "total_steps": 2}), "step");
        check(json!({"progress": 101}), "progress");
        check(json!({"topic": "$presence"}), "topic");
        check(json!({"task_id": "t"}), "task_id");
        let nameless = report(json!({"step": 1}))
            .unwrap()
            .draft("t".parse().unwrap(), None);
        assert_eq!(nameless.unwrap_err().errors[0].field, "task_name");
    }
}
