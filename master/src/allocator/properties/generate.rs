//! Random events, made of small numbers that shrink well.

use std::collections::{BTreeMap, BTreeSet};

use mesos::proto;
use mesos::resources::{Reservation, Resource, ResourceQuantities, Resources, Scalar};
use proptest::prelude::*;
use proto::framework_info::capability::Type as Capability;

use super::super::{AgentCapabilities, AgentId, FrameworkId, FrameworkOptions, Quota};

pub(super) const ROLES: [&str; 6] = ["*", "a", "a/b", "a/b/c", "d", "d/e"];

/// How many frameworks and agents there are to choose from.
const FRAMEWORKS: usize = 4;
const AGENTS: usize = 4;

/// An event, with small numbers to choose what it is about.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// Which one, what it is, whether it is active and already uses something.
    AddFramework(usize, FrameworkSpec, bool, bool),
    RemoveFramework(usize),
    UpdateFramework(usize, FrameworkSpec),
    ActivateFramework(usize, bool),
    Suppress(usize, u8),
    Revive(usize, u8),
    Request(usize, u8),
    /// Which one, what it is, and who uses something on it.
    AddAgent(usize, AgentSpec, u8),
    RemoveAgent(usize),
    /// Which one, what it is now, whether its total is another one.
    UpdateAgent(usize, AgentSpec, bool),
    AddProvider(usize, u8),
    ActivateAgent(usize, bool),
    Whitelist(Option<u8>),
    Unavailable(usize, bool),
    /// Which agent, which framework, how.
    AnswerInverse(usize, usize, u8),
    /// Which of the bundles that are out comes back, how much of it, and a filter.
    Decline(usize, u8, Option<i8>),
    Launch(usize, u8),
    End(usize, u8),
    /// Which bundle, which kind of operation.
    Convert(usize, u8),
    Operate(usize, u8),
    Quota(usize, QuotaSpec),
    Weight(usize, u8),
    Pause,
    Resume,
    Recover(u8, QuotaSpec),
    /// What can never be true.
    Nonsense(usize, u8),
    /// After so many seconds.
    Run(u8),
    RunRequested,
}

#[derive(Clone, Debug)]
pub(super) struct FrameworkSpec {
    pub(super) roles: u8,
    pub(super) capabilities: u8,
    pub(super) suppressed: u8,
    pub(super) minimum: u8,
    pub(super) constraint: u8,
}

#[derive(Clone, Debug)]
pub(super) struct AgentSpec {
    pub(super) total: u16,
    pub(super) region: u8,
    pub(super) attributes: u8,
    pub(super) capabilities: u8,
}

#[derive(Clone, Debug)]
pub(super) struct QuotaSpec {
    pub(super) guarantee: u8,
    pub(super) limit: u8,
}

pub(super) fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => cluster_event(),
        6 => resource_event(),
        2 => policy_event(),
        5 => prop_oneof![
            3 => (0_u8..8).prop_map(Event::Run),
            1 => Just(Event::RunRequested),
        ],
    ]
}

/// Events of small clusters with two roles, in which limits, headroom, filters and demand are what
/// mostly decides.
pub(super) fn quota_event() -> impl Strategy<Value = Event> {
    let role = || prop_oneof![Just(1_usize), Just(4)];
    let roles = || prop_oneof![Just(1_u8 << 1), Just(1 << 4), Just(1 << 1 | 1 << 4)];
    let framework = || 0..3_usize;
    let agent = || 0..2_usize;
    let capable = |roles: u8| FrameworkSpec {
        roles,
        capabilities: 0xff,
        suppressed: 0,
        minimum: 0,
        constraint: 0,
    };
    let plain = |total: u16| AgentSpec {
        total: total % 4,
        region: 0,
        attributes: 0,
        capabilities: 0xff,
    };
    let refuse = prop_oneof![3 => Just(None), 1 => (-1_i8..12).prop_map(Some)];
    prop_oneof![
        2 => (framework(), roles())
            .prop_map(move |(i, roles)| Event::AddFramework(i, capable(roles), true, false)),
        2 => (agent(), any::<u16>()).prop_map(move |(i, t)| Event::AddAgent(i, plain(t), 0)),
        1 => (framework(), any::<u8>()).prop_map(|(i, b)| Event::Revive(i, b)),
        1 => (framework(), any::<u8>()).prop_map(|(i, b)| Event::Suppress(i, b)),
        2 => (framework(), any::<u8>()).prop_map(|(i, b)| Event::Request(i, b)),
        6 => (any::<usize>(), any::<u8>(), refuse).prop_map(|(i, b, f)| Event::Decline(i, b, f)),
        1 => (any::<usize>(), any::<u8>()).prop_map(|(i, b)| Event::Launch(i, b)),
        1 => (any::<usize>(), any::<u8>()).prop_map(|(i, b)| Event::End(i, b)),
        4 => (role(), quota_spec()).prop_map(|(i, q)| Event::Quota(i, q)),
        1 => (agent(), Just(true)).prop_map(|(i, b)| Event::Unavailable(i, b)),
        2 => (agent(), framework(), any::<u8>())
            .prop_map(|(a, f, b)| Event::AnswerInverse(a, f, b)),
        6 => (0_u8..3).prop_map(Event::Run),
        2 => Just(Event::RunRequested),
    ]
}

