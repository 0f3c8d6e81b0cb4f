//! Offer filters: what a framework refused, and for how long it is not offered again.
//!
//! There can be one for each framework, role and agent, so each takes as little memory as
//! possible: 24 bytes with the agent, and 8 in the list of those that end at about the same time.
//! To forget everything that a framework refused in a role costs the same however much that is:
//! its number changes, and filters for the old number go when they are met.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mesos::proto;
use mesos::resources::Resources;

use super::agent::Agent;
use super::framework::Framework;
use super::role_tree::Role;
use super::slots::{Key, KeyMap};

/// The default of `Filters.refuse_seconds`, also for values that make no sense.
const DEFAULT_REFUSAL: Duration = Duration::from_secs(5);

/// The longest time that an offer can be refused for.
const REFUSAL_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Filters that end within so many nanoseconds of each other are in one list.
const TICK_NANOS: u64 = 100_000_000;

/// So many entries of lists may be void, beside as many as are not, before they are cleared away.
const VOID_MAX: usize = 1024;

/// How long something is refused for, without regard to runs; zero for not at all.
pub(super) fn refusal(filters: &proto::Filters) -> Duration {
    match filters.refuse_seconds {
        None => DEFAULT_REFUSAL,
        Some(seconds) if seconds > REFUSAL_MAX.as_secs_f64() => REFUSAL_MAX,
        Some(seconds) => Duration::try_from_secs_f64(seconds).unwrap_or(DEFAULT_REFUSAL),
    }
}

/// How long an offer filter lasts; none if there is to be no filter.
///
/// A filter lasts at least one allocation interval, since one that expires before the next run
/// would have no effect.
pub(super) fn offer_refusal(
    filters: &proto::Filters,
    allocation_interval: Duration,
) -> Option<Duration> {
    let refusal = refusal(filters);
    (!refusal.is_zero()).then(|| refusal.max(allocation_interval))
}

/// For whom and where a filter is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub(super) framework: Key<Framework>,
    pub(super) role: Key<Role>,
    pub(super) agent: Key<Agent>,
}

/// One refusal.
struct Filter {
    /// What was refused; bundles that it contains are not offered. Frameworks in turn refuse the
    /// same bundle of an agent, which they then share.
    refused: Arc<Resources>,
    until_nanos: u64,
    client: u32,
}

/// The filters of one agent.
#[derive(Default)]
pub(super) struct AgentFilters {
    /// By client.
    filters: Vec<Filter>,
    /// What was refused last.
    last: Option<Arc<Resources>>,
}

impl AgentFilters {
    /// The bundles that a client refused.
    pub(super) fn refused(&self, client: u32) -> impl Iterator<Item = &Arc<Resources>> {
        self.of(client).iter().map(|filter| &filter.refused)
    }

    fn of(&self, client: u32) -> &[Filter] {
        let start = self
            .filters
            .partition_point(|filter| filter.client < client);
        let rest = self.filters.get(start..).unwrap_or(&[]);
        let count = rest
            .iter()
            .take_while(|filter| filter.client == client)
            .count();
        rest.get(..count).unwrap_or(&[])
    }

    fn insert(&mut self, refused: Resources, until_nanos: u64, client: u32) {
        let refused = match &self.last {
            Some(last) if **last == refused => Arc::clone(last),
            _ => {
                let refused = Arc::new(refused);
                self.last = Some(refused.clone());
                refused
            }
        };
        let place = self
            .filters
            .partition_point(|filter| filter.client <= client);
        let filter = Filter {
            refused,
            until_nanos,
            client,
        };
        self.filters.insert(place, filter);
    }
}

/// A framework in a role, for as long as filters remember it.
struct Client {
    framework: Key<Framework>,
    role: Key<Role>,
    /// How many filters there are, on all agents.
    filters: usize,
    /// Whether they are void.
    void: bool,
}

