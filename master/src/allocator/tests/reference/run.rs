//! Orders and runs of the reference.

use super::*;

impl Reference {
    fn capacity(&self) -> ResourceQuantities {
        let mut total = ResourceQuantities::new();
        for agent in self.agents.values() {
            total += &agent.total.quantities();
        }
        total
    }

    fn held_where(&self, condition: impl Fn(&Held) -> bool) -> ResourceQuantities {
        let mut sum = ResourceQuantities::new();
        for held in self.held.iter().filter(|held| condition(held)) {
            sum += &held.resources.quantities();
        }
        sum
    }

    /// The frameworks that want offers in a role.
    fn active_in(&self, role: &str) -> Vec<String> {
        let members = self.members.keys().filter(|(path, _)| path == role);
        let frameworks = members.map(|(_, framework)| framework.clone());
        frameworks
            .filter(|id| {
                self.frameworks
                    .get(id)
                    .is_some_and(|f| f.wants_offers(role))
            })
            .collect()
    }

    fn wishes(&self, roles: &[String]) -> (ResourceQuantities, u64) {
        let (mut demand, mut registered) = (ResourceQuantities::new(), u64::MAX);
        for role in roles {
            for id in self.active_in(role) {
                demand += &self.open_demand(&id);
                let member = &self.members[&(role.clone(), id)];
                registered = registered.min(member.registered);
            }
        }
        (demand, registered)
    }

    fn open_demand(&self, framework: &str) -> ResourceQuantities {
        let demand = self.demands.get(framework);
        demand.map_or_else(ResourceQuantities::new, |demand| {
            &demand.asked - &demand.granted
        })
    }

    /// The rank of a node of the tree of roles.
    fn rank(&self, path: &str) -> Rank {
        let own = path.strip_suffix("/.");
        let roles = self.roles();
        let below = roles.into_iter().filter(|role| match own {
            Some(own) => role == own,
            None => is_in_subtree(role, path),
        });
        let below: Vec<String> = below.collect();
        let (demand, registered) = self.wishes(&below);
        let client = Client {
            path,
            weight: self.weights.get(path).copied().unwrap_or(1.0),
            held: &self.held_where(|held| below.contains(&held.role)),
            hand_outs: self.hand_outs[path],
            registered,
            demand: &demand,
            capacity: &self.capacity(),
        };
        self.options.role_sorter.rank(&client)
    }

    fn children(&self, path: &str) -> Vec<(Rank, String)> {
        let is_child = |node: &&String| match path {
            "" => !node.contains('/'),
            _ => node
                .strip_prefix(path)
                .and_then(|rest| rest.strip_prefix('/'))
                .is_some_and(|name| !name.contains('/')),
        };
        let nodes = self.hand_outs.keys().filter(is_child);
        let mut children: Vec<_> = nodes.map(|node| (self.rank(node), node.clone())).collect();
        children.sort();
        children
    }

    /// Roles in order, with their lots.
    fn walk(&self, path: &str, fraction: f64, order: &mut Vec<(String, f64)>) {
        let children = self.children(path);
        if children.is_empty() {
            let role = path.strip_suffix("/.").unwrap_or(path);
            if !role.is_empty() {
                order.push((role.to_owned(), fraction));
            }
            return;
        }
        let sum: f64 = children.iter().map(|(rank, _)| rank.key.max(0.0)).sum();
        for (rank, child) in &children {
            self.walk(child, fraction * rank.key.max(0.0) / sum, order);
        }
    }

    fn role_order(&self, seed: u64) -> Vec<String> {
        let mut order = Vec::new();
        self.walk("", 1.0, &mut order);
        drawn(order, self.options.role_sorter.draws_lots(), seed)
    }

