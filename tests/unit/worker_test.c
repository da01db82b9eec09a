/*
 * Jobs in hand, with a real Redis and with processes that do what the test
 * says: what real ones cannot be made to show.  tests/integration has the
 * rest.
 */
#include <errno.h>
#include <sys/mman.h>

#include "fake/still_child.h"
#include "runners.h"
#include "with_redis.h"
#include "worker.h"

/* ---- processes that obey (in place of child.c) ---- */

#define FAKES_MAX 16

struct fake {
	struct child c;
	bool lives, full;
	char stdin_text[65536]; /* what it was fed */
	char tag[CHILD_TAG_MAX];
	int stops, kills;
};

static struct fake fakes[FAKES_MAX];
static int nfakes;

static struct fake *
fake_of(struct child *c)
{
	return (struct fake *)c;
}

static struct transit *
the_transit(void)
{
	static struct transit *transit;
	int none[TRANSIT_FDS] = {-1, -1, -1};

	if (transit == NULL)
		transit = transit_open(none);
	return transit;
}

struct child *
child_start(struct keeper *k, const struct child_spec *spec,
    const struct child_ops *child_ops, void *arg, struct err *e)
{
	struct fake *f = &fakes[nfakes];

	(void)e;
	check(nfakes < FAKES_MAX);
	f->c.keeper = k;
	f->c.transit = the_transit();
	f->c.id = (unsigned)++nfakes;
	f->c.ops = child_ops;
	f->c.arg = arg;
	f->c.pid = 1000 + nfakes;
	f->c.started_at = ev_time();
	f->c.keep_fd = spec->keep_fd == -1 ? -1 : dup(spec->keep_fd);
	snprintf(f->tag, sizeof(f->tag), "%s", spec->tag);
	f->lives = true;
	return &f->c;
}

void
child_adopt(struct child *c, const struct child_ops *child_ops, void *arg)
{
	c->ops = child_ops;
	c->arg = arg;
}

void
child_stop(struct child *c, const struct stop_rules *rules)
{
	(void)rules;
	c->stopping = true;
	fake_of(c)->stops++;
}

void
child_kill(struct child *c)
{
	c->stopping = c->killed = true;
	fake_of(c)->kills++;
}

bool
child_write(struct child *c, const char *buf, size_t len, size_t limit)
{
	struct fake *f = fake_of(c);
	size_t have = strlen(f->stdin_text);

	(void)limit;
	if (f->full)
		return false;
	check(have + len < sizeof(f->stdin_text));
	if (c->feeding)
		c->feeding(c->feeding_arg, buf, len);
	memcpy(f->stdin_text + have, buf, len);
	if (c->fed) {
		c->fed[0] += len;
		c->fed[1] += len;
	}
	return true;
}

const char *
child_end_text(const struct child *c, char *buf, size_t size)
{
	if (WIFEXITED(c->status))
		snprintf(buf, size, "exit %d", WEXITSTATUS(c->status));
	else
		snprintf(buf, size, "signal %d", WTERMSIG(c->status));
	return buf;
}

/* What a killed herod was not yet done with. */
static void
says_again(struct fake *f, const char *text)
{
	f->c.ops->output(&f->c, CHILD_STDOUT, text, strlen(text));
}

static void
says(struct fake *f, const char *text)
{
	struct transit_place place = child_place(&f->c, CHILD_STDOUT);
	char *buf = xmalloc(TRANSIT_PIECE);
	int fd[2];

	check_int(pipe(fd), 0);
	check(write(fd[1], text, strlen(text)) == (ssize_t)strlen(text));
	check(transit_take(&place, fd[0], buf, TRANSIT_PIECE) ==
	    (ssize_t)strlen(text));
	says_again(f, text);
	transit_done(f->c.transit);
	close(fd[0]);
	close(fd[1]);
	free(buf);
}

static void
ends(struct fake *f, int status)
{
	f->lives = false;
	f->c.is_over = f->c.status_known = true;
	f->c.status = status;
	f->c.exited_at = ev_time();
	f->c.ops->over(&f->c);
	if (f->c.keep_fd != -1)
		close(f->c.keep_fd);
}

#define KILLED 9
#define EXITED_WITH(n) ((n) << 8)

/* ---- a house with a Redis and runners ---- */

struct house {
	pid_t server;
	struct ev_loop *loop;
	struct redis *redis;
	struct daemon_conf conf;
	struct runner_hooks hooks;
	struct runner_watch watch;
	struct runners *runners;
	struct workers *workers;
};

static void
on_added(void *arg, struct runner *r)
{
	workers_runner_added(((struct house *)arg)->workers, r);
}

static void
on_removed(void *arg, struct runner *r)
{
	workers_runner_gone(((struct house *)arg)->workers, r);
}

static bool
spin(struct house *h)
{
	ev_run(h->loop, EVRUN_NOWAIT);
	return true;
}

#define until(h, cond) wait_for(spin(h) && (cond))

/* One more herod over the same Redis and state directory. */
static void
open_herod(struct house *h)
{
	char *url = socket_url();

	h->loop = ev_loop_new(EVFLAG_AUTO);
	memset(&h->conf, 0, sizeof(h->conf));
	settings_init(daemon_settings, &h->conf);
	h->conf.state_dir = xstrdup(".");
	h->conf.node = xstrdup("box");
	h->redis = redis_new(h->loop, url, 5, NULL);
	h->workers = workers_new(h->loop, h->redis, &h->conf, ".");
	workers_hooks(h->workers, &h->hooks);
	h->watch = (struct runner_watch){
	    .arg = h, .added = on_added, .removed = on_removed};
	h->runners = runners_new(h->loop, &h->conf, &h->hooks, &h->watch);
	workers_attach(h->workers, h->runners);
	free(url);
}

static void
close_herod(struct house *h)
{
	runners_free(h->runners);
	workers_free(h->workers);
	redis_free(h->redis);
	settings_clear(daemon_settings, &h->conf);
	ev_loop_destroy(h->loop);
}

