/*
 * Kinds of value: text -> JSON -> check -> C field, and back.
 *
 * Each kind has up to three functions: one reads its text form, one checks
 * its JSON form and makes it canonical, the rest is by the C type.
 */
#include "type.h"

#include <ctype.h>
#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cron.h"
#include "depend.h"
#include "mem.h"
#include "origin.h"
#include "secret.h"
#include "readiness.h"
#include "sock.h"
#include "target.h"
#include "when.h"

/* Gives the canonical form of a value (a new reference), or NULL; a NULL
 * without a refusal set means "not of this kind". */
typedef json_t *(*read_fn)(
    const struct kind *k, const json_t *value, struct err *e);

static const char *const type_names[] = {
#define TYPE(name, word, ctype, wanted) [TYPE_##name] = word,
#include "types.def"
#undef TYPE
};

static const char *const type_wanted[] = {
#define TYPE(name, word, ctype, wanted) [TYPE_##name] = wanted,
#include "types.def"
#undef TYPE
};

const char *
type_name(enum type type)
{
	return type_names[type];
}

bool
ints_have(const struct ints *list, int n)
{
	int i;

	for (i = 0; i < list->n; i++)
		if (list->v[i] == n)
			return true;
	return false;
}

/* ---- ENUM: words and their aliases ---- */

/* Copies the i-th alternative ("always=true") to buf; false behind the
 * last. */
static bool
alternative(const char *limits, int i, char *buf, size_t size)
{
	const char *bar;

	while (i-- > 0) {
		limits = strchr(limits, '|');
		if (limits == NULL)
			return false;
		limits++;
	}
	bar = strchrnul(limits, '|');
	if ((size_t)(bar - limits) < size)
		size = (size_t)(bar - limits) + 1;
	strlcpy(buf, limits, size);
	return true;
}

const char *
type_enum_word(const char *limits, int value, char *buf, size_t size)
{
	if (value < 0 || !alternative(limits, value, buf, size))
		buf[0] = '\0';
	buf[strcspn(buf, "=")] = '\0';
	return buf;
}

/* Number of a word or alias, -1 when there is none. */
static int
enum_value(const char *limits, const char *word)
{
	char one[128], *rest, *name;
	int i;

	for (i = 0; alternative(limits, i, one, sizeof(one)); i++)
		for (rest = one; (name = strsep(&rest, "=")) != NULL;)
			if (strcmp(name, word) == 0)
				return i;
	return -1;
}

/* "always, on-failure or never" */
static void
enum_words(const char *limits, char *buf, size_t size)
{
	char word[128], next[128];
	size_t len = 0;
	int i;

	buf[0] = '\0';
	for (i = 0; alternative(limits, i, word, sizeof(word)); i++) {
		word[strcspn(word, "=")] = '\0';
		len += (size_t)snprintf(buf + len, size - len, "%s%s",
		    i == 0 ? ""
			: alternative(limits, i + 1, next, sizeof(next))
			? ", "
			: " or ",
		    word);
		if (len >= size)
			return;
	}
}

/* ---- refusing ---- */

/* The value as it was found, short. */
static void
found(const json_t *value, char *buf, size_t size)
{
	char *text = NULL;

	if (json_is_string(value)) {
		snprintf(buf, size, "'%.100s'", json_string_value(value));
		return;
	}
	text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
	snprintf(buf, size, "%.100s", text ? text : "?");
	free(text);
}

static json_t *
refuse(
    const struct kind *k, const char *name, const json_t *value, struct err *e)
{
	char what[128], wanted[256];

	found(value, what, sizeof(what));
	if (k->type == TYPE_ENUM)
		enum_words(k->limits, wanted, sizeof(wanted));
	else
		snprintf(wanted, sizeof(wanted), "%s", type_wanted[k->type]);
	err_set(e, ERR_PARAMS, "%s: %s is not %s", name, what, wanted);
	return NULL;
}

