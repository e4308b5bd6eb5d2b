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
# What rabbitmqctl does to a node takes one that listens for others. The watermark of memory is
# asked for by a parameter of the management's instead, in bytes, and holds as rabbitmqctl's does:
# until it is set back, or the node ends. What stood there when the node began is not asked of it.
watermark='
Asked = fun() -> rabbit_runtime_parameters:value_global(lossmeter_watermark) end,
Set = fun vm_memory_monitor:set_vm_memory_high_watermark/1,
Heed = fun Heed(Former, Known) ->
    timer:sleep(100),
    case catch Asked() of
        Known -> Heed(Former, Known);
        not_found -> catch Set(Former), Heed(Former, not_found);
        Bytes when is_integer(Bytes) -> catch Set({absolute, Bytes}), Heed(Former, Bytes);
        _ -> Heed(Former, Known)
    end
end,
spawn(fun Begin() ->
    timer:sleep(100),
    case catch {vm_memory_monitor:get_vm_memory_high_watermark(), Asked()} of
        {Former, Known} when is_number(Former); is_tuple(Former) -> Heed(Former, Known);
        _ -> Begin()
    end
end)'
# The port of other nodes is one that nobody opens: a fixed one is not asked of epmd. A thread
# that has nothing to do takes no time from what is measured.
exec "$BINDIR/erlexec" -noinput -s rabbit boot -eval "$watermark" -boot start_sasl +W w \
    -sname "$node" -start_epmd false -dist_listen false -erl_epmd_port 25672 \
    +sbwt none +sbwtdcpu none +sbwtdio none \
    -syslog logger '[]' -syslog syslog_error_logger false \
    -kernel prevent_overlapping_partitions false
