//! A real Prometheus in its own network namespace: it scrapes, and every query of the
//! dashboard and of the alert rules works.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use serde_json::Value;

use crate::daemon::serving;
use crate::http;
use crate::image::Dir;
use crate::queries::of_the_dashboard;
use crate::tools::{alerts, has};
use xblade_kit::{Daemon, Initiator, OURS, PEER, Pair, Space, apply, at, may_run, needs_root, until};

/// Its listen address inside its namespace.
const WEB: &str = "127.0.0.1:19090";

/// A running Prometheus with our rules.
struct Prometheus<'a> {
    space: &'a Space,
    _process: Daemon,
    _dir: Dir,
}

impl<'a> Prometheus<'a> {
    /// Starts it in the namespace; it scrapes this address every second.
    fn new(space: &'a Space, target: SocketAddr) -> Self {
        let dir = Dir::new();
        let config = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: ['{}']\nscrape_configs:\n\
             - {{job_name: xblade, static_configs: [{{targets: ['{target}']}}]}}\n",
            alerts().canonicalize().unwrap().display()
        );
        let file = dir.path().join("prometheus.yml");
        fs::write(&file, config).unwrap();
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()))
            .arg(format!("--web.listen-address={WEB}"));
        let process = Daemon::spawn(space, command);
        process.wait_for("Server is ready to receive web requests");
        Self { space, _process: process, _dir: dir }
    }

    /// The answer of the API below /api/v1/.
    fn api(&self, path: &str) -> Value {
        let request = format!("GET /api/v1/{path} HTTP/1.0\r\n\r\n");
        let answer = self.space.run(move || {
            let mut stream = TcpStream::connect(WEB).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        });
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
    }

    /// The samples of an instant query; panics if it is refused.
    fn query(&self, text: &str) -> Vec<Value> {
        let encoded: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let answer = self.api(&format!("query?query={encoded}"));
        assert_eq!(answer["status"], "success", "{text}: {answer}");
        answer["data"]["result"].as_array().unwrap().clone()
    }

    /// The value of a query with one sample; `None` if there is no sample.
    fn value(&self, text: &str) -> Option<f64> {
        let samples = self.query(text);
        assert!(samples.len() <= 1, "{text}: {samples:?}");
        Some(samples.first()?["value"][1].as_str().unwrap().parse().unwrap())
    }

    /// Waits until it has scraped three times and evaluated every rule.
    fn until_it_knows(&self) {
        until("three scrapes", || {
            self.value("count_over_time(xblade_uptime_seconds[1m])").is_some_and(|n| n >= 3.0)
        });
        let targets = self.api("targets");
        let target = &targets["data"]["activeTargets"][0];
        assert_eq!((&target["health"], &target["lastError"]), (&"up".into(), &"".into()), "{target}");
        until("every rule was evaluated", || {
            let rules = self.api("rules");
            let rules = rules["data"]["groups"][0]["rules"].as_array().unwrap().clone();
            assert_eq!(rules.len(), 15);
            assert!(rules.iter().all(|rule| rule["health"] != "err"), "{rules:?}");
            rules.iter().all(|rule| rule["health"] == "ok")
        });
    }

    /// Runs all queries of the dashboard. Comparisons return nothing when all is well;
    /// all others must return samples.
    fn ask_as_the_dashboard(&self) {
        for query in of_the_dashboard() {
            let found = self.query(&query.text);
            let compares = query.text.contains(" > ");
            assert!(compares || !found.is_empty(), "nothing to show: {query:?}");
        }
    }
}

fn skip(test: &str) -> bool {
    !may_run(test) || !has("prometheus", "--version", test)
}

#[test]
fn prometheus_takes_every_metric_and_every_query() {
    if skip("prometheus_takes_every_metric_and_every_query") {
        return;
    }
    let space = Space::new();
    let target = space.run(http::listener);
    let prometheus = Prometheus::new(&space, target);
    prometheus.until_it_knows();
    prometheus.ask_as_the_dashboard();
    for family in xblade::control::metrics::FAMILIES {
        let name = match family.kind {
            xblade::control::metrics::Kind::Histogram => format!("{}_bucket", family.name),
            _ => family.queried(),
        };
        assert!(!prometheus.query(&name).is_empty(), "{name}");
        // It knows the type of each metric.
        let metadata = prometheus.api(&format!("targets/metadata?metric={}", family.name));
        assert_eq!(metadata["data"][0]["type"], family.kind.name(), "{metadata}");
        assert_eq!(metadata["data"][0]["help"], family.help, "{metadata}");
    }
    let stuck = prometheus.query("ALERTS{alertname=\"XbladeStoreStuck\"}");
    assert_eq!(stuck.len(), 2, "the made-up exports are stuck: {stuck:?}");
}

/// The sum of a metric over all series.
fn sum(prometheus: &Prometheus<'_>, series: &str) -> f64 {
    prometheus.value(&format!("sum({series})")).unwrap_or(0.0)
}

