#!/usr/bin/env node
// A stdio worker: each job is a JSON-RPC request line on stdin, its end a
// response line on stdout.  Several jobs may be in hand at once:
//
//     heroctl add-runner later --kind stdio --concurrency 10 -- node $PWD/worker.js
//     heroctl run later hello
"use strict";
const readline = require("readline");
const jobs = new Map(); // id -> timer, so that cancel can stop it

function send(message) {
	process.stdout.write(JSON.stringify({jsonrpc: "2.0", ...message}) + "\n");
}

function end(id, answer) {
	clearTimeout(jobs.get(id));
	if (jobs.delete(id))
		send({id, ...answer});
}

// The work itself: here it only takes its time.
function run(id, job) {
	console.error(`job ${id}`); // to the log
	jobs.set(id, setTimeout(() => end(id, {result: job.payload}), 100));
}

function cancel({id}) {
	end(id, {error: {code: -32000, message: "cancelled"}});
}

readline.createInterface({input: process.stdin}).on("line", (line) => {
	if (line.trim() === "")
		return;
	const {method, params, id} = JSON.parse(line);
	if (method === "run")
		run(id, params);
	else if (method === "cancel")
		cancel(params);
});
