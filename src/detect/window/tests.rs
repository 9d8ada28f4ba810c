//! The window held against a naive scan of all events.

use super::*;

/// What the window must equal: a list of events, and a scan of everything.
struct Naive {
    events_max: usize,
    rows_max: usize,
    neighbours: f64,
    /// Oldest first; an event whose text was evicted has no embedding left but still counts as an event.
    events: Vec<(Option<Embedding>, i64)>,
}

impl Naive {
    /// Distinct texts: embedding, count, last offset, in the order they were last seen.
    fn rows(&self) -> Vec<(Embedding, u32, i64)> {
        let mut rows: Vec<(Embedding, u32, i64)> = Vec::new();
        for (embedding, offset) in &self.events {
            let Some(embedding) = embedding else { continue };
            let at = rows.iter().position(|row| row.0.fingerprint == embedding.fingerprint);
            let count = at.map_or(0, |at| rows.remove(at).1);
            rows.push((embedding.clone(), count + 1, *offset));
        }
        rows
    }

    fn distance(&self, embedding: &Embedding) -> Option<f64> {
        let mut rows = self.rows();
        let key = |row: &Embedding| (row.fingerprint != embedding.fingerprint, row.fingerprint);
        rows.sort_by_key(|(row, ..)| key(row));
        rows.sort_by(|(a, ..), (b, ..)| cosine(a, embedding).total_cmp(&cosine(b, embedding)));
        let (mut left, mut sum) = (self.neighbours, 0.0);
        for (row, count, _) in rows {
            let distance = cosine(&row, embedding);
            let weight = (1.0 + f64::from(count).ln()).min(left);
            sum += weight * f64::from(distance);
            left -= weight;
        }
        (left < self.neighbours).then(|| sum / (self.neighbours - left))
    }

    fn learn(&mut self, embedding: &Embedding, offset: i64) {
        self.events.push((Some(embedding.clone()), offset));
        if self.events.len() > self.events_max {
            self.events.remove(0);
        }
        let rows = self.rows();
        if rows.len() > self.rows_max {
            let evicted = rows[0].0.fingerprint;
            for event in &mut self.events {
                event.0.take_if(|embedding| embedding.fingerprint == evicted);
            }
        }
    }
}

/// The same sum in the same order, written plainly.
fn cosine(a: &Embedding, b: &Embedding) -> f32 {
    if a.fingerprint == b.fingerprint {
        return 0.0;
    }
    let mut lanes = [0.0_f32; 16];
    for (at, (x, y)) in a.vector.iter().zip(b.vector.iter()).enumerate() {
        lanes[at % 16] += x * y;
    }
    for half in [8, 4, 2, 1] {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
    }
    (1.0 - lanes[0]).clamp(0.0, 2.0)
}

struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// Few directions, so that distances tie; number 0 is all zero.
fn embedding(number: u64, dimensions: usize) -> Embedding {
    let mut random = Random(number / 2 + 1);
    let mut vector: Vec<f32> = (0..dimensions).map(|_| random.below(7) as f32 - 3.0).collect();
    let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    let scale = if number == 0 || length == 0.0 { 0.0 } else { 1.0 / length };
    for x in &mut vector {
        *x *= scale;
    }
    Embedding {
        fingerprint: number.wrapping_mul(0x9E37_79B9_97F4_A7C1),
        vector: vector.into(),
        meaning: None,
    }
}

