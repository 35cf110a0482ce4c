//! "Did you mean": the file name most like one that does not exist.

/// The candidate nearest to `name`, if it is near enough to be a slip of the keyboard. Upper and lower case differ little, and an
/// extension forgotten or invented differs little too.
pub(super) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted: Vec<char> = name.to_lowercase().chars().take(255).collect();
    let limit = (wanted.len() / 3).clamp(1, 3);
    let stem = |text: &str| text.rsplit_once('.').map_or(text, |(stem, _)| stem).to_lowercase();
    candidates
        .into_iter()
        .take(10_000)
        .filter_map(|candidate| {
            let other: Vec<char> = candidate.to_lowercase().chars().collect();
            if other.len().abs_diff(wanted.len()) > limit && stem(candidate) != stem(name) {
                return None;
            }
            let distance = if stem(candidate) == stem(name) { 1 } else { distance(&wanted, &other) };
            (distance <= limit).then_some((distance, candidate))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Letters to insert, delete, replace or swap with their neighbour to make one word of the other.
fn distance(left: &[char], right: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=right.len()).collect();
    for (row, letter) in left.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, other) in right.iter().enumerate() {
            let replaced = above[column] + usize::from(letter != other);
            let mut best = replaced.min(above[column + 1] + 1).min(current[column] + 1);
            if row > 0 && column > 0 && left[row - 1] == *other && right[column - 1] == *letter {
                best = best.min(before[column - 1] + 1);
            }
            current.push(best);
        }
        before = std::mem::replace(&mut above, current);
    }
    above[right.len()]
}
