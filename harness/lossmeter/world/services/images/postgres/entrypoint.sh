#!/bin/sh
# Makes the database on the first start, then becomes the server.
set -eu
: "${PGDATA:=/var/lib/postgresql/data}"
: "${POSTGRES_USER:=postgres}"
: "${POSTGRES_DB:=$POSTGRES_USER}"
export PGDATA
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    umask 077
    mkdir -p "$PGDATA"
    secret=/tmp/superuser
    printf '%s' "${POSTGRES_PASSWORD:?POSTGRES_PASSWORD is not set}" > "$secret"
    # The options are words, as the official image takes them.
    # shellcheck disable=SC2086
    initdb --username="$POSTGRES_USER" --pwfile="$secret" ${POSTGRES_INITDB_ARGS:-}
    rm "$secret"
    echo 'host all all all scram-sha-256' >> "$PGDATA/pg_hba.conf"
    # The usual place is on the root file system, which need not be writable.
    echo "unix_socket_directories = '/tmp'" >> "$PGDATA/postgresql.conf"
    if [ "$POSTGRES_DB" != postgres ]; then
        echo "create database \"$POSTGRES_DB\"" |
            postgres --single -D "$PGDATA" -c exit_on_error=on postgres
    fi
fi
unset POSTGRES_PASSWORD
exec "$@"
