// BullMQ over Redis.

import { readFileSync } from 'node:fs';
import { Queue, Worker } from 'bullmq';

const NAME = 'peer-bullmq';
// Bulks of so many; each is added atomically: https://docs.bullmq.io/guide/queues/adding-bulks
const BULK = 1000;
// "Something between 100 and 300 is a quite standard setting":
// https://docs.bullmq.io/guide/parallelism-and-concurrency
const CONCURRENCY = 100;
// Results stay as long as Haul's in its benchmark: https://docs.bullmq.io/guide/queues/auto-removal-of-jobs
const removeOnComplete = { age: 600 };
const padding = '.'.repeat(160);

const { hostname: host, port } = new URL(process.env.PEERS_REDIS);
// AOF with everysec and noeviction are the server's: https://docs.bullmq.io/guide/going-to-production
const connection = { host, port: Number(port) };

const about = () => ({
  version: `BullMQ ${JSON.parse(readFileSync(new URL('node_modules/bullmq/package.json', import.meta.url))).version}`,
  jobs: 20000,
  settings: `addBulk of ${BULK}; one worker process, concurrency ${CONCURRENCY}`,
  accepted: 'written by Redis, synced every second',
  acknowledged: 'after it ran, with the result, by script; a lock of 30 s that is renewed',
  result: 'in Redis',
  lacks: 'no broker: a crash of the machine takes up to a second of accepted jobs',
});

const nowUs = () => Math.round((performance.timeOrigin + performance.now()) * 1000);

const say = (figure) => console.log(JSON.stringify(figure));

function spent(jobs, fromUs, cpu) {
  const { user, system } = process.cpuUsage(cpu);
  say({ jobs, from_us: fromUs, to_us: nowUs(), cpu_us_per_job: (user + system) / jobs });
}

async function add(queue, jobs) {
  for (let left = jobs; left > 0; left -= BULK) {
    const bulk = Array.from({ length: Math.min(left, BULK) }, () => ({
      name: 'job',
      data: { submittedUs: nowUs(), padding },
    }));
    await queue.addBulk(bulk);
  }
}

/** Runs jobs until `enough` says so of how many started and how long each waited. */
function run(onStart) {
  const waits = [];
  const worker = new Worker(NAME, async (job) => {
    waits.push(nowUs() - job.data.submittedUs);
    onStart?.(waits.length);
    return job.data.submittedUs;
  }, { connection, concurrency: CONCURRENCY, removeOnComplete });
  return { waits, worker };
}

async function work(jobs) {
  let from, cpu, worker;
  await new Promise((done) => {
    ({ worker } = run((count) => {
      // From the first start to the last: how long it takes to boot is left out.
      if (count === 1) [from, cpu] = [nowUs(), process.cpuUsage()];
      if (count === jobs) done();
    }));
  });
  spent(jobs - 1, from, cpu);
  // The last ones are settled, so that they do not come again.
  await worker.close();
}

async function latency(queue, rate, seconds) {
  const jobs = rate * seconds;
  const { waits, worker } = run();
  await worker.waitUntilReady();
  const start = performance.now();
  const adds = [];
  while (adds.length < jobs) {
    const due = Math.min(jobs, Math.floor(((performance.now() - start) / 1000) * rate) + 1);
    while (adds.length < due) adds.push(queue.add('job', { submittedUs: nowUs(), padding }));
    await new Promise((next) => setTimeout(next, 1));
  }
  await Promise.all(adds);
  while (waits.length < jobs) await new Promise((next) => setTimeout(next, 2));
  waits.sort((a, b) => a - b);
  const at = (percent) => waits[Math.floor((waits.length * percent) / 100)] / 1000;
  say({ jobs, p50_ms: at(50), p99_ms: at(99) });
}

const [command, ...numbers] = process.argv.slice(2);
if (command === 'about') {
  say(about());
  process.exit();
}
const queue = new Queue(NAME, { connection });
await queue.waitUntilReady();
if (command === 'submit') {
  const [from, cpu] = [nowUs(), process.cpuUsage()];
  await add(queue, Number(numbers[0]));
  spent(Number(numbers[0]), from, cpu);
} else if (command === 'work') {
  await work(Number(numbers[0]));
} else if (command === 'latency') {
  await latency(queue, Number(numbers[0]), Number(numbers[1]));
} else {
  console.error('about, submit JOBS, work JOBS, latency RATE SECONDS');
  process.exit(1);
}
process.exit();
