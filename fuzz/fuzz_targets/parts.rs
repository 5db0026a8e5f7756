//! Inputs of several parts, so that they can be read and written by hand: a line that is `--` stands between each and the next.

const BETWEEN: &[u8] = b"\n--\n";

/// The parts of an input. What is missing is empty; the last has all that follows.
pub fn parts<const N: usize>(bytes: &[u8]) -> [&[u8]; N] {
    let mut rest = bytes;
    std::array::from_fn(|part| {
        let end = rest.windows(BETWEEN.len()).position(|window| window == BETWEEN);
        let Some(end) = end.filter(|_| part + 1 < N) else { return std::mem::take(&mut rest) };
        let (first, after) = rest.split_at(end);
        rest = &after[BETWEEN.len()..];
        first
    })
}
