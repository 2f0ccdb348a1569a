//! The metrics of one server: every handle made once, at its start, and public here. Counting is an atomic addition.

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use hubbub_protocol::frame::{SkipReason, Slow};

use super::labels::{
    BrokerReceived, BrokerSent, Ended, Forwarded, Label, Labelled, LoginResult, LookResult, PostResult, PublishResult, ReadKind,
    RefreshResult, ReplayResult, RulingKind, SweptKind, Transport, UploadResult,
};

const METADATA: Metadata<'static> = Metadata::new("hubbub", Level::INFO, None);
const HTTP_REQUESTS: &str = "hubbub_http_requests_total";
/// Buckets of histograms of time, in seconds: a commit on a fast disk to a request that hangs.
const SECONDS: [f64; 14] = [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0];
/// Buckets of `commit_rows`: a batch holds at most 256.
const ROWS: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// What a server counts, measures and times. Its names in Prometheus are those of the fields after `hubbub_`, counters with `_total`.
pub struct Metrics {
    /// Connections that are open now.
    pub connections: Gauge,
    /// Connections opened, by transport.
    pub connections_opened: Labelled<Transport>,
    /// POSTs of frames, by what became of them.
    pub posts: Labelled<PostResult>,
    /// Requests for sessions of other instances.
    pub forwarded: Labelled<Forwarded>,
    /// Connections ended, by close code.
    pub connections_closed: Labelled<Ended>,
    /// Of the open connections, those that have not authenticated.
    pub sessions_unauthenticated: Gauge,
    /// Subscriptions now.
    pub subscriptions: Gauge,
    /// Frames received from clients.
    pub frames_received: Counter,
    /// Of these, those that were answered with an error.
    pub frames_refused: Counter,
    /// Publishes, by what became of them.
    pub publishes: Labelled<PublishResult>,
    /// How long a commit took, in seconds.
    pub commit_seconds: Histogram,
    /// Entries in a commit.
    pub commit_rows: Histogram,
    /// Entries delivered to subscribers' outboxes.
    pub deliveries: Counter,
    /// Writes to sockets that carried deliveries.
    pub delivery_writes: Counter,
    /// Entries that a subscriber was not sent, by reason.
    pub skipped_entries: Labelled<SkipReason>,
    /// Subscribes that asked for the past, by what became of them.
    pub replays: Labelled<ReplayResult>,
    /// Reads of the store, by why.
    pub store_reads: Labelled<ReadKind>,
    /// How long an HTTP request took, in seconds.
    pub http_request_seconds: Histogram,
    /// Channels with a feed now.
    pub feeds: Gauge,
    /// Bytes of recent entries that feeds hold now.
    pub feed_bytes: Gauge,
    /// Feeds whose subscribers had to begin anew: the store had gone back in time.
    pub feed_resets: Counter,
    /// Looks at the heads that moved, by what became of them.
    pub looks: Labelled<LookResult>,
    /// How long a look took, in seconds.
    pub look_seconds: Histogram,
    /// Outboxes that ran full, by what was done.
    pub outbox_overflows: Labelled<Slow>,
    /// Messages for other instances, by what became of them.
    pub broker_sent: Labelled<BrokerSent>,
    /// Bytes of those that were sent.
    pub broker_sent_bytes: Counter,
    /// Messages from other instances, by what became of them.
    pub broker_received: Labelled<BrokerReceived>,
    /// Bytes of these.
    pub broker_received_bytes: Counter,
    /// Reconnects to the broker.
    pub broker_reconnects: Counter,
    /// Times that messages were dropped because this instance did not take them fast enough.
    pub broker_slow_consumer: Counter,
    /// Subjects of channels subscribed now.
    pub broker_subjects: Gauge,
    /// Tries to log in, by what became of them.
    pub logins: Labelled<LoginResult>,
    /// Refreshes, by what became of them.
    pub refreshes: Labelled<RefreshResult>,
    /// Passwords that were hashed, to keep or to compare.
    pub password_hashes: Counter,
    /// Rulings that were followed, by kind.
    pub rulings: Labelled<RulingKind>,
    /// When the rulings were last looked for: the seconds since the last look that succeeded had begun.
    pub rulings_lag_seconds: Gauge,
    /// Sessions that rulings ended.
    pub rulings_sessions_ended: Counter,
    /// Subscriptions that ended since the right to them was gone, or a backend said so.
    pub rulings_subscriptions_ended: Counter,
    /// Members of channels on this instance.
    pub presence_members: Gauge,
    /// Channels whose members are viewed here.
    pub presence_views: Gauge,
    /// Messages about presence sent to other instances.
    pub presence_sent: Counter,
    /// Their bytes.
    pub presence_sent_bytes: Counter,
    /// Messages about presence that came from other instances.
    pub presence_received: Counter,
    /// Of what came, messages that could not be read, or came while too many waited.
    pub presence_refused: Counter,
    /// Uploads that come in now.
    pub uploads_under_way: Gauge,
    /// Uploads that ended, by what became of them.
    pub uploads: Labelled<UploadResult>,
    /// Bytes of those that are there.
    pub upload_bytes: Counter,
    /// Bytes of uploads that were handed out.
    pub download_bytes: Counter,
    /// What was deleted for good, by why.
    pub uploads_swept: Labelled<SweptKind>,
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
}