    fn framework_order(&self, role: &str, seed: u64) -> Vec<String> {
        let capacity = self.capacity();
        let mut order: Vec<(Rank, String)> = self
            .active_in(role)
            .into_iter()
            .map(|id| {
                let member = &self.members[&(role.to_owned(), id.clone())];
                let client = Client {
                    path: &id,
                    weight: 1.0,
                    held: &self.held_where(|held| held.role == role && held.framework == id),
                    hand_outs: member.hand_outs,
                    registered: member.registered,
                    demand: &self.open_demand(&id),
                    capacity: &capacity,
                };
                (self.options.framework_sorter.rank(&client), id.clone())
            })
            .collect();
        order.sort();
        let sum: f64 = order.iter().map(|(rank, _)| rank.key).sum();
        let order = order
            .into_iter()
            .map(|(rank, id)| (id, rank.key / sum))
            .collect();
        drawn(order, self.options.framework_sorter.draws_lots(), seed)
    }

    // Runs.

    pub(in super::super) fn run(&mut self, batch: bool, now: Duration) -> Offers {
        self.runs += 1;
        let candidates = self.candidates.replace(BTreeSet::new());
        self.filters
            .retain(|filter| !(filter.seen && filter.until < now));
        let mut accounts = self.accounts();
        let mut headroom = self.headroom(&accounts);
        let agents = self.agents.iter().filter(|(id, agent)| {
            let wanted = candidates
                .as_ref()
                .is_none_or(|candidates| candidates.contains(*id));
            let listed = self
                .whitelist
                .as_ref()
                .is_none_or(|list| list.contains(&agent.hostname));
            (batch || wanted) && agent.active && listed
        });
        let mut agents: Vec<String> = agents.map(|(id, _)| id.clone()).collect();
        let mut offers = Offers::new();
        for stage in [1, 2] {
            if stage == 1
                && accounts
                    .values()
                    .all(|account| account.unsatisfied.is_empty())
            {
                continue;
            }
            let seed = mix(self.options.seed, mix(self.runs, stage));
            agents.sort_by_key(|id| (mix(seed, hash(id)), hash(id)));
            for agent in &agents {
                self.offer_agent(agent, stage, &mut accounts, &mut headroom, &mut offers);
            }
        }
        if batch {
            self.filters
                .iter_mut()
                .for_each(|filter| filter.seen = true);
        }
        offers
    }

    fn reserved_to(&self, role: &str) -> ResourceQuantities {
        let mut sum = ResourceQuantities::new();
        for agent in self.agents.values() {
            let reserved = agent.total.filter(|r| r.is_reserved_to_subtree(role));
            sum += &reserved.quantities();
        }
        sum
    }

    fn accounts(&self) -> BTreeMap<String, Account> {
        let quotas = self.quotas.iter().filter(|(_, quota)| !quota.is_default());
        quotas
            .map(|(role, quota)| {
                let mut consumed = self.reserved_to(role);
                for held in &self.held {
                    if is_in_subtree(&held.role, role) {
                        consumed += &held.resources.filter(counts_for_quota).quantities();
                    }
                }
                let account = Account {
                    unsatisfied: &quota.guarantees - &consumed,
                    rest: quota.limits.minus(&consumed),
                    limited: !quota.limits.is_empty(),
                };
                (role.clone(), account)
            })
            .collect()
    }

    fn headroom(&self, accounts: &BTreeMap<String, Account>) -> Headroom {
        let mut required = ResourceQuantities::new();
        for account in accounts.values() {
            required += &account.unsatisfied;
        }
        let mut available = self.capacity();
        available -= &self.held_where(|_| true);
        let (mut reserved, mut held) = (ResourceQuantities::new(), ResourceQuantities::new());
        for agent in self.agents.values() {
            reserved += &agent.total.reserved(None).quantities();
        }
        for bundle in &self.held {
            held += &bundle.resources.reserved(None).quantities();
        }
        available -= &(&reserved - &held);
        for agent in self.agents.keys() {
            available -= &self.available(agent).revocable().quantities();
        }
        Headroom {
            available,
            required,
        }
    }

