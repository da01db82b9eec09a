/* jayson.mjs PORT SOCKET */
import assert from "node:assert";
import jayson from "jayson/promise/index.js";

const [port, path] = process.argv.slice(2);
const host = "127.0.0.1";
const doors = [
	jayson.Client.http({ host, port }),
	jayson.Client.http({ socketPath: path }),
	jayson.Client.tcp({ host, port }),
	jayson.Client.tcp({ path }),
];

async function isPaused(client) {
	const { result } = await client.request("get_runner_status", ["up"]);

	return result.queue.paused;
}

async function serves(client) {
	const list = await client.request("list_runners", []);

	assert.ok(list.result.includes("web"));
	const refused = await client.request("get_runner_status",
	    { name: "nobody" });

	assert.equal(refused.error.code, -32010);
	assert.equal(refused.error.data.name, "no_such_runner");
	const batch = await client.request([
		client.request("ping", [], undefined, false),
		client.request("nonsense", [], undefined, false),
	]);

	assert.deepEqual(batch.map((a) => a.result ?? a.error.code).sort(),
	    [-32601, "pong"]);
	/* An id of null makes a notification. */
	assert.equal(await client.request("pause_queue", ["up"], null),
	    undefined);
	while (!await isPaused(client))
		continue;
	await client.request("resume_queue", ["up"]);
}

for (const client of doors)
	await serves(client);
