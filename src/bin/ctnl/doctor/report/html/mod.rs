//! The report as one page that needs nothing else: no scripts, no fonts, no images of others.

mod counters;
mod findings;
mod page;
mod pictures;

use self::page::{Page, grouped, shown_percent};
use super::Report;
use crate::doctor::evidence::Evidence;
use crate::doctor::finding::Severity;
use crate::doctor::when::local;

const STYLE: &str = include_str!("style.css");

/// Also should something be missed by the escaping, nothing runs and nothing is fetched.
const HEAD: &str = "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:; \
base-uri 'none'; form-action 'none'\">\n\
<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
<meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"referrer\" content=\"no-referrer\">\n\
<link rel=\"icon\" href=\"data:,\">\n<title>";

impl Report {
    /// The report as a page, with pictures of `evidence`.
    pub fn html(&self, evidence: &Evidence) -> String {
        let mut page = Page::default();
        page.markup(HEAD).text(title(evidence)).markup("</title>\n<style>\n").markup(STYLE);
        page.markup("</style>\n</head>\n<body>\n").markup(pictures::PATTERNS);
        header(&mut page, self, evidence);
        page.markup("<main>\n");
        findings::add(&mut page, self);
        pictures::add(&mut page, evidence);
        counters::add(&mut page, evidence);
        findings::add_without(&mut page, self);
        page.markup("</main>\n<footer>ctnl ").text(env!("CARGO_PKG_VERSION"));
        page.markup(" doctor. Commands are to be reviewed before they are run.</footer>\n</body>\n</html>\n");
        page.finish()
    }
}

fn title(evidence: &Evidence) -> String {
    format!("Conntrack on {}", evidence.identity.name.as_deref().unwrap_or("an unnamed host"))
}

fn header(page: &mut Page, report: &Report, evidence: &Evidence) {
    let identity = &evidence.identity;
    page.element("<header><h1>", title(evidence), "</h1>\n<p>").text(local(identity.time, &identity.zone));
    if let Some(kernel) = &identity.kernel {
        page.text(format!(" · Linux {kernel}"));
    }
    if let Some(root) = &identity.root {
        page.text(format!(" · files below {root}, no running kernel"));
    }
    if let Some(netns) = &evidence.netns_argument {
        page.text(format!(" · network namespace {netns}"));
    }
    if evidence.is_interrupted {
        page.markup(" · <strong>interrupted: only what was read until then</strong>");
    }
    page.markup("</p>\n<ul class=\"tiles\">");
    for (severity, class) in [
        (Severity::Critical, "<li class=\"critical\"><b>"),
        (Severity::Warning, "<li class=\"warning\"><b>"),
        (Severity::Note, "<li class=\"note\"><b>"),
    ] {
        let count = report.count(severity);
        let class = if count > 0 { class } else { "<li><b>" };
        page.element(class, count, "</b> ").text(plural(severity, count)).markup("</li>");
    }
    figures(page, evidence);
    page.markup("</ul></header>\n");
}

fn plural(severity: Severity, count: usize) -> String {
    let ending = if severity == Severity::Critical || count == 1 { "" } else { "s" };
    format!("{severity}{ending}")
}

