//! The tools, one file each.

mod acknowledge;
mod connection_status;
mod explain_delivery;
mod get_receipts;
mod get_recent_events;
mod get_task;
mod list_tasks;
mod publish_event;
mod report_progress;
mod send_notification;
mod simulate_progress;

pub(crate) use acknowledge::AcknowledgeEvents;
pub(crate) use connection_status::ConnectionStatus;
pub(crate) use explain_delivery::ExplainDelivery;
pub(crate) use get_receipts::GetReceipts;
pub(crate) use get_recent_events::GetRecentEvents;
pub(crate) use get_task::GetTask;
pub(crate) use list_tasks::ListTasks;
pub(crate) use publish_event::PublishEvent;
pub(crate) use report_progress::ReportProgress;
pub(crate) use send_notification::SendNotification;
pub(crate) use simulate_progress::SimulateProgress;
