/*
 * Keys: who shows one may do what its scope says, at every door; who shows a
 * wrong one may do nothing.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tls_door.h"

CHECK_TIMEOUT(240);

/* ---- helpers ---- */

static const char *
new_key(struct herod *h, const char *name, const char *scope)
{
	return text_at(rpc(h, "auth.create_key", "{s:s, s:s}", "name", name,
			   "scope", scope),
	    "key");
}

static const char *
keys_file(struct herod *h)
{
	return text("%s/keys.json", h->state);
}

static const char *
call_text(const char *method, const char *params)
{
	return text("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%s\","
		    "\"params\":%s}",
	    method, params);
}

static json_t *
ask(int fd, const char *method, const char *params)
{
	send_text(fd, text("%s\n", call_text(method, params)));
	return recv_json(fd);
}

static json_t *
log_in(int fd, const char *key)
{
	return ask(fd, "auth.login", text("[\"%s\"]", key));
}

/* The head's first line and the rest of the answer to a POST. */
static const char *
post_with(struct herod *h, const char *authorization, const char *body)
{
	return http(h,
	    "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
	    "Content-Type: application/json\r\nAuthorization: %s\r\n"
	    "Content-Length: %zu\r\n\r\n%s",
	    authorization, strlen(body), body);
}

static const char *
post_by(struct herod *h, const char *key, const char *method)
{
	return post_with(h, text("Bearer %s", key), call_text(method, "{}"));
}

#define LIST "list_runners"
#define CODE "error.code"

/* ---- making them ---- */

void
test_a_key_is_shown_once_and_kept_as_its_digest(void)
{
	struct herod *h = herod_start(AT_ONCE);
	const char *key = new_key(h, "ci", "user");
	struct stat st;

	check_has(key, "hero_");
	check_int(strlen(key), 66);
	check(stat(keys_file(h), &st) == 0);
	check_int(st.st_mode & 0777, 0600);
	check(strstr(file_text(keys_file(h)), key + 14) == NULL);
	check(strstr(heroctl(h, "--json key list").out, key + 14) == NULL);
	check_str(text_at(rpc(h, "key.list", NULL), "0.name"), "ci");
	check_str(text_at(rpc(h, "auth.verify", "[s]", key), "scope"), "user");
	check(strstr(herod_log(), key + 14) == NULL);
	herod_stop(h);
}

void
test_keys_outlive_herod(void)
{
	struct herod *h = herod_start(AT_ONCE);
	const char *key = new_key(h, "ci", "user");

	herod_kill9(h);
	check_str(text_at(rpc(h, "auth.verify", "[s]", key), "name"), "ci");
	herod_stop(h);
	herod_again(h);
	check_str(text_at(rpc(h, "auth.verify", "[s]", key), "name"), "ci");
	check(json_is_string(at(rpc(h, "key.list", NULL), "0.last_used")));
	herod_stop(h);
}

void
test_heroctl_shows_a_new_key_alone_and_all_as_a_table(void)
{
	struct herod *h = herod_start(AT_ONCE);
	struct ran r = heroctl(h, "key create ci --scope observe");
	const char *key = text("%.*s", (int)strcspn(r.out, "\n"), r.out);

	check_str(text_at(rpc(h, "auth.verify", "[s]", key), "name"), "ci");
	r = heroctl(h, "key list");
	check_has(r.out, "ci\tobserve\t20");
	check_has(r.out, text("Z\t-\t20"));
	check_int(strcspn(r.out, "\n") + 1, strlen(r.out));
	herod_stop(h);
}

void
test_a_name_is_given_once(void)
{
	struct herod *h = herod_start(AT_ONCE);

	new_key(h, "ci", "user");
	check_int(int_at(rpc_error(h, "auth.create_key", "{s:s}", "name", "ci"),
		      "code"),
	    -32011);
	check_int(int_at(rpc_error(h, "key.remove", "[s]", "nobody"), "code"),
	    -32003);
	herod_stop(h);
}

