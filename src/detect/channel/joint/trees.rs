//! A forest of half-space trees, each over two fields, and the mass of the cells an event falls in.
//!
//! Half-space trees (Tan, Ting & Liu, "Fast anomaly detection for streaming data", IJCAI 2011) cut space at random
//! once and for all and count what falls where. Here each tree sees two fields, or now and then one, and
//! the pairs are balanced: the fields and an empty place are shuffled and paired off until there are enough trees, so
//! that every field stands in equally many. Trees over all fields at once spread the same events so thin that the
//! result depends on the seed; without the empty place two fields are only ever seen together, and what is rare in
//! one is cut up by the other (card payments: average precision .68 without, .85 with it; connections .62, .65).
//!
//! A node tests one of the tree's two fields: a number against a place within 20 to 80 % of the node's range, a
//! category by one bit of a multiplicative hash (Dietzfelbinger et al., "A reliable randomized algorithm for the
//! closest-pair problem", J. Algorithms 1997). Masses decay exponentially: rather than all masses fall, an event's
//! weight grows, and all are scaled down once in a long while, by a power of two.
//!
//! A tree's score, in nats, is the sum of two. *Stop*: -ln(share x 2^depth) at the first node that holds less than a
//! fiftieth of the whole. *Mixture*: -ln p, p from the leaf up by p <- 1/2 + 1/2 x 2 (b + 1/2) / (a + 1) x p, with
//! a and b the masses of a node and of the child the event falls in: the weighting over all depths of Willems, Shtarkov
//! & Tjalkens ("The context-tree weighting method", IEEE Trans. Inf. Theory 1995). The forest's score is the mean.
//!
//! Eight trees are walked side by side, because a walk waits for memory at every step; logarithms are taken of
//! products. An event costs the same whatever came before. Must never give NaN or infinity.

use pulp::Arch;

use crate::detect::lru;

/// What a field's places mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Places are in order.
    Number,
    /// Places are hashes.
    Category,
}

/// Trees of depth [`DEPTH`], their masses, and the path of the event last scored.
#[derive(Debug)]
pub(super) struct Forest {
    /// Picks the instruction set; each gives the same bits.
    arch: Arch,
    trees: Vec<Tree>,
    pairs: Vec<[u16; 2]>,
    paths: Vec<Path>,
    /// Mass of all events.
    total: f64,
    /// What an event weighs now.
    weight: f64,
    /// Doublings of the weight an event, and the factor that makes.
    rate: f64,
    growth: f64,
}

impl Forest {
    /// Trees over fields of those kinds, at least one, that have seen nothing. Masses fall by half in
    /// `half_life` events, at least one.
    pub(super) fn new(kinds: &[Kind], half_life: f64, seed: u64) -> Self {
        let mut dice = Dice(seed);
        let pairs = pairs(kinds.len(), &mut dice);
        let trees = pairs
            .iter()
            .map(|pair| tree(pair.map(|at| kinds[usize::from(at)]), pair[0] == pair[1], &mut dice));
        Self {
            arch: Arch::new(),
            trees: trees.collect(),
            pairs,
            paths: vec![[[0; LANES]; DEPTH]; TREES / LANES],
            total: 0.0,
            weight: 1.0,
            rate: half_life.max(1.0).recip(),
            growth: half_life.max(1.0).recip().exp2(),
        }
    }

    /// The score of an event with those places, one a field; remembers its path for [`Self::learn`].
    pub(super) fn score(&mut self, places: &[u32]) -> f64 {
        self.arch.dispatch(|| {
            // Two products a lane: 13 factors, each between 2^-20 and 2^10.
            let (mut stops, mut mixtures) = ([1.0_f64; LANES], [1.0_f64; LANES]);
            for group in 0..self.paths.len() {
                let (masses, path) = self.walk(group, places);
                self.paths[group] = path;
                let (stop, mixture) = shares(&masses, self.whole());
                for lane in 0..LANES {
                    stops[lane] *= f64::from(stop[lane]);
                    mixtures[lane] *= f64::from(mixture[lane]);
                }
            }
            let nats: f64 = stops.iter().zip(&mixtures).map(|(stop, mixture)| -(stop * mixture).ln()).sum();
            nats / TREES as f64
        })
    }

    /// Takes in the event last scored.
    pub(super) fn learn(&mut self) {
        let weight = self.weight as f32;
        for (trees, path) in self.trees.chunks_exact_mut(LANES).zip(&self.paths) {
            for (depth, step) in path.iter().enumerate() {
                for (tree, child) in trees.iter_mut().zip(step) {
                    tree.node_mut(depth, child >> 1).masses[usize::from(child & 1)] += weight;
                }
            }
        }
        self.total += self.weight;
        self.pass(1);
    }

    /// So many events pass: what was learned fades.
    pub(super) fn pass(&mut self, events: u64) {
        let doublings = events as f64 * self.rate;
        // An exponent that no weight survives would overflow.
        if doublings > FORGOTTEN {
            self.trees.iter_mut().flat_map(Tree::nodes).for_each(|node| node.masses = [0.0; 2]);
            (self.total, self.weight) = (0.0, 1.0);
            return;
        }
        self.weight *= if events == 1 { self.growth } else { doublings.exp2() };
        while self.weight > HEAVY {
            self.lighten();
        }
    }

