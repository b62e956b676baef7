//! Resources of the catalog as one mechanism. A kind is a type in `kinds/` that implements `Spec`: its JSON form, its rules,
//! its references. It joins by a variant of `Kind` and of `Body`; all else follows.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;

use crate::catalog::fields::Fields;
use crate::catalog::kind::{Key, Kind};
use crate::catalog::kinds::{AlertRule, ApiKey, EventType, FieldSchema, Lookup, OrgUnit, Template, User};
use crate::catalog::snapshot::Snapshot;
use crate::model::ids::{OrgId, ResourceId};
use crate::model::integration::OutboundIntegration;
use crate::model::org::Organization;
use crate::model::problem::Problem;
use crate::model::time::Timestamp;

/// `{name: value}`, by which resources are found and alerts are told apart.
pub type Labels = BTreeMap<String, String>;

/// One kind of resource. Holding a value means that its fields were valid; whether it fits the rest of the catalog is
/// asked of `references`, `unique` and `check` at every write.
pub trait Spec: Clone + PartialEq + fmt::Debug + Send + Sync + 'static {
    const KIND: Kind;
    /// What each field is, by its path: a line of the API's documentation.
    const ABOUT: &'static [(&'static str, &'static str)];

    /// A resource as it may be sent, in JSON: an example of the documentation, and what the defaults are learnt from.
    const EXAMPLE: &'static str;
    /// Fields that are in its record and in no answer, and that no client can send.
    const HIDDEN: &'static [&'static str] = &[];
    /// What the audit calls those of them whose change it tells, and what is never told of them but that.
    const AUDITED: &'static [(&'static str, &'static str)] = &[];
    /// Fields that the gateway gives: they are shown, and stay as they are whatever a client sends.
    const GIVEN: &'static [&'static str] = &[];

    /// A field that answers have and the catalog has not, and what it tells: a moment, or null.
    const TOLD: Option<(&'static str, &'static str)> = None;

    /// Reads every field; `None` where a required one is missing or wrong.
    fn read(fields: &mut Fields) -> Option<Self>;

    /// The JSON form, every default filled in.
    fn form(&self) -> impl Serialize + '_;

    fn id(&self) -> ResourceId;

    /// Whose it is; `None`: the operator's, who sees all.
    fn org(&self) -> Option<&OrgId>;

    /// By what people find it in a list.
    fn title(&self) -> &str;

    /// By what else, beside their id.
    fn names(&self) -> Vec<&str> {
        vec![self.title()]
    }

    fn labels(&self) -> &Labels;

    /// `None`: it cannot be disabled.
    fn active(&self) -> Option<bool> {
        None
    }

    fn set_active(&mut self, _active: bool) {}

    /// Resources that have to be there, and the field that names each.
    fn references(&self) -> Vec<Reference> {
        self.org().map(|org| Reference { path: "orgId", to: org.into() }).into_iter().collect()
    }

    /// What no other resource of its kind may have: the field, and the value as it is compared.
    fn unique(&self) -> Option<(&'static str, String)> {
        None
    }

    /// The catalog has given it this version.
    fn set_version(&mut self, _version: u64) {}

    /// What else changes where this takes the place of `was`, whichever way the change came.
    fn succeed(&mut self, _was: &Self, _how: &Succession) {}

    /// What else does not fit the catalog.
    fn check(&self, _snapshot: &Snapshot) -> Vec<Problem> {
        Vec::new()
    }
}

/// A field that names another resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    pub path: &'static str,
    pub to: Key,
}

/// What the catalog itself says of a resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Revision {
    /// From 1: its ETag.
    pub version: u64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// How a resource takes the place of what it was.
#[derive(Clone, Copy, Debug)]
pub struct Succession {
    /// When the resource was made.
    pub created_at: Timestamp,
    pub now: Timestamp,
    /// It is an earlier version that comes back.
    pub is_restored: bool,
}

/// A resource of any kind. Clones share its body.
#[derive(Clone, Debug, PartialEq)]
pub struct Resource {
    pub revision: Revision,
    pub body: Body,
}

/// Declares `Body` and what is the same for every kind.
macro_rules! kinds {
    ($($kind:ident),* $(,)?) => {
        /// What a resource holds, by its kind.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Body {
            $($kind(Arc<$kind>),)*
        }

        $(impl From<$kind> for Body {
            fn from(spec: $kind) -> Body {
                Body::$kind(Arc::new(spec))
            }
        })*

        /// The same expression for the type of each kind.
        macro_rules! each {
            ($body:expr, $spec:ident => $do:expr) => {
                match $body { $(Body::$kind($spec) => $do,)* }
            };
        }

        impl Resource {
            /// As it is where it takes the place of `was`, which is of the same kind.
            pub fn succeeding(mut self, was: &Resource, how: &Succession) -> Resource {
                match (&mut self.body, &was.body) {
                    $((Body::$kind(is), Body::$kind(was)) => Arc::make_mut(is).succeed(was, how),)*
                    _ => {}
                }
                self
            }
        }

        impl Kind {
            /// Reads the JSON form of a resource of this kind.
            ///
            /// # Errors
            /// Everything that is wrong with it (the first hundred), each with its path.
            pub fn read(self, json: Value) -> Result<Resource, Vec<Problem>> {
                match self { $(Kind::$kind => read::<$kind>(json),)* }
            }

            /// What each of its fields is.
            pub const fn about(self) -> &'static [(&'static str, &'static str)] {
                match self { $(Kind::$kind => <$kind as Spec>::ABOUT,)* }
            }

            /// A resource of this kind as it may be sent, in JSON.
            pub const fn example(self) -> &'static str {
                match self { $(Kind::$kind => <$kind as Spec>::EXAMPLE,)* }
            }

            /// Fields that are in records and in no answer.
            pub const fn hidden(self) -> &'static [&'static str] {
                match self { $(Kind::$kind => <$kind as Spec>::HIDDEN,)* }
            }

            /// Hidden fields whose change the audit tells, and what it calls them.
            pub const fn audited(self) -> &'static [(&'static str, &'static str)] {
                match self { $(Kind::$kind => <$kind as Spec>::AUDITED,)* }
            }

            /// Fields that the gateway gives.
            pub const fn given(self) -> &'static [&'static str] {
                match self { $(Kind::$kind => <$kind as Spec>::GIVEN,)* }
            }

            /// A field that answers have and the catalog has not, and what it tells.
            pub const fn told(self) -> Option<(&'static str, &'static str)> {
                match self { $(Kind::$kind => <$kind as Spec>::TOLD,)* }
            }

            /// Does `isActive` mean anything to it?
            pub fn can_be_disabled(self) -> bool {
                self.schema()["properties"].get("isActive").is_some()
            }

            /// Its fields, as `read` asks for them.
            pub(super) fn sketch(self, fields: &mut Fields) {
                match self { $(Kind::$kind => drop(<$kind as Spec>::read(fields)),)* }
            }
        }
    };
}