impl Metrics {
    /// Metrics of their own, all at zero.
    pub fn new() -> Self {
        let recorder = recorder();
        let make = Make(&recorder);
        recorder.describe_counter(KeyName::from(HTTP_REQUESTS), None, "HTTP requests, by method, route and status.".into());
        make.gauge("hubbub_build_info", "Always 1; the label tells the version.", &[("version", env!("CARGO_PKG_VERSION"))]).set(1.0);
        Self {
            connections: make.gauge("hubbub_connections", "Connections that are open now.", &[]),
            connections_opened: make.labelled("hubbub_connections_opened_total", "Connections opened, by transport."),
            posts: make.labelled("hubbub_posts_total", "POSTs of frames to sessions over plain HTTP, by what became of them."),
            forwarded: make.labelled("hubbub_forwarded_total", "Requests for sessions of other instances, by what became of them."),
            connections_closed: make.labelled("hubbub_connections_closed_total", "Connections ended, by close code; 1006 without one."),
            sessions_unauthenticated: make.gauge("hubbub_sessions_unauthenticated", "Open connections that have not authenticated.", &[]),
            subscriptions: make.gauge("hubbub_subscriptions", "Subscriptions now.", &[]),
            frames_received: make.counter("hubbub_frames_received_total", "Frames received from clients."),
            frames_refused: make.counter("hubbub_frames_refused_total", "Frames answered with an error."),
            publishes: make.labelled("hubbub_publishes_total", "Publishes, by what became of them."),
            commit_seconds: make.histogram("hubbub_commit_seconds", "How long a commit of publishes took."),
            commit_rows: make.histogram("hubbub_commit_rows", "Entries in a commit."),
            deliveries: make.counter("hubbub_deliveries_total", "Entries delivered to subscribers."),
            delivery_writes: make.counter("hubbub_delivery_writes_total", "Writes to sockets that carried deliveries."),
            skipped_entries: make.labelled("hubbub_skipped_entries_total", "Entries that a subscriber was not sent, by reason."),
            replays: make.labelled("hubbub_replays_total", "Subscribes that asked for the past, by what became of them."),
            store_reads: make.labelled("hubbub_store_reads_total", "Reads of the store, by why."),
            http_request_seconds: make.histogram("hubbub_http_request_seconds", "How long an HTTP request took."),
            feeds: make.gauge("hubbub_feeds", "Channels whose recent entries are in memory.", &[]),
            feed_bytes: make.gauge("hubbub_feed_bytes", "Bytes of recent entries in memory.", &[]),
            feed_resets: make.counter("hubbub_feed_resets_total", "Feeds that began anew: the store had gone back in time."),
            looks: make.labelled("hubbub_looks_total", "Looks at the heads that moved, by what became of them."),
            look_seconds: make.histogram("hubbub_look_seconds", "How long a look at the heads that moved took."),
            outbox_overflows: make.labelled("hubbub_outbox_overflows_total", "Outboxes that ran full, by what was done."),
            broker_sent: make.labelled("hubbub_broker_sent_total", "Messages for other instances, by what became of them."),
            broker_sent_bytes: make.counter("hubbub_broker_sent_bytes_total", "Bytes sent to other instances."),
            broker_received: make.labelled("hubbub_broker_received_total", "Messages from other instances, by what became of them."),
            broker_received_bytes: make.counter("hubbub_broker_received_bytes_total", "Bytes received from other instances."),
            broker_reconnects: make.counter("hubbub_broker_reconnects_total", "Reconnects to the broker."),
            broker_slow_consumer: make.counter("hubbub_broker_slow_consumer_total", "Messages dropped here because they came too fast."),
            broker_subjects: make.gauge("hubbub_broker_subjects", "Subjects of channels subscribed at the broker now.", &[]),
            logins: make.labelled("hubbub_logins_total", "Tries to log in, by what became of them."),
            refreshes: make.labelled("hubbub_refreshes_total", "Refreshes of tokens, by what became of them."),
            password_hashes: make.counter("hubbub_password_hashes_total", "Passwords that were hashed, to keep or to compare."),
            rulings: make.labelled("hubbub_rulings_total", "Changes of rights that were followed, by kind."),
            rulings_lag_seconds: make.gauge(
                "hubbub_rulings_lag_seconds",
                "Age of what is known of rights: since the last look that succeeded began.",
                &[],
            ),
            rulings_sessions_ended: make.counter("hubbub_rulings_sessions_ended_total", "Sessions that a change of rights ended."),
            rulings_subscriptions_ended: make
                .counter("hubbub_rulings_subscriptions_ended_total", "Subscriptions ended since the right to them was gone."),
            presence_members: make.gauge("hubbub_presence_members", "Members of channels on this instance.", &[]),
            presence_views: make.gauge("hubbub_presence_views", "Channels whose members are viewed here.", &[]),
            presence_sent: make.counter("hubbub_presence_sent_total", "Messages about presence sent to other instances."),
            presence_sent_bytes: make.counter("hubbub_presence_sent_bytes_total", "Bytes about presence sent to other instances."),
            presence_received: make.counter("hubbub_presence_received_total", "Messages about presence from other instances."),
            presence_refused: make
                .counter("hubbub_presence_refused_total", "Messages about presence that could not be read, or came while too many waited."),
            uploads_under_way: make.gauge("hubbub_uploads_under_way", "Uploads that come in now.", &[]),
            uploads: make.labelled("hubbub_uploads_total", "Uploads, by what became of them."),
            upload_bytes: make.counter("hubbub_upload_bytes_total", "Bytes of uploads that were taken in."),
            download_bytes: make.counter("hubbub_download_bytes_total", "Bytes of uploads that were handed out."),
            uploads_swept: make.labelled("hubbub_uploads_swept_total", "Uploads and objects deleted for good, by why."),
            handle: recorder.handle(),
            recorder,
        }
    }

