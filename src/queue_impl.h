/*
 * What the files of queue.c share.
 *
 *	queue.c         keys, commands, the bell, what is due
 *	queue_node.c    who we are, who else is there
 *	queue_batch.c   what a turn of the loop collects
 *	queue_push.c    into a queue
 *	queue_tick.c    the same for schedules
 *	queue_take.c    out of it; claims
 *	queue_settle.c  over, or back: until Redis has it
 *	queue_look.c    reading, cancelling, listing, counting
 *	queue_mail.c    words between herods
 *	queue_bulk.c    many jobs at once
 *	queue_pause.c   queues that are paused
 *	queue_external.c  what programs do that draw from Redis themselves
 *	queue_enrol.c   external runners
 */
#ifndef QUEUE_IMPL_H
#define QUEUE_IMPL_H

#include <sys/queue.h>
#include <sys/tree.h>

#include "queue.h"

#define KEY_MAX 320
#define RETRY 1.0 /* seconds after a refusal */

struct settle; /* queue_settle.c's */
struct push; /* queue_push.c's */
TAILQ_HEAD(push_list, push);
TAILQ_HEAD(stored_list, settle);
TAILQ_HEAD(collecting_list, queue);
TAILQ_HEAD(settle_list, settle);
RB_HEAD(settle_tree, settle);

struct queue {
	RB_ENTRY(queue) entry;
	struct queues *all;
	char *name;
	/* keys */
	char *list, *high, *low, *own, *index, *done, *delay, *open, *meta,
	    *rate;
	ev_periodic due; /* when the first of those that wait may begin */
	bool promoting, promote_again; /* asked; asked meanwhile */
	bool announced; /* is in the set of names */
	bool external; /* programs of ours draw from it themselves */
	bool paused; /* as Redis said last */
	bool draws; /* see queue_set_draws() */
	unsigned pausing; /* asked, not yet answered */
	unsigned ends; /* for the next trim */
	long long keep; /* ended jobs; 0: all */
	struct queue_limits limits;
	ev_timer next; /* more may begin then (limits.rate) */
	TAILQ_ENTRY(queue) collecting;
	bool collects; /* it is among those, with something in: */
	struct push_list pushes;
	struct stored_list stored;
};

TAILQ_HEAD(recent_list, recent);
enum { SPOOL_DISK, SPOOL_MEMORY, SPOOLS };
struct spool_room {
	struct spool *file; /* or NULL */
	size_t max; /* bytes; 0: nothing new */
	size_t jobs;
};
TAILQ_HEAD(spooled_list, spooled);
RB_HEAD(spooled_tree, spooled);
RB_HEAD(queue_tree, queue);

struct queues {
	struct ev_loop *loop;
	struct redis *redis;
	const struct queues_ops *ops;
	void *arg;
	char *ns, *node, *id;
	char *job_prefix, *list_prefix, *row_prefix, *delay_prefix,
	    *meta_prefix;
	char *names, *runners;
	double result_ttl;
	long long epoch, sequence, last_score;
	bool registered, watches_jobs;
	bool is_doubtful; /* see queues_are_doubtful() */
	struct queue_tree tree;
	struct collecting_list collecting;
	struct settle_list unsettled;
	struct settle_tree by_id;
	size_t nunsettled, unsettled_bytes;
	ev_timer retry;
	struct registering *refused; /* its registration, until again fires */
	ev_timer again;
	LIST_HEAD(, claims) refused_claims; /* until claims_again fires */
	ev_timer claims_again;
	double timeout; /* others may be there, too: after this we have
			 * vanished; 0: there are none */
	ev_timer beat;
	double last_beat; /* (clock.h) that Redis has answered */
	bool is_cut_off; /* it was told */
	char *inbox; /* key of others' words to us; NULL: nobody reads them */
	void (*mail)(void *arg, const char *text, size_t len);
	void *mail_arg;
	bool reads_mail, has_mail; /* asked; there is more */
	/* What Redis has acknowledged last, and is told again now. */
	struct recent_list recents, replaying;
	size_t recent_bytes, recent_max;
	long long recent_run; /* of this process */
	long long recent_number, recent_seen; /* the last; that Redis has */
	bool fence_held, must_replay;
	double forgot_at; /* (clock.h) another Redis was met; 0: never */
	char *fence_key;
	ev_prepare fence;
	LIST_HEAD(, takeover) takeovers; /* under way */
	struct spool_room spools[SPOOLS];
	struct spooled_list spooled;
	struct spooled_tree spooled_by_id;
	size_t nspooled;
	bool is_unsure; /* until claims are read: others may have taken ours */
	char told[24]; /* how the refusal began that was logged last */
	double told_at; /* (clock.h) */
};

