//! Wrong configurations and what is said of them.

/// A value that is wrong by itself: the file, and every line that is said of it.
pub(super) const VALUES: &[(&str, &[&str])] = &[
    // Misspelling.
    (
        "[source]\ntopicz = [\"a\"]\n",
        &["FILE:2: unknown key \"topicz\" in [source]; did you mean \"topics\"?"],
    ),
    ("[kafak]\ngroup = \"g\"\n", &["FILE:1: unknown section [kafak]; did you mean [kafka]?"]),
    (
        "[sinks.x]\ny = 1\n[zebra]\n",
        &[
            "FILE:1: unknown section [sinks]; did you mean [sink]?",
            "FILE:3: unknown section [zebra]; known are: source, kafka, sink, decode, render, model, detect, alert, pipeline, admin, log, field",
        ],
    ),
    ("brokers = \"a:1\"\n", &["FILE:1: unknown key \"brokers\" outside of a section; it belongs in [kafka]"]),
    (
        "[source]\nbrokers = \"a:1\"\n",
        &["FILE:2: unknown key \"brokers\" in [source]; it belongs in [kafka]"],
    ),
    (
        "[kafka]\n\"sasl.username\" = \"u\"\n",
        &[
            "FILE:2: unknown key \"sasl.username\" in [kafka]; options of librdkafka belong in [kafka.options]",
        ],
    ),
    (
        "[source]\nkind = \"kafak\"\n",
        &["FILE:2: source.kind: \"kafak\" is not one of: kafka, file, stdin; did you mean \"kafka\"?"],
    ),
    ("[model]\nkind = \"gpt\"\n", &["FILE:2: model.kind: \"gpt\" is not one of: hashed, onnx"]),
    (
        "[detect]\nchannels = [\n  \"density\",\n  \"txt\",\n  \"numerical\",\n]\n",
        &[
            "FILE:4: detect.channels[1]: \"txt\" is unknown; did you mean \"text\"?",
            "FILE:5: detect.channels[2]: \"numerical\" is unknown; did you mean \"numeric\"?",
        ],
    ),
    (
        "[log]\nlevel = \"inof\"\n",
        &[
            "FILE:2: log.level: \"inof\" is not a filter such as \"info\" or \"info,outlierd::source=debug\"; did you mean \"info\"?",
        ],
    ),
    (
        "[[field]]\npointer = \"/a\"\nkin = \"key\"\n",
        &[
            "FILE:1: field[0]: has no kind; every [[field]] has pointer and kind",
            "FILE:3: unknown key \"kin\" in [[field]]; did you mean \"kind\"?",
        ],
    ),
    // Type.
    (
        "[detect]\nwindow = \"many\"\n",
        &["FILE:2: detect.window: is the text \"many\", should be a whole number between 10 and 100000000"],
    ),
    (
        "[detect]\nwindow = 10.5\n",
        &["FILE:2: detect.window: is 10.5, should be a whole number between 10 and 100000000"],
    ),
    ("[detect]\nguard = [0.1]\n", &["FILE:2: detect.guard: is a list, should be a number between 0 and 0.5"]),
    (
        "[detect]\nwindow = 1e4\n",
        &["FILE:2: detect.window: is written with a point or an exponent, should be a whole number: 10000"],
    ),
    // Each entry of a list is judged by itself.
    (
        "[source]\ntopics = [7, \"a\"]\n[[field]]\nkind = \"key\"\n[[field]]\npointer = 7\nkind = \"kye\"\n",
        &[
            "FILE:2: source.topics[0]: is 7, should be a text",
            "FILE:3: field[0]: has no pointer; every [[field]] has pointer and kind",
            "FILE:6: field[1].pointer: is 7, should be a text in quotes",
            "FILE:7: field[1].kind: \"kye\" is not one of: text, number, category, time, key, ignore",
        ],
    ),
    (
        "[\"zeb\\u001b\\u202e\"]\nx = 1\n[kafka]\n\"a\\u001b[2J\" = 1\n",
        &[
            "FILE:1: unknown section [zeb\\u{1b}\\u{202e}]; known are: source, kafka, sink, decode, render, model, detect, alert, pipeline, admin, log, field",
            "FILE:4: unknown key \"a\\u{1b}[2J\" in [kafka]; known are: brokers, group, instance, commit_interval, shutdown_timeout, fetch_memory, options",
        ],
    ),
    ("[kafka]\ngroup = 7\n", &["FILE:2: kafka.group: is 7, should be a text in quotes"]),
    (
        "[source]\ntopics = \"logs\"\n",
        &["FILE:2: source.topics: is the text \"logs\", should be a list such as [\"a\"]"],
    ),
    ("[source]\ntopics = [\"a\", 7]\n", &["FILE:2: source.topics[1]: is 7, should be a text"]),
    (
        "[source]\nfollow = \"yes\"\n",
        &["FILE:2: source.follow: is the text \"yes\", should be true or false"],
    ),
    (
        "[detect]\nmeaning_matters = \"maybe\"\n",
        &["FILE:2: detect.meaning_matters: is the text \"maybe\", should be \"auto\", true or false"],
    ),
    (
        "[alert]\nbudget = 20\n",
        &[
            "FILE:2: alert.budget: is 20, should be a budget in quotes, such as \"1 in 10000\" or \"20 per day\"",
        ],
    ),
    (
        "[log]\nlevel = 2024-01-01\n",
        &["FILE:2: log.level: is the date 2024-01-01, should be a text in quotes"],
    ),
    (
        "[[source]]\nkind = \"file\"\n",
        &["FILE:1: source: is a list, should be a section: write [source], once"],
    ),
    (
        "source = \"kafka\"\n",
        &["FILE:1: source: is a text, should be a section: write [source] and its keys below"],
    ),
    (
        "[field]\npointer = \"/a\"\n",
        &["FILE:1: field: is a table, should be a list: write [[field]] above each entry"],
    ),
    (
        "[detect.window]\nx = 1\n",
        &["FILE:1: detect.window: is a table, should be a whole number between 10 and 100000000"],
    ),
    // Range.
    (
        "[detect]\nwindow = 5\n",
        &["FILE:2: detect.window: is 5, should be a whole number between 10 and 100000000"],
    ),
    (
        "[pipeline]\nshards = -1\n",
        &["FILE:2: pipeline.shards: is -1, should be a whole number between 0 and 1024"],
    ),
    ("[detect]\nguard = 0.7\n", &["FILE:2: detect.guard: is 0.7, should be a number between 0 and 0.5"]),
    ("[detect]\nguard = nan\n", &["FILE:2: detect.guard: is NaN, should be a number between 0 and 0.5"]),
    (
        "[sink]\nmessage_max = 100\n",
        &["FILE:2: sink.message_max: is 100, should be between 16KiB and 100MiB"],
    ),
    (
        "[decode]\nsize_max = \"2GiB\"\n",
        &["FILE:2: decode.size_max: is the text \"2GiB\", should be between 1 byte and 1GiB"],
    ),
    (
        "[kafka]\ncommit_interval = \"0s\"\n",
        &["FILE:2: kafka.commit_interval: is \"0s\", should be between 10ms and 1h"],
    ),
    (
        "[alert]\nbudget = \"1 in 5\"\n",
        &["FILE:2: alert.budget: \"1 in 5\" should ask for one in 10 to 10 000 000 events"],
    ),
    (
        "[detect]\nchannels = []\n",
        &[
            "FILE:2: detect.channels: is empty; known are: density, text, meaning, joint, nearest, numeric, categorical, series",
        ],
    ),
    // Form.
    (
        "[alert]\ngap = \"5\"\n",
        &["FILE:2: alert.gap: \"5\" is not a duration such as \"5ms\", \"20s\", \"10m\", \"1h\" or \"1d\""],
    ),
    (
        "[alert]\ngap = 5\n",
        &["FILE:2: alert.gap: is 5, should be a duration in quotes, such as \"5ms\", \"20s\" or \"10m\""],
    ),
    (
        "[decode]\nsize_max = \"1 TiB\"\n",
        &[
            "FILE:2: decode.size_max: \"1 TiB\" is not a size such as \"64KiB\", \"16MiB\" or a number of bytes",
        ],
    ),
    (
        "[alert]\nbudget = \"often\"\n",
        &[
            "FILE:2: alert.budget: \"often\" is not a budget such as \"1 in 10000\", \"20 per hour\" or \"20 per day\"",
        ],
    ),
    (
        "[model]\ndevice = \"gpu\"\n",
        &["FILE:2: model.device: \"gpu\" is not \"auto\", \"cpu\", \"cuda\" or \"cuda:1\""],
    ),
    (
        "[admin]\nlisten = \"localhost:9464\"\n",
        &[
            "FILE:2: admin.listen: \"localhost:9464\" is not an address such as \"127.0.0.1:9464\": numbers, no names, and a port up to 65535",
        ],
    ),
    ("[kafka]\ngroup = \"a\\u0000b\"\n", &["FILE:2: kafka.group: holds a NUL character; remove it"]),
    // No TOML.
    (
        "[kafka\ngroup = \"g\"\n",
        &["FILE:1: is not TOML: invalid table header, expected `.`, `]`; correct this line first"],
    ),
    (
        "[kafka]\ngroup = g\n",
        &[
            "FILE:2: group: is not TOML: invalid string, expected `\"`, `'`; write texts, durations and sizes in quotes",
        ],
    ),
    (
        "[kafka]\ngroup = \"g\"\n\ngroup = \"h\"\n",
        &["FILE:4: group: is not TOML: duplicate key `group` in table `kafka`; correct this line first"],
    ),
    (
        "[source]\nfollow = True\n",
        &[
            "FILE:2: follow: is not TOML: invalid string, expected `\"`, `'`; true and false are written in small letters, and nothing behind them",
        ],
    ),
    (
        "[alert]\ngap = 5m\n",
        &["FILE:2: gap: is not TOML: expected newline, `#`; write texts, durations and sizes in quotes"],
    ),
    // Variables.
    (
        "[kafka]\ngroup = \"${NOWHERE}\"\nbrokers = \"${HOST}:9092,${EMPTY:?name a broker}\"\n",
        &[
            "FILE:2: kafka.group: the environment variable NOWHERE is not set; set it, or write ${NOWHERE:-default}",
            "FILE:3: kafka.brokers: the environment variable EMPTY is not set or empty: name a broker",
        ],
    ),
    (
        "[kafka]\ngroup = \"${HOST\"\n",
        &["FILE:2: kafka.group: has a ${ without its }; close it, or write $${ for a literal ${"],
    ),
    (
        "[kafka]\ngroup = \"${1}\"\n",
        &["FILE:2: kafka.group: ${1} names no variable; write ${NAME}, or $${ for a literal ${"],
    ),
    (
        "[detect]\nwindow = \"${HOST}\"\n",
        &["FILE:2: detect.window: is \"broker\", should be a whole number between 10 and 100000000"],
    ),
    // Options of librdkafka.
    (
        "[kafka.options]\n\"enable.auto.commit\" = true\n\"group.id\" = \"g\"\n\"isolation.level\" = \"read_uncommitted\"\n",
        &[
            "FILE:2: kafka.options.enable.auto.commit: cannot be set here: offsets are committed once alerts are acknowledged",
            "FILE:3: kafka.options.group.id: cannot be set here: set [kafka] group",
            "FILE:4: kafka.options.isolation.level: cannot be set here: only committed records are read, or an aborted transaction could raise an alert",
        ],
    ),
    (
        "[kafka.options]\n\"socket.timeout.ms\" = \"60s\"\n\"session.timeout.ms\" = 4294973296\n\"client.rack\" = \"2nd\"\n\"socket.keepalive.enable\" = \"1\"\n",
        &[
            "FILE:2: kafka.options.socket.timeout.ms: is not a whole number that librdkafka could read; write milliseconds or bytes, without a unit",
            "FILE:3: kafka.options.session.timeout.ms: is not a whole number that librdkafka could read; write milliseconds or bytes, without a unit",
        ],
    ),
    (
        "[kafka.options]\n\"socket.timeout\" = 5000\n",
        &[
            "FILE:2: kafka.options.socket.timeout: is no option of librdkafka that passes through; did you mean \"socket.timeout.ms\"?",
        ],
    ),
    (
        "[kafka.options]\n\"sasl.oauthbearer.method\" = \"oidc\"\n\"sasl.kerberos.keytab\" = \"/k\"\n",
        &[
            "FILE:2: kafka.options.sasl.oauthbearer.method: has no effect: this build has no OAUTHBEARER, for which librdkafka would need libcurl; use SCRAM, or TLS with a certificate of one's own",
            "FILE:3: kafka.options.sasl.kerberos.keytab: has no effect: this build has no Kerberos; use SCRAM, or TLS with a certificate of one's own",
        ],
    ),
    (
        "[kafka.options]\n\"zebra\" = 5000\n",
        &[
            "FILE:2: kafka.options.zebra: is no option of librdkafka that passes through; see [kafka.options] in the reference: outlierd defaults",
        ],
    ),
    (
        "[kafka.options]\n\"socket.timeout.ms\" = 5\n",
        &[
            "FILE:2: kafka.options.socket.timeout.ms: is refused by librdkafka: Configuration property \"socket.timeout.ms\" value 5 is outside allowed range 10..300000",
        ],
    ),
    (
        "[kafka.options]\n\"security.protocol\" = \"tls\"\n",
        &[
            "FILE:2: kafka.options.security.protocol: is refused by librdkafka: Invalid value \"tls\" for configuration property \"security.protocol\"",
        ],
    ),
    (
        "[kafka.options]\n\"client.id_file\" = \"/x\"\n",
        &[
            "FILE:2: kafka.options.client.id_file: is no option: only secrets can lie in a file; set client.id",
        ],
    ),
    (
        "[kafka.options]\n\"ssl.key.password\" = [\"hunter22\"]\n",
        &["FILE:2: kafka.options.ssl.key.password: is a list, should be a text in quotes"],
    ),
];

