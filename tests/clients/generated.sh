#!/bin/sh
# generated.sh PORT DOCUMENT: a TypeScript client made of the document by
# @open-rpc/generator compiles and calls herod.
set -eu
cat >generator.json <<EOF
{"openrpcDocument": "$2", "outDir": ".", "components": [
	{"type": "client", "name": "herod", "language": "typescript"}]}
EOF
node node_modules/@open-rpc/generator/build/cli.js generate -c generator.json
# No version of the generator (1.18.5 to 1.22.3 are in the registry) quotes
# names with a dot; all else of what it makes stays as it is.
sed -i -E 's/^  public ([a-z_]+(\.[a-z_]+)+):/  public "\1":/' \
    client/typescript/src/index.ts
# @open-rpc/client-js is a module, which the tsconfig.json made does not know.
rm client/typescript/package.json
echo '{"type": "module"}' >package.json
node node_modules/typescript/bin/tsc --strict --skipLibCheck --types node \
    --target es2022 --module esnext --moduleResolution bundler \
    --esModuleInterop generated.ts
node generated.js "$1"
