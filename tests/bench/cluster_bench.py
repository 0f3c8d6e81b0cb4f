#!/usr/bin/env python3
"""Measures a real cluster from outside: one master and one agent as processes on loopback.

    cargo build --release --bin mesos
    tests/bench/cluster_bench.py [--mesos target/release/mesos] [--tasks 200] [--runs 5]

Prints one Markdown table row per figure:
  - cold start: `mesos launch` without a cluster, from process start to TASK_RUNNING;
  - latency: from an offer arriving at the scheduler to TASK_RUNNING, one task at a time,
    beside what fork, exec and exit of /bin/true cost on the same machine in the same run;
  - throughput: all tasks (`true`) accepted at once, until the last TASK_FINISHED;
  - memory: VmRSS of the idle, registered master and agent.

The scheduler is this script, over the v1 HTTP API with the standard library alone, so the
same script can be pointed at any Mesos master with --master and --no-start.
"""
import argparse
import http.client
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time


TASK_CPUS = 0.01


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def percentile(values, p):
    values = sorted(values)
    return values[min(len(values) - 1, int(round(p / 100 * (len(values) - 1))))]


def row(what, value, note=""):
    print("| %s | %s | %s |" % (what, value, note), flush=True)


class Scheduler:
    """A framework on the v1 scheduler API: one stream for events, one connection for calls."""

    def __init__(self, master):
        self.master = master
        self.stream = http.client.HTTPConnection(master, timeout=120)
        body = {"type": "SUBSCRIBE", "subscribe": {"framework_info": {
            "user": "root", "name": "cluster-bench", "roles": ["*"],
            "capabilities": [{"type": "MULTI_ROLE"}]}}}
        self.stream.request("POST", "/api/v1/scheduler", json.dumps(body),
                            {"Content-Type": "application/json", "Accept": "application/json"})
        self.response = self.stream.getresponse()
        if self.response.status != 200:
            raise SystemExit("SUBSCRIBE: %d %s" % (self.response.status, self.response.read()))
        self.stream_id = self.response.getheader("Mesos-Stream-Id")
        self.buffer = b""
        self.offers = []
        self.framework_id = self.wait("SUBSCRIBED")["subscribed"]["framework_id"]
        self.calls = http.client.HTTPConnection(master, timeout=30)

    def event(self):
        while True:
            head, newline, rest = self.buffer.partition(b"\n")
            if newline and len(rest) >= int(head):
                self.buffer = rest[int(head):]
                return json.loads(rest[:int(head)])
            data = self.response.read1(1 << 20)
            if not data:
                raise SystemExit("the master closed the event stream")
            self.buffer += data

    def wait(self, kind):
        """The next event of a kind. Offers that come in between are kept for later."""
        while True:
            event = self.event()
            if event["type"] == "OFFERS":
                self.offers += event["offers"]["offers"]
            if event["type"] == kind:
                return event

    def call(self, kind, **fields):
        body = {"type": kind, "framework_id": self.framework_id, **fields}
        self.calls.request("POST", "/api/v1/scheduler", json.dumps(body), {
            "Content-Type": "application/json", "Mesos-Stream-Id": self.stream_id})
        response = self.calls.getresponse()
        text = response.read()
        if response.status != 202:
            raise SystemExit("%s: %d %s" % (kind, response.status, text))

    def offer(self, cpus):
        """The next offer with at least that many cpus. Smaller ones are given back, to come joined."""
        self.call("REVIVE")
        while True:
            while self.offers:
                offer = self.offers.pop(0)
                amounts = [r["scalar"]["value"] for r in offer["resources"] if r["name"] == "cpus"]
                if sum(amounts) >= cpus:
                    return offer
                self.call("DECLINE", decline={
                    "offer_ids": [offer["id"]], "filters": {"refuse_seconds": 0}})
                self.call("REVIVE")
            self.wait("OFFERS")

    def acknowledge(self, status):
        if "uuid" in status:
            self.call("ACKNOWLEDGE", acknowledge={
                "agent_id": status["agent_id"], "task_id": status["task_id"],
                "uuid": status["uuid"]})

    def accept(self, offer, task_ids, command):
        tasks = [{"name": "bench", "task_id": {"value": t}, "agent_id": offer["agent_id"],
                  "command": {"value": command},
                  "resources": [
                      {"name": "cpus", "type": "SCALAR", "scalar": {"value": TASK_CPUS}},
                      {"name": "mem", "type": "SCALAR", "scalar": {"value": 1}}]}
                 for t in task_ids]
        self.call("ACCEPT", accept={
            "offer_ids": [offer["id"]], "filters": {"refuse_seconds": 0},
            "operations": [{"type": "LAUNCH", "launch": {"task_infos": tasks}}]})


def latency(scheduler, count):
    """Seconds from each offer to TASK_RUNNING, one task after the other."""
    samples = []
    for n in range(count):
        offer = scheduler.offer(TASK_CPUS)
        start = time.perf_counter()
        scheduler.accept(offer, ["latency-%d" % n], "true")
        while True:
            status = scheduler.wait("UPDATE")["update"]["status"]
            if status["state"] == "TASK_RUNNING":
                samples.append(time.perf_counter() - start)
            scheduler.acknowledge(status)
            if status["state"] in ("TASK_FINISHED", "TASK_FAILED", "TASK_LOST"):
                break
    return samples


