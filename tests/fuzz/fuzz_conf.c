/* Configuration files of any bytes: read or refused, never more. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "conf.h"
#include "mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char path[64];
	char **errors = NULL;
	FILE *f;

	snprintf(path, sizeof(path), "/tmp/herod-fuzz-conf.%d", (int)getpid());
	f = fopen(path, "w");
	if (f == NULL)
		abort();
	fwrite(data, 1, size, f);
	fclose(f);
	conf_free(conf_load(path, NULL, &errors));
	strv_free(errors);
	unlink(path);
	return 0;
}
