/* Calls between herods that share a Redis. */
#define LOG_MODULE "rpc"
#include "rpc_node.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "jsonrpc.h"
#include "log.h"
#include "mem.h"
#include "rpc.h"
#include "turns.h"
#include "worker.h"

#define ANSWER_SECONDS 5.0
#define VISITS_MAX 64 /* calls of others at once */
#define TICKET_SIZE 80 /* ID.NUMBER */

/* Something asked of another one. */
struct ask {
	TAILQ_ENTRY(ask) next;
	struct peers *all;
	char ticket[TICKET_SIZE];
	char *node; /* its name */
	ev_timer timer;
	/* Gets its answer, a response object, or NULL when there is none. */
	void (*fn)(void *arg, const char *node, const json_t *answer);
	void *arg;
};

/* Something that another one, or we ourselves, ask of us. */
struct visit {
	TAILQ_ENTRY(visit) next;
	struct peers *all;
	struct rpc_door door;
	struct peer peer;
	char *from; /* its id; NULL: ours */
	char ticket[TICKET_SIZE];
	bool taking, answered;
};

struct peers {
	struct services *services;
	TAILQ_HEAD(, ask) asks;
	TAILQ_HEAD(, visit) visits;
	size_t nvisits;
	unsigned long long asked;
};

/* ---- answers to what we asked ---- */

static void
ask_end(struct ask *a, const json_t *answer)
{
	struct peers *p = a->all;

	TAILQ_REMOVE(&p->asks, a, next);
	ev_timer_stop(p->services->loop, &a->timer);
	a->fn(a->arg, a->node, answer);
	free(a->node);
	free(a);
}

static void
on_no_answer(struct ev_loop *loop, ev_timer *timer, int revents)
{
	DOING("answers of", "nodes");
	(void)loop;
	(void)revents;
	ask_end(timer->data, NULL);
}

static void
take_answer(struct peers *p, const char *ticket, const char *text, size_t len)
{
	json_t *answer;
	struct ask *a;

	TAILQ_FOREACH (a, &p->asks, next)
		if (!strcmp(a->ticket, ticket))
			break;
	if (!a)
		return; /* too late */
	answer = jsonrpc_parse_answer(text, len, NULL);
	ask_end(a, answer);
	json_decref(answer);
}

/* ---- what others ask ---- */

static void
visit_free(struct visit *v)
{
	TAILQ_REMOVE(&v->all->visits, v, next);
	v->all->nvisits--;
	rpc_door_close(&v->door);
	free(v->from);
	free(v);
}

/* WHAT TICKET FROM SCOPE, then the JSON text. */
static void
post(struct peers *p, const char *to, const char *what, const char *ticket,
    enum scope scope, const char *text, size_t len)
{
	struct sink mail = {0};
	char head[TICKET_SIZE + 96];
	int n = snprintf(head, sizeof(head), "%s %s %s %s\n", what, ticket,
	    workers_node(p->services->workers), scope_name(scope));

	sink_put(&mail, head, (size_t)n);
	sink_put(&mail, text, len);
	workers_mail(p->services->workers, to, mail.buf, mail.len);
	free(mail.buf);
}

static void
on_visit_answer(void *arg, char *text, size_t len)
{
	struct visit *v = arg;

	v->answered = true;
	if (text && v->from)
		post(v->all, v->from, "answer", v->ticket, SCOPE_NONE, text,
		    len);
	else if (text)
		take_answer(v->all, v->ticket, text, len);
	free(text);
	if (!v->taking)
		visit_free(v);
}

/* from: whose ticket it is; NULL: ours. */
static void
visit(struct peers *p, const char *from, const char *ticket, const char *name,
    enum scope scope, const char *text, size_t len)
{
	struct visit *v;

	if (p->nvisits >= VISITS_MAX) {
		log_warnx("node %s: too many calls at once", name);
		return; /* it gets no answer in time */
	}
	v = xcalloc(1, sizeof(*v));
	v->all = p;
	v->from = xstrdup(from);
	strlcpy(v->ticket, ticket, sizeof(v->ticket));
	v->peer.of_node = true;
	v->peer.scope = scope < SCOPE_USER ? scope : SCOPE_USER;
	snprintf(v->peer.text, sizeof(v->peer.text), "node %s", name);
	strlcpy(v->peer.from, v->peer.text, sizeof(v->peer.from));
	v->door = (struct rpc_door){.peer = &v->peer,
	    .services = p->services,
	    .answer = on_visit_answer,
	    .arg = v};
	LIST_INIT(&v->door.texts);
	LIST_INIT(&v->door.streams);
	TAILQ_INSERT_TAIL(&p->visits, v, next);
	p->nvisits++;
	v->taking = true;
	rpc_take(&v->door, text, len);
	v->taking = false;
	if (v->answered)
		visit_free(v);
}

