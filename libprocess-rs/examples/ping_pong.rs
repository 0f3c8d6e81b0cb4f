//! Two actors that play ping-pong, first within one runtime and then between two of them.
//!
//! ```sh
//! cargo run --release -p libprocess --example ping_pong [ROUNDS]
//! ```

use std::error::Error;
use std::time::Instant;

use libprocess::{Bytes, Context, Process, Runtime, RuntimeConfig, Upid};
use tokio::sync::oneshot;

/// Returns each ball.
struct Ponger;

impl Process for Ponger {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.install_raw("ping", |_, ctx, from, ball| {
            ctx.send_raw(from, "pong", ball);
        });
    }
}

/// Serves, and plays until the rounds are over.
struct Pinger {
    ponger: Upid,
    rounds: u32,
    done: Option<oneshot::Sender<()>>,
}

impl Process for Pinger {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        // Without a link a lost opponent would not be noticed.
        ctx.link(&self.ponger);
        ctx.install_raw("pong", |pinger: &mut Pinger, ctx, _, ball| {
            pinger.rounds = pinger.rounds.saturating_sub(1);
            if pinger.rounds > 0 {
                ctx.send_raw(&pinger.ponger, "ping", ball);
            } else {
                pinger.finish(ctx);
            }
        });
        ctx.send_raw(&self.ponger, "ping", Bytes::from_static(b"ball"));
    }

    fn exited(&mut self, pid: &Upid, ctx: &mut Context<Self>) {
        eprintln!("{pid} has gone with {} rounds to play", self.rounds);
        self.finish(ctx);
    }
}

impl Pinger {
    fn finish(&mut self, ctx: &Context<Self>) {
        if let Some(done) = self.done.take() {
            // Nobody waits any more if the program is ending.
            let _ = done.send(());
        }
        ctx.terminate();
    }
}

fn play(title: &str, near: &Runtime, far: &Runtime, rounds: u32) -> Result<(), Box<dyn Error>> {
    let ponger = far.spawn("", Ponger)?.upid().clone();
    let (done, end) = oneshot::channel();
    let start = Instant::now();
    let pinger = Pinger {
        ponger,
        rounds,
        done: Some(done),
    };
    near.spawn("", pinger)?;
    end.blocking_recv()?;
    let each = start.elapsed() / rounds.max(1);
    println!("{title}: {rounds} rounds, {each:?} each");
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let rounds = match std::env::args().nth(1) {
        Some(rounds) => rounds.parse()?,
        None => 10_000,
    };
    let (near, far) = (
        Runtime::start(RuntimeConfig::loopback())?,
        Runtime::start(RuntimeConfig::loopback())?,
    );
    play("within one runtime", &near, &near, rounds)?;
    play("between two runtimes", &near, &far, rounds)?;
    near.shutdown();
    far.shutdown();
    Ok(())
}
