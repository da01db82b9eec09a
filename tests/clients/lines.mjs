/*
 * JSON-RPC a line over a socket: call(method, params) gives the answer;
 * notified(notification) is called for each.
 */
import net from "node:net";

export function lines(where, notified = () => {}) {
	const socket = net.connect(where);
	const asked = new Map();
	let rest = "";

	socket.setEncoding("utf8");
	socket.on("data", (text) => {
		const whole = (rest + text).split("\n");

		rest = whole.pop();
		for (const line of whole) {
			const answer = JSON.parse(line);

			if (answer.method)
				notified(answer);
			asked.get(answer.id)?.(answer);
			asked.delete(answer.id);
		}
	});
	return {
		call(method, params) {
			const id = `${method} ${Math.random()}`;

			socket.write(JSON.stringify(
			    { jsonrpc: "2.0", method, params, id }) + "\n");
			return new Promise((done) => asked.set(id, done));
		},
		end: () => socket.end(),
	};
}
