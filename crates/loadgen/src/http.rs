//! As much of HTTP/1.1 (RFC 9112) as the server's answers need.

use memchr::memmem;

/// The largest head of an answer, in bytes.
const MAX_HEAD: usize = 16 << 10;

/// The server sent something that is not what it was asked for.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAnswer {
    /// The head of an answer is not HTTP/1.1, or too long, or does not say how long the body is.
    #[error("the head of an answer is not HTTP/1.1, or too long")]
    Head,
    /// The status is not one of success.
    #[error("the answer is {0}")]
    Status(u16),
    /// A chunk of a stream does not follow RFC 9112, section 7.1.
    #[error("a chunk of a stream does not follow RFC 9112, section 7.1")]
    Chunk,
    /// The body of an answer is not JSON.
    #[error("the body of an answer is not JSON")]
    Json,
    /// The body of an answer is larger than there is room for.
    #[error("an answer is too large")]
    Large,
    /// The server ended a stream.
    #[error("the server ended a stream")]
    Ended,
}

/// The head of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    /// How many bytes it has.
    pub(crate) length: usize,
    pub(crate) body: Framing,
    /// Whether the connection ends behind the answer.
    pub(crate) closes: bool,
}

/// How to find the end of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(usize),
    Chunked,
    /// Where the connection ends.
    Close,
}

impl Head {
    /// Reads the head with which `bytes` begin; none if it is not all there yet.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Self>, BadAnswer> {
        let Some(end) = memmem::find(bytes, b"\r\n\r\n") else {
            return match bytes.len() < MAX_HEAD {
                true => Ok(None),
                false => Err(BadAnswer::Head),
            };
        };
        let text = std::str::from_utf8(&bytes[..end]).map_err(|_| BadAnswer::Head)?;
        let head = read_head(text, end + 4);
        head.ok_or(BadAnswer::Head).map(Some)
    }

    /// Refuses every status but those of success.
    pub(crate) fn expect_success(&self) -> Result<(), BadAnswer> {
        match self.status {
            200..=299 => Ok(()),
            other => Err(BadAnswer::Status(other)),
        }
    }
}

fn read_head(text: &str, length: usize) -> Option<Head> {
    let mut lines = text.split("\r\n");
    let status = lines
        .next()?
        .strip_prefix("HTTP/1.1 ")?
        .get(..3)?
        .parse()
        .ok()?;
    let (mut body, mut closes) = (Framing::Close, false);
    for line in lines {
        let (name, value) = line.split_once(':')?;
        if name.eq_ignore_ascii_case("content-length") {
            body = Framing::Length(value.trim().parse().ok()?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            body = Framing::Chunked;
        } else if name.eq_ignore_ascii_case("connection") {
            closes = value.trim().eq_ignore_ascii_case("close");
        }
    }
    Some(Head {
        status,
        length,
        body,
        closes,
    })
}

/// How many bytes the answer takes with which `bytes` begin, which has to be one
/// of success and to state its length; none if it is not all there yet.
pub fn whole_answer(bytes: &[u8]) -> Result<Option<usize>, BadAnswer> {
    Ok(Answer::parse(bytes)?.map(|answer| answer.length))
}

/// A whole answer of success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// How many bytes it has.
    pub(crate) length: usize,
    /// Whether the connection ends behind it.
    pub(crate) closes: bool,
}

impl Answer {
    /// Reads the one with which `bytes` begin; none if it is not all there yet.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Self>, BadAnswer> {
        let Some(head) = Head::parse(bytes)? else {
            return Ok(None);
        };
        head.expect_success()?;
        let Framing::Length(body) = head.body else {
            return Err(BadAnswer::Head);
        };
        let answer = Self {
            length: head.length + body,
            closes: head.closes,
        };
        Ok((bytes.len() >= answer.length).then_some(answer))
    }
}

/// Takes the chunks off a body that arrives in pieces.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chunks {
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// In the line that says how long the chunk is.
    Size { so_far: usize, digits: u8 },
    /// Behind the digits of that line.
    SizeEnd { size: usize },
    /// In the chunk; that much of it is to come.
    Data(usize),
    /// In the line end behind it.
    DataEnd,
}

impl Default for State {
    fn default() -> Self {
        Self::Size {
            so_far: 0,
            digits: 0,
        }
    }
}