void
test_a_keys_file_that_others_can_read_is_refused(void)
{
	struct herod *h = herod_start(AT_ONCE);
	struct ran r;

	new_key(h, "ci", "user");
	herod_stop(h);
	check_int(chmod(keys_file(h), 0644), 0);
	r = run("$BUILD/herod -c %s --state_dir %s --listen unix:%s 2>&1",
	    h->conf, h->state, here("other"));
	check(r.status != 0);
	check_has(r.out, "chmod 600");
}

void
test_a_key_whose_end_makes_no_sense_is_none_for_ever(void)
{
	struct herod *h = herod_start(AT_ONCE);
	struct ran r;

	new_key(h, "ci", "user");
	herod_stop(h);
	run("sed -i 's/\"expires_at\": null/\"expires_at\": \"soon\"/' %s",
	    keys_file(h));
	r = run("$BUILD/herod -c %s --state_dir %s --listen unix:%s "
		"--bootstrap-admin-key root 2>&1",
	    h->conf, h->state, here("other"));
	check(r.status != 0);
	check_has(r.out, "the key number 1 makes no sense");
}

void
test_the_first_key_is_made_without_herod(void)
{
	struct herod *h;
	struct ran r = run("$BUILD/herod --state_dir %s --runtime_dir %s "
			   "--bootstrap-admin-key root",
	    here("state"), here("run"));
	const char *key = text("%.*s", (int)strcspn(r.out, "\n"), r.out);

	check_int(r.status, 0);
	h = herod_start(AT_ONCE);
	check_has(post_by(h, key, "stop_all"), " 200 ");
	r = run("$BUILD/herod --state_dir %s --runtime_dir %s "
		"--bootstrap-admin-key more 2>&1",
	    here("state"), here("run"));
	check(r.status != 0);
	check_has(r.out, "heroctl key create more --scope admin");
	check_int((long long)json_array_size(rpc(h, "key.list", NULL)), 1);
	herod_stop(h);
}

/* ---- showing them ---- */

void
test_a_bearer_has_the_scope_of_its_key_and_no_other(void)
{
	struct herod *h = herod_start(AT_ONCE);
	const char *observe = new_key(h, "watcher", "observe");
	const char *answer;

	check_has(post_by(h, observe, LIST), " 200 ");
	check_has(post_by(h, observe, "stop_all"), " 403 ");
	check_has(post_by(h, new_key(h, "boss", "admin"), "stop_all"), " 200 ");
	answer = post_by(h, "hero_x", LIST);
	check_has(answer, " 401 ");
	check_has(answer, "WWW-Authenticate: Bearer");
	check_has(
	    post_with(h, "Basic cm9vdDo=", call_text(LIST, "{}")), " 401 ");
	check_has(http_post(h, call_text("stop_all", "{}")), "result");
	herod_stop(h);
}

void
test_a_page_asks_for_the_scope_of_the_bearer(void)
{
	struct herod *h = herod_start_with("", "--default_scope none", AT_ONCE);
	const char *get =
	    "GET /metrics HTTP/1.1\r\nHost: localhost\r\n"
	    "Connection: close\r\nAuthorization: Bearer %s\r\n\r\n";

	check_has(http(h, get, new_key(h, "watcher", "observe")), " 200 ");
	check_has(http(h, get, "hero_x"), " 401 ");
	herod_stop(h);
}

void
test_a_line_connection_logs_in(void)
{
	struct herod *h = herod_start(AT_ONCE);
	const char *user = new_key(h, "ci", "user");
	int fd = door_tcp(h);

	wait_for_redis(h);
	check(at(ask(fd, "stop_all", "{}"), "result") != NULL);
	check_int(int_at(log_in(fd, "hero_x"), CODE), -32001);
	check(at(ask(fd, "stop_all", "{}"), "result") != NULL);
	check_str(text_at(log_in(fd, user), "result.scope"), "user");
	check_int(int_at(ask(fd, "stop_all", "{}"), CODE), -32002);
	check(at(ask(fd, "jobs.list", "{}"), "result") != NULL);
	log_in(fd, new_key(h, "boss", "admin"));
	check(at(ask(fd, "stop_all", "{}"), "result") != NULL);
	check_has(post_with(h, text("Bearer %s", user),
		      call_text("auth.login", text("[\"%s\"]", user))),
	    "Authorization");
	herod_stop(h);
}

