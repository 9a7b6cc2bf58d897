"""What the Python drivers share: how jobs are counted, and what a driver prints."""

import functools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

# Who waits for each confirm in turn gets no further than the disk's next sync: several wait at once.
PRODUCERS = 8
# With what else a driver puts in, about 200 bytes of arguments.
PADDING = "." * 160
TICK_US = 1_000_000 // os.sysconf("SC_CLK_TCK")


def now_us():
    return time.time_ns() // 1000


def stat(pid):
    """What the kernel tells of a process, from its state on; nothing of one that is gone."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            # The name before it may hold anything.
            state, *numbers = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    return [state, *map(int, numbers)]


class Records:
    """A file to which each job appends how many µs it waited, whichever process runs it."""

    SIZE = 8

    def __init__(self, path):
        self.file = os.open(path, os.O_CREAT | os.O_APPEND | os.O_RDWR)

    def add(self, submitted_us):
        os.write(self.file, (now_us() - submitted_us).to_bytes(self.SIZE, "little", signed=True))

    def count(self):
        return os.fstat(self.file).st_size // self.SIZE

    def waits_us(self):
        data = os.pread(self.file, os.fstat(self.file).st_size, 0)
        chunks = (data[at : at + self.SIZE] for at in range(0, len(data), self.SIZE))
        return [int.from_bytes(chunk, "little", signed=True) for chunk in chunks]

    def wait_for(self, jobs, patience=130):
        end = time.monotonic() + patience
        while self.count() < jobs:
            if time.monotonic() > end:
                sys.exit(f"only {self.count()} of {jobs} jobs ran")
            time.sleep(0.002)


@functools.cache
def records():
    """Those of this run, in a process that runs jobs."""
    return Records(os.environ["PEERS_RECORDS"])


class Worker:
    """The peer's own worker command, as a process group whose processor time can be told."""

    def __init__(self, command):
        path = tempfile.NamedTemporaryFile(prefix="haul-peers-", delete=False).name
        self.records = Records(path)
        self.path = path
        env = os.environ | {"PEERS_RECORDS": path}
        self.process = subprocess.Popen(
            command, env=env, stdin=subprocess.DEVNULL, stdout=sys.stderr, start_new_session=True,
            # It imports the module that its driver is.
            cwd=os.path.dirname(os.path.abspath(__file__)),
        )

    def cpu_us(self):
        """Of all processes of the group, those that ended included."""
        pids = filter(str.isdigit, os.listdir("/proc"))
        group = (fields for fields in map(stat, pids) if fields and fields[2] == self.process.pid)
        return sum(sum(fields[11:15]) for fields in group) * TICK_US

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
        os.unlink(self.path)


def figure(jobs, from_us, to_us, cpu_us):
    said = {"jobs": jobs, "from_us": from_us, "to_us": to_us, "cpu_us_per_job": cpu_us / jobs}
    print(json.dumps(said))


def submit(send, jobs):
    from_us, cpu = now_us(), time.process_time_ns()
    with ThreadPoolExecutor(PRODUCERS) as producers:
        for _ in producers.map(lambda _: send(now_us()), range(jobs)):
            pass
    figure(jobs, from_us, now_us(), (time.process_time_ns() - cpu) // 1000)


def work(worker, jobs):
    """From the first start to the last: how long a peer takes to boot is left out."""
    try:
        worker.records.wait_for(1)
        before, from_us, cpu = worker.records.count(), now_us(), worker.cpu_us()
        worker.records.wait_for(jobs)
        to_us, cpu = now_us(), worker.cpu_us() - cpu
    finally:
        worker.stop()
    figure(jobs - before, from_us, to_us, cpu)


def latency(worker, send, rate, seconds):
    jobs = rate * seconds
    try:
        with ThreadPoolExecutor(PRODUCERS) as producers:
            # So that every producer is connected before the clock starts.
            list(producers.map(send, [now_us()] * PRODUCERS))
            worker.records.wait_for(PRODUCERS)
            start = time.monotonic()
            for n in range(jobs):
                time.sleep(max(0, start + n / rate - time.monotonic()))
                producers.submit(send, now_us())
        worker.records.wait_for(jobs + PRODUCERS)
        waits = worker.records.waits_us()[PRODUCERS:]
    finally:
        worker.stop()
    waits.sort()
    at = [waits[jobs * percent // 100] / 1000 for percent in (50, 99)]
    print(json.dumps({"jobs": jobs, "p50_ms": at[0], "p99_ms": at[1]}))


def main(about, send, command):
    """`about`, `submit JOBS`, `work JOBS`, `latency RATE SECONDS`: one JSON line each."""
    # So that a worker is stopped with its driver.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    match sys.argv[1:]:
        case ["about"]:
            print(json.dumps(about))
        case ["submit", jobs]:
            send(now_us())
            submit(send, int(jobs))
        case ["work", jobs]:
            work(Worker(command), int(jobs))
        case ["latency", rate, seconds]:
            latency(Worker(command), send, int(rate), int(seconds))
        case _:
            sys.exit(main.__doc__)