fn figures(page: &mut Page, evidence: &Evidence) {
    let Ok(occupancy) = &evidence.occupancy else { return };
    let entries = occupancy.entries();
    match occupancy.after.max.map(u64::from).filter(|max| *max > 0) {
        Some(max) => {
            page.element("<li><b>", shown_percent(entries, max), "</b> full: ");
            page.text(format!("{} of {}", grouped(entries), grouped(max))).markup("</li>");
        }
        None => {
            page.element("<li><b>", grouped(entries), "</b> entries</li>");
        }
    }
    if let Ok(window) = &evidence.window {
        page.element("<li><b>", grouped(window.change("drop")), "</b> dropped in ");
        page.text(format!("{:.1} s", window.seconds())).markup("</li>");
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use ctnl::model::TcpState;
    use ctnl::table::Occupancy;
    use ctnl::units::Nanos;

    use super::*;
    use crate::doctor::check::{Check, Outcome};
    use crate::doctor::evidence::{CounterChange, OccupancyChange, SeriesPoint, Window};
    use crate::doctor::finding::Finding;
    use crate::doctor::made_up::{MadeUpHost, survey_of};

    const HOSTILE: &str = "<script>alert(1)</script>\"'&";

    static CHECKS: [Check; 2] = [
        Check {
            name: "hostile",
            about: "x",
            explanation: "x.",
            run: |_| {
                let finding = Finding::new(Severity::Critical, HOSTILE, HOSTILE).evidence(HOSTILE);
                Outcome::Findings(vec![finding.command(HOSTILE).text(HOSTILE)])
            },
        },
        Check { name: "blind", about: "y", explanation: "y.", run: |_| Outcome::CannotRun(HOSTILE.to_owned()) },
    ];

    /// A table that is a quarter full, in which `drop` moves.
    fn evidence() -> Evidence {
        let mut evidence = MadeUpHost::new().evidence();
        evidence.survey = Ok(survey_of(&[(TcpState::Established, 90_000), (TcpState::TimeWait, 10_000)]));
        let occupancy = Occupancy { entries: 100_500, max: Some(402_000) };
        evidence.occupancy = Ok(OccupancyChange { before: occupancy, after: occupancy, span: Nanos(1) });
        let change = |change| CounterChange { name: "drop".to_owned(), change, total: 7_654_321 };
        evidence.window = Ok(Window { span: Nanos(2_000_000_000), counters: vec![change(1_234)] });
        let point = |seconds, drops| SeriesPoint {
            at: Nanos(seconds * Nanos::PER_SECOND),
            entries: Some(100_500),
            changes: vec![("drop".to_owned(), drops)],
        };
        evidence.series = vec![point(0, 0), point(1, 1_000), point(2, 1_234)];
        evidence
    }

    fn page(evidence: &Evidence) -> String {
        Report::by(&CHECKS, evidence).html(evidence)
    }

    #[test]
    fn the_page_has_every_figure() {
        let page = page(&evidence());
        for figure in [
            "100,500 of 402,000",
            "25.0 %",
            "tcp ESTABLISHED<td class=\"n\">90,000<td class=\"n\">22.4 %",
            "tcp TIME_WAIT<td class=\"n\">10,000",
            "counted, not in the dump (expired, or came since)<td class=\"n\">500",
            "free<td class=\"n\">301,500",
            "10.0.0.1<td class=\"n\">90,000<td class=\"n\">90.0 %",
            "12 h to 1 d<td class=\"n\">",
            "drop<td class=\"n\">1,234<td class=\"n\">617.0<td class=\"n\">7,654,321",
            "<b>drop</b> +1,234",
            "<polyline points=\"2.00,92.00 50.00,23.93 98.00,8.00 \"/>",
            "<li class=\"critical\"><b>1</b> critical</li>",
        ] {
            assert!(page.contains(figure), "{figure}\n{page}");
        }
    }

    #[test]
    fn the_parts_of_the_bar_are_as_wide_as_their_share_of_the_maximum() {
        let page = page(&evidence());
        for part in ["x=\"0.00%\" width=\"22.39%\"", "x=\"22.39%\" width=\"2.49%\"", "x=\"24.88%\" width=\"0.12%\""] {
            assert!(page.contains(part), "{part}\n{page}");
        }
    }

    #[test]
    fn nothing_that_was_read_becomes_markup() {
        let mut evidence = evidence();
        evidence.identity.name = Some(HOSTILE.to_owned());
        evidence.netns_argument = Some(HOSTILE.to_owned());
        evidence.window = Err(HOSTILE.to_owned());
        let page = page(&evidence);
        assert!(!page.contains("<script"), "{page}");
        let escaped = "&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;";
        // The title twice, the namespace, five parts of the finding, what could not run, and the window.
        assert_eq!(page.matches(escaped).count(), 10, "{page}");
    }

    #[test]
    fn the_page_refers_to_nothing_else() {
        let page = page(&evidence());
        for reference in ["http:", "https:", "//", "src=", "@import", "url("] {
            let found = page.matches(reference).count();
            let expected = if reference == "url(" { page.matches("url(#p").count() } else { 0 };
            assert_eq!(found, expected, "{reference}");
        }
        assert!(page.contains("Content-Security-Policy\" content=\"default-src 'none';"));
    }

    #[test]
    fn what_was_not_measured_is_said() {
        let evidence = MadeUpHost::new().evidence();
        let page = page(&evidence);
        assert_eq!(page.matches("Not measured: --root: counters and entries of a kernel that does not run").count(), 2);
        assert!(page.contains("no running kernel"), "{page}");
    }

    #[test]
    fn a_table_without_entries_and_without_a_limit_has_no_broken_numbers() {
        let mut evidence = evidence();
        evidence.survey = Ok(survey_of(&[]));
        let occupancy = Occupancy { entries: 0, max: Some(0) };
        evidence.occupancy = Ok(OccupancyChange { before: occupancy, after: occupancy, span: Nanos(0) });
        let page = page(&evidence);
        assert!(page.contains("0 entries, and no limit that is known") && page.contains("There are no entries."));
        assert!(!page.contains("NaN") && !page.contains("inf"), "{page}");
    }
}
