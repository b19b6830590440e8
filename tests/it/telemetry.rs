//! Traces: a collector on this machine gets a span for every request and for the steps behind it, of the trace that the client began; and
//! one that is not there costs nothing.

use crate::served::{Sample, Served};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// What came: the request line and content type, and the body.
type Posted = (String, String, ExportTraceServiceRequest);

/// A collector that takes whatever comes, at `http://127.0.0.1:PORT`.
fn collector() -> (String, Receiver<Posted>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (send, receive) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let send = send.clone();
            std::thread::spawn(move || {
                let mut stream = BufReader::new(stream.unwrap());
                while let Some(posted) = posted(&mut stream) {
                    stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n").unwrap();
                    // The test may have seen enough.
                    let _ = send.send(posted);
                }
            });
        }
    });
    (address, receive)
}

fn posted(stream: &mut BufReader<TcpStream>) -> Option<Posted> {
    let mut first = String::new();
    stream.read_line(&mut first).ok().filter(|bytes| *bytes > 0)?;
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let mut body = vec![0; headers["content-length"].parse().unwrap()];
    stream.read_exact(&mut body).unwrap();
    Some((first.trim().to_owned(), headers["content-type"].clone(), ExportTraceServiceRequest::decode(&body[..]).unwrap()))
}

fn attribute(span: &Span, name: &str) -> String {
    let found = span.attributes.iter().find(|attribute| attribute.key == name).and_then(|found| found.value.clone()?.value);
    match found {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => panic!("{name} is {other:?}"),
    }
}

/// Goal: what the client began goes on through the queue and every step, and no key is in it. Method: by the variables that OpenTelemetry
/// itself knows, and by the configuration's setting; the spans of one request, by the client's trace.
#[test]
fn a_request_is_a_trace_of_its_steps() {
    let sample = Sample::new(500);
    for is_by_variable in [true, false] {
        let (address, posts) = collector();
        let setting = format!("telemetry.otlp_endpoint={address}");
        let variables: Vec<(&str, &Path)> = match is_by_variable {
            true => vec![("OTEL_BSP_SCHEDULE_DELAY", Path::new("50")), ("OTEL_EXPORTER_OTLP_ENDPOINT", Path::new(&address))],
            false => vec![("OTEL_BSP_SCHEDULE_DELAY", Path::new("50"))],
        };
        let arguments: &[&str] = if is_by_variable { &[] } else { &["--set", &setting] };
        let served = Served::start_in(&sample.dataset(), arguments, &variables);
        let trace = "0af7651916cd43dd8448eb211c80319c";
        let traced = [("traceparent", &*format!("00-{trace}-b7ad6b7169203331-01"))];
        assert_eq!(served.get_with("/towers/1/1/0.png?filter=range%20%3E%20100", &traced).status, 200);
        let mut spans: Vec<Span> = Vec::new();
        while !spans.iter().any(|span| span.name.starts_with("GET ")) || spans.len() < 7 {
            let (first, content_type, request) = posts.recv_timeout(Duration::from_secs(60)).expect("the collector hears of it");
            assert_eq!((first.as_str(), content_type.as_str()), ("POST /v1/traces HTTP/1.1", "application/x-protobuf"));
            for resource in request.resource_spans {
                let named = resource.resource.unwrap().attributes.into_iter().find(|attribute| attribute.key == "service.name").unwrap();
                assert_eq!(named.value.unwrap().value, Some(Value::StringValue("pointillist".into())));
                let all = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
                spans.extend(all.filter(|span| span.trace_id == 0x0af7651916cd43dd8448eb211c80319cu128.to_be_bytes()));
            }
        }
        let root = spans.iter().find(|span| span.name.starts_with("GET ")).unwrap();
        assert_eq!((root.name.as_str(), root.kind, &root.parent_span_id[..]), ("GET /{dataset}/{z}/{x}/{file}", 2, &0xb7ad6b7169203331u64.to_be_bytes()[..]));
        assert_eq!((attribute(root, "http.response.status_code"), attribute(root, "url.path")), ("200".into(), "/towers/1/1/0.png".into()));
        let mut steps: Vec<&str> = spans.iter().filter(|span| span.parent_span_id == root.span_id).map(|span| span.name.as_str()).collect();
        steps.sort_unstable();
        assert_eq!(steps, ["count", "distribution", "encode", "queue", "select", "shade"]);
        for span in &spans {
            assert!(root.start_time_unix_nano <= span.start_time_unix_nano && span.end_time_unix_nano <= root.end_time_unix_nano, "{}", span.name);
        }
    }
}

/// Goal: a collector that is not there costs no answer and no stop; that it is not there is said.
#[test]
fn an_absent_collector_is_said_and_costs_nothing() {
    let sample = Sample::new(100);
    // Not among the ports that are given to whoever asks for any: nobody listens there.
    let port = 1;
    let log = sample.folder.path().join("log");
    let setting = format!("telemetry.otlp_endpoint=http://127.0.0.1:{port}");
    let mut served = Served::start_logged(&sample.dataset(), &["--set", &setting], &log);
    for i in 0..50 {
        assert_eq!(served.get(&format!("/towers/0/0/0.png?min_alpha={}", i + 1)).status, 200);
    }
    assert!(Command::new("kill").args(["-TERM", &served.process_id().to_string()]).status().unwrap().success());
    assert!(served.wait().success());
    let log = std::fs::read_to_string(&log).unwrap();
    assert_eq!(log.matches("traces cannot be sent").count(), 1, "{log}");
}
