//! Sets of keys, as inclusive ranges: sorted, disjoint, not adjacent, none empty.

pub(super) type Ranges = Vec<(u64, u64)>;

/// Any ranges, as a set.
pub(super) fn set(mut ranges: Ranges) -> Ranges {
    ranges.retain(|(from, to)| from <= to);
    ranges.sort_unstable();
    let mut merged: Ranges = Vec::with_capacity(ranges.len());
    for (from, to) in ranges {
        match merged.last_mut() {
            Some((_, last)) if from <= last.saturating_add(1) => *last = to.max(*last),
            _ => merged.push((from, to)),
        }
    }
    merged
}

pub(super) fn union(a: &Ranges, b: &Ranges) -> Ranges {
    set(a.iter().chain(b).copied().collect())
}

pub(super) fn intersection(a: &Ranges, b: &Ranges) -> Ranges {
    let (mut i, mut j) = (0, 0);
    let mut both = Vec::new();
    while let (Some(&(a_from, a_to)), Some(&(b_from, b_to))) = (a.get(i), b.get(j)) {
        let (from, to) = (a_from.max(b_from), a_to.min(b_to));
        if from <= to {
            both.push((from, to));
        }
        if a_to < b_to { i += 1 } else { j += 1 }
    }
    both
}

/// What of `first..=last` is not in the set.
pub(super) fn complement(ranges: &Ranges, first: u64, last: u64) -> Ranges {
    let mut rest = Vec::new();
    let mut next = Some(first);
    for &(from, to) in ranges {
        if let Some(begin) = next.filter(|&begin| begin < from) {
            rest.push((begin, (from - 1).min(last)));
        }
        next = next.and_then(|begin| to.checked_add(1).map(|after| after.max(begin)));
    }
    rest.extend(next.map(|begin| (begin, last)));
    rest.retain(|(from, to)| from <= to);
    rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ranges() -> impl Strategy<Value = Ranges> {
        proptest::collection::vec((0u64..40, 0u64..6), 0..6).prop_map(|raw| {
            set(raw.into_iter().map(|(from, length)| (from, from + length)).collect())
        })
    }

    fn has(ranges: &Ranges, key: u64) -> bool {
        ranges.iter().any(|&(from, to)| (from..=to).contains(&key))
    }

    proptest! {
        #[test]
        fn sets_are_sets(a in ranges(), b in ranges(), first in 0u64..20, length in 0u64..30) {
            let last = first + length;
            let (union, both, rest) = (union(&a, &b), intersection(&a, &b), complement(&a, first, last));
            for key in 0..60 {
                prop_assert_eq!(has(&union, key), has(&a, key) || has(&b, key));
                prop_assert_eq!(has(&both, key), has(&a, key) && has(&b, key));
                prop_assert_eq!(has(&rest, key), !has(&a, key) && (first..=last).contains(&key));
            }
            for ranges in [&union, &rest] {
                prop_assert_eq!(&set(ranges.clone()), ranges);
            }
        }
    }

    #[test]
    fn the_largest_key_is_no_exception() {
        assert_eq!(complement(&vec![(5, u64::MAX)], 1, u64::MAX), vec![(1, 4)]);
        assert_eq!(complement(&vec![], 1, u64::MAX), vec![(1, u64::MAX)]);
        assert_eq!(set(vec![(3, u64::MAX), (0, 2)]), vec![(0, u64::MAX)]);
        assert_eq!(complement(&vec![], 1, 0), vec![]);
    }
}
