use super::*;

use std::ffi::OsString;

use ctnl::model::{Family, Status};

/// /etc/protocols.
fn protocols(name: &[u8]) -> Option<u8> {
    (name == b"ah").then_some(51)
}

fn read(line: &str) -> Result<Request, SyntaxError> {
    let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
    match parse(&words, &protocols)? {
        Invocation::Request(request) => Ok(*request),
        Invocation::LoadFile(file) => panic!("a file: {}", file.display()),
    }
}

fn request(line: &str) -> Request {
    read(line).unwrap_or_else(|error| panic!("{line}: {error}"))
}

/// `usage`, `failed` or `stricter`.
fn refusal(line: &str) -> &'static str {
    match read(line) {
        Ok(_) => panic!("accepted: {line}"),
        Err(error) if error.is_stricter => "stricter",
        Err(error) if error.exit == ErrorExit::Failed => "failed",
        Err(_) => "usage",
    }
}

#[test]
fn a_list_has_its_table_filters_and_output() {
    let list = request("-L -s 192.0.2.0/24 -p tcp --dport 443 --state ESTABLISHED -o extended,id -u ASSURED");
    assert_eq!(list.command, Command::List(Table::Conntrack));
    assert_eq!(list.original.src, Some([192, 0, 2, 0].into()));
    assert_eq!(list.mask.src, Some([255, 255, 255, 0].into()));
    assert_eq!(list.family, Some(Family::V4));
    assert_eq!((list.protocol, list.protocol_arguments.state), (Some(6), Some(3)));
    assert_eq!(list.protocol_arguments.original.dst, Some(443));
    assert!(list.output.extended && list.output.id && !list.output.xml);
    assert_eq!(list.status.map(|status| status.set), Some(Status::Assured));
    assert_eq!(request("-L expect").command, Command::List(Table::Expect));
    assert_eq!(request("--dump dy").command, Command::List(Table::Dying));
    assert_eq!(request("-Lo xml").command, Command::List(Table::Conntrack));
}

#[test]
fn an_attached_value_is_not_lost() {
    assert_eq!(request("--flush=expect").command, Command::Flush(Table::Expect));
    assert_eq!(request("-Cexp").command, Command::Count(Table::Expect));
    assert_eq!(request("-D -n192.0.2.1").src_nat.unwrap().address, Some([192, 0, 2, 1].into()));
    let delete = request("-U --label-del=a,b");
    assert_eq!(delete.label_change, Some(LabelChange::Delete(vec!["a".into(), "b".into()])));
    assert_eq!(request("-U --label-del").label_change, Some(LabelChange::DeleteAll));
    assert_eq!(refusal("--flush=all"), "stricter");
    assert_eq!(refusal("--flush all"), "usage");
}

#[test]
fn a_command_is_given_once_and_with_what_it_takes() {
    for line in [
        "-L -D",
        "-L -t 5",
        "-F -s 192.0.2.1",
        "-D -j",
        "-C -f ipv4",
        "-G",
        "-I -s 192.0.2.1 -d 192.0.2.2 -t 5",
        "-U expect",
        "-D dying",
        "-L -f ipv4 -s ::1",
        "-E -b",
        "-L --labelmap a --labelmap b",
        "-I -s 192.0.2.1 -d 192.0.2.2 -p udp --sport 1 --dport 2 -t 5 --labelmap a",
        "-L -z -p tcp",
        "-L --mask-src 255.0.0.0",
        "-R",
        "-L -R x",
    ] {
        assert_eq!(refusal(line), "usage", "{line}");
    }
    for line in ["-L -m x", "-L -w 65536", "-D -i -1", "-U --label-add a --label-del b", "-L -o save,xml"] {
        assert_eq!(refusal(line), "failed", "{line}");
    }
}

#[test]
fn an_entry_is_created_with_one_direction_or_the_other() {
    let ends = "-p tcp -t 5 --state NONE";
    assert!(read("-I -s 192.0.2.1 -d 192.0.2.2 --protonum 6 -t 5 --state NONE --sport 1 --dport 2").is_ok());
    assert!(read(&format!("-A -r 192.0.2.1 -q 192.0.2.2 {ends} --reply-port-src 1 --reply-port-dst 2")).is_ok());
    assert_eq!(refusal(&format!("-I -s 192.0.2.1 -q 192.0.2.2 {ends} --sport 1 --dport 2")), "usage");
    assert_eq!(refusal(&format!("-I -s 192.0.2.1 -d 192.0.2.2 {ends} --sport 1 --reply-port-src 2")), "usage");
    assert_eq!(refusal("-I -s 192.0.2.1 -d 192.0.2.2 -p tcp -t 5 --sport 1 --dport 2"), "usage");
    assert!(read("-I -s 192.0.2.1 -d 192.0.2.2 -p ah -t 5").is_ok());
    assert!(read("-I -s 192.0.2.1 -d 192.0.2.2 -p 51 -t 5").is_ok());
    assert_eq!(refusal("-I -s 192.0.2.1 -d 192.0.2.2 -p 256 -t 5"), "usage");
}

#[test]
fn an_option_of_a_protocol_follows_the_protocol() {
    assert_eq!(refusal("-L --dport 80 -p tcp"), "usage");
    assert_eq!(refusal("-L -p icmp --dport 80"), "usage");
    assert_eq!(request("-L -p gre --srckey 0x10").protocol_arguments.original.src, Some(16));
    assert_eq!(request("-L -p icmp --icmp-t 8").protocol_arguments.icmp_type, Some(8));
    // The options of the first protocol stay, and stand for those of the last one at the same place.
    assert_eq!(request("-L -p tcp -p udp --sport 5").protocol_arguments.original.src, Some(5));
    assert_eq!(refusal("-L -p tcp -p icmp --dport 5 --reply-port-dst 5"), "stricter");
    assert_eq!(refusal("-L -p sctp --state HEARTBEAT_SENT"), "usage");
}

