//! Places of tensors in the arena: tensors that are not needed at one time share bytes.

use std::cmp::Reverse;
use std::ops::RangeInclusive;

/// A tensor, or what an operator needs besides.
#[derive(Debug, Clone)]
pub(crate) struct Buffer {
    /// What it is called in reports.
    pub name: String,
    /// Bytes.
    pub bytes: u32,
}

/// When a buffer is needed, by the operators' positions.
pub(crate) type Life = RangeInclusive<usize>;

/// Where the buffers lie.
#[derive(Debug)]
pub(crate) struct Layout {
    /// First byte per buffer.
    pub offsets: Vec<u32>,
    /// Bytes in all.
    pub arena: u32,
    /// The greatest of the buffers that are needed when the most bytes are.
    pub peak: usize,
}

/// The places start at multiples of this.
const WORD: u32 = 4;

fn overlap(a: &Life, b: &Life) -> bool {
    a.start() <= b.end() && b.start() <= a.end()
}

/// Places buffers so that those whose lives overlap do not. Buffers without a life are not placed.
///
/// Greedy: each buffer in turn takes the lowest gap between those that are placed. Three orders are
/// tried, and the least arena wins.
pub(crate) fn place(buffers: &[Buffer], lives: &[Option<Life>]) -> Layout {
    let mut order: Vec<usize> = (0..buffers.len()).collect();
    order.retain(|&b| lives[b].is_some());
    // What exceeds 32 bits ends at their limit, which no board has.
    let bytes = |b: usize| {
        buffers[b]
            .bytes
            .checked_next_multiple_of(WORD)
            .unwrap_or(u32::MAX)
    };
    let life = |b: usize| lives[b].clone().unwrap_or(0..=0);
    let length = |b: usize| life(b).end() - life(b).start();
    let mut orders = [order.clone(), order.clone(), order];
    orders[0].sort_by_key(|&b| (Reverse(bytes(b)), *life(b).start()));
    orders[1].sort_by_key(|&b| (*life(b).start(), Reverse(bytes(b))));
    orders[2].sort_by_key(|&b| (Reverse(length(b)), Reverse(bytes(b))));
    let placed = orders.iter().map(|order| {
        let mut offsets = vec![0u32; buffers.len()];
        let mut arena = 0;
        for (position, &b) in order.iter().enumerate() {
            let mut taken: Vec<(u32, u32)> = order[..position]
                .iter()
                .filter(|&&other| overlap(&life(b), &life(other)))
                .map(|&other| (offsets[other], offsets[other].saturating_add(bytes(other))))
                .collect();
            taken.sort_unstable();
            let mut at = 0u32;
            for (start, end) in taken {
                if at.saturating_add(bytes(b)) <= start {
                    break;
                }
                at = at.max(end);
            }
            offsets[b] = at;
            arena = arena.max(at.saturating_add(bytes(b)));
        }
        (arena, offsets)
    });
    let (arena, offsets) = placed.min_by_key(|(arena, _)| *arena).unwrap_or_default();
    Layout {
        offsets,
        arena,
        peak: peak(buffers, lives),
    }
}

/// The greatest of the buffers that are needed when the most bytes are.
fn peak(buffers: &[Buffer], lives: &[Option<Life>]) -> usize {
    let alive = |step: usize| {
        let all = lives.iter().enumerate();
        all.filter(move |(_, life)| life.as_ref().is_some_and(|life| life.contains(&step)))
            .map(|(b, _)| b)
    };
    let steps = lives.iter().flatten().map(|life| *life.start());
    let fullest = steps.max_by_key(|&step| {
        alive(step)
            .map(|b| u64::from(buffers[b].bytes))
            .sum::<u64>()
    });
    let greatest = fullest.and_then(|step| alive(step).max_by_key(|&b| buffers[b].bytes));
    greatest.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(of: &[(u32, Life)]) -> Layout {
        let buffers: Vec<_> = of
            .iter()
            .map(|&(bytes, _)| Buffer {
                name: String::new(),
                bytes,
            })
            .collect();
        let lives: Vec<_> = of.iter().map(|(_, life)| Some(life.clone())).collect();
        let layout = place(&buffers, &lives);
        for (i, (a, life)) in of.iter().enumerate() {
            assert!(layout.offsets[i] + a <= layout.arena);
            for (j, (b, other)) in of.iter().enumerate().skip(i + 1) {
                let (x, y) = (layout.offsets[i], layout.offsets[j]);
                let apart = x + a <= y || y + b <= x;
                assert!(apart || !overlap(life, other), "{i} and {j}");
            }
        }
        layout
    }

    #[test]
    fn a_chain_needs_its_two_greatest_neighbours() {
        let layout = layout(&[(100, 0..=1), (40, 1..=2), (60, 2..=3), (90, 3..=4)]);
        assert_eq!(layout.arena, 152, "60 and 92");
        assert_eq!(layout.peak, 3);
    }

    #[test]
    fn a_shortcut_stays_while_its_branch_runs() {
        let layout = layout(&[(64, 0..=3), (32, 1..=2), (32, 2..=3), (64, 3..=4)]);
        assert_eq!(layout.arena, 160);
        assert_eq!(layout.peak, 3);
    }
}
