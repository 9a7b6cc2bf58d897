"""Haul and its peers in turn, A B C … A B C …; Markdown on stdout.

compare.py --haul PATH --amqp URL --redis URL --broker-pid PID --store-pid PID
           --rounds N --log FOLDER [NAME=COMMAND …]

COMMAND is a driver: see bench/peers/README.md. Standard library only.
"""

import argparse
import json
import os
import shlex
import socket
import statistics
import subprocess
import sys
import threading
from urllib.parse import urlsplit

import measure

RATE, SECONDS = 200, 5
PATIENCE = 150
ROWS = ("submit", "work")


class Failed(Exception):
    pass


def end(process):
    process.terminate()
    try:
        process.wait(40)
    except subprocess.TimeoutExpired:
        process.kill()


class Driver:
    """A peer's driver; what it says on stderr goes to a log."""

    def __init__(self, name, command, env, log):
        self.name, self.command, self.env = name, command, env
        self.log = os.path.join(log, f"{name}.log")
        self.about = self.say("about")

    def start(self, *args, **options):
        with open(self.log, "a") as log:
            return subprocess.Popen(
                [*self.command, *map(str, args)], env=self.env, text=True,
                stdin=options.get("stdin", subprocess.DEVNULL), stdout=subprocess.PIPE, stderr=log,
            )

    def say(self, *args):
        return self.last_line(self.start(*args))

    def last_line(self, process):
        try:
            said, _ = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            end(process)
            raise self.failed(f"no end after {PATIENCE} s")
        if process.returncode != 0 or not said:
            raise self.failed(f"ended with {process.returncode}")
        return json.loads(said.splitlines()[-1])

    def failed(self, why):
        with open(self.log) as log:
            return Failed("\n  ".join([why, *log.read().splitlines()[-15:]]))

    def submit(self, jobs):
        return self.say("submit", jobs)

    def work(self, jobs):
        return self.say("work", jobs)

    def latency(self):
        return self.say("latency", RATE, SECONDS)


class Haul(Driver):
    """`haul bench`, whose worker runs until its stdin ends."""

    def submit(self, jobs):
        return self.say("submit", "--jobs", jobs)

    def work(self, jobs):
        worker = self.start("work", stdin=subprocess.PIPE)
        late = threading.Timer(PATIENCE, worker.kill)
        late.start()
        for line in worker.stdout:
            if line.strip().isdigit() and int(line) >= jobs:
                break
        late.cancel()
        return self.last_line(worker)

    def latency(self):
        return self.say("latency", "--rate", RATE, "--seconds", SECONDS)

    def say(self, *args):
        if args != ("about",):
            return super().say(*args)
        version = subprocess.run([self.command[0], "--version"], capture_output=True, text=True)
        return {
            "version": version.stdout.strip().replace("haul", "Haul"),
            "jobs": 40_000,
            "settings": "`submit_many`; one worker, 256 slots",
            "accepted": "confirmed by a quorum queue",
            "acknowledged": "after its end is recorded, compare-and-set; a lease guards it",
            "result": "in Redis, with every state before it",
            "lacks": "–",
        }


def server_cpu_us(pid):
    return sum(measure.stat(pid)[11:13]) * measure.TICK_US


def flush(url):
    """The store is this run's own: everything in it goes."""
    at = urlsplit(url)
    with socket.create_connection((at.hostname, at.port)) as line:
        line.sendall(b"FLUSHALL\r\n")
        if not line.recv(16).startswith(b"+OK"):
            raise Failed("Redis does not flush")


