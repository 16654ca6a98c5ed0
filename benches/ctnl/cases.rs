//! The cases: the rows of the table, with their targets.

use crate::measure::Line;
use crate::population::{CAP, Families, Population};
use crate::saved::{Name, SavedFiles};

/// Targets are ratios of medians. They apply to tables of at least this many entries.
pub const TARGETS_FROM: u32 = 1_000_000;

/// The targets of a case.
#[derive(Debug, Clone, Copy, Default)]
pub struct Targets {
    /// ctnl's time to the limit's.
    pub to_limit: Option<f64>,
    /// ctnl's time to conntrack(8)'s: only for `count` of the whole table, which has no limit.
    pub to_conntrack: Option<f64>,
    /// Whether ctnl has to stay within [`Targets::PEAK`].
    pub peak: bool,
}

impl Targets {
    /// Peak memory in bytes.
    pub const PEAK: u64 = 8 * 1024 * 1024;

    const fn new(to_limit: f64) -> Self {
        Targets { to_limit: Some(to_limit), to_conntrack: None, peak: true }
    }
}

/// The flush of the stale entries.
pub const FLUSH: &str = "flush --state established --older 12h --trust-netlink-timeouts --yes -q";

/// What a command does to the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It reads.
    None,
    /// It deletes the stale entries, which are then created again.
    Deletes,
    /// It creates all entries, in an empty table, from a file of [`SavedFiles`].
    Creates,
    /// It lowers the timeouts of the others to [`CAP`], which are then raised again.
    Caps,
}

/// One row.
#[derive(Debug, Clone)]
pub struct Case {
    pub name: String,
    pub population: Population,
    /// What the commands change, and what is restored after each run.
    pub effect: Effect,
    /// Whether the limit changes the same: it is another command of ours.
    pub limit_changes: bool,
    pub limit: Option<Line>,
    pub ctnl: Line,
    pub conntrack: Option<Line>,
    /// Other command lines with the same result, measured in the same rounds.
    pub others: Vec<Line>,
    /// A process that runs at the same time as each of them, but not as the limit.
    pub beside: Option<Line>,
    pub targets: Targets,
}

/// Builds the command lines.
#[derive(Debug, Clone)]
pub struct Commands {
    /// This program, to run as the limit.
    pub own: String,
    /// Name of the namespace that it must not run in.
    pub outside: String,
    pub ctnl: String,
    pub conntrack_installed: bool,
}

impl Commands {
    fn ctnl(&self, arguments: &str) -> Line {
        Line::new(&self.ctnl, arguments)
    }

    fn conntrack(&self, arguments: &str) -> Option<Line> {
        self.conntrack_installed.then(|| Line::new("conntrack", arguments))
    }

    fn pipeline(&self, pipeline: &str) -> Option<Line> {
        self.conntrack_installed.then(|| Line::shell(pipeline))
    }

    /// The limit of `what`.
    pub fn limit(&self, what: &str) -> Line {
        self.limit_with(what, "")
    }

    /// The limit of `what`, with an argument.
    pub fn limit_with(&self, what: &str, argument: &str) -> Line {
        let shown = format!("limit {what} {argument}");
        Line::new(&self.own, &format!("--child {what} {} {argument}", self.outside)).shown_as(shown.trim())
    }

    fn case(&self, name: &str, population: Population, ctnl: &str, conntrack: Option<Line>) -> Case {
        Case {
            name: name.to_owned(),
            population,
            effect: Effect::None,
            limit_changes: false,
            limit: Some(self.limit("dump")),
            ctnl: self.ctnl(ctnl),
            conntrack,
            others: Vec::new(),
            beside: None,
            targets: Targets::default(),
        }
    }

    /// With one processor alone, and with another process on one of them: neither may take more
    /// than twice the time.
    fn narrow(&self, case: &Case) -> [Case; 2] {
        let target = case.targets.to_limit.map(|ratio| 2.0 * ratio);
        let targets = Targets { to_limit: target, to_conntrack: None, peak: case.targets.peak };
        let case = Case { conntrack: None, others: Vec::new(), targets, ..case.clone() };
        let named = |how: &str| format!("{}, {how}", case.name);
        let one = Case { name: named("one core"), ctnl: case.ctnl.clone().on_one_core(), ..case.clone() };
        let busy =
            Case { name: named("one core busy"), beside: Some(self.limit("spin").on_one_core()), ..case.clone() };
        [one, busy]
    }
}

