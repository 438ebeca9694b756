/// How many characters of what a client sent are repeated back.
const REPEATED: usize = 60;

/// At most the beginning of what a client sent, to repeat it in a message.
pub(crate) fn shorten(text: &str) -> String {
    match text.char_indices().nth(REPEATED) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
