#!/bin/sh
# Becomes the server: Erlang itself, and none of the scripts and daemons around it.
set -eu
umask 077
export ROOTDIR="${ROOTDIR:-/usr/lib/erlang}" EMU=beam PROGNAME=erl
for BINDIR in "$ROOTDIR"/erts-*/bin; do export BINDIR; done
for found in /usr/lib/rabbitmq/lib/rabbitmq_server-*; do : "${RABBITMQ_HOME:=$found}"; done
prefix=${SYS_PREFIX:-}
node=${RABBITMQ_NODENAME:-lossmeter@localhost}
export SYS_PREFIX="$prefix" RABBITMQ_HOME RABBITMQ_NODENAME="$node" RABBITMQ_LOGS=-
export RABBITMQ_MNESIA_BASE="$prefix/var/lib/rabbitmq/mnesia"
log=${prefix:+$prefix/var/log/rabbitmq}
export RABBITMQ_LOG_BASE="${log:-/tmp}" RABBITMQ_CONF_ENV_FILE=/dev/null
export RABBITMQ_CONFIG_FILES="$prefix/etc/rabbitmq/conf.d"
export RABBITMQ_ENABLED_PLUGINS_FILE="$prefix/etc/rabbitmq/enabled_plugins"
export RABBITMQ_PLUGINS_DIR="$RABBITMQ_HOME/plugins" ERL_LIBS="$RABBITMQ_HOME/plugins"
mkdir -p "$RABBITMQ_MNESIA_BASE" "$RABBITMQ_LOG_BASE"
# The port of other nodes is one that nobody opens: a fixed one is not asked of epmd. A thread
# that has nothing to do takes no time from what is measured.
exec "$BINDIR/erlexec" -noinput -s rabbit boot -boot start_sasl +W w \
    -sname "$node" -start_epmd false -dist_listen false -erl_epmd_port 25672 \
    +sbwt none +sbwtdcpu none +sbwtdio none \
    -syslog logger '[]' -syslog syslog_error_logger false \
    -kernel prevent_overlapping_partitions false