/* ---- mail ---- */

static enum scope
scope_of(const char *word)
{
	enum scope s;

	for (s = SCOPE_NONE; s < SCOPE_USER; s++)
		if (!strcmp(scope_name(s), word))
			return s;
	return SCOPE_USER;
}

/* The id of who has drawn a ticket. */
static void
id_of_ticket(const char *ticket, char id[TICKET_SIZE])
{
	strlcpy(id, ticket, TICKET_SIZE);
	id[strcspn(id, ".")] = '\0';
}

static void
on_mail(void *arg, const char *text, size_t len)
{
	char what[8], ticket[TICKET_SIZE], name[72], scope[16];
	const char *body = memchr(text, '\n', len);
	char id[TICKET_SIZE];

	if (!body ||
	    sscanf(text, "%7s %79s %71s %15s", what, ticket, name, scope) != 4)
		return;
	body++;
	len -= (size_t)(body - text);
	id_of_ticket(ticket, id);
	if (!strcmp(what, "call") && id_is_valid(id))
		visit(arg, id, ticket, name, scope_of(scope), body, len);
	else if (!strcmp(what, "answer"))
		take_answer(arg, ticket, body, len);
}

/* ---- asking ---- */

struct node {
	const char *id, *name;
	bool self;
};

/* Of the schema Node; false when it cannot be asked. */
static bool
node_of(const json_t *object, struct node *n)
{
	n->id = json_string_value(json_object_get(object, "id"));
	n->name = json_string_value(json_object_get(object, "name"));
	n->self = json_is_true(json_object_get(object, "self"));
	return n->id && n->name &&
	    json_is_true(json_object_get(object, "alive"));
}

static void
ask(struct peers *p, const struct node *n, const char *self_id,
    enum scope scope, const char *text, size_t len,
    void (*fn)(void *arg, const char *node, const json_t *answer), void *arg)
{
	struct ask *a = xcalloc(1, sizeof(*a));
	char ticket[TICKET_SIZE];

	a->all = p;
	a->node = xstrdup(n->name);
	a->fn = fn;
	a->arg = arg;
	snprintf(a->ticket, sizeof(a->ticket), "%s.%llu", self_id, p->asked++);
	strlcpy(ticket, a->ticket, sizeof(ticket));
	ev_timer_init(&a->timer, on_no_answer, ANSWER_SECONDS, 0.);
	a->timer.data = a;
	ev_timer_start(p->services->loop, &a->timer);
	TAILQ_INSERT_TAIL(&p->asks, a, next);
	if (n->self)
		visit(p, NULL, ticket, n->name, scope, text, len);
	else
		post(p, n->id, "call", ticket, scope, text, len);
}

/* ---- one call, passed on ---- */

/* To one node (name), or to all (NULL). */
struct passing {
	struct peers *all;
	struct call *call; /* NULL: nobody waits any more */
	char *name;
	bool as_it_is; /* the node's answer is ours; else a list is */
	char *text;
	size_t len;
	json_t *result;
	struct err e; /* why there is none */
	struct err otherwise; /* why, when there is no such node */
	size_t open; /* not answered yet */
};

static void
passing_free(struct passing *g)
{
	if (g->call)
		call_on_gone(g->call, NULL, NULL);
	free(g->name);
	free(g->text);
	json_decref(g->result);
	free(g);
}

static void
passing_gone(void *arg)
{
	struct passing *g = arg;

	g->call = NULL;
}

static void
refuse_silent(const char *node, struct err *e)
{
	err_set(e, ERR_TIMED_OUT, "node %s did not answer", node);
	err_hint(e, "heroctl nodes tells which are alive");
	err_subject(e, node);
}

static void
read_refusal(const char *node, const json_t *answer, struct err *e)
{
	const json_t *error = json_object_get(answer, "error");

	if (error)
		err_from_json(e, error);
	else
		refuse_silent(node, e);
}

