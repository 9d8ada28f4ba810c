//! Unit vectors in one flat buffer, and the distances of one vector to all of them.
//!
//! A sum of floats depends on its order, and scores must not depend on the processor: every dot product is summed
//! in the same sixteen lanes, multiplied and then added (never fused), and the lanes folded in one fixed order.
//! The same code is compiled for each instruction set and picked at run time, so the answer is the same to the bit.

use std::fmt;

use pulp::{Arch, Simd, WithSimd};

/// Partial sums of a dot product. Two AVX2 registers, one AVX-512 register, four of NEON.
const LANES: usize = 16;
/// Rows in one pass: their sums are independent, which hides the latency of an addition.
const ROWS: usize = 4;

/// Vectors by slot.
pub(super) struct Vectors {
    arch: Arch,
    rows_max: usize,
    /// Blocks of `LANES` floats in a row; the last is padded with zeros.
    blocks: usize,
    flat: Vec<[f32; LANES]>,
    query: Vec<[f32; LANES]>,
    #[cfg(test)]
    scans: std::cell::Cell<u64>,
}

impl Vectors {
    /// No vectors yet, at most `rows_max` of them later.
    pub(super) fn new(rows_max: usize) -> Self {
        Self {
            arch: Arch::new(),
            rows_max,
            blocks: 0,
            flat: Vec::new(),
            query: Vec::new(),
            #[cfg(test)]
            scans: std::cell::Cell::default(),
        }
    }

    /// How often all rows were read.
    #[cfg(test)]
    pub(super) fn scans(&self) -> u64 {
        self.scans.get()
    }

    /// Memory held.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.flat.capacity() * size_of::<[f32; LANES]>()
    }

    /// Puts a vector at a slot: one already there, or the next. The first vector decides how long all are.
    pub(super) fn put(&mut self, slot: usize, vector: &[f32]) {
        if self.flat.is_empty() {
            self.blocks = vector.len().div_ceil(LANES).max(1);
        }
        let (start, end) = (slot * self.blocks, (slot + 1) * self.blocks);
        if end > self.flat.capacity() {
            // By half, not by doubling, and never beyond the last row.
            let rows = (slot + 1 + slot / 2).max(16).min(self.rows_max).max(slot + 1);
            self.flat.reserve_exact(rows * self.blocks - self.flat.len());
        }
        if end > self.flat.len() {
            self.flat.resize(end, [0.0; LANES]);
        }
        write(vector, &mut self.flat[start..end]);
    }

    /// Cosine distances (0 to 2, by slot) of a vector of unit length to every row.
    pub(super) fn distances(&mut self, vector: &[f32], distances: &mut Vec<f32>) {
        self.query.resize(self.blocks, [0.0; LANES]);
        write(vector, &mut self.query);
        self.scan(distances);
    }

    /// Cosine distances of the row at a slot to every row.
    pub(super) fn distances_of(&mut self, slot: usize, distances: &mut Vec<f32>) {
        self.query.clear();
        self.query.extend_from_slice(&self.flat[slot * self.blocks..(slot + 1) * self.blocks]);
        self.scan(distances);
    }

    fn scan(&self, distances: &mut Vec<f32>) {
        #[cfg(test)]
        self.scans.update(|scans| scans + 1);
        distances.clear();
        distances.resize(self.flat.len().checked_div(self.blocks).unwrap_or(0), 0.0);
        self.arch.dispatch(Scan { flat: &self.flat, query: &self.query, distances });
    }
}

impl fmt::Debug for Vectors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vectors").field("blocks", &self.blocks).finish_non_exhaustive()
    }
}

/// Copies a vector; what is missing is zero, what is too long is left out.
fn write(vector: &[f32], blocks: &mut [[f32; LANES]]) {
    let flat = blocks.as_flattened_mut();
    let length = vector.len().min(flat.len());
    flat[..length].copy_from_slice(&vector[..length]);
    flat[length..].fill(0.0);
}

struct Scan<'a> {
    flat: &'a [[f32; LANES]],
    query: &'a [[f32; LANES]],
    distances: &'a mut [f32],
}

impl WithSimd for Scan<'_> {
    type Output = ();

    #[expect(clippy::inline_always, reason = "the caller is what is compiled for an instruction set")]
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { flat, query, distances } = self;
        let blocks = query.len();
        if blocks == 0 {
            return;
        }
        let (passes, rest) = distances.as_chunks_mut::<ROWS>();
        let done = passes.len() * ROWS * blocks;
        for (distances, rows) in passes.iter_mut().zip(flat.chunks_exact(ROWS * blocks)) {
            *distances = distance(query, rows);
        }
        for (distances, row) in rest.iter_mut().zip(flat[done..].chunks_exact(blocks)) {
            [*distances] = distance(query, row);
        }
    }
}

/// Distances to `R` rows that lie one after the other.
#[expect(clippy::inline_always, reason = "compiled for an instruction set only inside `with_simd`")]
#[inline(always)]
fn distance<const R: usize>(query: &[[f32; LANES]], rows: &[[f32; LANES]]) -> [f32; R] {
    let blocks = query.len();
    let rows: [&[[f32; LANES]]; R] = std::array::from_fn(|row| &rows[row * blocks..(row + 1) * blocks]);
    let mut sums = [[0.0_f32; LANES]; R];
    for block in 0..blocks {
        for (sums, row) in sums.iter_mut().zip(rows) {
            for lane in 0..LANES {
                sums[lane] += query[block][lane] * row[block][lane];
            }
        }
    }
    sums.map(|sums| {
        let cosine = fold(sums);
        // A model that yields no number is as far away as can be.
        if cosine.is_finite() { (1.0 - cosine).clamp(0.0, 2.0) } else { 2.0 }
    })
}

/// The sum of the lanes: halves onto halves.
#[expect(clippy::inline_always, reason = "compiled for an instruction set only inside `with_simd`")]
#[inline(always)]
fn fold(lanes: [f32; LANES]) -> f32 {
    let eight: [f32; 8] = std::array::from_fn(|lane| lanes[lane] + lanes[lane + 8]);
    let four: [f32; 4] = std::array::from_fn(|lane| eight[lane] + eight[lane + 4]);
    (four[0] + four[2]) + (four[1] + four[3])
}
