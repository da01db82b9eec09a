/* Health probes, with real processes. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "herod.h"

/* Answers HTTP: the status is the word in the file "status" (200 without
 * it), or nothing at all when that is "hang".  The port is in "port". */
static const char server[] =
    "import http.server, os, select, sys\n"
    "class H(http.server.BaseHTTPRequestHandler):\n"
    "    def do_GET(self):\n"
    "        try:\n"
    "            status = open('status').read().strip()\n"
    "        except FileNotFoundError:\n"
    "            status = '200'\n"
    "        if status == 'hang':\n"
    "            select.select([], [], [], 1000)\n"
    "        self.send_response(int(status))\n"
    "        self.end_headers()\n"
    "    def log_message(self, *words):\n"
    "        pass\n"
    "if os.path.exists('port'):\n"
    "    port = int(open('port').read())\n"
    "else:\n"
    "    port = 0\n"
    "s = http.server.ThreadingHTTPServer(('127.0.0.1', port), H)\n"
    "s.daemon_threads = True\n"
    "open('port.new', 'w').write(str(s.server_address[1]))\n"
    "os.rename('port.new', 'port')\n"
    "s.serve_forever()\n";

/* A port that the server may have: one that the kernel had free. */
static int
free_port(void)
{
	struct ran ran =
	    run("python3 -c 'import socket; s = socket.socket(); "
		"s.bind((\"127.0.0.1\", 0)); print(s.getsockname()[1])'");

	return atoi(ran.out);
}

static int
prepare_server(void)
{
	int port = free_port();

	write_file("server.py", server);
	write_file("port", text("%d", port));
	return port;
}

static bool
is_health(struct herod *h, const char *runner, const char *status)
{
	json_t *st = status_of(h, runner);

	return at(st, "health.status") &&
	    strcmp(text_at(st, "health.status"), status) == 0;
}

void
test_http_health_is_told_and_acted_upon(void)
{
	int port = prepare_server();
	struct herod *h =
	    herod_start("[defaults]\ndirectory = %s\nready = probe\n"
			"command = python3 server.py\nhealth_interval = 0.1\n"
			"health_timeout = 60\n"
			"[runner:web]\nhealth = http://127.0.0.1:%d/x\n"
			"health_retries = 2\n",
		here("."), port);
	pid_t pid;

	wait_for(is_state(h, "web", "RUNNING"));
	check(is_health(h, "web", "healthy"));
	check_has(text_at(status_of(h, "web"), "health.output"), "200");
	pid = pid_of(h, "web");
	write_file("status", "302");
	wait_for(strstr(text_at(status_of(h, "web"), "health.output"), "302"));
	check_int(pid_of(h, "web"), pid);
	write_file("status", "503");
	wait_for(int_at(status_of(h, "web"), "restarts") > 0);
	check_has(herod_log(),
	    "unhealthy, 2 probes in a row failed: exit 1: "
	    "HTTP/1.0 503 Service Unavailable");
	write_file("status", "200");
	wait_for(is_state(h, "web", "RUNNING"));
	check(is_health(h, "web", "healthy"));
	herod_stop(h);
}

void
test_tcp_readiness_goes_on_after_kill_9(void)
{
	int port = prepare_server();
	struct herod *h = herod_start(
	    "[runner:web]\ndirectory = %s\nready = probe\ncommand = %s\n"
	    "health = tcp:127.0.0.1:%d\nhealth_interval = 0.1\n"
	    "health_timeout = 60\n",
	    here("."),
	    script("late",
		text("while [ ! -e %s ]; do sleep 0.02; done\n"
		     "exec python3 server.py",
		    here("go"))),
	    port);
	pid_t pid;

	wait_for((pid = pid_of(h, "web")) != 0);
	herod_kill9(h);
	check(is_state(h, "web", "STARTING"));
	write_file("go", "");
	wait_for(is_state(h, "web", "RUNNING"));
	herod_kill9(h);
	check(is_state(h, "web", "RUNNING"));
	wait_for(is_health(h, "web", "healthy"));
	check_int(pid_of(h, "web"), pid);
	herod_stop(h);
}

