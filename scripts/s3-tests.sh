#!/usr/bin/env bash
# The storage suite on a real S3 server: moto, installed below target/ if it is missing.
# With a command as arguments, runs that instead, with WAL_S3_URL and AWS_* set.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
home=${CARGO_TARGET_DIR:-target}/s3-servers port=${WAL_S3_PORT:-5555}
mkdir -p "$home"
if [ ! -x "$home/moto/bin/moto_server" ]; then
  python3 -m venv "$home/moto"
  "$home/moto/bin/pip" install --quiet "moto[server,s3]"
fi
"$home/moto/bin/moto_server" -H 127.0.0.1 -p "$port" >"$home/moto.log" 2>&1 &
server=$!
trap 'kill $server 2>/dev/null || true' EXIT
export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_REGION=us-east-1 AWS_ALLOW_HTTP=true
export AWS_ENDPOINT_URL=http://127.0.0.1:$port WAL_S3_URL=s3://wal-tests
ready=
for _ in $(seq 60); do
  kill -0 $server 2>/dev/null || break
  if python3 -c "import urllib.request as u; u.urlopen(u.Request('$AWS_ENDPOINT_URL/wal-tests', method='PUT'))" 2>/dev/null; then
    ready=1
    break
  fi
  sleep 0.5
done
[ -n "$ready" ] || { echo "s3-tests: moto did not start:"; cat "$home/moto.log"; exit 1; }
if [ $# -gt 0 ]; then
  "$@"
else
  cargo test --locked -p wal-s3 --features aws --test on_a_real_server -- --ignored --nocapture
fi