/// Where to look for a filter that ends.
type Entry = (Key<Agent>, u32);

/// All filters, by agent, since runs go from agent to agent.
#[derive(Default)]
pub(super) struct FilterTable {
    agents: KeyMap<Key<Agent>, AgentFilters>,
    clients: Vec<Client>,
    free: Vec<u32>,
    numbers: KeyMap<(Key<Framework>, Key<Role>), u32>,
    /// How many filters there are in a role.
    counts: KeyMap<Key<Role>, usize>,
    /// Filters that no full run has seen yet; until then they do not end.
    fresh: Vec<(Entry, u64)>,
    /// By tick.
    ends: BTreeMap<u64, Vec<Entry>>,
    /// How many filters are valid, and how many entries `fresh` and `ends` have.
    valid: usize,
    entries: usize,
}

impl FilterTable {
    /// The number of a framework in a role, if it has filters.
    pub(super) fn client(&self, framework: Key<Framework>, role: Key<Role>) -> Option<u32> {
        self.numbers.get(&(framework, role)).copied()
    }

    /// The filters on an agent.
    pub(super) fn on(&self, agent: Key<Agent>) -> Option<&AgentFilters> {
        self.agents.get(&agent)
    }

    /// What a framework refused of an agent in a role, and until when.
    pub(super) fn refused(
        &self,
        place: Place,
    ) -> impl Iterator<Item = (&Arc<Resources>, Duration)> {
        let client = self.client(place.framework, place.role);
        let filters = self.on(place.agent).zip(client);
        filters
            .into_iter()
            .flat_map(|(on_agent, client)| on_agent.of(client))
            .map(|filter| (&filter.refused, Duration::from_nanos(filter.until_nanos)))
    }

    /// How many filters there are in a role.
    pub(super) fn count(&self, role: Key<Role>) -> usize {
        self.counts.get(&role).copied().unwrap_or(0)
    }

    pub(super) fn insert(&mut self, place: Place, refused: Resources, until: Duration) {
        let client = self.client_or_new(place.framework, place.role);
        let until_nanos = u64::try_from(until.as_nanos()).unwrap_or(u64::MAX);
        let on_agent = self.agents.entry(place.agent).or_default();
        on_agent.insert(refused, until_nanos, client);
        if let Some(client) = self.clients.get_mut(client as usize) {
            client.filters += 1;
        }
        *self.counts.entry(place.role).or_default() += 1;
        self.fresh.push(((place.agent, client), until_nanos));
        self.valid += 1;
        self.entries += 1;
        if self.entries > 2 * self.valid + VOID_MAX {
            self.clear_away();
        }
    }

    fn client_or_new(&mut self, framework: Key<Framework>, role: Key<Role>) -> u32 {
        if let Some(client) = self.client(framework, role) {
            return client;
        }
        let client = Client {
            framework,
            role,
            filters: 0,
            void: false,
        };
        let number = match self.free.pop() {
            Some(number) => {
                if let Some(slot) = self.clients.get_mut(number as usize) {
                    *slot = client;
                }
                number
            }
            None => {
                self.clients.push(client);
                u32::try_from(self.clients.len() - 1).unwrap_or(u32::MAX)
            }
        };
        self.numbers.insert((framework, role), number);
        number
    }

    /// Notes that a run over all agents sees the filters that there are.
    pub(super) fn seen(&mut self) {
        for (entry, until_nanos) in std::mem::take(&mut self.fresh) {
            let tick = self.ends.entry(until_nanos / TICK_NANOS).or_default();
            tick.push(entry);
        }
    }

