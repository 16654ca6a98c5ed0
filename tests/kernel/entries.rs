//! `ctnl get` and `ctnl delete`: one exact entry, as typed or as pasted.

use ctnl::model::Flow;

use crate::harness::{World, assert_same_entries, key, tests, udp};
use crate::verbs::bystanders;

tests![
    every_line_of_a_list_can_be_pasted_into_get,
    get_finds_an_entry_by_either_direction_and_in_its_zone,
    delete_takes_the_entry_of_a_pasted_line_and_no_other,
    delete_with_another_id_deletes_nothing,
    a_dry_run_of_delete_deletes_nothing,
];

const OPTIONS: [&str; 4] = ["conntrack", "id", "extended", "extended,id,labels"];

fn every_line_of_a_list_can_be_pasted_into_get(world: &World) {
    world.fill(61, 150);
    world.create(&bystanders());
    for options in OPTIONS {
        let lines = world.ctnl(&["list", "-o", options]).exits_with(0).stdout();
        assert_eq!(lines.lines().count(), 167);
        for line in lines.lines().step_by(5) {
            let found = world.ctnl(&["get", line, "-o", options]).exits_with(0).stdout();
            assert_eq!(comparable(&found), comparable(line), "{options}");
        }
    }
}

/// The line without the seconds left, which tick, and without the references,
/// of which a lookup holds one.
fn comparable(line: &str) -> Vec<&str> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let is_number = |word: &&str| word.bytes().all(|byte| byte.is_ascii_digit());
    let last = words.iter().take_while(|word| !word.starts_with("src=")).filter(|word| is_number(word)).last();
    let time = last.and_then(|time| words.iter().rposition(|word| word == time));
    let words = words.iter().enumerate().filter(|(place, _)| Some(*place) != time).map(|(_, word)| *word);
    words.filter(|word| !word.starts_with("use=")).collect()
}

fn get_finds_an_entry_by_either_direction_and_in_its_zone(world: &World) {
    let zoned = Flow { zone_both: Some(7), mark: Some(70), ..udp(1000, 53) };
    world.create(&[udp(1000, 53), zoned]);
    let get = |words: &[&str]| world.ctnl(&[&["get", "--json"], words].concat());
    let there = ["udp", "10.0.0.1:1000", "192.0.2.1:53"];
    let back = ["udp", "192.0.2.1:53", "10.0.0.1:1000"];
    for tuple in [there, back] {
        let found = get(&tuple).exits_with(0).stdout();
        assert!(found.contains("\"sport\":1000") && found.contains("\"mark\":0"), "{found}");
        let found = get(&[&tuple[..], &["--zone", "7"]].concat()).exits_with(0).stdout();
        assert!(found.contains("\"mark\":70"), "{found}");
        get(&[&tuple[..], &["--zone", "8"]].concat()).exits_with(1).says("no such entry");
    }
    get(&["tcp", "10.0.0.1:1000", "192.0.2.1:53"]).exits_with(1);
}

fn delete_takes_the_entry_of_a_pasted_line_and_no_other(world: &World) {
    let mut all = bystanders();
    world.create(&all);
    while let Some(victim) = all.pop() {
        let dumped = world.dump();
        let found = dumped.iter().find(|flow| key(flow) == key(&victim)).expect("an entry");
        let id = format!("id={}", found.id.unwrap());
        let lines = world.ctnl(&["list", "-o", "id"]).exits_with(0).stdout();
        let line = lines.lines().find(|line| line.ends_with(&id)).expect("a line");
        let run = world.ctnl(&["delete", line, "-o", "id"]).exits_with(0).says("1 deleted");
        assert_eq!(comparable(&run.stdout()), comparable(line));
        assert_same_entries(&world.dump(), &all);
        world.ctnl(&["delete", line]).exits_with(1).says("no such entry");
    }
}

fn delete_with_another_id_deletes_nothing(world: &World) {
    let all = bystanders();
    world.create(&all);
    for flow in world.dump().iter().filter(|flow| flow.orig.sport().is_some()) {
        let other = flow.id.unwrap().wrapping_add(1).to_string();
        let zone = flow.zone().orig().to_string();
        let (sport, dport) = flow.orig.ports().unwrap();
        let end = |address: std::net::IpAddr, port| std::net::SocketAddr::new(address, port).to_string();
        let (src, dst) = (end(flow.orig.src, sport), end(flow.orig.dst, dport));
        let protocol = u8::from(flow.orig.protocol).to_string();
        let run = world.ctnl(&["delete", &protocol, &src, &dst, "--zone", &zone, "--id", &other]);
        assert_eq!(run.exits_with(1).says("no such entry").stdout(), "");
    }
    assert_same_entries(&world.dump(), &all);
}

fn a_dry_run_of_delete_deletes_nothing(world: &World) {
    world.create(&[udp(1, 53)]);
    let delete = ["delete", "udp", "10.0.0.1:1", "192.0.2.1:53", "--dry-run"];
    assert!(world.ctnl(&delete).exits_with(0).stdout().contains("sport=1 dport=53"));
    assert_eq!(world.dump().len(), 1);
    world.ctnl(&delete[..4]).exits_with(0).says("1 deleted");
    assert_eq!(world.dump(), []);
}
