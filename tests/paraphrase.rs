//! A stream whose anomalies are strange by what they say and by nothing else: messages to a shop's support, each worded
//! anew, and among them, one in a hundred, messages that are about something else altogether.
//!
//! Letters must not give an anomaly away. So every message brings words never seen, few or many: names of people, firms
//! and streets made of syllables, and slips of the keyboard; goods come from a long list; and one grammar words all, with
//! the same greetings, turns and farewells. Only the three parts of a sentence's core, each in several wordings, belong to
//! a topic. Seeded: the same seed, the same stream.

/// Topics of a shop's support: what is spoken of, what became of it, and what about it. Wordings are parted by `|`.
const NORMAL: [[&str; 3]; 24] = [
    [
        "my parcel|the package|our delivery|the shipment",
        "has still not arrived|is nowhere to be seen|should have been here by now|seems to be lost on its way",
        "since last week|although the tracking says otherwise|and the courier knows nothing|after ten days of waiting",
    ],
    [
        "the money|my refund|the amount you owe me|what i paid",
        "was never returned|has not come back to my card|is still missing|did not reach my account",
        "for the goods i sent back|after you promised it|despite three reminders|though the return was accepted",
    ],
    [
        "my password|the login|my account|signing in",
        "does not work any more|was locked|keeps failing|gets refused",
        "since the update|whatever i type|on the website|and the reset link is dead",
    ],
    [
        "the invoice|your bill|the receipt|the statement",
        "shows the wrong sum|lists things i never bought|lacks the tax number|carries a wrong date",
        "so my accountant rejects it|please correct it|send a new one|for the order of this month",
    ],
    [
        "the lamp|the chair i ordered|a vase|the glass table",
        "came broken|was damaged|arrived in pieces|had a crack",
        "when i opened the box|in spite of the padding|and is of no use|so i want another",
    ],
    [
        "the jacket|these trousers|the shoes|the shirt",
        "do not fit|turned out too small|is far too wide|runs short",
        "and i need another size|can i exchange it|please swap it|though i measured twice",
    ],
    [
        "my address|our flat|the place to deliver to|where i live",
        "has changed|is not right in your files|should be updated|must be corrected",
        "before you ship|because we moved|for the next order|as we live elsewhere now",
    ],
    [
        "my subscription|the membership|the monthly plan|the contract",
        "should end|shall be cancelled|must stop|is no longer wanted",
        "at the end of the month|without further charges|please confirm|as we agreed by phone",
    ],
    [
        "your app|the mobile program|the site|the checkout page",
        "crashes|freezes|shows a white screen|closes at once",
        "when i open the basket|on my phone|after the latest version|before i can pay",
    ],
    [
        "the voucher|my discount code|the coupon|the gift card",
        "is not accepted|was refused|does nothing|counts as expired",
        "at the till|though it is valid|in the basket|for this order",
    ],
    [
        "my card|the payment|the bank transfer|the direct debit",
        "was charged twice|failed|has been declined|went through two times",
        "for one purchase|without a reason|yesterday evening|and nobody told me why",
    ],
    [
        "a different article|the wrong colour|something else|another model",
        "was in the box|came instead|was packed|has been delivered",
        "than what i ordered|please collect it|by mistake|and i want the right one",
    ],
    [
        "the washing machine|our dishwasher|the fridge|the oven",
        "makes a strange noise|stopped working|does not switch on|leaks",
        "within the warranty|after two months|send a technician|since it was installed",
    ],
    [
        "the sofa|that bicycle|the blue kettle|the desk",
        "is sold out|cannot be ordered|is not in stock|has vanished from the shop",
        "when will it be back|please reserve one|in every branch|tell me once you have it",
    ],
    [
        "the manual|instructions for assembly|the drawing|a parts list",
        "is missing|was not enclosed|exists only in chinese|cannot be read",
        "so i cannot build it|could you mail it|for the shelf|where do i find it",
    ],
    [
        "your driver|the delivery man|the carrier|the postman",
        "was rude|left the box in the rain|did not ring|threw it over the fence",
        "and drove off|although i was at home|which is not acceptable|for the second time",
    ],
    [
        "your newsletter|so much advertising|the promotional mail|text messages from you",
        "keeps coming|fills my inbox|does not stop|arrives daily",
        "though i unsubscribed|take me off the list|delete my data|i never asked for it",
    ],
    [
        "the hotline|your support|the service desk|an agent",
        "never answers|let me wait for an hour|hung up|promised to call back",
        "and nothing happened|on three days|what a waste of time|about my complaint",
    ],
    [
        "a screw|the remote control|one shelf board|the power cable",
        "was missing|is not in the box|had been forgotten|lacks",
        "so i cannot use it|send it please|from the set|and the shop has none",
    ],
    [
        "my order|the purchase|what i bought|the booking",
        "should be cancelled|was placed by accident|needs to be changed|shall not be sent",
        "before it leaves|if that is possible|as i chose the wrong one|straight away please",
    ],
    [
        "the quality|the fabric|the colour|the workmanship",
        "is poor|does not match the picture|is a disappointment|faded",
        "for such a price|after one wash|and i want my money|unlike what you advertise",
    ],
    [
        "a bulk order|twenty pieces|an offer for our company|the wholesale price",
        "would interest us|is what we ask for|could be arranged|is needed",
        "with a discount|by friday|for the office|on account",
    ],
    [
        "the loyalty points|my bonus|the cashback|my rewards",
        "are not credited|disappeared|were deducted|do not show",
        "after the purchase|in my account|for last month|as the rules say",
    ],
    [
        "the pick up|collecting the order|the store in town|your branch",
        "was closed|had nothing for me|turned me away|could not find it",
        "although i got the mail|during opening hours|without my number|and i drove an hour",
    ],
];