/* Within "1..65535", "0.." or "..9"?  Refuses if not. */
static bool
is_within(const struct kind *k, const char *name, double value, struct err *e)
{
	const char *dots = k->limits ? strstr(k->limits, "..") : NULL;

	if (dots == NULL || k->type == TYPE_ENUM)
		return true;
	if ((dots == k->limits || value >= strtod(k->limits, NULL)) &&
	    (dots[2] == '\0' || value <= strtod(dots + 2, NULL)))
		return true;
	err_set(e, ERR_PARAMS, "%s: %.15g is not within %s", name, value,
	    k->limits);
	return false;
}

/* ---- numbers ---- */

struct unit {
	const char *name;
	double factor;
};

static const struct unit duration_units[] = {{"ms", 0.001}, {"s", 1},
    {"sec", 1}, {"m", 60}, {"min", 60}, {"h", 3600}, {"d", 86400},
    {"w", 604800}, {NULL, 0}};

/* KB, MB and GB mean powers of 1024, as for supervisord and Redis. */
static const struct unit size_units[] = {{"B", 1}, {"KB", 1024.0},
    {"KiB", 1024.0}, {"MB", 1048576.0}, {"MiB", 1048576.0},
    {"GB", 1073741824.0}, {"GiB", 1073741824.0}, {"TB", 1099511627776.0},
    {"TiB", 1099511627776.0}, {NULL, 0}};

static const struct unit *
unit_find(const struct unit *units, const char *word, size_t len)
{
	for (; units->name; units++)
		if (strlen(units->name) == len &&
		    strncasecmp(units->name, word, len) == 0)
			return units;
	return NULL;
}

/* A plain decimal number; strtod(3) alone would also take hex and inf. */
static bool
decimal(const char *text, char **end, double *value)
{
	if (strspn(text, "-0123456789.") == 0)
		return false;
	if (strspn(text, "-0") > 0 && strpbrk(text, "xX"))
		return false;
	*value = strtod(text, end);
	return *end != text && isfinite(*value);
}

/* "1h30m": the sum of numbers with units; a bare number has factor 1. */
static bool
with_units(const char *text, const struct unit *units, double *sum)
{
	const struct unit *u;
	double part;
	size_t len;
	char *end;

	if (decimal(text, &end, sum) && *end == '\0')
		return true;
	for (*sum = 0; *text; text = end + len) {
		if (!decimal(text, &end, &part))
			return false;
		end += strspn(end, " ");
		len = strcspn(end, "-0123456789. ");
		u = unit_find(units, end, len);
		if (u == NULL)
			return false;
		*sum += part * u->factor;
	}
	return true;
}

static bool
number_of(const json_t *value, const struct unit *units, double *number)
{
	if (json_is_number(value)) {
		*number = json_number_value(value);
		return true;
	}
	return json_is_string(value) && *json_string_value(value) &&
	    with_units(json_string_value(value), units, number);
}

static const struct unit no_units[] = {{NULL, 0}};

static json_t *
read_seconds(const struct kind *k, const json_t *value, struct err *e)
{
	double number;

	(void)e;
	if (!number_of(value,
		k->type == TYPE_DURATION ? duration_units : no_units, &number))
		return NULL;
	return json_real(number);
}

static json_t *
read_whole(const struct kind *k, const json_t *value, struct err *e)
{
	double number;

	(void)e;
	if (json_is_integer(value))
		return json_integer(json_integer_value(value));
	if (!number_of(value, k->type == TYPE_COUNT ? no_units : size_units,
		&number) ||
	    floor(number) != number || fabs(number) > 9007199254740992.0)
		return NULL;
	return json_integer((json_int_t)number);
}

/* A canonical "unlimited" or an integer. */
static json_t *
read_limit(const struct kind *k, const json_t *value, struct err *e)
{
	const char *text = json_string_value(value);

	if (text &&
	    (strcasecmp(text, "unlimited") == 0 ||
		strcasecmp(text, "infinity") == 0))
		return json_string("unlimited");
	return read_whole(k, value, e);
}

