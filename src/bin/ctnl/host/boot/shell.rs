//! What a shell script writes to sysctls and to parameters of modules. Only commands on one line with literal
//! names are understood; a value with a variable is kept as it is.

use super::assignment::{Assignment, HASHSIZE, Stage};
use super::key;

const PROC_SYS: &str = "/proc/sys/";
const PARAMETER: &str = "/sys/module/nf_conntrack/parameters/hashsize";

/// A command of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Set(Assignment),
    /// `sysctl -p FILE` …: the files are applied again; none for `sysctl --system`.
    ApplyFiles {
        files: Vec<String>,
        line: usize,
    },
    /// `modprobe NAME` or `insmod NAME`, with the parameters behind it.
    Load {
        module: String,
        parameters: Vec<String>,
        line: usize,
    },
    /// `modprobe -r NAME` or `rmmod NAME`.
    Unload {
        module: String,
        line: usize,
    },
}

/// The commands of `text` that concern sysctls and modules.
pub fn commands(file: &str, text: &str, stage: Stage) -> Vec<Command> {
    let mut commands = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let mut piped: Vec<String> = Vec::new();
        for command in split(line) {
            let set = |key: String, value: &str| {
                Command::Set(Assignment {
                    key,
                    value: value.to_owned(),
                    file: file.to_owned(),
                    line: index + 1,
                    stage,
                    overrides: Vec::new(),
                })
            };
            if let Some(path) = tee(&command)
                && let Some(key) = key_of(path)
            {
                commands.push(set(key, &echoed(&piped)));
            } else {
                commands.extend(parse(&command, index + 1, set));
            }
            piped = command;
        }
    }
    commands
}

/// The body of the function `name` of a script, up to the line with its closing brace.
pub fn function<'a>(script: &'a str, name: &str) -> Option<&'a str> {
    let start = script.find(&format!("\n{name}()")).map(|at| at + 1).or(script.starts_with(name).then_some(0))?;
    let body = script.get(start..)?;
    let end = body.find("\n}").unwrap_or(body.len());
    body.get(..end)
}

/// The commands of a line as words without quotes. A comment ends it.
fn split(line: &str) -> Vec<Vec<String>> {
    let mut commands = vec![Vec::new()];
    let mut word = String::new();
    let mut quote = None;
    let mut chars = line.chars().peekable();
    let end = |word: &mut String, commands: &mut Vec<Vec<String>>| {
        if let Some(last) = commands.last_mut()
            && !word.is_empty()
        {
            last.push(std::mem::take(word));
        }
    };
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), c) => word.push(c),
            (None, '"' | '\'') => quote = Some(c),
            (None, '#') if word.is_empty() => break,
            (None, ';' | '&' | '|') if !word.ends_with('>') => {
                end(&mut word, &mut commands);
                commands.push(Vec::new());
            }
            (None, '>') => {
                // `2>/dev/null` belongs to standard error.
                if word.chars().all(|c| c.is_ascii_digit()) && !word.is_empty() {
                    word.push(c);
                    continue;
                }
                end(&mut word, &mut commands);
                while chars.next_if(|&c| c == '>' || c == '|').is_some() {}
                word.push('>');
                end(&mut word, &mut commands);
            }
            (None, c) if c.is_whitespace() => end(&mut word, &mut commands),
            (None, c) => word.push(c),
        }
    }
    end(&mut word, &mut commands);
    commands
}

fn parse(words: &[String], line: usize, set: impl Fn(String, &str) -> Command) -> Vec<Command> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    if let Some(at) = words.iter().position(|word| *word == ">")
        && let Some(key) = words.get(at + 1).and_then(|path| key_of(path))
    {
        return vec![set(key, &echoed(words.get(..at).unwrap_or_default()))];
    }
    let Some(at) = words.iter().position(|word| ["sysctl", "modprobe", "insmod", "rmmod"].iter().any(|n| is(word, n)))
    else {
        return Vec::new();
    };
    let (name, arguments) = (words.get(at).copied().unwrap_or_default(), words.get(at + 1..).unwrap_or_default());
    if is(name, "sysctl") { sysctl(arguments, line, set) } else { module(name, arguments, line).into_iter().collect() }
}

/// The path that `tee` writes to.
fn tee(words: &[String]) -> Option<&str> {
    let at = words.iter().position(|word| is(word, "tee"))?;
    words.get(at + 1..)?.iter().map(String::as_str).find(|word| !word.starts_with('-'))
}

/// What `echo` or `printf` prints.
fn echoed<T: AsRef<str>>(words: &[T]) -> String {
    let words = words.iter().map(AsRef::as_ref);
    let printed = words.skip_while(|word| !is(word, "echo") && !is(word, "printf")).skip(1);
    printed.filter(|word| *word != "-n").collect::<Vec<_>>().join(" ").trim_end_matches("\\n").to_owned()
}

/// Whether `word` runs the program `name`. Words such as `if`, `exec` and `sudo` may stand before it.
fn is(word: &str, name: &str) -> bool {
    word.trim_start_matches(['(', '{', '-', '@', '`']).rsplit('/').next() == Some(name)
}

/// Whether `argument` has one of these one-letter options.
fn is_flag(argument: &str, letters: &[char]) -> bool {
    argument.strip_prefix('-').is_some_and(|flags| !flags.starts_with('-') && flags.contains(letters))
}

fn key_of(path: &str) -> Option<String> {
    if path == PARAMETER {
        return Some(HASHSIZE.to_owned());
    }
    path.strip_prefix(PROC_SYS).map(key::dotted)
}