/// Topics that nobody writes to a shop about.
const STRANGE: [[&str; 3]; 6] = [
    [
        "my daughter|the patient|my old father|the baby",
        "has a high fever|coughs all night|suffers from a rash|complains of chest pain",
        "and breathes heavily|since the vaccination|does the doctor have time|should we go to hospital",
    ],
    [
        "the ridge|our climb|the glacier|the trail to the hut",
        "was covered in fog|took nine hours|is icy|lies under deep snow",
        "below the summit|so we turned around|at dawn|with crampons and rope",
    ],
    [
        "the comet|jupiter|the eclipse|that galaxy",
        "was visible|rose above the horizon|shone faintly|could be photographed",
        "through my telescope|shortly before midnight|near the milky way|with its four moons",
    ],
    [
        "the goalkeeper|our striker|the home side|the referee",
        "saved a penalty|scored late|lost the derby|missed the header",
        "in stoppage time|before a full stadium|and went down a league|after a red card",
    ],
    [
        "the violin|her soprano|the orchestra|the second movement",
        "sounded out of tune|moved me to tears|began too fast|was played softly",
        "at the rehearsal|under the new conductor|in the cathedral|as mozart wrote it",
    ],
    [
        "the parliament|the minister|the opposition|a coalition",
        "voted against the law|resigned|called for elections|won the debate",
        "over the pension reform|by a narrow majority|in the capital|amid protests",
    ],
];

/// What a shop may sell; people who write of other things have things too.
const THINGS: &str = "ladder|kettle|tent|scooter|mattress|drill|blanket|rucksack|toaster|violin case|garden hose|mirror|\
                      skateboard|teapot|carpet|printer|headphones|aquarium|bookshelf|hammock|telescope|pram|saucepan|\
                      umbrella|doorbell|lawnmower|keyboard|thermos|curtain|sewing machine|wardrobe|football|vacuum cleaner|\
                      wheelbarrow|radiator|picnic basket|snow shovel|chess set|hairdryer|rain barrel|suitcase|bird feeder|\
                      trampoline|microphone|pillow|barometer|coffee grinder|watering can|bathrobe|stroller|medicine cabinet";
const KINDS: &str = "oak|steel|striped|folding|velvet|second hand|green|ceramic|electric|cheap|woollen|heavy|tiny|bamboo|\
                     yellow|leather|rusty|copper|plain|painted|enormous|italian|foldable|old|glossy|walnut|linen|spare";
const GREETINGS: &str =
    "hello|hi there|good morning|dear team|to whom it may concern|hey|good evening|greetings";
