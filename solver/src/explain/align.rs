//! Which step of an earlier build is the one that a step of this build was.
//!
//! Stages are the same if they have the same name; those without one, or with a new one, are if they have instructions in common.
//! Instructions that are written the same are the same, in order. Between two of those the ones with the same keyword are, the most
//! similar first.

use std::collections::BTreeSet;
use std::collections::HashMap;

use super::facts::BuildFacts;
use super::facts::StepFacts;

/// The most pairs of instructions that are compared.
const LIMIT: usize = 4_000_000;

/// How much of two instructions must be equal for one to be the other changed, if there is a choice: a third.
const SIMILAR: usize = 3;

/// For the vertices of `new` those of `old` that they were.
pub(super) fn pairs(old: &BuildFacts, new: &BuildFacts) -> HashMap<u32, u32> {
    let mut pairs = HashMap::new();
    let was = stages(old, new);
    let groups: BTreeSet<(&str, &str)> =
        new.steps.iter().map(|step| (step.stage.as_str(), step.platform.as_str())).collect();
    for (stage, platform) in groups {
        let Some(was) = was.get(stage) else { continue };
        let of = |facts: &'_ BuildFacts, stage: &str, platform: Option<&str>| -> Vec<usize> {
            let fits =
                |step: &StepFacts| step.stage == stage && platform.is_none_or(|platform| step.platform == platform);
            facts.steps.iter().enumerate().filter(|(_, step)| fits(step)).map(|(at, _)| at).collect()
        };
        let positions = of(new, stage, Some(platform));
        let same = of(old, was, Some(platform));
        // Built for another platform only: that is what there is to compare with.
        let before = if same.is_empty() { of(old, was, None) } else { same };
        let old_text: Vec<&str> = before.iter().map(|at| old.steps[*at].instruction.as_str()).collect();
        let new_text: Vec<&str> = positions.iter().map(|at| new.steps[*at].instruction.as_str()).collect();
        for (at, found) in align(&old_text, &new_text).into_iter().enumerate() {
            if let Some(found) = found {
                pairs.insert(new.steps[positions[at]].vertex, old.steps[before[found]].vertex);
            }
        }
    }
    // A source on the network is what the instruction that names it says, whatever its address.
    for step in &new.steps {
        let Some(before) = pairs.get(&step.vertex).and_then(|vertex| old.step(*vertex)) else { continue };
        for (was, is) in before.inputs.iter().zip(&step.inputs) {
            let is_remote = |facts: &BuildFacts, vertex: u32| facts.step(vertex).is_some_and(|it| it.remote.is_some());
            if is_remote(old, *was) && is_remote(new, *is) {
                pairs.entry(*is).or_insert(*was);
            }
        }
    }
    pairs
}

/// For each stage of `new` the one of `old` that it was.
fn stages<'a>(old: &'a BuildFacts, new: &'a BuildFacts) -> HashMap<&'a str, &'a str> {
    fn texts(facts: &BuildFacts) -> HashMap<&str, Vec<&str>> {
        let mut stages: HashMap<&str, Vec<&str>> = HashMap::new();
        for step in &facts.steps {
            let stage = stages.entry(step.stage.as_str()).or_default();
            // What it begins with says nothing about a stage.
            if step.image.is_none() && !step.instruction.starts_with("FROM ") {
                stage.push(step.instruction.as_str());
            }
        }
        stages
    }
    let (before, now) = (texts(old), texts(new));
    let is_number = |stage: &str| stage.bytes().all(|byte| byte.is_ascii_digit());
    let mut found: HashMap<&str, &str> = HashMap::new();
    let mut open: Vec<&str> = now.keys().copied().collect();
    open.sort_unstable();
    let mut free: Vec<&str> = before.keys().copied().collect();
    free.sort_unstable();
    let mut take = |open: &mut Vec<&'a str>, free: &mut Vec<&'a str>, is: &'a str, was: &'a str| {
        open.retain(|stage| *stage != is);
        free.retain(|stage| *stage != was);
        found.insert(is, was);
    };
    for stage in open.clone() {
        if free.contains(&stage) && (stage.is_empty() || !is_number(stage)) {
            take(&mut open, &mut free, stage, stage);
        }
    }
    // Those that have most in common first; of equals, those with the same number.
    let mut common: Vec<(usize, bool, &str, &str)> = Vec::new();
    for is in &open {
        for was in &free {
            let count = now[is].iter().filter(|text| before[was].contains(text)).count();
            if count > 0 {
                common.push((count, is == was, is, was));
            }
        }
    }
    common.sort_unstable_by(|a, b| b.cmp(a));
    for (_, _, is, was) in common {
        if open.contains(&is) && free.contains(&was) {
            take(&mut open, &mut free, is, was);
        }
    }
    for stage in open.clone() {
        if free.contains(&stage) {
            take(&mut open, &mut free, stage, stage);
        }
    }
    found
}

/// For each of `new` the position in `old` of what it was.
fn align(old: &[&str], new: &[&str]) -> Vec<Option<usize>> {
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
    let keyword = |text: &&str| text.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
    let old_keywords: Vec<String> = old.iter().map(keyword).collect();
    let new_keywords: Vec<String> = new.iter().map(keyword).collect();
    let mut counts: HashMap<&str, (usize, usize)> = HashMap::new();
    for keyword in &old_keywords {
        counts.entry(keyword).or_default().0 += 1;
    }
    for keyword in &new_keywords {
        counts.entry(keyword).or_default().1 += 1;
    }
    // With very many nobody can look at all of them: the first that has the keyword it is then.
    let is_much = old.len().saturating_mul(new.len()) > LIMIT;
    let mut low = 0;
    new.iter()
        .zip(&new_keywords)
        .map(|(text, wanted)| {
            let no_choice = is_much || counts.get(wanted.as_str()).is_some_and(|(before, now)| before == now);
            let mut candidates = (low..old.len()).filter(|at| old_keywords[*at] == *wanted);
            let best = if no_choice {
                candidates.next()
            } else {
                let scored = candidates.map(|at| (similarity(old[at], text), at));
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
