//! Secrets: values that steps may see and that nothing may keep.
//!
//! They are in memory only: of bld, of the helper's specification of the one step that asks, and of the tmpfs and the environment
//! of that step. What the step prints is masked before anybody sees it, and its layer is searched before it is kept.
//!
//! Found is what is there literally. A step that encodes a secret (base64, a different order, one character at a time) can always
//! print or keep it: a secret is only as safe as the commands it is given to.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io;
use std::io::Read as _;
use std::path::Path;

use bld_cache::tree::NodeKind;
use bld_cache::tree::Tree;
use bld_oci::ImagePath;
use memchr::memmem::Finder;
use rustix::fs::Mode;
use rustix::fs::OFlags;

use crate::error::ExecuteError;

/// What a secret is replaced with.
const MASK: &[u8] = b"***";

/// Shorter lines of a secret, and shorter secrets in a layer, are found everywhere.
const SHORTEST: usize = 6;

const BLOCK: usize = 256 * 1024;

/// The secrets of a build, by name.
#[derive(Clone, Default)]
pub struct Secrets {
    values: BTreeMap<String, Vec<u8>>,
    /// What is masked, longest first.
    patterns: Vec<Vec<u8>>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.values.keys()).finish()
    }
}

impl Secrets {
    /// Secrets by name.
    pub fn new(values: BTreeMap<String, Vec<u8>>) -> Secrets {
        let mut patterns: Vec<Vec<u8>> = Vec::new();
        for value in values.values() {
            patterns.push(whole(value).to_vec());
            let lines = value.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
            patterns.extend(lines.filter(|line| line.len() >= SHORTEST).map(<[u8]>::to_vec));
        }
        patterns.retain(|pattern| !pattern.is_empty());
        patterns.sort_by(|left, right| right.len().cmp(&left.len()).then_with(|| left.cmp(right)));
        patterns.dedup();
        Secrets { values, patterns }
    }

    /// A secret's value.
    pub fn get(&self, id: &str) -> Option<&[u8]> {
        self.values.get(id).map(Vec::as_slice)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// A text without them.
    pub fn masked(&self, text: &str) -> String {
        let mut mask = Mask::new(self);
        let mut shown = mask.push(text.as_bytes()).into_owned();
        shown.extend(mask.finish());
        // What is cut at the borders of characters stays text.
        String::from_utf8(shown).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
    }

    /// Fails if a file of a layer directory holds one of the secrets: in its bytes, its name, its link target or its attributes.
    pub(crate) fn search(&self, tree: &Tree, directory: &Path) -> Result<(), ExecuteError> {
        let wanted: Vec<(&str, Finder<'_>)> = self
            .values
            .iter()
            .map(|(id, value)| (id.as_str(), whole(value)))
            .filter(|(_, value)| value.len() >= SHORTEST)
            .map(|(id, value)| (id, Finder::new(value)))
            .collect();
        if wanted.is_empty() {
            return Ok(());
        }
        for (path, node) in tree {
            let mut texts = vec![path.relative()];
            if let NodeKind::Symlink { target } = &node.kind {
                texts.push(target);
            }
            texts.extend(node.metadata.xattrs.values().map(Vec::as_slice));
            let mut found = wanted.iter().find(|(_, finder)| texts.iter().any(|text| finder.find(text).is_some()));
            if found.is_none() && matches!(&node.kind, NodeKind::File { hardlink: None, .. }) {
                found = search_file(&wanted, path, directory)?;
            }
            if let Some((id, _)) = found {
                return Err(ExecuteError::SecretInLayer { id: (*id).to_owned(), path: path.clone() });
            }
        }
        Ok(())
    }
}

/// A value without the line end that editors and `echo` put behind it.
fn whole(value: &[u8]) -> &[u8] {
    let value = value.strip_suffix(b"\n").unwrap_or(value);
    value.strip_suffix(b"\r").unwrap_or(value)
}

fn search_file<'a, 'b>(
    wanted: &'a [(&'b str, Finder<'b>)],
    path: &ImagePath,
    directory: &Path,
) -> Result<Option<&'a (&'b str, Finder<'b>)>, ExecuteError> {
    use std::os::unix::ffi::OsStrExt as _;
    let place = directory.join(std::ffi::OsStr::from_bytes(path.relative()));
    let failed = |verb| {
        let path = place.clone();
        move |source: io::Error| ExecuteError::Io { verb, path, source }
    };
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = rustix::fs::open(&place, flags, Mode::empty()).map_err(|errno| failed("open")(errno.into()))?;
    let mut file = File::from(opened);
    // The end of each block stays in front of the next one, so that nothing is missed at a border.
    let overlap = wanted.iter().map(|(_, finder)| finder.needle().len()).max().unwrap_or(1) - 1;
    let mut buffer = vec![0; overlap + BLOCK];
    let mut kept = 0;
    loop {
        let length = match file.read(&mut buffer[kept..]) {
            Ok(0) => return Ok(None),
            Ok(length) => kept + length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(failed("read")(error)),
        };
        if let Some(found) = wanted.iter().find(|(_, finder)| finder.find(&buffer[..length]).is_some()) {
            return Ok(Some(found));
        }
        kept = overlap.min(length);
        buffer.copy_within(length - kept..length, 0);
    }
}

/// Replaces secrets in a stream. What may be the beginning of one is held back until it is known.
pub(crate) struct Mask<'a> {
    secrets: &'a Secrets,
    held: Vec<u8>,
}

