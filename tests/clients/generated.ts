/* generated.js PORT: calls herod by the client that generated.sh made. */
import assert from "node:assert";
import Herod from "./client/typescript/src/index.js";

const herod = new Herod({ transport: { type: "http", host: "127.0.0.1",
	port: Number(process.argv[2]) } });
const names: string[] = await herod.list_runners();
const status = await herod.get_runner_status("web");

assert.ok(names.includes("web"));
assert.equal(status.state, "RUNNING");
/* What is always there is not optional to the compiler. */
const first: boolean = status.instances[0].ready;

assert.equal(first, true);
assert.deepEqual(await herod["job.run"]({ runner: "up", payload: "hello" }),
    { success: "HELLO" });
await assert.rejects(herod.get_runner_status("nobody"), { code: -32010 });
/* It compares with the document before it asks. */
await assert.rejects(herod.get_runner_status("no name"));
herod.startBatch();
const batch = Promise.all([herod.ping(), herod.get_version()]);

herod.stopBatch();
const [pong, version] = await batch;

assert.equal(pong, "pong");
assert.equal(version.name, "herod");
