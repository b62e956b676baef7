//! A JSON document, resource by resource: of an export that a program has saved no more is in memory than one.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::model::problem::json_fault;

/// Shows what the document has in the place of resources: itself, the elements of a list, or those of its `resources`.
pub(super) fn each(text: &str, see: &mut impl FnMut(Value)) -> Result<(), (u64, String)> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let read = Parts(see).deserialize(&mut reader).and_then(|()| reader.end());
    read.map_err(|e| (e.line() as u64, format!("is not JSON: {}", json_fault(&e))))
}

struct Parts<'a, F>(&'a mut F);

impl<'de, F: FnMut(Value)> DeserializeSeed<'de> for Parts<'_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de, F: FnMut(Value)> Visitor<'de> for Parts<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        (self.0)(value.into());
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        (self.0)(value.into());
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        (self.0)(value.into());
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        (self.0)(value.into());
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        (self.0)(text.into());
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Parts(&mut *self.0))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let mut fields = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            if name == "resources" {
                entries.next_value_seed(Parts(&mut *self.0))?;
                while let Some((name, _)) = entries.next_entry::<String, IgnoredAny>()? {
                    if name == "resources" {
                        return Err(A::Error::custom("`resources` is there twice"));
                    }
                }
                return Ok(());
            }
            fields.insert(name, entries.next_value()?);
        }
        (self.0)(Value::Object(fields));
        Ok(())
    }
}
