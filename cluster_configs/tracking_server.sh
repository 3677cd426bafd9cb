#!/usr/bin/env bash
# A tracking server on this machine: PostgreSQL, a folder of artifacts and `mlflow server`, all on
# loopback. Runs until Ctrl-C or SIGTERM, then stops both by their pids. The page beside it,
# tracking_server.md, says what it needs.
#
#   cluster_configs/tracking_server.sh FOLDER
set -euo pipefail

folder=$(realpath --canonicalize-missing "${1:?usage: tracking_server.sh FOLDER}")
mlflow_port=${MLFLOW_PORT:-5000}
postgres_port=${POSTGRES_PORT:-5433}
bin=$(dirname "$(realpath "$(command -v initdb || compgen -G '/usr/lib/postgresql/*/bin/initdb')")")
data=$folder/postgres/data
url=postgresql://mlflow@127.0.0.1:$postgres_port
export PGPASSFILE=$folder/pgpass MLFLOW_DISABLE_TELEMETRY=true
export MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false # Processes of MLflow's own that nothing here uses.

# PostgreSQL refuses to run as root.
owner=()
if ((EUID == 0)); then
    owner=(setpriv --reuid=postgres --regid=postgres --init-groups)
fi

mlflow='' postgres=''
stop() {
    trap - EXIT
    if [[ $mlflow ]]; then
        kill -TERM "$mlflow" 2>/dev/null || true
        wait "$mlflow" || true
    fi
    if [[ $postgres ]]; then
        kill -INT "$postgres" 2>/dev/null || true # End now, whoever is connected.
        wait "$postgres" || true
    fi
}
trap stop EXIT
trap 'exit 0' INT TERM

mkdir -p "$folder/artifacts" "$folder/postgres"
if [[ ! -f $PGPASSFILE ]]; then
    password=$(head -c 24 /dev/urandom | base64 | tr -d '+/=')
    (umask 077 && echo "$password" >"$folder/postgres/password")
    ((EUID != 0)) || chown -R postgres "$folder/postgres"
    "${owner[@]}" "$bin/initdb" --pgdata="$data" --username=mlflow --auth=scram-sha-256 \
        --pwfile="$folder/postgres/password" --encoding=UTF8 --locale=C >"$folder/initdb.log"
    rm "$folder/postgres/password"
    (umask 077 && echo "127.0.0.1:*:*:mlflow:$password" >"$PGPASSFILE")
fi

"${owner[@]}" "$bin/postgres" -D "$data" -c listen_addresses=127.0.0.1 -c port="$postgres_port" \
    -c unix_socket_directories= >>"$folder/postgres.log" 2>&1 &
postgres=$!
until "$bin/pg_isready" --quiet --dbname="$url/postgres"; do
    kill -0 "$postgres" || {
        echo "PostgreSQL ended; see $folder/postgres.log" >&2
        exit 1
    }
    sleep 0.2
done
found=$("$bin/psql" "$url/postgres" --tuples-only --no-align \
    --command="select 1 from pg_database where datname = 'mlflow'")
[[ $found == 1 ]] || "$bin/psql" "$url/postgres" --quiet --command="create database mlflow"

# SQLAlchemy 2.1 takes psycopg 3 for a plain postgresql://.
mlflow server --host 127.0.0.1 --port "$mlflow_port" --workers 2 \
    --backend-store-uri "${url/:/+psycopg2:}/mlflow" --artifacts-destination "$folder/artifacts" \
    >>"$folder/mlflow.log" 2>&1 &
mlflow=$!
until (: <"/dev/tcp/127.0.0.1/$mlflow_port") 2>/dev/null; do
    kill -0 "$mlflow" || {
        echo "mlflow ended; see $folder/mlflow.log" >&2
        exit 1
    }
    sleep 0.2
done
echo "tracking server: http://127.0.0.1:$mlflow_port (log: $folder/mlflow.log)"
wait -n
echo "a server ended; see $folder/mlflow.log and $folder/postgres.log" >&2
exit 1