    /// Counts and times an HTTP request. `route` is the pattern that matched, never the path: paths are without number.
    pub fn http_request(&self, method: &str, route: Option<&str>, status: u16, seconds: f64) {
        let labels = vec![
            metrics::Label::from_static_parts("method", known_method(method)),
            metrics::Label::new("route", route.unwrap_or("none").to_owned()),
            metrics::Label::new("status", status.to_string()),
        ];
        self.recorder.register_counter(&Key::from_parts(HTTP_REQUESTS, labels), &METADATA).increment(1);
        self.http_request_seconds.record(seconds);
    }

    /// Everything, in Prometheus's text format 0.0.4.
    pub fn render(&self) -> String {
        self.handle.render()
    }

    /// Folds what histograms recorded into their buckets. To be called every few seconds: until then each record takes memory.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// A recorder of its own, not the process's.
fn recorder() -> PrometheusRecorder {
    let buckets = [("seconds", SECONDS.as_slice()), ("commit_rows", ROWS.as_slice())];
    let builder = buckets.into_iter().fold(PrometheusBuilder::new(), |builder, (suffix, buckets)| {
        builder.set_buckets_for_metric(Matcher::Suffix(suffix.to_owned()), buckets).expect("buckets are only refused when empty")
    });
    builder.build_recorder()
}

/// Describes a metric and makes its handle.
struct Make<'a>(&'a PrometheusRecorder);