def throughput(scheduler, count):
    """Seconds from accepting `count` tasks in one call to the last TASK_FINISHED."""
    offer = scheduler.offer(count * TASK_CPUS)
    waiting = {"burst-%d" % n for n in range(count)}
    start = time.perf_counter()
    scheduler.accept(offer, sorted(waiting), "true")
    while waiting:
        status = scheduler.wait("UPDATE")["update"]["status"]
        scheduler.acknowledge(status)
        task, state = status["task_id"]["value"], status["state"]
        if state == "TASK_FINISHED":
            waiting.discard(task)
        elif state not in ("TASK_STARTING", "TASK_RUNNING"):
            raise SystemExit("task %s: %s %s" % (task, state, status.get("message")))
    return time.perf_counter() - start


def spawn_true():
    start = time.perf_counter()
    subprocess.run(["/bin/true"], check=True)
    return time.perf_counter() - start


def cold_start(mesos):
    start = time.perf_counter()
    process = subprocess.Popen([mesos, "launch", "--name", "bench", "--command", "true"],
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    running = None
    for line in process.stderr:
        if running is None and "TASK_RUNNING" in line:
            running = time.perf_counter() - start
    if process.wait() != 0 or running is None:
        raise SystemExit("mesos launch failed")
    return running, time.perf_counter() - start


def resident(pid):
    text = open("/proc/%d/status" % pid).read()
    return int(re.search(r"VmRSS:\s+(\d+) kB", text).group(1)) / 1024


def wait_for(master, key):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            connection = http.client.HTTPConnection(master, timeout=5)
            connection.request("GET", "/metrics/snapshot")
            if json.loads(connection.getresponse().read()).get(key) == 1.0:
                return
        except OSError:
            pass
        time.sleep(0.02)
    raise SystemExit("%s of %s did not become 1 in 30 s" % (key, master))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mesos", default="target/release/mesos")
    parser.add_argument("--tasks", type=int, default=200)
    parser.add_argument("--runs", type=int, default=5, help="cold starts")
    parser.add_argument("--master", help="host:port of a running master")
    parser.add_argument("--no-start", action="store_true", help="use --master, start nothing")
    options = parser.parse_args()

    processes, work = [], tempfile.mkdtemp(prefix="cluster-bench-")
    try:
        print("| what | measured | note |\n|---|---|---|")
        if not options.no_start:
            times = [cold_start(options.mesos) for _ in range(options.runs + 1)][1:]
            row("cold start of the embedded cluster to TASK_RUNNING",
                "%.0f ms" % (1000 * statistics.median(t[0] for t in times)),
                "median of %d, worst %.0f ms" % (len(times), 1000 * max(t[0] for t in times)))
            row("whole `mesos launch --command true`",
                "%.0f ms" % (1000 * statistics.median(t[1] for t in times)), "median")
            port, agent_port = free_port(), free_port()
            options.master = "127.0.0.1:%d" % port
            log = open(os.path.join(work, "log"), "w")
            processes.append(subprocess.Popen(
                [options.mesos, "master", "--ip=127.0.0.1", "--port=%d" % port, "--registry=in_memory",
                 "--work_dir=" + os.path.join(work, "master"), "--hostname=localhost"], stderr=log))
            wait_for(options.master, "master/elected")
            processes.append(subprocess.Popen(
                [options.mesos, "agent", "--ip=127.0.0.1", "--port=%d" % agent_port, "--hostname=localhost",
                 "--master=" + options.master, "--work_dir=" + os.path.join(work, "agent"),
                 "--runtime_dir=" + os.path.join(work, "run"),
                 "--resources=cpus:64;mem:65536;disk:65536"], stderr=log))
            wait_for(options.master, "master/slaves_active")
            time.sleep(2)
            for name, process in zip(("master", "agent"), processes):
                row("resident memory of an idle %s" % name, "%.1f MiB" % resident(process.pid))

        scheduler = Scheduler(options.master)
        latency(scheduler, 5)
        spawns = [spawn_true() for _ in range(options.tasks)]
        samples = latency(scheduler, options.tasks)
        for p in (50, 99):
            row("offer to TASK_RUNNING, p%d" % p, "%.1f ms" % (1000 * percentile(samples, p)),
                "%d tasks; one fork, exec and exit of /bin/true: %.1f ms" % (
                    options.tasks, 1000 * percentile(spawns, p)))
        seconds = throughput(scheduler, options.tasks)
        row("tasks through one agent", "%.0f/s" % (options.tasks / seconds),
            "%d tasks in %.2f s" % (options.tasks, seconds))
        scheduler.call("TEARDOWN")
        for name, process in zip(("master", "agent"), processes):
            row("resident memory of the %s afterwards" % name, "%.1f MiB" % resident(process.pid))
    finally:
        for process in processes:
            process.kill()
            process.wait()
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
