use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, RwLock};

use notification_event::{ClientId, Fields, GroupName, Invalid, JsonObject, ParseError, Timestamp};
use serde_json::{Value, json};

use crate::secret::{Digest, SECRET_LEN, ServerSecret, random};
use crate::{Credential, Grant, Grants, Principal};

/// What every key begins with, so that a scanner of repositories finds one that leaked.
const PREFIX: &str = "ntf_";
const ID_LEN: usize = 12;

/// The most keys that are kept, the revoked ones among them.
const MAX_KEYS: usize = 10_000;

/// The longest name of a key, in bytes.
const MAX_NAME: usize = 64;

/// The most groups that a key puts its client into.
const MAX_GROUPS: usize = 100;

/// A key that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewKey {
    /// What people call it. No two that are not revoked have the same.
    pub name: String,
    /// What whoever has it may do.
    pub grants: Grants,
    /// Which client whoever has it is.
    pub client: Option<ClientId>,
    /// The groups that this client is in, and no others.
    pub groups: Option<Vec<GroupName>>,
    /// How many events may be published with it in an hour.
    pub events_per_hour: Option<NonZeroU32>,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
}

impl NewKey {
    /// Reads `{"name", "allow": […], "client_id", "groups", "events_per_hour", "expires_at"}`.
    pub fn parse(value: Value) -> Result<Self, Invalid> {
        let Value::Object(object) = value else {
            return Err(Invalid::value("an object"));
        };
        let mut fields = Fields::new(object);
        let key = Self::read(&mut fields);
        fields.finish()?;
        Ok(key.expect("what is not there was refused"))
    }

    fn read(fields: &mut Fields) -> Option<Self> {
        let name = fields.required("name", name);
        let grants = fields.required("allow", grants);
        let client = fields.optional("client_id", Fields::parsed);
        let groups = fields.optional("groups", groups);
        let events_per_hour = fields.optional("events_per_hour", events_per_hour);
        let expires_at = fields.optional("expires_at", Fields::parsed);
        if groups.is_some() && client.is_none() {
            let expected = "this field, which groups needs";
            fields.refuse(Invalid::field("client_id", expected));
        }
        Some(Self {
            name: name?,
            grants: grants?,
            client,
            groups,
            events_per_hour,
            expires_at,
        })
    }

    fn to_json(&self) -> JsonObject {
        let mut object = JsonObject::new();
        let mut put = |name: &str, value: Value| object.insert(name.to_owned(), value);
        put("name", self.name.as_str().into());
        put("allow", json!(self.grants.iter().collect::<Vec<_>>()));
        if let Some(client) = &self.client {
            put("client_id", json!(client));
        }
        if let Some(groups) = &self.groups {
            put("groups", json!(groups));
        }
        if let Some(events) = self.events_per_hour {
            put("events_per_hour", events.get().into());
        }
        if let Some(time) = self.expires_at {
            put("expires_at", json!(time));
        }
        object
    }
}

fn name(value: Value) -> Result<String, Invalid> {
    let is_name = |text: &&str| {
        (1..=MAX_NAME).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    };
    let name = value.as_str().filter(is_name);
    name.map(str::to_owned)
        .ok_or_else(|| Invalid::value("1 to 64 of the characters A-Z a-z 0-9 . _ -"))
}

fn grants(value: Value) -> Result<Grants, Invalid> {
    let grants: Vec<Grant> = list(value, Grants::MAX)?;
    Ok(Grants::new(grants)?)
}

fn groups(value: Value) -> Result<Vec<GroupName>, Invalid> {
    let mut groups: Vec<GroupName> = list(value, MAX_GROUPS)?;
    groups.sort();
    groups.dedup();
    Ok(groups)
}

fn list<T: std::str::FromStr<Err = ParseError>>(
    value: Value,
    max: usize,
) -> Result<Vec<T>, Invalid> {
    let Value::Array(list) = value else {
        return Err(Invalid::value("an array"));
    };
    if list.len() > max {
        return Err(Invalid::value(format!("an array of at most {max}")));
    }
    list.into_iter().map(Fields::parsed).collect()
}

fn events_per_hour(value: Value) -> Result<NonZeroU32, Invalid> {
    let number = notification_event::whole(&value).and_then(|n| u32::try_from(n).ok());
    number
        .and_then(NonZeroU32::new)
        .ok_or_else(|| Invalid::value("an integer from 1 to 4294967295"))
}