void
test_a_secret_counts_for_its_call(void)
{
	struct herod *h = herod_start(AT_ONCE);
	const char *params =
	    text("{\"secret\":\"%s\"}", new_key(h, "ci", "user"));
	int fd = door_unix(h);

	check(at(ask(fd, LIST, params), "result") != NULL);
	check_int(int_at(ask(fd, "stop_all", params), CODE), -32002);
	check(at(ask(fd, "stop_all", "{}"), "result") != NULL);
	check_int(
	    int_at(ask(fd, LIST, "{\"secret\":\"hero_x\"}"), CODE), -32001);
	check_int(int_at(ask(fd, LIST, "{\"secret\":7}"), CODE), -32602);
	herod_stop(h);
}

void
test_who_has_logged_in_is_so_with_the_next_herod(void)
{
	struct herod *h = herod_start(AT_ONCE);
	int fd = door_unix(h);

	wait_for_redis(h);
	log_in(fd, new_key(h, "ci", "user"));
	herod_keeper_kill9(h);
	wait_for_redis(h);
	check_int(int_at(ask(fd, "stop_all", "{}"), CODE), -32002);
	check(at(ask(fd, "jobs.list", "{}"), "result") != NULL);
	rpc(h, "key.remove", "[s]", "ci");
	wait_for(at_end(fd));
	herod_stop(h);
}

/* ---- losing them ---- */

void
test_a_removed_key_is_none_for_who_is_connected(void)
{
	struct herod *h = herod_start(AT_ONCE);
	const char *key = new_key(h, "ci", "user");
	int fd = door_unix(h), other = door_unix(h);

	log_in(fd, key);
	log_in(other, new_key(h, "other", "user"));
	check_str(heroctl(h, "key remove ci").out, "ci\n");
	check_int(heroctl(h, "key remove ci").status, 4);
	wait_for(at_end(fd));
	check(at(ask(other, LIST, "{}"), "result") != NULL);
	check_has(post_by(h, key, LIST), " 401 ");
	herod_stop(h);
}

void
test_an_expired_key_is_none_for_who_is_connected(void)
{
	struct herod *h = herod_start(AT_ONCE);
	int fd = door_unix(h);
	const char *key = text_at(rpc(h, "auth.create_key", "{s:s, s:f}",
				      "name", "short", "expires", 0.5),
	    "key");

	check_str(text_at(log_in(fd, key), "result.name"), "short");
	wait_for(at_end(fd));
	check_has(post_by(h, key, LIST), "has expired");
	herod_stop(h);
}

void
test_wrong_keys_make_the_asker_wait(void)
{
	struct herod *h = herod_start(AT_ONCE);
	const char *key = new_key(h, "ci", "user"), *early;
	int fd = door_unix(h), i;

	for (i = 0; i < 6; i++) {
		check_int(int_at(log_in(fd, "hero_x"), CODE), -32001);
		if (i < 5) /* which makes up for nothing */
			check(at(log_in(fd, key), "result") != NULL);
	}
	check_int(int_at(log_in(fd, key), CODE), -32042);
	early = post_by(h, key, LIST);
	check_has(early, " 429 ");
	/* Less than a second is left. */
	check_has(early, "\r\nRetry-After: 1\r\n");
	check(at(ask(fd, LIST, "{}"), "result") != NULL);
	wait_for(at(log_in(fd, key), "result") != NULL);
	herod_stop(h);
}