static struct runner *
add_runner(struct house *h, const char *name, const char *settings)
{
	struct runner_conf conf = {0};
	json_t *object = json_loads(settings, 0, NULL);
	struct err e = {0};
	struct runner *r;

	check(object);
	settings_init(runner_settings, &conf);
	settings_from_json(runner_settings, &conf, object, &e);
	check_str(e.text, "");
	r = runner_add(h->runners, name, &conf, "test", &e);
	settings_clear(runner_settings, &conf);
	json_decref(object);
	return r;
}

#define STDIO \
	"{\"kind\":\"stdio\",\"command\":[\"w\"],\"concurrency\":4," \
	"\"startsecs\":0,\"stdout_logfile\":\"NONE\"}"
#define STDIO_RETRIES \
	"{\"kind\":\"stdio\",\"command\":[\"w\"],\"startsecs\":0," \
	"\"concurrency\":4,\"stdout_logfile\":\"NONE\",\"job_retries\":1," \
	"\"job_backoff\":0.001}"
#define EXEC \
	"{\"kind\":\"exec\",\"command\":[\"x\"]," \
	"\"stdout_logfile\":\"NONE\"}"

/* The process of a runner is there. */
static struct fake *
begins(struct runner *r)
{
	struct child *c;

	runner_start(r);
	c = r->instances[0]->child;
	check(c);
	c->ops->started(c);
	check_int(r->instances[0]->state, RUNNING);
	return fake_of(c);
}

static struct fake *
open_house(struct house *h, const char *settings)
{
	pid_t server = server_start("");
	struct runner *r;

	memset(h, 0, sizeof(*h));
	open_herod(h);
	h->server = server;
	r = add_runner(h, "it", settings);
	workers_recover(h->workers);
	until(h, redis_is_up(h->redis));
	if (r->conf.kind == KIND_STDIO)
		return begins(r);
	runner_start(r);
	return NULL;
}

static void
close_house(struct house *h)
{
	close_herod(h);
	server_end(h->server, SIGTERM);
}

static struct runner *
the_runner(struct house *h)
{
	return runner_find(h->runners, "it");
}

/* ---- what is asked ---- */

static int nqueued;

static void
on_queued(void *arg, const struct err *e)
{
	(void)arg;
	if (e)
		check_str(e->text, "");
	nqueued++;
}

static void
put(struct house *h, const char *id)
{
	json_t *job = json_pack("{s:s, s:s}", "id", id, "payload", "p");
	int before = nqueued;
	char made[129];

	check_int(
	    workers_create(h->workers, "it", job, made, on_queued, NULL, NULL),
	    0);
	json_decref(job);
	until(h, nqueued > before);
}

/* More settings in JSON. */
static void
put_with(struct house *h, const char *settings)
{
	json_t *job = json_loads(settings, 0, NULL);
	int before = nqueued;
	char made[129];

	check_int(
	    workers_create(h->workers, "it", job, made, on_queued, NULL, NULL),
	    0);
	json_decref(job);
	until(h, nqueued > before);
}

/* A new job without an id of its own: gives its id. */
static const char *
put_any(struct house *h)
{
	json_t *job = json_object();
	int before = nqueued;
	char made[129];

	check_int(
	    workers_create(h->workers, "it", job, made, on_queued, NULL, NULL),
	    0);
	json_decref(job);
	until(h, nqueued > before);
	return keep_text(xstrdup(made));
}

struct waited {
	bool done;
	char text[1200];
};

static void
on_waited(void *arg, const struct job *j, const struct err *e)
{
	struct waited *w = arg;

	check(!w->done);
	w->done = true;
	if (e)
		snprintf(w->text, sizeof(w->text), "refused: %s", e->text);
	else
		snprintf(w->text, sizeof(w->text), "%s %s",
		    job_status_word(j->status),
		    j->error ? j->error : j->result);
}

static const char *
end_of(struct house *h, const char *id)
{
	struct waited w = {0};

	workers_wait(h->workers, id, 0, false, on_waited, &w);
	until(h, w.done);
	return keep_text(xstrdup(w.text));
}

#define FIELD(h, id, field) \
	(ASK((h)->loop, (h)->redis, "HGET hero:job:%s %s", (id), (field)))
#define LIST(h) (ASK((h)->loop, (h)->redis, "LRANGE hero:work_queue:it 0 -1"))

static size_t
in_hand(struct house *h)
{
	return workers_running(h->workers, NULL);
}

static bool
has_request(const struct fake *f, const char *id)
{
	char part[160];

	snprintf(part, sizeof(part), "\"id\":\"%s\"}\n", id);
	return strstr(f->stdin_text, part) != NULL;
}

static void
answers(struct fake *f, const char *id, const char *result)
{
	char line[512];

	snprintf(line, sizeof(line),
	    "{\"jsonrpc\":\"2.0\",\"id\":\"%s\",\"result\":\"%s\"}\n", id,
	    result);
	says(f, line);
}

/* ---- stdio: requests and answers ---- */

void
test_requests_go_in_and_answers_come_out_in_any_order(void)
{
	struct house h;
	struct fake *f = open_house(&h, STDIO);

	put(&h, "a");
	put(&h, "b");
	until(&h, has_request(f, "a") && has_request(f, "b"));
	check_int((long long)in_hand(&h), 2);
	answers(f, "b", "B");
	check_str(end_of(&h, "b"), "finished B");
	check_str(FIELD(&h, "a", "status"), "started");
	answers(f, "a", "A");
	check_str(end_of(&h, "a"), "finished A");
	check_str(FIELD(&h, "a", "result"), "A");
	check_int((long long)in_hand(&h), 0);
	close_house(&h);
}

void
test_no_more_jobs_are_handed_out_than_there_is_room(void)
{
	static const char *const ids[] = {"a", "b", "c", "d", "e", "f"};
	struct house h;
	struct fake *f = open_house(&h, STDIO);
	size_t i;

	for (i = 0; i < 6; i++)
		put(&h, ids[i]);
	until(&h, in_hand(&h) == 4);
	check_str(LIST(&h), "e f");
	check(!has_request(f, "e"));
	answers(f, "b", "B");
	until(&h, has_request(f, "e"));
	check_str(LIST(&h), "f");
	close_house(&h);
}