fn cluster_event() -> impl Strategy<Value = Event> {
    let framework = || 0..FRAMEWORKS;
    let agent = || 0..AGENTS;
    prop_oneof![
        6 => (framework(), framework_spec(), prop::bool::weighted(0.9), any::<bool>())
            .prop_map(|(i, spec, active, used)| Event::AddFramework(i, spec, active, used)),
        1 => framework().prop_map(Event::RemoveFramework),
        2 => (framework(), framework_spec()).prop_map(|(i, s)| Event::UpdateFramework(i, s)),
        1 => (framework(), any::<bool>()).prop_map(|(i, b)| Event::ActivateFramework(i, b)),
        1 => (framework(), any::<u8>()).prop_map(|(i, b)| Event::Suppress(i, b)),
        2 => (framework(), any::<u8>()).prop_map(|(i, b)| Event::Revive(i, b)),
        2 => (framework(), any::<u8>()).prop_map(|(i, b)| Event::Request(i, b)),
        2 => (agent(), prop::bool::weighted(0.8)).prop_map(|(i, b)| Event::Unavailable(i, b)),
        2 => (agent(), framework(), any::<u8>())
            .prop_map(|(a, f, b)| Event::AnswerInverse(a, f, b)),
        6 => (agent(), agent_spec(), any::<u8>()).prop_map(|(i, s, u)| Event::AddAgent(i, s, u)),
        1 => agent().prop_map(Event::RemoveAgent),
        2 => (agent(), agent_spec(), any::<bool>())
            .prop_map(|(i, s, t)| Event::UpdateAgent(i, s, t)),
        1 => (agent(), any::<u8>()).prop_map(|(i, b)| Event::AddProvider(i, b)),
        1 => (agent(), any::<bool>()).prop_map(|(i, b)| Event::ActivateAgent(i, b)),
    ]
}

fn resource_event() -> impl Strategy<Value = Event> {
    let out = any::<usize>;
    let part = any::<u8>;
    prop_oneof![
        6 => (out(), part(), prop::option::of(-1_i8..12))
            .prop_map(|(i, b, f)| Event::Decline(i, b, f)),
        2 => (out(), part()).prop_map(|(i, b)| Event::Launch(i, b)),
        1 => (out(), part()).prop_map(|(i, b)| Event::End(i, b)),
        3 => (out(), part()).prop_map(|(i, k)| Event::Convert(i, k)),
        1 => (0..AGENTS, part()).prop_map(|(i, k)| Event::Operate(i, k)),
    ]
}

fn policy_event() -> impl Strategy<Value = Event> {
    let role = || 0..ROLES.len();
    prop_oneof![
        8 => (role(), quota_spec()).prop_map(|(i, q)| Event::Quota(i, q)),
        3 => (role(), 1_u8..9).prop_map(|(i, w)| Event::Weight(i, w)),
        1 => prop::option::of(any::<u8>()).prop_map(Event::Whitelist),
        1 => Just(Event::Pause),
        2 => Just(Event::Resume),
        1 => (0_u8..6, quota_spec()).prop_map(|(n, q)| Event::Recover(n, q)),
        2 => (any::<usize>(), any::<u8>()).prop_map(|(i, k)| Event::Nonsense(i, k)),
    ]
}

