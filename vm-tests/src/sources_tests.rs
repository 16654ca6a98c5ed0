//! apt's sources for another suite. (The library of the tests has no tests of its own.)

use std::fs;

use anyhow::Result;
use ctnl_test_support::apt::derived;

fn of(file: &str, text: &str) -> Result<String> {
    let etc = tempfile::tempdir()?;
    fs::create_dir(etc.path().join("sources.list.d"))?;
    fs::write(etc.path().join(file), text)?;
    derived(etc.path(), "trixie")
}

#[test]
fn the_mirror_and_the_keys_stay_and_the_suite_is_replaced() -> Result<()> {
    let text = "Types: deb deb-src\n# a comment\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\n\
                Components: main contrib\nSigned-By: /usr/share/keyrings/k.gpg\n\n\
                Types: deb\nURIs: http://mirror.example/debian-security\nSuites: bookworm-security\nComponents: main\n";
    let expected = "Types: deb\nURIs: http://mirror.example/debian\nSuites: trixie\nComponents: main\n\
                    Signed-By: /usr/share/keyrings/k.gpg\n";
    assert_eq!(of("sources.list.d/debian.sources", text)?, expected);
    Ok(())
}

#[test]
fn one_line_sources_are_parsed_too() -> Result<()> {
    let text = "# deb http://a/ sid main\ndeb [arch=amd64 signed-by=/k] http://b/debian stable main\n\
                deb-src http://b/debian stable main\ndeb http://b/debian stable-updates main\n";
    let expected = "Types: deb\nURIs: http://b/debian\nSuites: trixie\nComponents: main\nSigned-By: /k\n";
    assert_eq!(of("sources.list", text)?, expected);
    Ok(())
}

#[test]
fn a_repository_that_only_names_its_suite_like_a_release_is_left_out() -> Result<()> {
    let text = "deb http://a/chrome/deb stable main\ndeb\t[trusted=yes]\thttp://b/debian/ bookworm main\n\
                deb http://c/docker/debian bookworm stable\n";
    let expected = "Types: deb\nURIs: http://b/debian/\nSuites: trixie\nComponents: main\nTrusted: yes\n";
    assert_eq!(of("sources.list", text)?, expected);
    let folded = "Types: deb\nURIs: http://m/debian\nSuites:\tbookworm\n  bookworm-updates\nComponents: main\n";
    assert!(of("sources.list.d/debian.sources", folded).is_ok());
    // A mirror may be called anything, where there is no other.
    assert!(of("sources.list", "deb http://m/mirror bookworm main\n").is_ok());
    Ok(())
}

#[test]
fn a_machine_without_a_release_among_its_sources_is_an_error() {
    assert!(of("sources.list", "deb http://c/node nodistro main\n").is_err());
    assert!(of("sources.list.d/x.sources", "Enabled: no\nTypes: deb\nURIs: u\nSuites: sid\n").is_err());
}
