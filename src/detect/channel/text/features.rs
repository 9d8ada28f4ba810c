//! A text's features: its distinct n-grams of 2, 4 and 6 characters and its distinct words, as slots of hashed
//! tables.
//!
//! Text is lower-cased, with a mark at its start and its end. Each feature has a masked form (digits read as 0);
//! features that hold a digit have a raw form too. Work and memory are linear in the text. Features must be a
//! function of the text alone, or a remembered text would score otherwise than a new one.

/// Slots of a table, as a power of two.
pub(super) const TABLE_BITS: u32 = 17;
/// 2-grams, 4-grams, 6-grams, words.
pub(super) const CLASSES: usize = 4;
/// The class of words.
pub(super) const WORDS: usize = 3;
/// The class of 4-grams.
pub(super) const FOURS: usize = 1;

const START: u32 = 2;
const END: u32 = 3;
const BASE: u64 = 0x5851_F42D_4C95_7F2D;
const BASE_2: u64 = BASE.wrapping_mul(BASE);

/// One feature of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Feature {
    /// Whether it holds a digit; `raw` is 0 where it does not.
    pub(super) digits: bool,
    /// Slot of the masked form.
    pub(super) masked: u32,
    /// Slot of the raw form.
    pub(super) raw: u32,
}

/// Of a packed feature: it holds a digit.
const DIGITS: u64 = 1 << 63;

impl Feature {
    /// In one word, in the order of its parts: sorting words is most of what a new text costs.
    fn packed(self) -> u64 {
        (if self.digits { DIGITS } else { 0 }) | u64::from(self.masked) << 32 | u64::from(self.raw)
    }
}

/// The distinct features of a text.
#[derive(Debug, Default)]
pub(super) struct Features {
    /// Characters, the two marks included.
    pub(super) length: usize,
    /// For each class its plain features as masked slots, rising, then those with digits as (masked, raw), rising.
    slots: Box<[u32]>,
    /// Where plain features and pairs of each class end.
    ends: [(usize, usize); CLASSES],
}

impl Features {
    /// Plain features of a class: masked slots.
    pub(super) fn plain(&self, class: usize) -> &[u32] {
        let start = if class == 0 { 0 } else { self.ends[class - 1].1 };
        &self.slots[start..self.ends[class].0]
    }

    /// Features of a class that hold a digit: masked and raw slot.
    pub(super) fn digits(&self, class: usize) -> &[[u32; 2]] {
        let (start, end) = self.ends[class];
        self.slots[start..end].as_chunks().0
    }

    /// Slots held.
    pub(super) fn size(&self) -> usize {
        self.slots.len()
    }
}

/// Takes texts apart; holds the memory for it.
#[derive(Debug, Default)]
pub(super) struct Extractor {
    /// Characters, raw and masked.
    characters: Vec<[u32; 2]>,
    /// Hashes of the pairs and of the fours that start at each character, raw and masked.
    pairs: Vec<[u64; 2]>,
    fours: Vec<[u64; 2]>,
    /// 1 + the place of the last digit up to each character.
    digits: Vec<usize>,
    /// Packed features.
    found: Vec<u64>,
    slots: Vec<u32>,
}

impl Extractor {
    /// The distinct features of a text.
    pub(super) fn features(&mut self, text: &str) -> Features {
        self.read(text);
        let (mut found, mut slots) = (std::mem::take(&mut self.found), std::mem::take(&mut self.slots));
        slots.clear();
        let mut ends = [(0, 0); CLASSES];
        for (class, ends) in ends.iter_mut().enumerate() {
            found.clear();
            self.each(class, |_, feature| found.push(feature.packed()));
            found.sort_unstable();
            found.dedup();
            let plain = found.partition_point(|packed| packed & DIGITS == 0);
            slots.extend(found[..plain].iter().map(|packed| (packed >> 32) as u32));
            ends.0 = slots.len();
            slots.extend(
                found[plain..]
                    .iter()
                    .flat_map(|packed| [(packed & !DIGITS) >> 32, *packed].map(|slot| slot as u32)),
            );
            ends.1 = slots.len();
        }
        let features = Features { length: self.characters.len(), slots: slots.as_slice().into(), ends };
        (self.found, self.slots) = (found, slots);
        features
    }

