use std::collections::BTreeSet;
use std::iter::Sum;

use std::sync::LazyLock;

use memchr::memchr;
use memchr::memmem::{self, Finder};

use crate::message::MAX_MESSAGES;

/// What stands before the number of a message.
const SEQ: &[u8] = br#""seq":"#;

/// Made once, as it is needed for every delivery.
static SEQ_FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(SEQ));

/// Finds the messages in the text of an event stream that arrives in pieces.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scanner {
    /// The beginning of a line whose end has not arrived.
    partial: Vec<u8>,
    /// Whether the server has said that the stream is open.
    connected: bool,
}

/// One `data:` line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Data {
    /// A message of ours, with its number, and when it was due in microseconds.
    Message { seq: u64, sent: u64 },
    /// The server's first word that the stream is open.
    Connected,
    /// Something else that the server says.
    Other,
}

impl Scanner {
    /// For a stream of which it is known already that it is open.
    pub(crate) fn connected() -> Self {
        Self {
            connected: true,
            ..Self::default()
        }
    }

    /// Calls `found` with each `data:` line that ends in `piece`.
    pub(crate) fn scan(&mut self, mut piece: &[u8], mut found: impl FnMut(Data)) {
        while let Some(end) = memchr(b'\n', piece) {
            let (line, rest) = piece.split_at(end);
            piece = &rest[1..];
            let data = if self.partial.is_empty() {
                read_line(line)
            } else {
                self.partial.extend_from_slice(line);
                let data = read_line(&self.partial);
                self.partial.clear();
                data
            };
            match data {
                Some(Data::Connected) if self.connected => {}
                Some(data) => {
                    self.connected |= data == Data::Connected;
                    found(data);
                }
                None => {}
            }
        }
        self.partial.extend_from_slice(piece);
    }
}

fn read_line(line: &[u8]) -> Option<Data> {
    // The first thing that nchan says, and that Mercure does.
    if matches!(line, b": hi" | b":") {
        return Some(Data::Connected);
    }
    let json = line.strip_prefix(b"data: ")?;
    Some(match read_message(json) {
        Some(message) => message,
        None if memmem::find(json, br#""status":"connected""#).is_some() => Data::Connected,
        None => Data::Other,
    })
}

/// The two numbers as [`Message`](crate::message::Message) writes them, one
/// behind the other.
fn read_message(json: &[u8]) -> Option<Data> {
    let at = SEQ_FINDER.find(json)?;
    let (seq, rest) = read_number(&json[at + SEQ.len()..])?;
    let (sent, _) = read_number(rest.strip_prefix(br#","sent":"#)?)?;
    // Ours are not numbered higher; a check would note all those in between as missing.
    (seq < MAX_MESSAGES).then_some(Data::Message { seq, sent })
}

fn read_number(text: &[u8]) -> Option<(u64, &[u8])> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, rest) = text.split_at(digits);
    let number = std::str::from_utf8(number).ok()?.parse().ok()?;
    Some((number, rest))
}

/// Checks that the messages 0, 1, 2 … arrive, each once, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Order {
    /// The number after the highest that has arrived.
    next: u64,
    /// Those below it that have not.
    missing: BTreeSet<u64>,
    duplicated: u64,
    out_of_order: u64,
}

/// What the checks of one stream, or several, come to. All of it has to be 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many messages have not arrived.
    pub lost: u64,
    /// How often a message arrived again.
    pub duplicated: u64,
    /// How often a message arrived after a later one.
    pub out_of_order: u64,
}

impl Tally {
    /// Whether everything arrived, once and in order.
    pub fn is_clean(self) -> bool {
        self == Self::default()
    }
}

impl Sum for Tally {
    fn sum<I: Iterator<Item = Self>>(tallies: I) -> Self {
        tallies.fold(Self::default(), |sum, tally| Self {
            lost: sum.lost + tally.lost,
            duplicated: sum.duplicated + tally.duplicated,
            out_of_order: sum.out_of_order + tally.out_of_order,
        })
    }
}

impl Order {
    /// Those below `next` have arrived already.
    pub(crate) fn from(next: u64) -> Self {
        Self {
            next,
            ..Self::default()
        }
    }

