//! Wrong passwords make the next try wait: by account and by address, in the memory of one process. With several processes
//! behind one address who guesses has as many more tries.
//!
//! An address from which somebody has logged in before is counted for them alone: a stranger who guesses at an account from
//! elsewhere does not keep its owner out.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::api::door::network;
use crate::model::time::Timestamp;

/// Tries of one account that nothing delays.
const OF_ACCOUNT: u32 = 5;
/// Tries from one address: a whole office may be behind it.
const OF_ADDRESS: u32 = 20;
const LONGEST: Duration = Duration::from_secs(15 * 60);
/// Tries are forgotten when none came for so long.
const FORGOTTEN: Duration = Duration::from_secs(60 * 60);
/// From an address where nobody has logged in for so long they are strangers again.
const STRANGE_AGAIN: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Accounts and addresses that are remembered, of each.
const REMEMBERED: usize = 10_000;

#[derive(Debug)]
pub struct Failures(Mutex<Tables>);

/// An account, and where somebody tries to log in to it.
type Place = ([u8; 32], Option<IpAddr>);

#[derive(Debug)]
struct Tables {
    accounts: Table<[u8; 32]>,
    addresses: Table<Option<IpAddr>>,
    /// Of those at places that are known.
    places: Table<Place>,
    /// When somebody logged in there last.
    known: HashMap<Place, Timestamp>,
}

#[derive(Debug)]
struct Table<K> {
    free: u32,
    tries: HashMap<K, Tries>,
}

#[derive(Clone, Copy, Debug)]
struct Tries {
    count: u32,
    last: Timestamp,
}

impl Default for Failures {
    fn default() -> Self {
        Failures(Mutex::new(Tables {
            accounts: Table::of(OF_ACCOUNT),
            addresses: Table::of(OF_ADDRESS),
            places: Table::of(OF_ACCOUNT),
            known: HashMap::new(),
        }))
    }
}

/// Whether the account is there makes no difference; neither does its case.
fn account(email: &str) -> [u8; 32] {
    Sha256::digest(email.to_lowercase()).into()
}

impl Failures {
    /// Counts a try, which a right password takes back: of many at once each counts before it is known how it ends.
    ///
    /// # Errors
    /// How long to wait. Nothing is counted.
    pub fn begin(&self, email: &str, address: Option<IpAddr>, now: Timestamp) -> Result<(), Duration> {
        let (account, address) = (account(email), address.map(network));
        let mut tables = self.tables();
        let place = tables.knows((account, address), now);
        let wait = match &place {
            Some(place) => tables.places.wait(place, now),
            None => tables.accounts.wait(&account, now),
        };
        let wait = wait.max(tables.addresses.wait(&address, now));
        if !wait.is_zero() {
            return Err(wait);
        }
        match place {
            Some(place) => tables.places.count(place, now),
            None => tables.accounts.count(account, now),
        }
        tables.addresses.count(address, now);
        Ok(())
    }