    /// Reads a text; `each` then speaks of it.
    pub(super) fn read(&mut self, text: &str) {
        self.characters.clear();
        self.characters.push([START; 2]);
        if text.is_ascii() {
            let lower = text.bytes().map(|byte| char::from(byte.to_ascii_lowercase()));
            self.characters.extend(lower.map(|c| [c as u32, mask(c)]));
        } else {
            self.characters.extend(lowered(text).map(|(_, c)| [c as u32, mask(c)]));
        }
        self.characters.push([END; 2]);
        self.digits.clear();
        let mut last = 0;
        for (at, &[raw, _]) in self.characters.iter().enumerate() {
            if is_digit(raw) {
                last = at + 1;
            }
            self.digits.push(last);
        }
        let pair = |(a, b): (&[u32; 2], &[u32; 2])| {
            [0, 1].map(|form: usize| u64::from(a[form]).wrapping_mul(BASE).wrapping_add(u64::from(b[form])))
        };
        self.pairs.clear();
        self.pairs.extend(self.characters.iter().zip(self.characters.iter().skip(1)).map(pair));
        self.fours.clear();
        self.fours.extend(
            self.pairs.iter().zip(self.pairs.iter().skip(2)).map(|(&first, &last)| join(first, last)),
        );
    }

    /// Every feature of a class in the text last read, with the characters it spans (the start mark is character
    /// 0), in the order of the text.
    pub(super) fn each(&self, class: usize, mut seen: impl FnMut(std::ops::Range<usize>, Feature)) {
        let mut gram = |at: usize, length: usize, hashes: [u64; 2]| {
            let digits = self.digits[at + length - 1] > at;
            seen(at..at + length, feature(class, hashes, digits));
        };
        match class {
            0 => self.pairs.iter().enumerate().for_each(|(at, &hashes)| gram(at, 2, hashes)),
            FOURS => self.fours.iter().enumerate().for_each(|(at, &hashes)| gram(at, 4, hashes)),
            2 => {
                let ends = self.pairs.iter().skip(4);
                let sixes = self.fours.iter().zip(ends).map(|(&first, &last)| join(first, last));
                sixes.enumerate().for_each(|(at, hashes)| gram(at, 6, hashes));
            }
            _ => self.each_word(gram),
        }
    }

    fn each_word(&self, mut word: impl FnMut(usize, usize, [u64; 2])) {
        let (mut length, mut hashes) = (0, [0_u64; 2]);
        // The end mark is no part of a word, so the last word ends too.
        for (at, &forms) in self.characters.iter().enumerate() {
            if char::from_u32(forms[0]).is_some_and(char::is_alphanumeric) {
                hashes = [0, 1]
                    .map(|form: usize| hashes[form].wrapping_mul(BASE).wrapping_add(u64::from(forms[form])));
                length += 1;
            } else if length > 0 {
                word(at - length, length, hashes);
                (length, hashes) = (0, [0; 2]);
            }
        }
    }
}

/// The characters of a text in lower case, each with the byte where its original starts.
pub(super) fn lowered(text: &str) -> impl Iterator<Item = (usize, char)> + '_ {
    text.char_indices().flat_map(|(at, c)| c.to_lowercase().map(move |lower| (at, lower)))
}

fn is_digit(character: u32) -> bool {
    (u32::from(b'0')..=u32::from(b'9')).contains(&character)
}

fn mask(c: char) -> u32 {
    if c.is_ascii_digit() { u32::from(b'0') } else { c as u32 }
}

/// The hash of a string whose last two characters have the hash `last`.
fn join(first: [u64; 2], last: [u64; 2]) -> [u64; 2] {
    [0, 1].map(|form: usize| first[form].wrapping_mul(BASE_2).wrapping_add(last[form]))
}

fn feature(class: usize, [raw, masked]: [u64; 2], digits: bool) -> Feature {
    Feature { digits, masked: slot(class, masked), raw: if digits { slot(class, raw) } else { 0 } }
}

/// The finaliser of `SplitMix64` (Steele, Lea & Flood, OOPSLA 2014).
fn slot(class: usize, hash: u64) -> u32 {
    let mut z = hash.wrapping_add((class as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) >> (64 - TABLE_BITS)) as u32
}