/// Settings that do not go together, or one that is needed and not there.
pub(super) const PAIRS: &[(&str, &[&str])] = &[
    // What a source needs is not known while its kind is not.
    (
        "[source]\nkind = \"flie\"\n",
        &["FILE:2: source.kind: \"flie\" is not one of: kafka, file, stdin; did you mean \"file\"?"],
    ),
    (
        "[source]\ntopicz = [\"a\"]\n",
        &["FILE:2: unknown key \"topicz\" in [source]; did you mean \"topics\"?"],
    ),
    (
        "[kafka]\ngroup = \"g\"\n",
        &["FILE: source.topics: is empty; name the topics to read, such as [\"logs\"] or [\"^app\\\\..*\"]"],
    ),
    (
        "[source]\nkind = \"kafka\"\ntopics = []\n",
        &[
            "FILE:3: source.topics: is empty; name the topics to read, such as [\"logs\"] or [\"^app\\\\..*\"]",
        ],
    ),
    ("[source]\nkind = \"file\"\n", &["FILE:1: source.paths: is empty; name files here, or with --input"]),
    (
        "[source]\nkind = \"stdin\"\n[sink]\nkind = \"file\"\n",
        &["FILE:3: sink.path: is empty; name the file of alerts"],
    ),
    (
        "[source]\ntopics = [\"a\"]\n[model]\nkind = \"onnx\"\n",
        &["FILE:3: model.path: is empty; name the folder of model.onnx and tokenizer.json"],
    ),
    (
        "[source]\ntopics = [\"a\"]\n[kafka]\nbrokers = \"a:b, c:9092,:1\"\ngroup = \"\"\n",
        &[
            "FILE:4: kafka.brokers: \":1\" is not host:port, such as \"broker-1:9092\"; separate several by commas",
            "FILE:4: kafka.brokers: \"a:b\" is not host:port, such as \"broker-1:9092\"; separate several by commas",
            "FILE:5: kafka.group: is empty; name the consumer group",
        ],
    ),
    (
        "[source]\ntopics = [\"a b\"]\n[sink]\ntopic = \"a/b\"\n",
        &[
            "FILE:2: source.topics[0]: not a Kafka topic: \"a b\"; use 1 to 249 letters, digits, dots, dashes and underscores",
            "FILE:4: sink.topic: not a Kafka topic: \"a/b\"; use 1 to 249 letters, digits, dots, dashes and underscores",
        ],
    ),
    (
        "[source]\ntopics = [\"a\"]\n[sink]\ntopic = \"a\"\ndead_letter_topic = \"\"\n",
        &[
            "FILE:4: sink.topic: is \"a\", which source.topics reads: outlierd would read what it wrote; name another topic",
        ],
    ),
    (
        "[source]\ntopics = [\"a\"]\n[sink]\ntopic = \"b\"\ndead_letter_topic = \"b\"\n",
        &[
            "FILE:5: sink.dead_letter_topic: is the topic of alerts, sink.topic; name another, or leave it empty for none",
        ],
    ),
    (
        "[source]\ntopics = [\"a\"]\n[pipeline]\nreplay_events = 500\n",
        &["FILE:4: pipeline.replay_events: is 500, should be at least detect.warmup, 1000"],
    ),
    (
        "[source]\ntopics = [\"a\"]\n[detect]\nwarmup = 30000\n",
        &["FILE:4: detect.warmup: is 30000, should be at most pipeline.replay_events, 20000; raise that too"],
    ),
    (
        "[source]\ntopics = [\"a\"]\n[[field]]\npointer = \"/a\"\nkind = \"key\"\n[[field]]\npointer = \"a\"\nkind = \"text\"\n",
        &["FILE:7: field[1].pointer: \"/a\" is named twice (FILE:4); remove one of them"],
    ),
    (
        "[source]\ntopics = [\"a\"]\n[kafka.options]\n\"ssl.ca.location\" = \"/ca.pem\"\n\"sasl.username\" = \"u\"\n",
        &[
            "FILE:4: kafka.options.ssl.ca.location: has no effect while security.protocol is \"plaintext\"; set that to \"ssl\" or \"sasl_ssl\"",
            "FILE:5: kafka.options.sasl.username: has no effect while security.protocol is \"plaintext\"; set that to \"sasl_ssl\" or \"sasl_plaintext\"",
        ],
    ),
    (
        "[source]\ntopics = [\"a\"]\n[kafka.options]\nsecurity.protocol = \"sasl_ssl\"\n",
        &[
            "FILE:4: kafka.options.security.protocol: is \"sasl_ssl\", which needs sasl.mechanism; set it to one of: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512",
        ],
    ),
    (
        "[source]\ntopics = [\"a\"]\n[kafka.options]\n\"security.protocol\" = \"sasl_ssl\"\n\"sasl.mechanism\" = \"SCRAM\"\n",
        &[
            "FILE:5: kafka.options.sasl.mechanism: \"SCRAM\" is not one of: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512",
        ],
    ),
    (
        "[source]\ntopics = [\"a\"]\n[kafka.options]\n\"session.timeout.ms\" = 400000\n",
        &[
            "FILE:4: kafka.options.session.timeout.ms: is refused by librdkafka, the others being as they are: `max.poll.interval.ms`must be >= `session.timeout.ms`; correct one of them",
        ],
    ),
    (
        "[source]\ntopics = [\"a\"]\n[kafka.options]\n\"group.protocol\" = \"consumer\"\n\"session.timeout.ms\" = 10000\n",
        &[
            "FILE:5: kafka.options.session.timeout.ms: is refused by librdkafka, the others being as they are: `session.timeout.ms` is not supported for `group.protocol=consumer`. It is defined broker side; correct one of them",
        ],
    ),
    (
        "[source]\ntopics = [\"a\"]\n[kafka.options]\n\"delivery.timeout.ms\" = 1\n",
        &[
            "FILE:4: kafka.options.delivery.timeout.ms: is refused by librdkafka, the others being as they are: `message.timeout.ms` must be greater than `linger.ms`; correct one of them",
        ],
    ),
    (
        "[source]\ntopics = [\"a\"]\n[kafka.options]\n\"security.protocol\" = \"sasl_ssl\"\n\"sasl.mechanism\" = \"GSSAPI\"\n",
        &[
            "FILE:5: kafka.options.sasl.mechanism: \"GSSAPI\" is not one of: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512: this build has no Kerberos; use SCRAM, or TLS with a certificate of one's own",
        ],
    ),
    (
        "[source]\nkind = \"file\"\npaths = [\"/nowhere/a\", \"/nowhere/./a\"]\n[sink]\nkind = \"stdout\"\n",
        &[
            "FILE:3: source.paths[1]: is \"/nowhere/./a\", the same file as source.paths[0]; name each file once",
        ],
    ),
    (
        "[source]\nkind = \"file\"\npaths = [\"/nowhere/a\", \"/nowhere/b\"]\n[sink]\nkind = \"file\"\npath = \"/nowhere/./b\"\n\
         dead_letter_path = \"/nowhere/b\"\n",
        &[
            "FILE:6: sink.path: is \"/nowhere/./b\", which source.paths[1] reads: outlierd would read what it wrote; name another file",
            "FILE:7: sink.dead_letter_path: is \"/nowhere/b\", which source.paths[1] reads: outlierd would read what it wrote; name another file",
            "FILE:7: sink.dead_letter_path: is the file of alerts, sink.path; name another, or leave it empty for none",
        ],
    ),
    (
        "[source]\ntopics = [\"a\", \"b\", \"a\"]\n",
        &["FILE:2: source.topics[2]: is source.topics[0] again; name each topic once"],
    ),
    (
        "[source]\ntopics = [\"^(\", \"^logs-\\\\d+\", 7, \"a b\"]\n",
        &[
            "FILE:2: source.topics[0]: pattern \"^(\" is not a POSIX extended regular expression; correct it",
            "FILE:2: source.topics[1]: pattern \"^logs-\\\\d+\" has \"\\\\d\", which POSIX extended regular expressions do not have; write [0-9]",
            "FILE:2: source.topics[2]: is 7, should be a text",
            "FILE:2: source.topics[3]: not a Kafka topic: \"a b\"; use 1 to 249 letters, digits, dots, dashes and underscores",
        ],
    ),
    (
        "[source]\ntopics = [\"a\"]\n[kafka.options]\n\"security.protocol\" = \"sasl_ssl\"\n\"sasl.mechanism\" = \"PLAIN\"\n\"sasl.username\" = \"u\"\n",
        &["FILE:5: kafka.options.sasl.mechanism: is \"PLAIN\", which needs sasl.password; set it"],
    ),
    (
        "[source]\ntopics = [\"a\"]\n[kafka.options]\n\"security.protocol\" = \"ssl\"\n\"ssl.certificate.location\" = \"/c.pem\"\n",
        &["FILE:5: kafka.options.ssl.certificate.location: needs ssl.key.location beside it; set that too"],
    ),
    (
        "[source]\ntopics = [\"a\"]\n[kafka.options]\n\"security.protocol\" = \"ssl\"\n\"ssl.key.location\" = \"/k.pem\"\n\
         \"ssl.certificate.location\" = \"/c.pem\"\n\"ssl.key.password\" = \"hunter22\"\n\"ssl.key.password_file\" = \"/p\"\n",
        &[
            "FILE:8: kafka.options.ssl.key.password_file: is set beside ssl.key.password (FILE:7); remove one of them",
        ],
    ),
];

