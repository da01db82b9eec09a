/*
 * Pages of other sites in a real browser: whatever they try, herod does
 * nothing for them; its own page works, and so does one that cors_origins
 * allows.  herod would do all that is asked here, for the browser runs as its
 * own user.
 *
 * Chromium is installed by etc/packages clients; without it these tests are
 * skipped, but fail in CI (HEROD_CI is set).
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "herod.h"

CHECK_TIMEOUT(180);

/* ---- a site ---- */

/* Serves files of the test's directory at a port of its own, and keeps what
 * is posted to it in one more, by a process of its own. */
struct site {
	int listener, port;
	pid_t pid;
};

#define CONNS_MAX 32

static void
answer(int fd, const char *type, const char *body)
{
	const char *whole = text("HTTP/1.1 200 OK\r\nContent-Type: %s\r\n"
				 "Content-Length: %zu\r\nConnection: close\r\n"
				 "\r\n%s",
	    type, strlen(body), body);

	if (send(fd, whole, strlen(whole), MSG_NOSIGNAL) == -1)
		exit(1);
}

/* "GET /NAME ..." or "POST /NAME ..."; heads of browsers come at once, and
 * bodies as short as ours with them or right behind. */
static void
serve(int fd)
{
	static char request[65536];
	char name[64], *body;
	ssize_t n = recv(fd, request, sizeof(request) - 1, 0), more;

	if (n <= 0)
		return;
	request[n] = '\0';
	body = strstr(request, "\r\n\r\n");
	if (sscanf(request, "POST /%63[a-z]", name) == 1 && body != NULL) {
		while (body[4] == '\0' &&
		    (more = recv(fd, request + n, sizeof(request) - 1 - n, 0)) >
			0)
			request[n += more] = '\0';
		write_file(here(text("%s.part", name)), body + 4);
		rename(here(text("%s.part", name)), here(name));
		answer(fd, "text/plain", "");
	} else if (sscanf(request, "GET /%63[a-z.]", name) == 1 &&
	    file_exists(here(name))) {
		answer(fd, "text/html", file_text(here(name)));
	} else {
		answer(fd, "text/plain", "");
	}
}

/* Browsers connect before they have something to say. */
static void
serve_all(int listener)
{
	struct pollfd fds[CONNS_MAX] = {{listener, POLLIN, 0}};
	nfds_t n = 1, i;

	for (;;) {
		poll(fds, n, -1);
		for (i = n - 1; i > 0; i--)
			if (fds[i].revents != 0) {
				serve(fds[i].fd);
				close(fds[i].fd);
				fds[i] = fds[--n];
			}
		if (fds[0].revents != 0 && n < CONNS_MAX)
			fds[n++] = (struct pollfd){
			    accept(listener, NULL, NULL), POLLIN, 0};
	}
}

