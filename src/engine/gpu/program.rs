//! A filter as the steps by which masks are made and combined.
//!
//! Terms are combined in place: the next term of an AND narrows the mask, and of an OR widens it. Only a change between the
//! two needs another mask ("slot"), so a filter takes as many slots as it changes between AND and OR from top to bottom.

use super::layout::constants::{AND, OR, SET};
use crate::dataset::ColumnId;
use crate::filter::{Predicate, Region};

/// What a filter comes to.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Mask {
    Everything,
    Nothing,
    /// The mask is in slot 0 after these steps, which use `slots` masks.
    Steps { steps: Vec<Step>, slots: usize },
}

/// Combines a term into the mask of a slot: by SET, AND or OR.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Step {
    pub slot: usize,
    pub combine: u32,
    pub term: Term,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Term {
    Keys { column: ColumnId, ranges: Vec<(u64, u64)> },
    Region { region: Region, invert: bool },
    /// The mask of another slot.
    Slot(usize),
}

impl Mask {
    pub fn of(predicate: &Predicate) -> Mask {
        match simplified(predicate) {
            Predicate::All => Mask::Everything,
            Predicate::Nothing => Mask::Nothing,
            predicate => {
                let (mut steps, mut slots) = (Vec::new(), 1);
                record(&predicate, 0, SET, &mut steps, &mut slots);
                Mask::Steps { steps, slots }
            }
        }
    }
}

/// The same without constants below the top, without an AND or OR of fewer than two terms.
fn simplified(predicate: &Predicate) -> Predicate {
    let (terms, neutral, decisive): (_, _, _) = match predicate {
        Predicate::And(terms) => (terms, Predicate::All, Predicate::Nothing),
        Predicate::Or(terms) => (terms, Predicate::Nothing, Predicate::All),
        leaf => return leaf.clone(),
    };
    let mut terms: Vec<Predicate> = terms.iter().map(simplified).filter(|term| *term != neutral).collect();
    if terms.contains(&decisive) {
        return decisive;
    }
    match (terms.len(), predicate) {
        (0, _) => neutral,
        (1, _) => terms.remove(0),
        (_, Predicate::And(_)) => Predicate::And(terms),
        _ => Predicate::Or(terms),
    }
}

fn record(predicate: &Predicate, slot: usize, combine: u32, steps: &mut Vec<Step>, slots: &mut usize) {
    let (terms, own) = match predicate {
        Predicate::And(terms) => (terms, AND),
        Predicate::Or(terms) => (terms, OR),
        leaf => return steps.push(Step { slot, combine, term: term(leaf) }),
    };
    if combine == SET || combine == own {
        for (i, term) in terms.iter().enumerate() {
            record(term, slot, if i == 0 { combine } else { own }, steps, slots);
        }
    } else {
        *slots = (*slots).max(slot + 2);
        record(predicate, slot + 1, SET, steps, slots);
        steps.push(Step { slot, combine, term: Term::Slot(slot + 1) });
    }
}

fn term(leaf: &Predicate) -> Term {
    match leaf {
        Predicate::Keys { column, ranges } => Term::Keys { column: *column, ranges: ranges.clone() },
        Predicate::Inside(region) => Term::Region { region: region.clone(), invert: false },
        Predicate::Outside(region) => Term::Region { region: region.clone(), invert: true },
        Predicate::All | Predicate::Nothing | Predicate::And(_) | Predicate::Or(_) => {
            unreachable!("simplified() leaves constants only at the top, and record() takes AND and OR apart")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn predicates() -> impl Strategy<Value = Predicate> {
        let keys = (0usize..4).prop_map(|c| Predicate::Keys { column: ColumnId(c), ranges: vec![(1, 1)] });
        let leaf = prop_oneof![4 => keys, 1 => Just(Predicate::All), 1 => Just(Predicate::Nothing)];
        leaf.prop_recursive(4, 24, 4, |inner| {
            let terms = proptest::collection::vec(inner, 0..4);
            prop_oneof![terms.clone().prop_map(Predicate::And), terms.prop_map(Predicate::Or)]
        })
    }

    fn truth(predicate: &Predicate, columns: u8) -> bool {
        match predicate {
            Predicate::All => true,
            Predicate::And(terms) => terms.iter().all(|term| truth(term, columns)),
            Predicate::Or(terms) => terms.iter().any(|term| truth(term, columns)),
            Predicate::Keys { column, .. } => columns >> column.0 & 1 == 1,
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn the_steps_say_what_the_predicate_says(predicate in predicates()) {
            for columns in 0..16u8 {
                let found = match Mask::of(&predicate) {
                    Mask::Everything => true,
                    Mask::Nothing => false,
                    Mask::Steps { steps, slots } => {
                        // What a slot held before is unknown: nothing may depend on it.
                        let mut masks = vec![columns % 2 == 1; slots];
                        for step in steps {
                            let passed = match step.term {
                                Term::Keys { column, .. } => columns >> column.0 & 1 == 1,
                                Term::Slot(slot) => masks[slot],
                                Term::Region { .. } => unreachable!(),
                            };
                            masks[step.slot] = match step.combine {
                                SET => passed,
                                AND => masks[step.slot] && passed,
                                _ => masks[step.slot] || passed,
                            };
                        }
                        masks[0]
                    }
                };
                prop_assert_eq!(found, truth(&predicate, columns));
            }
        }
    }
}
