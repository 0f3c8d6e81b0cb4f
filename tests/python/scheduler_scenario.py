"""A scheduler written with pymesos that goes through every call it has.

usage: scheduler_scenario.py MASTER

MASTER is host:port or zk://host:port/path. Prints one JSON object a line for each step that
worked, ends with {"step": "done"} and status 0, or with a traceback and status 1.
"""

import json
import queue
import sys
import time

from pymesos import MesosSchedulerDriver, Scheduler

# Reached only when something fails.
DEADLINE_S = 60
# How long an offer must stay away to count as suppressed or filtered; the master makes offers
# every second.
QUIET_S = 3
# Longer than HTTP servers usually keep an idle connection.
IDLE_S = 8


class EventScheduler(Scheduler):
    """Puts every callback into a queue, for a main thread that reads like a story."""

    def __init__(self):
        self.events = queue.Queue()

    def registered(self, driver, framework_id, master_info):
        self.events.put(("registered", framework_id))

    def reregistered(self, driver, master_info):
        self.events.put(("reregistered", master_info))

    def disconnected(self, driver):
        self.events.put(("disconnected", None))

    def resourceOffers(self, driver, offers):
        for offer in offers:
            self.events.put(("offer", offer))

    def statusUpdate(self, driver, status):
        self.events.put(("status", status))

    def error(self, driver, message):
        self.events.put(("error", message))


class Story:
    """The driver together with what it reported and nobody has asked for yet."""

    def __init__(self, master):
        self.scheduler = EventScheduler()
        framework = {
            "user": "root",
            "name": "pymesos scenario",
            "checkpoint": True,
            "failover_timeout": 60,
            "capabilities": [{"type": "PARTITION_AWARE"}],
        }
        self.driver = MesosSchedulerDriver(self.scheduler, framework, master)
        self.waiting = []

    def _next(self, deadline):
        kind, value = self.scheduler.events.get(timeout=max(0.0, deadline - time.monotonic()))
        if kind == "error":
            raise AssertionError("the master refused: %s" % value)
        return kind, value

    def expect(self, wanted, accept=lambda value: True):
        """The first event of a kind that is accepted, among the waiting ones and new ones."""
        for index, (kind, value) in enumerate(self.waiting):
            if kind == wanted and accept(value):
                del self.waiting[index]
                return value
        deadline = time.monotonic() + DEADLINE_S
        while True:
            try:
                kind, value = self._next(deadline)
            except queue.Empty:
                raise AssertionError("no %s came; waiting: %s" % (wanted, self.waiting))
            if kind == wanted and accept(value):
                return value
            self.waiting.append((kind, value))

    def expect_none(self, unwanted, seconds=QUIET_S):
        """No event of a kind comes for a while."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                kind, value = self._next(deadline)
            except queue.Empty:
                return
            assert kind != unwanted, "unexpected %s: %s" % (unwanted, value)
            self.waiting.append((kind, value))

    def expect_state(self, task_id, state):
        """The status of a task with a state; other states of it may come before."""
        return self.expect(
            "status",
            lambda status: status["task_id"]["value"] == task_id and status["state"] == state,
        )

    def launch(self, offer, task_id, command):
        """Launches a shell command with little of an offer."""
        task = {
            "task_id": {"value": task_id},
            "agent_id": offer["agent_id"],
            "name": task_id,
            "command": {"value": command},
            "resources": [
                {"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.1}},
                {"name": "mem", "type": "SCALAR", "scalar": {"value": 32}},
            ],
        }
        self.driver.launchTasks(offer["id"], [task], {"refuse_seconds": 0})


def done(step, **details):
    print(json.dumps(dict(step=step, **details)), flush=True)


def play(story):
    """The story itself."""
    driver = story.driver
    framework_id = story.expect("registered")["value"]
    done("registered", framework_id=framework_id, version=driver.version)

    offer = story.expect("offer")
    names = {resource["name"] for resource in offer["resources"]}
    assert {"cpus", "mem"} <= names, names
    driver.declineOffer(offer["id"], {"refuse_seconds": 0})
    offer = story.expect("offer")
    done("declined and offered again")

    story.launch(offer, "short", "echo hello; exit 0")
    for state in ("TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"):
        status = story.expect_state("short", state)
        assert status["uuid"], status
    done("finished")

    story.launch(story.expect("offer"), "failing", "exit 3")
    status = story.expect_state("failing", "TASK_FAILED")
    assert "3" in status["message"], status
    done("failed")

    story.launch(story.expect("offer"), "long", "sleep 1000")
    status = story.expect_state("long", "TASK_RUNNING")
    done("running")

    driver.suppressOffers()
    # An offer that was on its way may still be here; it has to go back.
    story.expect_none("none")
    for kind, value in story.waiting:
        if kind == "offer":
            driver.declineOffer(value["id"], {"refuse_seconds": 0})
    story.waiting = [(kind, value) for kind, value in story.waiting if kind != "offer"]
    story.expect_none("offer")
    done("suppressed")
    driver.reviveOffers()
    offer = story.expect("offer")
    driver.declineOffer(offer["id"], {"refuse_seconds": 3600})
    story.expect_none("offer")
    done("filtered")
    driver.reviveOffers()
    story.expect("offer")
    done("revived")

    driver.reconcileTasks([])
    status = story.expect_state("long", "TASK_RUNNING")
    assert status["reason"] == "REASON_RECONCILIATION", status
    assert "uuid" not in status, status
    done("reconciled all")
    driver.reconcileTasks([{"task_id": {"value": "long"}}])
    story.expect_state("long", "TASK_RUNNING")
    driver.reconcileTasks([{"task_id": {"value": "no such task"}}])
    story.expect_state("no such task", "TASK_UNKNOWN")
    done("reconciled some")

    driver.killTask({"value": "long"})
    story.expect_state("long", "TASK_KILLED")
    done("killed")

    # pymesos fails if the master closes the connection that it keeps for its calls.
    story.expect_none("disconnected", IDLE_S)
    driver.reconcileTasks([])
    done("idle connection reused")


def main():
    story = Story(sys.argv[1])
    story.driver.start()
    try:
        play(story)
    finally:
        story.driver.stop()
        story.driver.join()
    done("done")


if __name__ == "__main__":
    main()