static struct site
site_open(void)
{
	struct sockaddr_in sin = {
	    .sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t len = sizeof(sin);
	struct site s;

	s.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	check(bind(s.listener, (struct sockaddr *)&sin, len) == 0);
	check(listen(s.listener, 64) == 0);
	getsockname(s.listener, (struct sockaddr *)&sin, &len);
	s.port = ntohs(sin.sin_port);
	s.pid = fork();
	if (s.pid == 0)
		serve_all(s.listener);
	close(s.listener);
	return s;
}

static void
site_close(struct site *s)
{
	kill(s->pid, SIGKILL);
	run_end(s->pid);
}

/* ---- a browser ---- */

static void
needs_chromium(void)
{
	if (run("command -v chromium").status == 0)
		return;
	if (getenv("HEROD_CI") != NULL)
		check_fail(__FILE__, __LINE__, "chromium is missing");
	skip("chromium is missing");
}

#define OPTIONS \
	"--headless --no-sandbox --disable-gpu --no-first-run " \
	"--disable-breakpad --disable-crash-reporter " \
	"--disable-background-networking --disable-component-update " \
	"--no-proxy-server --user-data-dir=profile " \
	"--host-resolver-rules='MAP *.test 127.0.0.1, MAP * ~NOTFOUND, " \
	"EXCLUDE 127.0.0.1, EXCLUDE localhost' "

static pid_t
browser_open(const char *url)
{
	return run_begin(
	    "HOME=$PWD exec chromium " OPTIONS "'%s' >chromium.out 2>&1", url);
}

/* Its helpers end by themselves, soon after. */
static void
browser_close(pid_t pid)
{
	kill(pid, SIGTERM);
	run_end(pid);
	wait_for(run("pgrep -f '[-]-user-data-dir=profile' -s 0").status != 0);
}

/* A page of the site as it is after a while. */
static const char *
look_at(const char *url)
{
	struct ran r = run("HOME=$PWD timeout 60 chromium " OPTIONS
			   "--virtual-time-budget=4000 --dump-dom '%s'",
	    url);

	check_int(r.status, 0);
	wait_for(run("pgrep -f '[-]-user-data-dir=profile' -s 0").status != 0);
	return r.out;
}

/* ---- pages ---- */

/* Each try tells what came of it; all of them are told to the page's site. */
static const char page[] =
    "<!DOCTYPE html><body><script>\n"
    "const herod = 'http://HOST:PORT', told = [];\n"
    "const payload = JSON.stringify({jsonrpc: '2.0', id: 1, method: "
    "'add_runner',\n"
    "	params: {runner: {name: 'evil', command: 'sleep 1000'}}});\n"
    "const within = (promise) => Promise.race([promise,\n"
    "	new Promise((ok) => setTimeout(() => ok('silence'), 5000))]);\n"
    "async function attempt(name, promise) {\n"
    "	try { told.push(name + ': ' + await within(promise)); }\n"
    "	catch (error) { told.push(name + ': ' + error.name); }\n"
    "}\n"
    "const ask = (path, options) => fetch(herod + path, options).then(\n"
    "	(answer) => answer.type === 'opaque' ? 'opaque'\n"
    "	    : answer.text().then((text) => answer.status + ' ' + text));\n"
    "const post = (type, mode, path = '/rpc') => ask(path,\n"
    "	{method: 'POST', mode, headers: {'Content-Type': type}, body: "
    "payload});\n"
    "const element = (tag, set) => new Promise((ok) => {\n"
    "	const e = document.createElement(tag);\n"
    "	e.onload = () => ok('LOADED');\n"
    "	e.onerror = () => ok('error');\n"
    "	Object.assign(e, set);\n"
    "	document.body.append(e);\n"
    "});\n"
    "const form = (enctype) => new Promise((ok) => {\n"
    "	const frame = document.createElement('iframe');\n"
    "	frame.name = enctype;\n"
    "	document.body.append(frame);\n"
    "	const f = document.createElement('form'), i = "
    "document.createElement('input');\n"
    "	Object.assign(f, {action: herod + '/rpc', method: 'post', enctype, "
    "target: enctype});\n"
    "	i.name = payload.slice(0, -1) + ',\"x\":\"';\n"
    "	i.value = '\"}';\n"
    "	f.append(i);\n"
    "	document.body.append(f);\n"
    "	frame.onload = () => ok('navigated');\n"
    "	f.submit();\n"
    "});\n"
    "const stream = () => new Promise((ok) => {\n"
    "	const s = new EventSource(herod + '/events?topics=runner');\n"
    "	s.onopen = () => ok('OPEN');\n"
    "	s.onerror = () => ok('error ' + s.readyState);\n"
    "});\n"
    "const socket = () => new Promise((ok) => {\n"
    "	const s = new WebSocket(herod.replace('http', 'ws') + '/rpc');\n"
    "	s.onopen = () => ok('OPEN');\n"
    "	s.onerror = () => ok('error');\n"
    "});\n"
    "async function all() {\n"
    "	TRIES\n"
    "	await fetch('/report', {method: 'POST', body: told.join('\\n') + "
    "'\\n'});\n"
    "}\n"
    "all();\n"
    "</script></body>\n";

/* What a page can send without asking, and what it must ask for. */
static const char attacks[] =
    "await attempt('form', form('application/x-www-form-urlencoded'));\n"
    "await attempt('form-plain', form('text/plain'));\n"
    "await attempt('form-parts', form('multipart/form-data'));\n"
    "await attempt('plain', post('text/plain', 'no-cors'));\n"
    "await attempt('plain-root', post('text/plain', 'no-cors', '/'));\n"
    "await attempt('plain-cors', post('text/plain', 'cors'));\n"
    "await attempt('json', post('application/json', 'cors'));\n"
    "await attempt('beacon', Promise.resolve('' + navigator.sendBeacon(\n"
    "	herod + '/rpc', new Blob([payload], {type: 'text/plain'}))));\n"
    "await attempt('read', ask('/openrpc.json', {}));\n"
    "await attempt('read-blind', ask('/openrpc.json', {mode: 'no-cors'}));\n"
    "await attempt('key', ask('/metrics', {headers: {Authorization: 'Bearer "
    "x'}}));\n"
    "await attempt('events', stream());\n"
    "await attempt('socket', socket());\n"
    "await attempt('image', element('img', {src: herod + '/rpc?' + "
    "encodeURIComponent(payload)}));\n"
    "await attempt('script', element('script', {src: herod + '/page.js'}));\n"
    "await attempt('style', element('link', {rel: 'stylesheet', href: herod + "
    "'/page.css'}));\n";

/* The text with each word replaced. */
static const char *
replaced(const char *whole, const char *word, const char *by)
{
	const char *at = strstr(whole, word);

	check(at != NULL);
	return text(
	    "%.*s%s%s", (int)(at - whole), whole, by, at + strlen(word));
}

static void
write_page(const char *host, int port, const char *tries)
{
	const char *it = replaced(page, "HOST", host);

	it = replaced(it, "PORT", text("%d", port));
	write_file(here("page.html"), replaced(it, "TRIES", tries));
}

/* What came of the tries of a page that is looked at under that name. */
static const char *
report_of(const struct site *s, const char *name)
{
	const char *report;
	pid_t pid;

	unlink(here("report"));
	pid = browser_open(text("http://%s:%d/page.html", name, s->port));
	wait_for(file_exists(here("report")));
	browser_close(pid);
	report = file_text(here("report"));
	printf("%s:\n%s", name, report);
	return report;
}

/* ---- what herod did ---- */

static struct herod *
start(const char *more)
{
	struct herod *h = herod_start(
	    "%s" AT_ONCE "[runner:web]\ncommand = sleep 1000\n", more);

	wait_for(is_state(h, "web", "RUNNING"));
	return h;
}

static bool
has_runner(struct herod *h, const char *name)
{
	return strstr(heroctl(h, "status").out, name) != NULL;
}

/* How often it has answered so. */
static long long
answers(struct herod *h, int status)
{
	const char *all = http(h,
	    "GET /metrics HTTP/1.1\r\nHost: localhost\r\n"
	    "Connection: close\r\n\r\n");
	const char *label = text("answers_total{status=\"%d\"} ", status);
	const char *at = strstr(all, label);

	return at != NULL ? atoll(at + strlen(label)) : 0;
}

static void
check_nothing_done(struct herod *h)
{
	check(!has_runner(h, "evil"));
	check(is_state(h, "web", "RUNNING"));
	check(!file_exists(text("%s/log/audit.log", h->state)) ||
	    *file_text(text("%s/log/audit.log", h->state)) == '\0');
}

static void
check_nothing_told(const char *report)
{
	check(strstr(report, "jsonrpc") == NULL);
	check(strstr(report, "LOADED") == NULL);
	check(strstr(report, "OPEN") == NULL);
	check(strstr(report, "silence") == NULL);
	check_has(report, "\njson: TypeError\n");
	check_has(report, "\nread: TypeError\n");
	check_has(report, "\nkey: TypeError\n");
	check_has(report, "\nevents: error 2\n");
	check_has(report, "\nsocket: error\n");
	check_has(report, "\nscript: error\n");
}

/* ---- promises ---- */

/* Another port is another origin, although it is the same site. */
void
test_pages_of_other_origins_get_nothing_done(void)
{
	static const char *const names[] = {
	    "evil.test", "127.0.0.1", "localhost"};
	struct herod *h;
	struct site s;
	long long refused;
	size_t i;

	needs_chromium();
	h = start("");
	s = site_open();
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		refused = answers(h, 403);
		write_page("127.0.0.1", h->port, attacks);
		check_nothing_told(report_of(&s, names[i]));
		check_nothing_done(h);
		/* They did come to herod. */
		check(answers(h, 403) >= refused + 12);
	}
	site_close(&s);
	herod_stop(h);
}