void
test_a_job_without_an_id_skips_the_empty_queue(void)
{
	struct house h;
	struct fake *f = open_house(&h, STDIO);
	const char *id;

	/* The first look finds the queue empty. */
	put(&h, "a");
	until(&h, has_request(f, "a"));
	answers(f, "a", "A");
	ASK(h.loop, h.redis, "CONFIG RESETSTAT");
	id = put_any(&h);
	check(has_request(f, id));
	check(!strstr(ASK(h.loop, h.redis, "INFO commandstats"), "rpush"));
	close_house(&h);
}

void
test_answers_may_come_in_pieces(void)
{
	struct house h;
	struct fake *f = open_house(&h, STDIO);

	put(&h, "a");
	until(&h, has_request(f, "a"));
	says(f, "{\"jsonrpc\":\"2.0\",\"id\":\"a\",");
	says(f, "\"result\":");
	spin(&h);
	says(f, "[1,2]}\n");
	check_str(end_of(&h, "a"), "finished [1,2]");
	close_house(&h);
}

void
test_an_error_is_the_jobs_error(void)
{
	struct house h;
	struct fake *f = open_house(&h, STDIO);

	put(&h, "a");
	until(&h, has_request(f, "a"));
	says(f,
	    "{\"id\":\"a\",\"error\":{\"code\":1,\"message\":\"no\","
	    "\"data\":\"luck\"}}\n");
	check_str(end_of(&h, "a"), "error no: luck");
	check_str(FIELD(&h, "a", "status"), "error");
	close_house(&h);
}

void
test_nonsense_is_passed_over(void)
{
	static const char *const lines[] = {"hello\n", "\n", "[]\n", "7\n",
	    "{}\n", "{\"id\":\"a\"}\n", "{\"id\":7,\"result\":1}\n",
	    "{\"id\":\"z\",\"result\":1}\n", "{\"method\":\"odd\"}\n",
	    "{\"method\":\"progress\"}\n", "{\"method\":\"log\"}\n",
	    "{\"method\":7}\n", "{\"method\":\"log\",\"params\":[]}\n",
	    "\xff\xfe\n", "{\"id\":\"a\",\"id\":\"a\",\"result\":1}\n"};
	struct house h;
	struct fake *f = open_house(&h, STDIO);
	size_t i;

	put(&h, "a");
	until(&h, has_request(f, "a"));
	for (i = 0; i < sizeof(lines) / sizeof(*lines); i++)
		says(f, lines[i]);
	spin(&h);
	check_int((long long)in_hand(&h), 1);
	check_int(f->kills, 0);
	answers(f, "a", "A");
	check_str(end_of(&h, "a"), "finished A");
	close_house(&h);
}

void
test_nothing_but_garbage_ends_the_worker(void)
{
	struct house h;
	struct fake *f = open_house(&h, STDIO);
	char line[1002];
	int i;

	memset(line, 'x', 1000);
	strlcpy(line + 1000, "\n", 2);
	put(&h, "a");
	until(&h, has_request(f, "a"));
	for (i = 0; i < 1200 && !f->kills && spin(&h); i++)
		says(f, line);
	check_int(f->kills, 1);
	ends(f, KILLED);
	/* Its own fault: that counts. */
	until(&h, *LIST(&h));
	check_str(FIELD(&h, "a", "deaths"), "1");
	close_house(&h);
}

void
test_a_worker_that_does_not_read_gets_no_more(void)
{
	struct house h;
	struct fake *f = open_house(&h, STDIO);

	f->full = true;
	put(&h, "a");
	/* Taken, and given back as if it had not been. */
	until(&h,
	    strcmp(FIELD(&h, "a", "attempts"), "0") == 0 &&
		strcmp(LIST(&h), "a") == 0);
	check_int((long long)in_hand(&h), 0);
	f->full = false;
	until(&h, has_request(f, "a"));
	close_house(&h);
}

/* It will not be shorter another time. */
void
test_an_answer_too_long_is_an_error_at_once(void)
{
	struct house h;
	struct fake *f = open_house(&h, STDIO);

	h.conf.max_result = 8;
	put_with(&h, "{\"id\":\"a\",\"retries\":5}");
	until(&h, has_request(f, "a"));
	answers(f, "a", "123456789");
	check_has(end_of(&h, "a"), "longer than max_result (8 bytes)");
	close_house(&h);
}

/* ---- stdio: ends ---- */

void
test_a_death_gives_all_jobs_back_in_order(void)
{
	static const char *const ids[] = {"a", "b", "c", "d", "e"};
	struct house h;
	struct fake *f = open_house(&h, STDIO);
	size_t i;

	for (i = 0; i < 5; i++)
		put(&h, ids[i]);
	until(&h, in_hand(&h) == 4);
	ends(f, KILLED);
	until(&h, in_hand(&h) == 0);
	check_str(LIST(&h), "a b c d e");
	check_str(FIELD(&h, "a", "deaths"), "1");
	check_str(FIELD(&h, "e", "deaths"), "");
	close_house(&h);
}

void
test_a_poison_job_is_put_aside(void)
{
	struct house h;
	struct fake *f = open_house(&h, STDIO);
	int i;

	put(&h, "a");
	for (i = 0; i < 3; i++) {
		until(&h, has_request(f, "a"));
		ends(f, KILLED);
		if (i < 2) {
			struct instance *in = the_runner(&h)->instances[0];

			until(&h, in->child);
			f = fake_of(in->child);
			f->c.ops->started(&f->c);
		}
	}
	check_has(end_of(&h, "a"), "quarantined quarantined: 3 workers died");
	check_str(FIELD(&h, "a", "reason"), "quarantined");
	check_str(LIST(&h), "");
	close_house(&h);
}

void
test_a_stop_by_the_operator_counts_nothing(void)
{
	struct house h;
	struct fake *f = open_house(&h, STDIO);

	put(&h, "a");
	until(&h, has_request(f, "a"));
	runner_stop(the_runner(&h), false);
	check_int(f->stops, 1);
	ends(f, EXITED_WITH(0));
	until(&h, *LIST(&h));
	check_str(LIST(&h), "a");
	check_str(FIELD(&h, "a", "deaths"), "");
	check_str(FIELD(&h, "a", "attempts"), "0");
	close_house(&h);
}

