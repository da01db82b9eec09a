/* Jobs: what callers may say, how they end, which moves are legal. */
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "check.h"
#include "job.h"
#include "jsonrpc.h"
#include "mem.h"

static struct job *
job_of(const char *text, struct err *e)
{
	json_t *object = json_loads(text, 0, NULL);
	struct job *j = job_new();

	check(object);
	if (job_read(j, object, e) == -1) {
		job_free(j);
		j = NULL;
	}
	json_decref(object);
	return j;
}

static void
refused(const char *text, const char *part)
{
	struct err e = {0};

	check(!job_of(text, &e));
	check_int(e.code, ERR_PARAMS);
	check_has(e.text, part);
}

void
test_a_job_is_read(void)
{
	struct err e = {0};
	struct job *j = job_of("{\"id\":\"a-1\",\"payload\":\"hi\","
			       "\"timeout\":\"5s\",\"env_vars\":{\"A\":\"b\"}}",
	    &e);

	check_str(e.text, "");
	check_str(j->spec.id, "a-1");
	check_str(j->spec.payload, "hi");
	check_int((long long)j->payload_len, 2);
	check(j->spec.timeout == 5);
	check_str(j->spec.env_vars[0], "A=b");
	check_str(j->texts[JOB_TEXT_ENV_VARS], "{\"A\":\"b\"}");
	check_int(j->status, JOB_CREATED);
	job_free(j);
}

void
test_heros_older_script_is_the_payload(void)
{
	struct err e = {0};
	struct job *j = job_of("{\"script\":\"hi\"}", &e);

	check_str(j->spec.payload, "hi");
	job_free(j);
}

void
test_odd_jobs_are_refused_by_name(void)
{
	refused("{\"id\":\"a b\"}", "id");
	refused("{\"id\":\"\"}", "id");
	refused("{\"payload\":7}", "payload");
	refused("{\"timeout\":-1}", "timeout");
	refused("{\"paylod\":\"x\"}", "paylod");
	refused("{\"env_vars\":{\"LD_PRELOAD\":\"x\"}}", "LD_PRELOAD");
	refused("{\"env_vars\":{\"JOB_ID\":\"x\"}}", "JOB_ID");
	refused("{\"env_vars\":{\"1A\":\"x\"}}", "1A");
	refused("{\"env_vars\":{\"A B\":\"x\"}}", "A B");
}

void
test_ids_made_here_are_version_4_uuids(void)
{
	char id[UUID_SIZE], other[UUID_SIZE];

	make_uuid(id);
	make_uuid(other);
	check_int((long long)strlen(id), 36);
	check(id_is_valid(id));
	check_int(id[14], '4');
	check(strchr("89ab", id[19]));
	check(strcmp(id, other));
}

/* Every pair: only what is listed here may happen. */
void
test_only_legal_moves_are_made(void)
{
	static const char *const legal =
	    "created>waiting_for_prerequisites created>scheduled "
	    "created>dispatched created>started created>cancelled "
	    "waiting_for_prerequisites>scheduled "
	    "waiting_for_prerequisites>dispatched "
	    "waiting_for_prerequisites>error "
	    "waiting_for_prerequisites>cancelled "
	    "scheduled>dispatched scheduled>cancelled "
	    "dispatched>started dispatched>cancelled "
	    "started>scheduled started>dispatched started>stopping started>finished "
	    "started>error started>timeout started>quarantined "
	    "stopping>finished stopping>error stopping>timeout "
	    "stopping>cancelled ";
	enum job_status from, to;
	struct job *j = job_new();
	char pair[80];

	j->spec.id = xstrdup("a");
	for (from = 0; from < JOB_STATUSES; from++)
		for (to = 0; to < JOB_STATUSES; to++) {
			struct err e = {0};
			int made;

			j->status = from;
			made = job_move(j, to, &e) == 0;
			snprintf(pair, sizeof(pair), "%s>%s ",
			    job_status_word(from), job_status_word(to));
			check_int(made, strstr(legal, pair) != NULL);
			check_int(j->status, made ? to : from);
			check_int(e.code, made ? ERR_NONE : ERR_ILLEGAL_MOVE);
		}
	job_free(j);
}

void
test_hero_sees_its_own_words_only(void)
{
	static const char *const words =
	    "created waiting_for_prerequisites dispatched started stopping "
	    "finished error ";
	enum job_status s;
	char word[32];

	for (s = 0; s < JOB_STATUSES; s++) {
		snprintf(word, sizeof(word), "%s ", job_hero_word(s));
		check(strstr(words, word));
		check_int(
		    job_status_of(job_hero_word(s), job_status_word(s)), s);
	}
	check_int(job_status_of("error", NULL), JOB_ERROR);
	check_int(job_status_of("error", "of another kind"), JOB_ERROR);
	check_int(job_status_of("odd", NULL), JOB_CREATED);
	/* Left over from before. */
	check_int(job_status_of("finished", "scheduled"), JOB_FINISHED);
	check_int(job_status_of("started", "cancelled"), JOB_STARTED);
	check_int(job_status_of("created", "finished"), JOB_CREATED);
}

static const char *
result_of(struct job *j, const char *text, size_t len)
{
	job_set_result(j, text, len, true);
	check_int((long long)strlen(j->result), (long long)j->result_len);
	return j->result;
}