/* Its name leads to the page first, and to herod then. */
void
test_a_name_that_is_bound_anew_gets_nothing_done(void)
{
	struct herod *h;
	struct site s;

	needs_chromium();
	h = start("");
	s = site_open();
	check_has(look_at(text("http://evil.test:%d/", h->port)),
	    "that Host is not a name of ours");
	write_page("evil.test", h->port, attacks);
	check_nothing_told(report_of(&s, "evil.test"));
	check_nothing_done(h);
	check(answers(h, 421) > 12);
	check_int(answers(h, 200), 1); /* of this question before */
	site_close(&s);
	herod_stop(h);
}

void
test_its_own_page_shows_the_runners(void)
{
	struct herod *h;
	const char *dom;

	needs_chromium();
	h = start("");
	dom = look_at(text("http://127.0.0.1:%d/", h->port));
	check_has(dom, "<td>web</td>");
	check_has(dom, "<td class=\"state good\">RUNNING</td>");
	check_has(dom, "runners are running");
	herod_stop(h);
}

/* It is told what happens, and comes back by itself behind what it knows. */
static const char follower[] =
    "const s = new EventSource(herod + '/events?topics=runner');\n"
    "const back = new Promise((ok) => {\n"
    "	for (const kind of ['snapshot', 'resumed'])\n"
    "		s.addEventListener(kind, () => {\n"
    "			told.push('event: ' + kind);\n"
    "			fetch('/' + kind, {method: 'POST', body: kind});\n"
    "			if (kind === 'resumed')\n"
    "				ok();\n"
    "		});\n"
    "});\n"
    "await attempt('json', post('application/json', 'cors'));\n"
    "await attempt('key', ask('/rpc', {method: 'POST', body: payload, headers: "
    "{'Content-Type': 'application/json', Authorization: 'Bearer x'}}));\n"
    "await back;\n";

void
test_a_page_that_is_allowed_asks_and_follows(void)
{
	const char *report;
	struct herod *h;
	struct site s;
	pid_t pid, old;

	needs_chromium();
	s = site_open();
	h = start(text("[herod]\ncors_origins = http://ops.test:%d\n", s.port));
	write_page("127.0.0.1", h->port, follower);
	pid = browser_open(text("http://ops.test:%d/page.html", s.port));
	wait_for(file_exists(here("snapshot")));
	wait_for(has_runner(h, "evil"));
	old = herod_pid(h);
	rpc(h, "upgrade", NULL);
	wait_for(herod_pid(h) != 0 && herod_pid(h) != old);
	wait_for(file_exists(here("report")));
	browser_close(pid);
	report = file_text(here("report"));
	printf("%s", report);
	check_has(report, "json: 200 {\"jsonrpc\"");
	check_has(report, "key: 401 ");
	check_has(report, "event: snapshot\n");
	check_has(report, "event: resumed\n");
	/* Others still may not. */
	write_page("127.0.0.1", h->port, attacks);
	check_nothing_told(report_of(&s, "evil.test"));
	site_close(&s);
	herod_stop(h);
}
