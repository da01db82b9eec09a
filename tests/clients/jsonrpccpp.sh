#!/bin/sh
# jsonrpccpp.sh PORT SOCKET: makes the stub, builds jsonrpccpp.cc, runs it.
set -eu
# Its headers have throw(), which C++17 has no more.
jsonrpcstub jsonrpccpp.json --cpp-client=Stub --cpp-client-file=stub.h
c++ -std=c++11 -w -I. -I/usr/include/jsoncpp -o jsonrpccpp jsonrpccpp.cc \
    -ljsonrpccpp-client -ljsonrpccpp-common -ljsoncpp
./jsonrpccpp "$@"