/* ---- queue.c: keys, written into buf ---- */

const char *job_key(const struct queues *qs, const char *id, char buf[KEY_MAX]);
const char *reply_key(
    const struct queues *qs, const char *id, char buf[KEY_MAX]);
/* NULL without one. */
const char *unique_key(
    const struct queue *q, const struct job *j, char buf[KEY_MAX]);
/* NSd:KIND:NAME; new string. */
char *own_key(const struct queues *qs, const char *kind, const char *name);

/* ---- queue.c: commands ---- */

/* FCALL of a function of queue.lua. */
void call_begin(struct redis_words *w, const char *function, long long nkeys);

/* By the clock on the wall. */
long long now_ms(void);
/* Of seconds; what is not 0 does not become 0. */
long long to_ms(double seconds);

/* Microseconds, later than all before: the order of jobs in lists. */
long long next_score(struct queues *qs);

/* Seconds for which an ended job is kept; that of jobs which do not say, in
 * ms. */
double ttl_of(const struct queues *qs, const struct job *j);
void add_default_ttl(struct redis_words *w, const struct queues *qs);

/* "EPOCH SEQUENCE LABEL" */
void claim_text(struct queues *qs, const char *label, char *buf, size_t size);

/* Away, in the words of a refusal; false when it is there. */
bool queues_away(struct queues *qs, struct err *e);

/* A refusal from a reply (NULL: lost); false when the reply is good. */
bool queues_refused(
    struct queues *qs, const struct redis_reply *reply, struct err *e);

/* Jobs are due at that time, perhaps: looks then. */
void queue_await_due(struct queue *q, long long due_ms);

/* What was asked of a lost Redis is not answered any more. */
void queues_forget_asked(struct queues *qs);

/* Jobs may begin there that could not before. */
void queue_may_go_on(struct queue *q);

/* From which queues programs of ours draw, and runners. */
void queues_tell_external(struct queues *qs);
void queues_tell_draws(struct queues *qs);

/* ---- queue_batch.c: one command for many jobs takes Redis a third of the
 * time that one for each takes; so those of a turn of the loop are collected
 * ---- */

#define BATCH_MAX 40 /* jobs in one command */

/* Something was put into its lists. */
void queue_collects(struct queue *q);
/* A command about all of these: fn is called for each with the one reply. */
bool queue_send_for(struct queue *q, const struct redis_words *w, redis_fn fn,
    void *const *args, size_t n);

/* ---- queue_node.c ---- */

void claims_init(struct queues *qs);
/* Those that were refused are not asked for again. */
void claims_forget(struct queues *qs);
void nodes_init(struct queues *qs);
void nodes_free(struct queues *qs);

/* ---- queue_mail.c ---- */

void queues_read_mail(struct queues *qs);

/* ---- queue_recent.c: what Redis has acknowledged, should it forget it ---- */

