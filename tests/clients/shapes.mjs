/*
 * What the schemas of an OpenRPC document say of its methods' values.  They
 * are closed for it: a member that the document does not tell is a fault.
 */
import assert from "node:assert";
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
const { default: Ajv } = require("ajv");
const formats = require("ajv-formats").default;

function closed(schema) {
	if (schema === null || typeof schema !== "object")
		return schema;
	if (Array.isArray(schema))
		return schema.map(closed);
	const copy = Object.fromEntries(
	    Object.entries(schema).map(([name, value]) => [name, closed(value)]));

	if (copy.properties && copy.title && !("additionalProperties" in copy))
		copy.additionalProperties = false;
	return copy;
}

function check(valid, value, what) {
	const wrong = (e) => `${e.instancePath} ${e.message} ` +
	    JSON.stringify(e.params);

	assert.ok(valid(value), `${what}: ${JSON.stringify(value)}: ` +
	    valid.errors?.map(wrong).join("; "));
}

export function shapes(doc) {
	const ajv = new Ajv({ strict: false, allErrors: true });
	const components = closed(doc.components);
	const known = new Map();

	formats(ajv);

	function of(schema) {
		if (!known.has(schema))
			known.set(schema,
			    ajv.compile({ ...closed(schema), components }));
		return known.get(schema);
	}

	function checkResult(method, value) {
		check(of(method.result.schema), value, method.name);
	}

	function checkExample(method, example) {
		for (const { name, value } of example.params) {
			const param = method.params.find((p) => p.name === name);

			assert.ok(param, `${method.name} has no ${name}`);
			check(of(param.schema), value, `${method.name}: ${name}`);
		}
		checkResult(method, example.result.value);
	}

	/* Of what comes with a subscription, or when logs are followed. */
	const { Event: event, LogNews: log } = doc.components.schemas;

	function checkNotification({ method, params }) {
		check(of({ event, log }[method]), params, method);
	}

	function checkError(error) {
		const known = doc.components.errors[error.data?.name];

		assert.equal(error.code, known?.code);
		check(of(doc.components.schemas.CallError), error, "error");
	}

	return { checkResult, checkExample, checkNotification, checkError };
}
