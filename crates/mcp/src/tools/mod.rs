//! The tools, one file each.

mod connection_status;
mod send_notification;
mod simulate_progress;

pub(crate) use connection_status::ConnectionStatus;
pub(crate) use send_notification::SendNotification;
pub(crate) use simulate_progress::SimulateProgress;
