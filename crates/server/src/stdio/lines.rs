use std::io::{BufRead, Read, Write};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use notification_mcp::MAX_MESSAGE;
use tokio::sync::{mpsc, oneshot};

/// How many lines are read ahead, and how many wait to be written. When they are
/// that many, whoever has another waits: a client that does not read is sent
/// nothing more, and what it is to be told of events stays in the log.
const WAITING: usize = 16;

/// Lines that come in.
#[derive(Debug)]
pub struct Input(mpsc::Receiver<Line>);

/// What a client wrote.
#[derive(Debug, PartialEq)]
pub(super) enum Line {
    /// A line, without its end.
    Text(Bytes),
    /// One that is longer than a message may be.
    TooLong,
}

impl Input {
    /// Reads lines on a thread of its own, which nobody waits for: it may be
    /// in the middle of a read that does not end.
    pub fn start(reader: impl Read + Send + 'static) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        thread::spawn(move || {
            let mut reader = std::io::BufReader::new(reader);
            loop {
                let line = match read_line(&mut reader) {
                    Ok(Some(line)) => line,
                    Ok(None) => break,
                    Err(error) => {
                        tracing::error!(%error, "standard input cannot be read");
                        break;
                    }
                };
                if sender.blocking_send(line).is_err() {
                    break;
                }
            }
        });
        Self(receiver)
    }

    /// The next line; none at the end.
    pub(super) async fn next(&mut self) -> Option<Line> {
        self.0.recv().await
    }
}

/// Reads a line, of which no more is kept than a message may have.
fn read_line(reader: &mut impl BufRead) -> std::io::Result<Option<Line>> {
    let mut line = Vec::new();
    let with_end = MAX_MESSAGE as u64 + 1;
    if reader.take(with_end).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    } else if line.len() > MAX_MESSAGE {
        skip_line(reader)?;
        return Ok(Some(Line::TooLong));
    }
    Ok(Some(Line::Text(line.into())))
}

fn skip_line(reader: &mut impl BufRead) -> std::io::Result<()> {
    loop {
        let buffer = reader.fill_buf()?;
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let length = buffer.len();
        reader.consume(end.map_or(length, |end| end + 1));
        if end.is_some() || length == 0 {
            return Ok(());
        }
    }
}

/// Lines that go out. All are written by one thread, each whole. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Output(mpsc::Sender<Bytes>);

/// The thread that writes, which ends when no [`Output`] is left.
#[derive(Debug)]
pub struct Writing(oneshot::Receiver<()>);

impl Output {
    /// Writes lines on a thread of its own.
    pub fn start(writer: impl Write + Send + 'static) -> (Self, Writing) {
        let (sender, receiver) = mpsc::channel(WAITING);
        let (ended, writing) = oneshot::channel();
        thread::spawn(move || {
            if let Err(error) = write_lines(writer, receiver) {
                tracing::warn!(%error, "standard output cannot be written");
            }
            // Whoever waited may have stopped waiting.
            let _ = ended.send(());
        });
        (Self(sender), Writing(writing))
    }

    /// Writes a message as a line; waits for its turn. Where nobody reads any
    /// more there is nobody to tell.
    pub(super) async fn send(&self, message: Bytes) {
        let _ = self.0.send(message).await;
    }

    /// Waits until nobody reads any more.
    pub(super) async fn closed(&self) {
        self.0.closed().await;
    }
}

impl Writing {
    /// Waits until everything is written, but not for ever for who does not read.
    pub async fn finish(self, patience: Duration) {
        if tokio::time::timeout(patience, self.0).await.is_err() {
            tracing::warn!("standard output was not read to its end");
        }
    }
}

fn write_lines(mut writer: impl Write, mut messages: mpsc::Receiver<Bytes>) -> std::io::Result<()> {
    while let Some(message) = messages.blocking_recv() {
        writer.write_all(&[&*message, b"\n"].concat())?;
        writer.flush()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_too_long_is_skipped_whole() {
        let longest = "x".repeat(MAX_MESSAGE);
        let text = format!("a\n{longest}\n{longest}y\n{longest}{longest}\n\nb");
        let mut reader = std::io::BufReader::new(text.as_bytes());
        let mut next = || read_line(&mut reader).unwrap();
        assert_eq!(next(), Some(Line::Text("a".into())));
        assert_eq!(next(), Some(Line::Text(longest.clone().into())));
        assert_eq!(next(), Some(Line::TooLong));
        assert_eq!(next(), Some(Line::TooLong));
        assert_eq!(next(), Some(Line::Text("".into())));
        assert_eq!(next(), Some(Line::Text("b".into())));
        assert_eq!(next(), None);
    }
}
