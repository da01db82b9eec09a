/*
 * Examples of an OpenRPC document, made whole: a row of methods.def shows only
 * the members that matter there, the shape of its result knows the others.
 */
#ifndef SAMPLE_H
#define SAMPLE_H

#include <jansson.h>

/*
 * Adds what the schema requires and the value does not have, in every object
 * of it.  References of the schema lead into all, the components.schemas.
 */
void sample_fill(const json_t *all, const json_t *schema, json_t *value);

#endif