def run(driver, args):
    """One round: rates, µs of client, broker and store for each job, and waits."""
    flush(args.redis)
    jobs, sample = driver.about["jobs"], {}
    for row in ROWS:
        pids = (args.broker_pid, args.store_pid)
        before = [server_cpu_us(pid) for pid in pids]
        said = getattr(driver, row)(jobs)
        spent = [server_cpu_us(pid) - was for pid, was in zip(pids, before)]
        sample[row] = said["jobs"] * 1e6 / (said["to_us"] - said["from_us"])
        sample[row, "cpu"] = [said["cpu_us_per_job"], *(us / jobs for us in spent)]
    said = driver.latency()
    return sample | {"p50": said["p50_ms"], "p99": said["p99_ms"]}


def table(head, rows):
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print()


def number(value):
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"


def rates(name, samples, haul):
    cells = [name]
    for row in ROWS:
        # Round by round, for those of a round met the same weather.
        ratios = [mine[row] / theirs[row] for mine, theirs in zip(samples, haul)]
        cells += [number(statistics.median(s[row] for s in samples)), span(ratios)]
    return cells + [number(statistics.median(s[p] for s in samples)) for p in ("p50", "p99")]


def span(ratios):
    low, high = f"{min(ratios):.2f}", f"{max(ratios):.2f}"
    return low if low == high else f"{low} – {high}"


def costs(name, samples):
    cells, whole = [name], 0
    for row in ROWS:
        parts = [statistics.median(of) for of in zip(*(s[row, "cpu"] for s in samples))]
        cells.append(" + ".join(map(number, parts)))
        whole += sum(parts)
    return [*cells, f"**{number(whole)}**"]


def tables(drivers, samples):
    haul = samples["Haul"]
    table(
        ("", "submit, jobs/s", "of Haul's", "work off, jobs/s", "of Haul's",
         f"start at {RATE}/s, p50 ms", "p99 ms"),
        (rates(d.name, samples[d.name], haul) for d in drivers),
    )
    print("Processor time of a job, µs: the program's + RabbitMQ's + Redis's.\n")
    table(
        ("", "submit", "work off", "together"), (costs(d.name, samples[d.name]) for d in drivers)
    )
    print("What these figures are of:\n")
    keys = ("version", "jobs", "settings", "accepted", "acknowledged", "result", "lacks")
    table(
        ("", "version", "jobs", "settings", "accepted: the job is", "acknowledged", "result",
         "what it lacks beside Haul here"),
        ([d.name, *(str(d.about[key]) for key in keys)] for d in drivers),
    )


def parse():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--haul", "--amqp", "--redis", "--log"):
        parser.add_argument(name, required=True)
    for name in ("--broker-pid", "--store-pid", "--rounds"):
        parser.add_argument(name, required=True, type=int)
    parser.add_argument("peers", nargs="*")
    return parser.parse_args()


def main():
    args = parse()
    env = os.environ | {
        "PEERS_AMQP": args.amqp, "PEERS_REDIS": args.redis, "HAUL_BROKER": args.amqp,
        "HAUL_STORE": args.redis, "HAUL_NAMESPACE": "haulbench", "PYTHONDONTWRITEBYTECODE": "1",
        "TMPDIR": args.log, "RUST_BACKTRACE": "0",
    }
    drivers, failed = [Haul("Haul", [args.haul, "bench"], env, args.log)], {}
    for name, command in (peer.split("=", 1) for peer in args.peers):
        try:
            drivers.append(Driver(name, shlex.split(command), env, args.log))
        except Failed as why:
            failed[name] = why
    samples = {driver.name: [] for driver in drivers}
    for n in range(1, args.rounds + 1):
        for driver in (d for d in drivers if d.name not in failed):
            print(f"round {n} · {driver.name}", file=sys.stderr)
            try:
                samples[driver.name].append(run(driver, args))
            except Failed as why:
                failed[driver.name] = why
    if samples["Haul"]:
        tables([d for d in drivers if samples[d.name]], samples)
    for name, why in failed.items():
        print(f"{name} did not finish: {str(why).splitlines()[0]}.")
        print(f"{name}: {why}", file=sys.stderr)
    sys.exit("Haul" in failed)


if __name__ == "__main__":
    main()