    /// Removes filters whose time is over, except those that no full run has seen yet, and returns
    /// where they were. A filter that ends at this very moment still counts, as it would if its
    /// timer were queued behind the run.
    pub(super) fn expire(&mut self, now: Duration) -> Vec<Place> {
        let now_nanos = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let mut expired = Vec::new();
        let mut fresh = None;
        while let Some(tick) = self.ends.first_entry() {
            if *tick.key() > now_nanos / TICK_NANOS {
                break;
            }
            let (tick, entries) = tick.remove_entry();
            self.entries -= entries.len();
            let mut later = Vec::new();
            let fresh = fresh.get_or_insert_with(|| self.count_fresh());
            for (agent, client) in entries {
                let fresh = fresh.get(&(agent, client)).copied().unwrap_or(0);
                let (ended, left) = self.end(agent, client, now_nanos, tick, fresh);
                expired.extend(ended);
                later.extend((0..left).map(|_| (agent, client)));
            }
            if !later.is_empty() {
                self.entries += later.len();
                self.ends.insert(tick, later);
                break;
            }
        }
        expired
    }

    /// How many filters no full run has seen yet, by agent and client.
    fn count_fresh(&self) -> KeyMap<Entry, usize> {
        let mut counts = KeyMap::default();
        for (entry, _) in &self.fresh {
            *counts.entry(*entry).or_default() += 1;
        }
        counts
    }

    /// Removes the filters of a client on an agent whose time is over, but for the last `fresh`
    /// ones. Returns where they were, and whether there is one left that ends in the tick.
    fn end(
        &mut self,
        agent: Key<Agent>,
        number: u32,
        now_nanos: u64,
        tick: u64,
        fresh: usize,
    ) -> (Option<Place>, usize) {
        let Some(on_agent) = self.agents.get_mut(&agent) else {
            return (None, 0);
        };
        let start = on_agent.filters.partition_point(|f| f.client < number);
        let is_over = |filter: &Filter| filter.client == number && filter.until_nanos < now_nanos;
        let of_client = on_agent
            .filters
            .iter()
            .filter(|f| f.client == number)
            .count();
        let mut seen = of_client.saturating_sub(fresh);
        let mut ended = 0;
        let mut index = start;
        let mut left = 0;
        while let Some(filter) = on_agent.filters.get(index) {
            if filter.client != number || seen == 0 {
                break;
            }
            seen -= 1;
            if is_over(filter) {
                on_agent.filters.remove(index);
                ended += 1;
            } else {
                left |= usize::from(filter.until_nanos / TICK_NANOS == tick);
                index += 1;
            }
        }
        if on_agent.filters.is_empty() {
            self.agents.remove(&agent);
        }
        let place = self.clients.get(number as usize).and_then(|client| {
            (ended > 0 && !client.void).then_some(Place {
                framework: client.framework,
                role: client.role,
                agent,
            })
        });
        self.forget(number, ended);
        (place, left)
    }

    /// Counts filters of a client that are gone.
    fn forget(&mut self, number: u32, gone: usize) {
        let Some(client) = self.clients.get_mut(number as usize) else {
            return;
        };
        client.filters -= gone;
        let (role, place) = (client.role, (client.framework, client.role));
        if client.void {
            if client.filters == 0 && gone > 0 {
                self.free.push(number);
            }
            return;
        }
        if client.filters == 0 {
            client.void = true;
            self.numbers.remove(&place);
            if gone > 0 {
                self.free.push(number);
            }
        }
        self.valid -= gone;
        self.uncount(role, gone);
    }

    fn uncount(&mut self, role: Key<Role>, gone: usize) {
        if let Some(count) = self.counts.get_mut(&role) {
            *count -= gone;
            if *count == 0 {
                self.counts.remove(&role);
            }
        }
    }

    /// Removes all filters of a framework in a role.
    pub(super) fn remove(&mut self, framework: Key<Framework>, role: Key<Role>) {
        let Some(number) = self.numbers.remove(&(framework, role)) else {
            return;
        };
        if let Some(client) = self.clients.get_mut(number as usize) {
            client.void = true;
            let filters = client.filters;
            self.valid -= filters;
            self.uncount(role, filters);
        }
    }