static void
add_answer(struct passing *g, const char *node, const json_t *answer)
{
	json_t *result = json_object_get(answer, "result");
	struct err e = {0};

	if (!result)
		read_refusal(node, answer, &e);
	json_array_append_new(g->result,
	    result ? json_pack("{s:s, s:O}", "node", node, "result", result)
		   : json_pack(
			 "{s:s, s:o}", "node", node, "error", err_to_json(&e)));
}

/* One more of what it waits for is there. */
static void
passing_settle(struct passing *g)
{
	struct call *call = g->call;
	json_t *result = g->result;
	struct err e = g->e;

	if (--g->open)
		return;
	g->result = NULL;
	passing_free(g);
	if (call && !err_is_set(&e))
		call_reply(call, json_incref(result));
	else if (call)
		call_refuse(call, &e);
	json_decref(result);
}

static void
on_answer(void *arg, const char *node, const json_t *answer)
{
	struct passing *g = arg;

	if (!g->as_it_is)
		add_answer(g, node, answer);
	else if (json_object_get(answer, "result"))
		g->result = json_incref(json_object_get(answer, "result"));
	else
		read_refusal(node, answer, &g->e);
	passing_settle(g);
}

static void
refuse_node(const char *name, struct err *e)
{
	err_set(e, ERR_PARAMS, "there is no node %s that is alive", name);
	err_hint(e, "heroctl nodes tells which are");
	err_subject(e, name);
}

static const char *
self_id(const json_t *nodes)
{
	const json_t *it;
	struct node n;
	size_t i;

	json_array_foreach (nodes, i, it)
		if (node_of(it, &n) && n.self)
			return n.id;
	return "";
}

static void
on_nodes(void *arg, json_t *nodes, const struct err *e)
{
	struct passing *g = arg;
	const json_t *it;
	bool found = false;
	struct node n;
	size_t i;

	g->open = 1; /* one of those asked may answer at once */
	json_array_foreach (nodes, i, it)
		if (g->call && node_of(it, &n) &&
		    (!g->name || !strcmp(g->name, n.name))) {
			found = true;
			g->open++;
			ask(g->all, &n, self_id(nodes), g->call->peer->scope,
			    g->text, g->len, on_answer, g);
		}
	if (e)
		g->e = *e;
	else if (g->name && !found)
		g->e = g->otherwise;
	passing_settle(g);
	json_decref(nodes);
}

static int
pass_on(struct call *call, const char *name, const struct err *otherwise,
    const char *method, json_t *params, struct err *e)
{
	struct peers *p = call->services->peers;
	struct passing *g = xcalloc(1, sizeof(*g));
	json_t *request = jsonrpc_request(method, json_incref(params), 1);

	g->all = p;
	g->call = call;
	g->name = xstrdup(name);
	g->text = jsonrpc_text(request, &g->len);
	g->as_it_is = otherwise != NULL;
	g->result = otherwise ? NULL : json_array();
	if (otherwise)
		g->otherwise = *otherwise;
	else if (name)
		refuse_node(name, &g->otherwise);
	json_decref(request);
	call_on_gone(call, passing_gone, g);
	if (workers_nodes(p->services->workers, on_nodes, g, e) == 0)
		return 0;
	passing_free(g);
	return -1;
}

bool
peers_forward(struct call *call, const char *node, const struct err *otherwise)
{
	return !call->peer->of_node &&
	    pass_on(call, node, otherwise, call->method->name, call->params,
		NULL) == 0;
}

HANDLER(nodes_call)
{
	const char *node = call_string(call, "node");
	struct err e = {0};

	if (pass_on(call, strcmp(node, "*") ? node : NULL, NULL,
		call_string(call, "method"), call_json(call, "params"),
		&e) == -1)
		call_refuse(call, &e);
}

/* ---- all of it ---- */

struct peers *
peers_new(struct services *services)
{
	struct peers *p = xcalloc(1, sizeof(*p));

	p->services = services;
	TAILQ_INIT(&p->asks);
	TAILQ_INIT(&p->visits);
	services->peers = p;
	workers_on_mail(services->workers, on_mail, p);
	return p;
}

void
peers_free(struct peers *p)
{
	struct visit *v;
	struct ask *a;

	workers_on_mail(p->services->workers, NULL, NULL);
	while ((v = TAILQ_FIRST(&p->visits)))
		visit_free(v);
	while ((a = TAILQ_FIRST(&p->asks)))
		ask_end(a, NULL);
	p->services->peers = NULL;
	free(p);
}
