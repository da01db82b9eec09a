/*
 * examples.mjs SOCKET: asks herod what the examples of its OpenRPC document
 * ask, by name and by position.  Each answer is as the result's schema says,
 * and has what the example has; so is each event that this leads to.  herod
 * has shut down at the end.
 */
import assert from "node:assert";
import fs from "node:fs";
import { lines } from "./lines.mjs";
import { shapes } from "./shapes.mjs";

const ID = "9f1c6f6e-3b1f-4d0e-8f43-0a4bdc3c1f6d";
const faults = [];
const told = new Map();
let check;
const asking = lines(process.argv[2], isTold);
const watching = lines(process.argv[2], isTold);
const doc = (await asking.call("rpc.discover")).result;
const example = Object.fromEntries(doc.methods.map((m) => [m.name,
    Object.fromEntries(m.examples[0].params.map((p) => [p.name, p.value]))]));

check = shapes(doc);
await watching.call("subscribe", { topics: ["*"] });

function isTold(notification) {
	const { method, params } = notification;
	const what = params.topic ? `${params.topic} ${params.what}` : method;

	told.set(what, (told.get(what) ?? 0) + 1);
	try {
		check.checkNotification(notification);
	} catch (fault) {
		faults.push(fault.message);
	}
}

async function call(method, params) {
	const answer = await asking.call(method, params);

	if ("result" in answer)
		check.checkResult(doc.methods.find((m) => m.name === method),
		    answer.result);
	else
		check.checkError(answer.error);
	return answer;
}

/* ---- what an example finds when it is its turn ---- */

async function must(method, params = example[method]) {
	const answer = await call(method, params);

	assert.ok("result" in answer, `before it, ${method}: ` +
	    JSON.stringify(answer.error));
	return answer.result;
}

async function noRunner(name) {
	await call("remove_runner", { name });
}

async function runnerUp() {
	await noRunner("up");
	await must("add_runner");
}

async function noJob() {
	await runnerUp();
	await call("job.stop", { id: ID });
	await call("job.delete", { id: ID });
}

async function createdJob() {
	await noJob();
	await must("jobs.create",
	    { job: { id: ID, runner: "up", payload: "hello" } });
}

async function finishedJob() {
	await createdJob();
	await must("job.start");
	assert.deepEqual(await must("job.wait"), { success: "HELLO" });
}

async function cancelledJob() {
	await createdJob();
	await must("job.stop");
}

async function registered() {
	await call("unregister_runner", example.unregister_runner);
	await must("register_runner");
}

async function someLine(method) {
	const { name } = example[method];

	while ((await must("get_runner_logs", { name })).length === 0)
		continue;
}

async function lineOfJob() {
	await must("job.run", { job: { runner: "count" } });
	await someLine("get_runner_logs");
}

/* What reload would do is not done: that is asked with dry_run. */
async function changedFile() {
	const { file } = await must("get_config", {});
	const text = fs.readFileSync(file, "utf8");

	if (!text.includes("[runner:api]"))
		fs.writeFileSync(file, text
		    .replace("[runner:web]\n", "$&environment = A=\"b\"\n")
		    .replace("[runner:count]\n", "$&job_timeout = 60\n") +
		    "[runner:api]\ncommand = sleep 1000\n");
}

async function keyIsThere() {
	await call("auth.create_key", example["auth.create_key"]);
}

const before = {
	add_runner: () => noRunner("up"),
	remove_runner: runnerUp,
	update_runner: runnerUp,
	get_config: runnerUp,
	start_runner: () => must("stop_runner"),
	get_runner_status: () => must("start_runner"),
	restart_runner: () => must("start_runner"),
	get_runner_logs: lineOfJob,
	start_all: () => must("stop_all"),
	scale_runner: () => must("start_all"),
	signal_runner: () => must("start_all"),
	explain_runner: () => must("start_all"),
	get_runner_processes: () => must("start_all"),
	follow_logs: () => someLine("follow_logs"),
	register_runner: () => call("unregister_runner",
	    example.unregister_runner),
	unregister_runner: registered,
	queue_job_to_runner: runnerUp,
	"job.run": runnerUp,
	"jobs.create": runnerUp,
	"jobs.create_many": runnerUp,
	"job.start": createdJob,
	"job.status": finishedJob,
	"job.result": finishedJob,
	"job.get": finishedJob,
	"job.stop": createdJob,
	"job.retry": cancelledJob,
	"job.delete": finishedJob,
	"job.wait": finishedJob,
	"job.logs": finishedJob,
	"job.follow": finishedJob,
	"jobs.list": finishedJob,
	"jobs.stats": finishedJob,
	"auth.create_key": () => call("key.remove", example["key.remove"]),
	"key.list": keyIsThere,
	"key.remove": keyIsThere,
	pause_queue: runnerUp,
	reload: changedFile,
	resume_queue: () => must("pause_queue"),
};

/* ---- the examples ---- */

/* The real value has every member that the example shows. */
function shows(real, shown, where) {
	if (Array.isArray(shown) && Array.isArray(real)) {
		shown.forEach((item, i) =>
		    real[i] === undefined || shows(real[i], item, `${where}.${i}`));
	} else if (shown && typeof shown === "object") {
		assert.equal(typeof real, "object", where);
		for (const name in shown) {
			assert.ok(name in real, `there is no ${where}.${name}`);
			if (real[name] !== null)
				shows(real[name], shown[name], `${where}.${name}`);
		}
	}
}

async function isAnswered(method, params) {
	const asked = `${method.name} ${JSON.stringify(params)}`;

	await before[method.name]?.();
	const answer = await call(method.name, params);

	assert.ok("result" in answer,
	    `${asked}: ${JSON.stringify(answer.error)}`);
	shows(answer.result, method.examples[0].result.value, asked);
}

/* Null when a parameter is left out before one that is given. */
function byPosition(method, given) {
	const names = method.params.map((p) => p.name);
	const n = Object.keys(given).length;

	return names.slice(0, n).every((name) => name in given) ?
	    names.slice(0, n).map((name) => given[name]) : null;
}

async function attempt(method, params) {
	try {
		await isAnswered(method, params);
	} catch (fault) {
		faults.push(fault.message);
	}
}

for (const method of doc.methods) {
	const given = example[method.name];
	const array = byPosition(method, given);

	check.checkExample(method, method.examples[0]);
	await attempt(method, given);
	if (array && method.name !== "shutdown")
		await attempt(method, array);
}
asking.end();
watching.end();
console.log([...told].map(([what, n]) => `${n} of ${what}`).join("\n"));
console.log(faults.join("\n"));
process.exitCode = faults.length ? 1 : 0;
