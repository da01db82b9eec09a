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
	"--no-proxy-server --remote-debugging-port=0 " \
	"--host-resolver-rules='MAP *.test 127.0.0.1, MAP * ~NOTFOUND, " \
	"EXCLUDE 127.0.0.1, EXCLUDE localhost' " \
	"--user-data-dir=$PWD/profile "

static pid_t
browser_open(const char *url)
{
	return run_begin(
	    "HOME=$PWD exec chromium " OPTIONS "'%s' >chromium.out 2>&1", url);
}

/* Its helpers, orphans then, end by themselves soon after. */
static void
browser_is_gone(void)
{
	wait_for(run("pgrep -r R,S,D -P $PPID chrom").status != 0);
}

static void
browser_close(pid_t pid)
{
	kill(pid, SIGTERM);
	run_end(pid);
	browser_is_gone();
}

/* ---- a word in its ear ---- */

/* The Chrome DevTools Protocol: JSON in frames of RFC 6455.  What is evaluated
 * is of the page's own origin, whatever its Content-Security-Policy. */

static int
connect_to(int port)
{
	struct sockaddr_in sin = {.sin_family = AF_INET,
	    .sin_port = htons((uint16_t)port),
	    .sin_addr = {htonl(INADDR_LOOPBACK)}};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	check(connect(fd, (struct sockaddr *)&sin, sizeof(sin)) == 0);
	return fd;
}

/* Path of the page that is open; NULL while there is none. */
static const char *
page_path(int port, const char *url)
{
	struct ran r = run("curl -s http://127.0.0.1:%d/json/list", port);
	json_t *all = r.status == 0 ? json_of(r.out) : NULL, *one;
	size_t i;

	json_array_foreach (all, i, one)
		if (strcmp(text_at(one, "type"), "page") == 0 &&
		    strcmp(text_at(one, "url"), url) == 0)
			return strstr(
			    text_at(one, "webSocketDebuggerUrl"), "/devtools");
	return NULL;
}

static int
ear_of(const char *url)
{
	const char *file = here("profile/DevToolsActivePort"), *path, *line;
	int port, fd;

	wait_for(file_exists(file) && count_lines(file) > 0);
	port = atoi(file_text(file));
	wait_for((path = page_path(port, url)) != NULL);
	fd = connect_to(port);
	send_text(fd,
	    text("GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n"
		 "Upgrade: websocket\r\nConnection: Upgrade\r\n"
		 "Sec-WebSocket-Version: 13\r\n"
		 "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
		path, port));
	check_has(recv_line(fd), " 101 ");
	while (line = recv_line(fd), strcmp(line, "\r") != 0)
		;
	return fd;
}

/* One text, masked by zeroes. */
static void
send_frame(int fd, const char *text)
{
	size_t len = strlen(text);
	unsigned char head[8] = {
	    0x81, 0x80 | 126, (unsigned char)(len >> 8), (unsigned char)len};

	check(len >= 126 && len < 65536);
	send_bytes(fd, head, sizeof(head));
	send_bytes(fd, text, len);
}

static void
recv_exactly(int fd, void *buf, size_t len)
{
	check(recv(fd, buf, len, MSG_WAITALL) == (ssize_t)len);
}

static json_t *
recv_frame(int fd)
{
	unsigned char head[2], more[8];
	size_t len, n, i;
	const char *kept;
	char *buf;

	recv_exactly(fd, head, 2);
	len = head[1];
	n = len == 126 ? 2 : len == 127 ? 8 : 0;
	recv_exactly(fd, more, n);
	for (i = 0; i < n; i++)
		len = (i == 0 ? 0 : len << 8) | more[i];
	buf = calloc(1, len + 1);
	check(buf != NULL);
	recv_exactly(fd, buf, len);
	kept = text("%s", buf);
	free(buf);
	return json_of(kept);
}

/* The text that an expression, or its promise, gives on the page; "" before
 * that is there. */
static const char *
evaluate(int fd, const char *expression)
{
	json_t *call = json_pack("{s:i, s:s, s:{s:s, s:b, s:b}}", "id", 1,
	    "method", "Runtime.evaluate", "params", "expression", expression,
	    "awaitPromise", 1, "returnByValue", 1);
	char *whole = json_dumps(call, 0);
	json_t *answer;

	send_frame(fd, whole);
	free(whole);
	json_decref(call);
	do
		answer = recv_frame(fd);
	while (at(answer, "id") == NULL);
	return at(answer, "error") ? ""
				   : text_at(answer, "result.result.value");
}

/* The page, when it has that on it. */
static const char *
look_for(int fd, const char *part)
{
	const char *page;

	wait_for(
	    (page = evaluate(fd, "document.documentElement?.outerHTML ?? ''"),
		strstr(page, part) != NULL));
	return page;
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
	const char *url;
	struct herod *h;
	struct site s;
	pid_t pid;
	int ear;

	needs_chromium();
	h = start("");
	s = site_open();
	url = text("http://evil.test:%d/", h->port);
	pid = browser_open(url);
	ear = ear_of(url);
	look_for(ear, "that Host is not a name of ours");
	close(ear);
	browser_close(pid);
	write_page("evil.test", h->port, attacks);
	check_nothing_told(report_of(&s, "evil.test"));
	check_nothing_done(h);
	check(answers(h, 421) > 12);
	check_int(answers(h, 200), 1); /* of this question before */
	site_close(&s);
	herod_stop(h);
}

#define FIRST_EVENT \
	"new Promise((ok) => {" \
	"	const s = new EventSource('/events?topics=runner');" \
	"	s.addEventListener('snapshot', (event) => {" \
	"		s.close();" \
	"		ok(event.data);" \
	"	});" \
	"	s.onerror = () => ok('error');" \
	"})"

void
test_its_own_page_shows_the_runners_and_what_happens(void)
{
	const char *url, *shown;
	struct herod *h;
	pid_t pid;
	int ear;

	needs_chromium();
	h = start("");
	url = text("http://127.0.0.1:%d/", h->port);
	pid = browser_open(url);
	ear = ear_of(url);
	shown = look_for(ear, "state good\">RUNNING</td>");
	check_has(shown, "<td>web</td>");
	check_has(shown, "runners are running");
	check_has(evaluate(ear, FIRST_EVENT), "\"name\":\"web\"");
	look_for(ear, "<body class=\"live\">");
	rpc(h, "stop_runner", "{s:s}", "name", "web");
	look_for(ear, ">STOPPED</td>");
	close(ear);
	browser_close(pid);
	herod_stop(h);
}

void
test_its_own_page_comes_back_after_a_refusal(void)
{
	const char *url;
	struct herod *h;
	pid_t pid;
	int ear;

	needs_chromium();
	h = start("");
	url = text("http://127.0.0.1:%d/", h->port);
	pid = browser_open(url);
	ear = ear_of(url);
	look_for(ear, "<body class=\"live\">");
	/* As it is after an answer such as 503. */
	evaluate(ear,
	    "(events.close(), events.dispatchEvent(new Event('error')), "
	    "document.body.className)");
	look_for(ear, "<body class=\"live\">");
	close(ear);
	browser_close(pid);
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