void
test_a_stream_ends_with_the_secret_that_began_it(void)
{
	struct herod *h = herod_start(AT_ONCE);
	const char *key = new_key(h, "ci", "user");
	int fd = door_unix(h);

	check(at(ask(fd, "subscribe",
		     text("{\"secret\":\"%s\",\"topics\":[\"*\"]}", key)),
		  "result") != NULL);
	rpc(h, "key.remove", "[s]", "ci");
	wait_for(at_end(fd));
	herod_stop(h);
}

void
test_a_refused_key_is_not_in_the_log(void)
{
	struct herod *h = herod_start_with("", "-l trace", AT_ONCE);
	const char *key = new_key(h, "ci", "user");
	int fd = door_unix(h);

	ask(fd, "auth.login", text("[[\"%s\"]]", key));
	ask(fd, "auth.login", text("{\"%s\":1}", key));
	ask(fd, "key.remove", text("[\"%s\"]", key));
	ask(fd, key, "{}");
	send_text(fd, text("{\"key\":\"x\" \"%s\"}\n", key));
	check_has(recv_line(fd), "-32700");
	check_has(herod_log(), "refused: parse_error");
	check(strstr(herod_log(), key + 14) == NULL);
	herod_stop(h);
}

void
test_an_expired_key_ends_its_connections_again_when_the_clock_was_set(void)
{
	volatile long long *wall_clock;
	struct herod *h =
	    herod_start_with(with_fake_clock(&wall_clock), "", AT_ONCE);
	const char *key = text_at(rpc(h, "auth.create_key", "{s:s, s:f}",
				      "name", "short", "expires", 3.0),
	    "key");
	int fd = door_unix(h);

	check(at(log_in(fd, key), "result") != NULL);
	*wall_clock = 3600;
	wait_for(at_end(fd));
	*wall_clock = -3;
	fd = door_unix(h);
	check(at(log_in(fd, key), "result") != NULL);
	wait_for(at_end(fd));
	herod_stop(h);
}

/* ---- bearers that leave ---- */

static int
post_begin(struct herod *h, const char *key, size_t len, const char *body)
{
	int fd = door_tcp(h);

	send_text(fd,
	    text("POST / HTTP/1.1\r\nHost: localhost\r\n"
		 "Content-Type: application/json\r\n"
		 "Authorization: Bearer %s\r\nContent-Length: %zu\r\n\r\n%s",
		key, len, body));
	return fd;
}

/* For sanitizers: its call is not answered yet. */
void
test_a_bearer_may_leave_before_it_is_answered(void)
{
	struct herod *h = herod_start_with("", "-l debug",
	    "[runner:slow]\nkind = exec\ncommand = sleep 1000\n" AT_ONCE);
	const char *key = new_key(h, "ci", "user"), *call, *id;
	int before, fd;
	pid_t pid;

	wait_for_redis(h);
	id = json_string_value(
	    rpc(h, "queue_job_to_runner", "[s, {s:s}]", "slow", "payload", ""));
	wait_for(pid_of(h, "slow") > 0); /* its pipes are here */
	call = call_text("job.wait", text("[\"%s\"]", id));
	pid = herod_pid(h);
	post_by(h, "hero_x", LIST); /* loads the library */
	before = count_fds(pid);
	fd = post_begin(h, key, strlen(call), call);
	wait_for(strstr(herod_log(), "key ci: job.wait"));
	close(fd);
	wait_for(herod_pid(h) != pid || count_fds(pid) <= before);
	rpc(h, "job.stop", "[s]", id);
	check_int(herod_pid(h), pid);
	herod_stop(h);
}

/* For sanitizers, which see what is lost. */
void
test_a_bearer_may_leave_before_it_has_asked(void)
{
	struct herod *h = herod_start(AT_ONCE);
	const char *key = new_key(h, "ci", "user");
	int before, fd;

	wait_for_redis(h);
	post_by(h, "hero_x", LIST); /* loads the library */
	before = count_fds(herod_pid(h));
	fd = post_begin(h, key, 10, "[");
	wait_for(json_is_string(at(rpc(h, "key.list", NULL), "0.last_used")));
	close(fd);
	wait_for(count_fds(herod_pid(h)) <= before);
	herod_stop(h);
	check(!strstr(herod_log(), "LeakSanitizer"));
}

