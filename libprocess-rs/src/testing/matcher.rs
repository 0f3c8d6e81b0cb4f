//! Which events a filter means.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use super::{Event, What};

type Test = Arc<dyn Fn(&Event) -> bool + Send + Sync>;

/// Describes events: by kind and name, by the actors involved, by anything else.
///
/// Made by [`message`], [`dispatch`], [`http_request`], [`exited`] and [`any`]; the methods narrow it down.
#[derive(Clone)]
pub struct Match {
    tests: Vec<Test>,
    text: String,
}

/// All events.
pub fn any() -> Match {
    Match {
        tests: Vec::new(),
        text: "any event".to_owned(),
    }
}

/// Messages of this name; for protobuf ones it is the full name with package.
pub fn message(name: impl Into<String>) -> Match {
    let wanted: String = name.into();
    let text = format!("message '{wanted}'");
    Match::new(
        text,
        move |event| matches!(&event.what, What::Message { name, .. } if name.as_str() == wanted),
    )
}

/// Dispatches, asks, deferred calls and timers of an actor by the name they were given, or by the function in which they were
/// written: `recover` means closures in any function or method `recover`.
pub fn dispatch(name: impl Into<String>) -> Match {
    let wanted: String = name.into();
    let text = format!("dispatch '{wanted}'");
    Match::new(text, move |event| match event.what {
        What::Dispatch { name } => name == wanted || name.split("::").any(|part| part == wanted),
        _ => false,
    })
}

/// HTTP requests for this path, which begins with the id of the actor: `/master/state`.
pub fn http_request(path: impl Into<String>) -> Match {
    let wanted: String = path.into();
    let text = format!("request for '{wanted}'");
    Match::new(
        text,
        move |event| matches!(&event.what, What::Http { path, .. } if *path == wanted),
    )
}

/// Exited events; [`Match::from`] says of whom.
pub fn exited() -> Match {
    Match::new("exited event".to_owned(), |event| {
        matches!(event.what, What::Exited { .. })
    })
}

impl Match {
    fn new(text: String, test: impl Fn(&Event) -> bool + Send + Sync + 'static) -> Self {
        Self {
            tests: vec![Arc::new(test)],
            text,
        }
    }

    fn and(mut self, text: String, test: impl Fn(&Event) -> bool + Send + Sync + 'static) -> Self {
        self.tests.push(Arc::new(test));
        self.text.push_str(&text);
        self
    }

    /// Only to the actor with this id.
    pub fn to(self, id: impl Into<String>) -> Self {
        let id: String = id.into();
        let text = format!(" to '{id}'");
        self.and(text, move |event| event.to.id() == id)
    }

    /// Only from the actor with this id; for exited events it is the linked actor.
    pub fn from(self, id: impl Into<String>) -> Self {
        let id: String = id.into();
        let text = format!(" from '{id}'");
        self.and(text, move |event| {
            event.from().is_some_and(|from| from.id() == id)
        })
    }

    /// Only from actors of the runtime at this address.
    pub fn from_address(self, address: SocketAddr) -> Self {
        let text = format!(" from {address}");
        self.and(text, move |event| {
            event.from().is_some_and(|from| from.address() == address)
        })
    }

    /// Only those for which `test` is true.
    pub fn when(self, test: impl Fn(&Event) -> bool + Send + Sync + 'static) -> Self {
        self.and(" with a condition".to_owned(), test)
    }

    pub(super) fn matches(&self, event: &Event) -> bool {
        self.tests.iter().all(|test| test(event))
    }
}

impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Match({})", self.text)
    }
}
