#include "tls_door.h"

#include <stdio.h>

#include "tls_client.h"

/* The search for leaks at a process's end does not bear threads that end at
 * that moment, as those of TLS connections do.  herod's own goes on. */
const char *__asan_default_options(void);

const char *
__asan_default_options(void)
{
	return "detect_leaks=0";
}

static const char certificates[] =
    "set -e; exec 2>/dev/null\n"
    "request() { openssl req -newkey ec -pkeyopt "
    "ec_paramgen_curve:prime256v1 -nodes -keyout $1.key -subj \"$2\" "
    "-addext \"$3\" -out $1.csr; }\n"
    "sign() { openssl x509 -req -in $1.csr -CA ca.pem -CAkey ca.key "
    "-CAcreateserial -copy_extensions copy -out $1.pem -days $2; }\n"
    "for name in ca stranger; do openssl req -x509 -newkey ec -pkeyopt "
    "ec_paramgen_curve:prime256v1 -nodes -keyout $name.key -out $name.pem "
    "-days 30 -subj /CN=$name; done\n"
    "for name in server second; do\n"
    "request $name /CN=localhost subjectAltName=DNS:localhost,IP:127.0.0.1,"
    "IP:10.9.9.9\n"
    "sign $name 30; done\n"
    "request client /O=Example/CN=ci extendedKeyUsage=clientAuth\n"
    "sign client 30\n"
    "request guise /CN=localhost 'subjectAltName=DNS:localhost\n"
    "extendedKeyUsage=clientAuth'\n"
    "sign guise 30\n"
    "request lines '/CN=a\nb' extendedKeyUsage=clientAuth\n"
    "sign lines 30\n"
    "request served /CN=served extendedKeyUsage=serverAuth\n"
    "sign served 30\n"
    "request expired /CN=late extendedKeyUsage=clientAuth\n"
    "sign expired 0\n"
    "rm -f *.csr\n";

void
make_certificates(void)
{
	check_int(run("sh %s", script("certificates", certificates)).status, 0);
}

int
door_tls_as(const struct herod *h, const char *name)
{
	struct tls_files files = {.ca = here("ca.pem")};
	struct err e = {0};
	int fd;

	if (name != NULL) {
		files.cert = here(text("%s.pem", name));
		files.key = here(text("%s.key", name));
	}
	fd = tls_connect(door_tcp(h), "127.0.0.1", &files, 0, &e);
	if (fd == -1)
		check_fail(__FILE__, __LINE__, "%s", e.text);
	return fd;
}

int
door_tls(const struct herod *h)
{
	return door_tls_as(h, NULL);
}
