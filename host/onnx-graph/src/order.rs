//! Topological order.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Orders `0..needs.len()` so that everything in `needs[i]` comes before `i`, and keeps the given
/// order otherwise.
///
/// # Errors
/// The first element on or behind a cycle.
pub(crate) fn topological(needs: &[Vec<usize>]) -> Result<Vec<usize>, usize> {
    let mut waiting: Vec<usize> = vec![0; needs.len()];
    let mut readers: Vec<Vec<usize>> = vec![Vec::new(); needs.len()];
    for (i, list) in needs.iter().enumerate() {
        waiting[i] = list.len();
        for &n in list {
            readers[n].push(i);
        }
    }
    let mut ready: BinaryHeap<Reverse<usize>> = (0..needs.len())
        .filter(|&i| waiting[i] == 0)
        .map(Reverse)
        .collect();
    let mut order = Vec::with_capacity(needs.len());
    while let Some(Reverse(i)) = ready.pop() {
        order.push(i);
        for &reader in &readers[i] {
            waiting[reader] -= 1;
            if waiting[reader] == 0 {
                ready.push(Reverse(reader));
            }
        }
    }
    match waiting.iter().position(|&w| w > 0) {
        Some(stuck) => Err(stuck),
        None => Ok(order),
    }
}

#[cfg(test)]
mod tests {
    use super::topological;

    #[test]
    fn order_is_kept_if_possible_and_cycles_are_errors() {
        assert_eq!(topological(&[vec![], vec![0], vec![]]), Ok(vec![0, 1, 2]));
        assert_eq!(
            topological(&[vec![2], vec![], vec![1, 1]]),
            Ok(vec![1, 2, 0])
        );
        assert_eq!(topological(&[vec![], vec![2], vec![1]]), Err(1));
    }
}
