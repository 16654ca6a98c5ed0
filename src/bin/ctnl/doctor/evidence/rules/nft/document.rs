//! The document of nft, object by object.

use std::fmt;

use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// The document is an array of objects: each is parsed, passed on and dropped, so that memory does not grow with the
/// rules.
pub struct Document<'d>(pub &'d mut dyn FnMut(Value));

impl<'de> Visitor<'de> for Document<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the object of nft, with 'nftables'")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut is_found = false;
        while let Some(key) = map.next_key::<String>()? {
            if key == "nftables" {
                is_found = true;
                map.next_value_seed(Objects(&mut *self.0))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        is_found.then_some(()).ok_or_else(|| serde::de::Error::missing_field("nftables"))
    }
}

struct Objects<'d>(&'d mut dyn FnMut(Value));

impl<'de> serde::de::DeserializeSeed<'de> for Objects<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Objects<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut objects: A) -> Result<(), A::Error> {
        while let Some(object) = objects.next_element()? {
            (self.0)(object);
        }
        Ok(())
    }
}
