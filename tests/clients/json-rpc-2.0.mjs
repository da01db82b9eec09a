/* json-rpc-2.0.mjs PORT SOCKET: it leaves the transport to its user. */
import assert from "node:assert";
import http from "node:http";
import net from "node:net";
import jsonrpc from "json-rpc-2.0";

const [port, path] = process.argv.slice(2);
const host = "127.0.0.1";

function byHttp(where) {
	const client = new jsonrpc.JSONRPCClient((body) =>
	    new Promise((done, fail) => {
		const request = http.request({ ...where, method: "POST",
			headers: { "Content-Type": "application/json" } });

		request.on("error", fail);
		request.on("response", async (response) => {
			const parts = await response.toArray();

			assert.equal(response.statusCode, parts.length ? 200 : 204);
			if (parts.length)
				client.receive(JSON.parse(Buffer.concat(parts)));
			done();
		});
		request.end(JSON.stringify(body));
	    }));

	return { client, end() {} };
}

function byLines(where) {
	const socket = net.connect(where);
	const client = new jsonrpc.JSONRPCClient(async (body) => {
		socket.write(JSON.stringify(body) + "\n");
	});
	let rest = "";

	socket.setEncoding("utf8");
	socket.on("data", (text) => {
		const whole = (rest + text).split("\n");

		rest = whole.pop();
		for (const line of whole)
			client.receive(JSON.parse(line));
	});
	return { client, end: () => socket.end() };
}

async function isPaused(client) {
	return (await client.request("get_runner_status", ["up"])).queue.paused;
}

async function serves({ client, end }) {
	const jsonrpc = "2.0";

	assert.ok((await client.request("list_runners")).includes("web"));
	await assert.rejects(client.request("get_runner_status",
	    { name: "nobody" }), { code: -32010 });
	const batch = await client.requestAdvanced([
		{ jsonrpc, method: "ping", id: "a" },
		{ jsonrpc, method: "nonsense", id: "b" },
	]);

	assert.equal(batch.find((a) => a.id === "a").result, "pong");
	assert.equal(batch.find((a) => a.id === "b").error.code, -32601);
	client.notify("pause_queue", { name: "up" });
	while (!await isPaused(client))
		continue;
	await client.request("resume_queue", { name: "up" });
	end();
}

for (const door of [byHttp({ host, port }), byHttp({ socketPath: path }),
    byLines({ host, port }), byLines({ path })])
	await serves(door);