void
test_a_drain_lets_jobs_end_and_takes_no_more(void)
{
	struct house h;
	struct fake *f = open_house(&h, STDIO);

	put(&h, "a");
	until(&h, has_request(f, "a"));
	runner_stop(the_runner(&h), true);
	put(&h, "b");
	spin(&h);
	check(!has_request(f, "b"));
	check_int(f->stops, 0);
	answers(f, "a", "A");
	check_str(end_of(&h, "a"), "finished A");
	check_int(f->stops, 1);
	ends(f, EXITED_WITH(0));
	check_str(LIST(&h), "b");
	close_house(&h);
}

/* The claim is made, but its worker is on its way out. */
void
test_a_take_under_way_when_a_runner_stops_goes_back(void)
{
	struct house h;
	struct fake *f = open_house(&h, STDIO);

	ASK(h.loop, h.redis, "PING");
	kill(h.server, SIGSTOP);
	json_t *job = json_pack("{s:s}", "id", "a");
	char made[129];

	check_int(
	    workers_create(h.workers, "it", job, made, on_queued, NULL, NULL),
	    0);
	json_decref(job);
	spin(&h);
	spin(&h);
	runner_stop(the_runner(&h), false);
	kill(h.server, SIGCONT);
	until(&h, nqueued == 1);
	until(&h, *LIST(&h));
	check_str(LIST(&h), "a");
	check(!has_request(f, "a"));
	ends(f, EXITED_WITH(0));
	close_house(&h);
}

void
test_a_timeout_costs_others_nothing(void)
{
	struct house h;
	struct fake *f = open_house(&h, STDIO);
	json_t *job = json_pack("{s:s, s:f}", "id", "slow", "timeout", 0.05);
	char made[129];

	put(&h, "a");
	check_int(
	    workers_create(h.workers, "it", job, made, on_queued, NULL, NULL),
	    0);
	json_decref(job);
	until(&h, strstr(f->stdin_text, "\"method\":\"cancel\""));
	check_has(f->stdin_text, "\"params\":{\"id\":\"slow\"}");
	until(&h, f->kills == 1);
	ends(f, KILLED);
	check_str(end_of(&h, "slow"), "timeout timeout after 50ms");
	check_str(FIELD(&h, "a", "deaths"), "");
	check_str(FIELD(&h, "a", "status"), "dispatched");
	close_house(&h);
}

void
test_an_answer_in_the_grace_saves_the_worker(void)
{
	struct house h;
	struct fake *f = open_house(&h, STDIO);
	json_t *job = json_pack("{s:s, s:f}", "id", "slow", "timeout", 0.05);
	char made[129];

	check_int(
	    workers_create(h.workers, "it", job, made, on_queued, NULL, NULL),
	    0);
	json_decref(job);
	until(&h, strstr(f->stdin_text, "\"method\":\"cancel\""));
	answers(f, "slow", "late");
	check_str(end_of(&h, "slow"), "timeout timeout after 50ms");
	check_int(f->kills, 0);
	close_house(&h);
}

static void
on_cancelled(void *arg, const char *status, const struct err *e)
{
	struct waited *w = arg;

	w->done = true;
	strlcpy(w->text, status ? status : e->text, sizeof(w->text));
}

void
test_a_cancelled_job_ends_as_the_worker_says(void)
{
	struct waited w = {0};
	struct house h;
	struct fake *f = open_house(&h, STDIO);

	put(&h, "a");
	put(&h, "b");
	until(&h, has_request(f, "a") && has_request(f, "b"));
	check_int(workers_cancel(h.workers, "a", on_cancelled, &w, NULL), 0);
	check_has(f->stdin_text, "\"cancel\"");
	check_str(FIELD(&h, "a", "status"), "stopping");
	check(!w.done);
	says(f, "{\"id\":\"a\",\"error\":{\"message\":\"stopped\"}}\n");
	until(&h, w.done);
	check_str(w.text, "cancelled");
	/* Done before it heard of it: so it is done. */
	memset(&w, 0, sizeof(w));
	check_int(workers_cancel(h.workers, "b", on_cancelled, &w, NULL), 0);
	answers(f, "b", "B");
	until(&h, w.done);
	check_str(w.text, "finished");
	memset(&w, 0, sizeof(w));
	check_int(workers_cancel(h.workers, "b", on_cancelled, &w, NULL), 0);
	until(&h, w.done);
	check_has(w.text, "is over already: finished");
	close_house(&h);
}

/* ---- exec ---- */

static struct fake *
process_of(struct house *h)
{
	struct instance *i = the_runner(h)->instances[0];

	until(h, i->child);
	return fake_of(i->child);
}

void
test_one_process_for_each_job(void)
{
	struct house h;
	struct fake *f;

	open_house(&h, EXEC);
	put(&h, "a");
	f = process_of(&h);
	check_has(f->tag, "\"job\":\"a\"");
	says(f, "A\n");
	ends(f, EXITED_WITH(0));
	check_str(end_of(&h, "a"), "finished A");
	put(&h, "b");
	f = process_of(&h);
	f->c.ops->output(&f->c, CHILD_STDERR, "one\ntwo\n\n", 9);
	ends(f, EXITED_WITH(3));
	check_str(end_of(&h, "b"), "error exit 3: two");
	check_str(FIELD(&h, "b", "exit"), "768 0 0");
	close_house(&h);
}

void
test_a_program_that_cannot_start_is_the_jobs_error(void)
{
	struct house h;
	struct fake *f;

	open_house(&h, EXEC);
	put(&h, "a");
	f = process_of(&h);
	f->c.stage = "exec";
	f->c.error = ENOENT;
	ends(f, 0);
	check_has(end_of(&h, "a"), "error cannot start: ");
	close_house(&h);
}

void
test_herods_own_lack_is_not_the_jobs_fault(void)
{
	struct house h;
	struct fake *f;

	open_house(&h, EXEC);
	put(&h, "a");
	f = process_of(&h);
	f->c.stage = "fork";
	f->c.error = EAGAIN;
	f->c.shortage = true;
	ends(f, 0);
	/* It is tried again after a moment. */
	f = process_of(&h);
	check_int(nfakes, 2);
	check_str(FIELD(&h, "a", "attempts"), "1");
	says(f, "A");
	ends(f, EXITED_WITH(0));
	check_str(end_of(&h, "a"), "finished A");
	close_house(&h);
}

