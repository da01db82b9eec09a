/* Words between herods that share a Redis: each has a list that others put
 * texts into, and a bell that rings for it. */
#define LOG_MODULE "queue"
#include "queue_impl.h"

#include <stdlib.h>
#include <string.h>

#include "mem.h"

#define MAIL_AT_ONCE 32
#define MAIL_KEPT "60" /* seconds in a list that nobody reads */

static void
on_mail(void *arg, const struct redis_reply *reply)
{
	struct queues *qs = arg;
	const char *text;
	size_t i, len, n = reply_count(reply);

	qs->reads_mail = false;
	for (i = 0; i < n && qs->mail; i++) {
		text = reply_text(reply_at(reply, i), &len);
		if (text)
			qs->mail(qs->mail_arg, text, len);
	}
	if (n == MAIL_AT_ONCE || qs->has_mail)
		queues_read_mail(qs);
}

void
queues_read_mail(struct queues *qs)
{
	struct redis_words w;

	qs->has_mail = qs->reads_mail;
	if (qs->reads_mail || !qs->mail)
		return;
	words_begin(&w, "LPOP");
	words_add(&w, qs->inbox);
	words_add_number(&w, MAIL_AT_ONCE);
	qs->reads_mail = redis_send(qs->redis, &w, on_mail, qs);
}

void
queues_on_mail(struct queues *qs,
    void (*fn)(void *arg, const char *text, size_t len), void *arg)
{
	if (!qs->inbox) {
		qs->inbox = own_key(qs, "mail", qs->id);
		redis_add_bell(qs->redis, qs->inbox);
	}
	qs->mail = fn;
	qs->mail_arg = arg;
	if (fn)
		queues_read_mail(qs);
}

bool
queues_mail(struct queues *qs, const char *id, const char *text, size_t len)
{
	char *inbox = own_key(qs, "mail", id);
	struct redis_words w;
	bool sent;

	words_begin(&w, "RPUSH");
	words_add(&w, inbox);
	words_add_mem(&w, text, len);
	sent = redis_send(qs->redis, &w, NULL, NULL);
	words_begin(&w, "EXPIRE");
	words_add(&w, inbox);
	words_add(&w, MAIL_KEPT);
	redis_send(qs->redis, &w, NULL, NULL);
	free(inbox);
	return sent;
}