impl<'a> Mask<'a> {
    pub(crate) fn new(secrets: &'a Secrets) -> Mask<'a> {
        Mask { secrets, held: Vec::new() }
    }

    /// What can be shown now that `bytes` came.
    pub(crate) fn push<'b>(&mut self, bytes: &'b [u8]) -> Cow<'b, [u8]> {
        if self.secrets.patterns.is_empty() {
            return Cow::Borrowed(bytes);
        }
        self.held.extend_from_slice(bytes);
        let (shown, used) = self.scan(false);
        self.held.drain(..used);
        Cow::Owned(shown)
    }

    /// What was held back, at the end of the stream.
    pub(crate) fn finish(&mut self) -> Vec<u8> {
        let (shown, _) = self.scan(true);
        self.held.clear();
        shown
    }

    fn scan(&self, at_end: bool) -> (Vec<u8>, usize) {
        let patterns = &self.secrets.patterns;
        let mut starts = [false; 256];
        for pattern in patterns {
            starts[usize::from(pattern[0])] = true;
        }
        let (mut shown, mut at) = (Vec::with_capacity(self.held.len()), 0);
        while let Some(first) = self.held.get(at) {
            let rest = &self.held[at..];
            if !starts[usize::from(*first)] {
                shown.push(*first);
                at += 1;
                continue;
            }
            // The longest first: one that may still come goes before a shorter one that is there.
            let candidate =
                patterns.iter().find(|pattern| rest.starts_with(pattern) || (!at_end && pattern.starts_with(rest)));
            match candidate {
                Some(pattern) if rest.len() >= pattern.len() => {
                    shown.extend_from_slice(MASK);
                    at += pattern.len();
                }
                Some(_) => break,
                None => {
                    shown.push(*first);
                    at += 1;
                }
            }
        }
        (shown, at)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::Mask;
    use super::Secrets;

    fn secrets(values: &[&str]) -> Secrets {
        let values = values.iter().enumerate().map(|(index, value)| (index.to_string(), value.as_bytes().to_vec()));
        Secrets::new(values.collect::<BTreeMap<_, _>>())
    }

    #[test]
    fn masked_however_the_stream_is_cut() {
        let secrets = secrets(&["hunter2-hunter3\n", "first line\nab\nsecond line\n", "aab"]);
        for (text, shown) in [
            ("a hunter2-hunter3 b", "a *** b"),
            ("hunter2-hunter2-hunter3", "hunter2-***"),
            ("x first line\ny second line", "x ***\ny ***"),
            ("first line\nab\nsecond line\n!", "***\n!"),
            ("aaab", "a***"),
            ("hunter2-hunter", "hunter2-hunter"),
            ("", ""),
        ] {
            for size in 1..=text.len().max(1) {
                let mut mask = Mask::new(&secrets);
                let mut out = Vec::new();
                for piece in text.as_bytes().chunks(size) {
                    out.extend_from_slice(&mask.push(piece));
                }
                out.extend(mask.finish());
                assert_eq!(String::from_utf8(out).unwrap(), shown, "{text:?} in pieces of {size}");
            }
        }
    }

    #[test]
    fn nothing_is_held_without_reason() {
        let secrets = secrets(&["hunter2"]);
        let mut mask = Mask::new(&secrets);
        assert_eq!(&*mask.push(b"50% done"), b"50% done");
        assert_eq!(&*mask.push(b" h"), b" ");
        assert_eq!(&*mask.push(b"i"), b"hi");
    }
}
