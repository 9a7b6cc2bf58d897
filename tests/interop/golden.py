"""Golden messages through pika, for tests/tests/interop.rs.

golden.py publish FILE...    publishes the messages of these files
golden.py read QUEUE COUNT   takes so many messages, prints each as a line of JSON
"""

import json
import os
import sys

import pika

EXCHANGE = os.environ["HAUL_NAMESPACE"] + ".jobs"
PROPERTIES = ("type", "message_id", "correlation_id", "reply_to", "content_type", "headers")


def publish(channel, files):
    for file in files:
        with open(file, encoding="utf-8") as text:
            messages = json.load(text)
        for message in messages if isinstance(messages, list) else [messages]:
            head = message["head"]
            # pika has no floats.
            headers = {k: v for k, v in head.get("headers", {}).items() if not isinstance(v, float)}
            properties = pika.BasicProperties(delivery_mode=2, **{**head, "headers": headers})
            body = message["body"].encode()
            channel.basic_publish(
                EXCHANGE, message["routing_key"], body, properties, mandatory=True)


def read(channel, queue, count):
    for _ in range(int(count)):
        method, properties, body = channel.basic_get(queue, auto_ack=True)
        if method is None:
            raise SystemExit(f"{queue} is empty")
        head = {name: getattr(properties, name) for name in PROPERTIES}
        head = {name: value for name, value in head.items() if value is not None}
        # The broker's own are not ours.
        own = {k: v for k, v in head["headers"].items() if not k.startswith("x-")}
        head["headers"] = own
        print(json.dumps({"head": head, "body": body.decode()}))


with pika.BlockingConnection(pika.URLParameters(os.environ["HAUL_BROKER"])) as connection:
    channel = connection.channel()
    channel.confirm_delivery()
    if sys.argv[1] == "publish":
        publish(channel, sys.argv[2:])
    else:
        read(channel, *sys.argv[2:])