/// A key, without what makes it one.
#[derive(Clone, Debug)]
pub struct ApiKey {
    /// What names it where the key itself must not be said: a part of it.
    pub id: Arc<str>,
    /// What it was created as.
    pub of: NewKey,
    /// When that was.
    pub created_at: Timestamp,
    /// The name of the principal that did it.
    pub created_by: String,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// When it was used last, to the minute.
    pub last_used_at: Option<Timestamp>,
    digest: Digest,
}

impl ApiKey {
    /// As it is shown to administrators.
    pub fn to_json(&self) -> JsonObject {
        let mut object = JsonObject::new();
        object.insert("id".to_owned(), json!(*self.id));
        object.extend(self.of.to_json());
        object.insert("created_at".to_owned(), json!(self.created_at));
        object.insert("created_by".to_owned(), json!(self.created_by));
        for (name, time) in [
            ("revoked_at", self.revoked_at),
            ("last_used_at", self.last_used_at),
        ] {
            if let Some(time) = time {
                object.insert(name.to_owned(), json!(time));
            }
        }
        object
    }

    /// As it is stored: with what is remembered of its secret.
    pub fn to_record(&self) -> String {
        let mut object = self.to_json();
        object.insert("digest".to_owned(), self.digest.to_hex().into());
        Value::Object(object).to_string()
    }

    /// Reads what [`to_record`](Self::to_record) wrote.
    pub fn from_record(json: &str) -> Result<Self, Invalid> {
        let Ok(Value::Object(object)) = serde_json::from_str(json) else {
            return Err(Invalid::value("a JSON object"));
        };
        let text = |value: Value| match value {
            Value::String(text) => Ok(text),
            _ => Err(Invalid::value("a string")),
        };
        let mut fields = Fields::new(object);
        let id = fields.required("id", text);
        let created_at = fields.required("created_at", Fields::parsed);
        let created_by = fields.required("created_by", text);
        let revoked_at = fields.optional("revoked_at", Fields::parsed);
        let last_used_at = fields.optional("last_used_at", Fields::parsed);
        let digest = fields.required("digest", |value| {
            let digest = value.as_str().and_then(Digest::from_hex);
            digest.ok_or_else(|| Invalid::value("64 hexadecimal digits"))
        });
        let of = NewKey::read(&mut fields);
        fields.finish()?;
        let all = (|| {
            Some(Self {
                id: id?.into(),
                of: of?,
                created_at: created_at?,
                created_by: created_by?,
                revoked_at,
                last_used_at,
                digest: digest?,
            })
        })();
        Ok(all.expect("what is not there was refused"))
    }

    /// Whether it is good for anything at `now`.
    fn check(&self, now: Timestamp) -> Result<(), KeyError> {
        if self.revoked_at.is_some() {
            return Err(KeyError::Revoked);
        }
        match self.of.expires_at {
            Some(end) if end <= now => Err(KeyError::Expired),
            _ => Ok(()),
        }
    }

    fn is_of_operator(&self) -> bool {
        // No other has a sign in it.
        self.id.starts_with("operator-")
    }

    fn principal(&self) -> Principal {
        Principal {
            name: match self.is_of_operator() {
                true => "operator".into(),
                false => format!("key:{}", self.of.name).into(),
            },
            credential: Credential::Key(self.id.clone()),
            grants: self.of.grants.clone(),
            client: self.of.client.clone(),
            groups: self.of.groups.clone(),
            events_per_hour: self.of.events_per_hour,
            expires_at: self.of.expires_at,
        }
    }
}

/// Why a key is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It never was one, or of another server.
    #[error("the key is not one of this server's")]
    Unknown,
    /// It was, until somebody revoked it.
    #[error("the key was revoked")]
    Revoked,
    /// It was, until its time was over.
    #[error("the key has expired")]
    Expired,
}

/// Why a key is not created.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NewKeyError {
    /// There is one of this name.
    #[error("there is a key {0} already; revoke it, or choose another name")]
    NameTaken(String),
    /// There are too many.
    #[error("there are {MAX_KEYS} keys, the revoked ones counted, which is the most")]
    TooMany,
}

/// The keys that there are.
#[derive(Debug)]
pub(crate) struct Keys {
    secret: ServerSecret,
    by_id: RwLock<HashMap<Arc<str>, Arc<Entry>>>,
    /// The one that the operator made up, whose text has no form of ours.
    of_operator: RwLock<Option<Arc<Entry>>>,
}

#[derive(Debug)]
struct Entry {
    key: ApiKey,
    principal: Arc<Principal>,
    /// In milliseconds since 1970; 0 is never.
    last_used: AtomicI64,
    /// Whether something of it was not stored yet.
    is_unsaved: AtomicBool,
}