/// Every case, for tables of these sizes, smallest first. What is measured at
/// one size only is measured at the largest.
pub fn cases(commands: &Commands, sizes: &[u32]) -> Vec<Case> {
    let largest = sizes.last().copied().unwrap_or(0);
    let mut cases = vec![list_text(commands, plain(0, Families::V4))];
    for size in sizes {
        cases.extend(at_every_size(commands, plain(*size, Families::V4)));
        cases.extend(grouping(commands, plain(*size, Families::V4)));
        cases.push(doctor(commands, plain(*size, Families::V4)));
    }
    cases.extend(jobs(commands, plain(largest, Families::V4)));
    for (word, families) in [("IPv6", Families::V6), ("mixed", Families::Mixed)] {
        for case in [list_text, list_json].map(|case| case(commands, plain(largest, families))) {
            cases.push(Case { name: format!("{}, {word}", case.name), ..case });
        }
    }
    cases.extend(flushes(commands, largest));
    cases.extend(saves(commands, plain(largest, Families::V4)));
    cases.extend(drop_in(commands, largest));
    cases.push(update(commands, largest));
    cases
}

/// conntrack(8)'s command line as ctnl runs it, whose limit is the command of ours that does the same.
fn drop_in(commands: &Commands, entries: u32) -> Vec<Case> {
    let population = |stale| Population { stale, ..plain(entries, Families::V4) };
    let case = |name: &str, stale: u32, ours: &str, theirs: &str| {
        let own = commands.ctnl(&format!("conntrack {theirs}"));
        Case {
            ctnl: own,
            limit: Some(commands.ctnl(ours)),
            effect: if stale > 0 { Effect::Deletes } else { Effect::None },
            limit_changes: stale > 0,
            targets: Targets::new(1.10),
            ..commands.case(name, population(stale), "", commands.conntrack(theirs))
        }
    };
    vec![
        case("drop-in -L", 0, "list -o conntrack -q", "-L"),
        case("drop-in -L, filter", 0, "list -o conntrack -q tcp and dport 443", "-L -p tcp --dport 443"),
        case("drop-in -D, 50 %", entries / 2, "flush mark 1/1 --yes -q", "-D -m 1/1"),
        // conntrack(8) 1.4.7 ends with ENOBUFS.
        Case {
            population: population(entries / 2),
            conntrack: None,
            ..case(
                "drop-in -U, 50 %",
                0,
                "update src 10.128.0.0/9 --set-timeout 400000 --yes -q",
                "-U -s 10.128.0.0/9 -t 400000",
            )
        },
    ]
}

fn plain(entries: u32, families: Families) -> Population {
    Population { entries, families, stale: 0 }
}

fn list_text(commands: &Commands, population: Population) -> Case {
    let case = commands.case("list text", population, "list -o conntrack -q", commands.conntrack("-L"));
    Case { targets: Targets::new(1.10), ..case }
}

fn list_json(commands: &Commands, population: Population) -> Case {
    let case = commands.case("list JSON", population, "list -o json -q", commands.conntrack("-L -o xml"));
    Case { targets: Targets::new(1.12), ..case }
}

fn at_every_size(commands: &Commands, population: Population) -> Vec<Case> {
    let text = list_text(commands, population);
    let pipe = Case {
        name: "list text, pipe".to_owned(),
        ctnl: text.ctnl.clone().into_pipe(),
        conntrack: text.conntrack.clone().map(Line::into_pipe),
        targets: Targets { to_limit: None, ..text.targets },
        ..text.clone()
    };
    let count = count_filter(commands, population);
    let all = commands.case("count, all", population, "count -q", commands.conntrack("-C"));
    let all = Case { limit: None, targets: Targets { to_limit: None, to_conntrack: Some(2.0), peak: true }, ..all };
    vec![text, pipe, list_json(commands, population), count, all]
}

fn count_filter(commands: &Commands, population: Population) -> Case {
    let counted = commands.pipeline("conntrack -L -p tcp --dport 443 2>/dev/null | wc -l");
    let count = commands.case("count, filter", population, "count -q tcp and dport 443", counted);
    Case { targets: Targets::new(1.08), ..count }
}

fn grouping(commands: &Commands, population: Population) -> Vec<Case> {
    let by = |name: &str, ctnl: &str, awk: &str, target: f64| {
        let pipeline =
            format!("conntrack -L 2>/dev/null | awk '{{print {awk}}}' | sort | uniq -c | sort -rn | head -20");
        let case = commands.case(name, population, ctnl, commands.pipeline(&pipeline));
        Case { targets: Targets::new(target), ..case }
    };
    let mut many = by("count by src,sport", "count --by src,sport --top 20 -q", "$5,$7", 1.5);
    // A million keys need memory.
    many.targets.peak = false;
    vec![
        by("count by state", "count --by state -q", "$4", 1.08),
        by("count by src", "count --by src --top 20 -q", "$5", 1.08),
        many,
    ]
}

/// With a window that ends with the dump, so that no time is slept.
fn doctor(commands: &Commands, population: Population) -> Case {
    let case = commands.case("doctor", population, "", None);
    Case { ctnl: commands.ctnl("doctor --watch 0 -q").with_findings(), targets: Targets::new(1.15), ..case }
}

