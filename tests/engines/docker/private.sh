# Programs that write to fixed places get these as overlays of their own: what is written stays below $PRIVATE.
for folder in ${PLACES:-etc opt run}; do
    [ -d "/$folder" ] || continue
    mkdir -p "$PRIVATE/$folder/upper" "$PRIVATE/$folder/work"
    mount -t overlay overlay -o "lowerdir=/$folder,upperdir=$PRIVATE/$folder/upper,workdir=$PRIVATE/$folder/work" "/$folder"
done
