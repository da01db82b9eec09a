#include "fake/certificate.h"

#include <stdlib.h>

#include "check.h"

struct tls_credentials *
make_certificate(void)
{
	struct tls_files files = {.cert = "both.pem"};
	struct err e = {0};
	int bad = system("openssl req -x509 -newkey ec -pkeyopt "
			 "ec_paramgen_curve:prime256v1 -nodes -keyout key.pem "
			 "-out cert.pem -days 30 -subj /CN=me -addext "
			 "subjectAltName=IP:::1,IP:127.0.0.1,DNS:me "
			 "2>/dev/null && "
			 "(umask 077; cat cert.pem key.pem >both.pem)");
	struct tls_credentials *c = bad ? NULL : tls_server(&files, &e);

	check_str(e.text, "");
	check(c != NULL);
	return c;
}
