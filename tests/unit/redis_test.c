/* The connection to Redis, with real servers and with false ones. */
#include <fcntl.h>
#include <sys/stat.h>

#include "private_redis.h"
#include "with_redis.h"

struct seen {
	int ups, downs, bells;
	char key[128];
};

static void
on_up(void *arg)
{
	((struct seen *)arg)->ups++;
}

static void
on_down(void *arg)
{
	((struct seen *)arg)->downs++;
}

static void
on_bell(void *arg, const char *key, size_t len)
{
	struct seen *s = arg;

	s->bells++;
	snprintf(s->key, sizeof(s->key), "%.*s", (int)len, key ? key : "");
}

static const struct redis_ops ops = {on_up, on_down, on_bell, NULL};

struct line {
	struct ev_loop *loop;
	struct redis *r;
	struct seen seen;
};

static void
dial_to(struct line *l, const char *url, double timeout)
{
	struct err e = {0};

	memset(l, 0, sizeof(*l));
	l->loop = ev_loop_new(EVFLAG_AUTO);
	l->r = redis_new(l->loop, url, timeout, &e);
	check_str(e.text, "");
	redis_set_ops(l->r, &ops, &l->seen);
}

static void
dial(struct line *l)
{
	char *url = socket_url();

	dial_to(l, url, 5);
	free(url);
}

static void
hang_up(struct line *l)
{
	redis_free(l->r);
	ev_loop_destroy(l->loop);
}

static bool
is_up(struct line *l)
{
	turn(l->loop);
	return redis_is_up(l->r);
}

void
test_it_comes_up_and_answers(void)
{
	pid_t server = server_start("");
	struct line l;

	dial(&l);
	check(!redis_is_up(l.r));
	wait_for(is_up(&l));
	check_str(redis_why(l.r), "");
	check_str(ASK(l.loop, l.r, "SET a b"), "OK");
	check_str(ASK(l.loop, l.r, "GET a"), "b");
	check(ask(l.loop, l.r, "NONSENSE").is_error);
	check_int(ask(l.loop, l.r, "RPUSH l 1 2 3").number, 3);
	check_str(ASK(l.loop, l.r, "LRANGE l 0 -1"), "1 2 3");
	hang_up(&l);
	server_end(server, SIGTERM);
}

void
test_it_waits_for_a_server_that_comes_late(void)
{
	struct line l;
	pid_t server;

	dial(&l);
	wait_for(turn(l.loop) && strstr(redis_why(l.r), "No such file"));
	server = server_start("");
	wait_for(is_up(&l));
	check_int(l.seen.ups, 1);
	check_int(l.seen.downs, 0);
	hang_up(&l);
	server_end(server, SIGTERM);
}

static int order[1000], norder;

static void
on_ordered(void *arg, const struct redis_reply *reply)
{
	check_int(reply_number(reply), *(int *)arg + 1);
	order[norder++] = *(int *)arg;
}

void
test_a_thousand_commands_are_answered_in_order(void)
{
	pid_t server = server_start("");
	struct redis_words w;
	int numbers[1000], i;
	struct line l;

	dial(&l);
	wait_for(is_up(&l));
	for (i = 0; i < 1000; i++) {
		numbers[i] = i;
		words_begin(&w, "INCR");
		words_add(&w, "n");
		check(redis_send(l.r, &w, on_ordered, &numbers[i]));
	}
	wait_for(turn(l.loop) && norder == 1000);
	for (i = 0; i < 1000; i++)
		check_int(order[i], i);
	hang_up(&l);
	server_end(server, SIGTERM);
}

void
test_a_big_value_goes_there_and_back(void)
{
	size_t len = 20 << 20, got = 0;
	char *big = xmalloc(len);
	pid_t server = server_start("");
	struct answer a = {0};
	struct redis_words w;
	struct line l;

	memset(big, 'x', len);
	big[5] = '\0';
	dial(&l);
	wait_for(is_up(&l));
	words_begin(&w, "ECHO");
	words_add_mem(&w, big, len);
	check(redis_send(l.r, &w, on_answer, &a));
	wait_for(turn(l.loop) && a.done);
	words_begin(&w, "SET");
	words_add(&w, "big");
	words_add_mem(&w, big, len);
	check(redis_send(l.r, &w, NULL, NULL));
	got = (size_t)ask(l.loop, l.r, "STRLEN big").number;
	check_int((long long)got, (long long)len);
	free(big);
	hang_up(&l);
	server_end(server, SIGTERM);
}

