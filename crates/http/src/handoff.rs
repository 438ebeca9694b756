use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use axum::body::Body;

use crate::stream::Opened;
use crate::wire::Wire;

/// What a request brings along if its connection can leave hyper. Whoever
/// answers it with a stream leaves that here, and the answer has no body.
#[derive(Clone, Debug)]
pub(crate) struct Handoff {
    pub(crate) wire: Arc<Wire<TcpStream>>,
    left: Arc<Mutex<Option<Opened>>>,
}

impl Handoff {
    pub(crate) fn new(wire: Arc<Wire<TcpStream>>) -> Self {
        Self {
            wire,
            left: Arc::default(),
        }
    }

    /// Leaves a stream to whoever has asked. The body to answer with.
    pub(crate) fn leave(&self, stream: Opened) -> Body {
        *self.left.lock().expect("no holder panics") = Some(stream);
        Body::empty()
    }

    /// The stream, if the answer is one.
    pub(crate) fn take(&self) -> Option<Opened> {
        self.left.lock().expect("no holder panics").take()
    }
}
