/* Methods about keys. */
#include <stdlib.h>
#include <string.h>

#include "keys.h"
#include "mem.h"
#include "rpc.h"
#include "secret.h"

static int
check(struct call *call, struct key_given *given, struct err *e)
{
	const char *key = call_string(call, "key");
	int bad =
	    keys_check(call->services->keys, key, call->peer->from, given, e);

	secret_forget(key);
	return bad;
}

static void
reply_scope(struct call *call, const struct key_given *given)
{
	call_reply(call,
	    json_pack("{s:s, s:s}", "name", given->name, "scope",
		scope_name(given->scope)));
}

HANDLER(auth_login)
{
	struct key_given given;
	struct err e = {0};

	if (check(call, &given, &e) == 0 && !call_login(call, &given)) {
		err_set(&e, ERR_PARAMS,
		    "auth.login: an HTTP request stands for itself");
		err_hint(&e, "send the header Authorization: Bearer KEY");
	}
	if (err_is_set(&e))
		call_refuse(call, &e);
	else
		reply_scope(call, &given);
}

HANDLER(auth_verify)
{
	struct key_given given;
	struct err e = {0};

	if (check(call, &given, &e) == 0)
		reply_scope(call, &given);
	else
		call_refuse(call, &e);
}

static int
read_wanted(struct call *call, struct key_wanted *wanted, struct err *e)
{
	wanted->name = call_string(call, "name");
	scope_find(call_string(call, "scope"), &wanted->scope);
	wanted->expires = call_number(call, "expires");
	wanted->subject = call_string(call, "subject");
	if (wanted->subject == NULL || strchr(wanted->subject, '=') != NULL)
		return 0;
	err_set(e, ERR_PARAMS,
	    "subject: '%.80s' is none: wanted as in CN=ci,O=Example",
	    wanted->subject);
	return err_hint(e,
	    "openssl x509 -in FILE -noout -subject -nameopt "
	    "RFC2253,-esc_msb shows it; so does herod's log, once somebody "
	    "has come with it");
}

HANDLER(auth_create_key)
{
	struct keys *keys = call->services->keys;
	struct key_wanted wanted;
	struct err e = {0};
	char *key = NULL;
	json_t *shown;

	if (read_wanted(call, &wanted, &e) == 0)
		key = keys_create(keys, &wanted, &e);
	if (key == NULL) {
		call_refuse(call, &e);
		return;
	}
	shown = keys_show(keys, wanted.name);
	json_object_set_new(
	    shown, "key", wanted.subject ? json_null() : json_string(key));
	explicit_bzero(key, strlen(key));
	free(key);
	call_reply(call, shown);
}

HANDLER(key_list)
{
	call_reply(call, keys_list(call->services->keys));
}

HANDLER(key_remove)
{
	struct err e = {0};

	if (keys_remove(call->services->keys, call_string(call, "name"), &e) ==
	    0)
		call_reply(call, json_incref(call_json(call, "name")));
	else
		call_refuse(call, &e);
}
