//! Offer filters: what a framework refused, and for how long it is not offered again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mesos::proto;
use mesos::resources::Resources;
use smallvec::SmallVec;

use super::agent::Agent;
use super::framework::Framework;
use super::role_tree::Role;
use super::slots::{Key, KeyMap};

/// The default of `Filters.refuse_seconds`, also for values that make no sense.
const DEFAULT_REFUSAL: Duration = Duration::from_secs(5);

/// The longest time that an offer can be refused for.
const REFUSAL_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// How long a filter lasts; none if there is to be no filter.
///
/// A filter lasts at least one allocation interval, since one that expires before the next run
/// would have no effect.
pub(super) fn refusal(filters: &proto::Filters, allocation_interval: Duration) -> Option<Duration> {
    let refusal = match filters.refuse_seconds {
        None => DEFAULT_REFUSAL,
        Some(seconds) if seconds > REFUSAL_MAX.as_secs_f64() => REFUSAL_MAX,
        Some(seconds) => Duration::try_from_secs_f64(seconds).unwrap_or(DEFAULT_REFUSAL),
    };
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
    expiry: Expiry,
    /// How many full runs there had been when it was installed.
    installed_in: u64,
}

/// When a filter ends, made unique by a number.
type Expiry = (Duration, u64);

/// The filters on one agent by framework and role; nearly always one.
type FiltersByClient = KeyMap<(Key<Framework>, Key<Role>), SmallVec<[Filter; 1]>>;

/// The filters of one agent.
#[derive(Default)]
pub(super) struct AgentFilters {
    filters: FiltersByClient,
    /// What was refused last.
    last: Option<Arc<Resources>>,
}

impl AgentFilters {
    /// The bundles that a framework refused in a role.
    pub(super) fn refused(
        &self,
        framework: Key<Framework>,
        role: Key<Role>,
    ) -> impl Iterator<Item = &Arc<Resources>> {
        let filters = self.filters.get(&(framework, role)).into_iter().flatten();
        filters.map(|filter| &filter.refused)
    }

    fn share(&mut self, refused: Resources) -> Arc<Resources> {
        match &self.last {
            Some(last) if **last == refused => last.clone(),
            _ => {
                let refused = Arc::new(refused);
                self.last = Some(refused.clone());
                refused
            }
        }
    }
}

/// All filters, by agent, since runs go from agent to agent.
#[derive(Default)]
pub(super) struct FilterTable {
    agents: KeyMap<Key<Agent>, AgentFilters>,
    expiries: BTreeMap<Expiry, Place>,
    counts: KeyMap<Key<Role>, usize>,
    next: u64,
}

impl FilterTable {
    /// The filters on an agent.
    pub(super) fn on(&self, agent: Key<Agent>) -> Option<&AgentFilters> {
        self.agents.get(&agent)
    }

    /// How many filters there are in a role.
    pub(super) fn count(&self, role: Key<Role>) -> usize {
        self.counts.get(&role).copied().unwrap_or(0)
    }

    pub(super) fn insert(&mut self, place: Place, refused: Resources, until: Duration, run: u64) {
        let expiry = (until, self.next);
        self.next += 1;
        self.expiries.insert(expiry, place);
        *self.counts.entry(place.role).or_default() += 1;
        let on_agent = self.agents.entry(place.agent).or_default();
        let filter = Filter {
            refused: on_agent.share(refused),
            expiry,
            installed_in: run,
        };
        let key = (place.framework, place.role);
        on_agent.filters.entry(key).or_default().push(filter);
    }

    /// Removes filters whose time is over, except those that no full run has seen yet. A filter
    /// that ends at this very moment still counts, as it would if its timer were queued behind
    /// the run. `runs` is the number of full runs so far.
    pub(super) fn expire(&mut self, now: Duration, runs: u64) {
        let due: Vec<(Expiry, Place)> = self
            .expiries
            .range(..(now, 0))
            .map(|(expiry, place)| (*expiry, *place))
            .collect();
        for (expiry, place) in due {
            self.remove_if(place, |filter| {
                filter.expiry == expiry && filter.installed_in < runs
            });
        }
    }

    fn remove_if(&mut self, place: Place, remove: impl Fn(&Filter) -> bool) {
        let Some(on_agent) = self.agents.get_mut(&place.agent) else {
            return;
        };
        let key = (place.framework, place.role);
        let Some(filters) = on_agent.filters.get_mut(&key) else {
            return;
        };
        filters.retain(|filter| {
            if !remove(filter) {
                return true;
            }
            self.expiries.remove(&filter.expiry);
            if let Some(count) = self.counts.get_mut(&place.role) {
                *count -= 1;
                if *count == 0 {
                    self.counts.remove(&place.role);
                }
            }
            false
        });
        if filters.is_empty() {
            on_agent.filters.remove(&key);
        }
        if on_agent.filters.is_empty() {
            self.agents.remove(&place.agent);
        }
    }

    /// Removes all filters of a framework in a role.
    pub(super) fn remove(&mut self, framework: Key<Framework>, role: Key<Role>) {
        let agents: Vec<Key<Agent>> = self.agents.keys().copied().collect();
        for agent in agents {
            let place = Place {
                framework,
                role,
                agent,
            };
            self.remove_if(place, |_| true);
        }
    }

    /// Removes all filters on an agent.
    pub(super) fn remove_agent(&mut self, agent: Key<Agent>) {
        let Some(on_agent) = self.agents.get(&agent) else {
            return;
        };
        let places: Vec<Place> = places_on(agent, on_agent).collect();
        for place in places {
            self.remove_if(place, |_| true);
        }
    }

    /// Every place with filters.
    pub(super) fn places(&self) -> impl Iterator<Item = Place> {
        let agents = self.agents.iter();
        agents.flat_map(|(agent, on_agent)| places_on(*agent, on_agent))
    }

    /// Whether expiries and counts agree with the filters.
    pub(super) fn is_consistent(&self) -> bool {
        let agents = || self.agents.values();
        let filters = || agents().flat_map(|on_agent| on_agent.filters.values());
        let total: usize = filters().map(|filters| filters.len()).sum();
        total == self.expiries.len()
            && total == self.counts.values().sum::<usize>()
            && filters()
                .flatten()
                .all(|filter| self.expiries.contains_key(&filter.expiry))
    }
}

fn places_on(agent: Key<Agent>, filters: &AgentFilters) -> impl Iterator<Item = Place> {
    filters.filters.keys().map(move |(framework, role)| Place {
        framework: *framework,
        role: *role,
        agent,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_small() {
        assert!(size_of::<Filter>() < 64, "{}", size_of::<Filter>());
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
            let actual = refusal(&filters, interval).map(|duration| duration.as_secs_f64());
            assert_eq!(actual, expected_secs, "{refuse_seconds:?}");
        }
    }
}
