"""Celery over RabbitMQ, results in Redis."""

import os
import sys
from importlib.metadata import version

from celery import Celery

import measure

# Workers alone store results: a producer that knows the backend too also subscribes to each one.
WORKS = "PEERS_RECORDS" in os.environ
app = Celery(
    "peer",
    broker=os.environ["PEERS_AMQP"],
    backend=os.environ["PEERS_REDIS"] if WORKS else None,
)
app.conf.update(
    # A quorum queue, and the confirms that it is to be used with:
    # https://docs.celeryq.dev/en/stable/getting-started/backends-and-brokers/rabbitmq.html#using-quorum-queues
    task_default_queue="peer-celery",
    task_default_queue_type="quorum",
    broker_transport_options={"confirm_publish": True},
    # Acknowledged when it has run, and given back when its process dies, as Haul does:
    # https://docs.celeryq.dev/en/stable/userguide/configuration.html#task-acks-late
    # https://docs.celeryq.dev/en/stable/userguide/configuration.html#task-reject-on-worker-lost
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    # "If you have many short-running tasks …, this number should be large. … Say 64, or 128":
    # https://docs.celeryq.dev/en/stable/userguide/optimizing.html#prefetch-limits
    worker_prefetch_multiplier=128,
    # https://docs.celeryq.dev/en/stable/userguide/configuration.html#result-expires
    result_expires=600,
)

ABOUT = {
    "version": f"Celery {version('celery')}, kombu {version('kombu')}",
    "jobs": 2000,
    "settings": "prefork × number of cores, prefetch 128 each; 8 producing threads",
    "accepted": "confirmed by a quorum queue",
    "acknowledged": "after it ran (acks late)",
    "result": "in Redis",
    "lacks": "no bulk submit: a thread waits for each confirm",
}


@app.task(name="peer.celery")
def job(submitted_us, padding):
    measure.records().add(submitted_us)
    return submitted_us


def send(submitted_us):
    job.apply_async((submitted_us, measure.PADDING))


# Prefork with as many processes as there are cores is the default:
# https://docs.celeryq.dev/en/stable/userguide/workers.html#concurrency
WORKER = [sys.executable, "-m", "celery", "-A", "celery_peer", "worker", "--loglevel", "ERROR"]

if __name__ == "__main__":
    # Tasks carry the name of the module that a worker imports.
    measure.main(ABOUT, send, WORKER)
