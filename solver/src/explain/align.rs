//! Which step of an earlier build is the one that a step of this build was.
//!
//! Instructions that are written the same are the same, in order. Between two of those the ones with the same keyword are, the most
//! similar first.

use std::collections::HashMap;

/// The most pairs of instructions that are compared.
const LIMIT: usize = 4_000_000;

/// How much of two instructions must be equal for one to be the other changed, if there is a choice: a third.
const SIMILAR: usize = 3;

/// For each of `new` the position in `old` of what it was.
pub(super) fn align(old: &[&str], new: &[&str]) -> Vec<Option<usize>> {
    let mut found = equal(old, new);
    let mut low = 0;
    let mut position = 0;
    while position < new.len() {
        if let Some(at) = found[position] {
            low = at + 1;
            position += 1;
            continue;
        }
        let end = (position..new.len()).find(|next| found[*next].is_some()).unwrap_or(new.len());
        let high = found.get(end).copied().flatten().unwrap_or(old.len());
        for (offset, pair) in pair(&old[low..high], &new[position..end]).into_iter().enumerate() {
            found[position + offset] = pair.map(|at| low + at);
        }
        position = end;
    }
    found
}

/// The longest run of equal instructions in the same order.
fn equal(old: &[&str], new: &[&str]) -> Vec<Option<usize>> {
    let mut found = vec![None; new.len()];
    let before = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let after = old[before..].iter().rev().zip(new[before..].iter().rev()).take_while(|(a, b)| a == b).count();
    for (position, place) in found.iter_mut().enumerate() {
        if position < before {
            *place = Some(position);
        } else if position >= new.len() - after {
            *place = Some(old.len() - (new.len() - position));
        }
    }
    let (old, new) = (&old[before..old.len() - after], &new[before..new.len() - after]);
    if old.len().saturating_mul(new.len()) > LIMIT {
        let mut places: HashMap<&str, Vec<usize>> = HashMap::new();
        for (position, text) in old.iter().enumerate().rev() {
            places.entry(text).or_default().push(position);
        }
        let mut low = 0;
        for (position, text) in new.iter().enumerate() {
            let Some(places) = places.get_mut(text) else { continue };
            while places.last().is_some_and(|place| *place < low) {
                places.pop();
            }
            if let Some(place) = places.pop() {
                found[before + position] = Some(before + place);
                low = place + 1;
            }
        }
        return found;
    }
    // Lengths of the longest common sequences of what is left of both.
    let width = new.len() + 1;
    let mut lengths = vec![0_u32; (old.len() + 1) * width];
    for (i, a) in old.iter().enumerate().rev() {
        for (j, b) in new.iter().enumerate().rev() {
            lengths[i * width + j] = if a == b {
                lengths[(i + 1) * width + j + 1] + 1
            } else {
                lengths[(i + 1) * width + j].max(lengths[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < old.len() && j < new.len() {
        if old[i] == new[j] {
            found[before + j] = Some(before + i);
            i += 1;
            j += 1;
        } else if lengths[(i + 1) * width + j] >= lengths[i * width + j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    found
}

/// What changed in place.
fn pair(old: &[&str], new: &[&str]) -> Vec<Option<usize>> {
    let mut low = 0;
    let keyword = |text: &str| text.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
    let of = |all: &[&str], wanted: &str| all.iter().filter(|text| keyword(text) == wanted).count();
    new.iter()
        .map(|text| {
            let wanted = keyword(text);
            let no_choice = of(old, &wanted) == of(new, &wanted);
            let candidates = old.iter().enumerate().skip(low).filter(|(_, other)| keyword(other) == wanted);
            let best = if no_choice {
                candidates.map(|(at, _)| at).next()
            } else {
                let scored = candidates.map(|(at, other)| (similarity(other, text), at));
                let similar = scored.filter(|(score, at)| score * SIMILAR >= old[*at].len().max(text.len()));
                similar.max_by_key(|(score, at)| (*score, std::cmp::Reverse(*at))).map(|(_, at)| at)
            };
            low = best.map_or(low, |at| at + 1);
            best
        })
        .collect()
}

/// How many bytes at the beginning and the end are equal, the keyword apart.
fn similarity(a: &str, b: &str) -> usize {
    let rest = |text: &str| text.find(char::is_whitespace).map_or(0, |at| at + 1);
    let (a, b) = (&a.as_bytes()[rest(a)..], &b.as_bytes()[rest(b)..]);
    let before = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let after = a[before..].iter().rev().zip(b[before..].iter().rev()).take_while(|(x, y)| x == y).count();
    before + after
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_recognized() {
        let old = ["FROM a", "COPY . /src", "RUN make", "RUN make install", "RUN true"];
        for (new, expected) in [
            (vec!["FROM a", "COPY . /src", "RUN make", "RUN make install", "RUN true"], vec![0, 1, 2, 3, 4]),
            (vec!["FROM a", "COPY . /src", "RUN make -j4", "RUN make install", "RUN true"], vec![0, 1, 2, 3, 4]),
            (vec!["FROM a", "RUN apk add x", "COPY . /src", "RUN make", "RUN true"], vec![0, 9, 1, 2, 4]),
            (vec!["FROM a", "COPY . /src", "RUN true"], vec![0, 1, 4]),
            (vec!["FROM b", "COPY src /src", "RUN make install"], vec![0, 1, 3]),
            (
                vec!["FROM a", "COPY . /src", "RUN echo new", "RUN make", "RUN make install -v", "RUN true"],
                vec![0, 1, 9, 2, 3, 4],
            ),
        ] {
            let expected: Vec<Option<usize>> = expected.into_iter().map(|at| (at < 9).then_some(at)).collect();
            assert_eq!(align(&old, &new), expected, "{new:?}");
        }
        assert_eq!(align(&[], &["RUN a"]), [None]);
        assert_eq!(align(&["RUN a"], &[]), []);
    }
}