static json_t *
read_mode(const struct kind *k, const json_t *value, struct err *e)
{
	const char *text = json_string_value(value);
	char canonical[8];
	size_t len = text ? strlen(text) : 0;

	(void)k;
	(void)e;
	if (len == 0 || len > 5 || strspn(text, "01234567") != len)
		return NULL;
	if (strtol(text, NULL, 8) > 0777)
		return NULL;
	snprintf(canonical, sizeof(canonical), "%03o",
	    (unsigned)strtol(text, NULL, 8));
	return json_string(canonical);
}

/* ---- words ---- */

/* C strings end at a NUL: text with one inside is not what it seems. */
static bool
is_word(const json_t *value)
{
	return json_is_string(value) &&
	    strlen(json_string_value(value)) == json_string_length(value);
}

static json_t *
read_string(const struct kind *k, const json_t *value, struct err *e)
{
	(void)k;
	(void)e;
	return json_is_string(value) ? json_copy((json_t *)value) : NULL;
}

static json_t *
read_readiness(const struct kind *k, const json_t *value, struct err *e)
{
	struct readiness r;

	if (!is_word(value) ||
	    readiness_parse(json_string_value(value), &r, e) != 0)
		return NULL;
	return read_string(k, value, e);
}

static json_t *
read_target(const struct kind *k, const json_t *value, struct err *e)
{
	struct target t;

	if (!is_word(value) ||
	    target_parse(json_string_value(value), &t, e) != 0)
		return NULL;
	return read_string(k, value, e);
}

static json_t *
read_cron(const struct kind *k, const json_t *value, struct err *e)
{
	struct cron c;

	if (!is_word(value) || cron_parse(json_string_value(value), &c, e) != 0)
		return NULL;
	return read_string(k, value, e);
}

static json_t *
read_timezone(const struct kind *k, const json_t *value, struct err *e)
{
	if (!is_word(value) || zone_check(json_string_value(value), e) != 0)
		return NULL;
	return read_string(k, value, e);
}

static json_t *
read_name(const struct kind *k, const json_t *value, struct err *e)
{
	const char *text = json_string_value(value);

	(void)e;
	if (text == NULL || strlen(text) != json_string_length(value))
		return NULL;
	if (!(k->type == TYPE_NAME ? name_is_valid(text) : id_is_valid(text)))
		return NULL;
	return json_string(text);
}

static json_t *
read_bool(const struct kind *k, const json_t *value, struct err *e)
{
	static const char *const yes[] = {"true", "yes", "on", "1"};
	static const char *const no[] = {"false", "no", "off", "0"};
	const char *text = json_string_value(value);
	size_t i;

	(void)k;
	(void)e;
	if (json_is_boolean(value))
		return json_boolean(json_is_true(value));
	for (i = 0; text && i < sizeof(yes) / sizeof(yes[0]); i++) {
		if (strcasecmp(text, yes[i]) == 0)
			return json_true();
		if (strcasecmp(text, no[i]) == 0)
			return json_false();
	}
	return NULL;
}

static json_t *
read_enum(const struct kind *k, const json_t *value, struct err *e)
{
	const char *text = json_is_boolean(value)
	    ? (json_is_true(value) ? "true" : "false")
	    : json_string_value(value);
	int number = text ? enum_value(k->limits, text) : -1;
	char word[128];

	(void)e;
	if (number < 0)
		return NULL;
	return json_string(
	    type_enum_word(k->limits, number, word, sizeof(word)));
}

/* ---- lists ---- */

/* Words of a text, separated by commas or blanks, as a JSON array. */
static json_t *
split_list(const char *text)
{
	json_t *array = json_array();
	size_t len;

	for (;;) {
		text += strspn(text, ", \t\r\n");
		len = strcspn(text, ", \t\r\n");
		if (len == 0)
			return array;
		json_array_append_new(array, json_stringn(text, len));
		text += len;
	}
}