impl Keys {
    pub(crate) fn secret(&self) -> &ServerSecret {
        &self.secret
    }

    pub(crate) fn new(secret: ServerSecret) -> Self {
        Self {
            secret,
            by_id: RwLock::default(),
            of_operator: RwLock::default(),
        }
    }

    /// Whether a bearer token is meant to be a key.
    pub(crate) fn looks_like_one(text: &str) -> bool {
        text.starts_with(PREFIX)
    }

    /// Whoever comes with this text is an administrator from now on, and nobody
    /// with another that was set before.
    pub(crate) fn set_admin_key(&self, text: Option<&str>) {
        let entry = text.map(|text| {
            let digest = self.secret.digest(text);
            let key = ApiKey {
                // Another text is another key.
                id: format!("operator-{}", &digest.to_hex()[..8]).into(),
                of: NewKey {
                    name: "operator".to_owned(),
                    grants: Grants::all(),
                    client: None,
                    groups: None,
                    events_per_hour: None,
                    expires_at: None,
                },
                created_at: Timestamp::from_millis(0),
                created_by: "operator".to_owned(),
                revoked_at: None,
                last_used_at: None,
                digest,
            };
            Arc::new(Entry::new(key))
        });
        *self.of_operator.write().expect("no holder panics") = entry;
    }

    fn of_operator(&self) -> Option<Arc<Entry>> {
        self.of_operator.read().expect("no holder panics").clone()
    }

    /// Who comes with this key.
    pub(crate) fn authenticate(
        &self,
        text: &str,
        now: Timestamp,
    ) -> Result<Arc<Principal>, KeyError> {
        let digest = self.secret.digest(text);
        let entry = id_of(text).and_then(|id| self.by_id(id));
        let entry = entry.or_else(|| self.of_operator());
        let entry = entry.ok_or(KeyError::Unknown)?;
        if !entry.key.digest.is(&digest) {
            return Err(KeyError::Unknown);
        }
        entry.key.check(now)?;
        entry.used(now);
        Ok(entry.principal.clone())
    }

    /// Whether the key with this id is still good.
    pub(crate) fn check(&self, id: &str, now: Timestamp) -> Result<(), KeyError> {
        let entry = self.get(id).ok_or(KeyError::Unknown)?;
        entry.key.check(now)
    }

    /// A new key and its text, which is not kept. Not one of these yet.
    pub(crate) fn create(
        &self,
        of: NewKey,
        by: &str,
        now: Timestamp,
    ) -> Result<(ApiKey, String), NewKeyError> {
        let keys = self.read();
        if keys.len() >= MAX_KEYS {
            return Err(NewKeyError::TooMany);
        }
        let is_namesake =
            |entry: &Arc<Entry>| entry.key.of.name == of.name && entry.key.check(now).is_ok();
        if keys.values().any(is_namesake) {
            return Err(NewKeyError::NameTaken(of.name));
        }
        let id = random(ID_LEN);
        let text = format!("{PREFIX}{id}_{}", random(SECRET_LEN));
        let key = ApiKey {
            id: id.into(),
            of,
            created_at: now,
            created_by: by.to_owned(),
            revoked_at: None,
            last_used_at: None,
            digest: self.secret.digest(&text),
        };
        Ok((key, text))
    }

    /// The key is as it is here from now on.
    pub(crate) fn put(&self, key: ApiKey) {
        self.insert(Entry::new(key));
    }

    /// Likewise, which has not been stored yet.
    pub(crate) fn put_unsaved(&self, key: ApiKey) {
        let entry = Entry::new(key);
        entry.is_unsaved.store(true, Ordering::Relaxed);
        self.insert(entry);
    }

    fn insert(&self, entry: Entry) {
        let mut keys = self.by_id.write().expect("no holder panics");
        keys.insert(entry.key.id.clone(), Arc::new(entry));
    }

    /// The key as it will be when it is revoked; none if there is none, or it is
    /// already, and stored so.
    pub(crate) fn revoked(&self, id: &str, now: Timestamp) -> Option<ApiKey> {
        let entry = self.by_id(id)?;
        let key = entry.shown();
        let is_done = key.revoked_at.is_some() && !entry.is_unsaved.load(Ordering::Relaxed);
        (!is_done).then_some(ApiKey {
            revoked_at: key.revoked_at.or(Some(now)),
            ..key
        })
    }