    /// The password was right. Other tries from the address stay counted: who guesses may know a password of their own.
    pub fn was_right(&self, email: &str, address: Option<IpAddr>, now: Timestamp) {
        let (account, address) = (account(email), address.map(network));
        let mut tables = self.tables();
        match tables.knows((account, address), now) {
            Some(place) => drop(tables.places.tries.remove(&place)),
            None => drop(tables.accounts.tries.remove(&account)),
        }
        if let Some(tries) = tables.addresses.tries.get_mut(&address) {
            tries.count = tries.count.saturating_sub(1);
        }
        tables.meet((account, address), now);
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tables {
    fn knows(&self, place: Place, now: Timestamp) -> Option<Place> {
        let last = self.known.get(&place)?;
        (now.since(*last) < STRANGE_AGAIN).then_some(place)
    }

    /// Where the address is not known nothing can be.
    fn meet(&mut self, place: Place, now: Timestamp) {
        if place.1.is_none() {
            return;
        }
        if self.known.len() >= REMEMBERED && !self.known.contains_key(&place) {
            let oldest = self.known.iter().min_by_key(|(_, last)| **last).map(|(place, _)| *place);
            oldest.and_then(|oldest| self.known.remove(&oldest));
        }
        self.known.insert(place, now);
    }
}

impl<K: Eq + Hash + Clone> Table<K> {
    fn of(free: u32) -> Self {
        Table { free, tries: HashMap::new() }
    }

    fn wait(&mut self, key: &K, now: Timestamp) -> Duration {
        let Some(tries) = self.tries.get_mut(key) else { return Duration::ZERO };
        // A clock that was set back makes nobody wait for as long as it was.
        tries.last = tries.last.min(now);
        tries.last.plus(pause(tries.count, self.free)).since(now)
    }

    fn count(&mut self, key: K, now: Timestamp) {
        if self.tries.len() >= REMEMBERED && !self.tries.contains_key(&key) {
            self.forget(now);
        }
        let tries = self.tries.entry(key).or_insert(Tries { count: 0, last: now });
        if now.since(tries.last) >= FORGOTTEN {
            tries.count = 0;
        }
        *tries = Tries { count: tries.count.saturating_add(1), last: now };
    }

    /// What is old goes, else what was tried the least: made-up accounts do not push out the one that is guessed at.
    fn forget(&mut self, now: Timestamp) {
        self.tries.retain(|_, tries| now.since(tries.last) < FORGOTTEN);
        if self.tries.len() >= REMEMBERED {
            let least = self.tries.iter().min_by_key(|(_, tries)| (tries.count, tries.last));
            if let Some(key) = least.map(|(key, _)| key.clone()) {
                self.tries.remove(&key);
            }
        }
    }
}

/// After so many tries: nothing at first, then a second, and twice as long each time.
fn pause(count: u32, free: u32) -> Duration {
    match count.checked_sub(free) {
        None => Duration::ZERO,
        Some(over) => Duration::from_secs(1_u64.checked_shl(over).unwrap_or(u64::MAX)).min(LONGEST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Timestamp = Timestamp(1_763_712_930_250);

    fn address(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([198, 51, 100, last]))
    }

    #[test]
    fn guessing_at_one_account_waits_ever_longer_wherever_it_comes_from() {
        let failures = Failures::default();
        for n in 0..5 {
            assert_eq!(failures.begin("ada@x.example", address(n), T0), Ok(()));
        }
        let mut now = T0;
        for seconds in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900] {
            let wait = Duration::from_secs(seconds);
            assert_eq!(failures.begin("ADA@x.example", address(99), now), Err(wait));
            assert_eq!(failures.begin("bob@x.example", address(98), now.plus(FORGOTTEN)), Ok(()), "nobody else waits");
            now = now.plus(wait);
            assert_eq!(failures.begin("ada@x.example", address(seconds as u8), now), Ok(()));
        }
        let later = now.plus(FORGOTTEN);
        assert_eq!(failures.begin("ada@x.example", address(1), later), Ok(()));
        assert_eq!(failures.begin("ada@x.example", address(1), later), Ok(()), "it is forgotten in the end");
    }

    #[test]
    fn guessing_at_many_accounts_from_one_address_waits_too() {
        let failures = Failures::default();
        for n in 0..20 {
            assert_eq!(failures.begin(&format!("{n}@x.example"), address(1), T0), Ok(()));
        }
        assert_eq!(failures.begin("other@x.example", address(1), T0), Err(Duration::from_secs(1)));
        assert_eq!(failures.begin("other@x.example", address(2), T0), Ok(()));
        // Right for one account: that does not make the address innocent.
        failures.was_right("3@x.example", address(1), T0);
        assert_eq!(failures.begin("other@x.example", address(1), T0), Ok(()));
        assert!(failures.begin("more@x.example", address(1), T0).is_err());
    }

    #[test]
    fn who_knows_the_password_is_not_slowed_by_having_used_it() {
        let failures = Failures::default();
        for _ in 0..1_000 {
            assert_eq!(failures.begin("ada@x.example", address(1), T0), Ok(()));
            failures.was_right("ada@x.example", address(1), T0);
        }
    }

    #[test]
    fn a_clock_that_is_set_back_locks_nobody_out() {
        let (failures, later) = (Failures::default(), T0.plus(Duration::from_secs(3_600)));
        assert_eq!(failures.begin("ada@x.example", address(1), later), Ok(()));
        failures.was_right("ada@x.example", address(1), later);
        assert_eq!(failures.begin("ada@x.example", address(1), T0), Ok(()));
        for _ in 0..5 {
            assert_eq!(failures.begin("bob@x.example", address(2), later), Ok(()));
        }
        assert_eq!(
            failures.begin("bob@x.example", address(2), T0),
            Err(Duration::from_secs(1)),
            "who guesses waits on"
        );
        assert_eq!(failures.begin("bob@x.example", address(2), T0.plus(Duration::from_secs(1))), Ok(()));
    }

    #[test]
    fn a_stranger_who_guesses_at_an_account_does_not_keep_its_owner_out() {
        let failures = Failures::default();
        assert_eq!(failures.begin("ada@x.example", address(1), T0), Ok(()));
        failures.was_right("ada@x.example", address(1), T0);
        for n in 0..5 {
            assert_eq!(failures.begin("ada@x.example", address(100 + n), T0), Ok(()));
        }
        assert!(failures.begin("ada@x.example", address(200), T0).is_err(), "from anywhere else");
        assert_eq!(failures.begin("Ada@x.example", address(1), T0), Ok(()));
        failures.was_right("ada@x.example", address(1), T0);
        assert!(failures.begin("ada@x.example", address(200), T0).is_err(), "that she came in frees no stranger");
        assert!(failures.begin("bob@x.example", address(1), T0).is_ok());
        // Who shares the address with her guesses no faster there than anywhere.
        for _ in 0..5 {
            assert_eq!(failures.begin("ada@x.example", address(1), T0), Ok(()));
        }
        assert!(failures.begin("ada@x.example", address(1), T0).is_err());
        assert!(failures.begin("ada@x.example", address(1), T0.plus(STRANGE_AGAIN)).is_ok());
    }

    #[test]
    fn an_address_that_is_not_known_is_nobodys_home() {
        let failures = Failures::default();
        failures.was_right("ada@x.example", None, T0);
        for _ in 0..5 {
            assert_eq!(failures.begin("ada@x.example", None, T0), Ok(()));
        }
        assert!(failures.begin("ada@x.example", None, T0).is_err());
        for n in 0..REMEMBERED as u32 + 10 {
            failures.was_right("ada@x.example", Some(IpAddr::from((n + (10 << 24)).to_be_bytes())), T0);
        }
        assert!(failures.tables().known.len() <= REMEMBERED);
    }

    #[test]
    fn made_up_accounts_neither_grow_the_memory_nor_free_the_one_that_is_guessed_at() {
        let failures = Failures::default();
        for n in 0..6 {
            let _ = failures.begin("ada@x.example", address(n), T0);
        }
        for n in 0..REMEMBERED as u32 + 500 {
            let from = Some(IpAddr::from((n + (10 << 24)).to_be_bytes()));
            assert_eq!(failures.begin(&format!("{n}@x.example"), from, T0), Ok(()));
        }
        assert!(failures.begin("ada@x.example", address(9), T0).is_err());
        let tables = failures.tables();
        assert!(tables.accounts.tries.len() <= REMEMBERED && tables.addresses.tries.len() <= REMEMBERED);
    }
}