void
test_a_result_too_long_ends_the_program(void)
{
	struct house h;
	struct fake *f;
	char *big;

	open_house(&h, EXEC);
	h.conf.max_result = 1024;
	put(&h, "a");
	f = process_of(&h);
	big = xmalloc(1101);
	memset(big, 'x', 1100);
	big[1100] = '\0';
	says(f, big);
	check_int(f->stops, 1);
	ends(f, KILLED);
	check_has(end_of(&h, "a"), "longer than max_result (1024 bytes)");
	free(big);
	close_house(&h);
}

void
test_later_holds_up_no_other(void)
{
	struct house h;
	struct fake *f;

	open_house(&h, EXEC);
	put(&h, "a");
	put(&h, "b");
	f = process_of(&h);
	ends(f, EXITED_WITH(75));
	until(&h, !strcmp(FIELD(&h, "a", "reason"), "scheduled"));
	check_str(FIELD(&h, "a", "attempts"), "0");
	f = process_of(&h);
	check_has(f->tag, "\"job\":\"b\"");
	ends(f, EXITED_WITH(0));
	close_house(&h);
}

void
test_later_is_not_at_once(void)
{
	struct house h;
	struct fake *f;
	double before;

	open_house(&h, EXEC);
	put(&h, "a");
	f = process_of(&h);
	says(f, "0\n");
	before = ev_time();
	ends(f, EXITED_WITH(75));
	until(&h, !strcmp(FIELD(&h, "a", "reason"), "scheduled"));
	check(strtod(FIELD(&h, "a", "due"), NULL) >= before * 1000 + 99);
	close_house(&h);
}

/* ---- stopped while it ends anyway ---- */

#define RETRIED_AT_ONCE "{\"id\":\"a\",\"retries\":5,\"backoff\":0.001"

static void
check_cancelled(struct house *h, const struct waited *w)
{
	until(h, w->done);
	check_str(w->text, "cancelled");
	until(h, !strcmp(FIELD(h, "a", "reason"), "cancelled"));
	check_str(FIELD(h, "a", "status"), "error");
	check_str(FIELD(h, "a", "error"), "cancelled");
	check_str(LIST(h), "");
}

void
test_a_job_stopped_in_the_grace_of_its_limit_does_not_begin_again(void)
{
	struct waited w = {0};
	struct house h;
	struct fake *f;

	open_house(&h, EXEC);
	put_with(&h, RETRIED_AT_ONCE ",\"timeout\":0.05}");
	f = process_of(&h);
	until(&h, f->stops == 1);
	check_int(workers_cancel(h.workers, "a", on_cancelled, &w, NULL), 0);
	check_str(FIELD(&h, "a", "status"), "stopping");
	ends(f, KILLED);
	check_cancelled(&h, &w);
	close_house(&h);
}

void
test_a_request_stopped_in_the_grace_of_its_limit_is_not_made_again(void)
{
	struct waited w = {0};
	struct house h;
	struct fake *f = open_house(&h, STDIO);

	put_with(&h, RETRIED_AT_ONCE ",\"timeout\":0.05}");
	until(&h, strstr(f->stdin_text, "\"method\":\"cancel\""));
	check_int(workers_cancel(h.workers, "a", on_cancelled, &w, NULL), 0);
	says(f, "{\"id\":\"a\",\"error\":{\"message\":\"stopped\"}}\n");
	check_cancelled(&h, &w);
	close_house(&h);
}

void
test_a_job_stopped_while_its_runner_stops_does_not_begin_again(void)
{
	struct waited w = {0};
	struct house h;
	struct fake *f;

	open_house(&h, EXEC);
	put(&h, "a");
	f = process_of(&h);
	runner_stop(the_runner(&h), false);
	check_int(f->stops, 1);
	check_int(workers_cancel(h.workers, "a", on_cancelled, &w, NULL), 0);
	ends(f, EXITED_WITH(0));
	check_cancelled(&h, &w);
	close_house(&h);
}

/* ---- Redis away ---- */

void
test_a_result_is_told_and_kept_while_redis_is_away(void)
{
	struct waited w = {0};
	struct house h;
	struct fake *f = open_house(&h, STDIO);

	put(&h, "a");
	until(&h, has_request(f, "a"));
	workers_wait(h.workers, "a", 0, false, on_waited, &w);
	server_end(h.server, SIGKILL);
	until(&h, !redis_is_up(h.redis));
	answers(f, "a", "A");
	until(&h, w.done);
	check_str(w.text, "finished A");
	h.server = server_start("");
	until(&h, redis_is_up(h.redis));
	until(&h, !strcmp(FIELD(&h, "a", "status"), "finished"));
	until(&h, !*ASK(h.loop, h.redis, "KEYS herod:own:*"));
	close_house(&h);
}

/* ---- waiting ---- */

void
test_many_wait_and_each_is_told_once(void)
{
	struct waited w[50] = {{0}};
	struct house h;
	struct fake *f = open_house(&h, STDIO);
	int i;

	put(&h, "a");
	until(&h, has_request(f, "a"));
	for (i = 0; i < 50; i++)
		job_wait_cancel(
		    workers_wait(h.workers, "a", 0, false, on_waited, &w[i]));
	for (i = 0; i < 50; i++)
		workers_wait(h.workers, "a", 0, false, on_waited, &w[i]);
	answers(f, "a", "A");
	for (i = 0; i < 50; i++)
		until(&h, strcmp(w[i].text, "finished A") == 0);
	close_house(&h);
}

void
test_a_wait_can_be_too_short(void)
{
	struct waited w = {0};
	struct house h;

	open_house(&h, STDIO);
	put(&h, "a");
	workers_wait(h.workers, "a", 0.05, false, on_waited, &w);
	until(&h, w.done);
	check_str(w.text, "refused: job a is not over after 50ms");
	close_house(&h);
}

void
test_nobody_waits_for_a_job_that_is_not(void)
{
	struct house h;

	open_house(&h, STDIO);
	check_str(end_of(&h, "none"), "refused: there is no job none");
	close_house(&h);
}