    /// All of them, the newest first.
    pub(crate) fn list(&self) -> Vec<ApiKey> {
        let mut keys: Vec<_> = self.read().values().map(|entry| entry.shown()).collect();
        keys.sort_by(|a, b| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));
        keys
    }

    pub(crate) fn are_there_any(&self) -> bool {
        !self.read().is_empty() || self.of_operator().is_some()
    }

    pub(crate) fn are_any_live(&self, now: Timestamp) -> bool {
        let keys = self.read();
        self.of_operator().is_some() || keys.values().any(|entry| entry.key.check(now).is_ok())
    }

    /// Those that were used, or otherwise changed, since this was last asked.
    pub(crate) fn take_unsaved(&self) -> Vec<ApiKey> {
        let keys = self.read();
        let unsaved = keys
            .values()
            .filter(|entry| entry.is_unsaved.swap(false, Ordering::Relaxed));
        unsaved.map(|entry| entry.shown()).collect()
    }

    /// These could not be stored.
    pub(crate) fn give_back_unsaved(&self, keys: &[ApiKey]) {
        let known = self.read();
        for entry in keys.iter().filter_map(|key| known.get(&key.id)) {
            entry.is_unsaved.store(true, Ordering::Relaxed);
        }
    }

    fn get(&self, id: &str) -> Option<Arc<Entry>> {
        let of_operator = || self.of_operator().filter(|entry| *entry.key.id == *id);
        self.by_id(id).or_else(of_operator)
    }

    fn by_id(&self, id: &str) -> Option<Arc<Entry>> {
        self.read().get(id).cloned()
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, HashMap<Arc<str>, Arc<Entry>>> {
        self.by_id.read().expect("no holder panics")
    }
}

impl Entry {
    fn new(key: ApiKey) -> Self {
        Self {
            principal: Arc::new(key.principal()),
            last_used: AtomicI64::new(key.last_used_at.map_or(0, Timestamp::as_millis)),
            is_unsaved: AtomicBool::new(false),
            key,
        }
    }

    /// To the minute, so that a key that is used all the time is not written all the time.
    fn used(&self, now: Timestamp) {
        const MINUTE: i64 = 60_000;
        let now = now.as_millis();
        if now - self.last_used.load(Ordering::Relaxed) >= MINUTE {
            self.last_used.store(now, Ordering::Relaxed);
            self.is_unsaved.store(true, Ordering::Relaxed);
        }
    }

    fn shown(&self) -> ApiKey {
        let used = self.last_used.load(Ordering::Relaxed);
        ApiKey {
            last_used_at: (used > 0).then(|| Timestamp::from_millis(used)),
            ..self.key.clone()
        }
    }
}

