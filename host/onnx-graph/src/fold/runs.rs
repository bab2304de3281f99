//! Walks over the elements of an array and, in step, over those of one that broadcasts with it or
//! that it is reduced to.

/// The outer axes of a walk, and its innermost run. Axes that are adjacent in both arrays are one.
pub(crate) struct Runs {
    /// Size, and the elements per index in either array, of each axis; the last is the run.
    axes: Vec<(usize, [usize; 2])>,
}

impl Runs {
    /// The walk over `dims`, with the elements per index of each axis in either array.
    pub fn new(dims: &[usize], strides: [&[usize]; 2]) -> Self {
        let mut axes: Vec<(usize, [usize; 2])> = Vec::new();
        for (i, &size) in dims.iter().enumerate() {
            let steps = strides.map(|s| s[i]);
            match axes.last_mut() {
                _ if size == 1 => {}
                Some((outer, wide)) if (0..2).all(|k| wide[k] == steps[k] * size) => {
                    (*outer, *wide) = (*outer * size, steps);
                }
                _ => axes.push((size, steps)),
            }
        }
        if axes.is_empty() {
            axes.push((1, [1, 1]));
        }
        Self { axes }
    }

    /// Calls `run` for each innermost run, with the positions of its first elements, its length
    /// and its steps.
    pub fn each(&self, mut run: impl FnMut([usize; 2], usize, [usize; 2])) {
        let Some((&(length, steps), outer)) = self.axes.split_last() else {
            return;
        };
        if self.axes.iter().any(|(size, _)| *size == 0) {
            return;
        }
        let mut index = vec![0; outer.len()];
        let mut at = [0, 0];
        loop {
            run(at, length, steps);
            let mut axis = outer.len();
            loop {
                let Some(next) = axis.checked_sub(1) else {
                    return;
                };
                axis = next;
                let (size, wide) = outer[axis];
                index[axis] += 1;
                at = [at[0] + wide[0], at[1] + wide[1]];
                if index[axis] < size {
                    break;
                }
                index[axis] = 0;
                at = [at[0] - wide[0] * size, at[1] - wide[1] * size];
            }
        }
    }
}

/// The elements per index of each axis of an array in row-major order.
pub(crate) fn strides(dims: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; dims.len()];
    for i in (1..dims.len()).rev() {
        strides[i - 1] = strides[i] * dims[i];
    }
    strides
}

/// The same for an array that broadcasts to `wide`, where repeated axes have none.
pub(crate) fn spread(dims: &[usize], wide: &[usize]) -> Vec<usize> {
    let own = strides(dims).into_iter().zip(dims);
    let own = own.map(|(stride, &size)| if size == 1 { 0 } else { stride });
    let missing = std::iter::repeat_n(0, wide.len() - dims.len());
    missing.chain(own).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_visits_every_pair_of_elements_once_and_in_order() {
        for (dims, narrow) in [
            (&[2, 3, 4][..], &[2, 1, 1][..]),
            (&[2, 3, 4], &[4]),
            (&[2, 3, 4], &[3, 1]),
            (&[2, 3, 4], &[2, 3, 4]),
            (&[2, 3, 4], &[]),
            (&[1, 1], &[1]),
            (&[], &[]),
            (&[2, 0, 3], &[3]),
        ] {
            let wide = strides(dims);
            let steps = spread(narrow, dims);
            let mut found = Vec::new();
            Runs::new(dims, [&wide, &steps]).each(|at, length, step| {
                found.extend((0..length).map(|i| [0, 1].map(|k| at[k] + i * step[k])));
            });
            let count = dims.iter().product::<usize>();
            let expected = (0..count).map(|element| {
                let index = |i: usize| element / wide[i] % dims[i];
                [element, (0..dims.len()).map(|i| index(i) * steps[i]).sum()]
            });
            assert!(found.into_iter().eq(expected), "{narrow:?} in {dims:?}");
        }
    }
}