impl Make<'_> {
    fn counter(&self, name: &'static str, help: &'static str) -> Counter {
        self.0.describe_counter(KeyName::from(name), None, help.into());
        self.0.register_counter(&Key::from_static_name(name), &METADATA)
    }

    fn labelled<L: Label>(&self, name: &'static str, help: &'static str) -> Labelled<L> {
        self.0.describe_counter(KeyName::from(name), None, help.into());
        Labelled::new(|label: L| {
            let key = Key::from_parts(name, vec![metrics::Label::new(L::NAME, label.value())]);
            self.0.register_counter(&key, &METADATA)
        })
    }

    fn gauge(&self, name: &'static str, help: &'static str, labels: &[(&'static str, &'static str)]) -> Gauge {
        self.0.describe_gauge(KeyName::from(name), None, help.into());
        let labels: Vec<_> = labels.iter().map(|(name, value)| metrics::Label::from_static_parts(name, value)).collect();
        self.0.register_gauge(&Key::from_parts(name, labels), &METADATA)
    }

    fn histogram(&self, name: &'static str, help: &'static str) -> Histogram {
        self.0.describe_histogram(KeyName::from(name), None, help.into());
        self.0.register_histogram(&Key::from_static_name(name), &METADATA)
    }
}

/// The methods of RFC 9110 and PATCH; a client may send any other word.
fn known_method(method: &str) -> &'static str {
    const KNOWN: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"];
    KNOWN.into_iter().find(|known| *known == method).unwrap_or("other")
}

#[cfg(test)]
mod tests {
    use super::*;
    use hubbub_protocol::CloseCode;

    const FAMILIES: &[(&str, &str)] = &[
        ("hubbub_broker_received_bytes_total", "counter"),
        ("hubbub_broker_received_total", "counter"),
        ("hubbub_broker_reconnects_total", "counter"),
        ("hubbub_broker_sent_bytes_total", "counter"),
        ("hubbub_broker_sent_total", "counter"),
        ("hubbub_broker_slow_consumer_total", "counter"),
        ("hubbub_broker_subjects", "gauge"),
        ("hubbub_build_info", "gauge"),
        ("hubbub_commit_rows", "histogram"),
        ("hubbub_commit_seconds", "histogram"),
        ("hubbub_connections", "gauge"),
        ("hubbub_connections_closed_total", "counter"),
        ("hubbub_connections_opened_total", "counter"),
        ("hubbub_deliveries_total", "counter"),
        ("hubbub_delivery_writes_total", "counter"),
        ("hubbub_download_bytes_total", "counter"),
        ("hubbub_feed_bytes", "gauge"),
        ("hubbub_feed_resets_total", "counter"),
        ("hubbub_feeds", "gauge"),
        ("hubbub_forwarded_total", "counter"),
        ("hubbub_frames_received_total", "counter"),
        ("hubbub_frames_refused_total", "counter"),
        ("hubbub_http_request_seconds", "histogram"),
        ("hubbub_http_requests_total", "counter"),
        ("hubbub_logins_total", "counter"),
        ("hubbub_look_seconds", "histogram"),
        ("hubbub_looks_total", "counter"),
        ("hubbub_outbox_overflows_total", "counter"),
        ("hubbub_password_hashes_total", "counter"),
        ("hubbub_posts_total", "counter"),
        ("hubbub_presence_members", "gauge"),
        ("hubbub_presence_received_total", "counter"),
        ("hubbub_presence_refused_total", "counter"),
        ("hubbub_presence_sent_bytes_total", "counter"),
        ("hubbub_presence_sent_total", "counter"),
        ("hubbub_presence_views", "gauge"),
        ("hubbub_publishes_total", "counter"),
        ("hubbub_refreshes_total", "counter"),
        ("hubbub_replays_total", "counter"),
        ("hubbub_rulings_lag_seconds", "gauge"),
        ("hubbub_rulings_sessions_ended_total", "counter"),
        ("hubbub_rulings_subscriptions_ended_total", "counter"),
        ("hubbub_rulings_total", "counter"),
        ("hubbub_sessions_unauthenticated", "gauge"),
        ("hubbub_skipped_entries_total", "counter"),
        ("hubbub_store_reads_total", "counter"),
        ("hubbub_subscriptions", "gauge"),
        ("hubbub_upload_bytes_total", "counter"),
        ("hubbub_uploads_swept_total", "counter"),
        ("hubbub_uploads_total", "counter"),
        ("hubbub_uploads_under_way", "gauge"),
    ];