void
test_a_job_that_ends_elsewhere_is_seen(void)
{
	struct waited w = {0};
	struct house h, other;

	open_house(&h, STDIO);
	memset(&other, 0, sizeof(other));
	open_herod(&other);
	until(&other, redis_is_up(other.redis));
	ASK(other.loop, other.redis,
	    "HSET hero:job:f status started runner z node far");
	workers_wait(h.workers, "f", 0, false, on_waited, &w);
	ASK(h.loop, h.redis, "PING");
	ASK(h.loop, h.redis, "PING");
	check(!w.done);
	ASK(other.loop, other.redis,
	    "HSET hero:job:f status finished result F");
	until(&h, w.done);
	check_str(w.text, "finished F");
	close_herod(&other);
	close_house(&h);
}

void
test_a_foreign_push_wakes_an_idle_worker(void)
{
	struct house h, other;
	struct fake *f = open_house(&h, STDIO);

	memset(&other, 0, sizeof(other));
	open_herod(&other);
	until(&other, redis_is_up(other.redis));
	ASK(h.loop, h.redis, "PING");
	ASK(other.loop, other.redis,
	    "HSET hero:job:f status dispatched payload x");
	ASK(other.loop, other.redis, "LPUSH hero:work_queue:it f");
	until(&h, has_request(f, "f"));
	close_herod(&other);
	close_house(&h);
}

/* ---- jobs of others ---- */

#define FOREIGN(h, id, more) \
	ASK((h)->loop, (h)->redis, "HSET hero:job:%s status dispatched " more, \
	    (id))

static void
queue_foreign(struct house *h, const char *ids)
{
	ask(h->loop, h->redis, "RPUSH hero:work_queue:it %s", ids);
	put(h, "bell"); /* what comes by our own connection rings none */
}

void
test_what_a_foreign_job_leaves_out_is_its_runners(void)
{
	struct house h;
	struct fake *f = open_house(&h, STDIO_RETRIES);

	FOREIGN(&h, "f", "payload x timeout nan");
	queue_foreign(&h, "f");
	until(&h, has_request(f, "f"));
	check_has(f->stdin_text, "\"runner\":\"it\",\"timeout\":300.0");
	check(!strstr(f->stdin_text, "\"runner\":null"));
	says(f, "{\"id\":\"f\",\"error\":{\"message\":\"no\"}}\n");
	until(&h, has_request(f, "f#2"));
	answers(f, "f#2", "F");
	check_str(end_of(&h, "f"), "finished F");
	close_house(&h);
}

/* It would break the line that a worker reads. */
void
test_an_id_that_is_none_is_an_error_and_holds_up_no_other(void)
{
	struct house h;
	struct fake *f = open_house(&h, STDIO);
	char longer[200];

	memset(longer, 'l', 129);
	longer[129] = '\0';
	FOREIGN(&h, "a\"b", "payload x");
	FOREIGN(&h, longer, "payload x");
	FOREIGN(&h, "c", "payload x");
	snprintf(longer + 129, 8, " a\"b c");
	queue_foreign(&h, longer);
	longer[129] = '\0';
	until(&h, has_request(f, "c"));
	check(!strstr(f->stdin_text, "a\\\"b"));
	check(!strstr(f->stdin_text, longer));
	check_str(FIELD(&h, "a\"b", "status"), "error");
	check_has(FIELD(&h, longer, "error"), "its id is none");
	check_has(
	    ASK(h.loop, h.redis, "RPOP hero:reply:a\"b"), "its id is none");
	answers(f, "c", "C");
	answers(f, "bell", "");
	until(&h, !*ASK(h.loop, h.redis, "KEYS herod:own:*"));
	close_house(&h);
}

/* ---- after herod's death ---- */

/* The same processes under a new herod; redis keeps what the old one had
 * told it. */
static void
dies(struct house *h, struct house *next)
{
	*next = *h;
	open_herod(next);
}

/* The old one's memory is not freed: it is dead. */
static struct house dead;
static void *marks; /* mapped by it */

static void
herod_dies(struct house *h, struct house *next, struct fake *f)
{
	dead = *h;
	redis_hang_up(dead.redis);
	kill(h->server, SIGCONT);
	dies(h, next);
	add_runner(next, "it", STDIO);
	if (f->c.fed)
		marks = (void *)(uintptr_t)f->c.fed;
	f->c.fed = NULL;
	check(runners_adopt(next->runners, &f->c, f->tag));
	workers_recover(next->workers);
	runner_start(the_runner(next));
	until(next, redis_is_up(next->redis));
}

void
test_a_worker_that_lives_on_is_answered_for(void)
{
	struct house h, next;
	struct fake *f = open_house(&h, STDIO);

	put(&h, "a");
	put(&h, "b");
	until(&h, has_request(f, "a") && has_request(f, "b"));
	/* The old herod read this, but Redis never heard of it. */
	kill(h.server, SIGSTOP);
	answers(f, "a", "A");
	says(f, "{\"id\":\"b\",\"re");
	herod_dies(&h, &next, f);
	check_str(end_of(&next, "a"), "finished A");
	says(f, "sult\":\"B\"}\n");
	check_str(end_of(&next, "b"), "finished B");
	check_str(FIELD(&next, "b", "attempts"), "1");
	check_int(f->kills, 0);
	close_house(&next);
}

/* As herod would have found it: claimed, but its request was not sent. */
void
test_a_claim_whose_request_was_not_sent_goes_back(void)
{
	struct house h, next;
	struct fake *f = open_house(&h, STDIO);
	char *id;

	put(&h, "a");
	until(&h, has_request(f, "a"));
	id = read_file("node.id");
	id[strcspn(id, "\n")] = '\0';
	ASK(h.loop, h.redis,
	    "HSET hero:job:b status started runner it node box attempts 1 "
	    "payload x");
	ask(h.loop, h.redis, "HSET herod:own:it:%s b 1~99~it/0/%u", id,
	    f->c.id);
	f->stdin_text[0] = '\0';
	herod_dies(&h, &next, f);
	/* Given back, and taken anew: this time it is sent. */
	until(&next, has_request(f, "b"));
	check(!has_request(f, "a"));
	answers(f, "b", "B");
	answers(f, "a", "A");
	check_str(end_of(&next, "b"), "finished B");
	check_str(end_of(&next, "a"), "finished A");
	check_str(FIELD(&next, "b", "attempts"), "1");
	free(id);
	close_house(&next);
}

