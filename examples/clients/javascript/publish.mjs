// Publishes jobs for Haul in every way that docs/protocol.md knows, with amqplib.
//
//   npm install
//   haul worker --broker amqp://localhost --store redis://localhost --queue mail
//   HAUL_BROKER=amqp://localhost node publish.mjs

import { randomUUID } from "node:crypto";
import amqp from "amqplib";

const EXCHANGE = `${process.env.HAUL_NAMESPACE ?? "haul"}.jobs`;

const body = (name) => JSON.stringify({ from: "javascript", case: name });

// What every job should have: a task, an id, and a place on the broker's disk.
const properties = (more = {}) => ({
  type: "haul.echo",
  messageId: randomUUID(),
  contentType: "application/json",
  persistent: true,
  ...more,
});

// Resolves once the broker has the message; rejects when it refuses it.
function publish(channel, name, props, { key = "mail", text = body(name) } = {}) {
  return new Promise((resolve, reject) => {
    channel.publish(EXCHANGE, key, Buffer.from(text), { mandatory: true, ...props }, (error) => {
      if (error) return reject(error);
      console.log(name, props.messageId ?? "-");
      resolve();
    });
  });
}

// The least: a task and its arguments. The worker gives the job an id.
const minimal = (channel) => publish(channel, "minimal", { type: "haul.echo" });

function allHeaders(channel) {
  const headers = {
    max_attempts: 3,
    backoff: "list(1s,10s,5m)",
    timeout_ms: 30000,
    deadline: "2099-01-01T00:00:00Z",
    retention_s: 3600,
    tags: "eu,big",
    run_at: "2024-01-31T10:00:00+01:00", // not before; long past, so at once
    traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    tenant: "Größe 🚚", // unknown to Haul: kept with the job
  };
  const props = properties({ correlationId: "batch-javascript", headers });
  return publish(channel, "all-headers", props);
}

// Needs no clock: the worker counts from when it gets the message.
const delayed = (channel) =>
  publish(channel, "delayed", properties({ headers: { delay_ms: 1000 } }));

// The lane is the second word of the routing key: critical, high, normal or low.
const urgent = (channel) => publish(channel, "urgent", properties(), { key: "mail.critical" });

// The result comes to the queue that replyTo names, with the job's id.
async function ask(channel) {
  const { queue } = await channel.assertQueue("", { exclusive: true });
  const props = properties({ replyTo: queue });
  const answer = new Promise((resolve, reject) => {
    setTimeout(() => reject(new Error("no answer came within 30 s")), 30_000).unref();
    const take = (message) => {
      if (message?.properties.correlationId === props.messageId) resolve(message);
    };
    channel.consume(queue, take, { noAck: true }).catch(reject);
  });
  await publish(channel, "ask", props);
  const { properties: head, content } = await answer;
  console.log("answer", head.headers.state, content.toString());
}

// None of these is lost: each is kept as a dead job that says what is wrong.
async function wrong(channel) {
  const bad = (name, more, to) => publish(channel, name, properties(more), to);
  await bad("no-task", { type: undefined });
  await bad("bad-task", { type: "Haul Echo" });
  await bad("bad-id", { messageId: "not/an/id" });
  await bad("not-json", {}, { text: "case=not-json" });
  await bad("too-large", {}, { text: JSON.stringify("x".repeat(300_000)) });
  await bad("bad-number", { headers: { timeout_ms: "30s" } });
  await bad("bad-time", { headers: { run_at: "tomorrow" } });
  await bad("bad-header", { headers: { tags: ["eu", "big"] } });
  await bad("unknown-task", { type: "nobody.knows" });
  await bad("no-queue", {}, { key: "images" });
  const taken = properties();
  await publish(channel, "taken", taken);
  await publish(channel, "taken-id", taken); // another job with the same id
}

const connection = await amqp.connect(process.env.HAUL_BROKER ?? "amqp://localhost");
const channel = await connection.createConfirmChannel();
for (const example of [minimal, allHeaders, delayed, urgent, ask, wrong]) await example(channel);
await connection.close();
