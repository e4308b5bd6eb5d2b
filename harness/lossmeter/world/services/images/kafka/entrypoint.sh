#!/bin/sh
# Formats the data folder on the first start, then becomes the broker.
set -eu
configuration=/mnt/shared/config
# Options are words, as the official image takes them.
# shellcheck disable=SC2086
set -- /opt/java/bin/java ${KAFKA_HEAP_OPTS:-} \
    -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:+ExitOnOutOfMemoryError -XX:-UsePerfData \
    --enable-native-access=ALL-UNNAMED --sun-misc-unsafe-memory-access=allow \
    -Dlog4j2.disable.jmx=true "-Dlog4j2.configurationFile=$configuration/log4j2.xml" \
    -cp '/opt/kafka/*'
if [ ! -e /var/lib/kafka/data/log/meta.properties ]; then
    "$@" kafka.tools.StorageTool format -t "${CLUSTER_ID:?CLUSTER_ID is not set}" \
        -c "$configuration/server.properties"
fi
exec "$@" kafka.Kafka "$configuration/server.properties"
