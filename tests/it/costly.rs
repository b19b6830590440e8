//! Requests that are made to cost as much as possible: each is refused with its reason, or answered within its bounds.

use crate::served::{Sample, Served};

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// Goal: a filter costs no more than its limits, in every dimension that its author can blow up. Method: one beyond each limit is refused
/// with 400 and a sentence, the largest within it is answered; all by a server whose requests may take ten seconds.
#[test]
fn filters_are_refused_or_cost_no_more_than_their_limits() {
    let sample = Sample::new(3000);
    // Room for whatever a filter of 8 KiB is encoded to.
    let served = Served::start(&sample.dataset(), &["--timeout", "10s", "--set", "limits.uri=60KB", "--set", "limits.head=100KB"]);
    let joined = |with: &str, term: &dyn Fn(usize) -> String, n: usize| (0..n).map(term).collect::<Vec<_>>().join(with);
    let zigzag = |n: usize| joined(",", &|i| format!("{} {}", if i % 2 == 0 { -179 } else { 179 }, i % 80), n);
    let cases: Vec<(&str, String, u16)> = vec![
        ("nesting", format!("{}range > 1{}", "(".repeat(20), ")".repeat(20)), 200),
        ("nesting", format!("{}range > 1{}", "(".repeat(3000), ")".repeat(3000)), 400),
        ("negations", format!("{}range > 1", "NOT ".repeat(2000)), 400),
        ("comparisons", joined(" OR ", &|i| format!("range={i}"), 256), 200),
        ("comparisons", joined(" OR ", &|i| format!("range={i}"), 257), 400),
        ("list", format!("range IN ({})", joined(",", &|i| i.to_string(), 1024)), 200),
        ("list", format!("range IN ({})", joined(",", &|i| i.to_string(), 1025)), 400),
        ("pattern", format!("radio LIKE '{}b'", "%a".repeat(4000)), 200),
        ("pattern", format!("radio LIKE '{}'", "%_".repeat(4000)), 200),
        ("patterns", joined(" OR ", &|_| "radio LIKE '%a%a%a%b'".into(), 256), 200),
        ("any case", format!("CASEI(radio) IN ({})", joined(",", &|i| format!("CASEI('{i}')"), 600)), 200),
        ("vertices", format!("S_INTERSECTS(geometry, POLYGON(({})))", zigzag(1000)), 200),
        ("vertices", format!("S_INTERSECTS(geometry, POLYGON(({})))", zigzag(1100)), 400),
        ("boxes", joined(" OR ", &|i| format!("S_INTERSECTS(geometry, BBOX({},0,90,80))", i % 80), 150), 200),
        ("length", format!("radio = '{}'", "a".repeat(9000)), 400),
        ("number", format!("range > {}", "9".repeat(5000)), 400),
        ("number", "range > 1e-5000 AND range < 1e300".into(), 200),
    ];
    for (what, filter, status) in cases {
        let got = served.get(&format!("/towers/0/0/0.npy?by=none&filter={}", encoded(&filter)));
        assert_eq!(got.status, status, "{what} of {} bytes: {}", filter.len(), String::from_utf8_lossy(&got.body[..got.body.len().min(300)]));
        if status == 400 {
            assert!(got.json()["detail"].as_str().unwrap().len() < filter.len() + 600, "{what}: the reason is short");
        }
    }
}

#[test]
fn other_parameters_are_refused_beyond_their_limits() {
    let sample = Sample::new(300);
    let served = Served::start(&sample.dataset(), &[]);
    let many = |n: usize, of: &str| vec![of; n].join(",");
    for (path, status) in [
        ("/towers/histogram?column=range&bins=1024".into(), 200),
        ("/towers/histogram?column=range&bins=1025".into(), 400),
        ("/towers/histogram?column=range&bins=18446744073709551616".into(), 400),
        ("/towers/histogram?column=range&bins=-1".into(), 400),
        ("/towers/histogram?column=range&min=1e308&max=-1e308".into(), 400),
        ("/towers/histogram?column=range&min=-1e308&max=1e308".into(), 200),
        ("/towers/histogram?column=radio&limit=1000000".into(), 400),
        ("/towers/points?limit=18446744073709551615".into(), 200),
        ("/towers/points?limit=18446744073709551615&offset=18446744073709551615".into(), 200),
        ("/towers/points?limit=1e9".into(), 400),
        (format!("/towers/points?columns={}", many(2000, "range")), 400),
        ("/towers/0/0/0.png?spread=1000".into(), 400),
        ("/towers/0/0/0.png?tilesize=100000".into(), 400),
        (format!("/towers/0/0/0.png?colors={}", many(300, "LTE:ff0000")), 400),
        ("/towers/99/0/0.png".into(), 404),
        ("/towers/22/4294967295/0.png".into(), 400),
        ("/towers/18446744073709551616/0/0.png".into(), 400),
    ] {
        let got = served.get(&path);
        let shown = &path[..path.len().min(100)];
        assert_eq!(got.status, status, "{shown}: {}", got.text());
    }
    let brushes: String = (0..40).map(|i| format!("\"c{i}\":[0,1]")).collect::<Vec<_>>().join(",");
    assert_eq!(served.post("/towers/crossfilter", &format!("{{\"brushes\":{{{brushes}}}}}")).status, 400);
    let columns = vec!["\"range\""; 33].join(",");
    assert_eq!(served.post("/towers/crossfilter", &format!("{{\"columns\":[{columns}]}}")).status, 400);
    let nested = format!("{{\"brushes\":{{\"range\":{}{}}}}}", "[".repeat(10_000), "]".repeat(10_000));
    assert_eq!(served.post("/towers/crossfilter", &nested).status, 400);
}