static json_t *
as_list(const json_t *value)
{
	if (json_is_string(value))
		return split_list(json_string_value(value));
	if (json_is_array(value))
		return json_copy((json_t *)value);
	if (!json_is_integer(value))
		return NULL;
	return json_pack("[O]", value);
}

/* One member of a list in its canonical form, or NULL. */
typedef json_t *(*member_fn)(const json_t *member, struct err *e);

static json_t *
read_members(const json_t *value, member_fn member, size_t max, struct err *e)
{
	json_t *list = as_list(value), *out = json_array(), *in, *one;
	size_t i;

	if (list == NULL || json_array_size(list) > max)
		goto fail_out;
	json_array_foreach (list, i, in) {
		one = member(in, e);
		if (one == NULL)
			goto fail_out;
		json_array_append_new(out, one);
	}
	json_decref(list);
	return out;
fail_out:
	json_decref(list);
	json_decref(out);
	return NULL;
}

static json_t *
member_signal(const json_t *in, struct err *e)
{
	char number[24], name[16];
	int s;

	(void)e;
	if (json_is_integer(in)) {
		snprintf(number, sizeof(number), "%lld",
		    (long long)json_integer_value(in));
		s = signal_number(number);
	} else {
		s = json_is_string(in) ? signal_number(json_string_value(in))
				       : -1;
	}
	return s < 0 ? NULL : json_string(signal_name(s, name));
}

static json_t *
member_code(const json_t *in, struct err *e)
{
	static const struct kind count = {TYPE_COUNT, NULL};
	json_t *code = read_whole(&count, in, e);

	if (code &&
	    (json_integer_value(code) < 0 || json_integer_value(code) > 255)) {
		json_decref(code);
		return NULL;
	}
	return code;
}

static json_t *
member_word(const json_t *in, struct err *e)
{
	(void)e;
	return is_word(in) ? json_copy((json_t *)in) : NULL;
}

static json_t *
member_address(const json_t *in, struct err *e)
{
	struct address a;

	if (!json_is_string(in) ||
	    address_parse(&a, json_string_value(in), e) != 0)
		return NULL;
	return json_copy((json_t *)in);
}

static json_t *
member_origin(const json_t *in, struct err *e)
{
	const char *text = json_string_value(in);
	char origin[300];

	return text != NULL && strlen(text) == json_string_length(in) &&
		origin_read(text, origin, sizeof(origin), e) == 0
	    ? json_string(origin)
	    : NULL;
}

static json_t *
member_depend(const json_t *in, struct err *e)
{
	struct depend d;

	if (!json_is_string(in) || !depend_parse(json_string_value(in), &d))
		return NULL;
	return member_word(in, e);
}

static json_t *
read_signals(const struct kind *k, const json_t *value, struct err *e)
{
	(void)k;
	return read_members(value, member_signal, INTS_MAX, e);
}

static json_t *
read_codes(const struct kind *k, const json_t *value, struct err *e)
{
	(void)k;
	return read_members(value, member_code, INTS_MAX, e);
}

/* Kept as their digests only, so that nothing can tell them. */
static json_t *
member_secret(const json_t *in, struct err *e)
{
	const char *text = json_string_value(in);
	char digest[DIGEST_SIZE];

	(void)e;
	if (text == NULL || *text == '\0')
		return NULL;
	return json_string(
	    is_digest(text) ? text : secret_digest(text, digest));
}

static json_t *
read_list(const struct kind *k, const json_t *value, struct err *e)
{
	if (k->type == TYPE_ADDRESSES)
		return read_members(value, member_address, 64, e);
	if (k->type == TYPE_ORIGINS)
		return read_members(value, member_origin, 1000, e);
	if (k->type == TYPE_DEPENDS)
		return read_members(value, member_depend, 1000, e);
	if (k->type == TYPE_SECRETS)
		return read_members(value, member_secret, 1000, e);
	return read_members(value, member_word, SIZE_MAX, e);
}