/* Pitfall 39: probes hang and fork, and are killed with all they are. */
void
test_a_probe_that_hangs_is_killed_with_its_children(void)
{
	struct herod *h = herod_start(AT_ONCE
	    "[runner:web]\ncommand = sleep 1000\nhealth = exec:%s\n"
	    "health_interval = 0.05\nhealth_timeout = 1\n"
	    "health_retries = 1\nhealth_action = tell\n",
	    script("probe",
		text("trap '' TERM\necho looking\nsleep 1000 &\n"
		     "echo $! >>%s\nwait",
		    here("children"))));
	int k, n;

	wait_for(is_health(h, "web", "unhealthy"));
	wait_for(strstr(text_at(status_of(h, "web"), "health.output"),
	    "no answer within 1s: looking"));
	check_has(text_at(status_of(h, "web"), "why"), "unhealthy: no answer");
	check(is_state(h, "web", "RUNNING"));
	wait_for(count_lines(here("children")) >= 3);
	n = count_lines(here("children"));
	for (k = 1; k < n; k++)
		check(!is_alive(
		    atoi(run("sed -n %dp %s", k, here("children")).out)));
	herod_stop(h);
}

/* Pitfall 39: and they leave nothing behind when herod is killed. */
void
test_a_probe_does_not_outlive_herod(void)
{
	struct herod *h = herod_start(AT_ONCE
	    "[runner:web]\ncommand = sleep 1000\nhealth = exec:%s\n"
	    "health_interval = 0.05\nhealth_timeout = 1000\n",
	    script("probe",
		text("echo $$ >>%s\nexec sleep 1000", here("probes"))));
	pid_t first;

	wait_for(count_lines(here("probes")) == 1);
	first = pid_in(here("probes"));
	check(is_alive(first));
	herod_kill9(h);
	wait_for(count_lines(here("probes")) == 2);
	wait_for(!is_alive(first));
	herod_stop(h);
}

void
test_looks_say_what_they_found(void)
{
	int port = prepare_server();
	struct herod *h = herod_start(AT_ONCE
	    "[runner:web]\ndirectory = %s\ncommand = python3 server.py\n"
	    "ready = probe\nhealth = tcp:localhost:%d\n",
	    here("."), port);
	struct ran ran;

	wait_for(is_state(h, "web", "RUNNING"));
	ran = run("$BUILD/herod --probe http://localhost:%d/", port);
	check_int(ran.status, 0);
	check_has(ran.out, "HTTP/1.0 200 OK");
	write_file("status", "404");
	ran = run("$BUILD/herod --probe http://127.0.0.1:%d", port);
	check_int(ran.status, 1);
	check_has(ran.out, "HTTP/1.0 404 Not Found");
	check_int(run("$BUILD/herod --probe tcp:127.0.0.1:%d", port).status, 0);
	herod_stop(h);
	ran = run("$BUILD/herod --probe tcp:127.0.0.1:%d", port);
	check_int(ran.status, 1);
	check_has(ran.out, "Connection refused");
	check_int(run("$BUILD/herod --probe exec:true").status, 2);
}

void
test_settings_that_do_not_fit_are_refused(void)
{
	struct ran ran;

	write_file("bad.conf",
	    "[runner:a]\ncommand = x\nready = probe\n"
	    "[runner:b]\nkind = exec\ncommand = x\nhealth = tcp:h:1\n"
	    "[runner:c]\ncommand = x\nhealth = https://h/\n"
	    "[runner:d]\ncommand = x\nhealth = h:80\n");
	ran = run("$BUILD/herod --check -c %s", here("bad.conf"));
	check_int(ran.status, 2);
	check_has(ran.err, "runner a: ready is probe, and there is no health");
	check_has(ran.err, "runner b: health is for kind service or stdio");
	check_has(ran.err, "health: https is not spoken");
	check_has(ran.err, "health: 'h:80' is not exec:COMMAND");
}