kinds!(Organization, OrgUnit, User, ApiKey, OutboundIntegration, Lookup, EventType, FieldSchema, Template, AlertRule,);

fn read<T: Spec>(json: Value) -> Result<Resource, Vec<Problem>>
where
    Body: From<T>,
{
    let mut fields = Fields::of(json)?;
    let revision = Revision {
        version: fields.number("version", 0..=u64::MAX).unwrap_or(0),
        created_at: fields.time("createdAt").unwrap_or_default(),
        updated_at: fields.time("updatedAt").unwrap_or_default(),
    };
    let read = T::read(&mut fields);
    fields.finish(read).map(|spec| Resource::from(spec).revised(revision))
}

impl<T> From<T> for Resource
where
    Body: From<T>,
{
    fn from(spec: T) -> Resource {
        Resource { revision: Revision::default(), body: spec.into() }
    }
}

impl Resource {
    pub fn kind(&self) -> Kind {
        fn of<T: Spec>(_: &T) -> Kind {
            T::KIND
        }
        each!(&self.body, spec => of(&**spec))
    }

    pub fn key(&self) -> Key {
        Key { kind: self.kind(), id: each!(&self.body, spec => spec.id()) }
    }

    pub fn org(&self) -> Option<&OrgId> {
        each!(&self.body, spec => Spec::org(&**spec))
    }

    pub fn title(&self) -> &str {
        each!(&self.body, spec => Spec::title(&**spec))
    }

    pub fn names(&self) -> Vec<&str> {
        each!(&self.body, spec => Spec::names(&**spec))
    }

    pub fn labels(&self) -> &Labels {
        each!(&self.body, spec => Spec::labels(&**spec))
    }

    pub fn active(&self) -> Option<bool> {
        each!(&self.body, spec => spec.active())
    }

    pub fn with_active(&self, active: bool) -> Resource {
        let mut changed = self.clone();
        each!(&mut changed.body, spec => Arc::make_mut(spec).set_active(active));
        changed
    }

    pub fn revised(mut self, revision: Revision) -> Resource {
        self.revision = revision;
        each!(&mut self.body, spec => Arc::make_mut(spec).set_version(revision.version));
        self
    }

    pub fn references(&self) -> Vec<Reference> {
        each!(&self.body, spec => spec.references())
    }

    pub fn unique(&self) -> Option<(&'static str, String)> {
        each!(&self.body, spec => spec.unique())
    }

    /// What is wrong with it beside the rest of the catalog.
    pub fn check(&self, snapshot: &Snapshot) -> Vec<Problem> {
        // What is another organization's is not there.
        let missing = |one: &Reference| snapshot.get(&one.to).is_none_or(|found| found.org() != self.org());
        let told = |reference: Reference| {
            let Reference { path, to } = reference;
            Problem::new(path, format!("names {}, which does not exist", to.told()))
        };
        let mut problems: Vec<_> = self.references().into_iter().filter(missing).map(told).collect();
        problems.extend(self.taken(snapshot));
        problems.extend(each!(&self.body, spec => spec.check(snapshot)));
        problems
    }

    /// Another one has what only one of its kind may have.
    pub fn taken(&self, snapshot: &Snapshot) -> Option<Problem> {
        let (own, (path, value)) = (self.key(), self.unique()?);
        let is_taken = snapshot.holders(own.kind, &value).any(|other| *other != own);
        is_taken.then(|| Problem::new(path, format!("is that of another {} already", own.kind.noun())))
    }

    /// The JSON form, with its secrets sealed and its hidden fields.
    pub fn to_json(&self) -> Value {
        // As below.
        serde_json::to_value(self).unwrap_or_default()
    }

    /// The JSON form as bytes: the value of its record.
    pub fn to_bytes(&self) -> Bytes {
        // Text keys and plain values only: there is nothing in it that JSON cannot say.
        serde_json::to_vec(self).map(Bytes::from).unwrap_or_default()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Whole<F> {
    #[serde(flatten)]
    form: F,
    version: u64,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl Serialize for Resource {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Revision { version, created_at, updated_at } = self.revision;
        each!(&self.body, spec => Whole { form: spec.form(), version, created_at, updated_at }.serialize(serializer))
    }
}