fn framework_spec() -> impl Strategy<Value = FrameworkSpec> {
    // Most frameworks can deal with everything.
    let capabilities = prop_oneof![2 => Just(0xff_u8), 1 => any::<u8>()];
    let suppressed = prop_oneof![4 => Just(0_u8), 1 => any::<u8>()];
    let rare = || prop_oneof![4 => Just(0_u8), 1 => any::<u8>()];
    (any::<u8>(), capabilities, suppressed, rare(), rare()).prop_map(
        |(roles, capabilities, suppressed, minimum, constraint)| FrameworkSpec {
            roles,
            capabilities,
            suppressed,
            minimum,
            constraint,
        },
    )
}

fn agent_spec() -> impl Strategy<Value = AgentSpec> {
    let rare = || prop_oneof![3 => Just(0_u8), 1 => any::<u8>()];
    let capable = prop_oneof![6 => Just(0xff_u8), 1 => any::<u8>()];
    (any::<u16>(), rare(), rare(), capable).prop_map(|(total, region, attributes, capabilities)| {
        AgentSpec {
            total,
            region,
            attributes,
            capabilities,
        }
    })
}

fn quota_spec() -> impl Strategy<Value = QuotaSpec> {
    (any::<u8>(), any::<u8>()).prop_map(|(guarantee, limit)| QuotaSpec { guarantee, limit })
}

fn bit(bits: impl Into<u64>, index: usize) -> bool {
    bits.into() >> index & 1 == 1
}

pub(super) fn framework_id(index: usize) -> FrameworkId {
    format!("f{index}").as_str().into()
}

pub(super) fn agent_id(index: usize) -> AgentId {
    format!("agent{index}").as_str().into()
}

pub(super) fn hostname(index: usize) -> String {
    format!("host{index}")
}

pub(super) fn parse(text: &str) -> Resources {
    Resources::parse(text, "*").unwrap()
}

pub(super) fn allocated(text: &str, role: &str) -> Resources {
    let mut resources = parse(text);
    resources.allocate(role);
    resources
}

pub(super) fn roles(bits: u8) -> BTreeSet<String> {
    let chosen = ROLES.iter().enumerate().filter(|(i, _)| bit(bits, *i));
    chosen.map(|(_, role)| (*role).to_owned()).collect()
}

pub(super) fn hostnames(bits: u8) -> BTreeSet<String> {
    let chosen = (0..AGENTS).filter(|index| bit(bits, *index));
    chosen.map(hostname).collect()
}

impl FrameworkSpec {
    pub(super) fn info(&self) -> proto::FrameworkInfo {
        let roles = roles(self.roles);
        let capabilities = [
            Capability::MultiRole,
            Capability::RevocableResources,
            Capability::GpuResources,
            Capability::SharedResources,
            Capability::ReservationRefinement,
            Capability::RegionAware,
        ];
        let chosen = capabilities.into_iter().enumerate();
        let chosen = chosen.filter(|(i, _)| bit(self.capabilities, *i));
        proto::FrameworkInfo {
            name: "name".into(),
            role: roles.first().cloned(),
            roles: roles.iter().cloned().collect(),
            capabilities: chosen
                .map(|(_, capability)| proto::framework_info::Capability {
                    r#type: Some(capability.into()),
                })
                .collect(),
            offer_filters: self.minimums(),
            ..Default::default()
        }
    }

    /// For some roles a minimum of its own: none at all, one, or one of two.
    fn minimums(&self) -> BTreeMap<String, proto::OfferFilters> {
        let alternatives: &[&str] = match self.minimum % 4 {
            0 => return Default::default(),
            1 => &[],
            2 => &["cpus:2"],
            _ => &["gpus:1", "cpus:1;mem:100"],
        };
        let quantities = alternatives.iter().map(|text| {
            let quantities = ResourceQuantities::parse(text).unwrap();
            let quantities = quantities.iter().map(|(name, amount)| {
                let value = amount.to_f64();
                (name.to_string(), proto::value::Scalar { value })
            });
            proto::offer_filters::ResourceQuantities {
                quantities: quantities.collect(),
            }
        });
        let filters = proto::OfferFilters {
            min_allocatable_resources: Some(proto::offer_filters::MinAllocatableResources {
                quantities: quantities.collect(),
            }),
        };
        let roles = roles(self.minimum >> 2);
        roles
            .into_iter()
            .map(|role| (role, filters.clone()))
            .collect()
    }