static json_t *
strv_json(char *const *v)
{
	json_t *array = json_array();

	for (; v && *v; v++)
		json_array_append_new(array, json_string(*v));
	return array;
}

static json_t *
read_argv(const struct kind *k, const json_t *value, struct err *e)
{
	char **words;
	json_t *array;

	if (json_is_string(value)) {
		words = words_split(json_string_value(value), e);
		if (words == NULL)
			return NULL;
		array = strv_json(words);
		strv_free(words);
	} else {
		array = json_is_array(value) ? read_list(k, value, e) : NULL;
	}
	if (array &&
	    (json_array_size(array) == 0 ||
		json_string_length(json_array_get(array, 0)) == 0)) {
		json_decref(array);
		return NULL;
	}
	return array;
}

/* ---- maps ---- */

static bool
is_variable(const char *name)
{
	size_t len = strspn(name,
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_");

	return len > 0 && name[len] == '\0' && !isdigit((unsigned char)name[0]);
}

/* Cuts one KEY=VALUE (VALUE bare or quoted) off the text; NULL at a
 * mistake. */
static const char *
one_pair(const char *at, json_t *map)
{
	size_t key = strcspn(at, "=,"), len;
	char *name, quote;

	if (at[key] != '=')
		return NULL;
	name = xstrndup(at, key);
	at += key + 1;
	quote = *at == '"' || *at == '\'' ? *at++ : '\0';
	len = quote ? strcspn(at, quote == '"' ? "\"" : "'") : strcspn(at, ",");
	json_object_set_new(map, name, json_stringn(at, len));
	free(name);
	at += len;
	if (quote && *at++ != quote)
		return NULL;
	at += strspn(at, " \t\r\n");
	return *at == '\0' || *at == ',' ? at : NULL;
}

/* supervisord's form: KEY="value",KEY2=value */
static json_t *
split_map(const char *text)
{
	json_t *map = json_object();

	for (;;) {
		text += strspn(text, ", \t\r\n");
		if (*text == '\0')
			return map;
		text = one_pair(text, map);
		if (text == NULL)
			break;
	}
	json_decref(map);
	return NULL;
}

static json_t *
read_map(const struct kind *k, const json_t *value, struct err *e)
{
	json_t *map = json_is_string(value)
	    ? split_map(json_string_value(value))
	    : json_is_object(value) ? json_copy((json_t *)value)
				    : NULL;
	const char *name;
	json_t *member;

	(void)k;
	json_object_foreach (map, name, member) {
		if (!is_variable(name) || json_string_value(member) == NULL ||
		    strlen(json_string_value(member)) !=
			json_string_length(member)) {
			err_hint(
			    e, "'%.64s' must be a variable with a text", name);
			json_decref(map);
			return NULL;
		}
	}
	return map;
}

static json_t *
read_object(const struct kind *k, const json_t *value, struct err *e)
{
	json_t *object;

	(void)k;
	if (json_is_string(value)) {
		object = json_loads(
		    json_string_value(value), JSON_REJECT_DUPLICATES, NULL);
		if (json_is_object(object))
			return object;
		json_decref(object);
		return NULL;
	}
	(void)e;
	return json_is_object(value) ? json_incref((json_t *)value) : NULL;
}

static json_t *
read_array(const struct kind *k, const json_t *value, struct err *e)
{
	(void)k;
	(void)e;
	return json_is_array(value) ? json_incref((json_t *)value) : NULL;
}

static json_t *
read_any(const struct kind *k, const json_t *value, struct err *e)
{
	(void)k;
	(void)e;
	return json_incref((json_t *)value);
}

static const read_fn readers[TYPE_COUNT_] = {
    [TYPE_STRING] = read_string,
    [TYPE_NAME] = read_name,
    [TYPE_ID] = read_name,
    [TYPE_BOOL] = read_bool,
    [TYPE_COUNT] = read_whole,
    [TYPE_NUMBER] = read_seconds,
    [TYPE_DURATION] = read_seconds,
    [TYPE_SIZE] = read_whole,
    [TYPE_LIMIT] = read_limit,
    [TYPE_SIGNALS] = read_signals,
    [TYPE_CODES] = read_codes,
    [TYPE_ARGV] = read_argv,
    [TYPE_LIST] = read_list,
    [TYPE_SECRETS] = read_list,
    [TYPE_READINESS] = read_readiness,
    [TYPE_TARGET] = read_target,
    [TYPE_CRON] = read_cron,
    [TYPE_TIMEZONE] = read_timezone,
    [TYPE_ADDRESSES] = read_list,
    [TYPE_ORIGINS] = read_list,
    [TYPE_DEPENDS] = read_list,
    [TYPE_MAP] = read_map,
    [TYPE_ENUM] = read_enum,
    [TYPE_OCTAL] = read_mode,
    [TYPE_OBJECT] = read_object,
    [TYPE_ARRAY] = read_array,
    [TYPE_ANY] = read_any,
};

json_t *
type_check(
    const struct kind *k, const char *name, const json_t *value, struct err *e)
{
	struct err why = {0};
	json_t *canonical = readers[k->type](k, value, &why);

	if (canonical == NULL && err_is_set(&why)) {
		err_set(e, why.code, "%s: %.600s", name, why.text);
		if (*why.hint)
			err_hint(e, "%s", why.hint);
		return NULL;
	}
	if (canonical == NULL) {
		refuse(k, name, value, e);
		if (*why.hint)
			err_hint(e, "%s", why.hint);
		return NULL;
	}
	if (json_is_number(canonical) &&
	    !is_within(k, name, json_number_value(canonical), e)) {
		json_decref(canonical);
		return NULL;
	}
	return canonical;
}

/* ---- C fields ---- */

static int
member_int(const struct kind *k, const json_t *member)
{
	return k->type == TYPE_SIGNALS
	    ? signal_number(json_string_value(member))
	    : (int)json_integer_value(member);
}

static void
store_ints(const struct kind *k, struct ints *field, const json_t *array)
{
	json_t *member;
	size_t i;

	field->n = 0;
	json_array_foreach (array, i, member)
		field->v[field->n++] = (unsigned char)member_int(k, member);
}

static char **
json_strv(const json_t *value)
{
	char **v = xcalloc(1, sizeof(*v));
	const char *name;
	json_t *member;
	size_t i;

	if (json_is_array(value))
		json_array_foreach ((json_t *)value, i, member)
			strv_add(&v, xstrdup(json_string_value(member)));
	else
		json_object_foreach ((json_t *)value, name, member)
			strv_add(&v,
			    xasprintf(
				"%s=%s", name, json_string_value(member)));
	return v;
}

void
type_clear(const struct kind *k, void *field)
{
	switch (k->type) {
	case TYPE_STRING:
	case TYPE_NAME:
	case TYPE_ID:
	case TYPE_READINESS:
	case TYPE_TARGET:
	case TYPE_CRON:
	case TYPE_TIMEZONE:
		free(*(char **)field);
		*(char **)field = NULL;
		break;
	case TYPE_ARGV:
	case TYPE_LIST:
	case TYPE_SECRETS:
	case TYPE_ADDRESSES:
	case TYPE_ORIGINS:
	case TYPE_DEPENDS:
	case TYPE_MAP:
		strv_free(*(char ***)field);
		*(char ***)field = NULL;
		break;
	case TYPE_OBJECT:
	case TYPE_ARRAY:
	case TYPE_ANY:
		json_decref(*(json_t **)field);
		*(json_t **)field = NULL;
		break;
	default:
		type_store(k, field, NULL);
	}
}

/* Kinds without memory of their own. */
static void
store_plain(const struct kind *k, void *field, const json_t *value)
{
	const char *text = json_string_value(value);

	switch (k->type) {
	case TYPE_BOOL:
		*(bool *)field = json_is_true(value);
		break;
	case TYPE_COUNT:
	case TYPE_SIZE:
		*(long long *)field = json_integer_value(value);
		break;
	case TYPE_LIMIT:
		*(long long *)field =
		    text ? LIMIT_NONE : json_integer_value(value);
		break;
	case TYPE_NUMBER:
	case TYPE_DURATION:
		*(double *)field = json_number_value(value);
		break;
	case TYPE_ENUM:
		*(int *)field = text ? enum_value(k->limits, text) : 0;
		break;
	case TYPE_OCTAL:
		*(int *)field = text ? (int)strtol(text, NULL, 8) : 0;
		break;
	default:
		store_ints(k, field, value);
	}
}

void
type_store(const struct kind *k, void *field, const json_t *canonical)
{
	const json_t *value = json_is_null(canonical) ? NULL : canonical;

	switch (k->type) {
	case TYPE_STRING:
	case TYPE_NAME:
	case TYPE_ID:
	case TYPE_READINESS:
	case TYPE_TARGET:
	case TYPE_CRON:
	case TYPE_TIMEZONE:
		type_clear(k, field);
		*(char **)field = xstrdup(json_string_value(value));
		break;
	case TYPE_ARGV:
	case TYPE_LIST:
	case TYPE_SECRETS:
	case TYPE_ADDRESSES:
	case TYPE_ORIGINS:
	case TYPE_DEPENDS:
	case TYPE_MAP:
		type_clear(k, field);
		*(char ***)field = value ? json_strv(value) : NULL;
		break;
	case TYPE_OBJECT:
	case TYPE_ARRAY:
	case TYPE_ANY:
		type_clear(k, field);
		*(json_t **)field = json_incref((json_t *)value);
		break;
	default:
		store_plain(k, field, value);
	}
}

static json_t *
fetch_ints(const struct kind *k, const struct ints *field)
{
	json_t *array = json_array();
	char name[16];
	int i;

	for (i = 0; i < field->n; i++)
		json_array_append_new(array,
		    k->type == TYPE_SIGNALS
			? json_string(signal_name(field->v[i], name))
			: json_integer(field->v[i]));
	return array;
}

static json_t *
fetch_map(char *const *v)
{
	json_t *map = json_object();
	const char *eq;
	char *name;

	for (; v && *v; v++) {
		eq = strchrnul(*v, '=');
		name = xstrndup(*v, (size_t)(eq - *v));
		json_object_set_new(map, name, json_string(*eq ? eq + 1 : eq));
		free(name);
	}
	return map;
}

static json_t *
fetch_limit(long long limit)
{
	return limit == LIMIT_NONE ? json_string("unlimited")
				   : json_integer(limit);
}

static json_t *
fetch_plain(const struct kind *k, const void *field)
{
	char word[128];

	switch (k->type) {
	case TYPE_BOOL:
		return json_boolean(*(const bool *)field);
	case TYPE_COUNT:
	case TYPE_SIZE:
		return json_integer(*(const long long *)field);
	case TYPE_LIMIT:
		return fetch_limit(*(const long long *)field);
	case TYPE_NUMBER:
	case TYPE_DURATION:
		return json_real(*(const double *)field);
	case TYPE_ENUM:
		return json_string(type_enum_word(
		    k->limits, *(const int *)field, word, sizeof(word)));
	case TYPE_OCTAL:
		snprintf(
		    word, sizeof(word), "%03o", (unsigned)*(const int *)field);
		return json_string(word);
	default:
		return fetch_ints(k, field);
	}
}

json_t *
type_fetch(const struct kind *k, const void *field)
{
	const char *text;
	char *const *v;
	json_t *any;

	switch (k->type) {
	case TYPE_STRING:
	case TYPE_NAME:
	case TYPE_ID:
	case TYPE_READINESS:
	case TYPE_TARGET:
	case TYPE_CRON:
	case TYPE_TIMEZONE:
		text = *(char *const *)field;
		return text ? json_string(text) : json_null();
	case TYPE_ARGV:
	case TYPE_LIST:
	case TYPE_SECRETS:
	case TYPE_ADDRESSES:
	case TYPE_ORIGINS:
	case TYPE_DEPENDS:
	case TYPE_MAP:
		v = *(char *const *const *)field;
		if (v == NULL)
			return json_null();
		return k->type == TYPE_MAP ? fetch_map(v) : strv_json(v);
	case TYPE_OBJECT:
	case TYPE_ARRAY:
	case TYPE_ANY:
		any = *(json_t *const *)field;
		return any ? json_incref(any) : json_null();
	default:
		return fetch_plain(k, field);
	}
}

/* ---- JSON Schema ---- */

static json_t *
schema_enum(const char *limits)
{
	json_t *words = json_array();
	char word[128];
	int i;

	for (i = 0; *type_enum_word(limits, i, word, sizeof(word)); i++)
		json_array_append_new(words, json_string(word));
	return json_pack("{s:s, s:o}", "type", "string", "enum", words);
}

static json_t *
schema_list(const char *member)
{
	return json_pack(
	    "{s:s, s:{s:s}}", "type", "array", "items", "type", member);
}

/* The bare schema of a type. */
static json_t *
schema_of(const struct kind *k)
{
	switch (k->type) {
	case TYPE_BOOL:
		return json_pack("{s:s}", "type", "boolean");
	case TYPE_COUNT:
	case TYPE_SIZE:
		return json_pack("{s:s}", "type", "integer");
	case TYPE_LIMIT:
		return json_pack("{s:[s, s]}", "type", "integer", "string");
	case TYPE_NUMBER:
	case TYPE_DURATION:
		return json_pack("{s:s}", "type", "number");
	case TYPE_ENUM:
		return schema_enum(k->limits);
	case TYPE_CODES:
		return schema_list("integer");
	case TYPE_SIGNALS:
	case TYPE_ARGV:
	case TYPE_LIST:
	case TYPE_SECRETS:
	case TYPE_ADDRESSES:
	case TYPE_ORIGINS:
	case TYPE_DEPENDS:
		return schema_list("string");
	case TYPE_MAP:
		return json_pack("{s:s, s:{s:s}}", "type", "object",
		    "additionalProperties", "type", "string");
	case TYPE_OBJECT:
		return json_pack("{s:s}", "type", "object");
	case TYPE_ARRAY:
		return json_pack("{s:s, s:{}}", "type", "array", "items");
	case TYPE_ANY:
		return json_object();
	default:
		return json_pack("{s:s}", "type", "string");
	}
}

/* "1..65535" as minimum and maximum. */
static void
schema_limits(json_t *schema, const struct kind *k)
{
	const char *dots = k->limits ? strstr(k->limits, "..") : NULL;

	if (dots == NULL || k->type == TYPE_ENUM)
		return;
	if (dots != k->limits)
		json_object_set_new(
		    schema, "minimum", json_real(strtod(k->limits, NULL)));
	if (dots[2])
		json_object_set_new(
		    schema, "maximum", json_real(strtod(dots + 2, NULL)));
}

json_t *
type_schema(const struct kind *k)
{
	json_t *schema = schema_of(k);

	if (k->type == TYPE_NAME)
		json_object_set_new(schema, "pattern",
		    json_string("^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"));
	if (k->type == TYPE_ID)
		json_object_set_new(
		    schema, "pattern", json_string("^[A-Za-z0-9._:-]{1,128}$"));
	schema_limits(schema, k);
	return schema;
}
