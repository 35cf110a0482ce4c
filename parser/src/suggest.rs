//! "Did you mean": the nearest of a few known names.

/// Longer names are never taken for slips: comparing takes the product of both lengths.
const LONGEST: usize = 256;

/// The candidate nearest to `name` if it is near enough to be a slip of the keyboard.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = Wanted::new(name)?;
    let near = candidates.into_iter().filter_map(|candidate| Some((wanted.edits(candidate)?, candidate)));
    near.min_by_key(|(edits, _)| *edits).map(|(_, candidate)| candidate)
}

/// A hint that names the nearest candidate, if one is near enough.
pub fn did_you_mean<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let others = candidates.into_iter().filter(|candidate| *candidate != name);
    nearest(name, others).map(|near| format!("did you mean `{near}`?"))
}

/// The file name nearest to `name`. An extension forgotten or invented differs little too.
pub fn nearest_file<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let stem = |text: &str| text.rsplit_once('.').map_or(text, |(stem, _)| stem).to_lowercase();
    let (wanted, letters) = (stem(name), Wanted::new(name));
    // A directory may hold any number of names.
    let near = candidates.into_iter().take(10_000).filter_map(|candidate| {
        let edits = if stem(candidate) == wanted { Some(1) } else { letters.as_ref()?.edits(candidate) };
        Some((edits?, candidate))
    });
    near.min_by_key(|(edits, _)| *edits).map(|(_, candidate)| candidate)
}

/// What to write if a path of COPY or ADD was most likely meant as a flag.
pub fn meant_as_flag(path: &str) -> Option<String> {
    const NAMES: [&str; 9] =
        ["from", "chown", "chmod", "link", "parents", "exclude", "checksum", "keep-git-dir", "unpack"];
    const DASHES: [char; 5] = ['-', '\u{2010}', '\u{2012}', '\u{2013}', '\u{2014}'];
    let bare = path.trim_start_matches(DASHES);
    let name = bare.split_once('=').map_or(bare, |(name, _)| name);
    if bare.len() == path.len() || !NAMES.contains(&name) {
        return None;
    }
    let dashes = &path[..path.len() - bare.len()];
    Some(match dashes {
        "--" => format!("flags stand before the first path: write `--{bare}` there"),
        "-" => format!("flags begin with two dashes: write `--{bare}`"),
        _ => format!("flags begin with two plain dashes, not with `{dashes}`: write `--{bare}`"),
    })
}

/// Whether one of two names may well be a slip for the other.
pub fn is_near(name: &str, candidate: &str) -> bool {
    Wanted::new(name).is_some_and(|wanted| wanted.edits(candidate).is_some())
}

/// A name ready to be compared with many.
struct Wanted {
    /// In lower case.
    letters: Vec<char>,
    /// See [`kinds`].
    kinds: u64,
    length: usize,
    /// More edits than this are no slip.
    limit: usize,
}

impl Wanted {
    /// `None` if it is too long to be compared.
    fn new(name: &str) -> Option<Wanted> {
        let length = name.chars().count();
        let letters = || name.to_lowercase().chars().collect();
        let limit = (length / 3).clamp(1, 3);
        (length <= LONGEST).then(|| Wanted { letters: letters(), kinds: kinds(name), length, limit })
    }

    /// How far a candidate is away, case aside; `None` if too far.
    fn edits(&self, candidate: &str) -> Option<usize> {
        // Lengths and the letters there are rule most of them out: an edit brings one kind at most, and takes one away.
        let limit = self.limit;
        if self.length.abs_diff(candidate.chars().count()) > limit {
            return None;
        }
        let kinds = kinds(candidate);
        if (self.kinds & !kinds).count_ones().max((kinds & !self.kinds).count_ones()) as usize > limit {
            return None;
        }
        let letters: Vec<char> = candidate.to_lowercase().chars().collect();
        Some(distance(&self.letters, &letters)).filter(|distance| *distance <= limit)
    }
}

/// Which letters a name has, case aside, as bits. Two letters may share one.
fn kinds(name: &str) -> u64 {
    name.chars().flat_map(char::to_lowercase).fold(0, |kinds, letter| kinds | 1 << (u32::from(letter) % 64))
}

/// Edits (insert, delete, replace, swap of neighbours) between two words.
fn distance(left: &[char], right: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut previous: Vec<usize> = (0..=right.len()).collect();
    for (row, letter) in left.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, other) in right.iter().enumerate() {
            let mut best = (previous[column] + usize::from(letter != other)).min(previous[column + 1] + 1);
            best = best.min(current[column] + 1);
            let swapped = row > 0 && column > 0 && left[row - 1] == *other && right[column - 1] == *letter;
            if swapped {
                best = best.min(before[column - 1] + 1);
            }
            current.push(best);
        }
        before = std::mem::replace(&mut previous, current);
    }
    previous[right.len()]
}

#[cfg(test)]
mod tests {
    use super::did_you_mean;
    use super::distance;
    use super::is_near;
    use super::meant_as_flag;
    use super::nearest;
    use super::nearest_file;

    #[test]
    fn flags_are_recognised() {
        for (path, hint) in [
            ("--chown=1000", "flags stand before the first path: write `--chown=1000` there"),
            ("-from=build", "flags begin with two dashes: write `--from=build`"),
            ("\u{2013}link", "flags begin with two plain dashes, not with `\u{2013}`: write `--link`"),
        ] {
            assert_eq!(meant_as_flag(path).as_deref(), Some(hint));
        }
        for path in ["from=build", "-", "--", "-x", "--lnik", "a--from=b", ""] {
            assert_eq!(meant_as_flag(path), None, "{path}");
        }
    }

    #[test]
    fn what_is_ruled_out_at_once_is_far_away() {
        let letters = ['a', 'B', '\u{3c3}', '_'];
        let words = (0..4_usize.pow(4)).map(|number| {
            let length = number % 4 + 1;
            (0..length)
                .map(|place| letters[number / 4_usize.pow(u32::try_from(place).unwrap()) % 4])
                .collect::<String>()
        });
        let words: Vec<String> = words.collect();
        let mut near = 0;
        for (one, other) in words.iter().flat_map(|one| words.iter().map(move |other| (one, other))) {
            let plain = |text: &str| text.to_lowercase().chars().collect::<Vec<char>>();
            let slip = distance(&plain(one), &plain(other)) <= (one.chars().count() / 3).clamp(1, 3);
            assert_eq!(is_near(one, other), slip, "{one} {other}");
            near += usize::from(slip);
        }
        assert!(1000 < near && near < words.len() * words.len() / 2, "{near}");
    }

    #[test]
    fn slips_are_recognised() {
        let known = ["COPY", "CMD", "RUN", "ENTRYPOINT"];
        assert_eq!(nearest("COYP", known), Some("COPY"));
        assert_eq!(nearest("RUM", known), Some("RUN"));
        assert_eq!(nearest("entripoint", known), Some("ENTRYPOINT"));
        assert_eq!(nearest("FOOBAR", known), None);
        assert_eq!(nearest("", known), None);
        assert_eq!(did_you_mean("BUILD", ["builder", "build"]), Some("did you mean `build`?".to_owned()));
        assert_eq!(did_you_mean("same", ["same"]), None);
        assert_eq!(nearest_file("app.conf", ["other", "app.cfg"]), Some("app.cfg"));
        assert_eq!(nearest_file("mian.rs", ["main.rs", "lib.rs"]), Some("main.rs"));
        assert!(is_near("alpine:3.2", "alpine:3.20") && !is_near("alpine", "debian"));
    }
}