#[test]
fn equals_a_scan_of_everything_on_every_schedule() {
    for seed in 0..60 {
        let mut random = Random(seed);
        let (events_max, rows_max) = (1 + random.below(120) as usize, 1 + random.below(50) as usize);
        let neighbours = 1.0 + random.below(16) as f64 * 0.75;
        let (texts, dimensions) = (1 + random.below(140), 1 + random.below(40) as usize);
        let mut window = Window::new(events_max, rows_max, neighbours);
        let mut naive = Naive { events_max, rows_max, neighbours, events: Vec::new() };
        for (offset, drift) in (0..500_i64).zip((0..).map(|step: u64| step / 100 * 20)) {
            // Texts drift, come back, and sometimes repeat in a row.
            let number = (random.below(texts) * random.below(3) / 2 + drift) % (texts + 20);
            let asked = embedding(number, dimensions);
            assert_eq!(window.distance(&asked), naive.distance(&asked), "seed {seed} offset {offset}");
            if random.below(5) > 0 {
                window.learn(&asked, &Arc::from(number.to_string()), offset);
                naive.learn(&asked, offset);
            }
            assert_eq!(window.rows(), naive.rows().len());
            assert!(window.events.len() <= events_max);
            assert!(window.nearest.iter().all(|list| list.entries().len() <= window.list_max));
        }
    }
}

#[test]
fn a_million_events_of_twenty_texts_are_twenty_rows() {
    let mut window = Window::new(1_000_000, 2_000, 20.0);
    let texts: Vec<(Embedding, Arc<str>)> =
        (0..20).map(|number| (embedding(number * 2 + 1, 48), Arc::from(number.to_string()))).collect();
    for (offset, (embedding, text)) in (0..1_000_100).zip(texts.iter().cycle()) {
        window.learn(embedding, text, offset);
    }
    assert_eq!((window.rows(), window.rows.len(), window.events.len()), (20, 20, 1_000_000));
    assert!(window.vectors.bytes() < 20 * 2 * 48 * 4);
    window.distance(&texts[3].0);
    let own = window.nearest(1).next().map(|near| (near.text.to_string(), near.count, near.offset));
    assert_eq!(own, Some(("3".to_owned(), 50_000, 1_000_083)));
}

#[test]
fn a_text_in_the_window_is_not_scanned_for() {
    let mut window = Window::new(10_000, 200, 5.0);
    for number in 0..150 {
        window.learn(&embedding(number * 2, 32), &Arc::from(""), 0);
    }
    let scans = window.vectors.scans();
    for number in 0..150 {
        let known = embedding(number * 2, 32);
        window.distance(&known);
        window.learn(&known, &Arc::from(""), 1);
    }
    assert_eq!(window.vectors.scans(), scans);
    // One that is not costs one scan for scoring and learning together, however often it is asked.
    let unseen = embedding(999, 32);
    window.distance(&unseen);
    window.distance(&unseen);
    window.learn(&unseen, &Arc::from(""), 2);
    assert_eq!(window.vectors.scans(), scans + 1);
}

#[test]
fn the_text_longest_unseen_goes_first() {
    let mut window = Window::new(100, 2, 1.0);
    let [a, b, c] = [2, 4, 6].map(|number| embedding(number, 16));
    for (offset, text) in (0..).zip([&a, &b, &a, &c]) {
        window.learn(text, &Arc::from(""), offset);
    }
    assert_eq!(window.distance(&a), Some(0.0));
    assert!(window.distance(&b) > Some(0.0));
    let offsets: Vec<i64> = window.nearest(3).map(|near| near.offset).collect();
    assert_eq!(offsets.len(), 2);
}

#[test]
fn a_vector_that_is_no_vector_is_far_away_and_harmless() {
    let mut window = Window::new(10, 10, 2.0);
    assert_eq!(window.distance(&embedding(1, 16)), None);
    assert_eq!(window.nearest(3).count(), 0);
    let broken = [vec![f32::NAN; 16], vec![f32::INFINITY; 99], Vec::new()];
    for (number, vector) in broken.into_iter().enumerate() {
        let broken = Embedding { fingerprint: number as u64 + 1_000, vector: vector.into(), meaning: None };
        for _ in 0..2 {
            assert!(window.distance(&broken).is_none_or(|distance| (0.0..=2.0).contains(&distance)));
            window.learn(&broken, &Arc::from(""), 0);
        }
    }
    assert!(window.distance(&embedding(1, 16)).is_some_and(f64::is_finite));
}
