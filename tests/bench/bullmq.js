/* Jobs a second from their adding to their end: node bullmq.js DIR SOCKET N,
 * with bullmq in DIR/node_modules and a Redis on SOCKET. */
"use strict";

const [dir, path, count] = process.argv.slice(2);
const { Queue, Worker } = require(`${dir}/node_modules/bullmq`);
const connection = { path, maxRetriesPerRequest: null };
const BATCH = 500;
const n = Number(count);

async function add(queue, name, jobs) {
	const payload = { text: "x".repeat(100) };

	for (let i = 0; i < jobs; i += BATCH)
		await queue.addBulk(Array.from(
		    { length: Math.min(BATCH, jobs - i) },
		    () => ({ name, data: payload })));
}

async function main() {
	const queue = new Queue("bench", { connection });
	const worker = new Worker("bench", async () => "done", {
		connection, concurrency: 256 });
	let left = 0;
	let all = () => {};

	worker.on("completed", () => --left || all());
	await worker.waitUntilReady();
	const run = async (jobs) => {
		left = jobs;
		const ended = new Promise((resolve) => { all = resolve; });
		const since = process.hrtime.bigint();
		await add(queue, "job", jobs);
		await ended;
		return jobs / (Number(process.hrtime.bigint() - since) / 1e9);
	};
	await run(1000); /* to be warm */
	console.log((await run(n)).toFixed(0));
	await worker.close();
	await queue.close();
}

main();
