"""Dramatiq over RabbitMQ, results in Redis."""

import os
import sys
from importlib.metadata import version

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

import measure

# Confirms, which also notice a missing queue:
# https://dramatiq.io/reference.html#dramatiq.brokers.rabbitmq.RabbitmqBroker
# It declares durable queues without a type; RabbitMQ makes classic ones.
broker = RabbitmqBroker(url=os.environ["PEERS_AMQP"], confirm_delivery=True)
# https://dramatiq.io/cookbook.html#results; kept for 10 minutes, the default
broker.add_middleware(Results(backend=RedisBackend(url=os.environ["PEERS_REDIS"])))
dramatiq.set_broker(broker)

ABOUT = {
    "version": f"Dramatiq {version('dramatiq')}, pika {version('pika')}",
    "jobs": 4000,
    "settings": "a process for each core, 8 threads each; 8 producing threads",
    "accepted": "confirmed by a durable classic queue",
    "acknowledged": "after it ran",
    "result": "in Redis",
    "lacks": "no quorum queue of its own accord; no bulk submit: a thread waits for each confirm",
}


@dramatiq.actor(queue_name="peer-dramatiq", store_results=True)
def job(submitted_us, padding):
    measure.records().add(submitted_us)
    return submitted_us


def send(submitted_us):
    job.send(submitted_us, measure.PADDING)


# "as many processes as there are CPU cores on your machine with 8 worker threads per process":
# https://dramatiq.io/guide.html#workers
WORKER = [sys.executable, "-m", "dramatiq", "dramatiq_peer"]

if __name__ == "__main__":
    measure.main(ABOUT, send, WORKER)
