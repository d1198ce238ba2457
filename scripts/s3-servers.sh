#!/usr/bin/env bash
# A command with a real object store beside it, on this machine only:
#   scripts/s3-servers.sh run SERVER -- COMMAND...
# installs SERVER below target/ if it is missing, starts it empty, makes a bucket, runs the command
# with WAL_S3_URL and the client's variables set, and stops it. Fails if it does not start.
#   moto, ministack   S3, in Python             versitygw   S3, in Go, on files
#   azurite           Azure's blobs, in Node    s3rver, s3s-fs   S3, but NOT fit for a log
# docs/STORES.md says what was seen on each.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() { sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2; }
[ $# -ge 4 ] && [ "$1" = run ] && [ "$3" = -- ] || usage
server=$2
shift 3

home=$(mkdir -p "${CARGO_TARGET_DIR:-target}/s3-servers" && cd "${CARGO_TARGET_DIR:-target}/s3-servers" && pwd)
port=${WAL_S3_PORT:-$((20000 + $$ % 10000))}
export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=testtest AWS_REGION=us-east-1 AWS_ALLOW_HTTP=true
export AWS_ENDPOINT_URL=http://127.0.0.1:$port WAL_S3_URL=s3://wal-tests
[ "$server" != s3rver ] || export AWS_ACCESS_KEY_ID=S3RVER AWS_SECRET_ACCESS_KEY=S3RVER # it knows these only
if [ "$server" = azurite ]; then
  # The account that everybody knows, and that azurite gives to all who ask.
  export AZURE_STORAGE_ACCOUNT_NAME=devstoreaccount1 AZURE_ALLOW_HTTP=true WAL_S3_URL=az://wal-tests
  export AZURE_STORAGE_ACCOUNT_KEY=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==
  export AZURE_STORAGE_ENDPOINT=http://127.0.0.1:$port/devstoreaccount1
fi

python_tool() { # COMMAND PACKAGE
  [ -x "$home/$server/bin/$1" ] && return
  python3 -m venv "$home/$server"
  "$home/$server/bin/pip" install --quiet "$2"
}
node_tool() { # COMMAND PACKAGE
  [ -x "$home/$server/node_modules/.bin/$1" ] ||
    npm install --silent --no-fund --no-audit --prefix "$home/$server" "$2"
}

# Where an open has to be refused.
case $server in s3rver|s3s-fs) export WAL_S3_UNFIT=1 ;; esac
# Whether wrong credentials are noticed: tests of that are left out where they are not.
[ "$server" != versitygw ] || export WAL_S3_SIGNED=1

install() {
  case $server in
    moto) python_tool moto_server "moto[server,s3]" ;;
    ministack) python_tool ministack ministack ;;
    versitygw)
      [ -x "$home/versitygw/versitygw" ] ||
        GOBIN=$home/versitygw go install github.com/versity/versitygw/cmd/versitygw@v1.8.0
      ;;
    azurite) node_tool azurite-blob azurite ;;
    s3rver) node_tool s3rver s3rver ;;
    s3s-fs) # in Rust: minutes
      [ -x "$home/s3s-fs/bin/s3s-fs" ] ||
        cargo install --quiet --locked --features binary --root "$home/s3s-fs" s3s-fs@0.14.0
      ;;
    *) usage ;;
  esac
}

start() { # what is stored lies below $data
  case $server in
    moto) exec "$home/moto/bin/moto_server" -H 127.0.0.1 -p "$port" ;;
    ministack) GATEWAY_PORT=$port exec "$home/ministack/bin/ministack" ;;
    versitygw) # looks at signatures
      exec "$home/versitygw/versitygw" --access "$AWS_ACCESS_KEY_ID" --secret "$AWS_SECRET_ACCESS_KEY" \
        --region "$AWS_REGION" --port "127.0.0.1:$port" --keep-alive --quiet posix "$data"
      ;;
    azurite)
      exec "$home/azurite/node_modules/.bin/azurite-blob" --silent --skipApiVersionCheck --disableTelemetry \
        --blobHost 127.0.0.1 --blobPort "$port" --location "$data"
      ;;
    s3s-fs)
      exec "$home/s3s-fs/bin/s3s-fs" --host 127.0.0.1 --port "$port" \
        --access-key "$AWS_ACCESS_KEY_ID" --secret-key "$AWS_SECRET_ACCESS_KEY" "$data"
      ;;
    s3rver) exec "$home/s3rver/node_modules/.bin/s3rver" -a 127.0.0.1 -p "$port" -d "$data" ;;
  esac
}

make_bucket() { # signed, since most servers insist
  if [ "$server" = azurite ]; then
    make_container
    return
  fi
  curl -s -f -o /dev/null -X PUT --aws-sigv4 "aws:amz:$AWS_REGION:s3" \
    -u "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" -H 'x-amz-content-sha256: UNSIGNED-PAYLOAD' \
    "$AWS_ENDPOINT_URL/wal-tests"
}

make_container() {
  python3 - <<'PYTHON' 2>/dev/null
import base64, email.utils, hashlib, hmac, os, urllib.request
account, version = os.environ["AZURE_STORAGE_ACCOUNT_NAME"], "2021-08-06"
date = email.utils.formatdate(usegmt=True)
headers = f"x-ms-date:{date}\nx-ms-version:{version}\n"
signed = "PUT" + "\n" * 12 + headers + f"/{account}/{account}/wal-tests\nrestype:container"
key = base64.b64decode(os.environ["AZURE_STORAGE_ACCOUNT_KEY"])
signature = base64.b64encode(hmac.new(key, signed.encode(), hashlib.sha256).digest()).decode()
request = urllib.request.Request(os.environ["AZURE_STORAGE_ENDPOINT"] + "/wal-tests?restype=container", method="PUT")
for name, value in [("x-ms-date", date), ("x-ms-version", version), ("Authorization", f"SharedKey {account}:{signature}")]:
    request.add_header(name, value)
urllib.request.urlopen(request)
PYTHON
}

install
data=$(mktemp -d "$home/data.XXXXXX")
start >"$data.log" 2>&1 &
started=$!
# Not asked but killed: versitygw was seen to wait for ever, and nothing of it is kept.
trap 'kill -KILL $started 2>/dev/null && wait $started 2>/dev/null || true; rm -rf "$data" "$data.log"' EXIT
ready=
for _ in $(seq 60); do
  kill -0 $started 2>/dev/null || break
  make_bucket && ready=1 && break
  sleep 0.5
done
[ "$server" != versitygw ] || export WAL_S3_SIGNED=1
[ -n "$ready" ] || { echo "s3-servers: $server did not start:"; cat "$data.log"; exit 1; } >&2
"$@"