fn sysctl(arguments: &[&str], line: usize, set: impl Fn(String, &str) -> Command) -> Vec<Command> {
    if arguments.contains(&"--system") {
        return vec![Command::ApplyFiles { files: Vec::new(), line }];
    }
    let assignments = arguments.iter().filter_map(|argument| argument.split_once('='));
    let commands: Vec<Command> = assignments
        .filter(|(name, _)| !name.starts_with("--"))
        .map(|(name, value)| set(key::dotted(name.trim_start_matches('-')), value.trim()))
        .collect();
    let loads = arguments.iter().any(|a| a.starts_with("--load") || is_flag(a, &['p', 'f']));
    if commands.is_empty() && loads {
        let attached = arguments.iter().filter_map(|a| a.strip_prefix("-p").or(a.strip_prefix("--load=")));
        let separate = arguments.iter().filter(|argument| argument.starts_with('/')).copied();
        let mut files: Vec<String> =
            attached.filter(|file| file.starts_with('/')).chain(separate).map(str::to_owned).collect();
        if files.is_empty() {
            files.push("/etc/sysctl.conf".to_owned());
        }
        return vec![Command::ApplyFiles { files, line }];
    }
    commands
}

fn module(name: &str, arguments: &[&str], line: usize) -> Option<Command> {
    let mut names = arguments.iter().filter(|argument| !argument.starts_with('-') && !argument.contains('>'));
    let module = names.next()?.replace('-', "_");
    let module = module.rsplit('/').next().unwrap_or_default().split(".ko").next().unwrap_or_default().to_owned();
    let removes = arguments.iter().any(|a| *a == "--remove" || is_flag(a, &['r']));
    if is(name, "rmmod") || (is(name, "modprobe") && removes) {
        return Some(Command::Unload { module, line });
    }
    let parameters = names.filter(|argument| argument.contains('=')).map(|argument| (*argument).to_owned()).collect();
    Some(Command::Load { module, parameters, line })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn shown(script: &str) -> Vec<String> {
        let commands = commands("/etc/rc.local", script, Stage::Script);
        let show = |command: &Command| match command {
            Command::Set(assignment) => assignment.to_string(),
            other => format!("{other:?}"),
        };
        commands.iter().map(show).collect()
    }

    #[test]
    fn every_usual_way_to_write_a_sysctl_in_a_script_is_understood() {
        let script = "#!/bin/sh\n\
            # sysctl -w net.netfilter.nf_conntrack_max=1\n\
            sysctl -w net.netfilter.nf_conntrack_max=2 >/dev/null 2>&1\n\
            /sbin/sysctl -q net/netfilter/nf_conntrack_acct=1 # on\n\
            echo 4 > /proc/sys/net/netfilter/nf_conntrack_max\n\
            [ -f /x ] && echo -n '5' >/sys/module/nf_conntrack/parameters/hashsize || true\n\
            if true; then sudo sysctl -w \"net.nf_conntrack_max = 6\"; fi\n\
            echo 7 | sudo tee -a /proc/sys/net/nf_conntrack_max\n\
            sysctl -w net.netfilter.nf_conntrack_max=$MAX\n\
            echo 'sysctl -w net.netfilter.nf_conntrack_max=9'\n\
            sysctl net.netfilter.nf_conntrack_max\n\
            [ -x /sbin/sysctl ] || exit 0\n";
        let expected = [
            "/etc/rc.local:3: net.netfilter.nf_conntrack_max = 2",
            "/etc/rc.local:4: net.netfilter.nf_conntrack_acct = 1",
            "/etc/rc.local:5: net.netfilter.nf_conntrack_max = 4",
            "/etc/rc.local:6: nf_conntrack.hashsize = 5",
            "/etc/rc.local:7: net.nf_conntrack_max  = 6",
            "/etc/rc.local:8: net.nf_conntrack_max = 7",
            "/etc/rc.local:9: net.netfilter.nf_conntrack_max = $MAX",
        ];
        let expected: Vec<String> = expected.iter().map(|line| line.replace("max  =", "max =")).collect();
        assert_eq!(shown(script), expected);
    }

    #[test]
    fn modules_that_are_loaded_and_unloaded_and_files_that_are_applied_again_are_found() {
        let script = "modprobe nf_conntrack hashsize=9\nmodprobe -q nf-nat\nmodprobe -rv nf_conntrack\n\
            rmmod ip6t_REJECT\ninsmod /lib/modules/x/nf_conntrack.ko\nsysctl -p\nsysctl -e -p /etc/a.conf\n\
            sysctl --system\n";
        let load = |module: &str, parameters: &[&str], line| Command::Load {
            module: module.into(),
            parameters: parameters.iter().map(|p| (*p).to_owned()).collect(),
            line,
        };
        let apply =
            |files: &[&str], line| Command::ApplyFiles { files: files.iter().map(|f| (*f).to_owned()).collect(), line };
        let expected = [
            load("nf_conntrack", &["hashsize=9"], 1),
            load("nf_nat", &[], 2),
            Command::Unload { module: "nf_conntrack".into(), line: 3 },
            Command::Unload { module: "ip6t_REJECT".into(), line: 4 },
            load("nf_conntrack", &[], 5),
            apply(&["/etc/sysctl.conf"], 6),
            apply(&["/etc/a.conf"], 7),
            apply(&[], 8),
        ];
        assert_eq!(commands("/x", script, Stage::Script), expected);
    }

    #[test]
    fn the_body_of_a_function_ends_at_its_brace() {
        let script = "a() {\n one\n}\nb()\n{\n two\n}\n";
        assert_eq!(function(script, "a"), Some("a() {\n one"));
        assert_eq!(function(script, "b"), Some("b()\n{\n two"));
        assert_eq!(function(script, "c"), None);
    }
}
