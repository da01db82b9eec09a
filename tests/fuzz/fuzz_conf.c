/* Configuration files of any bytes: read or refused, never more. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf.h"
#include "mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char dir[32], path[64];
	char **errors = NULL;
	FILE *f;

	/* Alone in it: "include = *" is one of the bytes. */
	snprintf(dir, sizeof(dir), "/tmp/herod-fuzz-conf.%d", (int)getpid());
	mkdir(dir, 0700);
	snprintf(path, sizeof(path), "%s/conf", dir);
	f = fopen(path, "w");
	if (f == NULL)
		abort();
	fwrite(data, 1, size, f);
	fclose(f);
	conf_free(conf_load(path, NULL, &errors));
	strv_free(errors);
	unlink(path);
	rmdir(dir);
	return 0;
}
