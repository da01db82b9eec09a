/*
 * open-rpc.mjs PORT SOCKET: @open-rpc/client-js, by HTTP and by the standard
 * streams of a program, which is socat to a socket here.
 */
import assert from "node:assert";
import { Client, HTTPTransport, RequestManager } from "@open-rpc/client-js";
import { StdioTransport } from "@open-rpc/client-js/stdio";

const [port, path] = process.argv.slice(2);
const socat = (where) => new StdioTransport({ command: "socat",
	args: ["-", where] });

async function isPaused(client) {
	const status = await client.request({ method: "get_runner_status",
		params: ["up"] });

	return status.queue.paused;
}

async function serves(transport) {
	const client = new Client(new RequestManager([transport]));

	assert.ok((await client.request({ method: "list_runners", params: [] }))
	    .includes("web"));
	await assert.rejects(client.request({ method: "get_runner_status",
		params: { name: "nobody" } }), { code: -32010 });
	client.startBatch();
	const batch = Promise.allSettled([
		client.request({ method: "ping", params: [] }),
		client.request({ method: "nonsense", params: [] }),
	]);

	client.stopBatch();
	const [ping, nonsense] = await batch;

	assert.equal(ping.value, "pong");
	assert.equal(nonsense.reason.code, -32601);
	await client.notify({ method: "pause_queue", params: ["up"] });
	while (!await isPaused(client))
		continue;
	await client.request({ method: "resume_queue", params: ["up"] });
	client.close();
}

for (const transport of [new HTTPTransport(`http://127.0.0.1:${port}`),
    socat(`TCP:127.0.0.1:${port}`), socat(`UNIX-CONNECT:${path}`)])
	await serves(transport);
