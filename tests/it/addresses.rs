//! By which addresses a server is known: hosts, proxies, paths, and its certificate.

use crate::operation::{ADMIN, configured, keys, serve};
use crate::served::{Sample, Served};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

#[test]
fn hosts_and_origins_are_those_that_are_allowed() {
    let sample = Sample::new(100);
    let config = configured(&sample, &format!(
        "datasets: {{paths: [{}]}}\nallowed_hosts: [tiles.example.org]\ncors: {{origins: ['https://maps.example.org']}}\ntrusted_proxies: [127.0.0.0/8]\n",
        sample.dataset().display()
    ));
    let served = serve(&config, &[]);
    assert_eq!(served.get("/catalog").status, 421);
    assert_eq!(served.get("/health").status, 200, "machines ask by address");
    let proxied = [("X-Forwarded-Host", "tiles.example.org"), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Prefix", "/maps")];
    let tile_json = served.get_with("/towers.json", &proxied).json();
    assert!(tile_json["tiles"][0].as_str().unwrap().starts_with("https://tiles.example.org/maps/towers/"), "{tile_json}");
    for (origin, allowed) in [("https://maps.example.org", "https://maps.example.org"), ("https://evil.example.org", "")] {
        let got = served.get_with("/catalog", &[("Origin", origin), ("Host", "tiles.example.org")]);
        assert_eq!((got.status, got.header("access-control-allow-origin")), (200, allowed));
        assert_eq!(got.header("referrer-policy"), "same-origin");
    }
}

/// Goal: under a path, everything is there and leads back there, and nothing is beside it but what machines ask for.
#[test]
fn a_server_under_a_path_gives_out_addresses_that_work() {
    let sample = Sample::new(500);
    let plain = Served::start(&sample.dataset(), &[]);
    let served = Served::start(&sample.dataset(), &["--route-prefix", "/maps/tiles", "--set", "trusted_proxies=[127.0.0.0/8]"]);
    for path in ["/towers/1/1/0.png?how=log", "/towers/stats", "/towers/0/0/0.npy", "/catalog", "/metrics", "/health", "/ready", "/ui/index.html", "/openapi.json"] {
        let (bare, under) = (plain.get(path), served.get(&format!("/maps/tiles{path}")));
        assert_eq!((under.status, under.header("content-type")), (200, bare.header("content-type")), "{path}");
        assert_eq!(served.get(path).status, if ["/health", "/ready"].contains(&path) { 200 } else { 404 }, "{path}");
    }
    let problem = served.get("/catalog");
    assert!(problem.header("content-type") == "application/problem+json" && problem.text().contains("begin with /maps/tiles/"), "{}", problem.text());
    let linked = |document: serde_json::Value, pointer: &str| document.pointer(pointer).unwrap().as_str().unwrap().to_owned();
    let tile = linked(served.get("/maps/tiles/towers.json?how=log").json(), "/tiles/0").replace("{z}/{x}/{y}", "1/1/0");
    assert!(tile.starts_with(&format!("{}/maps/tiles/towers/1/1/0.png?", served.base)), "{tile}");
    let version = &tile[tile.find('?').unwrap()..];
    assert_eq!(served.get(tile.strip_prefix(&served.base).unwrap()).body, plain.get(&format!("/towers/1/1/0.png{version}")).body);
    let style = linked(served.get("/maps/tiles/towers/style.json").json(), "/sources/points/tiles/0");
    assert!(style.starts_with(&format!("{}/maps/tiles/towers/", served.base)), "{style}");
    // A proxy before it may take another part of the path away.
    let behind = served.get_with("/maps/tiles/towers.json", &[("X-Forwarded-Prefix", "/world")]);
    assert!(linked(behind.json(), "/tiles/0").starts_with(&format!("{}/world/maps/tiles/towers/", served.base)));

    // The page: with its slash, and with its files.
    let redirected = served.get("/maps/tiles");
    assert_eq!((redirected.status, redirected.header("content-type")), (200, "text/html; charset=utf-8"), "the redirect is followed");
    let page = served.get("/maps/tiles/").text();
    assert_eq!(redirected.text(), page);
    let script = page.split('"').find(|text| text.ends_with(".js")).unwrap();
    assert!(script.starts_with("/maps/tiles/ui/"), "{script}");
    assert_eq!((served.get(script).status, served.get(script).header("content-type")), (200, "text/javascript; charset=utf-8"));
    assert!(!page.contains("\"/ui/"), "{page}");
}

/// The subject of the certificate that the server shows, and its answer to a request.
fn asked_over_tls(address: &str, root: &Path, path: &str) -> Result<String, String> {
    use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject};
    use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, crypto::ring};
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(root).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(ring::default_provider().into()).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let connection = ClientConnection::new(config.into(), "localhost".try_into().unwrap()).unwrap();
    let mut stream = StreamOwned::new(connection, TcpStream::connect(address).unwrap());
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[test]
fn a_certificate_is_exchanged_without_a_restart() {
    let sample = Sample::new(100);
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/tls");
    let installed = |name: &str| {
        for kind in ["pem", "key"] {
            std::fs::copy(fixtures.join(format!("{name}.{kind}")), sample.folder.path().join(format!("tls.{kind}"))).unwrap();
        }
    };
    installed("one");
    let folder = sample.folder.path().display();
    let config = configured(&sample, &format!(
        "datasets: {{paths: [{}]}}\ntls: {{certificate: {folder}/tls.pem, key: {folder}/tls.key}}\n{}  anonymous: all\n",
        sample.dataset().display(), keys()
    ));
    let served = serve(&config, &["--admin-listen", "127.0.0.1:0"]);
    let address = served.base.strip_prefix("https://").expect("it says how it listens");
    let (one, two) = (fixtures.join("one.pem"), fixtures.join("two.pem"));
    let answer = asked_over_tls(address, &one, "/towers.json").unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("https://localhost/towers/") && answer.contains("strict-transport-security"), "{answer}");
    assert!(asked_over_tls(address, &two, "/ready").is_err());

    // A key of another certificate is refused, and the old pair stays.
    std::fs::copy(fixtures.join("two.pem"), sample.folder.path().join("tls.pem")).unwrap();
    let refused = served.administer("POST", "/admin/reload", ADMIN, "");
    assert!(refused.status == 422 && refused.text().contains("cannot be used"), "{}", refused.text());
    assert!(asked_over_tls(address, &one, "/ready").is_ok());
    installed("two");
    assert_eq!(served.administer("POST", "/admin/reload", ADMIN, "").status, 200);
    assert!(asked_over_tls(address, &two, "/ready").unwrap().starts_with("HTTP/1.1 200"));
    assert!(asked_over_tls(address, &one, "/ready").is_err());
}
