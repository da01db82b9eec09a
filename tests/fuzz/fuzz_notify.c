/* Datagrams of sd_notify(3) of any bytes: read, and never more. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "notify.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct notify_message m;

	notify_read((const char *)data, size, &m);
	if (strnlen(m.status, sizeof(m.status)) == sizeof(m.status) ||
	    m.main_pid < 0 || m.extend < 0)
		abort();
	return 0;
}