/// A variable of the environment, its value, and what is said of it.
pub(super) const VARIABLES: &[(&str, &str, &str)] = &[
    (
        "OUTLIERD_DETECT__WINDOW",
        "many",
        "OUTLIERD_DETECT__WINDOW: detect.window: is \"many\", should be a whole number between 10 and 100000000",
    ),
    (
        "OUTLIERD_KAFKA__BROKRES",
        "a:1",
        "OUTLIERD_KAFKA__BROKRES: unknown key \"brokres\" in [kafka]; did you mean \"brokers\"?",
    ),
    (
        "OUTLIERD_KAFKA_BROKERS",
        "a:1",
        "OUTLIERD_KAFKA_BROKERS: sets nothing; did you mean OUTLIERD_KAFKA__BROKERS?",
    ),
    (
        "OUTLIERD_KAFKA_OPTIONS_SASL_PASSWORD",
        "hunter22",
        "OUTLIERD_KAFKA_OPTIONS_SASL_PASSWORD: sets nothing; did you mean OUTLIERD_KAFKA__OPTIONS__SASL_PASSWORD?",
    ),
    ("OUTLIERD___GROUP", "g", "OUTLIERD___GROUP: names no section; write it as in OUTLIERD_KAFKA__BROKERS"),
    ("OUTLIERD_KAFAK__GROUP", "g", "OUTLIERD_KAFAK__GROUP: unknown section [kafak]; did you mean [kafka]?"),
    (
        "OUTLIERD_KAFKA__OPTIONS__SASL_PASSWROD",
        "hunter22",
        "OUTLIERD_KAFKA__OPTIONS__SASL_PASSWROD: kafka.options.sasl.passwrod: is no option of librdkafka that passes through; did you mean \"sasl.password\"?",
    ),
];

/// A setting of the command line, and what is said of it.
pub(super) const SETS: &[(&str, &str)] = &[
    (
        "alert.gap=soon",
        "alert.gap: \"soon\" is not a duration such as \"5ms\", \"20s\", \"10m\", \"1h\" or \"1d\"",
    ),
    ("detect.window.size=5", "detect.window: is a key, not a section; give it its value"),
    ("source.topics=[\"a\", \"\"]", "source.topics[1]: is empty; name something or leave it out"),
    ("kafka.options.\"group.id\"=g", "kafka.options.group.id: cannot be set here: set [kafka] group"),
    ("model=onnx", "model: is a text, should be a section: write [model] and its keys below"),
];
