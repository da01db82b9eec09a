/*
 * document.mjs FILE: the OpenRPC document is what the meta-schemas want,
 * and its examples are what its own schemas say.
 */
import assert from "node:assert";
import fs from "node:fs";
import { createRequire } from "node:module";
import { shapes } from "./shapes.mjs";

const require = createRequire(import.meta.url);
const { default: Ajv } = require("ajv");
const formats = require("ajv-formats").default;
const json = require("@json-schema-tools/meta-schema").default;
const metas = {
	"1.2.6": require("meta-schema-1.2.6").default,
	"1.3.2": require("@open-rpc/meta-schema").default,
	"1.4.1": require("@open-rpc/spec/1_4/schema.json"),
};
const doc = JSON.parse(fs.readFileSync(process.argv[2], "utf8"));

/* Their $schema is JSON Schema's draft 7 under another name. */
function asDraft7(schema) {
	return { ...schema, $schema: "http://json-schema.org/draft-07/schema#" };
}

function isValid(version, meta) {
	const ajv = new Ajv({ strict: false, allErrors: true });

	formats(ajv);
	ajv.addSchema(asDraft7(json));
	const valid = ajv.compile(asDraft7({ ...meta, definitions: {
		...meta.definitions,
		/* In that of 1.2.6 is a copy, whose references lead nowhere. */
		JSONSchema: { $ref: json.$id },
	} }));
	/* Each knows only the versions up to its own. */
	assert.ok(valid({ ...doc, openrpc: version }),
	    `not as OpenRPC ${version}: ` +
	    JSON.stringify(valid.errors?.slice(0, 5), null, 1));
}

function requiredFirst(method) {
	const given = method.params.map((p) => p.required);

	assert.ok(given.indexOf(false) === -1 ||
	    given.lastIndexOf(true) < given.indexOf(false),
	    `${method.name}: an optional parameter before a required one`);
}

for (const [version, meta] of Object.entries(metas))
	isValid(version, meta);
const { checkExample } = shapes(doc);

for (const method of doc.methods) {
	requiredFirst(method);
	assert.ok(method.examples.length > 0);
	for (const example of method.examples)
		checkExample(method, example);
}