    fn has(text: &str, line: &str) -> bool {
        text.lines().any(|other| other == line)
    }

    #[test]
    fn each_family_is_there_once_with_help_and_type() {
        let metrics = Metrics::new();
        metrics.http_request("GET", Some("/v1/channels/{channel}"), 200, 0.002);
        let text = metrics.render();
        let mut types: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
        types.sort_unstable();
        let expected: Vec<String> = FAMILIES.iter().map(|(name, kind)| format!("{name} {kind}")).collect();
        assert_eq!(types, expected);
        for (name, kind) in FAMILIES.iter().copied() {
            let help = format!("# HELP {name} ");
            assert_eq!(text.lines().filter(|line| line.starts_with(&help)).count(), 1, "{name}");
            assert_eq!(name.ends_with("_total"), kind == "counter", "{name}");
        }
    }

    #[test]
    fn every_value_of_a_label_is_there_from_the_start() {
        let text = Metrics::new().render();
        for line in [
            "hubbub_publishes_total{result=\"stored\"} 0",
            "hubbub_connections_closed_total{code=\"4505\"} 0",
            "hubbub_connections_closed_total{code=\"1006\"} 0",
        ] {
            assert!(has(&text, line), "{line}\n{text}");
        }
        assert!(has(&text, &format!("hubbub_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"))));
    }

    #[test]
    fn two_servers_count_apart() {
        let (one, two) = (Metrics::new(), Metrics::new());
        one.publishes.of(PublishResult::Stored).increment(2);
        one.connections.increment(1.0);
        one.connections_closed.of(Ended::Closed(CloseCode::SlowConsumer)).increment(1);
        assert!(has(&one.render(), "hubbub_publishes_total{result=\"stored\"} 2"));
        assert!(has(&one.render(), "hubbub_connections 1"));
        assert!(has(&one.render(), "hubbub_connections_closed_total{code=\"4505\"} 1"));
        assert!(has(&two.render(), "hubbub_publishes_total{result=\"stored\"} 0"));
        assert!(has(&two.render(), "hubbub_connections 0"));
    }

    #[test]
    fn histograms_have_buckets_before_and_after_upkeep() {
        let metrics = Metrics::new();
        metrics.commit_rows.record(3.0);
        metrics.upkeep();
        metrics.commit_rows.record(300.0);
        let text = metrics.render();
        for line in [
            "hubbub_commit_rows_bucket{le=\"4\"} 1",
            "hubbub_commit_rows_bucket{le=\"+Inf\"} 2",
            "hubbub_commit_rows_sum 303",
            "hubbub_commit_rows_count 2",
        ] {
            assert!(has(&text, line), "{line}\n{text}");
        }
        assert!(text.contains("hubbub_commit_seconds_bucket{le=\"0.0001\"} 0"));
    }

    #[test]
    fn a_client_cannot_invent_methods_and_routes() {
        let metrics = Metrics::new();
        metrics.http_request("BREW", None, 405, 0.001);
        metrics.http_request("COFFEE", None, 405, 0.001);
        assert!(has(&metrics.render(), "hubbub_http_requests_total{method=\"other\",route=\"none\",status=\"405\"} 2"));
    }
}