    pub(super) fn options(&self) -> FrameworkOptions {
        FrameworkOptions {
            suppressed_roles: roles(self.suppressed),
            offer_constraints: self.constraints(),
            registered: (self.suppressed % 8 == 7).then(|| u64::from(self.suppressed)),
        }
    }

    fn constraints(&self) -> Option<proto::scheduler::OfferConstraints> {
        use proto::scheduler::attribute_constraint as message;
        use proto::scheduler::offer_constraints::RoleConstraints;
        use proto::scheduler::offer_constraints::role_constraints::Group;
        if self.constraint == 0 {
            return None;
        }
        use message::predicate::{self, Predicate};
        use message::selector::{PseudoattributeType, Selector};
        let value = || "red".to_owned();
        let (text_equals, text_not_equals) = (
            predicate::TextEquals { value: value() },
            predicate::TextNotEquals { value: value() },
        );
        // The last one is not valid.
        let regexes = ["r.d", "red|host[01]", "e", ".*", "("];
        let regex = || {
            let index = usize::from(self.constraint / 50).min(regexes.len() - 1);
            regexes[index].to_owned()
        };
        let predicates = [
            Predicate::Exists(predicate::Exists {}),
            Predicate::NotExists(predicate::NotExists {}),
            Predicate::TextEquals(text_equals),
            Predicate::TextNotEquals(text_not_equals),
            Predicate::TextMatches(predicate::TextMatches { regex: regex() }),
            Predicate::TextNotMatches(predicate::TextNotMatches { regex: regex() }),
        ];
        let pseudo = |kind: PseudoattributeType| Selector::PseudoattributeType(kind.into());
        let selectors = [
            Selector::AttributeName("color".into()),
            Selector::AttributeName("size".into()),
            pseudo(PseudoattributeType::Hostname),
            pseudo(PseudoattributeType::Region),
            pseudo(PseudoattributeType::Zone),
        ];
        let constraint = |bits: u8| proto::scheduler::AttributeConstraint {
            selector: message::Selector {
                selector: Some(selectors[usize::from(bits >> 2) % selectors.len()].clone()),
            },
            predicate: message::Predicate {
                predicate: Some(predicates[usize::from(bits) % predicates.len()].clone()),
            },
        };
        let groups = [
            vec![constraint(self.constraint)],
            vec![
                constraint(self.constraint >> 1),
                constraint(self.constraint >> 3),
            ],
        ];
        let constraints = RoleConstraints {
            groups: groups
                .into_iter()
                .map(|attribute_constraints| Group {
                    attribute_constraints,
                })
                .collect(),
        };
        let roles = roles(self.constraint.rotate_left(3) | 2);
        Some(proto::scheduler::OfferConstraints {
            role_constraints: roles
                .into_iter()
                .map(|role| (role, constraints.clone()))
                .collect(),
        })
    }
}

impl AgentSpec {
    pub(super) fn info(&self, index: usize) -> proto::SlaveInfo {
        let region = match self.region % 3 {
            0 => None,
            1 => Some("here"),
            _ => Some("there"),
        };
        proto::SlaveInfo {
            hostname: hostname(index),
            domain: region.map(|region| proto::DomainInfo {
                fault_domain: Some(proto::domain_info::FaultDomain {
                    region: proto::domain_info::fault_domain::RegionInfo {
                        name: region.into(),
                    },
                    zone: proto::domain_info::fault_domain::ZoneInfo { name: "red".into() },
                }),
            }),
            attributes: self.attributes(),
            ..Default::default()
        }
    }

    fn attributes(&self) -> Vec<proto::Attribute> {
        let text = |name: &str, value: &str| proto::Attribute {
            name: name.into(),
            r#type: proto::value::Type::Text.into(),
            text: Some(proto::value::Text {
                value: value.into(),
            }),
            ..Default::default()
        };
        let size = proto::Attribute {
            name: "size".into(),
            r#type: proto::value::Type::Scalar.into(),
            scalar: Some(proto::value::Scalar { value: 1.0 }),
            ..Default::default()
        };
        let attributes = [text("color", "red"), text("color", "blue"), size];
        let chosen = attributes.into_iter().enumerate();
        let chosen = chosen.filter(|(i, _)| bit(self.attributes, *i));
        chosen.map(|(_, attribute)| attribute).collect()
    }