/* ---- those of the file ---- */

static void
write_secrets(const char *settings)
{
	write_file(here("secrets.conf"), text("[herod]\n%s", settings));
	check_int(chmod(here("secrets.conf"), 0600), 0);
}

static struct herod *
start_with_secrets(void)
{
	write_secrets(text("admin_secrets = %s\nuser_secrets = %s, %s\n"
			   "register_secrets = %s\n",
	    secret("top"), secret("one"), secret("two"), secret("reg")));
	return herod_start("include = %s\n" AT_ONCE, here("secrets.conf"));
}

void
test_secrets_of_the_file_are_keys(void)
{
	struct herod *h = start_with_secrets();
	char *shown;

	check_str(text_at(rpc(h, "auth.verify", "[s]", secret("two")), "scope"),
	    "user");
	check_str(text_at(rpc(h, "auth.verify", "[s]", secret("reg")), "scope"),
	    "registrar");
	check_has(post_by(h, secret("top"), "stop_all"), " 200 ");
	shown = json_dumps(rpc(h, "get_config", NULL), 0);
	check_has(shown, "admin_secrets");
	check(strstr(shown, secret("top")) == NULL);
	free(shown);
	herod_stop(h);
}

void
test_secrets_change_with_a_reload(void)
{
	struct herod *h = start_with_secrets();

	write_secrets(text("user_secrets = %s\n", secret("three")));
	check_int(heroctl(h, "reload").status, 0);
	check_str(
	    text_at(rpc(h, "auth.verify", "[s]", secret("three")), "scope"),
	    "user");
	check_int(
	    int_at(rpc_error(h, "auth.verify", "[s]", secret("top")), "code"),
	    -32001);
	herod_stop(h);
}

void
test_a_secret_that_is_gone_ends_who_logged_in_by_it(void)
{
	struct herod *h = start_with_secrets();
	int top = door_unix(h), one = door_unix(h), two = door_unix(h);

	log_in(top, secret("top"));
	log_in(one, secret("one"));
	log_in(two, secret("two"));
	write_secrets(text("user_secrets = %s\nregister_secrets = %s\n",
	    secret("one"), secret("two")));
	check_int(heroctl(h, "reload").status, 0);
	wait_for(at_end(top));
	wait_for(at_end(two));
	check(at(ask(one, LIST, "{}"), "result") != NULL);
	herod_stop(h);
}

void
test_secrets_are_taken_from_nowhere_else(void)
{
	struct ran r;

	write_file(here("open.conf"),
	    text("[herod]\nadmin_secrets = %s\n", secret("top")));
	check_int(chmod(here("open.conf"), 0644), 0);
	r = run("$BUILD/herod -c %s --state_dir %s --check 2>&1",
	    here("open.conf"), here("state"));
	check_int(r.status, 2);
	check_has(r.out, "open.conf:2: admin_secrets: others can read");
	r = run("$BUILD/herod --admin_secrets %s --state_dir %s --check 2>&1",
	    secret("top"), here("state"));
	check(strstr(r.out, secret("top")) == NULL);
	check_int(r.status, 2);
	check_has(r.out, "admin_secrets: only in the file");
}

/* ---- doors to the world ---- */

void
test_no_public_address_without_a_key(void)
{
	const char *words = text("--state_dir %s --runtime_dir %s "
				 "--listen tcp:0.0.0.0:3030",
	    here("state"), here("run"));
	struct ran r = run("$BUILD/herod %s --check 2>&1", words);

	check_int(r.status, 2);
	check_has(r.out, "only once there is a key");
	check_has(r.out, "--bootstrap-admin-key");
	r = run("$BUILD/herod %s 2>&1", words);
	check(r.status != 0);
	check_has(r.out, "only once there is a key");
	run("$BUILD/herod %s --bootstrap-admin-key root", words);
	check_int(run("$BUILD/herod %s --check 2>&1", words).status, 0);
}

