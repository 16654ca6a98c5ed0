//! Conntrack zones: the same tuple can exist once in each zone.

/// The zone of an entry. 0 is the default zone.
#[doc(alias = "nf_conntrack_zone")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Zone {
    /// Zone 0, in both directions.
    #[default]
    Default,
    /// One zone for both directions.
    #[doc(alias = "CTA_ZONE")]
    Both(u16),
    /// A zone for the original direction, 0 for the reply.
    #[doc(alias = "CTA_TUPLE_ZONE")]
    Orig(u16),
    /// A zone for the reply direction, 0 for the original.
    Reply(u16),
    /// Two different zones. Current kernels do not create such entries.
    Each(u16, u16),
}

impl Zone {
    /// The zone of the original direction.
    #[must_use]
    pub fn orig(self) -> u16 {
        match self {
            Zone::Default | Zone::Reply(_) => 0,
            Zone::Both(zone) | Zone::Orig(zone) | Zone::Each(zone, _) => zone,
        }
    }

    /// The zone of the reply direction.
    #[must_use]
    pub fn reply(self) -> u16 {
        match self {
            Zone::Default | Zone::Orig(_) => 0,
            Zone::Both(zone) | Zone::Reply(zone) | Zone::Each(_, zone) => zone,
        }
    }

    /// The zone of an entry with these attributes: `CTA_ZONE` and the `CTA_TUPLE_ZONE` of both
    /// tuples.
    #[must_use]
    pub fn from_dump(both: Option<u16>, orig: Option<u16>, reply: Option<u16>) -> Self {
        match (both, orig, reply) {
            (Some(0) | None, None | Some(0), None | Some(0)) => Zone::Default,
            (Some(zone), None, None) => Zone::Both(zone),
            (None, Some(zone), None) => Zone::Orig(zone),
            (None, None, Some(zone)) => Zone::Reply(zone),
            (both, orig, reply) => {
                let both = both.unwrap_or(0);
                Zone::Each(orig.unwrap_or(both), reply.unwrap_or(both))
            }
        }
    }
}