    pub(super) fn capabilities(&self) -> AgentCapabilities {
        AgentCapabilities {
            multi_role: bit(self.capabilities, 0),
            hierarchical_role: bit(self.capabilities, 1),
        }
    }

    pub(super) fn total(&self) -> Resources {
        let sizes = [
            "cpus:4;mem:128",
            "cpus:2;mem:64",
            "cpus:0.7;mem:40.001",
            "cpus:6",
        ];
        let size = sizes[usize::from(self.total) % sizes.len()];
        let mut total = parse(&format!("{size};ports:[1-100]"));
        for (index, extra) in extras().into_iter().enumerate() {
            // Each of them on every fourth agent.
            if bit(self.total, index + 2) && bit(self.total, (index + 7) % 14 + 2) {
                total += extra;
            }
        }
        total
    }
}

fn extras() -> [Resources; 11] {
    let dynamic = |role: &str| Reservation::dynamic(role, Some("p".into()));
    let refined = [Reservation::fixed("a"), dynamic("a/b")];
    let mut revocable = parse("cpus:1;mem:10").into_iter();
    let mut refined_cpus = parse("cpus:0.5").into_iter();
    [
        parse("cpus(a):2"),
        parse("cpus(a/b):1.5;mem(a/b):20"),
        parse("gpus:1"),
        revocable.by_ref().map(Resource::with_revocable).collect(),
        parse("mem(d):64"),
        parse("disk:50;disk(a):20"),
        refined_cpus
            .by_ref()
            .map(|resource| resource.with_reservations(&refined))
            .collect(),
        volume("shared", true).into(),
        parse("cpus(d):1").push_reservation(&dynamic("d/e")),
        volume("own", false).into(),
        Resource::scalar("disk", Scalar::from_millis(7_000))
            .with_disk(mount_disk())
            .into(),
    ]
}

/// A disk that cannot be divided.
fn mount_disk() -> proto::resource::DiskInfo {
    use proto::resource::disk_info::{Source, source};
    proto::resource::DiskInfo {
        source: Some(Source {
            r#type: source::Type::Mount.into(),
            mount: Some(source::Mount {
                root: Some("/mnt".into()),
            }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// A persistent volume that is reserved to `a`.
pub(super) fn volume(id: &str, shared: bool) -> Resource {
    let volume = Resource::scalar("disk", Scalar::from_millis(10_000))
        .with_reservation(Reservation::fixed("a"))
        .with_disk(persistent_disk(id));
    if shared { volume.with_shared() } else { volume }
}

pub(super) fn persistent_disk(id: &str) -> proto::resource::DiskInfo {
    proto::resource::DiskInfo {
        persistence: Some(proto::resource::disk_info::Persistence {
            id: id.into(),
            principal: None,
        }),
        volume: Some(proto::Volume {
            container_path: "path".into(),
            mode: proto::volume::Mode::Rw.into(),
            ..Default::default()
        }),
        source: None,
    }
}

impl QuotaSpec {
    pub(super) fn quota(&self) -> Quota {
        let guarantees = match self.guarantee % 4 {
            0 => String::new(),
            1 => format!("cpus:{}", self.guarantee >> 5),
            2 => format!("cpus:{}.5;mem:{}", self.guarantee >> 6, self.guarantee >> 1),
            3 if self.guarantee > 200 => format!("disk:{}", self.guarantee - 200),
            _ => format!("mem:{};gpus:1", self.guarantee >> 2),
        };
        let limits = match self.limit % 4 {
            0 => BTreeMap::new(),
            1 => BTreeMap::from([("cpus", i64::from(self.limit) * 30)]),
            2 => BTreeMap::from([("cpus", 0), ("disk", 20_000)]),
            _ => BTreeMap::from([("cpus", 3_001), ("mem", i64::from(self.limit) * 1_000)]),
        };
        Quota {
            guarantees: ResourceQuantities::parse(&guarantees).unwrap(),
            limits: limits
                .into_iter()
                .map(|(name, millis)| (name, Scalar::from_millis(millis)))
                .collect(),
        }
    }
}
