//! What an append makes a server forget: the tiles whose points it changed, and no others.

use crate::command::pointillist;
use crate::served::{Sample, Served, rows};
use std::process::Command;
use std::time::{Duration, Instant};

/// Appends rows to the sample and has the server take them up. They lie in the eastern half of the sample's last cluster, which is around 150
/// degrees east and 42 north.
fn append(sample: &Sample, served: &Served) {
    let (csv, _) = rows(3000);
    let mut lines = csv.lines();
    let header = lines.next().unwrap();
    let is_east = |line: &&str| line.split(',').nth(1).unwrap().parse::<f64>().unwrap() > WEST_END;
    let more: Vec<&str> = lines.filter(is_east).collect();
    assert!(more.len() > 100);
    let input = sample.folder.path().join("more.csv");
    std::fs::write(&input, format!("{header}\n{}\n", more.join("\n"))).unwrap();
    let before = served.get("/towers/stats").json()["data_version"].clone();
    let run = pointillist(["append".as_ref(), sample.dataset().as_os_str(), input.as_os_str()]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(Command::new("kill").args(["-HUP", &served.process_id().to_string()]).status().unwrap().success());
    let asked = Instant::now();
    while served.get("/towers/stats").json()["data_version"] == before {
        assert!(asked.elapsed() < Duration::from_secs(60), "the hangup is not heard");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What the server has done so far: points that filters were asked about, and grids that were counted.
fn work(served: &Served) -> (f64, f64) {
    let counted = served.metric("pointillist_tile_cache_requests_total{cache=\"grid\",result=\"miss\"}");
    (served.metric("pointillist_points_scanned_total"), counted)
}

/// Where a tile of zoom 5 begins, and so all that is appended.
const WEST_END: f64 = 146.25;

/// Two tiles of zoom 2 with points: far from what is appended, and under it.
const FAR: &str = "2/0/2";
const UNDER: &str = "2/3/1";

/// Goal: after an append, whatever of a tile depends on its own points only is still known, by the same ETag, and costs nothing: counts
/// with and without a filter, aggregates, images that are coloured by themselves, spread or not. What is under the new points is counted anew.
#[test]
fn tiles_that_an_append_leaves_as_they_were_are_still_known() {
    let sample = Sample::new(3000);
    let served = Served::start(&sample.dataset(), &[]);
    let addresses = |tile: &str| {
        [
            format!("/towers/{tile}.npy"),
            format!("/towers/{tile}.npy?filter=range%20%3E%201000"),
            format!("/towers/{tile}.npy?agg=mean&column=range"),
            format!("/towers/{tile}@2x.png?normalize=tile"),
            format!("/towers/{tile}.png?how=linear&span=1,20&filter=range%20%3E%201000"),
            format!("/towers/{tile}.png?normalize=tile&spread=2"),
        ]
    };
    let [far, under] = [FAR, UNDER].map(|tile| addresses(tile).map(|address| (served.get(&address), address)));
    append(&sample, &served);

    let before = work(&served);
    for (former, address) in &far {
        let again = served.get(address);
        assert_eq!((again.status, again.header("x-cache"), again.header("etag")), (200, "HIT", former.header("etag")), "{address}");
        assert_eq!(again.body, former.body, "{address}");
        let known = served.get_with(address, &[("If-None-Match", former.header("etag"))]);
        assert_eq!((known.status, known.body.len()), (304, 0), "{address}");
    }
    assert_eq!(work(&served), before, "what has not changed costs no scan and no count");
    for (former, address) in &under {
        let again = served.get_with(address, &[("If-None-Match", former.header("etag"))]);
        assert_eq!((again.status, again.header("x-cache")), (200, "MISS"), "{address}");
        assert_ne!((again.header("etag"), &again.body), (former.header("etag"), &former.body), "{address}");
    }
    assert!(work(&served) > before);
    let counts = |tile: &str| served.get(&format!("/towers/{tile}.npy")).counts().iter().sum::<u32>();
    let all: u32 = (0..16).map(|i| counts(&format!("2/{}/{}", i % 4, i / 4))).sum();
    assert_eq!(Some(u64::from(all)), served.get("/towers/stats").json()["rows"].as_u64());
}

/// Goal: what is spread into a tile from beside it makes it another tile. Method: of the tiles around those that have changed, images that
/// are spread are made again and images that are not are still known.
#[test]
fn what_is_spread_over_a_border_changes_the_tile_behind_it() {
    let sample = Sample::new(3000);
    let served = Served::start(&sample.dataset(), &[]);
    // The tile before `WEST_END`, with points of its own.
    let beside = "5/28/11";
    let (alone, spread) = (format!("/towers/{beside}.png?normalize=tile"), format!("/towers/{beside}.png?normalize=tile&spread=2"));
    let former = [&alone, &spread].map(|address| served.get(address).header("etag").to_owned());
    append(&sample, &served);
    assert_eq!((served.get(&alone).header("x-cache"), served.get(&alone).header("etag")), ("HIT", former[0].as_str()));
    assert_eq!((served.get(&spread).header("x-cache"), served.get(&spread).header("etag") == former[1]), ("MISS", false));
}

/// Goal: an image that is coloured by the whole zoom has another ETag, for its colours may be others, and is made from the counts that are
/// there. Method: equal to the image of a server that starts with the new version; no grid is counted, no filter asked.
#[test]
fn colours_follow_the_distribution_without_a_new_count() {
    let sample = Sample::new(3000);
    let served = Served::start(&sample.dataset(), &[]);
    let address = format!("/towers/{FAR}.png");
    let former = served.get(&address);
    append(&sample, &served);
    let before = work(&served);
    let again = served.get_with(&address, &[("If-None-Match", former.header("etag"))]);
    assert_eq!((again.status, again.header("x-cache"), again.header("etag") == former.header("etag")), (200, "MISS", false));
    assert_eq!(work(&served), before, "the counts were there");
    let anew = Served::start(&sample.dataset(), &[]);
    assert_eq!(anew.get(&address).body, again.body);
    assert!(work(&anew) > (0.0, 0.0));
}

/// Goal: under overload a map is shown what it was shown before, if the operator has said so, and it is told. Method: tiles that were
/// made before the append, asked for while the only thread and the only place in its queue are taken.
#[test]
fn an_overloaded_server_shows_the_tiles_of_the_version_before() {
    let sample = Sample::new(3000);
    let set = ["--set", "limits.threads=1", "--queue", "1", "--set", "limits.client_requests=100", "--set", "cache.stale=true"];
    let served = Served::start(&sample.dataset(), &set);
    let addresses: Vec<String> = (0..64).map(|i| format!("/towers/3/{}/{}.png", i % 8, i / 8)).collect();
    let former: Vec<_> = addresses.iter().map(|address| served.get(address)).collect();
    append(&sample, &served);
    let is_over = std::sync::atomic::AtomicBool::new(false);
    let answers: Vec<_> = std::thread::scope(|scope| {
        for client in 0..8 {
            let (served, is_over) = (&served, &is_over);
            scope.spawn(move || {
                let mut i = 0;
                while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                    i += 1;
                    served.get(&format!("/towers/0/0/0@2x.png?filter=range%20%3C%20{}", 1000 * client + i));
                }
            });
        }
        let answers = addresses.iter().map(|address| served.get(address)).collect();
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        answers
    });
    // Tiles without points are in no cache.
    let of_nothing = former.iter().map(|got| got.body.len()).min().unwrap();
    let mut stale = 0;
    for ((address, before), after) in addresses.iter().zip(&former).zip(&answers) {
        if after.header("x-cache") != "STALE" {
            assert!(after.status == 200 || (after.status == 503 && before.body.len() == of_nothing), "{address}: {}", after.status);
            continue;
        }
        stale += 1;
        assert_eq!((after.status, after.header("x-tile-quality"), after.header("etag")), (200, "stale", ""), "{address}");
        assert_eq!((after.header("cache-control"), &after.body), ("public, max-age=2", &before.body), "{address}");
    }
    assert!(stale > 0, "nothing was refused");
}