#[test]
fn a_filter_of_which_a_part_would_be_ignored_is_refused() {
    for line in [
        "-D -p tcp --dport 80,443",
        "-D -p tcp --dport http",
        "-D -s 10.0.0.1/",
        "-D -m 0/",
        "-L -f ipv4x",
        "-D -s 10.0.0.0/24 -s 10.0.1.1",
        "-U -t 5s",
        "-D -u SRC_NAT",
        "-L -u UNSET",
        "-L -z -n",
        "-f ipv4",
        "--delete=expect -s 10.0.0.1",
        "-D -- -s 10.0.0.1",
        "-D -o id src 10.0.0.1",
        "-D -s 10.0.0.1 10.0.0.2",
        "-D -s 10.0.0.1 x -o id -- -y",
        "-D -o id -",
        "-F -f ipv6 ipv4",
        "-U -m 1 10.0.0.1",
        "-D -n !192.0.2.1",
        "-D -a 192.0.2.1",
        "-L -z 192.0.2.1",
        "-L -z -a 192.0.2.1",
        "-F -a 192.0.2.1",
        "-U -m 1 --nat-range 192.0.2.1",
        "-U -m 1 -u UNREPLIED",
        "-U -t 1 -u SEEN_REPLY,!ASSURED",
    ] {
        assert_eq!(refusal(line), "stricter", "{line}");
    }
}

#[test]
fn without_a_family_a_reading_command_is_of_both() {
    assert_eq!(request("-D -p tcp").effective_family(), Family::UNSPEC);
    assert_eq!(request("-L expect").effective_family(), Family::V4);
    assert_eq!(request("-D -d ::1").effective_family(), Family::V6);
}

#[test]
fn a_command_that_only_reads_may_have_words_that_are_ignored() {
    for line in ["-L -o id 10.0.0.1", "-L -- -s", "-L -n !x", "-D --"] {
        assert!(read(line).is_ok(), "{line}");
    }
}

#[test]
fn the_last_line_of_a_file_is_whole_where_it_selects_entries() {
    for cut in ["-D -s 10.0.0.0/2", "-D", "-F", "-U -m 1 -p tcp"] {
        assert!(line(cut).is_err_and(|error| error.is_stricter), "{cut}");
        assert!(line(&format!("{cut}\n")).unwrap().is_some(), "{cut}");
    }
    assert!(line("-I -p udp -s 10.0.0.1 -d 10.0.0.2 --sport 1 --dport 2 -t 5").unwrap().is_some());
    assert!(line("-D -s 10.0.0.1 # a comment\n").unwrap().is_some());
}

#[test]
fn what_is_ignored_gives_a_warning() {
    assert_eq!(request("-L -a 192.0.2.1").warnings.len(), 1);
    assert_eq!(request("-L -u SRC_NAT,ASSURED").warnings.len(), 1);
}

#[test]
fn arguments_begin_with_the_file_to_load_or_have_none() {
    let words = ["-R", "-", "-L"].map(OsString::from);
    assert_eq!(parse(&words, &protocols), Ok(Invocation::LoadFile("-".into())));
    assert_eq!(parse(&[], &protocols).map(|invocation| matches!(invocation, Invocation::Request(_))), Ok(true));
}

fn line(line: &str) -> Result<Option<Request>, SyntaxError> {
    parse_line(line.as_bytes(), &protocols)
}

#[test]
fn a_file_has_commands_comments_and_empty_lines() {
    for empty in ["\n", " \t\n", "# comment\n", "  # comment"] {
        assert_eq!(line(empty), Ok(None), "{empty:?}");
    }
    let delete = line("\t-D  -s \"192.0.2.1\" -u ASS\"URED\"\n").unwrap().unwrap();
    assert_eq!(delete.command, Command::Delete(Table::Conntrack));
    assert_eq!(delete.status.map(|status| status.set), Some(Status::Assured));
    let labels = line("-U -l \"a \\\"b\\\"\" -l c\n").unwrap().unwrap().labels;
    assert_eq!(labels, ["a \"b\"", "c"]);
    assert!(line("-F\n").unwrap().is_some());
}

#[test]
fn a_file_has_no_command_that_only_reads() {
    for command in ["-L", "-F expect", "-C", "-S", "-V", "  ", "x", "-E", "-G -p udp -s 1.1.1.1 -d 1.1.1.1"] {
        assert!(line(command).is_err(), "{command}");
    }
}

#[test]
fn a_line_has_bounds() {
    let long = |count: usize| line(&format!("-D{}\n", " -z".repeat(count)));
    assert!(long(252).unwrap_err().message.contains("--zero"));
    assert!(long(253).unwrap_err().message.contains("words"));
    let word = |length| line(&format!("-D -l {}\n", "x".repeat(length)));
    assert!(word(1023).is_ok());
    assert!(word(1024).unwrap_err().message.contains("bytes"));
    for stricter in ["-D \"x".to_owned(), "-D x\0".to_owned(), format!("-D{}", " ".repeat(10_240))] {
        assert!(line(&stricter).unwrap_err().is_stricter);
    }
}
