/*
 * What the OpenRPC document says of an answer, for every answer that a test
 * gets: so each kind and state that any test brings about is looked at.
 */
#ifndef SHAPE_H
#define SHAPE_H

#include <jansson.h>

/*
 * Why the answer to the method is not as the document says, or NULL: a member
 * that it requires is missing, one is there that it does not know or of a type
 * that it does not name, or the error is none of those of the method.
 */
const char *answer_fault(const char *method, json_t *answer);

/* The same for the notifications event and log. */
const char *notification_fault(json_t *notification);

#endif
