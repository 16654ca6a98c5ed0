//! The outcomes of terms about single bits: status and labels.
//!
//! A term matches if one of its bits has the required value, so the outcomes are the unions of
//! what each bit contributes. Bits that are in the same terms contribute the same and are
//! grouped, so that a term with many bits has no more outcomes than one with few.

use super::Population;
use super::outcome::{Outcome, merged, product};
use crate::field::EntryClasses;
use crate::filter::term::{Term, Test};
use crate::model::Status;

/// Bits of live entries: `IPS_CONFIRMED` is set when an entry is inserted into the table, under
/// the lock of its bucket, which a dump takes, too (`__nf_conntrack_confirm` in
/// net/netfilter/nf_conntrack_core.c: before the insertion, from Linux 6.16 on after it), or
/// before it (`ctnetlink_create_conntrack` in net/netfilter/nf_conntrack_netlink.c).
const ALWAYS: u32 = Status::Confirmed.bits();

/// Bits that live entries do not have. `IPS_DYING` is set just before an entry is removed
/// (`nf_ct_delete` in nf_conntrack_core.c): such an entry does not have to be deleted. Templates
/// are not in the table (`nf_ct_tmpl_alloc`). Entries of a NAT clash are in it in the reply
/// direction only (`nf_ct_resolve_clash_harder`), which a dump skips (`ctnetlink_dump_table`).
/// No kernel has bits from 16 on (`__IPS_MAX_BIT`).
const NEVER: u32 = Status::Dying.union(Status::Template).union(Status::Untracked).bits() | 0xffff_0000;

/// The outcomes of status bits.
pub(super) fn status_outcomes(terms: &[&Term], population: Population) -> Option<Vec<Outcome>> {
    let uses: Vec<Use> = terms.iter().map(|term| Use::of(term)).collect();
    let named = uses.iter().fold(0, |bits, own| bits | own.set | own.unset);
    let mut factors = Vec::new();
    let mut free = named;
    for bit in single_bits(named).filter(|_| population == Population::Live) {
        let set_in = u32::try_from(bit).ok().and_then(classes_of);
        if let Some(set_in) = set_in {
            free &= !bit;
            factors.push(merged([one(&uses, bit, true, set_in), one(&uses, bit, false, set_in.complement())])?);
        }
    }
    factors.extend(atoms(free, &uses).into_iter().map(|atom| of_atom(atom, &uses)));
    product(terms.len(), factors)
}

/// The classes of live entries in which a status bit is set, where they decide it.
fn classes_of(bit: u32) -> Option<EntryClasses> {
    match bit {
        bit if bit & ALWAYS != 0 => Some(EntryClasses::ALL),
        bit if bit & NEVER != 0 => Some(EntryClasses::NONE),
        bit => EntryClasses::of_status_bit(Status::from_bits_retain(bit)),
    }
}

/// The outcomes of labels. An entry with labels has at least one: one that no term has, if
/// no other.
pub(super) fn label_outcomes(terms: &[&Term]) -> Option<Vec<Outcome>> {
    let uses: Vec<Use> = terms.iter().map(|term| Use::of(term)).collect();
    let named = uses.iter().fold(0, |bits, own| bits | own.set | own.unset);
    let factors = atoms(named, &uses).into_iter().map(|atom| of_atom(atom, &uses)).collect();
    let mut outcomes = product(terms.len(), factors)?;
    if named == u128::MAX && uses.iter().all(|own| own.unset == 0) {
        outcomes.retain(|outcome| outcome.answers.contains(&true));
    }
    for (place, _) in terms.iter().enumerate().filter(|(_, term)| term.test == Test::Present) {
        outcomes.iter_mut().filter_map(|outcome| outcome.answers.get_mut(place)).for_each(|answer| *answer = true);
    }
    Some(outcomes)
}

/// The bits of a term: it matches if a bit of `set` is set or a bit of `unset` is not.
#[derive(Clone, Copy, Default)]
struct Use {
    set: u128,
    unset: u128,
}

impl Use {
    fn of(term: &Term) -> Self {
        match term.test {
            Test::Status { set, unset } => Use { set: set.into(), unset: unset.into() },
            Test::Labels { set, unset, .. } => Use { set, unset },
            _ => Use::default(),
        }
    }
}

fn single_bits(bits: u128) -> impl Iterator<Item = u128> {
    (0..128).map(|number| 1 << number).filter(move |bit| bits & bit != 0)
}

/// The answers if `bits` are all set or all not set.
fn one(uses: &[Use], bits: u128, is_set: bool, within: EntryClasses) -> Outcome {
    let answers = uses.iter().map(|own| if is_set { own.set & bits != 0 } else { own.unset & bits != 0 }).collect();
    Outcome { within, answers }
}

/// The bits of `named`, in groups such that each term has all bits of a group or none.
fn atoms(named: u128, uses: &[Use]) -> Vec<u128> {
    let mut atoms = vec![named];
    for bits in uses.iter().flat_map(|own| [own.set, own.unset]) {
        atoms = atoms.into_iter().flat_map(|atom| [atom & bits, atom & !bits]).filter(|atom| *atom != 0).collect();
    }
    atoms.retain(|atom| *atom != 0);
    atoms
}

/// None of the bits is set, all are, or, of several, some.
fn of_atom(atom: u128, uses: &[Use]) -> Vec<Outcome> {
    let (none, all) = (one(uses, atom, false, EntryClasses::ALL), one(uses, atom, true, EntryClasses::ALL));
    let answers = none.answers.iter().zip(&all.answers).map(|(none, all)| *none || *all).collect();
    let some = Outcome { within: EntryClasses::ALL, answers };
    if atom.is_power_of_two() { vec![none, all] } else { vec![none, all, some] }
}