static int nnulls;

static void
on_null(void *arg, const struct redis_reply *reply)
{
	struct redis_words w;

	check(!reply);
	nnulls++;
	/* Sending from here is refused, not queued. */
	words_begin(&w, "PING");
	check(!redis_send(arg, &w, on_null, arg));
}

void
test_each_command_lost_is_answered_once_by_null(void)
{
	pid_t server = server_start("");
	struct redis_words w;
	struct line l;
	int i;

	dial(&l);
	wait_for(is_up(&l));
	kill(server, SIGSTOP);
	for (i = 0; i < 100; i++) {
		words_begin(&w, "PING");
		check(redis_send(l.r, &w, on_null, l.r));
		if (i == 50)
			turn(l.loop);
	}
	server_end(server, SIGKILL);
	wait_for(turn(l.loop) && l.seen.downs == 1);
	check_int(nnulls, 100);
	server = server_start("");
	wait_for(is_up(&l));
	check_int(l.seen.ups, 2);
	check(redis_forgot(l.r));
	hang_up(&l);
	server_end(server, SIGTERM);
}

void
test_a_silent_server_is_left_after_the_timeout(void)
{
	pid_t server = server_start("");
	char *url = socket_url();
	struct redis_words w;
	struct line l;

	dial_to(&l, url, 0.3);
	wait_for(is_up(&l));
	kill(server, SIGSTOP);
	words_begin(&w, "PING");
	check(redis_send(l.r, &w, NULL, NULL));
	wait_for(turn(l.loop) && l.seen.downs == 1);
	check_has(redis_why(l.r), "no answer within 0.3s");
	kill(server, SIGCONT);
	wait_for(is_up(&l));
	check(!redis_forgot(l.r));
	free(url);
	hang_up(&l);
	server_end(server, SIGTERM);
}

static void
on_second(struct ev_loop *loop, ev_timer *w, int revents)
{
	(void)w;
	(void)revents;
	ev_break(loop, EVBREAK_ALL);
}

void
test_idle_it_wakes_nobody(void)
{
	pid_t server = server_start("");
	unsigned turns;
	ev_timer timer;
	struct line l;

	dial(&l);
	redis_add_bell(l.r, "a:");
	wait_for(is_up(&l));
	ASK(l.loop, l.r, "PING");
	turns = ev_iteration(l.loop);
	ev_timer_init(&timer, on_second, 1., 0.);
	ev_timer_start(l.loop, &timer);
	ev_run(l.loop, 0);
	check(ev_iteration(l.loop) - turns <= 2);
	hang_up(&l);
	server_end(server, SIGTERM);
}

/* ---- urls ---- */

static void
refused(const char *url, const char *part)
{
	struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
	struct err e = {0};

	check(!redis_new(loop, url, 5, &e));
	check_has(e.text, part);
	check_int(e.code, ERR_PARAMS);
	ev_loop_destroy(loop);
}

void
test_what_is_no_url_is_refused(void)
{
	char longest[200] = "unix:///";

	memset(longest + 8, 'a', 120);
	refused("", "neither redis://");
	refused("localhost", "neither redis://");
	refused("http://localhost", "neither redis://");
	refused("rediss://localhost", "TLS");
	refused("redis://", "no host");
	refused("redis://:6379", "no host");
	refused("redis://localhost:0", "not a port");
	refused("redis://localhost:70000", "not a port");
	refused("redis://localhost:x", "not a port");
	refused("redis://localhost/x", "number of a database");
	refused("redis://localhost/-1", "number of a database");
	refused("unix://relative", "path from the root");
	refused(longest, "121 bytes, at most 107");
}

void
test_a_url_that_lost_its_beginning_shows_no_password(void)
{
	struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
	struct err e = {0};

	check(!redis_new(loop, "edis://me:secret@host", 5, &e));
	check(!strstr(e.text, "secret"));
	ev_loop_destroy(loop);
}

void
test_the_address_shows_no_password(void)
{
	struct line l;

	dial_to(&l, "redis://me:se%20cret@127.0.0.1:6390/2", 5);
	check_str(redis_address(l.r), "redis://127.0.0.1:6390/2");
	hang_up(&l);
	dial_to(&l, "redis://[::1]", 5);
	check_str(redis_address(l.r), "redis://[::1]:6379");
	hang_up(&l);
	dial_to(&l, "redis://localhost", 5);
	check_str(redis_address(l.r), "redis://localhost:6379");
	hang_up(&l);
}