/* The old answer to a job of that id must not be taken for that to the new. */
static void
check_only_the_new_answer_counts(struct house *h, struct fake *f)
{
	struct house next;

	until(h, has_request(f, "a"));
	herod_dies(h, &next, f);
	/* When this is begun, all of before is dealt with. */
	put(&next, "b");
	until(&next, has_request(f, "b"));
	check_int((long long)in_hand(&next), 2);
	check_str(FIELD(&next, "a", "status"), "started");
	answers(f, "a", "new");
	check_str(end_of(&next, "a"), "finished new");
	close_house(&next);
}

static struct fake *
open_house_with_a_failed_job(struct house *h)
{
	struct fake *f = open_house(h, STDIO);

	put(h, "a");
	until(h, has_request(f, "a"));
	says(f, "{\"id\":\"a\",\"error\":{\"message\":\"old\"}}\n");
	check_str(end_of(h, "a"), "error old");
	until(h, !strcmp(FIELD(h, "a", "status"), "error"));
	f->stdin_text[0] = '\0';
	return f;
}

void
test_an_answer_is_not_taken_for_that_to_a_retried_job(void)
{
	struct house h;
	struct fake *f = open_house_with_a_failed_job(&h);
	int before = nqueued;

	check_int(workers_retry(h.workers, "a", on_queued, NULL, NULL), 0);
	until(&h, nqueued > before);
	check_only_the_new_answer_counts(&h, f);
}

void
test_an_answer_is_not_taken_for_that_to_a_new_job_of_the_same_id(void)
{
	struct house h;
	struct fake *f = open_house_with_a_failed_job(&h);
	int before = nqueued;

	check_int(workers_delete(h.workers, "a", on_queued, NULL, NULL), 0);
	until(&h, nqueued > before);
	put(&h, "a");
	check_only_the_new_answer_counts(&h, f);
}

void
test_a_request_half_sent_is_completed(void)
{
	struct house h, next;
	struct fake *f = open_house(&h, STDIO);
	size_t len;

	put(&h, "a");
	until(&h, has_request(f, "a"));
	len = strlen(f->stdin_text);
	f->c.fed[0] = f->c.fed[1] = 10;
	f->stdin_text[10] = '\0';
	herod_dies(&h, &next, f);
	until(&next, has_request(f, "a"));
	check_int((long long)strlen(f->stdin_text), (long long)len);
	answers(f, "a", "A");
	check_str(end_of(&next, "a"), "finished A");
	close_house(&next);
}

/* It is known from Redis before the rest of the request is sent. */
void
test_a_cancel_goes_behind_a_request_half_sent(void)
{
	struct house h, next;
	struct fake *f = open_house(&h, STDIO);
	char *request;

	put(&h, "a");
	until(&h, has_request(f, "a"));
	ASK(h.loop, h.redis, "HSET hero:job:a status stopping");
	request = xstrdup(f->stdin_text);
	f->c.fed[0] = f->c.fed[1] = 10;
	f->stdin_text[10] = '\0';
	herod_dies(&h, &next, f);
	until(
	    &next, strstr(f->stdin_text, "\"cancel\"") && has_request(f, "a"));
	check_int(strncmp(f->stdin_text, request, strlen(request)), 0);
	check_str(f->stdin_text + strlen(request),
	    "{\"jsonrpc\":\"2.0\",\"method\":\"cancel\",\"params\":{\"id\":"
	    "\"a\"}}\n");
	answers(f, "a", "A");
	check_str(end_of(&next, "a"), "finished A");
	free(request);
	close_house(&next);
}

void
test_what_cannot_be_known_ends_the_worker_uncounted(void)
{
	struct house h, next;
	struct fake *f = open_house(&h, STDIO);

	put(&h, "a");
	until(&h, has_request(f, "a"));
	f->c.fed[0] += 1;
	herod_dies(&h, &next, f);
	until(&next, f->kills == 1);
	ends(f, KILLED);
	until(&next, *LIST(&next));
	check_str(LIST(&next), "a");
	check_str(FIELD(&next, "a", "deaths"), "");
	close_house(&next);
}

void
test_a_program_that_lives_on_gives_its_result(void)
{
	struct house h, next;
	struct fake *f;

	open_house(&h, EXEC);
	put(&h, "a");
	f = process_of(&h);
	says(f, "one\n");
	dead = h;
	redis_hang_up(dead.redis);
	dies(&h, &next);
	add_runner(&next, "it", EXEC);
	check(runners_adopt(next.runners, &f->c, f->tag));
	workers_recover(next.workers);
	runner_start(the_runner(&next));
	until(&next, redis_is_up(next.redis));
	/* The last piece was not yet let go. */
	says_again(f, "one\n");
	says(f, "two\n");
	ends(f, EXITED_WITH(0));
	check_str(end_of(&next, "a"), "finished one\ntwo");
	check_str(FIELD(&next, "a", "attempts"), "1");
	close_house(&next);
}

/* Its new herod does not reach Redis. */
static void
herod_dies_alone(struct house *h, struct house *next, struct fake *f)
{
	dead = *h;
	redis_hang_up(dead.redis);
	kill(h->server, SIGSTOP);
	dies(h, next);
	add_runner(next, "it", EXEC);
	check(runners_adopt(next->runners, &f->c, f->tag));
	workers_recover(next->workers);
	runner_start(the_runner(next));
}

void
test_a_job_stopped_while_redis_is_away_does_not_begin_again(void)
{
	struct waited w = {0};
	struct house h, next;
	struct fake *f;

	open_house(&h, EXEC);
	put_with(&h, RETRIED_AT_ONCE "}");
	f = process_of(&h);
	herod_dies_alone(&h, &next, f);
	ends(f, EXITED_WITH(3));
	check_int(workers_cancel(next.workers, "a", on_cancelled, &w, NULL), 0);
	spin(&next);
	check(!w.done);
	kill(h.server, SIGCONT);
	check_cancelled(&next, &w);
	close_house(&next);
}

