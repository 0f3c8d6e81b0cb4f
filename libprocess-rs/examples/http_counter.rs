//! An actor with HTTP routes, a metric and a periodic turn.
//!
//! ```sh
//! cargo run -p libprocess --example http_counter [PORT]
//! curl localhost:8080/counter
//! curl -X POST 'localhost:8080/counter/add?n=5'
//! curl localhost:8080/help/counter
//! curl localhost:8080/metrics/snapshot
//! ```

use std::error::Error;
use std::time::Duration;

use libprocess::{
    Context, Counter, Help, Method, Process, Reply, Request, Response, RouteOptions, Runtime,
    RuntimeConfig, StatusCode,
};

/// Counts; and remembers how much came in the last second.
struct CounterProcess {
    total: u64,
    last_second: u64,
    requests: Counter,
}

impl Process for CounterProcess {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        let show = RouteOptions::with_help(Help::tldr("Shows the count."));
        ctx.route("/", show, |counter, _, _| counter.show());

        let add = Help::tldr("Adds `n`, or one, to the count.");
        ctx.route("/add", RouteOptions::with_help(add), Self::add);

        let mut before = 0;
        ctx.every(Duration::from_secs(1), move |counter: &mut Self, _| {
            counter.last_second = counter.total - before;
            before = counter.total;
        });
    }
}

impl CounterProcess {
    fn show(&self) -> Reply {
        Response::json(serde_json::json!({
            "total": self.total,
            "last_second": self.last_second,
        }))
        .into()
    }

    fn add(&mut self, _: &mut Context<Self>, request: Request) -> Reply {
        self.requests.inc();
        if request.method != Method::POST {
            return Response::method_not_allowed(&["POST"], request.method.as_str()).into();
        }
        match request.query.get("n").unwrap_or("1").parse::<u32>() {
            Ok(n) => {
                self.total += u64::from(n);
                self.show()
            }
            Err(_) => {
                let text = format!("'n' has to be a number from 0 to {}", u32::MAX);
                Response::text(StatusCode::BAD_REQUEST, text).into()
            }
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let port = match std::env::args().nth(1) {
        Some(port) => port.parse()?,
        None => 8080,
    };
    let runtime = Runtime::start(RuntimeConfig {
        port,
        ..RuntimeConfig::loopback()
    })?;
    let requests = runtime.metrics().counter("counter/requests");
    let counter = CounterProcess {
        total: 0,
        last_second: 0,
        requests,
    };
    runtime.spawn("counter", counter)?;
    println!("http://{}/counter", runtime.address());
    // Ends with the process: Ctrl-C.
    loop {
        std::thread::park();
    }
}
