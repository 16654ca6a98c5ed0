//! Expectations as JSON, for `event/json.rs` and for lists.

use crate::model::{EXPECTATION_FLAGS, Expectation, ExpectedNat, Tuple};
use crate::output::cursor::{Line, Scratch};
use crate::output::json::{number, numbers, put_protocols, put_string, put_tuple};

/// Appends a line with the JSON object of an expectation: `{"v":1,"expectation":{…}}`. The inner object is that of
/// an event record.
pub fn expectation_json(out: &mut Vec<u8>, expectation: &Expectation) {
    let mut scratch = Scratch::new();
    let mut line = scratch.cursor();
    line.put(b"{\"v\":1");
    put_expectation(&mut line, out, expectation);
    line.put(b"}\n");
    line.flush(out);
}

/// Appends the member `expectation`.
pub(super) fn put_expectation(line: &mut Line<'_>, out: &mut Vec<u8>, expectation: &Expectation) {
    line.put(b",\"expectation\":{");
    put_protocols(line, expectation.family, expectation.tuple.protocol);
    number(line, b",\"timeout\":", expectation.timeout);
    put_member(line, b",\"tuple\":", &expectation.tuple);
    put_member(line, b",\"mask\":", &expectation.mask);
    put_member(line, b",\"master\":", &expectation.master);
    put_flags(line, expectation.flags);
    number(line, b",\"class\":", expectation.class);
    number(line, b",\"zone\":", expectation.zone.map(u32::from));
    number(line, b",\"id\":", expectation.id);
    if let Some(helper) = &expectation.helper {
        put_string(line, out, b",\"helper\":", &String::from_utf8_lossy(helper.as_bytes()));
    }
    if let Some(nat) = &expectation.nat {
        put_nat(line, nat);
    }
    if let Some(function) = &expectation.function {
        put_string(line, out, b",\"function\":", function);
    }
    if expectation.unknown.count() > 0 {
        line.put(b",\"unknown_attributes\":");
        numbers(line, expectation.unknown.numbers().iter().copied());
    }
    line.put(b"}");
}

fn put_member<const N: usize>(line: &mut Line<'_>, key: &[u8; N], tuple: &Tuple) {
    line.put(key);
    put_tuple(line, tuple, None);
    line.put(b"}");
}

fn put_nat(line: &mut Line<'_>, nat: &ExpectedNat) {
    put_member(line, b",\"nat\":", &nat.tuple);
    line.trim_space();
    match nat.direction {
        0 => line.put(b",\"direction\":\"orig\"}"),
        1 => line.put(b",\"direction\":\"reply\"}"),
        direction => {
            number(line, b",\"direction_number\":", Some(direction));
            line.put(b"}");
        }
    }
}

fn put_flags(line: &mut Line<'_>, flags: u32) {
    line.put(b",\"flags\":[");
    let mut rest = flags;
    for (bit, name) in (0..).zip(EXPECTATION_FLAGS).filter(|(bit, _)| flags >> bit & 1 == 1) {
        line.put(if rest == flags { b"\"" } else { b"," });
        if rest != flags {
            line.put(b"\"");
        }
        line.text(name.as_bytes());
        line.put(b"\"");
        rest &= !(1 << bit);
    }
    line.put(b"]");
    if rest != 0 {
        line.put(b",\"unknown_flags\":");
        numbers(line, (0u8..32).filter(|bit| rest >> bit & 1 == 1).map(u16::from));
    }
}
