use std::convert::Infallible;
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use bytes::Bytes;

use crate::stream::Opened;
use crate::wire::Wire;

/// What a request brings along if its connection can leave hyper. Whoever
/// answers it with a stream leaves that here, and the answer's body is not read.
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

    /// Leaves a stream to whoever has asked. The body to answer with, which
    /// nobody reads. Of an empty one the answer would say the length.
    pub(crate) fn leave(&self, stream: Opened) -> Body {
        *self.left.lock().expect("no holder panics") = Some(stream);
        Body::from_stream(futures_util::stream::pending::<Result<Bytes, Infallible>>())
    }

    /// The stream, if the answer is one.
    pub(crate) fn take(&self) -> Option<Opened> {
        self.left.lock().expect("no holder panics").take()
    }
}