    fn offer_agent(
        &mut self,
        agent: &str,
        stage: u64,
        accounts: &mut BTreeMap<String, Account>,
        headroom: &mut Headroom,
        offers: &mut Offers,
    ) {
        let base = mix(mix(self.options.seed, mix(self.runs, stage)), hash(agent));
        for role in self.role_order(mix(base, hash(""))) {
            if stage == 1 && accounts.get(&role).is_none_or(|a| a.unsatisfied.is_empty()) {
                continue;
            }
            for framework in self.framework_order(&role, mix(base, hash(&role))) {
                let account = accounts.get(&role);
                let Some((bundle, guaranteed)) =
                    self.bundle(agent, &role, stage, account, headroom)
                else {
                    break;
                };
                let capabilities = self.frameworks[&framework].capabilities;
                let offer = bundle.filter(|resource| capabilities.can_take(resource));
                if !self.acceptable(agent, &role, &framework, &offer) {
                    continue;
                }
                let amounts = offer.filter(counts_for_quota).quantities();
                if let Some(account) = accounts.get_mut(&role) {
                    account.unsatisfied -= &amounts;
                    account.rest = account.rest.minus(&amounts);
                }
                headroom.available -= &amounts;
                headroom.required -= &guaranteed;
                self.hand_out(agent, &role, &framework, offer, offers);
            }
        }
    }

    fn bundle(
        &self,
        agent: &str,
        role: &str,
        stage: u64,
        account: Option<&Account>,
        headroom: &Headroom,
    ) -> Option<(Resources, ResourceQuantities)> {
        let usable = self.available(agent).allocatable_to(role);
        let mut rest = usable.filter(counts_for_quota);
        let mut bundle = usable.filter(|resource| !counts_for_quota(resource));
        let mut guaranteed = ResourceQuantities::new();
        if stage == 1 {
            let part = rest.shrink_to_quantities(&account?.unsatisfied);
            if part.is_empty() {
                return None;
            }
            guaranteed = part.quantities();
            rest -= &part;
            bundle += part;
        }
        if let Some(account) = account.filter(|account| account.limited) {
            rest = rest.shrink_to_limits(&account.rest.minus(&guaranteed));
        }
        if !headroom.required.is_empty() {
            let margin = &headroom.available - &headroom.required;
            rest = rest.shrink_to_quantities(&margin);
        }
        bundle += rest;
        (!bundle.is_empty()).then_some((bundle, guaranteed))
    }

    fn acceptable(&self, agent: &str, role: &str, framework: &str, offer: &Resources) -> bool {
        let has_gpus = self.agents[agent].total.get_scalar("gpus").is_some();
        let known = self.frameworks[framework].capabilities.gpu_resources;
        let refused = self.filters.iter().any(|filter| {
            filter.agent == agent
                && filter.role == role
                && filter.framework == framework
                && filter.refused.contains(offer)
        });
        (known || !has_gpus || !self.options.filter_gpu_resources)
            && is_enough(offer, &self.options.min_allocatable_resources)
            && !refused
    }

    fn hand_out(
        &mut self,
        agent: &str,
        role: &str,
        framework: &str,
        mut offer: Resources,
        offers: &mut Offers,
    ) {
        offer.allocate(role);
        if let Some(demand) = self.demands.get_mut(framework) {
            demand.granted += &offer.quantities();
        }
        self.count(role, framework);
        self.held.push(Held {
            framework: framework.to_owned(),
            role: role.to_owned(),
            agent: agent.to_owned(),
            resources: offer.clone(),
        });
        let key = (framework.to_owned(), role.to_owned(), agent.to_owned());
        *offers.entry(key).or_default() += offer;
    }
}

/// The clients in the order given, or drawn by lot.
fn drawn(clients: Vec<(String, f64)>, by_lot: bool, seed: u64) -> Vec<String> {
    let ids: Vec<String> = clients.iter().map(|(id, _)| id.clone()).collect();
    if !by_lot {
        return ids;
    }
    let lots = Lots::new(clients.into_iter().map(|(_, lots)| lots));
    let mut draw = Draw::new(seed);
    std::iter::from_fn(|| draw.next(&lots))
        .map(|index| ids[index].clone())
        .collect()
}
