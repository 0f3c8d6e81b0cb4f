//! A chat between OS processes. The first one hosts the room, the others give its address:
//!
//! ```sh
//! cargo run -p libprocess --example remote_chat -- ann
//! cargo run -p libprocess --example remote_chat -- bob room@127.0.0.1:PORT
//! ```
//!
//! Lines typed are sent to everyone. The room notices through its links when somebody's process ends, however it ends; and the
//! members notice when that of the room does.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::BufRead;

use libprocess::{Bytes, Context, Process, Runtime, RuntimeConfig, Upid};

/// Passes what one member says on to all.
#[derive(Default)]
struct Room {
    members: BTreeMap<Upid, String>,
}

impl Process for Room {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.install_raw("join", |room: &mut Room, ctx, from, name| {
            let name = text(&name);
            ctx.link(from);
            room.tell(ctx, &format!("{name} has joined"));
            room.members.insert(from.clone(), name);
        });
        ctx.install_raw("say", |room: &mut Room, ctx, from, line| {
            if let Some(name) = room.members.get(from) {
                room.tell(ctx, &format!("{name}: {}", text(&line)));
            }
        });
    }

    fn exited(&mut self, pid: &Upid, ctx: &mut Context<Self>) {
        if let Some(name) = self.members.remove(pid) {
            self.tell(ctx, &format!("{name} has left"));
        }
    }
}

impl Room {
    fn tell(&self, ctx: &Context<Self>, line: &str) {
        let line = Bytes::from(line.to_owned());
        for member in self.members.keys() {
            ctx.send_raw(member, "line", line.clone());
        }
    }
}

/// One person.
struct Member {
    name: String,
    room: Upid,
}

impl Process for Member {
    fn initialize(&mut self, ctx: &mut Context<Self>) {
        ctx.install_raw("line", |_, _, _, line| println!("{}", text(&line)));
        ctx.link(&self.room);
        ctx.send_raw(&self.room, "join", Bytes::from(self.name.clone()));
    }

    fn exited(&mut self, _: &Upid, _: &mut Context<Self>) {
        println!("The room has gone. Press Ctrl-D.");
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments
        .next()
        .ok_or("usage: remote_chat NAME [room@IP:PORT]")?;
    let runtime = Runtime::start(RuntimeConfig::loopback())?;
    let room = match arguments.next() {
        Some(room) => room.parse()?,
        None => runtime.spawn("room", Room::default())?.upid().clone(),
    };
    println!("You are in {room}; others join with: remote_chat NAME {room}");
    let member = runtime.spawn(name.clone(), Member { name, room })?;
    for line in std::io::stdin().lock().lines() {
        let line = Bytes::from(line?);
        member.dispatch(move |member, ctx| ctx.send_raw(&member.room, "say", line));
    }
    runtime.shutdown();
    Ok(())
}