/* ---- servers that will not do ---- */

static void
is_told(const char *part)
{
	struct err e = {0};
	struct line l;

	dial(&l);
	wait_for(turn(l.loop) && strstr(redis_why(l.r), part));
	check_int(redis_refuse(l.r, NULL, &e), -1);
	check_int(e.code, ERR_REDIS);
	check_has(e.text, part);
	check(*e.hint);
	check_int(l.seen.ups, 0);
	hang_up(&l);
}

void
test_a_missing_password_is_told(void)
{
	pid_t server = server_start("--requirepass secret");

	is_told("wants a password");
	server_end(server, SIGTERM);
}

void
test_a_replica_is_told(void)
{
	pid_t server = server_start("--replicaof 127.0.0.1 1");

	is_told("read-only (it is a replica)");
	server_end(server, SIGTERM);
}

/* Says the same to everybody, once something was asked. */
static pid_t
false_server(const char *says)
{
	struct sockaddr_un un = {AF_UNIX, "redis.sock"};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), peer;
	char buf[4096];
	pid_t pid;

	check_int(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
	check_int(listen(fd, 16), 0);
	pid = fork();
	if (pid == 0) {
		signal(SIGPIPE, SIG_IGN);
		while ((peer = accept(fd, NULL, NULL)) != -1) {
			if (read(peer, buf, sizeof(buf)) > 0 &&
			    write(peer, says, strlen(says)) < 0)
				_exit(1);
			while (read(peer, buf, sizeof(buf)) > 0)
				;
			close(peer);
		}
		_exit(0);
	}
	close(fd);
	return pid;
}

void
test_an_old_server_is_told(void)
{
	pid_t server =
	    false_server("+OK\r\n$22\r\nredis_version:6.2.7\r\nx\r\n");

	is_told("version 6.2.7, herod needs 7.0");
	server_end(server, SIGKILL);
}

void
test_a_loading_server_is_told(void)
{
	pid_t server = false_server(
	    "+OK\r\n$39\r\nredis_version:7.0.15\r\nloading:1\r\nrole:m\r\n\r\n");

	is_told("loading its data");
	server_end(server, SIGKILL);
}

void
test_a_server_of_another_kind_is_told(void)
{
	pid_t server = false_server("HTTP/1.1 400 Bad Request\r\n\r\n");

	is_told("not a Redis");
	server_end(server, SIGKILL);
}

void
test_a_server_that_talks_unasked_is_told(void)
{
	pid_t server = false_server(
	    "+OK\r\n$22\r\nredis_version:7.2.7\r\nx\r\n+a\r\n+b\r\n+c\r\n");

	struct line l;

	dial(&l);
	wait_for(turn(l.loop) && strstr(redis_why(l.r), "what nobody asked"));
	hang_up(&l);
	server_end(server, SIGKILL);
}

void
test_a_server_that_says_nothing_is_left(void)
{
	pid_t server = false_server("");
	char *url = socket_url();
	struct line l;

	dial_to(&l, url, 0.2);
	wait_for(turn(l.loop) && strstr(redis_why(l.r), "no answer"));
	free(url);
	hang_up(&l);
	server_end(server, SIGKILL);
}

void
test_a_full_redis_is_still_up(void)
{
	pid_t server = server_start("--maxmemory 1");
	struct redis_words w;
	struct answer a = {0};
	struct line l;

	dial(&l);
	wait_for(is_up(&l));
	words_begin(&w, "SET");
	words_add(&w, "a");
	words_add(&w, "b");
	check(redis_send(l.r, &w, on_answer, &a));
	wait_for(turn(l.loop) && a.done);
	check_has(a.text, "OOM");
	check(redis_is_up(l.r));
	hang_up(&l);
	server_end(server, SIGTERM);
}

/* ---- the bell, the library ---- */

