//! The dashboard: pages that are built from `web/` when this crate is, and held
//! in memory.
//!
//! [`file()`] finds one by its path. This crate knows no HTTP and no server; the
//! pages ask one, as any other client does.

/// One file of the dashboard.
#[derive(Clone, Copy, Debug)]
pub struct File {
    /// Such as `/index.html`.
    pub path: &'static str,
    /// Its media type.
    pub content_type: &'static str,
    /// As it is.
    pub plain: &'static [u8],
    /// Compressed with gzip (RFC 1952).
    pub gzip: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/files.rs"));

/// The file at a path; none of any, if the dashboard is not built in.
#[must_use]
pub fn file(path: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.path == path)
}

/// All of them.
#[must_use]
pub fn files() -> &'static [File] {
    FILES
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of what a browser loads first.
    const MOST: usize = 200_000;

    #[test]
    fn it_is_small_and_whole() {
        let index = file("/index.html").expect("npm has built the dashboard");
        let text = std::str::from_utf8(index.plain).unwrap();
        let loaded = FILES.iter().filter(|file| text.contains(file.path));
        assert!(loaded.clone().count() >= 2, "{text}");
        let size: usize = loaded.map(|file| file.gzip.len()).sum::<usize>() + index.gzip.len();
        assert!(size < MOST, "{size} bytes");
        assert!(!text.contains("<script>"), "what is inline is not run");
    }

    #[test]
    fn there_is_nothing_elsewhere() {
        assert!(file("/").is_none());
        assert!(file("/../Cargo.toml").is_none());
    }
}