    /// Removes all filters on an agent.
    pub(super) fn remove_agent(&mut self, agent: Key<Agent>) {
        if let Some(on_agent) = self.agents.remove(&agent) {
            for filter in &on_agent.filters {
                self.forget(filter.client, 1);
            }
        }
    }

    /// Drops void filters and entries.
    fn clear_away(&mut self) {
        let clients = &mut self.clients;
        let mut free = Vec::new();
        self.agents.retain(|_, on_agent| {
            on_agent.filters.retain(|filter| {
                let Some(client) = clients.get_mut(filter.client as usize) else {
                    return false;
                };
                if client.void {
                    client.filters -= 1;
                    if client.filters == 0 {
                        free.push(filter.client);
                    }
                }
                !client.void
            });
            !on_agent.filters.is_empty()
        });
        self.free.extend(free);
        let agents = &self.agents;
        let is_valid = |(agent, client): &Entry, tick: u64| {
            let filters = agents.get(agent).map_or(&[][..], |agent| agent.of(*client));
            filters.iter().any(|f| f.until_nanos / TICK_NANOS == tick)
        };
        self.fresh
            .retain(|(entry, until)| is_valid(entry, until / TICK_NANOS));
        self.ends.retain(|tick, entries| {
            entries.sort_unstable();
            entries.dedup();
            entries.retain(|entry| is_valid(entry, *tick));
            !entries.is_empty()
        });
        self.entries = self.fresh.len() + self.ends.values().map(Vec::len).sum::<usize>();
    }

    /// Every place with a valid filter.
    pub(super) fn places(&self) -> impl Iterator<Item = Place> {
        self.agents.iter().flat_map(|(agent, on_agent)| {
            let clients = on_agent.filters.iter();
            let clients = clients.filter_map(|filter| self.clients.get(filter.client as usize));
            clients.filter(|client| !client.void).map(|client| Place {
                framework: client.framework,
                role: client.role,
                agent: *agent,
            })
        })
    }

    /// Whether counts and entries agree with the filters.
    pub(super) fn is_consistent(&self) -> bool {
        let valid = self.places().count();
        let entries = self.fresh.len() + self.ends.values().map(Vec::len).sum::<usize>();
        let scheduled = |agent: Key<Agent>, filter: &Filter| {
            let entry = (agent, filter.client);
            let tick = self.ends.get(&(filter.until_nanos / TICK_NANOS));
            tick.is_some_and(|tick| tick.contains(&entry))
                || self.fresh.contains(&(entry, filter.until_nanos))
        };
        valid == self.valid
            && valid == self.counts.values().sum::<usize>()
            && entries == self.entries
            && self.agents.iter().all(|(agent, on_agent)| {
                let by_client = on_agent.filters.is_sorted_by_key(|filter| filter.client);
                by_client && on_agent.filters.iter().all(|f| scheduled(*agent, f))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_small() {
        assert_eq!(size_of::<Filter>() + size_of::<Entry>(), 32);
    }

    #[test]
    fn durations_of_filters() {
        let interval = Duration::from_secs(1);
        let day = 24.0 * 3600.0;
        for (refuse_seconds, expected_secs) in [
            (None, Some(5.0)),
            (Some(0.0), None),
            (Some(1e-12), None),
            (Some(0.5), Some(1.0)),
            (Some(30.0), Some(30.0)),
            (Some(-1.0), Some(5.0)),
            (Some(f64::NAN), Some(5.0)),
            (Some(f64::NEG_INFINITY), Some(5.0)),
            (Some(f64::INFINITY), Some(365.0 * day)),
            (Some(1e300), Some(365.0 * day)),
            (Some(366.0 * day), Some(365.0 * day)),
        ] {
            let filters = proto::Filters { refuse_seconds };
            let actual = offer_refusal(&filters, interval).map(|refusal| refusal.as_secs_f64());
            assert_eq!(actual, expected_secs, "{refuse_seconds:?}");
        }
    }
}
