/*
 * RPC text as it comes from a peer: a stream cut anywhere, its lines taken
 * as calls.  Whatever is answered must be JSON, and who leaves in the
 * middle must leave nothing behind.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fake/handlers.h"
#include "frame.h"
#include "http_head.h"
#include "jsonrpc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
on_answer(void *arg, char *text, size_t len)
{
	json_t *answer;

	(void)arg;
	if (text == NULL)
		return;
	if (len < 2 || text[len - 1] != '\n')
		abort();
	answer = json_loadb(text, len, 0, NULL);
	if (answer == NULL)
		abort();
	json_decref(answer);
	free(text);
}

static bool
on_notice(void *arg, char *text, size_t len, size_t most)
{
	(void)arg;
	(void)len;
	(void)most;
	free(text);
	return true;
}

static bool
is_same(const json_t *a, const json_t *b)
{
	return a == NULL || b == NULL ? a == b : json_equal(a, b);
}

/* What is read without the library means what it does to it. */
static void
compare_readers(const char *line, size_t len)
{
	struct jsonrpc_call by_hand, by_library;
	json_t *mine = jsonrpc_parse(line, len, NULL);
	json_t *root = json_loadb(
	    line, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);

	if (mine != NULL && !is_same(mine, root))
		abort();
	if (jsonrpc_read_call(line, len, &by_hand)) {
		jsonrpc_read(root, &by_library);
		if (by_library.method == NULL ||
		    strcmp(by_hand.method, by_library.method) != 0 ||
		    !is_same(by_hand.id, by_library.id) ||
		    !is_same(by_hand.params, by_library.params))
			abort();
		jsonrpc_call_end(&by_hand);
		jsonrpc_call_end(&by_library);
	}
	json_decref(mine);
	json_decref(root);
}

/* Pieces of 1 to 64 bytes, the sizes from the bytes themselves. */
static size_t
piece(const uint8_t *data, size_t left)
{
	size_t len = (size_t)(data[0] & 63) + 1;

	return len < left ? len : left;
}

static void
take_lines(struct rpc_door *door, struct frame *f)
{
	size_t len;
	char *line;

	while ((line = frame_line(f, &len)) != NULL) {
		compare_readers(line, len);
		rpc_take(door, line, len);
		media_type_is_json(line);
		fake_notify("x");
		if (fake_kept() > 3)
			fake_later_reply(1, "late");
	}
}

static void
feed(struct rpc_door *door, const uint8_t *data, size_t size)
{
	struct frame f;
	size_t room, len;

	frame_init(&f);
	while (size > 0) {
		len = piece(data, size);
		memcpy(frame_room(&f, len, &room), data, len);
		frame_add(&f, len);
		data += len;
		size -= len;
		take_lines(door, &f);
	}
	frame_clear(&f);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct peer peer = {.scope = SCOPE_ADMIN, .text = "fuzz"};
	struct daemon_conf conf;
	struct services services;
	struct rpc_door door = {.peer = &peer,
	    .services = &services,
	    .answer = on_answer,
	    .notify = on_notice};

	fake_services(&services, &conf);
	conf.max_output = 65536;
	conf.max_batch = 100;
	feed(&door, data, size);
	rpc_door_close(&door);
	while (fake_kept() > 0)
		fake_later_reply(0, "to nobody");
	if (door.ntexts != 0 || fake_streams != 0)
		abort();
	settings_clear(daemon_settings, &conf);
	return 0;
}
