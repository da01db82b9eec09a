/* Verbs about the configuration. */
#include "heroctl.h"

static enum status
reload(struct ctl *ctl, const struct args *a, bool dry_run)
{
	json_t *params = a->given[OPTION_PARAM], *result;
	enum status status;
	struct err e = {0};

	if (args_count(a, 0, 0, &e) != 0)
		return ctl_misused(&e);
	if (dry_run)
		json_object_set_new(params, "dry_run", json_true());
	result = call_once(ctl, a->verb.method, json_incref(params), &status);
	if (result)
		status = show_result(ctl, a->verb.method->result, result);
	json_decref(result);
	return status;
}

enum status
verb_reread(struct ctl *ctl, const struct args *a)
{
	return reload(ctl, a, true);
}

enum status
verb_update(struct ctl *ctl, const struct args *a)
{
	return reload(ctl, a, false);
}

enum status
verb_update_runner(struct ctl *ctl, const struct args *a)
{
	json_t *params = a->given[OPTION_PARAM], *result, *name;
	json_t *settings = a->given[OPTION_SETTING];
	enum status status;
	struct err e = {0};

	if (args_count(a, 1, 1, &e) != 0)
		return ctl_misused(&e);
	name = json_string(a->operands[0]);
	if (name == NULL || json_object_size(settings) == 0) {
		json_decref(name);
		err_set(&e, ERR_PARAMS,
		    "update-runner: wanted a name and at least one "
		    "--SETTING VALUE");
		return ctl_misused(&e);
	}
	json_object_set_new(params, "name", name);
	json_object_set(params, "settings", settings);
	result = call_once(ctl, a->verb.method, json_incref(params), &status);
	if (result)
		status = show_result(ctl, a->verb.method->result, result);
	json_decref(result);
	return status;
}