    /// Each tree's pair of fields and score.
    pub(super) fn scores(&self, places: &[u32]) -> Vec<([u16; 2], f64)> {
        let groups = 0..self.paths.len();
        let scores = groups.flat_map(|group| {
            let (stop, mixture) = shares(&self.walk(group, places).0, self.whole());
            stop.into_iter().zip(mixture).map(|(stop, mixture)| -f64::from(stop * mixture).ln())
        });
        self.pairs.iter().copied().zip(scores).collect()
    }

    /// Mass of all events, one now weighing 1.
    fn whole(&self) -> Whole {
        Whole { total: (self.total / self.weight) as f32, unit: self.weight.recip() as f32 }
    }

    /// The masses, not yet by weight, and the children that an event passes in eight trees.
    #[expect(clippy::inline_always, reason = "the caller is what is compiled for an instruction set")]
    #[inline(always)]
    fn walk(&self, group: usize, places: &[u32]) -> (Masses, Path) {
        let (mut masses, mut path) = ([[0.0; LANES]; DEPTH], [[0; LANES]; DEPTH]);
        let trees: &[Tree; LANES] =
            self.trees[group * LANES..].first_chunk().unwrap_or_else(|| unreachable!("whole groups"));
        let mut seen = [[0; 2]; LANES];
        for (seen, pair) in seen.iter_mut().zip(&self.pairs[group * LANES..]) {
            *seen = pair.map(|at| places[usize::from(at)]);
        }
        let mut at = [1_u16; LANES];
        for depth in 0..DEPTH {
            for lane in 0..LANES {
                let node = trees[lane].node(depth, at[lane]);
                let place = seen[lane][(node.word & 1) as usize];
                let right = place.wrapping_mul(node.word | 1) > node.cut;
                masses[depth][lane] = node.masses[usize::from(right)];
                at[lane] = 2 * at[lane] + u16::from(right);
                path[depth][lane] = at[lane];
            }
        }
        (masses, path)
    }

    fn lighten(&mut self) {
        for node in self.trees.iter_mut().flat_map(Tree::nodes) {
            // What is next to nothing becomes nothing: subnormal numbers are slow.
            node.masses = node.masses.map(|mass| if mass < 1.0 { 0.0 } else { mass * LIGHTER });
        }
        self.total *= f64::from(LIGHTER);
        self.weight *= f64::from(LIGHTER);
    }
}

/// Trees walked side by side.
const LANES: usize = 8;
/// Trees: a hundred, in whole groups.
const TREES: usize = 13 * LANES;
/// Tests from root to leaf.
pub(super) const DEPTH: usize = 10;
/// Inner nodes of a tree, and number 0, which does not exist.
const NODES: usize = 1 << DEPTH;
/// Blocks of three nodes.
const BLOCKS: usize = NODES / 3;
/// A node with less than this share of the whole is where a walk stops.
const STOP: f32 = 0.02;
/// A node with less than so many events is too, in a young forest.
const STOP_EVENTS: f32 = 10.0;
/// Halvings after which a mass is nothing.
const FORGOTTEN: f64 = 100.0;
/// The weight of an event at which all masses are scaled down, and by what: powers of two lose no bit.
const HEAVY: f64 = (1_u64 << 60) as f64;
const LIGHTER: f32 = 1.0 / (1_u64 << 60) as f32;

/// An inner node.
#[derive(Clone, Copy, Debug, Default)]
struct Node {
    /// Bit 0: which of the tree's two fields. With bit 0 set, what a place is multiplied by: 1 for a number.
    word: u32,
    /// Products above go right.
    cut: u32,
    /// Of the left and of the right child.
    masses: [f32; 2],
}

/// A node and its two children, whichever of them an event passes: two tests for one line of the processor's cache.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct Block([Node; 3]);

/// Its nodes by number: the root is 1, the children of `at` are 2 `at` and 2 `at` + 1. A walk reads five lines of memory
/// rather than nine, and since a tree is an odd number of lines long, the roots of all do not contend for one place.
#[derive(Clone, Debug)]
struct Tree([Block; BLOCKS]);

impl Tree {
    /// Block and place in it of a node of that depth.
    #[inline]
    fn place(depth: usize, at: u16) -> (usize, usize) {
        let odd = depth % 2;
        let top = usize::from(at) >> odd;
        // So many blocks lie above: 1 + 4 + 16 + ...; the first of this depth has the number 4^(depth / 2).
        let first = 1 << (depth - odd);
        let place = if odd == 0 { 0 } else { 1 + usize::from(at % 2) };
        ((first - 1) / 3 + top - first, place)
    }

    #[inline]
    fn node(&self, depth: usize, at: u16) -> &Node {
        let (block, place) = Self::place(depth, at);
        &self.0[block].0[place]
    }