void
test_a_result_is_text_without_its_last_newline(void)
{
	struct job *j = job_new();

	check_str(result_of(j, "", 0), "");
	check_str(result_of(j, "\n", 1), "");
	check_str(result_of(j, "a\n", 2), "a");
	check_str(result_of(j, "a\n\n", 3), "a\n");
	check_str(result_of(j, "a\nb", 3), "a\nb");
	check_str(result_of(j, "a\0b", 3),
	    "a\xef\xbf\xbd"
	    "b");
	check_str(result_of(j, "\xff\xfe", 2), "\xef\xbf\xbd\xef\xbf\xbd");
	check_str(result_of(j, "\xc3\xa4\n", 3), "\xc3\xa4");
	job_set_result(j, "a\n", 2, false);
	check_str(j->result, "a\n");
	job_free(j);
}

static void
check_outcome(struct job *j, const char *want)
{
	struct sink s = {0};

	check_int(job_write_outcome(&s, j), 0);
	sink_put(&s, "", 1);
	check_str(s.buf, want);
	free(s.buf);
}

void
test_callers_see_result_or_error(void)
{
	struct job *j = job_new();

	j->status = JOB_FINISHED;
	check_outcome(j, "{\"success\":\"\"}");
	job_set_result(j, "r\n\xff", 3, true);
	check_outcome(j, "{\"success\":\"r\\n\xef\xbf\xbd\"}");
	j->status = JOB_CANCELLED;
	check_outcome(j, "{\"error\":\"cancelled\"}");
	job_set_error(j, "exit %d", 3);
	check_outcome(j, "{\"error\":\"exit 3\"}");
	job_free(j);
}

void
test_an_outcome_that_is_too_long_is_refused(void)
{
	struct job *j = job_new();
	struct sink s = {.limit = 14};

	j->status = JOB_FINISHED;
	job_set_result(j, "12", 2, true);
	check_int(job_write_outcome(&s, j), -1);
	free(s.buf);
	job_free(j);
}

void
test_a_foreign_payload_may_hold_any_bytes(void)
{
	struct job *j = job_new();
	json_t *o;
	char *line;
	size_t len;

	j->spec.id = xstrdup("a");
	job_set_field(j, "payload", "a\0\xff", 3);
	job_set_field(j, "nonsense", "x", 1);
	job_set_field(j, "env_vars", "not JSON", 8);
	check_int((long long)j->payload_len, 3);
	check(!j->spec.env_vars);
	line = job_request(j, &len);
	check_int(line[len - 1], '\n');
	o = json_loads(line, JSON_ALLOW_NUL, NULL);
	check_str(json_string_value(json_object_get(o, "id")), "a");
	check_str(json_string_value(json_object_get(o, "method")), "run");
	json_decref(o);
	free(line);
	job_free(j);
}

void
test_no_retry_waits_longer_than_an_hour(void)
{
	int i;

	for (i = 0; i < 1000; i++) {
		check(job_backoff(3600, 1 + i % 50) <= JOB_BACKOFF_MAX);
		check(job_backoff(10, 2) >= 18);
		check(job_backoff(10, 2) <= 22);
	}
}

void
test_the_request_is_one_line(void)
{
	struct err e = {0};
	struct job *j = job_of("{\"id\":\"a\",\"payload\":\"1\\n2\","
			       "\"caller_id\":\"me\"}",
	    &e);
	size_t len;
	char *line = job_request(j, &len);
	json_t *o = json_loads(line, 0, NULL), *params;

	check_int((long long)strlen(line), (long long)len);
	check(strchr(line, '\n') == line + len - 1);
	params = json_object_get(o, "params");
	check_str(
	    json_string_value(json_object_get(params, "payload")), "1\n2");
	check_str(
	    json_string_value(json_object_get(params, "caller_id")), "me");
	check(!json_object_get(params, "context_id"));
	json_decref(o);
	free(line);
	job_free(j);
}

void
test_a_program_learns_of_its_job_by_its_environment(void)
{
	struct err e = {0};
	struct job *j = job_of("{\"id\":\"a\",\"caller_id\":\"me\","
			       "\"env_vars\":{\"K\":\"v\"}}",
	    &e);
	char **v = job_environment(j);

	check_str(v[0], "K=v");
	check_str(v[1], "JOB_ID=a");
	check_str(v[2], "CALLER_ID=me");
	check_str(v[3], "CONTEXT_ID=");
	check(!v[4]);
	strv_free(v);
	job_free(j);
}

void
test_the_exit_is_shown_as_code_or_signal(void)
{
	struct job *j = job_new();
	json_t *o;
	char *text;

	o = job_json(j, false);
	check(json_is_null(json_object_get(o, "exit")));
	json_decref(o);
	job_set_field(j, "exit", "768", 3);
	o = job_json(j, true);
	text = json_dumps(json_object_get(o, "exit"), JSON_COMPACT);
	check_has(text, "\"code\":3,\"signal\":null");
	free(text);
	json_decref(o);
	job_set_field(j, "exit", "9", 1);
	o = job_json(j, true);
	text = json_dumps(json_object_get(o, "exit"), JSON_COMPACT);
	check_has(text, "\"code\":null,\"signal\":\"KILL\"");
	free(text);
	json_decref(o);
	job_free(j);
}