/* Who listened there goes on, and lets nobody in who shows no key. */
void
test_herod_comes_back_though_the_last_key_is_gone(void)
{
	struct herod *h;

	run("$BUILD/herod --state_dir %s --runtime_dir %s "
	    "--bootstrap-admin-key root",
	    here("state"), here("run"));
	h = herod_start_with("",
	    text("--listen unix:%s,tcp:0.0.0.0:%d", here("run/herod.sock"),
		20000 + (int)getpid() % 20000),
	    AT_ONCE);
	rpc(h, "key.remove", "[s]", "root");
	herod_kill9(h);
	herod_stop(h);
}

/* On one machine: addresses that are none of loopback, on its device. */
static struct ran
run_elsewhere(const char *commands)
{
	return run("unshare -n sh -c 'ip link set lo up && "
		   "ip addr add 10.9.9.9/32 dev lo && "
		   "for n in 1::9 1::1 1::2 2::1; do "
		   "ip addr add fd09:9:9:$n/128 dev lo; done; "
		   "exec sh %s' 2>&1",
	    script("elsewhere",
		text("h='%s --state_dir %s --runtime_dir %s'\n"
		     "key=$($h --bootstrap-admin-key root)\n"
		     "$h --request_timeout 1 "
		     "--listen tcp:10.9.9.9:3030,tcp:[fd09:9:9:1::9]:3030 "
		     "2>herod.log & herod=$!\n"
		     "at=http://10.9.9.9:3030\n"
		     "until curl -s $at/healthz; do sleep 0.05; done\n"
		     "%s\nkill $herod; wait $herod\n",
		    text("%s/herod", getenv("HEROD_BUILD")), here("state"),
		    here("run"), commands)));
}

static void
needs_namespaces(void)
{
	if (run("unshare -n ip link set lo up").status != 0)
		skip("needs network namespaces and iproute2");
}

#define CURL \
	"curl -s -o answer -w '%{http_code}\\n' -H 'Content-Type: " \
	"application/json' -d '{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":" \
	"\"list_runners\"}' $at "

void
test_who_calls_from_elsewhere_needs_a_key(void)
{
	struct ran r;

	needs_namespaces();
	r = run_elsewhere("cd "
			  "$(dirname $0)\n" CURL "\n" CURL
			  "-H \"Authorization: Bearer $key\"\n" CURL
			  "-H 'Authorization: Bearer x'");
	check_has(r.out, "ok\n401\n200\n401\n");
}

/* The sixth is refused unseen, and the right one, too. */
void
test_wrong_keys_from_one_network_of_ipv6_are_counted_together(void)
{
	struct ran r;

	needs_namespaces();
	r = run_elsewhere(
	    "at=http://[fd09:9:9:1::9]:3030; cd $(dirname $0)\n"
	    "as() { " CURL "--interface $1 -H \"Authorization: Bearer $2\"; }\n"
	    "for n in 1 2 1 2 1 2; do as fd09:9:9:1::$n x; done; "
	    "as fd09:9:9:1::1 $key; as fd09:9:9:2::1 $key");
	check_has(r.out, "ok\n401\n401\n401\n401\n401\n401\n429\n200\n");
}

void
test_who_shows_no_key_may_not_be_silent(void)
{
	struct ran r;

	needs_namespaces();
	r = run_elsewhere(
	    "{ echo '{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}'; "
	    "sleep 20; } | timeout 15 socat -t 0 - TCP:10.9.9.9:3030; echo $?");
	check_has(r.out, "\"pong\"}\n0\n");
}

/* ---- heroctl ---- */