#[test]
fn prometheus_watches_a_daemon() {
    if skip("prometheus_watches_a_daemon") {
        return;
    }
    let (pair, dir) = (Pair::new(), Dir::new());
    let image = dir.image("a", 64);
    let target: SocketAddr = "127.0.0.1:9464".parse().unwrap();
    let socket = dir.path().join("control").display().to_string();
    let service = format!("--metrics {target} --control {socket}");
    let arguments = format!("0.1={image} 0.2=x,store=null,length=8 -i {OURS} {service}");
    let daemon = serving(&pair.ours, &arguments);
    let mut host = Initiator::new(&pair.peer, PEER, pair.ours.mac(OURS));
    let prometheus = Prometheus::new(&pair.ours, target);
    prometheus.until_it_knows();
    for lba in 0..20 {
        assert_eq!(host.read(at(0, 1), lba, 1), crate::image::sector(lba));
    }
    for lba in 0..5 {
        host.write(at(0, 1), lba, &[7; 512]);
    }
    // No export answers there: a frame without a reply.
    host.send_read(at(9, 9), 0, 1);
    let reads = r#"xblade_export_requests_total{export="0.1",operation="read",outcome="ok"}"#;
    until("the reads are known", || sum(&prometheus, reads) >= 20.0);
    until("the writes are known", || {
        sum(&prometheus, r#"xblade_export_written_bytes_total{export="0.1"}"#) >= 5.0 * 512.0
    });
    until("the drop is known", || {
        sum(&prometheus, r#"xblade_dropped_frames_total{where="worker",reason="address"}"#) >= 1.0
    });
    for (series, wanted) in [
        (reads, 20.0),
        (r#"xblade_export_requests_total{export="0.2",operation=~"read|write"}"#, 0.0),
        (r#"xblade_export_requests_total{export="0.1",operation="write",outcome="ok"}"#, 5.0),
        (r#"xblade_export_read_bytes_total{export="0.1"}"#, 20.0 * 512.0),
        (r#"xblade_export_response_seconds_count{export="0.1",operation="read"}"#, 20.0),
        (r#"xblade_export_service_seconds_count{export="0.1",operation="read"}"#, 20.0),
        (r#"xblade_export_service_seconds_bucket{export="0.1",operation="write",le="+Inf"}"#, 5.0),
        (r#"xblade_export_store_seconds_count{export="0.1",operation="read"}"#, 20.0),
        (r#"xblade_export_size_bytes{export="0.1"}"#, 64.0 * 512.0),
        (r#"xblade_export_info{export="0.1",durability="durable",read_only="false"}"#, 1.0),
        (r#"xblade_interface_up{interface="xbp0"}"#, 1.0),
        ("xblade_inconsistencies_total", 0.0),
        (r#"xblade_dropped_frames_total{where=~"ring|room"}"#, 0.0),
        ("xblade_export_degraded + xblade_export_stuck", 0.0),
    ] {
        let found = sum(&prometheus, series);
        assert!((found - wanted).abs() < 0.5, "{series}: {found}, not {wanted}");
    }
    assert!(sum(&prometheus, "xblade_received_frames_total") >= 26.0);
    assert!(sum(&prometheus, "xblade_lane_free_chunks") > 0.0);
    // A worker that sleeps most of the time is not busy.
    until("two scrapes of the workers", || {
        let busy = prometheus.value("max(rate(xblade_worker_busy_seconds_total[5s]))");
        busy.is_some_and(|ratio| (0.0..0.5).contains(&ratio))
    });
    let clock = "sum(xblade_worker_busy_seconds_total + xblade_worker_idle_seconds_total) / \
                 sum(xblade_uptime_seconds)";
    let ratio =
        prometheus.value(clock).unwrap() / sum(&prometheus, "count(xblade_worker_busy_seconds_total)");
    assert!((0.9..1.5).contains(&ratio), "busy and idle add up to {ratio} of the uptime");
    prometheus.ask_as_the_dashboard();
    assert_eq!(prometheus.query("ALERTS").len(), 0);
    let top = crate::top::top(&format!("--once --interval 0.2 --control {socket}"));
    let said = String::from_utf8(top.stdout).unwrap();
    let rows = ["0.1", "0.2"].map(|export| said.lines().filter(|line| line.starts_with(export)).count());
    assert!(top.status.success() && rows == [1, 1], "{said}");
    // The link goes down, and the alert becomes pending.
    pair.peer.sh(&format!("ip link set {PEER} down"));
    until("the alert about the link", || {
        !prometheus.query("ALERTS{alertname=\"XbladeInterfaceDown\",interface=\"xbp0\"}").is_empty()
    });
    daemon.stop();
}

#[apply(needs_root!)]
fn a_busy_port_ends_the_start() {
    let (pair, dir) = (Pair::new(), Dir::new());
    let image = dir.image("a", 8);
    let arguments = format!("serve --no-probe 0.1={image} -i {OURS} --metrics 127.0.0.1:9464");
    let first = pair.ours.run(|| std::net::TcpListener::bind("127.0.0.1:9464").unwrap());
    let ended = Daemon::spawn(&pair.ours, crate::daemon::xblade(&arguments)).ended();
    assert_eq!(ended.status.code(), Some(3), "{}", ended.text);
    let errors: Vec<&str> = ended.text.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "{}", ended.text);
    for part in ["cannot give metrics on 127.0.0.1:9464", "has port 9464", "--metrics"] {
        assert!(errors[0].contains(part), "{part}: {}", ended.text);
    }
    pair.ours.until_detached(OURS);
    drop(first);
    let daemon = Daemon::spawn(&pair.ours, crate::daemon::xblade(&arguments));
    daemon.wait_for("ready:");
    daemon.stop();
}
