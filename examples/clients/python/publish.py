"""Publishes jobs for Haul in every way that docs/protocol.md knows, with pika.

    pip install pika
    haul worker --broker amqp://localhost --store redis://localhost --queue mail
    HAUL_BROKER=amqp://localhost python publish.py
"""

import json
import os
import uuid

import pika

EXCHANGE = os.environ.get("HAUL_NAMESPACE", "haul") + ".jobs"


def body(case):
    return json.dumps({"from": "python", "case": case})


def properties(**more):
    """What every job should have: a task, an id, and a place on the broker's disk."""
    standard = dict(type="haul.echo", message_id=str(uuid.uuid4()), delivery_mode=2)
    return pika.BasicProperties(**{**standard, "content_type": "application/json", **more})


def publish(channel, case, props, key="mail", text=None):
    # With confirms on, this returns once the broker has the message, or raises.
    text = body(case) if text is None else text
    channel.basic_publish(EXCHANGE, key, text, props, mandatory=True)
    print(case, props.message_id or "-", flush=True)


def minimal(channel):
    """The least: a task and its arguments. The worker gives the job an id."""
    publish(channel, "minimal", pika.BasicProperties(type="haul.echo"))


def all_headers(channel):
    headers = {
        "max_attempts": 3,
        "backoff": "list(1s,10s,5m)",
        "timeout_ms": 30000,
        "deadline": "2099-01-01T00:00:00Z",
        "retention_s": 3600,
        "tags": "eu,big",
        "run_at": "2024-01-31T10:00:00+01:00",  # not before; long past, so at once
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "tenant": "Größe 🚚",  # unknown to Haul: kept with the job
    }
    publish(channel, "all-headers", properties(correlation_id="batch-python", headers=headers))


def delayed(channel):
    """Needs no clock: the worker counts from when it gets the message."""
    publish(channel, "delayed", properties(headers={"delay_ms": 1000}))


def urgent(channel):
    """The lane is the second word of the routing key: critical, high, normal or low."""
    publish(channel, "urgent", properties(), key="mail.critical")


def ask(channel):
    """The result comes to the queue that `reply_to` names, with the job's id."""
    queue = channel.queue_declare("", exclusive=True).method.queue
    props = properties(reply_to=queue)
    publish(channel, "ask", props)
    for _, answer, result in channel.consume(queue, auto_ack=True, inactivity_timeout=30):
        if answer is None:
            raise SystemExit("no answer came within 30 s")
        if answer.correlation_id == props.message_id:
            print("answer", answer.headers["state"], result.decode(), flush=True)
            break
    channel.cancel()


def wrong(channel):
    """None of these is lost: each is kept as a dead job that says what is wrong."""
    publish(channel, "no-task", properties(type=None))
    publish(channel, "bad-task", properties(type="Haul Echo"))
    publish(channel, "bad-id", properties(message_id="not/an/id"))
    publish(channel, "not-json", properties(), text="case=not-json")
    publish(channel, "too-large", properties(), text=json.dumps("x" * 300_000))
    publish(channel, "bad-number", properties(headers={"timeout_ms": "30s"}))
    publish(channel, "bad-time", properties(headers={"run_at": "tomorrow"}))
    publish(channel, "bad-header", properties(headers={"tags": ["eu", "big"]}))
    publish(channel, "unknown-task", properties(type="nobody.knows"))
    publish(channel, "no-queue", properties(), key="images")
    taken = properties()
    publish(channel, "taken", taken)
    publish(channel, "taken-id", taken)  # another job with the same id


def main():
    url = os.environ.get("HAUL_BROKER", "amqp://localhost")
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        for example in (minimal, all_headers, delayed, urgent, ask, wrong):
            example(channel)


if __name__ == "__main__":
    main()