void
test_heroctl_shows_its_key_to_herod_alone(void)
{
	struct herod *h = herod_start(AT_ONCE);
	const char *key = new_key(h, "watcher", "observe");
	struct ran r = heroctl(h, "-k %s stop-all --yes", key);
	pid_t follower;

	check_int(r.status, 1);
	check_has(r.err, "key watcher has observe");
	check_int(heroctl(h, "--key=%s list", key).status, 0);
	check_int(run("HEROCTL_KEY=hero_x $BUILD/heroctl -s unix:%s list 2>&1",
		      h->socket)
		      .status,
	    1);
	follower =
	    run_begin("exec $BUILD/heroctl -s unix:%s -qk %s events >events",
		h->socket, key);
	wait_for(strstr(proc_text(follower, "cmdline"), "heroctl") &&
	    run("tr '\\0' ' ' </proc/%d/cmdline | grep -c %s", (int)follower,
		key)
		    .status == 1);
	kill(follower, SIGTERM);
	run_end(follower);
	herod_stop(h);
}

/* ---- every method, every scope, every door ---- */

static const char *const scopes[] = {
    "none", "observe", "user", "registrar", "admin"};

static int
rank(const char *scope)
{
	int i;

	for (i = 0; i < 5; i++)
		if (!strcmp(scopes[i], scope))
			return i;
	check_fail(__FILE__, __LINE__, "scope %s", scope);
	return -1;
}

/* One that every method refuses, once it has let the asker in. */
#define NO_PARAM "\"no_such_parameter\":1"

static long long
code_of(json_t *answer)
{
	return json_integer_value(at(answer, CODE));
}

static void
check_code(
    const char *door, const char *method, int has, int wants, long long code)
{
	long long wanted = has >= wants ? -32602 : has ? -32002 : -32001;

	if (code != wanted)
		check_fail(__FILE__, __LINE__, "%s, %s as %s: %lld, not %lld",
		    door, method, scopes[has], code, wanted);
}

static long long
code_by_http(struct herod *h, const char *key, const char *call)
{
	const char *answer = post_with(h, text("Bearer %s", key), call);
	const char *body = strstr(answer, "\r\n\r\n");
	json_t *json = body ? json_loads(body + 4, 0, NULL) : NULL;
	long long code = code_of(json);

	check(json != NULL);
	json_decref(json);
	return code;
}

static void
walk(struct herod *h, json_t *methods, int has, const char *key)
{
	const char *params = "{" NO_PARAM "}", *name;
	int lines = door_unix(h), tcp = door_tcp(h), plain = door_unix(h);
	int tls = door_tls(h), shown = door_tls_as(h, "client");
	int wants;
	json_t *method;
	size_t i;

	log_in(lines, key);
	log_in(tcp, key);
	log_in(tls, key);
	json_array_foreach (methods, i, method) {
		name = text_at(method, "name");
		wants = rank(text_at(method, "x-scope"));
		check_code("unix", name, has, wants,
		    code_of(ask(lines, name, params)));
		check_code(
		    "tcp", name, has, wants, code_of(ask(tcp, name, params)));
		check_code(
		    "tls", name, has, wants, code_of(ask(tls, name, params)));
		check_code("certificate", name, has, wants,
		    code_of(ask(shown, name, params)));
		check_code("http", name, has, wants,
		    code_by_http(h, key, call_text(name, params)));
		check_code("secret", name, has, wants,
		    code_of(ask(plain, name,
			text("{\"secret\":\"%s\"," NO_PARAM "}", key))));
	}
}

void
test_every_method_asks_every_scope_at_every_door(void)
{
	struct herod *h;
	json_t *methods;
	int has;

	make_certificates();
	h = herod_start(AT_ONCE "[herod]\n" TLS_CONF, TLS_FILES);
	methods = at(rpc(h, "rpc.discover", NULL), "methods");
	check(json_array_size(methods) > 50);
	for (has = 1; has < 5; has++) {
		rpc(h, "auth.create_key", "[s, s, i, s]", "certificate",
		    scopes[has], 0, "CN=ci,O=Example");
		walk(h, methods, has, new_key(h, scopes[has], scopes[has]));
		rpc(h, "key.remove", "[s]", "certificate");
	}
	herod_stop(h);
}