    /// Notes that a message arrived. False if it had arrived before.
    pub(crate) fn note(&mut self, seq: u64) -> bool {
        if seq >= self.next {
            if seq > self.next {
                self.missing.extend(self.next..seq);
            }
            self.next = seq + 1;
            true
        } else if self.missing.remove(&seq) {
            self.out_of_order += 1;
            true
        } else {
            self.duplicated += 1;
            false
        }
    }

    /// What the check comes to when `published` messages should have arrived.
    pub(crate) fn tally(&self, published: u64) -> Tally {
        Tally {
            lost: self.missing.len() as u64 + published.saturating_sub(self.next),
            duplicated: self.duplicated,
            out_of_order: self.out_of_order,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &[u8] = b"retry: 1234\ndata: {\"type\":\"status\",\"status\":\"connected\"}\n\n\
        id: 0123-1\ndata: {\"message\":\"m\",\"data\":{\"seq\":0,\"sent\":17,\"fill\":\"\"},\"topic\":\"t\"}\n\n\
        :\nid: 0123-2\n\n\
        id: 0123-3\ndata: {\"data\":{\"seq\":12,\"sent\":3456}}\n\ndata: {\"status\":\"gap\"}\n\n";

    const FOUND: [Data; 4] = [
        Data::Connected,
        Data::Message { seq: 0, sent: 17 },
        Data::Message {
            seq: 12,
            sent: 3456,
        },
        Data::Other,
    ];

    #[test]
    fn messages_are_found_wherever_the_text_is_split() {
        for first in 0..=STREAM.len() {
            for second in first..=STREAM.len() {
                let mut scanner = Scanner::default();
                let mut found = Vec::new();
                for piece in [&STREAM[..first], &STREAM[first..second], &STREAM[second..]] {
                    scanner.scan(piece, |data| found.push(data));
                }
                assert_eq!(found, FOUND, "{first} {second}");
            }
        }
    }

    #[test]
    fn half_a_message_is_none() {
        let check = |line: &str, expected: Option<Data>| {
            assert_eq!(read_line(line.as_bytes()), expected, "{line}");
        };
        check("data: {\"seq\":1}", Some(Data::Other));
        check("data: {\"seq\":,\"sent\":2}", Some(Data::Other));
        check("data: {\"seq\":1,\"sent\":}", Some(Data::Other));
        check(
            "data: {\"seq\":99999999999999999999,\"sent\":1}",
            Some(Data::Other),
        );
        check("data: {\"seq\":20000000,\"sent\":1}", Some(Data::Other));
        check("id: \"seq\":1,\"sent\":2", None);
        check(": \"seq\":1,\"sent\":2", None);
        check(": hi", Some(Data::Connected));
        check(":", Some(Data::Connected));
        check(": high", None);
        check("", None);
    }

    fn check(arrived: &[u64], published: u64, lost: u64, duplicated: u64, out_of_order: u64) {
        let mut order = Order::default();
        let new = arrived.iter().filter(|seq| order.note(**seq)).count();
        let expected = Tally {
            lost,
            duplicated,
            out_of_order,
        };
        assert_eq!(order.tally(published), expected, "{arrived:?}");
        assert_eq!(new as u64, published - lost, "{arrived:?}");
    }

    #[test]
    fn every_message_is_accounted_for() {
        check(&[], 0, 0, 0, 0);
        check(&[0, 1, 2], 3, 0, 0, 0);
        check(&[], 3, 3, 0, 0);
        check(&[0, 2], 4, 2, 0, 0);
        check(&[0, 1, 1, 0, 2], 3, 0, 2, 0);
        check(&[0, 2, 1, 3], 4, 0, 0, 1);
        check(&[2, 1, 0], 3, 0, 0, 2);
        check(&[2, 1, 1], 3, 1, 1, 1);
    }

    #[test]
    fn what_came_before_must_not_come_again() {
        let mut order = Order::from(2);
        let new = [2, 1, 4].map(|seq| order.note(seq));
        assert_eq!(new, [true, false, true]);
        let expected = Tally {
            lost: 2,
            duplicated: 1,
            out_of_order: 0,
        };
        assert_eq!(order.tally(6), expected);
    }

    #[test]
    fn tallies_add_up() {
        let tally = |lost, duplicated, out_of_order| Tally {
            lost,
            duplicated,
            out_of_order,
        };
        let sum: Tally = [tally(1, 2, 3), tally(0, 0, 0), tally(4, 5, 6)]
            .into_iter()
            .sum();
        assert_eq!(sum, tally(5, 7, 9));
    }
}
