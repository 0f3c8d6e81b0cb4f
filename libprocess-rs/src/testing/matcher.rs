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

/// Messages of this protobuf type that parse.
pub fn protobuf<M: prost::Message + prost::Name + Default>() -> Match {
    let text = format!("message '{}'", M::full_name());
    Match::new(text, |event| event.decode::<M>().is_some())
}

/// Messages of this protobuf type that parse and for which `test` is true.
///
/// Upstream: `FUTURE_MESSAGE` and `DROP_MESSAGE` with a matcher of the message.
pub fn protobuf_when<M: prost::Message + prost::Name + Default>(
    test: impl Fn(&M) -> bool + Send + Sync + 'static,
) -> Match {
    let text = format!("message '{}' with a condition", M::full_name());
    Match::new(text, move |event| {
        event.decode::<M>().is_some_and(|message| test(&message))
    })
}

/// Dispatches, asks, deferred calls and timers of an actor by the name they were given, by the function in which they were
/// written, or by that which is dispatched: `recover` means any function or method `recover` and the closures in it, whatever
/// its module or type.
pub fn dispatch(name: impl Into<String>) -> Match {
    let wanted: String = name.into();
    let text = format!("dispatch '{wanted}'");
    Match::new(text, move |event| match event.what {
        What::Dispatch { name } => name == wanted || functions(name).any(|f| f == wanted),
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

/// What follows a function in the type name of a closure that was written in it.
const CLOSURE: &str = "::{{closure}}";

/// The functions that a type name is of: that which it names, and those in which the closures were written. A closure of ours
/// that was made for one of the user has that among its type arguments.
fn functions(name: &str) -> impl Iterator<Item = &str> {
    let closures = name.match_indices(CLOSURE).map(|(index, _)| index);
    let ends = closures.chain([name.len()]);
    ends.filter_map(|end| last_segment(name.get(..end)?))
}

/// `f` of `<a::B as c::D>::f<E>`.
fn last_segment(path: &str) -> Option<&str> {
    let path = without_arguments(path)?;
    path.rsplit(|c: char| c != '_' && !c.is_alphanumeric())
        .next()
}

/// Takes type arguments off the end of a path.
fn without_arguments(path: &str) -> Option<&str> {
    if !path.ends_with('>') {
        return Some(path);
    }
    let mut open = 0;
    for (index, bracket) in path.rmatch_indices(['<', '>']) {
        let before = path.get(..index)?;
        match bracket {
            "<" => open -= 1,
            _ if before.ends_with('-') => {}
            _ => open += 1,
        }
        if open == 0 {
            return Some(before);
        }
    }
    None
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closures_are_those_of_functions() {
        let check = |name: &str, expected: &[&str]| {
            let found: Vec<_> = functions(name).filter(|name| !name.is_empty()).collect();
            assert_eq!(found, expected, "{name}");
        };
        check("by name", &["name"]);
        check("a::f", &["f"]);
        check("a::f<b::C>", &["f"]);
        check("a::f::{{closure}}", &["f"]);
        check("a::f::{{closure}}::{{closure}}", &["f"]);
        check("<a::B as c::D<e::E>>::f::{{closure}}", &["f"]);
        check("a::f<fn(b::C) -> b::D, u8>::{{closure}}", &["f"]);
        check(
            "a::<impl b::C<d::E>>::f<d::E, d::E::g::{{closure}}>::{{closure}}",
            &["g", "f"],
        );
    }
}