const TURNS: &str = "i write because|you should know that|i must tell you that|it seems that|to put it shortly|as it is|\
                     i am sorry to say that|just so you know|frankly|let me say that|the matter is that|believe it or not";
const FAREWELLS: &str =
    "thanks|kind regards|yours|please reply soon|best wishes|hoping for an answer|with regards|bye";
const PLACES: &str = "street|lane|road|square|hill|court|gardens|alley";
const ONSETS: &str = "b|br|d|dr|f|g|gr|h|j|k|kl|l|m|n|p|r|s|st|t|tr|v|w|z|sch|th";
const VOWELS: &str = "a|e|i|o|u|au|ei|ia|oo|y";
const CODAS: &str = "l|n|r|s|m|nd|rk|tz|x|ng|ck|ll";

/// One message in a hundred is an anomaly.
const RARITY: u64 = 100;
/// One word in so many has a slip of the keyboard.
const SLIPS: u64 = 3;

/// So many messages, and whether each is an anomaly.
fn messages(count: usize, seed: u64) -> Vec<(String, bool)> {
    let mut draws = Draws(seed);
    let message = |_| {
        let strange = draws.below(RARITY) == 0;
        let topics: &[[&str; 3]] = if strange { &STRANGE } else { &NORMAL };
        let topic = &topics[draws.index(topics.len())];
        (draws.message(topic), strange)
    };
    (0..count).map(message).collect()
}

/// The messages as JSON lines with a label.
pub(crate) fn lines(count: usize, seed: u64) -> String {
    let line = |(text, strange): (String, bool)| {
        format!("{{\"message\":\"{text}\",\"label\":{}}}\n", u8::from(strange))
    };
    messages(count, seed).into_iter().map(line).collect()
}

/// A generator of Steele, Lea & Flood (`SplitMix64`, OOPSLA 2014).
struct Draws(u64);

impl Draws {
    fn below(&mut self, count: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ mixed >> 31) % count
    }

    fn index(&mut self, count: usize) -> usize {
        usize::try_from(self.below(count as u64)).unwrap()
    }

    fn one<'a>(&mut self, wordings: &'a str) -> &'a str {
        let wordings: Vec<&str> = wordings.split('|').collect();
        wordings[self.index(wordings.len())]
    }

    fn name(&mut self) -> String {
        let mut name = String::new();
        for _ in 0..2 + self.below(2) {
            name.extend([self.one(ONSETS), self.one(VOWELS)]);
        }
        name + self.one(CODAS)
    }

    fn message(&mut self, topic: &[&str; 3]) -> String {
        let mut words = vec![self.one(GREETINGS).to_owned()];
        if self.below(2) == 0 {
            words.push(format!("this is {} {}", self.name(), self.name()));
        }
        if self.below(2) == 0 {
            words.push(format!("owner of a {} {}", self.one(KINDS), self.one(THINGS)));
        }
        for sentence in 0..=self.below(2) {
            if sentence > 0 {
                words.push("and".to_owned());
            }
            if self.below(3) > 0 {
                words.push(self.one(TURNS).to_owned());
            }
            words.extend(topic.iter().map(|part| self.one(part).to_owned()));
        }
        if self.below(2) == 0 {
            words.push(format!("{} {} {}", self.name(), self.one(PLACES), 1 + self.below(300)));
        }
        words.push(self.one(FAREWELLS).to_owned());
        for _ in 0..self.below(12) {
            words.push(self.name());
        }
        let slipped: Vec<String> = words.join(" ").split(' ').map(|word| self.slip(word)).collect();
        slipped.join(" ")
    }

    /// Now and then two letters swap, or one is lost or doubled.
    fn slip(&mut self, word: &str) -> String {
        let mut letters: Vec<char> = word.chars().collect();
        if letters.len() < 4 || self.below(SLIPS) > 0 {
            return word.to_owned();
        }
        let at = 1 + self.index(letters.len() - 2);
        match self.below(3) {
            0 => letters.swap(at, at + 1),
            1 => drop(letters.remove(at)),
            _ => letters.insert(at, letters[at]),
        }
        letters.into_iter().collect()
    }
}
