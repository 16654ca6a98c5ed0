//! `ctnl doctor --html` in a browser.

use std::path::Path;

use ctnl_test_support::harness::{TestNetns, tests};
use serde_json::Value;

use crate::browser::Browser;

tests![
    the_page_of_a_busy_host_shows_every_figure_at_any_width_and_fetches_nothing,
    names_from_files_of_the_host_are_text_in_the_page
];

/// Elements that reach out of the window, apart from the patterns, which have no size.
const OVERFLOWING: &str = "[...document.querySelectorAll('body *')]
    .filter(element => element.getBoundingClientRect().right > document.documentElement.clientWidth + 1 && !element.closest('.defs'))
    .map(element => element.outerHTML.slice(0, 200))";
/// The entries in all rows of the idle times.
const IDLE_ENTRIES: &str = "[...document.querySelectorAll('section')]
    .find(section => section.innerText.startsWith('How long entries have been idle'))
    .querySelectorAll('tbody tr').values()
    .reduce((sum, row) => sum + Number(row.cells[1].innerText.replaceAll(',', '')), 0)";
const TEXT: &str = "document.body.innerText";

fn url(path: &Path) -> String {
    format!("file://{}", path.display())
}

/// Fails unless the page at `path` fits the window at each width, and has fetched nothing and run nothing.
fn assert_fits_and_is_inert(browser: &mut Browser, path: &Path) {
    for width in [360, 1280] {
        browser.load(&url(path), width);
        assert_eq!(browser.evaluate("innerWidth"), width);
        assert_eq!(browser.evaluate(OVERFLOWING), Value::Array(Vec::new()), "{width}");
        // Beside the scroll bar.
        let space = browser.evaluate("document.documentElement.clientWidth");
        assert_eq!(browser.evaluate("document.documentElement.scrollWidth"), space, "{width}");
    }
    assert_eq!(browser.evaluate("document.scripts.length"), 0);
    assert_eq!(browser.evaluate("document.querySelectorAll('main section').length > 3"), true);
    assert_eq!(browser.complaints, Vec::<String>::new());
    let fetched: Vec<_> = browser.requests.iter().filter(|request| **request != url(path)).collect();
    assert!(fetched.iter().all(|request| request.starts_with("data:")), "{fetched:?}");
}

fn the_page_of_a_busy_host_shows_every_figure_at_any_width_and_fetches_nothing(netns: &TestNetns) {
    let flows = netns.fill(7, 3_000);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("page.html");
    let run = netns.ctnl(&["doctor", "--watch", "2s", "--json", "--html", path.to_str().unwrap()]);
    let report: Value = serde_json::from_str(&run.stdout()).unwrap();
    let mut browser = Browser::start();
    assert_fits_and_is_inert(&mut browser, &path);
    let text = browser.evaluate(TEXT);
    let text = text.as_str().unwrap();
    for finding in report["findings"].as_array().unwrap() {
        for shown in [&finding["title"], &finding["consequence"]] {
            assert!(text.contains(shown.as_str().unwrap()), "{shown}\n{text}");
        }
        let commands = finding["fixes"].as_array().unwrap().iter().filter_map(|fix| fix["command"].as_str());
        commands.for_each(|command| assert!(text.contains(command), "{command}\n{text}"));
    }
    assert!(text.contains(&format!("{},{:03} of ", flows.len() / 1000, flows.len() % 1000)), "{text}");
    for shown in ["tcp ESTABLISHED", "udp UNREPLIED", "insert_failed", "entries in the table"] {
        assert!(text.contains(shown), "{shown}\n{text}");
    }
    assert_eq!(browser.evaluate(IDLE_ENTRIES), flows.len());
    assert_stacked_bar_is_as_wide_as_the_table_is_full(&mut browser, netns);
    assert!(browser.pdf().starts_with("JVBER"), "no PDF");
}

/// The parts of the bar cover the part of the maximum that is in use.
fn assert_stacked_bar_is_as_wide_as_the_table_is_full(browser: &mut Browser, netns: &TestNetns) {
    let covered = "[...document.querySelectorAll('.stack .part')].map(part => part.getBoundingClientRect().width)
        .reduce((a, b) => a + b, 0) / document.querySelector('.stack').getBoundingClientRect().width";
    let covered = browser.evaluate(covered).as_f64().unwrap();
    let max: f64 = netns.sysctl("netfilter/nf_conntrack_max").trim().parse().unwrap();
    let full = netns.dump().len() as f64 / max;
    assert!((covered - full).abs() < 0.01, "{covered} {full}");
}

fn names_from_files_of_the_host_are_text_in_the_page(netns: &TestNetns) {
    let folder = tempfile::tempdir().unwrap();
    let hostile = "<script>document.title='run'</script><img src=x onerror=document.title='run'>\"'&";
    for (path, text) in [
        ("etc/hostname", hostile.to_owned()),
        ("var/log/messages", format!("2026-11-29T01:52:10Z localhost kernel: nf_conntrack: table full{hostile}\n")),
        ("var/log/messages.1.xz", String::new()),
    ] {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let page = folder.path().join("page.html");
    netns.ctnl(&["doctor", "--root", folder.path().to_str().unwrap(), "--html", page.to_str().unwrap()]);
    let mut browser = Browser::start();
    assert_fits_and_is_inert(&mut browser, &page);
    let (text, title) = (browser.evaluate(TEXT), browser.evaluate("document.title"));
    assert!(text.as_str().unwrap().contains(&format!("table full{hostile}")), "{text}");
    assert_eq!(title, format!("Conntrack on {hostile}"));
    assert_eq!(browser.evaluate("document.images.length"), 0);
}