enum recent_kind {
	RECENT_CREATED, /* with the job */
	RECENT_HELD, /* with the job */
	RECENT_ENDED, /* with the job */
	RECENT_STARTED, /* of those that were held */
	RECENT_AGAIN,
	RECENT_CANCELLED,
	RECENT_DELETED,
	RECENT_PAUSED,
	RECENT_RESUMED,
	RECENT_ENROLLED,
	RECENT_STRUCK
};
void recent_job(struct queue *q, enum recent_kind kind, struct job *stolen);
void recent_deed(struct queue *q, enum recent_kind kind, const char *id);
/* To each id that is a name in that object. */
void recent_deeds(struct queue *q, enum recent_kind kind, json_t *ids);
void recent_pause(struct queue *q, bool paused);
/* queue: NULL when the runner is registered no more. */
void recent_enrol(struct queues *qs, const char *name, const char *queue);
/* As Redis has it now, which may be another herod's doing. */
void recent_pause_by_others(struct queue *q);
void recent_enrol_by_others(struct queues *qs, const json_t *queues);
/* Asks how far it knows it; nothing is told to it before recents_replay(). */
void recents_look(struct queues *qs);
/* forgot: it is another server, and is told what it lacks. */
void recents_replay(struct queues *qs, bool forgot);
void recents_init(struct queues *qs);
void recents_free(struct queues *qs);

/* ---- queue_spool.c: new jobs until Redis takes them ---- */

/* A copy of one that Redis does not have yet; or NULL. */
struct job *spooled_job(const struct queues *qs, const char *id);
/* False: it is not there, or on its way. */
bool spooled_cancel(struct queues *qs, const char *id);
/* To Redis, if it is there. */
void spooled_send(struct queues *qs);
void spooled_init(struct queues *qs);
void spooled_end(struct queues *qs);

/* ---- queue_settle.c ---- */

/* What was refused is sent again. */
void retry_soon(struct queues *qs);

/* What follows for those it has collected, whose end Redis has stored. */
void queue_send_stored(struct queue *q);

/* Makes sure that it is over in Redis.  is_news: who waits for it is told. */
void settle_again(struct queue *q, struct job *stolen, bool is_news);

/* ---- queue_take.c ---- */

void take_init(struct queue *q);

/* ---- queue_push.c ---- */

/* The new jobs it has collected, to Redis. */
void queue_send_pushes(struct queue *q);

/* True, with a refusal: it has a concurrency_key, which who draws from that
 * queue by himself does not heed. */
bool refuse_key(const struct queue *q, const struct job *j, struct err *e);

/* What a prerequisite that has failed, or is missing, does to a job that is
 * told to Redis again. */
enum hindered {
	IS_REFUSED,
	ENDS_IF_FAILED, /* with it; one that is missing may be told, too */
	ENDS
};

/* Once more, however many wait; the job stays the caller's until fn. */
int queue_push_again(struct queue *q, const struct job *j, bool held,
    enum hindered hindered, queue_fn fn, void *arg, struct err *e);
int queue_start_again(struct queue *q, const char *id, enum hindered hindered,
    queue_fn fn, void *arg, struct err *e);

/* Its name is known before its first job is. */
void queue_announce(struct queue *q);

/* What herod_create takes behind its keys. */
void queue_add_create(struct redis_words *w, struct queue *q,
    const struct job *j, bool held, long long most);

/* What herod_create says was in the way of a job; id: of which, or how many. */
void refuse_new(
    const struct queue *q, const char *what, const char *id, struct err *e);

/* Redis has a new job, which may not be queued yet. */
void queue_tell_created(struct queue *q, const char *id, bool queued);

/* Another job has its unique key. */
void refuse_unique(const char *id, struct err *e);

/* ---- queue_pause.c ---- */

/* Redis has said so: who is to know it is told. */
void queue_set_paused(struct queue *q, bool paused);
/* It may have changed. */
void queue_read_paused(struct queue *q);
/* ---- queue_look.c ---- */

/* Redis learns whether a runner of ours takes jobs from it. */
void queue_tell_draws(const struct queue *q);

/* ---- queue_external.c ---- */

/* Redis learns (again) that programs of ours draw from it, or none any more. */
void queue_tell_external(struct queue *q);

/* ---- queue_settle.c ---- */

void settles_init(struct queues *qs);
void settles_free(struct queues *qs);
/* What is not settled yet goes the way that asks who has it. */
void settles_by_function(struct queues *qs);

/* A reply's ids of jobs that ended with another one. */
void queues_tell_ended(struct queues *qs, const struct redis_reply *ids);

/* One has ended: now and then those are forgotten whose time is over, or that
 * are too many. */
void queue_trim(struct queue *q);

#endif
