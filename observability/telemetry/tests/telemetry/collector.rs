//! A collector: as much HTTP as the exporter speaks, on a thread of its own.

use std::io::{BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

/// What arrived: the path and the body of a request.
type Arrived = (String, Vec<u8>);

/// Listens until the test process ends.
pub(crate) struct Collector {
    /// Its base URL.
    pub(crate) endpoint: String,
    arrived: Receiver<Arrived>,
}

/// Everything that was exported.
#[derive(Default)]
pub(crate) struct Exported {
    pub(crate) spans: Vec<Span>,
    pub(crate) metrics: Vec<Metric>,
    pub(crate) resources: Vec<Resource>,
}

impl Collector {
    pub(crate) fn start() -> Self {
        let (listener, endpoint) = listen();
        let (sender, arrived) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                answer(stream.expect("the listener lives"), &sender);
            }
        });
        Self { endpoint, arrived }
    }

    /// What has been exported so far. A flush returns after the answer, and a request is noted before its
    /// answer, so nothing flushed is missing.
    pub(crate) fn exported(&self) -> Exported {
        self.arrived.try_iter().fold(Exported::default(), Exported::with)
    }
}

/// A port that takes connections and never answers, as long as the listener lives.
pub(crate) fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let endpoint = format!("http://{}", listener.local_addr().expect("it is bound"));
    (listener, endpoint)
}

/// Answers one request and closes, which the exporter copes with.
fn answer(stream: TcpStream, arrived: &Sender<Arrived>) {
    let mut reader = BufReader::new(&stream);
    let path = line(&mut reader).split(' ').nth(1).expect("a request line").to_owned();
    let mut length = 0;
    loop {
        let header = line(&mut reader).to_ascii_lowercase();
        match header.split_once(": ") {
            Some(("content-length", value)) => length = value.parse().expect("a number"),
            Some(("content-type", value)) => assert_eq!(value, "application/x-protobuf"),
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("the whole body");
    // The receiver is gone once the test has ended.
    let _ = arrived.send((path, body));
    let _ = (&stream).write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
}

fn line(reader: &mut impl std::io::BufRead) -> String {
    let mut line = String::new();
    reader.read_line(&mut line).expect("a line");
    line.trim_end().to_owned()
}

impl Exported {
    fn with(mut self, (path, body): Arrived) -> Self {
        match path.as_str() {
            "/v1/traces" => self.add_traces(&body),
            "/v1/metrics" => self.add_metrics(&body),
            other => panic!("nothing is exported to {other}"),
        }
        self
    }

    fn add_traces(&mut self, body: &[u8]) {
        let request = ExportTraceServiceRequest::decode(body).expect("OTLP traces");
        for part in request.resource_spans {
            self.resources.extend(part.resource);
            self.spans
                .extend(part.scope_spans.into_iter().flat_map(|scope| scope.spans));
        }
    }

    fn add_metrics(&mut self, body: &[u8]) {
        let request = ExportMetricsServiceRequest::decode(body).expect("OTLP metrics");
        for part in request.resource_metrics {
            self.resources.extend(part.resource);
            self.metrics
                .extend(part.scope_metrics.into_iter().flat_map(|scope| scope.metrics));
        }
    }

    /// The one span of that name.
    pub(crate) fn span(&self, name: &str) -> &Span {
        let mut found = self.spans.iter().filter(|span| span.name == name);
        let span = found
            .next()
            .unwrap_or_else(|| panic!("no span {name} among {:?}", self.spans));
        assert!(found.next().is_none(), "two spans {name}");
        span
    }

    /// The metric of that name.
    pub(crate) fn metric(&self, name: &str) -> &Metric {
        let found = self.metrics.iter().find(|metric| metric.name == name);
        found.unwrap_or_else(|| panic!("no metric {name} among {:?}", self.metrics))
    }
}

/// A text attribute of a resource.
pub(crate) fn attribute<'a>(resource: &'a Resource, key: &str) -> Option<&'a str> {
    let attribute = resource.attributes.iter().find(|attribute| attribute.key == key)?;
    match attribute.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}
