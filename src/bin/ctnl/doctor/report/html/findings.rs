//! The findings, and the checks without one.

use super::page::Page;
use crate::doctor::check::Check;
use crate::doctor::finding::{Finding, Fix, Severity};
use crate::doctor::report::Report;

/// Adds the findings.
pub fn add(page: &mut Page, report: &Report) {
    page.markup("<section class=\"wide\"><h2>Findings</h2>\n");
    if report.findings.is_empty() {
        page.markup("<p>Nothing was found.</p>\n");
    }
    for (check, finding) in &report.findings {
        add_finding(page, check, finding);
    }
    page.markup("</section>\n");
}

fn add_finding(page: &mut Page, check: &Check, finding: &Finding) {
    page.markup(match finding.severity {
        Severity::Critical => "<article class=\"critical\"><h3><span class=\"severity\">‼ critical</span> ",
        Severity::Warning => "<article class=\"warning\"><h3><span class=\"severity\">! warning</span> ",
        Severity::Note => "<article class=\"note\"><h3><span class=\"severity\">i note</span> ",
    });
    page.text(&finding.title).markup("</h3>\n");
    page.element("<p>", &finding.consequence, "</p>\n");
    if !finding.evidence.is_empty() {
        page.markup("<ul class=\"evidence\">");
        for line in &finding.evidence {
            page.element("<li>", line, "</li>");
        }
        page.markup("</ul>\n");
    }
    for fix in &finding.fixes {
        match fix {
            Fix::Command(line) => page.element("<pre class=\"command\"><code>", line, "</code></pre>\n"),
            Fix::Text(lines) => {
                page.element("<p class=\"review\">For review:</p><pre><code>", lines, "</code></pre>\n")
            }
        };
    }
    page.element("<p class=\"check\">check ", check.name, "</p></article>\n");
}

/// Adds the checks that could not run, and those without a finding.
pub fn add_without(page: &mut Page, report: &Report) {
    if !report.not_run.is_empty() {
        page.markup("<section class=\"wide\"><h2>Not checked</h2><dl>\n");
        for (check, why) in &report.not_run {
            page.element("<dt>", check.about, " <code>").text(check.name).element("</code></dt><dd>", why, "</dd>\n");
        }
        page.markup("</dl></section>\n");
    }
    if !report.passed.is_empty() {
        page.markup("<section class=\"wide\"><h2>Without a finding</h2><ul class=\"passed\">\n");
        for check in &report.passed {
            page.element("<li>", check.about, " <code>").element("", check.name, "</code></li>\n");
        }
        page.markup("</ul></section>\n");
    }
}