/* Nobody was there to hear of its end, and meanwhile its time is up. */
void
test_a_job_that_ended_in_time_is_no_timeout(void)
{
	struct house h, next;
	struct fake *f;

	open_house(&h, EXEC);
	put_with(&h, "{\"id\":\"a\",\"timeout\":0.01}");
	f = process_of(&h);
	says(f, "in time");
	f->c.status_known = true;
	f->c.status = EXITED_WITH(0);
	dead = h;
	redis_hang_up(dead.redis);
	dies(&h, &next);
	add_runner(&next, "it", EXEC);
	check(runners_adopt(next.runners, &f->c, f->tag));
	until(&next, ev_now(next.loop) > f->c.started_at + 0.05);
	spin(&next);
	workers_recover(next.workers);
	runner_start(the_runner(&next));
	until(&next, redis_is_up(next.redis));
	ends(f, EXITED_WITH(0));
	check_str(end_of(&next, "a"), "finished in time");
	close_house(&next);
}

static const char *
claims_key(void)
{
	char *id = read_file("node.id"), *key;

	id[strcspn(id, "\n")] = '\0';
	key = xasprintf("herod:own:it:%s", id);
	free(id);
	return keep_text(key);
}

void
test_a_claim_that_redis_lost_is_made_anew_for_what_lives(void)
{
	struct house h, next;
	struct fake *f;

	open_house(&h, EXEC);
	put(&h, "a");
	f = process_of(&h);
	ASK(h.loop, h.redis, "DEL %s", claims_key());
	herod_dies_alone(&h, &next, f);
	kill(h.server, SIGCONT);
	until(&next, redis_is_up(next.redis));
	until(&next, *ASK(next.loop, next.redis, "HGET %s a", claims_key()));
	says(f, "A");
	ends(f, EXITED_WITH(0));
	check_str(end_of(&next, "a"), "finished A");
	close_house(&next);
}

void
test_a_job_that_redis_lost_has_a_time_limit(void)
{
	struct house h, next;
	struct fake *f = open_house(&h, STDIO);
	json_t *jobs;

	put(&h, "a");
	until(&h, has_request(f, "a"));
	ASK(h.loop, h.redis, "DEL hero:job:a");
	herod_dies(&h, &next, f);
	put(&next, "b");
	until(&next, has_request(f, "b"));
	jobs = workers_jobs(next.workers, the_runner(&next)->instances[0]);
	check_str(
	    json_string_value(json_object_get(json_array_get(jobs, 0), "id")),
	    "a");
	check(json_number_value(
		  json_object_get(json_array_get(jobs, 0), "left")) > 0);
	json_decref(jobs);
	answers(f, "a", "A");
	check_str(end_of(&next, "a"), "finished A");
	close_house(&next);
}

void
test_claims_of_nobody_go_back_in_order(void)
{
	struct house h, next;
	struct fake *f = open_house(&h, STDIO);

	put(&h, "a");
	put(&h, "b");
	put(&h, "c");
	until(&h, has_request(f, "c"));
	dead = h;
	redis_hang_up(dead.redis);
	dies(&h, &next);
	workers_recover(next.workers);
	until(&next, redis_is_up(next.redis));
	until(&next, !strcmp(LIST(&next), "a b c"));
	check_str(FIELD(&next, "a", "attempts"), "0");
	check_str(FIELD(&next, "a", "deaths"), "");
	close_house(&next);
}

/* ---- what waits for room on the host ---- */

#define STDIO_MAX_LOAD \
	"{\"kind\":\"stdio\",\"command\":[\"w\"],\"concurrency\":4," \
	"\"startsecs\":0,\"stdout_logfile\":\"NONE\",\"max_load\":4}"

static void
load_is(struct house *h, const char *load)
{
	write_file("loadavg", load);
	workers_read_host(h->workers, ".");
}

static const char *
held(struct house *h)
{
	static char why[128];

	return workers_held(h->workers, the_runner(h), why, sizeof(why)) ? why
									 : "";
}

void
test_a_held_job_begins_by_itself_when_the_load_is_down(void)
{
	struct house h;
	struct fake *f = open_house(&h, STDIO_MAX_LOAD);
	const char *b;
	double since;

	load_is(&h, "1.00");
	put(&h, "a");
	until(&h, has_request(f, "a"));
	check_str(LIST(&h), ""); /* nor is a take under way */
	load_is(&h, "9.00");
	b = put_any(&h); /* there is a slot for it */
	check_str(LIST(&h), b);
	check_str(held(&h), "load 9.00 is above max_load 4");
	answers(f, "a", "A");
	check_str(end_of(&h, "a"), "finished A");
	/* It looks each second. */
	since = ev_now(h.loop);
	until(&h, ev_now(h.loop) > since + 2.5);
	check_str(LIST(&h), b);
	load_is(&h, "2.00");
	until(&h, has_request(f, b));
	check_str(held(&h), "");
	close_house(&h);
}

void
test_a_held_job_begins_by_itself_after_redis_was_away(void)
{
	struct house h;
	struct fake *f = open_house(&h, STDIO_MAX_LOAD);

	load_is(&h, "9.00");
	put(&h, "a");
	check_str(LIST(&h), "a");
	server_end(h.server, SIGTERM);
	until(&h, !redis_is_up(h.redis));
	h.server = server_start("");
	until(&h, redis_is_up(h.redis));
	put(&h, "b"); /* by then it was looked at */
	check_str(LIST(&h), "a b");
	load_is(&h, "2.00");
	until(&h, has_request(f, "a"));
	close_house(&h);
}

void
test_a_held_runner_can_be_removed(void)
{
	struct house h;

	open_house(&h, STDIO_MAX_LOAD);
	load_is(&h, "9.00");
	put(&h, "a");
	check_str(LIST(&h), "a");
	put(&h, "b");
	runner_stop(the_runner(&h), false);
	ends(&fakes[0], EXITED_WITH(0));
	runner_remove(the_runner(&h));
	until(&h, the_runner(&h) == NULL);
	check_str(LIST(&h), "a b");
	close_house(&h);
}
