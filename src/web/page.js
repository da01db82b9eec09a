"use strict";

// One table, asked for every two seconds while the page is seen, and when herod
// tells that something has happened.
const PERIOD = 2000;
const SOON = 50;
const MOOD = {
	RUNNING: "good",
	WAITING: "busy", STARTING: "busy", STOPPING: "busy", DRAINING: "busy", PAUSED: "busy",
	BACKOFF: "bad", FATAL: "bad",
};

async function call(method) {
	const answer = await fetch("/rpc", {
		method: "POST",
		headers: {"Content-Type": "application/json"},
		body: JSON.stringify({jsonrpc: "2.0", id: 1, method}),
	});
	const message = await answer.json();
	if (message.error)
		throw new Error(message.error.message);
	return message.result;
}

function duration(seconds) {
	const units = [["d", 86400], ["h", 3600], ["m", 60], ["s", 1]];
	const first = units.findIndex(([, size]) => seconds >= size);
	if (first === -1)
		return seconds > 0 ? "0s" : "";
	return units.slice(first, first + 2).map(([unit, size]) => {
		const count = Math.floor(seconds / size);
		seconds -= count * size;
		return count + unit;
	}).join("");
}

function cell(text, kind) {
	const td = document.createElement("td");
	td.textContent = text ?? "";
	if (kind)
		td.className = kind;
	return td;
}

function row(runner) {
	const tr = document.createElement("tr");
	const queue = runner.queue ?? {};
	tr.append(
		cell(runner.name),
		cell(runner.kind),
		cell(runner.state, "state " + (MOOD[runner.state] ?? "")),
		cell(runner.pid, "number"),
		cell(duration(runner.uptime), "number"),
		cell(runner.restarts, "number"),
		cell(queue.depth, "number"),
		cell(queue.running, "number"),
		cell(runner.why));
	return tr;
}

function show(runners) {
	const up = runners.filter((r) => r.state === "RUNNING").length;
	document.getElementById("runners").replaceChildren(...runners.map(row));
	document.getElementById("empty").hidden = runners.length > 0;
	document.getElementById("summary").textContent =
		`${up} of ${runners.length} runners are running`;
	document.body.classList.remove("stale");
}

let timer;
let asking = false;
let wanted = false;

async function refresh() {
	asking = true;
	wanted = false;
	try {
		if (!document.hidden)
			show(await call("get_all_runner_status"));
	} catch (error) {
		document.getElementById("summary").textContent =
			`herod does not answer: ${error.message}`;
		document.body.classList.add("stale");
	}
	asking = false;
	later(wanted ? SOON : PERIOD);
}

function later(ms) {
	clearTimeout(timer);
	timer = setTimeout(refresh, ms);
}

function soon() {
	wanted = true;
	if (!asking)
		later(SOON);
}

// A browser has six connections to a host: only a page that is seen holds one.
let events;

function follow() {
	if (document.hidden || events) {
		events?.close();
		events = undefined;
	}
	if (document.hidden)
		return;
	events = new EventSource("/events?topics=runner");
	events.onopen = () => document.body.classList.add("live");
	events.onerror = cutOff;
	for (const kind of ["snapshot", "resumed", "runner", "gap"])
		events.addEventListener(kind, soon);
}

// A browser goes on by itself, but not after a refusal such as 503.
function cutOff() {
	document.body.classList.remove("live");
	if (events.readyState === EventSource.CLOSED)
		setTimeout(follow, PERIOD);
}

document.addEventListener("visibilitychange", follow);
follow();
refresh();