    #[inline]
    fn node_mut(&mut self, depth: usize, at: u16) -> &mut Node {
        let (block, place) = Self::place(depth, at);
        &mut self.0[block].0[place]
    }

    fn nodes(&mut self) -> impl Iterator<Item = &mut Node> {
        self.0.iter_mut().flat_map(|block| &mut block.0)
    }
}

/// By depth and tree: the mass of the child; the number of the child, 2 to 2 [`NODES`] - 1.
type Masses = [[f32; LANES]; DEPTH];
type Path = [[u16; LANES]; DEPTH];

/// The mass of all events, and by what a mass is multiplied so that an event now weighs 1.
#[derive(Clone, Copy, Debug)]
struct Whole {
    total: f32,
    unit: f32,
}

/// Of eight trees, the stop node's share x 2^depth, and p of the mixture.
#[expect(clippy::inline_always, reason = "the caller is what is compiled for an instruction set")]
#[inline(always)]
fn shares(masses: &Masses, whole: Whole) -> ([f32; LANES], [f32; LANES]) {
    let limit = (STOP * whole.total).max(STOP_EVENTS);
    let (mut stop, mut volume, mut open) = ([whole.total; LANES], [1.0_f32; LANES], [1.0_f32; LANES]);
    let mut above = [whole.total; LANES];
    let mut ratios = [[0.0; LANES]; DEPTH];
    for (ratios, masses) in ratios.iter_mut().zip(masses) {
        for lane in 0..LANES {
            let mass = masses[lane] * whole.unit;
            ratios[lane] = (mass + 0.5) / (above[lane] + 1.0);
            let goes_on = above[lane] >= limit && open[lane] > 0.0;
            open[lane] = if goes_on { 1.0 } else { 0.0 };
            stop[lane] = if goes_on { mass } else { stop[lane] };
            volume[lane] *= if goes_on { 2.0 } else { 1.0 };
            above[lane] = mass;
        }
    }
    let mut mixture = [1.0_f32; LANES];
    for ratios in ratios.iter().rev() {
        for lane in 0..LANES {
            mixture[lane] = 0.5 + ratios[lane] * mixture[lane];
        }
    }
    let all = whole.total.max(1.0);
    for lane in 0..LANES {
        stop[lane] = stop[lane].max(0.5) / all * volume[lane];
    }
    (stop, mixture)
}

/// For each tree its fields, two or the same one twice: all and an empty place are shuffled and paired off until there
/// are enough, so that every field stands in equally many trees, and as often alone as with any other.
fn pairs(fields: usize, dice: &mut Dice) -> Vec<[u16; 2]> {
    let empty = fields as u16;
    let mut pairs = Vec::with_capacity(TREES + fields);
    let mut order: Vec<u16> = (0..=empty).collect();
    while pairs.len() < TREES {
        for at in (1..order.len()).rev() {
            order.swap(at, dice.below(at + 1));
        }
        pairs.extend(order.chunks_exact(2).map(|pair| [pair[0], pair[1]]));
        if let &[last] = order.chunks_exact(2).remainder() {
            // An odd one out stands with any other.
            pairs.push([last, order[dice.below(order.len() - 1)]]);
        }
    }
    pairs.truncate(TREES);
    let alone = |pair: [u16; 2]| pair.map(|at| if at == empty { pair[0].min(pair[1]) } else { at });
    pairs.into_iter().map(alone).collect()
}

/// A tree's cuts. Its two fields may be the same one: then they share a range.
#[expect(clippy::large_stack_arrays, reason = "22 kB, moved to its place among all trees")]
fn tree(kinds: [Kind; 2], same: bool, dice: &mut Dice) -> Tree {
    let mut tree = Tree([Block::default(); BLOCKS]);
    let mut ranges = vec![[(0.0, 1.0); 2]; 2 * NODES];
    for at in 1..NODES {
        let which = if same { 0 } else { dice.below(2) };
        let word = which as u32;
        let range = ranges[at];
        (ranges[2 * at], ranges[2 * at + 1]) = (range, range);
        *tree.node_mut(at.ilog2() as usize, at as u16) = match kinds[which] {
            Kind::Category => {
                Node { word: (dice.roll() as u32 & !1) | word, cut: u32::MAX / 2, masses: [0.0; 2] }
            }
            Kind::Number => {
                let (low, high) = range[which];
                let cut = low + (high - low) * (0.2 + 0.6 * dice.share());
                ranges[2 * at][which] = (low, cut);
                ranges[2 * at + 1][which] = (cut, high);
                #[expect(clippy::cast_sign_loss, reason = "within [0, 1]")]
                let place = (cut * f64::from(u32::MAX)) as u32;
                Node { word, cut: place, masses: [0.0; 2] }
            }
        };
    }
    tree
}

/// A seeded generator.
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        lru::hash_pair(self.0, 1)
    }

    fn share(&mut self) -> f64 {
        (self.roll() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Below `count`, which is not 0.
    fn below(&mut self, count: usize) -> usize {
        (self.roll() >> 33) as usize % count
    }
}

#[cfg(test)]
mod tests;
