# Becomes a Docker Engine that keeps everything in $FOLDER, in namespaces that are its own already. Its network is one of
# them unless $NETWORK is `host`. More options of dockerd are the arguments.
[ "${NETWORK:-own}" = host ] || ip link set lo up
# Not the machine's settings. The usual chatter would hide what went wrong.
echo '{"log-level": "warn"}' >"$FOLDER/daemon.json"
exec docker-init -- dockerd --config-file "$FOLDER/daemon.json" --pidfile "$FOLDER/pid" \
    --data-root "$FOLDER/root" --exec-root "$FOLDER/exec" "$@"
