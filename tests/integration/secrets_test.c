/*
 * What herod is told in confidence is told to nobody: keys of all kinds, by all
 * doors, right and wrong ones, passwords, environments and payloads, at the
 * level of the log that says most, over crashes and an upgrade.
 *
 * The look for them is the harness's (tests/secrets.c), after every test.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "herod.h"
#include "secrets.h"

CHECK_TIMEOUT(180);

static struct herod *
begin(void)
{
	const char *conf = text("[herod]\nadmin_secrets = %s\n"
				"user_secrets = %s\n" AT_ONCE
				"[runner:web]\ncommand = sleep 1000\n"
				"environment = PASSWORD=\"%s\"\n"
				"[runner:up]\nkind = exec\n"
				"command = sh -c 'cat >/dev/null'\n",
	    secret("admin"), secret("user"), secret("password"));
	struct herod *h;

	write_file(here("secret.conf"), conf);
	chmod(here("secret.conf"), 0600);
	setenv("HERO_LOG", "trace", 1);
	h = herod_start("include = %s\n", here("secret.conf"));
	wait_for_redis(h);
	return h;
}

static void
post(struct herod *h, const char *head, const char *body)
{
	int fd = door_tcp(h);
	const char *said;

	send_text(fd,
	    text("POST / HTTP/1.1\r\nHost: localhost\r\n%s"
		 "Content-Type: application/json\r\nContent-Length: %d\r\n"
		 "Connection: close\r\n\r\n%s",
		head, (int)strlen(body), body));
	said = recv_all(fd);
	check(!has_secret(said, strlen(said)));
	close(fd);
}

/* By every door, a right and a wrong one. */
static void
show_key(struct herod *h, const char *key)
{
	const char *call = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}";
	const char *bearer = text("Authorization: Bearer %s\r\n", key);
	int fd = door_tcp(h);

	post(h, bearer, call);
	post(h, bearer, "{");
	post(h, text("Cookie: %s\r\nAuthorization: Basic %s\r\n", key, key),
	    call);
	send_text(fd,
	    text("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"auth.login\","
		 "\"params\":[\"%s\"]}\n",
		key));
	recv_line(fd);
	send_text(fd,
	    text("{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"ping\","
		 "\"params\":{\"secret\":\"%s\"}}\n",
		key));
	recv_line(fd);
	close(fd);
	heroctl(h, "-k %s ping", key);
	heroctl(h, "-k %s stop no-such", key);
}

/* Whatever is wrong with what they stand in. */
static void
show_wrongly(struct herod *h, const char *key)
{
	int fd = door_unix(h);

	send_text(fd, text("{\"secret\":\"%s\"}\n", key));
	check(!strstr(recv_line(fd), key));
	send_text(fd, text("{\"method\":\"ping\",\"secret\":\"%s\"\n", key));
	check(!strstr(recv_line(fd), key));
	send_text(fd,
	    text("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"auth.login\","
		 "\"params\":{\"kex\":\"%s\"}}\n",
		key));
	check(!strstr(recv_line(fd), key));
	send_text(fd,
	    text("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"auth.login\","
		 "\"params\":[[\"%s\"]]}\n",
		key));
	check(!strstr(recv_line(fd), key));
	close(fd);
}

static void
use_all(struct herod *h)
{
	const char *key = text_at(rpc(h, "auth.create_key", "{s:s, s:s}",
				      "name", "ci", "scope", "admin"),
	    "key");

	check(has_secret(key, strlen(key)));
	show_key(h, key);
	show_key(h, secret("admin"));
	show_key(h, secret("wrong"));
	show_wrongly(h, key);
	check_int(heroctl(h, "run up %s", secret("payload")).status, 0);
	check_int(heroctl(h, "key remove ci").status, 0);
}

static void
check_shows_none(json_t *shown)
{
	char *said = json_dumps(shown, 0);

	check(!strstr(said, secret("admin")) && !strstr(said, secret("user")));
	free(said);
}

void
test_no_secret_is_told_to_anybody(void)
{
	struct herod *h = begin();

	rpc(h, "start_all", NULL);
	use_all(h);
	herod_kill9(h);
	wait_for_redis(h);
	use_all(h);
	check_int(heroctl(h, "upgrade").status, 0);
	use_all(h);
	kill(h->keeper, SIGHUP);
	check_shows_none(rpc(h, "get_config", NULL));
	check_shows_none(rpc(h, "key.list", NULL));
	herod_stop(h);
	check(!has_secret(herod_log(), strlen(herod_log())));
}

static rlim_t
core_limit(pid_t pid)
{
	struct rlimit limit;

	check_int(prlimit(pid, RLIMIT_CORE, NULL, &limit), 0);
	return limit.rlim_cur;
}

void
test_no_core_is_left(void)
{
	struct herod *h = herod_start_with("ulimit -c 4000;", "",
	    AT_ONCE "[runner:web]\ncommand = sleep 1000\n");
	pid_t daemon = herod_pid(h);
	rlim_t given;

	wait_for_redis(h);
	rpc(h, "start_runner", "[s]", "web");
	check_int(core_limit(daemon), 1);
	check_int(core_limit(pid_of(h, "herod-redis")), 0);
	given = core_limit(pid_of(h, "web"));
	check(given != 1);
	herod_keeper_kill9(h);
	rpc(h, "restart_runner", "[s]", "web");
	check_int(core_limit(pid_of(h, "web")), given);
	daemon = herod_pid(h);
	kill(daemon, SIGABRT);
	wait_for(herod_pid(h) != 0 && herod_pid(h) != daemon);
	wait_for(heroctl(h, "ping").status == 0);
	check_has(run("ls core* 2>&1").out, "No such file");
	herod_stop(h);
}

void
test_the_harness_finds_what_is_left(void)
{
	const char *key = secret("found");

	mkdir(here("state"), 0700);
	check_int(secrets_left(here("")), 0);
	write_file(here("state/x.log"), text("it is %s.\n", key));
	check_int(secrets_left(here("")), 1);
	write_file(here("state/x.log"), text("it is %.30s...\n", key));
	check_int(secrets_left(here("")), 1);
	write_file(here("state/x.log"), "hero_job_runner is none\n");
	write_file(here("h.conf"), key);
	check_int(secrets_left(here("")), 0);
}