void
test_the_bell_rings_for_others_not_for_us(void)
{
	pid_t server = server_start("");
	struct line l, other;

	dial(&l);
	redis_add_bell(l.r, "q:");
	wait_for(is_up(&l));
	dial(&other);
	wait_for(is_up(&other));
	ASK(l.loop, l.r, "RPUSH q:a 1");
	ASK(other.loop, other.r, "RPUSH p:a 1");
	ASK(other.loop, other.r, "RPUSH q:b 1");
	wait_for(turn(l.loop) && l.seen.bells > 0);
	check_int(l.seen.bells, 1);
	check_str(l.seen.key, "q:b");
	/* One more, while it is up. */
	redis_add_bell(l.r, "p:");
	ASK(l.loop, l.r, "PING");
	ASK(other.loop, other.r, "RPUSH p:a 1");
	wait_for(turn(l.loop) && l.seen.bells == 2);
	check_str(l.seen.key, "p:a");
	ASK(other.loop, other.r, "FLUSHALL");
	wait_for(turn(l.loop) && l.seen.bells == 3);
	check_str(l.seen.key, "");
	hang_up(&other);
	hang_up(&l);
	server_end(server, SIGTERM);
}

#define LIBRARY \
	"#!lua name=tested\n" \
	"redis.register_function('seven', function() return %d end)\n"

void
test_a_library_is_loaded_replaced_and_loaded_again(void)
{
	pid_t server = server_start("");
	char old[200], new[200];
	struct redis_words w;
	struct line l;

	snprintf(old, sizeof(old), LIBRARY, 6);
	snprintf(new, sizeof(new), LIBRARY, 7);
	dial(&l);
	redis_set_library(l.r, "tested", old);
	wait_for(is_up(&l));
	check_int(ask(l.loop, l.r, "FCALL seven 0").number, 6);
	hang_up(&l);
	dial(&l);
	redis_set_library(l.r, "tested", new);
	wait_for(is_up(&l));
	check_int(ask(l.loop, l.r, "FCALL seven 0").number, 7);
	/* Somebody takes it away: it is as a lost connection. */
	ASK(l.loop, l.r, "FUNCTION FLUSH");
	words_begin(&w, "FCALL");
	words_add(&w, "seven");
	words_add(&w, "0");
	nnulls = 0;
	check(redis_send(l.r, &w, on_null, l.r));
	wait_for(turn(l.loop) && l.seen.downs == 1);
	check_int(nnulls, 1);
	wait_for(is_up(&l));
	check_int(ask(l.loop, l.r, "FCALL seven 0").number, 7);
	hang_up(&l);
	server_end(server, SIGTERM);
}

void
test_its_descriptors_are_closed_on_exec(void)
{
	pid_t server = server_start("");
	struct line l;
	struct stat st;
	int fd, n = 0;

	dial(&l);
	redis_add_bell(l.r, "q:");
	wait_for(is_up(&l));
	for (fd = 3; fd < 64; fd++)
		if (fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode)) {
			check(fcntl(fd, F_GETFD) & FD_CLOEXEC);
			n++;
		}
	check(n >= 2);
	hang_up(&l);
	server_end(server, SIGTERM);
}

/* ---- the private one ---- */

static const char *
private_url(const char *state, const char *runtime, struct err *e)
{
	struct daemon_conf d = {0};
	struct runner_conf conf = {0};
	char *url = NULL;

	settings_init(daemon_settings, &d);
	d.state_dir = xstrdup(state);
	d.runtime_dir = xstrdup(runtime);
	if (private_redis_conf(&d, &conf, &url, e) == 0) {
		check_str(conf.command[0], "redis-server");
		check_int(conf.kind, 0);
		check_int(conf.startretries, -1);
	}
	settings_clear(runner_settings, &conf);
	settings_clear(daemon_settings, &d);
	return url ? keep_text(url) : NULL;
}

void
test_the_private_redis_lies_where_its_path_fits(void)
{
	char *deep = xasprintf("%0*d", 100, 0), *dir;
	struct err e = {0};
	struct stat st;

	check_str(private_url(".", "/run/x", &e), "unix://./redis/redis.sock");
	check_int(stat("redis", &st), 0);
	check_int(st.st_mode & 0777, 0700);
	check_int(mkdir(deep, 0700), 0);
	check_str(private_url(deep, "/run/x", &e), "unix:///run/x/redis.sock");
	check(!private_url(deep, deep, &e));
	check_has(e.text, "at most 107 are possible");
	check(*e.hint);
	memset(&e, 0, sizeof(e));
	dir = xasprintf("%s/none", deep);
	check(!private_url(dir, "/run/x", &e));
	check_has(e.text, "No such file");
	free(dir);
	free(deep);
}