/// Cases with one and with two processors.
fn jobs(commands: &Commands, population: Population) -> Vec<Case> {
    let text = list_text(commands, population);
    let two = Case {
        name: "list text, --jobs 2".to_owned(),
        ctnl: commands.ctnl("list -o conntrack --jobs 2 -q"),
        targets: Targets { peak: false, ..Targets::new(0.65) },
        ..text.clone()
    };
    let halves = Case {
        name: "list text, --jobs 2, to halves".to_owned(),
        limit: Some(commands.limit("dump-halves")),
        targets: Targets { peak: false, ..Targets::new(1.10) },
        ..two.clone()
    };
    let count = count_filter(commands, population);
    [vec![two, halves], commands.narrow(&text).into(), commands.narrow(&count).into()].concat()
}

fn flushes(commands: &Commands, entries: u32) -> Vec<Case> {
    let goals = Targets::new(1.10);
    let of = |families, stale| Population { stale, ..plain(entries, families) };
    let v4 = |stale, share, targets| {
        let case = flush(commands, of(Families::V4, stale), share, targets);
        if stale == 0 { case } else { flush_beside_by_mark(commands, case) }
    };
    let half = v4(entries / 2, "50 %", goals);
    let all = v4(entries, "100 %", Targets::new(1.15));
    let narrow = commands.narrow(&half);
    let mut cases = vec![
        v4(0, "no match", goals),
        v4(entries / 100, "1 %", goals),
        half,
        all,
        flush(commands, of(Families::V6, entries / 2), "50 %, IPv6", goals),
    ];
    cases.extend(narrow);
    cases
}

/// Saving a table to nowhere and to a file, and restoring it from files.
fn saves(commands: &Commands, population: Population) -> Vec<Case> {
    let path = |name| SavedFiles::path(name).display().to_string();
    let lines = commands.conntrack("-L -o save");
    let save = Case { targets: Targets::new(1.10), ..commands.case("save", population, "save -q -", lines.clone()) };
    let file = format!("save -q --overwrite {}", path(Name::Written));
    let to_file = Case { name: "save to a file".to_owned(), ctnl: commands.ctnl(&file), ..save.clone() };
    let restore = format!("restore -q {}", path(Name::Binary));
    let theirs = commands.conntrack(&format!("-R {}", path(Name::Lines)));
    let case = commands.case("restore", population, &restore, theirs);
    let of_lines = commands.ctnl(&format!("restore -q {}", path(Name::Lines)));
    let others = if commands.conntrack_installed { vec![of_lines.clone()] } else { Vec::new() };
    let limit = Some(commands.limit_with("create", &path(Name::Requests)));
    let restore =
        Case { effect: Effect::Creates, limit_changes: true, limit, others, targets: Targets::new(1.15), ..case };
    let drop_in = Case {
        name: "drop-in -R".to_owned(),
        limit: Some(of_lines),
        ctnl: commands.ctnl(&format!("conntrack -R {}", path(Name::Lines))),
        others: Vec::new(),
        targets: Targets::new(1.10),
        ..restore.clone()
    };
    let mut cases = vec![save, to_file, restore];
    // conntrack(8) writes its lines.
    cases.extend(commands.conntrack_installed.then_some(drop_in));
    cases
}

/// conntrack(8) cannot select by idle time: it is given the stale entries'
/// source net instead, which it too compares in user space.
fn flush(commands: &Commands, population: Population, share: &str, targets: Targets) -> Case {
    let by_net = match population.families {
        Families::V6 => "-D -f ipv6 -s 2001:db8:80::/48",
        Families::V4 | Families::Mixed => "-D -s 10.128.0.0/9",
    };
    let by_net = commands.conntrack(by_net).map(Line::matching_nothing);
    let case = commands.case(&format!("flush {share}"), population, FLUSH, by_net);
    Case { effect: Effect::Deletes, targets, ..case }
}

/// Lowers the timeouts of half of the entries; the others are shorter. conntrack(8) has no cap, and its `-U` of half of
/// 20,000 entries ended with ENOBUFS.
fn update(commands: &Commands, entries: u32) -> Case {
    let population = Population { stale: entries / 2, ..plain(entries, Families::V4) };
    let ctnl = format!("update --state established --cap-timeout {CAP} --yes -q");
    let case = commands.case("update --cap-timeout, 50 %", population, &ctnl, None);
    Case { effect: Effect::Caps, targets: Targets::new(1.15), ..case }
}

/// With the ways by which the kernel itself selects the stale entries: by their mark.
fn flush_beside_by_mark(commands: &Commands, case: Case) -> Case {
    let others = [Some(commands.limit("flush-marked")), commands.conntrack("-D -m 1/1")];
    Case { others: others.into_iter().flatten().collect(), ..case }
}
