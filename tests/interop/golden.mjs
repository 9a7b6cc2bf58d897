// Golden messages through amqplib, for tests/tests/interop.rs.
//
// golden.mjs publish FILE...    publishes the messages of these files
// golden.mjs read QUEUE COUNT   takes so many messages, prints each as a line of JSON

import { readFileSync } from "node:fs";
import amqp from "amqplib";

const EXCHANGE = `${process.env.HAUL_NAMESPACE}.jobs`;
const NAMES = {
  type: "type",
  message_id: "messageId",
  correlation_id: "correlationId",
  reply_to: "replyTo",
  content_type: "contentType",
  headers: "headers",
};

async function publish(channel, files) {
  for (const file of files) {
    for (const message of [JSON.parse(readFileSync(file, "utf8"))].flat()) {
      const options = { persistent: true, mandatory: true };
      for (const [ours, theirs] of Object.entries(NAMES)) options[theirs] = message.head[ours];
      channel.publish(EXCHANGE, message.routing_key, Buffer.from(message.body), options);
    }
  }
  await channel.waitForConfirms();
}

async function read(channel, queue, count) {
  for (let n = 0; n < Number(count); n += 1) {
    const message = await channel.get(queue, { noAck: true });
    if (!message) throw new Error(`${queue} is empty`);
    const head = {};
    for (const [ours, theirs] of Object.entries(NAMES)) {
      const value = message.properties[theirs];
      if (value !== undefined && value !== null) head[ours] = value;
    }
    // The broker's own are not ours.
    const own = Object.entries(head.headers).filter(([key]) => !key.startsWith("x-"));
    head.headers = Object.fromEntries(own);
    console.log(JSON.stringify({ head, body: message.content.toString() }));
  }
}

const [what, ...args] = process.argv.slice(2);
const connection = await amqp.connect(process.env.HAUL_BROKER);
const channel = await connection.createConfirmChannel();
await (what === "publish" ? publish(channel, args) : read(channel, ...args));
await connection.close();
