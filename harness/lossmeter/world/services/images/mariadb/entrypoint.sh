#!/bin/sh
# Makes the databases on the first start, then becomes the server.
set -eu
umask 077
data=/var/lib/mysql
for word in "$@"; do
    case $word in --datadir=*) data=${word#--datadir=} ;; esac
done
if [ ! -d "$data/mysql" ]; then
    mkdir -p "$data"
    share=/usr/share/mysql
    {
        printf 'create database if not exists mysql;\nuse mysql;\nset @auth_root_socket = null;\n'
        cat "$share/mysql_system_tables.sql" "$share/mysql_performance_tables.sql" \
            "$share/mysql_system_tables_data.sql" "$share/maria_add_gis_sp_bootstrap.sql"
        # Whoever is there by default has no password.
        printf "delete from mysql.global_priv where User in ('root', '');\nflush privileges;\n"
        printf "create user root@'%%' identified by '%s';\n" \
            "${MARIADB_ROOT_PASSWORD:?MARIADB_ROOT_PASSWORD is not set}"
        printf "grant all on *.* to root@'%%' with grant option;\n"
        printf 'create database `%s`;\n' "${MARIADB_DATABASE:-events}"
    } | mariadbd --no-defaults --bootstrap --datadir="$data" --tmpdir=/tmp
fi
unset MARIADB_ROOT_PASSWORD
exec "$@"