impl Chunks {
    /// Takes the next piece of the body from the front of `input`; none when
    /// `input` is used up.
    pub(crate) fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<&'a [u8]>, BadAnswer> {
        while let Some((&byte, rest)) = input.split_first() {
            self.state = match self.state {
                State::Data(left) => {
                    let (piece, rest) = input.split_at(left.min(input.len()));
                    *input = rest;
                    self.state = match left - piece.len() {
                        0 => State::DataEnd,
                        left => State::Data(left),
                    };
                    return Ok(Some(piece));
                }
                State::Size { so_far, digits } => match (byte as char).to_digit(16) {
                    // Seven digits are 256 MiB, which no chunk of an event stream has.
                    Some(digit) if digits < 7 => State::Size {
                        so_far: so_far * 16 + digit as usize,
                        digits: digits + 1,
                    },
                    None if digits > 0 && matches!(byte, b'\r' | b';') => {
                        State::SizeEnd { size: so_far }
                    }
                    _ => return Err(BadAnswer::Chunk),
                },
                State::SizeEnd { size: 0 } if byte == b'\n' => return Err(BadAnswer::Ended),
                State::SizeEnd { size } if byte == b'\n' => State::Data(size),
                State::SizeEnd { size } => State::SizeEnd { size },
                State::DataEnd => match byte {
                    b'\r' => State::DataEnd,
                    b'\n' => State::default(),
                    _ => return Err(BadAnswer::Chunk),
                },
            };
            *input = rest;
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &[u8] =
        b"HTTP/1.1 201 Created\r\ncontent-type: application/json\r\nContent-Length: 2\r\n\r\n{}";

    #[test]
    fn an_answer_is_whole_when_its_last_byte_is_there() {
        for end in 0..ANSWER.len() {
            assert_eq!(whole_answer(&ANSWER[..end]), Ok(None), "{end}");
        }
        assert_eq!(whole_answer(ANSWER), Ok(Some(ANSWER.len())));
        let two = [ANSWER, ANSWER].concat();
        assert_eq!(whole_answer(&two), Ok(Some(ANSWER.len())));
    }

    #[test]
    fn an_answer_may_be_the_last() {
        let check = |header: &str, closes: bool| {
            let answer = format!("HTTP/1.1 200 OK\r\n{header}content-length: 0\r\n\r\n");
            let length = answer.len();
            let expected = Answer { length, closes };
            assert_eq!(Answer::parse(answer.as_bytes()), Ok(Some(expected)));
        };
        check("", false);
        check("Connection: close\r\n", true);
        check("connection: Close\r\n", true);
        check("Connection: keep-alive\r\n", false);
    }

    #[test]
    fn an_answer_that_was_not_asked_for_is_refused() {
        let check = |bytes: &[u8], expected: BadAnswer| {
            assert_eq!(whole_answer(bytes), Err(expected));
        };
        check(
            b"HTTP/1.1 503 Service Unavailable\r\n\r\n",
            BadAnswer::Status(503),
        );
        check(b"HTTP/1.1 302 Found\r\n\r\n", BadAnswer::Status(302));
        check(b"HTTP/1.1 201 Created\r\n\r\n", BadAnswer::Head);
        check(b"HTTP/1.0 201 Created\r\n\r\n", BadAnswer::Head);
        check(b"HTTP/1.1 201 Created\r\nno colon\r\n\r\n", BadAnswer::Head);
        check(
            b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n",
            BadAnswer::Head,
        );
        check(&[b'x'; MAX_HEAD], BadAnswer::Head);
    }

    fn body(pieces: &[&[u8]]) -> Result<Vec<u8>, BadAnswer> {
        let mut chunks = Chunks::default();
        let mut body = Vec::new();
        for mut input in pieces.iter().copied() {
            while let Some(piece) = chunks.next(&mut input)? {
                body.extend_from_slice(piece);
            }
        }
        Ok(body)
    }

    #[test]
    fn chunks_come_off_wherever_they_are_split() {
        let text = b"5\r\nhello\r\n1;x=y\r\n \r\n00C\r\nwide\r\nworld!\r\n";
        for first in 0..=text.len() {
            for second in first..=text.len() {
                let pieces = [&text[..first], &text[first..second], &text[second..]];
                assert_eq!(
                    body(&pieces).unwrap(),
                    b"hello wide\r\nworld!",
                    "{first} {second}"
                );
            }
        }
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
        assert_eq!(body(&[b"0\r\n\r\n"]), Err(BadAnswer::Ended));
        assert_eq!(body(&[b"x\r\n"]), Err(BadAnswer::Chunk));
        assert_eq!(body(&[b"\r\n"]), Err(BadAnswer::Chunk));
        assert_eq!(body(&[b"12345678\r\n"]), Err(BadAnswer::Chunk));
        assert_eq!(body(&[b"1\r\nab\r\n"]), Err(BadAnswer::Chunk));
    }
}
