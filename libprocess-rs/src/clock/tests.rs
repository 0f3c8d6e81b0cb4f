use super::*;

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

type Log = Arc<Mutex<Vec<(u64, &'static str)>>>;

fn recorder(clock: &Clock) -> (Log, impl Fn(u64, &'static str) -> Timer) {
    let log = Arc::new(Mutex::new(Vec::new()));
    let start = clock.now();
    let record = {
        let (clock, log) = (clock.clone(), log.clone());
        move |after: u64, name: &'static str| {
            let (log, at) = (log.clone(), clock.clone());
            clock.delay(secs(after), move || {
                log.lock().push(((at.now() - start).as_secs(), name));
            })
        }
    };
    (log, record)
}

#[test]
fn timers_fire_in_order_at_their_own_deadline() {
    let clock = Clock::paused();
    let (log, timer) = recorder(&clock);
    timer(3, "c");
    timer(1, "a");
    timer(3, "d");
    timer(2, "b");
    timer(9, "never");
    clock.advance(secs(5));
    assert_eq!(*log.lock(), [(1, "a"), (2, "b"), (3, "c"), (3, "d")]);
    assert_eq!(clock.next_deadline(), Some(clock.now() + secs(4)));
}

#[test]
fn cancelled_timers_do_not_fire() {
    let clock = Clock::paused();
    let (log, timer) = recorder(&clock);
    let first = timer(1, "a");
    timer(1, "b");
    assert!(first.cancel());
    clock.advance(secs(1));
    assert!(!first.cancel());
    assert_eq!(*log.lock(), [(1, "b")]);
}

#[test]
fn timers_made_while_firing_fire_within_the_step() {
    let clock = Clock::paused();
    let (log, timer) = recorder(&clock);
    let inner = clock.clone();
    let copy = log.clone();
    clock.delay(secs(1), move || {
        inner.delay(secs(1), move || copy.lock().push((2, "inner")));
    });
    timer(3, "outer");
    clock.advance(secs(3));
    assert_eq!(*log.lock(), [(2, "inner"), (3, "outer")]);
}

#[test]
fn a_real_clock_fires_by_itself() {
    let clock = Clock::system();
    let (tx, rx) = std::sync::mpsc::channel();
    clock.pause();
    for n in [30_u64, 10, 20] {
        let tx = tx.clone();
        clock.delay(Duration::from_millis(n), move || tx.send(n).unwrap());
    }
    clock.resume();
    let order: Vec<u64> = rx.iter().take(3).collect();
    assert_eq!(order, [10, 20, 30]);
}

#[test]
fn a_timer_that_panics_does_not_stop_the_others() {
    let check = |clock: Clock| {
        let (tx, rx) = std::sync::mpsc::channel();
        clock.delay(Duration::ZERO, || panic!("on purpose"));
        clock.delay(secs(1), move || tx.send(()).unwrap());
        clock.advance(secs(1));
        rx.recv_timeout(secs(60)).unwrap();
    };
    check(Clock::system());
    check(Clock::paused());
}

#[test]
fn pause_freezes_and_resume_continues() {
    let clock = Clock::system();
    clock.pause();
    let frozen = clock.now();
    let (tx, rx) = std::sync::mpsc::channel();
    clock.delay(secs(3600), move || tx.send(()).unwrap());
    clock.advance(secs(3600) - Duration::from_millis(1));
    assert_eq!(clock.now() - frozen, secs(3600) - Duration::from_millis(1));
    assert!(rx.try_recv().is_err());
    clock.resume();
    rx.recv_timeout(secs(10)).unwrap();
}

#[test]
fn sleep_and_timeout_follow_the_clock() {
    let clock = Clock::paused();
    let waker = std::task::Waker::noop();
    let mut cx = Context::from_waker(waker);
    let mut sleep = clock.sleep(secs(2));
    assert!(Pin::new(&mut sleep).poll(&mut cx).is_pending());
    clock.advance(secs(1));
    assert!(Pin::new(&mut sleep).poll(&mut cx).is_pending());
    clock.advance(secs(1));
    assert!(Pin::new(&mut sleep).poll(&mut cx).is_ready());

    let mut never = Box::pin(clock.timeout(secs(1), std::future::pending::<()>()));
    assert!(never.as_mut().poll(&mut cx).is_pending());
    clock.advance(secs(1));
    assert_eq!(never.as_mut().poll(&mut cx), Poll::Ready(Err(Elapsed)));

    drop(clock.sleep(secs(1)));
    let mut forgotten = clock.sleep(secs(1));
    assert!(Pin::new(&mut forgotten).poll(&mut cx).is_pending());
    drop(forgotten);
    assert_eq!(clock.next_deadline(), None);
}