/* ---- the audit log ---- */

static const char *
audit_file(struct herod *h)
{
	return text("%s/log/audit.log", h->state);
}

/* How many lines have all of these, at most three. */
static int
audited(struct herod *h, const char *a, const char *b, const char *c)
{
	return atoi(run("grep -F -e '%s' %s | grep -F -e '%s' | grep -cF '%s'",
	    a, audit_file(h), b, c)
			.out);
}

void
test_who_changed_what_and_how_it_went_is_told(void)
{
	struct herod *h =
	    herod_start(AT_ONCE "[runner:web]\ncommand = sleep 1000\n");
	const char *key = new_key(h, "ci", "user");
	json_t *line;

	rpc(h, "stop_runner", "[s]", "web");
	post_by(h, key, "stop_all");
	rpc_error(h, "start_runner", "[s]", "nobody");
	post_with(h, text("Bearer %s", key),
	    call_text("queue_job_to_runner",
		"{\"runner\":\"web\",\"job\":{\"payload\":\"hush\"}}"));
	check_int(audited(h, "stop_runner", "\"web\"", "\"ok\""), 1);
	check_int(audited(h, "stop_all", "key ci", "\"forbidden\""), 1);
	check_int(
	    audited(h, "start_runner", "\"nobody\"", "\"no_such_runner\""), 1);
	check_int(audited(h, "queue_job", "\"web\"", "\"result\":\""), 1);
	check_int(audited(h, "auth.create_key", "\"ci\"", "\"ok\""), 1);
	check_int(audited(h, "list_runners", "", ""), 0);
	check(strstr(file_text(audit_file(h)), "hush") == NULL);
	check(strstr(file_text(audit_file(h)), key + 14) == NULL);
	line = json_loads(run("head -n 1 %s", audit_file(h)).out, 0, NULL);
	check_has(text_at(line, "who"), text("unix uid %d", (int)getuid()));
	json_decref(line);
	herod_stop(h);
}

void
test_who_did_not_wait_is_told_to_have_left(void)
{
	struct herod *h = herod_start(AT_ONCE
	    "[runner:deaf]\nstopwaitsecs = 1000\ncommand = %s\n",
	    script("deaf",
		text(
		    "trap '' TERM; : >%s; until [ -e %s ]; do sleep 0.02; done",
		    here("trapped"), here("go"))));
	int call;

	wait_for_redis(h); /* then nothing else wakes herod */
	wait_for(file_exists(here("trapped")));
	call = rpc_begin(h, "stop_runner", "[s]", "deaf");
	wait_for(is_state(h, "deaf", "STOPPING"));
	close(call);
	wait_for(audited(h, "stop_runner", "\"deaf\"", "\"left\"") == 1);
	write_file(here("go"), "");
	herod_stop(h);
}

void
test_what_is_audited_is_a_setting(void)
{
	struct herod *h = herod_start_with("", "--audit admin", AT_ONCE);

	rpc(h, "schedules.list", NULL);
	rpc_error(h, "job.stop", "[s]", "one");
	rpc(h, "start_all", NULL);
	check_int(audited(h, "start_all", "", ""), 1);
	check_int(audited(h, "job.stop", "", ""), 0);
	herod_stop(h);
	h = herod_start_with("", "--audit none", AT_ONCE);
	rpc(h, "start_all", NULL);
	check_int(audited(h, "start_all", "", ""), 1);
	herod_stop(h);
}

void
test_an_audit_log_that_was_moved_begins_anew(void)
{
	struct herod *h = herod_start(AT_ONCE);

	rpc(h, "start_all", NULL);
	run("mv %s %s", audit_file(h), here("moved"));
	kill(herod_pid(h), SIGUSR2);
	wait_for(rpc(h, "start_all", NULL) && file_exists(audit_file(h)));
	check_int(audited(h, "start_all", "", "") > 0, 1);
	herod_stop(h);
}