/// The part of a key that names it, if this is one.
fn id_of(text: &str) -> Option<&str> {
    let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
    (id.len() == ID_LEN && secret.len() == SECRET_LEN).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_millis(second * SECOND)
    }

    fn keys() -> Keys {
        Keys::new(ServerSecret::new(&[7; 32]))
    }

    fn wanted(json: Value) -> NewKey {
        NewKey::parse(json).unwrap()
    }

    fn create(keys: &Keys, json: Value) -> (ApiKey, String) {
        let (key, text) = keys.create(wanted(json), "local", at(0)).unwrap();
        keys.put(key.clone());
        (key, text)
    }

    #[test]
    fn a_key_brings_its_principal() {
        let keys = keys();
        let (key, text) = create(
            &keys,
            json!({"name": "ci", "allow": ["publish:ops/**"], "client_id": "alice",
                   "groups": ["b", "a", "b"], "events_per_hour": 10}),
        );
        let principal = keys.authenticate(&text, at(1)).unwrap();
        assert_eq!(&*principal.name, "key:ci");
        assert_eq!(principal.groups.as_ref().unwrap().len(), 2);
        assert_eq!(principal.credential, Credential::Key(key.id.clone()));
        assert!(!format!("{keys:?}{key:?}").contains(&text[20..]));
        assert!(!key.to_record().contains(&text[20..]));
        for wrong in [
            "",
            "ntf_",
            &text[..text.len() - 1],
            &format!("{text}x"),
            &text.to_lowercase(),
            &format!("ntf_{}_{}", key.id, "x".repeat(43)),
        ] {
            let refused = keys.authenticate(wrong, at(1)).err();
            assert_eq!(refused, Some(KeyError::Unknown), "{wrong}");
        }
    }

    #[test]
    fn a_key_ends_when_it_is_revoked_or_its_time_is_over() {
        let keys = keys();
        let (key, text) = create(&keys, json!({"name": "a", "allow": ["admin"]}));
        let end = at(10);
        let (_, short) = create(&keys, json!({"name": "b", "allow": [], "expires_at": end}));
        assert!(keys.authenticate(&short, at(9)).is_ok());
        assert_eq!(
            keys.authenticate(&short, end).err(),
            Some(KeyError::Expired)
        );
        let revoked = keys.revoked(&key.id, at(5)).unwrap();
        assert!(keys.authenticate(&text, at(5)).is_ok());
        keys.put_unsaved(revoked.clone());
        assert!(keys.revoked(&key.id, at(6)).is_some(), "it is to be stored");
        let unsaved = keys.take_unsaved();
        assert!(unsaved.iter().any(|k| k.revoked_at == Some(at(5))));
        keys.give_back_unsaved(&unsaved);
        assert!(!keys.take_unsaved().is_empty());
        keys.put(revoked);
        assert_eq!(
            keys.authenticate(&text, at(5)).err(),
            Some(KeyError::Revoked)
        );
        assert_eq!(keys.check(&key.id, at(5)), Err(KeyError::Revoked));
        assert!(keys.revoked(&key.id, at(6)).is_none());
        assert!(keys.are_there_any());
    }

    #[test]
    fn the_operator_makes_up_a_key() {
        let keys = keys();
        let text = "correct-horse-battery-staple-correct";
        keys.set_admin_key(Some(text));
        let principal = keys.authenticate(text, at(1)).unwrap();
        assert_eq!(&*principal.name, "operator");
        let Credential::Key(id) = &principal.credential else {
            panic!("{principal:?}");
        };
        assert_eq!(keys.check(id, at(1)), Ok(()));
        assert!(keys.authenticate("another", at(1)).is_err());
        keys.set_admin_key(Some("another-horse-battery-staple-correct"));
        assert!(keys.authenticate(text, at(1)).is_err());
        assert_eq!(keys.check(id, at(1)), Err(KeyError::Unknown));
        assert!(keys.take_unsaved().is_empty());
    }

    #[test]
    fn names_are_taken_while_a_key_lives() {
        let keys = keys();
        let json = || json!({"name": "ci", "allow": []});
        let (key, _) = create(&keys, json());
        let taken = keys.create(wanted(json()), "local", at(1)).unwrap_err();
        assert_eq!(taken, NewKeyError::NameTaken("ci".into()));
        keys.put(keys.revoked(&key.id, at(1)).unwrap());
        assert!(keys.create(wanted(json()), "local", at(1)).is_ok());
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let keys = keys();
        let (key, text) = create(
            &keys,
            json!({"name": "ci", "allow": ["publish:ops/**", "acknowledge"], "client_id": "a",
                   "groups": ["g"], "events_per_hour": 1, "expires_at": "2034-01-01T00:00:00Z"}),
        );
        keys.authenticate(&text, at(100)).unwrap();
        let used = keys.take_unsaved();
        assert_eq!(used[0].last_used_at, Some(at(100)));
        assert!(keys.take_unsaved().is_empty());
        let again = Keys::new(ServerSecret::new(&[7; 32]));
        again.put(ApiKey::from_record(&used[0].to_record()).unwrap());
        assert_eq!(again.list()[0].to_json(), used[0].to_json());
        assert!(again.authenticate(&text, at(1)).is_ok());
        let elsewhere = Keys::new(ServerSecret::new(&[8; 32]));
        elsewhere.put(ApiKey::from_record(&key.to_record()).unwrap());
        assert!(elsewhere.authenticate(&text, at(1)).is_err());
        assert!(ApiKey::from_record("{}").is_err());
    }

    #[test]
    fn a_wish_is_read_strictly() {
        let check = |json: Value, field: &str| {
            let refused = NewKey::parse(json.clone()).unwrap_err();
            assert!(refused.to_string().contains(field), "{json}: {refused}");
        };
        check(json!({"allow": []}), "name");
        check(json!({"name": "a"}), "allow");
        check(json!({"name": "a b", "allow": []}), "name");
        check(json!({"name": "a", "allow": ["fly:a"]}), "publish:PATTERN");
        check(json!({"name": "a", "allow": "admin"}), "an array");
        check(
            json!({"name": "a", "allow": [], "groups": ["g"]}),
            "client_id",
        );
        check(
            json!({"name": "a", "allow": [], "events_per_hour": 0}),
            "events_per_hour",
        );
        check(
            json!({"name": "a", "allow": [], "expires": "never"}),
            "expires",
        );
        check(json!([]), "an object");
    }
}
