use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// A program as it stands behind a proxy that holds streams: it answers every
/// request with the same bytes. A thread for each connection, of which such a
/// proxy makes few, as it takes them back when they are answered.
pub(super) struct Origin {
    address: SocketAddr,
    ending: Arc<AtomicBool>,
}

impl Origin {
    /// Serves `answer` on a free loopback port until this is dropped.
    pub(super) fn start(answer: String) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let ending = Arc::new(AtomicBool::new(false));
        let (ended, answer) = (Arc::clone(&ending), Arc::<str>::from(answer));
        thread::spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                if ended.load(Ordering::Relaxed) {
                    break;
                }
                let answer = Arc::clone(&answer);
                thread::spawn(move || serve(connection, answer.as_bytes()));
            }
        });
        Ok(Self { address, ending })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Origin {
    /// The thread looks whether it has ended when a connection comes. Those that
    /// serve one end with it.
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

/// Answers one request without a body after the other, until there are no more.
fn serve(mut connection: TcpStream, answer: &[u8]) {
    let Ok(reader) = connection.try_clone() else {
        return;
    };
    let _ = connection.set_nodelay(true);
    let lines = BufReader::new(reader).lines().map_while(Result::ok);
    // An empty line ends each.
    for _ in lines.filter(String::is_empty) {
        if connection.write_all(answer).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn every_request_gets_the_answer() {
        let origin = Origin::start("the answer".to_owned()).unwrap();
        for _ in 0..2 {
            let mut connection = TcpStream::connect(origin.address()).unwrap();
            for _ in 0..2 {
                connection
                    .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                    .unwrap();
                let mut answer = [0; 10];
                connection.read_exact(&mut answer).unwrap();
                assert_eq!(&answer, b"the answer");
            }
        }
        let address = origin.address();
        drop(origin);
        while TcpStream::connect(address).is_ok() {
            thread::yield_now();
        }
    }
}
