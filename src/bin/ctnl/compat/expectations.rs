//! The table of expectations: `-L`, `-G`, `-I`, `-D`, `-F`, `-C`, `-S`.

use anyhow::{Result, anyhow};
use ctnl::host::Host;
use ctnl::model::{Expectation, L4, Protocol, Tuple, UnknownAttributes};
use ctnl::netlink::{Connection, Netns};
use ctnl::output::expectation_line;
use ctnl::table::{
    self, ExpectationTarget, Outcome, expect_create, expect_delete, expect_flush, expect_get, expect_stats,
};
use nix::errno::Errno;

use super::{create::check, entry, message};
use crate::conntrack_syntax::{AddressPair, PortPair, Request};
use crate::scan::{finish_chunks, stdout_in_chunks};
use crate::term::exit::{Exit, usage};
use crate::term::stdout::print;

/// `-L`.
pub fn list(request: &Request, _: &Host) -> Result<Exit> {
    refuse_xml(request)?;
    let (mut chunks, mut failed, mut count) = (stdout_in_chunks(), None, 0u64);
    table::expectations(&mut Connection::open(&Netns::Current)?, |expectation| {
        if failed.is_none() && expectation.family == request.effective_family() {
            count += 1;
            expectation_line(chunks.buffer(), &expectation);
            failed = chunks.commit().err();
        }
    })?;
    finish_chunks(chunks, failed)?;
    message::line(&format!("{count} expectations have been shown."));
    Ok(Exit::Done)
}

fn refuse_xml(request: &Request) -> Result<()> {
    if request.output.xml || request.output.save {
        return Err(usage("-o xml and -o save: expectations are printed as text only"));
    }
    Ok(())
}

/// `-C`.
pub fn count(request: &Request) -> Result<Exit> {
    let mut count = 0u64;
    table::expectations(&mut Connection::open(&Netns::Current)?, |expectation| {
        count += u64::from(expectation.family == request.effective_family());
    })?;
    print(format!("{count}\n"))?;
    Ok(Exit::Done)
}

/// `-S`.
pub fn stats() -> Result<Exit> {
    let cpus = expect_stats(&mut Connection::open(&Netns::Current)?)?;
    let lines = cpus.iter().map(|stats| {
        let (cpu, met, created, deleted) = (stats.cpu, stats.met, stats.created, stats.deleted);
        format!("cpu={cpu:<4}\texpect_new={met} expect_create={created} expect_delete={deleted} \n")
    });
    print(lines.collect::<String>())?;
    Ok(Exit::Done)
}

/// `-G`: the expectation that expects the tuple of the original direction.
pub fn get(request: &Request) -> Result<Exit> {
    refuse_xml(request)?;
    let (_, found) = find(request)?;
    let mut line = Vec::new();
    expectation_line(&mut line, &found);
    print(line)?;
    Ok(Exit::Done)
}

fn find(request: &Request) -> Result<(Connection, Expectation)> {
    let tuple = entry::tuple(request).ok_or_else(|| usage("--src, --dst and --protonum are needed"))?;
    let mut connection = Connection::open(&Netns::Current)?;
    let found = expect_get(&mut connection, &tuple, 0)?;
    let missing = || anyhow!("{}", message::explain(Errno::ENOENT as i32, request.command));
    Ok((connection, found.ok_or_else(missing)?))
}

/// `-D`.
pub fn delete(request: &Request) -> Result<Exit> {
    let (mut connection, found) = find(request)?;
    let mut outcome = Outcome::default();
    expect_delete(&mut connection, &[ExpectationTarget::of(&found)?], &mut outcome)?;
    check(&outcome, request.command)?;
    Ok(message::counted(outcome.done, "expectations have been deleted"))
}

/// `-F`: expectation by expectation.
pub fn flush(request: &Request) -> Result<Exit> {
    let mut outcome = Outcome::default();
    let mut connection = Connection::open(&Netns::Current)?;
    let left = expect_flush(&mut connection, |_| true, &mut outcome)?;
    check(&Outcome { gone: 0, ..outcome }, request.command)?;
    if left > 0 {
        return Err(anyhow!("{left} expectations cannot be identified, and are left"));
    }
    message::line("expectation table has been emptied.");
    Ok(Exit::Done)
}

/// `-I`: for the master with the tuple of the original direction.
pub fn create(request: &Request) -> Result<Exit> {
    let master = entry::tuple(request).ok_or_else(|| usage("--src, --dst and --protonum are needed"))?;
    let ports = request.protocol_arguments;
    let expectation = Expectation {
        family: master.family(),
        tuple: tuple_of(&master, request.expected, ports.expected)?,
        mask: tuple_of(&master, request.mask, ports.mask)?,
        master,
        timeout: request.timeout,
        id: None,
        helper: None,
        zone: None,
        flags: 0,
        class: None,
        nat: None,
        function: None,
        unknown: UnknownAttributes::default(),
    };
    let (mut connection, mut outcome) = (Connection::open(&Netns::Current)?, Outcome::default());
    expect_create(&mut connection, &[expectation], &mut outcome)?;
    check(&outcome, request.command)?;
    Ok(Exit::Done)
}

fn tuple_of(master: &Tuple, addresses: AddressPair, ports: PortPair) -> Result<Tuple> {
    let missing = || usage("--tuple-src, --tuple-dst, --mask-src and --mask-dst are needed");
    let (src, dst) = (addresses.src.ok_or_else(missing)?, addresses.dst.ok_or_else(missing)?);
    let has_ports = matches!(master.l4, L4::Ports { .. });
    let l4 = match has_ports {
        true => L4::Ports { src: ports.src.unwrap_or(0), dst: ports.dst.unwrap_or(0) },
        false => master.l4,
    };
    Ok(Tuple { src, dst, protocol: Protocol::from(u8::from(master.protocol)), l4, ..Tuple::UNSPECIFIED })
}
