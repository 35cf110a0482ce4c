//! "Did you mean": the nearest of a few known names.

/// A hint naming the candidate nearest to `name`, if one is near enough to be a slip of the keyboard.
pub(super) fn did_you_mean<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let limit = (name.chars().count() / 3).clamp(1, 3);
    let wanted = letters(name);
    candidates
        .into_iter()
        .map(|candidate| (slips(&wanted, &letters(candidate)), candidate))
        .filter(|(slips, candidate)| *slips <= limit && *candidate != name)
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, candidate)| format!("did you mean `{candidate}`?"))
}

fn letters(name: &str) -> Vec<char> {
    name.to_lowercase().chars().take(64).collect()
}

/// Letters missing, surplus, wrong or swapped with their neighbour: the usual table, three rows of it.
fn slips(left: &[char], right: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=right.len()).collect();
    for (row, letter) in left.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, other) in right.iter().enumerate() {
            let replaced = above[column] + usize::from(letter != other);
            let mut least = replaced.min(above[column + 1] + 1).min(current[column] + 1);
            if row > 0 && column > 0 && left[row - 1] == *other && right[column - 1] == *letter {
                least = least.min(before[column - 1] + 1);
            }
            current.push(least);
        }
        before = std::mem::replace(&mut above, current);
    }
    above[right.len()]
}

#[cfg(test)]
mod tests {
    use super::did_you_mean;

    #[test]
    fn slips_of_the_keyboard() {
        for (name, nearest) in [("biuld", "build"), ("bulid", "build"), ("buildr", "builder"), ("BUILD", "build")] {
            assert_eq!(did_you_mean(name, ["builder", "build", "x"]), Some(format!("did you mean `{nearest}`?")));
        }
        assert_eq!(did_you_mean("NONE", ["MODE"]), None);
        assert_eq!(did_you_mean("same", ["same"]), None);
    }
}
