//! The process groups that have rows, over readings of the configuration.
//!
//! A group that the configuration has no longer keeps its rows, in case it comes back, until another
//! one needs them. But processes that were started when there was the group may still use them, so
//! they are taken only when no such process is left.

use std::collections::HashMap;

/// The identity of a process group over restarts. A group that another virtual host defines is
/// another group, whatever its name: its owner has no business with what was counted before.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct GroupKey {
    /// The virtual host that defines it.
    pub host: Box<[u8]>,
    /// Its name.
    pub name: Box<[u8]>,
}

/// A reading of the configuration, by numbers that grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Its number.
    pub number: u64,
    /// The number of the oldest one that a process still works by.
    pub oldest: u64,
}

/// The groups, and what each has.
#[derive(Debug, Clone)]
pub(crate) struct Tenants<R> {
    tenants: HashMap<GroupKey, Tenant<R>>,
    /// The number of groups so far.
    count: u64,
}

/// A group.
#[derive(Debug, Clone)]
pub(crate) struct Tenant<R> {
    /// A number that no other group has, nor had; from 1 on.
    pub(crate) number: u64,
    /// Its rows.
    pub(crate) rows: R,
    /// The last reading that had the group.
    last: u64,
}

impl<R> Default for Tenants<R> {
    fn default() -> Self {
        Self { tenants: HashMap::new(), count: 0 }
    }
}

impl<R: Default> Tenants<R> {
    /// Returns a group that a reading has. It has no rows if it is new.
    pub(crate) fn admit(&mut self, key: &GroupKey, reading: Reading) -> &mut Tenant<R> {
        let tenant = self.tenants.entry(key.clone()).or_insert_with(|| {
            self.count += 1;
            Tenant { number: self.count, rows: R::default(), last: 0 }
        });
        tenant.last = reading.number;
        tenant
    }

    /// Removes the group that has been gone for the longest time, if no process uses its rows any
    /// more. Returns the rows.
    pub(crate) fn evict(&mut self, reading: Reading) -> Option<R> {
        let oldest = reading.oldest.min(reading.number);
        let gone = self.tenants.iter().filter(|(_, tenant)| tenant.last < oldest);
        let (_, _, key) = gone
            .map(|(key, tenant)| (tenant.last, tenant.number, key))
            .min_by_key(|gone| (gone.0, gone.1))?;
        let key = key.clone();
        self.tenants.remove(&key).map(|tenant| tenant.rows)
    }

    pub(crate) fn get(&self, key: &GroupKey) -> Option<&Tenant<R>> {
        self.tenants.get(key)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&GroupKey, &R)> {
        self.tenants.iter().map(|(key, tenant)| (key, &tenant.rows))
    }
}
