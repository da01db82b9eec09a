/*
 * jsonrpccpp PORT SOCKET: libjsonrpccpp with the stub that jsonrpcstub makes
 * of jsonrpccpp.json.
 */
#include <cassert>
#include <string>

#include <jsonrpccpp/client/connectors/httpclient.h>
#include <jsonrpccpp/client/connectors/unixdomainsocketclient.h>

#include "stub.h"

using jsonrpc::BatchCall;
using jsonrpc::BatchResponse;
using jsonrpc::JsonRpcException;

static bool
has_web(const Json::Value &names)
{
	for (const Json::Value &name : names)
		if (name.asString() == "web")
			return true;
	return false;
}

static int
refusal(Stub &herod)
{
	try {
		herod.get_runner_status("nobody");
	} catch (const JsonRpcException &e) {
		return e.GetCode();
	}
	return 0;
}

static void
batch(Stub &herod)
{
	BatchCall calls;
	int ping = calls.addCall("ping", Json::Value(Json::arrayValue));
	int nonsense = calls.addCall("nonsense", Json::Value(Json::arrayValue));
	BatchResponse answers = herod.CallProcedures(calls);
	Json::Value id = nonsense;

	assert(answers.getResult(ping).asString() == "pong");
	assert(answers.getErrorCode(id) == -32601);
}

static bool
is_paused(Stub &herod)
{
	return herod.get_runner_status("up")["queue"]["paused"].asBool();
}

static void
serves(jsonrpc::IClientConnector &connector)
{
	Stub herod(connector);

	assert(has_web(herod.list_runners()));
	assert(refusal(herod) == -32010);
	batch(herod);
}

/*
 * This library (0.7.0) takes every status but 200 for a failure, 204, too,
 * and over a socket waits for the answer that no notification has.
 */
static void
notifies(jsonrpc::IClientConnector &connector)
{
	Stub herod(connector);

	try {
		herod.pause_queue("up");
	} catch (const JsonRpcException &e) {
		assert(e.GetCode() == jsonrpc::Errors::ERROR_RPC_INTERNAL_ERROR);
	}
	while (!is_paused(herod))
		continue;
	herod.resume_queue("up");
}

int
main(int, char *argv[])
{
	jsonrpc::HttpClient http(
	    std::string("http://127.0.0.1:") + argv[1] + "/");
	jsonrpc::UnixDomainSocketClient lines(argv[2]);

	serves(http);
	notifies(http);
	serves(lines);
	return 0;
}
